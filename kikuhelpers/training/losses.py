"""The paper's loss terms, scaled so that beta means what it means there.

Reconstruction is half the sum of squared differences over the pixels inside the screen,
KL the sum over the latent dimensions, both as means over the batch: the convention of
MATLAB's ``mse`` loss, the only one in which beta = 15 and 50 collapse partly, as the
paper reports. The contrastive term is NT-Xent (Chen et al. 2020, 2002.05709, eq. 1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kikuhelpers import study
from kikuhelpers.training.augmentation import augment
from kikuhelpers.training.vae import KikuchiVAE, start_glorot


def training_loss(
    network: KikuchiVAE,
    head: nn.Module | None,
    patterns: Tensor,
    mask: Tensor,
    model: "study.models.Model",
    beta: float,
) -> dict[str, Tensor]:
    """Loss of a batch and its terms; two contrastive views go through the network in one pass.

    Parameters
    ----------
    network, head
        The VAE, and for a contrastive model its projection head.
    patterns
        (n, 1, height, width), in [-1, 1].
    mask
        (height, width), 1 inside the screen and 0 outside.
    model
        Settings: the views' noise, and temperature and weight of the contrastive term.
    beta
        Weight of the KL term in this step.

    Returns
    -------
    dict
        ``loss`` and ``contrastive``: scalars; ``reconstruction``: of each pattern or view;
        ``kl``: of each latent dimension, mean over the batch; ``mean``: latent means.
    """
    views, contrastive = patterns, torch.zeros((), device=patterns.device)
    if head is not None:
        patterns = torch.cat([patterns, patterns])
        views = augment(patterns, model.contrastive.augmentation)
    decoded, mean, log_variance = network(views)
    reconstruction = reconstruction_loss(decoded, patterns, mask)
    kl = kl_divergence(mean, log_variance).mean(dim=0)
    loss = reconstruction.mean() + beta * kl.sum()
    if head is not None:
        contrastive = nt_xent(*head(mean).chunk(2), model.contrastive.temperature)
        loss = loss + model.contrastive.weight * contrastive
    terms = {"reconstruction": reconstruction, "kl": kl, "contrastive": contrastive}
    return terms | {"loss": loss, "mean": mean}


def reconstruction_loss(decoded: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Half the sum of squared differences inside the mask, (n,) float32, one value per pattern.

    Patterns and mask are as of :func:`training_loss`.
    """
    return 0.5 * ((decoded.float() - target.float()).square() * mask).sum(dim=(1, 2, 3))


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence from N(mean, exp(log_variance)) to N(0, 1), in nats; all are (n, D)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy of paired embeddings (n, k), a scalar.

    Row i of one pairs with row i of the other. Where all are equal it is log(2 n - 1).
    """
    pairs = len(first)
    embeddings = functional.normalize(torch.cat([first, second]).float(), dim=1)
    similarity = embeddings @ embeddings.T / temperature
    similarity.fill_diagonal_(float("-inf"))  # a view is no candidate for itself
    partner = torch.arange(2 * pairs, device=first.device).roll(pairs)
    return functional.cross_entropy(similarity, partner)


def projection_head(latent_dim: int, settings: "study.models.Contrastive") -> nn.Sequential:
    """Return the MLP between latent mean and NT-Xent (Chen et al. 2020, section 2)."""
    head = nn.Sequential(
        nn.Linear(latent_dim, settings.head_width),
        nn.ReLU(),
        nn.Linear(settings.head_width, settings.projection_dim),
    )
    return head.apply(start_glorot)
