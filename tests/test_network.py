"""The network of Table 2 and its losses, against closed forms and literal code."""

import itertools
import math

import numpy as np
import pytest
import torch

from kikuhelpers.study.models import Augmentation
from kikuhelpers.training.augmentation import augment
from kikuhelpers.training.losses import kl_divergence, nt_xent, reconstruction_loss
from kikuhelpers.training.vae import KikuchiVAE, count_parameters

# Counted from the decoded Table 2; every column but 16-D agrees with the printed thousands.
PARAMETERS = {
    16: (74_412, 66_299),
    32: (296_760, 264_557),
    64: (1_185_264, 1_056_953),
    128: (4_737_504, 4_225_265),
    256: (18_942_912, 16_895_969),
}


@pytest.mark.parametrize("latent_dim", PARAMETERS)
def test_parameters_to_the_digit(latent_dim):
    with torch.device("meta"):
        network = KikuchiVAE(latent_dim)
    counts = tuple(count_parameters(part) for part in (network.encoder, network.decoder))
    assert counts == PARAMETERS[latent_dim]


def test_shapes_range_and_bounds():
    network = KikuchiVAE(16, (-1.0, 0.5))
    decoded, mean, log_variance = network(torch.randn(3, 1, 120, 120) * 30)
    assert decoded.shape == (3, 1, 120, 120)
    assert mean.shape == log_variance.shape == (3, 16)
    assert decoded.abs().max() <= 1
    assert log_variance.min() >= -1 and log_variance.max() <= 0.5


def test_glorot_start():
    layer = KikuchiVAE(64).encoder.features[3]  # 16 -> 32 channels, 9 x 9
    bound = math.sqrt(6 / (81 * 16 + 81 * 32))
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert not layer.bias.any()


@pytest.mark.parametrize("shape", [(1, 1, 60, 60), (1, 3, 120, 120), (1, 1, 120, 121)])
def test_other_inputs_get_one_sentence(shape):
    with pytest.raises(ValueError, match="takes patterns of 1 x 120 x 120, not"):
        KikuchiVAE(16)(torch.zeros(shape))
    with pytest.raises(ValueError, match="latent_dim must be one of"):
        KikuchiVAE(17)


def test_reconstruction_is_half_the_masked_sum_of_squares():
    mask = torch.zeros(120, 120)
    mask[:10, :10] = 1
    decoded, target = torch.full((2, 1, 120, 120), 0.5), torch.zeros(2, 1, 120, 120)
    assert reconstruction_loss(decoded, target, mask).tolist() == [12.5, 12.5]


def test_kl_against_torch():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    ours = kl_divergence(mean, log_variance)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    theirs = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1))
    torch.testing.assert_close(ours, theirs)
    assert kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)).sum() == 0


def test_nt_xent_closed_form():
    same = torch.ones(6, 4)
    assert nt_xent(same, same, 0.5).item() == pytest.approx(math.log(2 * 6 - 1), rel=1e-5)


def test_nt_xent_against_the_equation():
    first, second = torch.randn(5, 8), torch.randn(5, 8)
    views, temperature, terms = torch.cat([first, second]), 0.3, []
    for i, j in itertools.chain(*(((k, k + 5), (k + 5, k)) for k in range(5))):
        similarity = [
            math.exp(torch.cosine_similarity(views[i], views[k], 0).item() / temperature)
            for k in range(10)
        ]
        terms.append(-math.log(similarity[j] / (sum(similarity) - similarity[i])))
    assert nt_xent(first, second, temperature).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_each_augmentation_does_what_it_says():
    torch.manual_seed(0)
    patterns = torch.rand(64, 1, 120, 120) - 0.5
    still = {"salt_and_pepper": 0, "gaussian": 0, "gamma": (1, 1), "probability": 1}
    torch.testing.assert_close(augment(patterns, Augmentation(**still)), patterns)
    salted = augment(patterns, Augmentation(**(still | {"salt_and_pepper": 0.1})))
    changed = (salted - patterns).abs() > 1e-5
    assert set(salted[changed].tolist()) == {-1.0, 1.0}
    assert changed.float().mean().item() == pytest.approx(0.05, rel=0.2)  # strength is drawn
    noisy = augment(patterns, Augmentation(**(still | {"gaussian": 0.2})))
    spread = (noisy - patterns).std(dim=(1, 2, 3))
    assert spread.max() <= 0.21 and spread.mean().item() == pytest.approx(0.1, rel=0.2)
    darker = augment(patterns, Augmentation(**(still | {"gamma": (2, 2)})))
    torch.testing.assert_close(darker, 2 * ((patterns + 1) / 2) ** 2 - 1)


def test_augmentations_superimpose_and_can_be_left_out():
    torch.manual_seed(0)
    patterns = torch.rand(256, 1, 16, 16) - 0.5
    settings = Augmentation(gaussian=0.2, salt_and_pepper=0, gamma=(1, 1), probability=0.5)
    untouched = ((augment(patterns, settings) - patterns).abs().amax((1, 2, 3)) < 1e-5).float()
    assert 0.35 < untouched.mean() < 0.65
