"""A network grown from a smaller one, whose work it repeats at its start.

The channels of the small network read each other alone, as before; the others are new and read
all. So the large network learns what is new with few presentations of its own, and the many
presentations are the small network's, which are cheap (Chen et al. 2016, arXiv:1511.05641).
"""

import torch
from torch import Tensor

from kikuhelpers.training.vae import KikuchiVAE


@torch.no_grad()
def grow(network: KikuchiVAE, small: dict[str, Tensor]) -> None:
    """Write the weights, by name, of a network of fewer latent dimensions into a new random one."""
    for name, layer in network.named_modules():
        for kind, values in layer.named_parameters(recurse=False):
            known = small[f"{name}.{kind}"]
            parts = 2 if layer is network.encoder.head else 1  # means and log-variances
            outputs = int(known.ndim > 1 and getattr(layer, "transposed", False))  # their axis
            for new, old in zip(values.chunk(parts), known.chunk(parts), strict=True):
                new.narrow(outputs, 0, old.shape[outputs]).zero_()
                new[tuple(map(slice, old.shape))] = old
