"""Contrastive views: patterns with the paper's three kinds of acquisition noise.

Views are neither cropped, turned nor blurred: that would change orientation or sharpness (paper,
"Encoding of diffraction data").
"""

import torch
from torch import Tensor

from kikuhelpers import study


def augment(patterns: Tensor, settings: "study.models.Augmentation") -> Tensor:
    """Return a noisy view of each pattern, (n, 1, height, width) in [-1, 1] like the patterns.

    The strengths of a pattern's noise are drawn uniformly up to those of the settings.
    """

    def drawn(weakest: float, strongest: float, without: float = 0.0) -> Tensor:
        """(n, 1, 1, 1): the strength of one kind in each pattern, chosen with a probability."""
        shape = (len(patterns), 1, 1, 1)
        uniform, chance = (torch.rand(shape, device=patterns.device) for _ in range(2))
        strength = weakest + (strongest - weakest) * uniform
        return torch.where(chance < settings.probability, strength, without)

    # In place, on a copy: what costs here is memory traffic and random numbers.
    gamma = drawn(*settings.gamma, without=1.0)
    view = patterns.add(1).div_(2).clamp_(0, 1).pow_(gamma).mul_(2).sub_(1)
    spread = drawn(0, settings.gaussian)
    view.addcmul_(torch.randn_like(patterns), spread)
    fraction, pixels = drawn(0, settings.salt_and_pepper), torch.rand_like(view)
    view.masked_fill_(pixels < fraction / 2, -1.0).masked_fill_(pixels > 1 - fraction / 2, 1.0)
    return view.clamp_(-1, 1)
