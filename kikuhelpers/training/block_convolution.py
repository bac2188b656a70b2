"""Convolutions of few channels at speed: blocks of pixels taken as channels.

On a CPU a convolution is fast where its channels fill a vector register. The networks of
Table 2 with few latent dimensions have 1 to 8 channels where the patterns are large, and
torch then runs at a few per cent of the machine. So b x b pixels become b^2 channels, the
stored kernel is spread into the equivalent kernel between blocks, and an ordinary
convolution of more channels and fewer pixels does the work: the same sums, with zeros
between them (1.2 to 1.8 times the operations, at two to four times the speed). Layers
that follow each other are joined: they hand blocks on and skip the way back to pixels.

A transposed convolution of stride 2 becomes an ordinary one in the same way, which is
faster forwards at any number of channels; backwards torch's own is, and is taken.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from kikuhelpers.runs.devices import device
from kikuhelpers.training.vae import KikuchiVAE, ShortcutConv

# Channels a convolution should see on both sides, from timings of every layer of Table 2
# at 16-D to 128-D in bfloat16 with blocks of 1, 2 and 4 px: below 16 a block won, from 16
# on it lost (an AVX-512 vector holds 16 float32 values).
_FULL_CHANNELS = 16
_BLOCKS_PX = (2, 4)  # larger blocks multiply more zeros than they win


def on_device(network: KikuchiVAE) -> KikuchiVAE:
    """Move a network to the device at hand; a CPU gets the fast convolutions."""
    if device().type == "cpu":
        _use_blocks(network)
    return network.to(device(), memory_format=torch.channels_last)


def _use_blocks(network: KikuchiVAE) -> None:
    """Replace slow layers by block convolutions, in place; the weights keep their names."""
    encoder, decoder = network.encoder.features, network.decoder.layers
    # The layers where the patterns are largest: only activations stand between them.
    encoder[0], encoder[2].conv, encoder[3] = _joined(encoder[0], encoder[2].conv, encoder[3])
    decoder[-5], decoder[-3].conv, decoder[-2] = _joined(decoder[-5], decoder[-3].conv, decoder[-2])
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.ConvTranspose2d):
                setattr(parent, name, _BlockConvolution(layer, block_px=1))
            elif isinstance(layer, nn.Conv2d) and isinstance(parent, ShortcutConv):
                setattr(parent, name, *_joined(layer))


def _joined(*layers: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """Layers of few channels, in the order of execution, as convolutions that hand blocks on.

    All but the first and last have stride 1. Between them there may be element-wise work only,
    on sizes that the block divides.
    """
    first, channels = layers[0], layers[0].out_channels
    if channels >= _FULL_CHANNELS:
        return list(layers)
    enough = (b for b in _BLOCKS_PX if channels * b**2 >= _FULL_CHANNELS)
    block, stride = next(enough, _BLOCKS_PX[-1]), first.stride[0]
    blocks = [block // stride if first.transposed else block * stride]
    blocks += [block] * (len(layers) - 1)
    return [
        _BlockConvolution(layer, block_px, takes=layer is not first, leaves=layer is not layers[-1])
        for layer, block_px in zip(layers, blocks, strict=True)
    ]


class _BlockConvolution(nn.Module):
    """A convolution or transposed convolution of a square kernel, computed on blocks of pixels."""

    def __init__(
        self,
        layer: nn.Conv2d | nn.ConvTranspose2d,  # the plain layer, whose weights are used
        block_px: int,  # width of the input's blocks; a multiple of the stride, if not transposed
        takes: bool = False,  # (n, block_px^2 channels, h / block_px, w / block_px), not pixels
        leaves: bool = False,  # the output in blocks, for the next layer
    ):
        super().__init__()
        self.weight, self.bias, self.transposed = layer.weight, layer.bias, layer.transposed
        self.kernel, self.stride = layer.kernel_size[0], layer.stride[0]
        self.padding, self.output_padding = layer.padding[0], layer.output_padding[0]
        self.takes, self.leaves, self.block_in = takes, leaves, block_px
        self.block_out = block_px * self.stride if self.transposed else block_px // self.stride
        # Along one axis: element k of the kernel weighs, for output pixel p of a block, the input
        # pixel that is counted from the start of the same block.
        k, p = torch.cartesian_prod(torch.arange(self.kernel), torch.arange(self.block_out)).T
        pixel = self.stride * p + k - self.padding
        if self.transposed:
            strides = (p + self.padding - k) / self.stride
            k, p, pixel = (values[strides % 1 == 0] for values in (k, p, strides.int()))
        self.first, last = pixel.min().item(), pixel.max().item()
        self.width = math.ceil((last - self.first + 1) / block_px)  # of the kernel between blocks
        # One entry of 1 per such pair; a matrix product with it is a copy of the kernel's values,
        # and backwards their sum, in an order that does not change from run to run.
        spread = layer.weight.new_zeros(self.kernel, self.block_out, self.width * block_px)
        spread[k, p, pixel - self.first] = 1
        spread = torch.einsum("hpy,wqx->hwpqyx", spread, spread)
        self.register_buffer("spread", spread.reshape(self.kernel**2, -1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.transposed and not self.leaves:
            return _PlainBackward.apply(self, x, self.weight, self.bias)
        return self.on_blocks(x)

    def on_blocks(self, x: Tensor) -> Tensor:
        """Convolve on blocks, with a backward pass on blocks."""
        pixels, weight = x.shape[-1] * (self.block_in if self.takes else 1), self.weight
        if self.transposed:
            weight = weight.transpose(0, 1)
            size = (pixels - 1) * self.stride + self.kernel + self.output_padding
            size -= 2 * self.padding
        else:
            size = (pixels + 2 * self.padding - self.kernel) // self.stride + 1
        padded = (math.ceil(size / self.block_out) + self.width - 1) * self.block_in
        # The convolution adds blocks of zeros without a copy, but is slow where it adds
        # more than half its kernel.
        zeros = min(-self.first // self.block_in, self.width // 2)
        before = -self.first - zeros * self.block_in
        after = padded - pixels - before - 2 * zeros * self.block_in
        if (self.takes and (before or after)) or (self.leaves and size % self.block_out):
            raise ValueError(f"Blocks do not divide {size} px: do not join these layers.")
        if before or after:
            x = functional.pad(x, (before, after, before, after))
        if not self.takes:
            x = _ToBlocks.apply(x, self.block_in)
        bias = self.bias.repeat(self.block_out**2)
        y = functional.conv2d(x, self._between_blocks(weight), bias, padding=zeros)
        return y if self.leaves else _FromBlocks.apply(y, self.block_out)[..., :size, :size]

    def _between_blocks(self, weight: Tensor) -> Tensor:
        """Spread (outputs, inputs, kernel, kernel) to the kernel between blocks."""
        outputs, inputs = weight.shape[:2]
        with torch.autocast(weight.device.type, enabled=False):  # copies, not rounds
            dense = weight.flatten(2) @ self.spread
        bo, bi, width = self.block_out, self.block_in, self.width
        dense = dense.view(outputs, inputs, bo, bo, width, bi, width, bi)
        dense = dense.permute(2, 3, 0, 5, 7, 1, 4, 6)
        return dense.reshape(bo * bo * outputs, bi * bi * inputs, width, width)


class _PlainBackward(torch.autograd.Function):
    """A transposed convolution, forwards on blocks, backwards as torch does it.

    Backwards it is two ordinary convolutions, for which torch needs no zeros.
    """

    @staticmethod
    def forward(ctx, layer: _BlockConvolution, x: Tensor, weight: Tensor, bias: Tensor):
        ctx.layer = layer
        ctx.save_for_backward(x, weight)
        return layer.on_blocks(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        layer = ctx.layer
        x, weight = (saved.to(gradient.dtype) for saved in ctx.saved_tensors)
        bias = gradient.sum((0, 2, 3))  # torch's own sum takes a third of the whole
        # oneDNN takes four times as long where more than half the kernel is padding.
        extra = max(0, layer.padding - layer.kernel // 2)
        if extra:
            gradient = functional.pad(gradient, (extra,) * 4)
        stride, padding = layer.stride, layer.padding - extra
        of_input = functional.conv2d(gradient, weight, None, stride, padding)
        return None, of_input, conv2d_weight(gradient, weight.shape, x, stride, padding), bias


class _ToBlocks(torch.autograd.Function):
    """(n, c, h, w) -> (n, block^2 c, h / block, w / block), channels last."""

    @staticmethod
    def forward(ctx, x: Tensor, block: int) -> Tensor:
        ctx.block = block
        n, c, h, w = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(n, h // block, block, w // block, block * c)
        blocks = x.new_empty(n, h // block, w // block, block, block * c)
        for row in range(block):  # 5 times as fast as one copy of all rows (8 channels)
            blocks[..., row, :] = pixels[:, :, row]
        return blocks.flatten(3).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _FromBlocks.apply(gradient, ctx.block), None


class _FromBlocks(torch.autograd.Function):
    """(n, block^2 c, h, w) -> (n, c, block h, block w), channels last."""

    @staticmethod
    def forward(ctx, x: Tensor, block: int) -> Tensor:
        ctx.block = block
        n, c, h, w = x.shape
        blocks = x.permute(0, 2, 3, 1).reshape(n, h, w, block, c // block)
        pixels = blocks.transpose(2, 3).reshape(n, h * block, w * block, c // block**2)
        return pixels.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _ToBlocks.apply(gradient, ctx.block), None
