"""Master patterns of the phases, each as a stack of blurred ones.

Dislocations turn the lattice within the interaction volume, so the camera sees the pattern
averaged over a small angular spread. The average is taken once, on the master pattern, for a
ladder of spreads. A pattern lies between two rungs of the ladder.

All patterns were made by de-ebsd, see ``data/master_patterns/README.md``. They are upper
hemispheres on kikuchipy's square Lambert grid (equal-area), of centrosymmetric crystals:
M(-k) = M(k). Their mean over the sphere is 0 and their standard deviation 1, the unit of band
contrast.
"""

import math
from functools import cache
from threading import Lock

import numba
import numpy as np
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
_ONE_AT_A_TIME = Lock()  # two threads that ask for one stack would both make it


def rungs(spread_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rung below each spread, and the share of the one above.

    Parameters
    ----------
    spread_deg
        (n,) standard deviation of the lattice rotation, each component, in degrees. Above the
        top of the ladder the top is taken.

    Returns
    -------
    level
        (n,) int64.
    above
        (n,) float32 in 0..1.
    """
    squares = SPREADS_DEG**2
    square = np.clip(np.square(spread_deg, dtype=np.float64), 0, squares[-1])
    level = np.clip(np.searchsorted(squares, square, side="right") - 1, 0, len(squares) - 2)
    above = (square - squares[level]) / (squares[level + 1] - squares[level])
    return level, above.astype(np.float32)


def blurred_stack(name: str) -> np.ndarray:
    """Return a phase's master pattern, blurred by every spread of the ladder.

    Parameters
    ----------
    name
        One of :data:`PHASES`, or :data:`LATTICE_DERIVATIVE`.

    Returns
    -------
    numpy.ndarray
        (levels, n, n) float32; the first is not blurred.
    """
    with _ONE_AT_A_TIME:
        return _make_stack(name)


@cache
def _make_stack(name):
    stack = [load_master_pattern(name)]
    for index, spread in enumerate(SPREADS_DEG[1:]):
        # Blurred from two rungs below: the nodes of the quadrature then lie closer together
        # than the details that are left in the pattern.
        source = max(0, index + 1 - STRIDE) if spread > 2 * LOWEST_SPREAD_DEG else 0
        step = np.sqrt(spread**2 - SPREADS_DEG[source] ** 2)
        stack.append(blur(stack[source], step))
    return np.ascontiguousarray(np.stack(stack), np.float32)


def load_master_pattern(name: str) -> np.ndarray:
    """Return a stored master pattern at 20 keV, (n, n) float32, upper hemisphere.

    Parameters
    ----------
    name
        One of :data:`PHASES`, or :data:`LATTICE_DERIVATIVE`.
    """
    with np.load(MASTER_PATTERNS / f"{name}.npz", allow_pickle=False) as stored:
        return stored["upper"].astype(np.float32)


def blur(upper: np.ndarray, spread_deg: float) -> np.ndarray:
    """Return a master pattern averaged over rotations of an isotropic normal spread.

    A rotation about a direction does not move that direction. The other two components move it
    along the sphere, so the average is taken with a normal distribution in the tangent plane.

    Parameters
    ----------
    upper
        (n, n) upper hemisphere, square Lambert.
    spread_deg
        Standard deviation of each component of the rotation vector, in degrees.

    Returns
    -------
    numpy.ndarray
        (n, n) float32.
    """
    direction = grid_directions(len(upper)).reshape(-1, 3)
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
                row, column = lambert_position(
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


def grid_directions(size: int) -> np.ndarray:
    """Return the crystal direction of each pixel of a square Lambert grid.

    Returns
    -------
    numpy.ndarray
        (size, size, 3) unit vectors, z >= 0; rows along y, columns along x
        (Rosca 2010, 10.1051/0004-6361/201015278, eqs. 8 and 9).
    """
    along = np.linspace(-1, 1, size) * np.sqrt(np.pi / 2)
    y, x = np.meshgrid(along, along, indexing="ij")
    wide = np.abs(x) >= np.abs(y)
    longer, shorter = np.where(wide, x, y), np.where(wide, y, x)
    angle = np.pi / 4 * np.divide(shorter, longer, out=np.zeros_like(x), where=longer != 0)
    radius = 2 * longer / np.pi * np.sqrt(np.pi - longer**2)
    first, second = radius * np.cos(angle), radius * np.sin(angle)
    z = 1 - 2 * longer**2 / np.pi
    return np.stack([np.where(wide, first, second), np.where(wide, second, first), z], axis=-1)


@numba.njit(cache=True, nogil=True)
def lambert_position(x, y, z, size):
    """Return where a direction of any length lies on a square Lambert grid.

    Parameters
    ----------
    x, y, z
        Direction; one of the lower hemisphere is inverted.
    size
        Pixels along an edge.

    Returns
    -------
    row, column
        Fractions of pixels.
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
