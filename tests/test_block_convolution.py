"""Convolutions on blocks of pixels are the plain ones, forwards and backwards."""

import pytest
import torch
from torch import nn

from kikuhelpers.training.block_convolution import BlockConv2d, BlockConvTranspose2d, join
from kikuhelpers.training.vae import KikuchiVAE

CASES = [
    *((BlockConv2d, (i, o, 9, 2, 0), px) for i, o, px in ((1, 4, 120), (4, 8, 56), (8, 8, 24))),
    *((BlockConv2d, (c, c, 9, 1, 4), px) for c, px in ((2, 120), (4, 61), (8, 27), (8, 24))),
    (BlockConvTranspose2d, (16, 16, 9, 2, 2, 0), 4),
    (BlockConvTranspose2d, (16, 8, 9, 2, 1, 0), 11),
    (BlockConvTranspose2d, (8, 4, 9, 2, 0, 0), 27),
    (BlockConvTranspose2d, (4, 2, 9, 2, 5, 1), 61),
    (BlockConvTranspose2d, (32, 16, 9, 2, 5, 1), 15),
]


def both_ways(kind, arguments, pixels, precision):
    """Output and gradients (of the input, weight and bias): plain, then on blocks."""
    torch.manual_seed(0)
    layer = kind(*arguments)
    if kind is BlockConv2d:
        join(layer)
    layer.to(precision)
    assert layer.blocks is not None
    patterns = torch.randn(3, arguments[0], pixels, pixels, dtype=precision)
    patterns = patterns.contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = nn.Conv2d if kind is BlockConv2d else nn.ConvTranspose2d
    toward = torch.randn_like(layer(patterns))
    for forward in (plain.forward, kind.forward):
        output = forward(layer, patterns)
        inputs = (patterns, layer.weight, layer.bias)
        yield output, *torch.autograd.grad((output * toward).sum(), inputs)


def largest_error(ours, expected):
    assert ours.shape == expected.shape
    return (ours - expected).abs().max() / expected.abs().max()


@pytest.mark.parametrize(("kind", "arguments", "pixels"), CASES)
def test_blocks_are_the_plain_convolution(kind, arguments, pixels):
    expected, ours = both_ways(kind, arguments, pixels, torch.float64)
    assert max(map(largest_error, ours, expected)) < 1e-12
    expected, ours = both_ways(kind, arguments, pixels, torch.float32)
    assert largest_error(ours[0], expected[0]) < 1e-5
    assert largest_error(ours[1], expected[1]) < 1e-5
    # Sums over up to 43,200 pixels: the plain layer's own rounding is of this size.
    assert max(map(largest_error, ours[2:], expected[2:])) < 1e-4


def test_stored_weights_are_the_plain_networks():
    names = KikuchiVAE(16).state_dict()
    assert not [name for name in names if "blocks" in name]
    assert names["decoder.layers.10.weight"].shape == (4, 2, 9, 9)


@pytest.mark.parametrize("latent_dim", [16, 32, 64])  # blocks of 4 and 2, 2 and 2, 1 and 2 px
def test_joined_layers_are_the_plain_network(latent_dim, monkeypatch):
    torch.manual_seed(0)
    network = KikuchiVAE(latent_dim).double()
    patterns = torch.rand(2, 1, 120, 120, dtype=torch.float64)

    def compute():
        latent = network.encoder(patterns)[0]
        decoded = network.decoder(latent)
        return decoded, *torch.autograd.grad(decoded.square().sum(), network.parameters())

    ours = compute()
    monkeypatch.setattr(BlockConv2d, "forward", nn.Conv2d.forward)
    monkeypatch.setattr(BlockConvTranspose2d, "forward", nn.ConvTranspose2d.forward)
    assert max(map(largest_error, ours, compute())) < 1e-12


def test_blocks_that_do_not_divide_are_not_joined():
    first, then = BlockConv2d(4, 4, 9, 1, 4), BlockConv2d(4, 4, 9, 1, 4)
    join(first, then)
    assert then(first(torch.rand(1, 4, 24, 24))).shape == (1, 4, 24, 24)
    with pytest.raises(ValueError, match="do not divide 27 px"):
        first(torch.rand(1, 4, 27, 27))


def test_many_channels_stay_plain():
    layer = BlockConv2d(16, 16, 9, 1, 4)
    join(layer)
    assert layer.blocks is None
