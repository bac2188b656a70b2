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

The stored weights keep the shape of the plain layer. Off the CPU the plain layer is used.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels a convolution should see on both sides, from timings of every layer of Table 2
# at 16-D to 128-D in bfloat16 with blocks of 1, 2 and 4 px: below 16 a block won, from 16
# on it lost (an AVX-512 vector holds 16 float32 values).
FULL_CHANNELS = 16
_BLOCKS_PX = (2, 4)  # larger blocks multiply more zeros than they win


class BlockConv2d(nn.Conv2d):
    """``nn.Conv2d`` for square kernels; on blocks of pixels once :func:`join` says so."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0):
        super().__init__(inputs, outputs, kernel, stride, padding)
        self.blocks = None

    def use_blocks(self, block_in: int) -> None:
        """Compute on blocks of ``block_in`` pixels, a multiple of the stride."""
        (kernel, _), (stride, _), (padding, _) = self.kernel_size, self.stride, self.padding
        block = block_in // stride
        taps = [(k, p, stride * p + k - padding) for p in range(block) for k in range(kernel)]
        self.blocks = _Blocks(kernel, taps, block_in, block)

    def forward(self, x: Tensor) -> Tensor:
        if self.blocks is None or x.device.type != "cpu":
            return super().forward(x)
        size = self.blocks.pixels(x) + 2 * self.padding[0] - self.kernel_size[0]
        return self.blocks(x, self.weight, self.bias, size // self.stride[0] + 1)


class BlockConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` for square kernels, computed on blocks of pixels."""

    def __init__(self, inputs, outputs, kernel, stride, padding=0, output_padding=0):
        super().__init__(inputs, outputs, kernel, stride, padding, output_padding)
        self.use_blocks(1)

    def use_blocks(self, block_in: int) -> None:
        """Compute from blocks of ``block_in`` pixels, to blocks of stride times as many."""
        (kernel, _), (stride, _), (padding, _) = self.kernel_size, self.stride, self.padding
        block = block_in * stride
        taps = [
            (k, p, (p + padding - k) // stride)
            for p in range(block)
            for k in range(kernel)
            if (p + padding - k) % stride == 0
        ]
        self.blocks = _Blocks(kernel, taps, block_in, block)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        if self.blocks.leaves:
            return self.on_blocks(x)
        return _PlainBackward.apply(self, x, self.weight, self.bias)

    def on_blocks(self, x: Tensor) -> Tensor:
        """Compute on a CPU, forwards and backwards on blocks."""
        size = (self.blocks.pixels(x) - 1) * self.stride[0] - 2 * self.padding[0]
        size += self.kernel_size[0] + self.output_padding[0]
        return self.blocks(x, self.weight.transpose(0, 1), self.bias, size)


def join(*layers: BlockConv2d | BlockConvTranspose2d) -> None:
    """Compute layers of few channels on blocks, handed on from each to the next as they are.

    Between the layers there may be element-wise work only, on sizes that the block divides.
    From :data:`FULL_CHANNELS` channels on nothing is changed.

    Parameters
    ----------
    *layers
        In the order of execution; all but the first and last of stride 1. A single layer
        goes from pixels to blocks and back.
    """
    first, channels = layers[0], layers[0].out_channels
    if channels >= FULL_CHANNELS:
        return
    enough = (b for b in _BLOCKS_PX if channels * b**2 >= FULL_CHANNELS)
    block, stride = next(enough, _BLOCKS_PX[-1]), first.stride[0]
    first.use_blocks(block // stride if first.transposed else block * stride)
    for layer, then in itertools.pairwise(layers):
        then.use_blocks(block)
        layer.blocks.leaves = then.blocks.takes = True


class _PlainBackward(torch.autograd.Function):
    """A transposed convolution, forwards on blocks, backwards as torch does it.

    Backwards it is two ordinary convolutions, for which torch needs no zeros.
    """

    @staticmethod
    def forward(ctx, layer: BlockConvTranspose2d, x: Tensor, weight: Tensor, bias: Tensor):
        ctx.layer = layer
        ctx.save_for_backward(x, weight)
        return layer.on_blocks(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        layer = ctx.layer
        x, weight = (saved.to(gradient.dtype) for saved in ctx.saved_tensors)
        bias = gradient.sum((0, 2, 3))  # torch's own sum takes a third of the whole
        # oneDNN takes four times as long where more than half the kernel is padding.
        extra = max(0, layer.padding[0] - layer.kernel_size[0] // 2)
        if extra:
            gradient = functional.pad(gradient, (extra,) * 4)
        padding = [p - extra for p in layer.padding]
        x, weight, _ = torch.ops.aten.convolution_backward(
            *(gradient, x, weight, None, layer.stride, padding, layer.dilation),
            *(True, layer.output_padding, 1, (*ctx.needs_input_grad[1:3], False)),
        )
        return None, x, weight, bias


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


class _Blocks(nn.Module):
    """A convolution from blocks of pixels to blocks of pixels.

    Parameters
    ----------
    kernel
        Width of the stored kernel.
    taps
        Along one axis: (element k of the kernel, output pixel p of a block, the input
        pixel that k weighs for p, counted from the start of the same block).
    block_in, block_out
        Widths of the blocks.
    """

    def __init__(
        self, kernel: int, taps: list[tuple[int, int, int]], block_in: int, block_out: int
    ):
        super().__init__()
        self.block_in, self.block_out = block_in, block_out
        self.takes = self.leaves = False  # blocks, as the layer before and the next one do
        self.first = min(pixel for _, _, pixel in taps)
        span = max(pixel for _, _, pixel in taps) - self.first + 1
        self.width = math.ceil(span / block_in)  # of the kernel between blocks
        # One entry of 1 per tap; a matrix product with it is a copy of the kernel's values,
        # and backwards their sum, in an order that does not change from run to run.
        spread = torch.zeros(kernel, block_out, self.width * block_in)
        for k, p, pixel in taps:
            spread[k, p, pixel - self.first] = 1
        spread = torch.einsum("hpy,wqx->hwpqyx", spread, spread)
        self.register_buffer("spread", spread.reshape(kernel**2, -1), persistent=False)

    def pixels(self, x: Tensor) -> int:
        """Return the width of the input in pixels."""
        return x.shape[-1] * (self.block_in if self.takes else 1)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor, size: int) -> Tensor:
        """Convolve (n, c, h, h) to (n, outputs, size, size), or blocks of these."""
        blocks = math.ceil(size / self.block_out)
        padded = (blocks + self.width - 1) * self.block_in
        # The convolution adds blocks of zeros without a copy, but is slow where it adds
        # more than half its kernel.
        zeros = min(-self.first // self.block_in, self.width // 2)
        before = -self.first - zeros * self.block_in
        after = padded - self.pixels(x) - before - 2 * zeros * self.block_in
        if (self.takes and (before or after)) or (self.leaves and size % self.block_out):
            raise ValueError(f"Blocks do not divide {size} px: do not join these layers.")
        if before or after:
            x = functional.pad(x, (before, after, before, after))
        if not self.takes:
            x = _ToBlocks.apply(x, self.block_in)
        bias = bias.repeat(self.block_out**2)
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
