"""What preprocessing does to every pixel, compiled: binning, moments, ranges, rescaling.

The patterns are the counts as stored; their mean over a bin stays a sum of counts until the
last step, so that no rounding comes in between. The kernels run without the interpreter's
lock on one thread each: :mod:`kikuhelpers.patterns.streaming` runs several side by side.
"""

import numba
import numpy as np

from kikuhelpers.patterns.geometry import Geometry
from kikuhelpers.patterns.masking import is_empty
from kikuhelpers.patterns.up2 import HALF_RANGE
from kikuhelpers.study.sizes import NETWORK_INPUT_PX

_BLACK = np.uint16(0)  # counts of -1: outside the screen, as on the detector
# Counts hold no NaN: with that promise the compiler vectorises a minimum.
_kernel = numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})


def onto_network(patterns: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, int]:
    """Bring the camera's patterns (n, height, width) to the network's 120 x 120 px.

    Returns them, and how many pixels a value sums up: counts as they are or sums (uint32), or 1 and
    weighted means (float32). Empty patterns stay so.
    """
    square, block = np.ascontiguousarray(patterns[:, *geometry.window]), geometry.block
    if block:
        return (block_sums(square, block) if block > 1 else square), block**2
    means = (geometry.weights @ square.reshape(len(square), -1).T).T
    means[is_empty(square)] = 0
    return np.ascontiguousarray(means).reshape(-1, NETWORK_INPUT_PX, NETWORK_INPUT_PX), 1


@_kernel
def block_sums(patterns, factor):
    """Sum blocks of ``factor`` x ``factor`` pixels: (n, h, w) -> (n, h/f, w/f) uint32."""
    n, height, width = patterns.shape
    sums = np.empty((n, height // factor, width // factor), np.uint32)
    line = np.empty(width, np.uint32)
    for p in range(n):
        for row in range(height // factor):
            line[:] = 0
            for k in range(factor):
                for column in range(width):
                    line[column] += patterns[p, row * factor + k, column]
            for column in range(width // factor):
                total = np.uint32(0)
                for k in range(factor):
                    total += line[column * factor + k]
                sums[p, row, column] = total
    return sums


@_kernel
def moments(patterns, reference):
    """Return sum and sum of squares of (patterns - reference), (2, h, w) float64.

    Close to a reference pattern the sum of squares keeps its digits, and is exactly 0 where
    nothing varies.
    """
    n, height, width = patterns.shape
    sums = np.zeros((2, height, width))
    for p in range(n):
        for row in range(height):
            for column in range(width):
                value = np.float64(patterns[p, row, column]) - reference[row, column]
                sums[0, row, column] += value
                sums[1, row, column] += value * value
    return sums


@_kernel
def ranges(sums, pixels, background, mask):
    """Return lowest, highest and mean value inside the mask of each pattern, (n, 3) float32.

    A value is the mean of a bin of ``pixels`` pixels less the background (h, w) float32.
    """
    n, height, width = sums.shape
    share = np.float32(1 / pixels)
    limits, inside_px = np.empty((n, 3), np.float32), mask.sum()
    lowest, highest = np.empty(width, np.float32), np.empty(width, np.float32)
    total = np.empty(width, np.float32)
    for p in range(n):
        # A minimum per column vectorises, one over all pixels does not.
        lowest[:], highest[:], total[:] = np.inf, -np.inf, 0.0
        for row in range(height):
            for column in range(width):
                value = np.float32(sums[p, row, column]) * share - background[row, column]
                inside = mask[row, column]
                lowest[column] = min(lowest[column], value if inside else np.float32(np.inf))
                highest[column] = max(highest[column], value if inside else np.float32(-np.inf))
                total[column] += value if inside else np.float32(0)
        limits[p] = lowest.min(), highest.max(), np.float32(total.sum() / inside_px)
    return limits


@_kernel
def rescaled_counts(sums, pixels, background, mask, limits):
    """Map values to counts: the lowest and highest of ``limits`` (n, 3) to 0 and 65535.

    Outside the mask is black. A pattern without any contrast becomes the middle grey.
    """
    n, height, width = sums.shape
    share, half, one = np.float32(1 / pixels), np.float32(HALF_RANGE), np.float32(1)
    counts = np.empty((n, height, width), np.uint16)
    for p in range(n):
        low, high = limits[p, 0], limits[p, 1]
        middle = (low + high) / np.float32(2)
        scale = np.float32(2) / (high - low) if high > low else np.float32(0)
        for row in range(height):
            for column in range(width):
                value = np.float32(sums[p, row, column]) * share - background[row, column]
                value = min(one, max(-one, (value - middle) * scale))
                count = np.uint16(np.rint((value + one) * half))
                counts[p, row, column] = count if mask[row, column] else _BLACK
    return counts
