"""Noise of acquisition as augmentation: salt and pepper, Gaussian, gamma.

The paper's three kinds, each drawn on its own so that they superimpose on one pattern;
its strengths are not stated and are parameters here. No crop, rotation or blur: those
would change orientation or sharpness (paper, "Encoding of diffraction data").
"""

import torch
from torch import Tensor

from kikuhelpers.study import Augmentation


def augment(patterns: Tensor, settings: Augmentation) -> Tensor:
    """Return a noisy view of each pattern.

    Parameters
    ----------
    patterns
        (n, 1, height, width) in [-1, 1].
    settings
        Strengths; those of a pattern are drawn uniformly up to them.

    Returns
    -------
    torch.Tensor
        Same shape, in [-1, 1].
    """
    view = _gamma(patterns, settings)
    view = view + _strength(patterns, settings) * settings.gaussian * torch.randn_like(patterns)
    return _salt_and_pepper(view, settings).clamp(-1, 1)


def _chosen(patterns: Tensor, settings: Augmentation) -> Tensor:
    """(n, 1, 1, 1): whether a kind of noise is applied to each pattern."""
    return torch.rand(len(patterns), 1, 1, 1, device=patterns.device) < settings.probability


def _strength(patterns: Tensor, settings: Augmentation) -> Tensor:
    """(n, 1, 1, 1): uniform in [0, 1], zero for patterns that are not chosen."""
    draw = torch.rand(len(patterns), 1, 1, 1, device=patterns.device)
    return draw * _chosen(patterns, settings)


def _gamma(patterns: Tensor, settings: Augmentation) -> Tensor:
    low, high = settings.gamma
    draw = torch.rand(len(patterns), 1, 1, 1, device=patterns.device)
    exponent = torch.where(_chosen(patterns, settings), low + (high - low) * draw, 1.0)
    return 2 * ((patterns + 1) / 2).clamp(0, 1).pow(exponent) - 1


def _salt_and_pepper(patterns: Tensor, settings: Augmentation) -> Tensor:
    fraction = _strength(patterns, settings) * settings.salt_and_pepper
    draw = torch.rand_like(patterns)
    patterns = torch.where(draw < fraction / 2, -1.0, patterns)
    return torch.where(draw > 1 - fraction / 2, 1.0, patterns)
