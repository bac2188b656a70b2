"""The loss of a training step against other packages (pip install --no-deps, see pyproject)."""

import pytest
import torch

from kikuhelpers.study.models import Model
from kikuhelpers.training.losses import nt_xent, training_loss
from tests.conftest import screen


@pytest.mark.parametrize("beta", [1, 15, 50])
def test_the_loss_of_a_step_is_pythaes(beta):
    models = pytest.importorskip("pythae.models")
    torch.manual_seed(0)
    target, decoded = torch.rand(2, 6, 1, 120, 120) * 2 - 1
    mean, log_variance = torch.randn(6, 16), torch.randn(6, 16)
    shape = {"input_dim": (1, 120, 120), "latent_dim": 16}
    if beta == 1:
        theirs = models.VAE(models.VAEConfig(**shape))
    else:
        theirs = models.BetaVAE(models.BetaVAEConfig(**shape, beta=beta))
    inside = torch.from_numpy(screen())
    expected = theirs.loss_function(decoded * inside, target * inside, mean, log_variance, None)
    network = lambda patterns: (decoded, mean, log_variance)  # noqa: E731
    terms = training_loss(network, None, target, inside.float(), Model(latent_dim=16), beta)
    ours = terms["loss"], terms["reconstruction"].mean(), terms["kl"].sum()
    for value, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(value, theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2])
def test_nt_xent_is_metric_learnings(temperature):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    torch.manual_seed(0)
    first, second = torch.randn(2, 12, 64)
    labels = torch.arange(12).repeat(2)
    expected = losses.NTXentLoss(temperature)(torch.cat([first, second]), labels)
    torch.testing.assert_close(nt_xent(first, second, temperature), expected)
