"""A virtual specimen with known truth, scanned by a virtual EBSD microscope.

The specimen is a map of grains, Sigma-3 twin lamellae and, if wanted, rotation domains with
walls between them. The microscope projects kikuchipy's Ni master pattern (20 keV) at every
point and adds what hides the bands in a measurement: background, brightness, mixing and noise.

Frames and limits
-----------------
Rotations turn sample vectors into crystal vectors (lab2crystal), in the EDAX TSL sample frame
of kikuchipy: x along the map's rows, y along its columns, z out of the surface. One pattern
centre serves the whole map: the beam's travel is small on such maps, and so is its shift.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import kikuchipy as kp
import numpy as np
from orix.quaternion import Rotation
from orix.vector import Vector3d
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation as Turn
from scipy.special import ndtr

from kikuhelpers.files import written_aside
from kikuhelpers.progress import progress_bar
from kikuhelpers.study import NETWORK_INPUT_PX, VirtualScan
from kikuhelpers.up2 import Up2Writer

FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))

# The specimen
TWIN_ANGLE_DEG = 60.0  # Sigma-3, about <111>
TWIN_PLANES = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3)
LAMELLA_WIDTH_POINTS = (2.5, 5.0)  # narrowest and widest, on the surface
LATTICE_ROTATION_LENGTH_POINTS = 6.0  # over which the in-grain rotation stays alike

# The microscope
ENERGY_KEV = 20
SCREEN_RADIUS_PX = 57.5  # of a 120 px pattern, as on the measured IN718 crop
BACKGROUND_CENTRE = (0.67, 0.5)  # brightest row, column; fractions of the pattern, as measured
BACKGROUND_SIGMA = 0.4  # fraction of the pattern
DUST_SPOTS = 5
DUST_RADIUS = 0.012  # fraction of the pattern
DUST_SHADE = 0.15  # of the background, at the middle of a spot
# Shares of the brightness variance: even, along x, along y of the screen; the crop's fit.
BRIGHTNESS_SHARES = (0.28, 0.05, 0.67)
# Counts: every part of the signal has this many of its standard deviations to both sides;
# the brightest zone axis of the master pattern lies 7.3 above its mean.
HEADROOM = 8.0
LOWEST_COUNT = 1000  # keeps the screen apart from the zeros around it
HIGHEST_COUNT = 64535

# Random streams, so that no part of the simulation shifts the numbers of another.
_SPECIMEN, _DUST, _NOISE = range(3)


@dataclass(frozen=True)
class Truth:
    """What is known of a virtual specimen at each point.

    Parameters
    ----------
    rotations
        (rows * columns, 4) unit quaternions, lab2crystal, in map order.
    grain
        (rows, columns) labels; a twin lamella has its own.
    parent
        (rows, columns) labels of the grains, twins included in their grain.
    domain
        (rows, columns) labels; equal to ``grain`` where there are no domains.
    wall
        (rows, columns) strength of the domain walls, 0 to 1 at the middle of a wall.
    """

    rotations: np.ndarray
    grain: np.ndarray
    parent: np.ndarray
    domain: np.ndarray
    wall: np.ndarray


def save_truth(path: str | Path, truth: Truth) -> None:
    """Write the truth as .npz."""
    with written_aside(path) as temporary:
        np.savez_compressed(temporary, **{f.name: getattr(truth, f.name) for f in fields(Truth)})


def load_truth(path: str | Path) -> Truth:
    """Read the truth from .npz."""
    with np.load(path, allow_pickle=False) as stored:
        return Truth(**{f.name: stored[f.name] for f in fields(Truth)})


def make_truth(scan: VirtualScan) -> Truth:
    """Make the specimen: grains, twins, lattice rotation, domains.

    Parameters
    ----------
    scan
        Settings; the same ``seed`` gives the same specimen.

    Returns
    -------
    Truth
        Orientations are random; ``alloy: am`` differs by its settings only.
    """
    rng = np.random.default_rng((scan.seed, _SPECIMEN))
    points = np.stack(np.indices(scan.map_shape), -1).reshape(-1, 2).astype(float)
    parent = _voronoi_grains(points, scan, rng)
    rotations = rng.standard_normal((scan.grains, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    grain, rotations = _insert_twins(points, parent, rotations, scan.twin_fraction, rng)
    # Lattice rotations act in the sample frame: they turn a twin and its parent alike.
    turns = _lattice_rotation(scan, rng)
    if scan.domain_size_um is None:
        domain, wall = grain, np.zeros(len(points), np.float32)
    else:
        domain, wall = _domains(points, grain, scan, rng)
        vectors = rng.standard_normal((domain.max() + 1, 3)) * np.radians(scan.domain_rotation_deg)
        turns = Turn.from_rotvec(vectors[domain]) * turns
    total = Rotation(rotations[grain]) * Rotation(turns.as_quat(scalar_first=True))
    maps = (labels.reshape(scan.map_shape) for labels in (grain, parent, domain, wall))
    return Truth(total.data, *maps)


def simulate(scan: VirtualScan, up2_path: str | Path) -> Truth:
    """Scan the specimen: write its raw patterns to a UP2 file, row by row.

    Parameters
    ----------
    scan
        Settings. ``background``, ``brightness`` and ``noise`` count in units of
        ``band_contrast``'s unit, the standard deviation of the master pattern. With
        ``binning`` above 1 the patterns are 120 * ``binning`` px wide and noisier by that
        factor, so that the binned patterns have the noise that was asked for.
    up2_path
        File to make. Memory grows with the map's columns, not with its rows.

    Returns
    -------
    Truth
        The specimen, as :func:`make_truth` gives it.
    """
    truth = make_truth(scan)
    rows, columns = scan.map_shape
    screen = screen_mask(scan.binning)
    background = scan.background * _background(scan)[screen]
    noise = scan.noise * scan.binning
    low = HEADROOM * (scan.band_contrast + scan.brightness + noise)
    gain = (HIGHEST_COUNT - LOWEST_COUNT) / (scan.background + 2 * low)
    signals = noise_free_rows(scan, truth)
    with (
        Up2Writer(up2_path, scan.map_shape, screen.shape, scan.step_um) as writer,
        progress_bar(rows * columns, "simulating") as bar,
    ):
        for row in range(rows):
            rng = np.random.default_rng((scan.seed, _NOISE, row))
            signal = next(signals) + background
            signal += noise * rng.standard_normal(signal.shape, np.float32)
            counts = np.clip(LOWEST_COUNT + gain * (signal + low), LOWEST_COUNT, HIGHEST_COUNT)
            patterns = np.zeros((columns, *screen.shape), np.uint16)
            patterns[:, screen] = np.round(counts)
            writer.append(patterns)
            bar.update(columns)
    return truth


def noise_free_rows(scan: VirtualScan, truth: Truth) -> Iterator[np.ndarray]:
    """Yield the signal of each map row: bands and brightness, mixed, before noise.

    Yields
    ------
    numpy.ndarray
        (columns, pixels of the screen) float32, in units of the master pattern's standard
        deviation, without the fixed background.
    """
    rows, columns = scan.map_shape
    weights = mixing_weights(scan)
    reach = len(weights) // 2
    project = _Projection(scan)
    held = deque()  # the row and its neighbours up to the reach of the mixing
    edge = np.pad(truth.domain, reach, mode="edge")
    for row in range(-reach, rows):
        if row + reach < rows:
            here = slice((row + reach) * columns, (row + reach + 1) * columns)
            held.append(project(truth.rotations[here], truth.wall[row + reach]))
        if row < 0:
            continue
        first_held = max(0, row - reach)
        # Inside a domain neighbours hold the same pattern: only its border is worth mixing.
        window = np.lib.stride_tricks.sliding_window_view(
            edge[row : row + 2 * reach + 1], 2 * reach + 1, axis=1
        )
        mixed = np.flatnonzero((window != truth.domain[row][None, :, None]).any((0, 2)))
        signal = held[row - first_held].copy()
        signal[mixed] = 0
        for dy in range(-reach, reach + 1):
            neighbours = held[min(max(row + dy, 0), rows - 1) - first_held]
            for dx in range(-reach, reach + 1):
                share = weights[dy + reach] * weights[dx + reach]
                signal[mixed] += share * neighbours[np.clip(mixed + dx, 0, columns - 1)]
        if row >= reach:
            held.popleft()
        yield signal


def screen_mask(binning: int = 1) -> np.ndarray:
    """Return the round screen, (120 * binning, 120 * binning) bool, true inside."""
    size = NETWORK_INPUT_PX * binning
    y, x = np.indices((size, size)) - (size - 1) / 2
    return y**2 + x**2 <= (SCREEN_RADIUS_PX * binning) ** 2


def mixing_weights(scan: VirtualScan) -> np.ndarray:
    """Return the share of a point and its neighbours in the interaction volume, along one axis.

    The specimen is taken as linear between two points, so a neighbour's share is the Gaussian
    of FWHM ``mixing_um`` integrated over a tent of one step to both sides.

    Returns
    -------
    numpy.ndarray
        (2 * reach + 1,) weights of sum 1, symmetric.
    """
    sigma = scan.mixing_um / FWHM_PER_SIGMA / scan.step_um
    if sigma == 0:
        return np.ones(1, np.float32)
    reach = int(np.ceil(3 * sigma))
    offsets = np.arange(-reach - 1, reach + 2)
    # The tent's integral is the second difference of the Gaussian's second antiderivative.
    density = np.exp(-0.5 * (offsets / sigma) ** 2) / np.sqrt(2 * np.pi)
    weights = np.diff(offsets * ndtr(offsets / sigma) + sigma * density, n=2)
    return (weights / weights.sum()).astype(np.float32)


def detector_of(scan: VirtualScan) -> kp.detectors.EBSDDetector:
    """Return the virtual detector, of one pattern centre (Bruker) for the whole map."""
    size = NETWORK_INPUT_PX * scan.binning
    return kp.detectors.EBSDDetector(
        shape=(size, size),
        pc=scan.pattern_centre,
        sample_tilt=scan.sample_tilt_deg,
        tilt=scan.detector_tilt_deg,
        convention="bruker",
    )


# ---------------------------------------------------------------- the specimen


def _voronoi_grains(points, scan, rng):
    # Squeezing the rows before the search stretches the grains along them.
    squeeze = np.array([scan.aspect_ratio, 1.0])
    seeds = rng.uniform(0, np.array(scan.map_shape) / squeeze, (scan.grains, 2))
    return KDTree(seeds).query(points / squeeze)[1]


def _insert_twins(points, parent, rotations, fraction, rng):
    """Give some grains a lamella along the trace of its {111} plane, at their middle."""
    grain = parent.copy()
    present = np.unique(parent)
    twinned = rng.permutation(present)[: round(fraction * len(present))]
    twins = []
    for label in twinned:
        normal = TWIN_PLANES[rng.integers(len(TWIN_PLANES))]
        width = rng.uniform(*LAMELLA_WIDTH_POINTS)
        crystal = Rotation(rotations[label])
        across = (~crystal * Vector3d(normal)).data.ravel()[:2]  # in the surface
        inside = np.flatnonzero(parent == label)
        distance = (points[inside] - points[inside].mean(0)) @ (across / np.linalg.norm(across))
        grain[inside[np.abs(distance) <= width / 2]] = len(rotations) + len(twins)
        twin = Rotation.from_axes_angles(normal, TWIN_ANGLE_DEG, degrees=True) * crystal
        twins.append(twin.data.ravel())
    return grain, np.concatenate([rotations, np.reshape(twins, (-1, 4))])


def _lattice_rotation(scan, rng):
    """Return a smooth rotation per point; the deviation is that of each vector component."""
    length = LATTICE_ROTATION_LENGTH_POINTS
    noise = rng.standard_normal((3, *scan.map_shape))
    smooth = gaussian_filter(noise, (0, length, length), mode="wrap")
    smooth *= 2 * np.sqrt(np.pi) * length  # what the filter takes from white noise
    return Turn.from_rotvec(np.radians(scan.lattice_rotation_deg) * smooth.reshape(3, -1).T)


def _domains(points, grain, scan, rng):
    """Divide each grain into Voronoi cells; the wall is strongest where two cells meet."""
    size = scan.domain_size_um / scan.step_um
    # Each grain sees the cells from elsewhere, so that no wall runs on into the next grain.
    shifts = rng.uniform(0, 4 * size, (grain.max() + 1, 2))
    extent = np.array(scan.map_shape) + 4 * size
    seeds = rng.uniform(0, extent, (int(np.ceil(extent.prod() / size**2)), 2))
    distance, nearest = KDTree(seeds).query(points + shifts[grain], k=2)
    apart = np.linalg.norm(seeds[nearest[:, 1]] - seeds[nearest[:, 0]], axis=1)
    to_border = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart)
    sigma = scan.wall_width_um / FWHM_PER_SIGMA / scan.step_um
    wall = np.exp(-0.5 * (to_border / sigma) ** 2).astype(np.float32)
    domain = np.unique(grain * len(seeds) + nearest[:, 0], return_inverse=True)[1]
    return domain, wall


# -------------------------------------------------------------- the microscope


class _Projection:
    """Signal of points before mixing: bands from the master pattern, and brightness."""

    def __init__(self, scan):
        self._scan = scan
        self._screen = screen_mask(scan.binning)
        self._detector = detector_of(scan)
        self._modes = _brightness_modes(self._screen)
        self._master = kp.data.nickel_ebsd_master_pattern_small(
            projection="lambert", hemisphere="both"
        )
        # Square Lambert is equal-area: mean and deviation are those of the sphere. In float32
        # kikuchipy does not rescale the patterns, which would undo the common unit.
        master = self._master.data.astype(np.float32)
        self._master.data = (master - master.mean()) / master.std()

    def __call__(self, rotations: np.ndarray, wall: np.ndarray) -> np.ndarray:
        """Return (n, pixels of the screen) float32 for rotations (n, 4), wall strength (n,)."""
        patterns = self._master.get_patterns(
            Rotation(rotations),
            self._detector,
            energy=ENERGY_KEV,
            compute=True,
            show_progressbar=False,
        )
        contrast = self._scan.band_contrast * (1 - self._scan.wall_contrast_loss * wall)
        signal = patterns.data[:, self._screen] * contrast[:, None].astype(np.float32)
        return signal + self._scan.brightness * _brightness_weights(rotations) @ self._modes


def _brightness_weights(rotations):
    """Weights (n, 3) of the brightness modes, of unit deviation over random orientations.

    Channelling makes brightness a smooth function of how the crystal lies: here the lowest
    cubic harmonic, x^4 + y^4 + z^4, of three sample directions seen from the crystal.
    """
    # 70.1 degrees apart the fourth Legendre polynomial is zero: the three are uncorrelated.
    azimuths, z = np.radians([90, 210, 330]), np.sqrt(0.56)
    x, y = np.sqrt(1 - z**2) * np.array([np.cos(azimuths), np.sin(azimuths)])
    directions = np.stack([x, y, np.full(3, z)], axis=1)
    crystal = np.einsum("nij,kj->nki", Rotation(rotations).to_matrix(), directions)
    mean, deviation = 3 / 5, np.sqrt(16 / 525)  # over the sphere
    return (((crystal**4).sum(-1) - mean) / deviation).astype(np.float32)


def _brightness_modes(screen):
    """Modes (3, pixels): even, along x, along y; their squares sum to 1 per pixel on average."""
    y, x = np.nonzero(screen)
    modes = np.stack([np.ones(len(x)), x - x.mean(), y - y.mean()])
    modes /= np.sqrt((modes**2).mean(1, keepdims=True))
    return (modes * np.sqrt(BRIGHTNESS_SHARES)[:, None]).astype(np.float32)


def _background(scan):
    """Fixed background of height 1, with dust spots, (height, width)."""
    size = NETWORK_INPUT_PX * scan.binning
    y, x = np.indices((size, size)) / size
    row, column = BACKGROUND_CENTRE
    bump = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * BACKGROUND_SIGMA**2))
    rng = np.random.default_rng((scan.seed, _DUST))
    for row, column in rng.uniform(0.2, 0.8, (DUST_SPOTS, 2)):
        spot = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * DUST_RADIUS**2))
        bump *= 1 - DUST_SHADE * spot
    return bump.astype(np.float32)
