"""Project master patterns onto the detector, many orientations at a time.

kikuchipy projects one master pattern with one pattern centre per call. Here each pattern has
its own pattern centre, phase, blur and strain, and is added to others with a weight. The
arithmetic is that of kikuchipy (square Lambert, bilinear), in one compiled pass over the pixels
of the screen. ``make bench`` measures its speed against kikuchipy's ``get_patterns``.

Master patterns are one hemisphere of centrosymmetric crystals: M(-k) = M(k).
"""

import math

import numba
import numpy as np

HALF_SQRT_PI = math.sqrt(math.pi) / 2
# arctan(t) = t * polynomial in t^2 on 0 <= t <= 1, error below 2e-6:
# Abramowitz & Stegun 4.4.49, with the last coefficients of their table.
_ATAN = (
    -0.3333314528,
    0.1999355085,
    -0.1420889944,
    0.1065626393,
    -0.0752896400,
    0.0429096138,
    -0.0161657367,
    0.0028662257,
)


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_projections(out, target, weight, turn, offset, plane_x, plane_y, stack, level, above):
    """Add the patterns of many orientations to the patterns they belong to.

    Parameters
    ----------
    out
        (patterns, pixels) float32, added to in place.
    target
        (n,) pattern that each orientation adds to.
    weight
        (n,) float32 share.
    turn
        (n, 3, 2) float32: crystal directions of the detector's x and y axis.
    offset
        (n, 3) float32: crystal direction of the detector's top left corner, seen from the beam.
    plane_x, plane_y
        (pixels,) float32 positions on the detector, in detector widths.
    stack
        (levels, size, size) float32 master patterns, upper hemisphere, square Lambert.
    level
        (n,) lower level of the stack that a pattern takes.
    above
        (n,) float32 share of the level above it.
    """
    size = stack.shape[1]
    middle = np.float32((size - 1) / 2)
    # Square Lambert coordinates reach sqrt(pi / 2) where |z| = 0.
    scale = np.float32(middle / math.sqrt(math.pi / 2))
    pixels = len(plane_x)
    first = np.empty(pixels, np.float32)
    second = np.empty(pixels, np.float32)
    for i in range(len(target)):
        ax, ay, az = turn[i, 0, 0], turn[i, 1, 0], turn[i, 2, 0]
        bx, by, bz = turn[i, 0, 1], turn[i, 1, 1], turn[i, 2, 1]
        cx, cy, cz = offset[i, 0], offset[i, 1], offset[i, 2]
        for j in range(pixels):
            x = ax * plane_x[j] + bx * plane_y[j] + cx
            y = ay * plane_x[j] + by * plane_y[j] + cy
            z = az * plane_x[j] + bz * plane_y[j] + cz
            flip = np.float32(1) if z >= 0 else np.float32(-1)
            x, y, z = x * flip, y * flip, z * flip
            across = x * x + y * y
            norm = math.sqrt(across + z * z)
            # 2 (1 - z / norm), without the loss of digits near the pole
            radius = math.sqrt(np.float32(2) * across / (norm * (norm + z)))
            wide = abs(x) >= abs(y)
            longer = x if wide else y
            shorter = y if wide else x
            ratio = shorter / (longer + np.float32(1e-30))
            t = ratio * ratio
            angle = np.float32(_ATAN[7])
            for c in (6, 5, 4, 3, 2, 1, 0):
                angle = angle * t + np.float32(_ATAN[c])
            angle = ratio * (angle * t + np.float32(1))
            signed = math.copysign(radius, longer)
            along = signed * np.float32(HALF_SQRT_PI)
            beside = signed * np.float32(1 / HALF_SQRT_PI) * angle
            first[j] = middle + scale * (along if wide else beside)  # column
            second[j] = middle + scale * (beside if wide else along)  # row
        low, high = stack[level[i]], stack[min(level[i] + 1, len(stack) - 1)]
        high_share = above[i] * weight[i]
        low_share = weight[i] - high_share
        row_of = out[target[i]]
        for j in range(pixels):
            column = min(max(int(first[j]), 0), size - 2)
            row = min(max(int(second[j]), 0), size - 2)
            dx, dy = first[j] - column, second[j] - row
            value = low_share * _between_pixels(low, row, column, dy, dx)
            if high_share != 0:
                value += high_share * _between_pixels(high, row, column, dy, dx)
            row_of[j] += value


@numba.njit(nogil=True, fastmath=True, inline="always")
def _between_pixels(image, row, column, dy, dx):
    """Bilinear interpolation."""
    w00, w01 = (1 - dy) * (1 - dx), (1 - dy) * dx
    w10, w11 = dy * (1 - dx), dy * dx
    return (
        w00 * image[row, column]
        + w01 * image[row, column + 1]
        + w10 * image[row + 1, column]
        + w11 * image[row + 1, column + 1]
    )
