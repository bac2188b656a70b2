"""The network of the paper's Table 2: encoder, sampling layer and decoder.

Layer sizes follow Calvat et al. 2025 (doi:10.1038/s41524-025-01770-8), Table 2; its
16-D parameter counts are printed in each other's place, all others agree to the digit.
Not in the paper, and decided here: a shortcut is added after the activation,
x + LeakyReLU(conv(x)); weights start from Glorot's uniform law with zero biases (the
default of the MATLAB toolbox that the paper's wording points to).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from kikuhelpers.study.sizes import LATENT_DIMENSIONS, NETWORK_INPUT_PX

KERNEL_PX = 9
LEAK = 0.2
_CODE_PX = 8  # what three strided convolutions leave of 120 px
_SEED_PX = 4  # where the decoder starts
# (padding, output padding) of the transposed convolutions: the paper's crops to
# 11, 27, 61 and 120 px. The last crop is not symmetric.
_CROPS = ((2, 0), (1, 0), (0, 0), (5, 1))


class ShortcutConv(nn.Module):
    """A "same" convolution with a shortcut around it (layers marked * in Table 2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, KERNEL_PX, padding=KERNEL_PX // 2)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.conv(x), LEAK).add_(x)  # one buffer less


def _with_shortcut(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A convolution that changes the size, its activation, and a shortcut at the new size."""
    return [convolution, nn.LeakyReLU(LEAK), ShortcutConv(convolution.out_channels)]


class Encoder(nn.Module):
    """Pattern (n, 1, 120, 120) -> mean and log-variance of the latent, (n, D) each."""

    def __init__(self, latent_dim: int):
        super().__init__()
        layers = []
        for inputs, channels in pairwise((1, latent_dim // 4, latent_dim // 2, latent_dim)):
            layers += _with_shortcut(nn.Conv2d(inputs, channels, KERNEL_PX, stride=2))
        layers += [nn.Conv2d(channels, 2 * latent_dim, _CODE_PX), nn.LeakyReLU(LEAK), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * latent_dim, 2 * latent_dim)

    def forward(self, patterns: Tensor) -> tuple[Tensor, Tensor]:
        if patterns.shape[1:] != (1, NETWORK_INPUT_PX, NETWORK_INPUT_PX):
            raise ValueError(
                f"The network takes patterns of 1 x {NETWORK_INPUT_PX} x {NETWORK_INPUT_PX}, not "
                f"{' x '.join(map(str, patterns.shape[1:]))}: preprocess them."
            )
        return self.head(self.features(patterns)).chunk(2, dim=1)


class Decoder(nn.Module):
    """Latent (n, D) -> pattern (n, 1, 120, 120) in (-1, 1)."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.project = nn.Linear(latent_dim, latent_dim * _SEED_PX**2)
        layers = [nn.Unflatten(1, (latent_dim, _SEED_PX, _SEED_PX))]
        steps = pairwise(latent_dim // shrink for shrink in (1, 1, 2, 4, 8))
        for (inputs, channels), crop in zip(steps, _CROPS, strict=True):
            layers += _with_shortcut(nn.ConvTranspose2d(inputs, channels, KERNEL_PX, 2, *crop))
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 1), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        return self.layers(self.project(latent))


class KikuchiVAE(nn.Module):
    """Variational autoencoder of Kikuchi patterns, of 16, 32, 64, 128 or 256 latent dimensions.

    The log-variance is clamped to its bounds before sampling (a departure from the paper: without
    it training at 1e-3 can run away). None: it is left free.
    """

    def __init__(
        self, latent_dim: int, log_variance_bounds: tuple[float, float] | None = (-10.0, 3.0)
    ):
        super().__init__()
        if latent_dim not in LATENT_DIMENSIONS:
            raise ValueError(f"latent_dim must be one of {LATENT_DIMENSIONS}, not {latent_dim}.")
        self.latent_dim = latent_dim
        self.log_variance_bounds = log_variance_bounds
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder(latent_dim)
        self.apply(start_glorot)

    def encode(self, patterns: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and bounded log-variance, (n, D) each, in float32."""
        mean, log_variance = self.encoder(patterns)
        mean, log_variance = mean.float(), log_variance.float()
        if self.log_variance_bounds is not None:
            log_variance = log_variance.clamp(*self.log_variance_bounds)
        return mean, log_variance

    def forward(self, patterns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return decoded patterns of a sampled latent, the mean and the log-variance."""
        mean, log_variance = self.encode(patterns)
        # A draw from N(mean, exp(log_variance)) with a gradient (Kingma & Welling, 1312.6114).
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(latent), mean, log_variance


def start_glorot(layer: nn.Module) -> None:
    """Give a layer Glorot-uniform weights and zero biases."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable values of a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
