"""Noise of acquisition as augmentation: salt and pepper, Gaussian, gamma.

The paper's three kinds, each drawn on its own so that they superimpose on one pattern;
its strengths are not stated and are parameters here. No crop, rotation or blur: those
would change orientation or sharpness (paper, "Encoding of diffraction data").
"""

import torch
from torch import Tensor

from kikuhelpers.study.models import Augmentation


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
    # In place, on a copy: what costs here is memory traffic and random numbers.
    view = _gamma(patterns, settings)
    spread = _strength(patterns, settings) * settings.gaussian
    view = view.addcmul_(torch.randn_like(patterns), spread)
    return _salt_and_pepper(view, settings).clamp_(-1, 1)


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
    return patterns.add(1).div_(2).clamp_(0, 1).pow_(exponent).mul_(2).sub_(1)


def _salt_and_pepper(view: Tensor, settings: Augmentation) -> Tensor:
    fraction = _strength(view, settings) * settings.salt_and_pepper
    draw = torch.rand_like(view)
    view.masked_fill_(draw < fraction / 2, -1.0)
    return view.masked_fill_(draw > 1 - fraction / 2, 1.0)
