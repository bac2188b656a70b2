"""The paper's loss terms, scaled so that beta means what it means there.

Reconstruction is half the sum of squared differences over the pixels inside the screen,
KL the sum over the latent dimensions, both as means over the batch: the convention of
MATLAB's ``mse`` loss, the only one in which beta = 15 and 50 collapse partly, as the
paper reports. The contrastive term is NT-Xent (Chen et al. 2020, 2002.05709, eq. 1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def reconstruction_loss(decoded: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Half the sum of squared differences inside the mask, per pattern.

    Parameters
    ----------
    decoded, target
        (n, 1, height, width), in [-1, 1].
    mask
        (height, width), 1 inside the screen and 0 outside.

    Returns
    -------
    torch.Tensor
        (n,) float32.
    """
    return 0.5 * ((decoded.float() - target.float()).square() * mask).sum(dim=(1, 2, 3))


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence from N(mean, exp(log_variance)) to N(0, 1), in nats.

    Parameters
    ----------
    mean, log_variance
        (n, D).

    Returns
    -------
    torch.Tensor
        (n, D), one value per pattern and latent dimension.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy of paired embeddings.

    Parameters
    ----------
    first, second
        (n, k) embeddings; row i of one pairs with row i of the other.
    temperature
        Softmax temperature.

    Returns
    -------
    torch.Tensor
        Scalar; log(2 n - 1) where all embeddings are equal.
    """
    pairs = len(first)
    embeddings = functional.normalize(torch.cat([first, second]).float(), dim=1)
    similarity = embeddings @ embeddings.T / temperature
    similarity.fill_diagonal_(float("-inf"))  # a view is no candidate for itself
    partner = torch.arange(2 * pairs, device=first.device).roll(pairs)
    return functional.cross_entropy(similarity, partner)


class ProjectionHead(nn.Module):
    """The MLP between latent mean and NT-Xent (Chen et al. 2020, section 2)."""

    def __init__(self, latent_dim: int, width: int, projection_dim: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, projection_dim)
        )

    def forward(self, mean: Tensor) -> Tensor:
        return self.layers(mean)
