"""Multiplications and additions of the network, from the shapes of its layers."""

import torch
from torch import nn

from kikuhelpers.bench.plain import plain_network
from kikuhelpers.study import NETWORK_INPUT_PX

# Forward, and backward for the weights and for the layer's input (Kaplan et al. 2020,
# arXiv:2001.08361, section 2.1); the first layer's input needs none, which is not counted off.
TRAINING_PASSES = 3


@torch.inference_mode()
def forward_flop(latent_dim: int) -> int:
    """Return the floating-point operations of one pattern's way through the network."""
    network, flop = plain_network(latent_dim), 0

    def count(layer, inputs, output):
        nonlocal flop
        # Every weight of a convolution works once per output pixel; of a transposed one, once
        # per input pixel.
        pixels = (inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output).shape[2:]
        flop += 2 * layer.weight.numel() * pixels.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.register_forward_hook(count)
    where = next(network.parameters()).device
    network(torch.zeros(1, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX, device=where))
    return flop
