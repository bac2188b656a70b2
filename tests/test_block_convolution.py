"""Convolutions on blocks of pixels are the plain ones, forwards and backwards."""

import copy

import pytest
import torch
from torch import nn

from kikuhelpers.training.block_convolution import _BlockConvolution, _joined, _use_blocks
from kikuhelpers.training.vae import KikuchiVAE

CASES = [
    *((nn.Conv2d, (i, o, 9, 2, 0), px) for i, o, px in ((1, 4, 120), (4, 8, 56), (8, 8, 24))),
    *((nn.Conv2d, (c, c, 9, 1, 4), px) for c, px in ((2, 120), (4, 61), (8, 27), (8, 24))),
    (nn.ConvTranspose2d, (16, 16, 9, 2, 2, 0), 4),
    (nn.ConvTranspose2d, (16, 8, 9, 2, 1, 0), 11),
    (nn.ConvTranspose2d, (8, 4, 9, 2, 0, 0), 27),
    (nn.ConvTranspose2d, (4, 2, 9, 2, 5, 1), 61),
    (nn.ConvTranspose2d, (32, 16, 9, 2, 5, 1), 15),
]


def both_ways(kind, arguments, pixels, precision):
    """Output and gradients (of the input, weight and bias): plain, then on blocks."""
    torch.manual_seed(0)
    layer = kind(*arguments, dtype=precision)
    (blocks,) = [_BlockConvolution(layer, 1)] if layer.transposed else _joined(layer)
    assert isinstance(blocks, _BlockConvolution)
    patterns = torch.randn(3, arguments[0], pixels, pixels, dtype=precision)
    patterns = patterns.contiguous(memory_format=torch.channels_last).requires_grad_()
    toward = torch.randn_like(layer(patterns))
    for way in (layer, blocks):
        output = way(patterns)
        inputs = (patterns, way.weight, way.bias)
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
    plain = KikuchiVAE(16)
    fast = copy.deepcopy(plain)
    _use_blocks(fast)
    names = fast.state_dict()
    assert list(names) == list(plain.state_dict())
    assert all(torch.equal(value, names[name]) for name, value in plain.state_dict().items())
    assert names["decoder.layers.10.weight"].shape == (4, 2, 9, 9)
    assert [n for n, _ in fast.named_parameters()] == [n for n, _ in plain.named_parameters()]


@pytest.mark.parametrize(("latent_dim", "replaced"), [(16, 12), (32, 10), (64, 6), (128, 4)])
def test_the_plain_network_has_no_blocks_until_they_are_asked_for(latent_dim, replaced):
    network = KikuchiVAE(latent_dim)
    drawn = torch.get_rng_state()
    for count in (0, replaced):
        blocks = [m for m in network.modules() if isinstance(m, _BlockConvolution)]
        assert len(blocks) == count
        if not count:
            _use_blocks(network)
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("latent_dim", [16, 32, 64])  # blocks of 4 and 2, 2 and 2, 1 and 2 px
def test_joined_layers_are_the_plain_network(latent_dim):
    torch.manual_seed(0)
    network = KikuchiVAE(latent_dim).double()
    patterns = torch.rand(2, 1, 120, 120, dtype=torch.float64)

    def compute():
        latent = network.encoder(patterns)[0]
        decoded = network.decoder(latent)
        return decoded, *torch.autograd.grad(decoded.square().sum(), network.parameters())

    expected = compute()
    _use_blocks(network)
    assert max(map(largest_error, compute(), expected)) < 1e-12


def test_blocks_that_do_not_divide_are_not_joined():
    first, then = _joined(nn.Conv2d(4, 4, 9, 1, 4), nn.Conv2d(4, 4, 9, 1, 4))
    assert then(first(torch.rand(1, 4, 24, 24))).shape == (1, 4, 24, 24)
    with pytest.raises(ValueError, match="do not divide 27 px"):
        first(torch.rand(1, 4, 27, 27))


def test_many_channels_stay_plain():
    layer = nn.Conv2d(16, 16, 9, 1, 4)
    assert _joined(layer) == [layer]
