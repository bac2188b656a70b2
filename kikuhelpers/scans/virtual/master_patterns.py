"""Master patterns of the phases: blurred by dislocations, and projected onto the detector.

Dislocations turn the lattice within the interaction volume, so the camera sees the pattern
averaged over a small angular spread. The average is taken once, on the master pattern, for a
ladder of spreads. A pattern lies between two rungs of the ladder.

All patterns were made by de-ebsd, see ``data/master_patterns/README.md``. They are upper
hemispheres on kikuchipy's square Lambert grid (equal-area), of centrosymmetric crystals:
M(-k) = M(k). Their mean over the sphere is 0 and their standard deviation 1, the unit of band
contrast.

kikuchipy projects one master pattern with one pattern centre per call. Here each pattern has
its own pattern centre, phase, blur and strain, and is added to others with a weight. The
arithmetic is that of kikuchipy (square Lambert, bilinear), in one compiled pass over the pixels
of the screen. ``make bench`` measures its speed against kikuchipy's ``get_patterns``.
"""

import math
from functools import cache
from threading import Lock

import numba
import numpy as np
from kikuchipy.signals.util._master_pattern import _lambert2vector
from numpy.polynomial.hermite_e import hermegauss
from scipy.ndimage import spline_filter

from kikuhelpers.study import PROJECT_ROOT

MASTER_PATTERNS = PROJECT_ROOT / "data" / "master_patterns"
LATTICE_DERIVATIVE = "Ni_lattice"  # change of the matrix's pattern per relative change of a

# The ladder of spreads, in degrees: 0, then four octaves of three rungs. Between two rungs
# patterns are taken as linear in the square of the spread, as diffusion is for small times.
LOWEST_SPREAD_DEG = 0.15
SPREADS_DEG = np.append(0.0, LOWEST_SPREAD_DEG * 2 ** (np.arange(13) / 3))
STRIDE = 2  # rungs from one blurred pattern to the one made of it
# Gauss-Hermite nodes per axis: exact for waves up to 3 / spread, beyond which none is left.
QUADRATURE_NODES = 5
# arctan(t) = t * polynomial in t^2 on 0 <= t <= 1, error below 2e-6:
# Abramowitz & Stegun 4.4.49, with the last coefficients of their table.
_ATAN = (-0.3333314528, 0.1999355085, -0.1420889944, 0.1065626393)
_ATAN += (-0.0752896400, 0.0429096138, -0.0161657367, 0.0028662257)
HALF_SQRT_PI = math.sqrt(math.pi) / 2
_ONE_AT_A_TIME = Lock()  # two threads that ask for one stack would both make it


def add_projections(
    out: np.ndarray,
    target: np.ndarray,
    name: str,
    spread_deg: np.ndarray,
    weight: np.ndarray,
    turn: np.ndarray,
    offset: np.ndarray,
    plane_x: np.ndarray,
    plane_y: np.ndarray,
) -> None:
    """Add blurred patterns of many orientations to the patterns they belong to.

    Parameters
    ----------
    out
        (patterns, pixels) float32, added to in place.
    target
        (n,) pattern that each orientation adds to.
    name
        One of :data:`PHASES`, or :data:`LATTICE_DERIVATIVE`.
    spread_deg
        (n,) standard deviation of the lattice rotation, each component, in degrees. Above the
        top of the ladder the top is taken.
    weight
        (n,) float32 share.
    turn
        (n, 3, 2) float32: crystal directions of the detector's x and y axis.
    offset
        (n, 3) float32: crystal direction of the detector's top left corner, seen from the beam.
    plane_x, plane_y
        (pixels,) float32 positions on the detector, in detector widths.
    """
    levels, above = _rungs(spread_deg)
    with _ONE_AT_A_TIME:
        stack = _blurred_stack(name, int(levels.max()) + 2)
    _project(out, target, weight, turn, offset, plane_x, plane_y, stack, levels, above)


def _rungs(spread_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rung (n,) int64 below each spread (n,), and the share (n,) float32 of the one above."""
    squares = SPREADS_DEG**2
    square = np.clip(np.square(spread_deg, dtype=np.float64), 0, squares[-1])
    level = np.clip(np.searchsorted(squares, square, side="right") - 1, 0, len(squares) - 2)
    above = (square - squares[level]) / (squares[level + 1] - squares[level])
    return level, above.astype(np.float32)


@cache
def _blurred_stack(name: str, count: int) -> np.ndarray:
    """A phase's master pattern, blurred by the first spreads, (count, n, n) float32."""
    return np.stack([_rung(name, index) for index in range(count)])


@cache
def _rung(name: str, index: int) -> np.ndarray:
    """A phase's master pattern at 20 keV, blurred by one spread of the ladder, (n, n) float32."""
    if not index:
        with np.load(MASTER_PATTERNS / f"{name}.npz", allow_pickle=False) as stored:
            return stored["upper"].astype(np.float32)
    # Blurred from two rungs below: the nodes of the quadrature then lie closer together
    # than the details that are left in the pattern.
    spread = SPREADS_DEG[index]
    source = max(0, index - STRIDE) if spread > 2 * LOWEST_SPREAD_DEG else 0
    return _blur(_rung(name, source), np.sqrt(spread**2 - SPREADS_DEG[source] ** 2))


def _blur(upper: np.ndarray, spread_deg: float) -> np.ndarray:
    """A master pattern (n, n) averaged over rotations of an isotropic normal spread; float32.

    A rotation about a direction does not move that direction. The other two components move it
    along the sphere, so the average is taken with a normal distribution in the tangent plane.
    """
    along = np.linspace(-1, 1, len(upper))
    y, x = np.meshgrid(along, along, indexing="ij")  # rows go along y, columns along x
    direction = _lambert2vector(x.ravel(), y.ravel())
    helper = np.where(np.abs(direction[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    tangent = np.cross(direction, helper)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    nodes, weights = hermegauss(QUADRATURE_NODES)
    # Cubic splines: linear interpolation would blur by itself.
    padded = np.pad(spline_filter(upper, mode="mirror"), 2, mode="reflect")
    blurred = _tangent_average(
        padded, direction, tangent, np.radians(spread_deg) * nodes, weights / weights.sum()
    )
    return blurred.reshape(upper.shape)


@numba.njit(cache=True, nogil=True)
def _tangent_average(padded, direction, tangent, nodes, weights):
    """Average a spline of a master pattern, padded by 2, around each direction."""
    size = len(padded) - 4
    result = np.zeros(len(direction), np.float32)
    for i in range(len(direction)):
        x, y, z = direction[i]
        tx, ty, tz = tangent[i]
        ox, oy, oz = y * tz - z * ty, z * tx - x * tz, x * ty - y * tx
        total = 0.0
        for a in range(len(nodes)):
            for b in range(len(nodes)):
                along, across = nodes[a], nodes[b]
                row, column = _lambert_position(
                    x + along * tx + across * ox,
                    y + along * ty + across * oy,
                    z + along * tz + across * oz,
                    size,
                )
                r, c = min(int(row), size - 2), min(int(column), size - 2)
                rows, columns = _cubic(row - r), _cubic(column - c)
                value = 0.0
                for m in range(4):
                    for n in range(4):
                        value += rows[m] * columns[n] * padded[r + m + 1, c + n + 1]
                total += weights[a] * weights[b] * value
        result[i] = total
    return result


@numba.njit(cache=True, nogil=True)
def _cubic(t):
    """Weights of a cubic B-spline at the four knots around a place between two."""
    u = 1 - t
    return (
        u * u * u / 6,
        (4 - 6 * t * t + 3 * t * t * t) / 6,
        (4 - 6 * u * u + 3 * u * u * u) / 6,
        t * t * t / 6,
    )


@numba.njit(cache=True, nogil=True)
def _lambert_position(x, y, z, size):
    """Row and column, as fractions of pixels, of a direction of any length on the Lambert grid.

    A direction of the lower hemisphere is inverted.
    """
    if z < 0:
        x, y, z = -x, -y, -z
    norm = math.sqrt(x * x + y * y + z * z)
    wide = abs(x) >= abs(y)
    longer, shorter = (x, y) if wide else (y, x)
    if longer == 0:
        return (size - 1) / 2, (size - 1) / 2
    radius = math.copysign(math.sqrt(2 * (x * x + y * y) / (norm * (norm + z))), longer)
    along = radius * math.sqrt(math.pi) / 2
    beside = radius * 2 / math.sqrt(math.pi) * math.atan(shorter / longer)
    scale = (size - 1) / 2 / math.sqrt(math.pi / 2)
    row, column = (beside, along) if wide else (along, beside)
    return (size - 1) / 2 + scale * row, (size - 1) / 2 + scale * column


@numba.njit(cache=True, nogil=True, fastmath=True)
def _project(out, target, weight, turn, offset, plane_x, plane_y, stack, level, above):
    """Add projections of a blurred stack; see ``add_projections`` and ``_rungs``."""
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
