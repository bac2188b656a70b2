"""Grains, and what lies in them: twin lamellae, particles, slip bands and scratches.

Grains are the Laguerre (power) diagram of log-normal discs: convex, of sizes that follow those of
the discs. A Voronoi diagram cannot do that (doi:10.1080/14786435.2020.1790053, arXiv:1912.07188).
A necklace of small grains lies along their boundaries. Twins are Sigma-3: parallel slabs of a
grain along one of its {111} planes. Particles are discs at random places, or on the nearest cell
walls. Slip bands and scratches are straight lines of raised density; scratches turn the lattice.
"""

import numpy as np
from numpy.random import Generator
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from scipy.special import ndtri

from kikuhelpers.scans.virtual import fields_and_rotations as quaternions
from kikuhelpers.scans.virtual.cells import CellStructure, bell
from kikuhelpers.scans.virtual.fields_and_rotations import RandomField
from kikuhelpers.study.specimen import PHASES, Deformation, Specimen, Twins

NEIGHBOURS = 6  # candidates for the nearest boundary of a grain, the grain itself included
DISC_TRIES = 40  # places tried for a disc; the one with the least overlap is taken
NECKLACE_JITTER = 0.45  # of the spacing: the necklace's seeds are a shaken square grid

PLANES_111 = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3)
DIRECTIONS_110 = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]])
DIRECTIONS_110 = DIRECTIONS_110 / np.sqrt(2)

TWIN_ANGLE_DEG = 60.0  # Sigma-3, about <111>
TWIN_REACH = 0.9  # of the grain's radius: the middles of the lamellae lie within
SLAB_TRIES = 20  # places tried for a lamella before it is left out

MOVES = 4  # of a particle to the nearest wall: beyond a corner, the first ends in another cell
AT_WALL = 0.1  # of its radius: a particle that stays farther from the wall is left out

BANDS = 1024  # bands of different strength and place, after which they repeat
BAND_JITTER = 0.45  # of the spacing: how irregularly slip bands follow each other
WEAKEST = 0.1  # strength of the weakest slip band, of the strongest
LEAST_IN_PLANE = 0.2  # keeps the spacing of bands on planes close to the surface finite


class _PowerDiagram:
    """Which disc's power cell a point lies in, and how far from its boundary.

    The cell of the disc (s, r) holds the points for which the power |p - s|^2 - r^2 is least.
    Lifted to the height sqrt(max r^2 - r^2) the discs become points, and the disc of the least
    power becomes the nearest neighbour.
    """

    def __init__(self, centres_um: np.ndarray, radii_um: np.ndarray, stretch: float = 1.0):
        self.centres_um, self.radii_um = centres_um, radii_um  # (m, 2); (m,) along y
        # The discs are ellipses, `stretch` times longer along x.
        self._scale = np.array([1 / stretch, 1.0])
        self._highest = (radii_um**2).max(initial=0)
        height = np.sqrt(self._highest - radii_um**2)
        self._tree = KDTree(np.column_stack([centres_um * self._scale, height]))
        self._ranks = list(range(1, min(NEIGHBOURS, len(radii_um)) + 1))

    def locate(self, points_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the disc (n,) and the distance from its cell's boundary (n,) in um."""
        distance, index = self._tree.query(self._lift(points_um), k=self._ranks)
        # The difference of two powers is linear in the point: its slope gives the distance.
        power = distance**2
        seeds = self.centres_um * self._scale**2
        slope = 2 * np.linalg.norm(seeds[index[:, 1:]] - seeds[index[:, :1]], axis=-1)
        to_boundary = (power[:, 1:] - power[:, :1]) / slope
        return index[:, 0], to_boundary.min(1, initial=np.inf)

    def inside(self, points_um: np.ndarray) -> np.ndarray:
        """Return the disc (n,) a point lies in, -1 where it lies in none."""
        bound = np.sqrt(self._highest)  # where the power is zero
        index = self._tree.query(self._lift(points_um), distance_upper_bound=bound)[1]
        return np.where(index == len(self.radii_um), -1, index)

    def _lift(self, points_um):
        return np.column_stack([points_um * self._scale, np.zeros(len(points_um))])


class GrainMap:
    """All grains of a specimen; the necklace's are numbered after the others."""

    def __init__(self, settings: Specimen, rng: Generator, necklace_rng: Generator):
        self._waviness_um = settings.grains.waviness_um
        self._waves = RandomField(2, settings.grains.waviness_length_um, rng)
        self._large, self._small = _pack_discs(settings.grains, settings.size_um, rng), None
        # (count, 2) centres and (count,) radii along y of all grains
        self.centres_um, self.radii_um = self._large.centres_um, self._large.radii_um
        self.first_small = len(self.radii_um)  # number of the necklace's first; count without one
        if settings.necklace:
            self._add_necklace(settings.necklace, settings.size_um, necklace_rng)
        self.count = len(self.radii_um)
        # Numbers of the grains that may hold twins: the necklace's, or all without a necklace.
        self.recrystallised = np.arange(self.first_small if settings.necklace else 0, self.count)

    def locate(self, points_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the grain (n,) and the distance from its boundary (n,) in um."""
        grain, to_boundary = self._locate_large(points_um)
        if self._small is not None:
            seed, to_small_boundary = self._small.locate(points_um)
            number = self._small_number[seed]
            grain = np.where(number >= 0, number, grain)
            to_boundary = np.where(number >= 0, to_small_boundary, to_boundary)
        return grain, to_boundary

    def _locate_large(self, points_um):
        return self._large.locate(points_um + self._waviness_um * self._waves(points_um))

    def _add_necklace(self, settings, size_um, rng):
        """Cover the specimen with small grains; those away from boundaries are not grown."""
        spacing = _spacing(settings.median_width_um, settings.log_sigma)
        extent = np.array(size_um) + 2 * settings.width_um
        shape = np.ceil(extent / spacing).astype(int)
        grid = np.stack(np.indices(shape), -1).reshape(-1, 2) + 0.5
        grid += rng.uniform(-NECKLACE_JITTER, NECKLACE_JITTER, grid.shape)
        seeds = grid * spacing - settings.width_um
        width = settings.median_width_um * rng.lognormal(0, settings.log_sigma, len(seeds))
        field = RandomField(1, settings.unevenness_length_um, rng)(seeds)[:, 0]
        reach = settings.width_um / 2 * (1 + settings.unevenness * field)
        grown = self._locate_large(seeds)[1] < reach
        self._small = _PowerDiagram(seeds, width / 2)
        self._small_number = np.where(grown, self.first_small + np.cumsum(grown) - 1, -1)
        self.centres_um = np.concatenate([self.centres_um, seeds[grown]])
        self.radii_um = np.concatenate([self.radii_um, width[grown] / 2])


def _spacing(median_um, log_sigma):
    """Side of a square as large as the mean log-normal disc."""
    return np.sqrt(np.pi / 4 * np.exp(2 * log_sigma**2)) * median_um


def _pack_discs(settings, size_um, rng):
    """Place log-normal discs, the largest first, where they overlap least."""
    stretch = settings.aspect_ratio
    # One grain more on every side, so that those at the edge have neighbours.
    margin = settings.median_width_um
    extent = np.array(size_um) / (stretch, 1) + 2 * margin
    spacing = _spacing(settings.median_width_um, settings.log_sigma)
    count = int(np.ceil(extent.prod() / spacing**2))
    # One draw in each of `count` equal parts of the distribution. With few grains, free draws
    # would make one specimen of a single giant and the next of small grains only.
    quantile = (np.arange(count) + rng.uniform(size=count)) / count
    radii = settings.median_width_um / 2 * np.exp(settings.log_sigma * ndtri(quantile[::-1]))
    centres = np.empty((count, 2))
    for i, radius in enumerate(radii):
        places = rng.uniform(0, extent, (DISC_TRIES, 2))
        apart = np.linalg.norm(places[:, None] - centres[:i], axis=-1)
        gap = (apart - radii[:i] - radius).min(1, initial=np.inf)
        centres[i] = places[np.minimum(gap, 0).argmax()]
    centres = (centres - margin) * (stretch, 1)
    order = rng.permutation(count)  # numbers say nothing about sizes
    return _PowerDiagram(centres[order], radii[order], stretch)


class TwinLamellae:
    """The lamellae of all grains, in parents of known ``crystals``: (grains, 4) lab2crystal.

    They grow in the recrystallised grains. Without settings there are none.
    """

    def __init__(self, settings: Twins | None, grains: GrainMap, crystals, rng: Generator):
        shape = len(crystals), settings.per_grain[1] if settings else 0
        self._across = np.zeros((len(crystals), 2))
        self._middle = np.zeros(shape)  # along across, from the origin
        self._half_width = np.full(shape, -1.0)  # on the surface; -1: none
        self._number = np.zeros(shape, np.int32)
        rotations = []
        twinned = round(settings.grain_fraction * len(grains.recrystallised)) if settings else 0
        for grain in rng.permutation(grains.recrystallised)[:twinned]:
            # The plane closest to the surface is left out: its lamella would cover the grain.
            normals = _surface_normals(crystals[grain])[:, :2]
            plane = rng.choice(np.argsort(np.linalg.norm(normals, axis=1))[1:])
            in_plane = np.linalg.norm(normals[plane])
            self._across[grain] = normals[plane] / in_plane
            turn = quaternions.from_vectors(TWIN_ANGLE_DEG * PLANES_111[plane])
            twin = quaternions.multiply(turn, crystals[grain])
            wanted = rng.integers(*settings.per_grain, endpoint=True)
            thickness = np.exp(rng.uniform(*np.log(settings.lamella_width_um), wanted))
            reach, centre = TWIN_REACH * grains.radii_um[grain], grains.centres_um[grain]
            slabs = _place_slabs(thickness / in_plane / 2, reach, rng)
            for column, (middle, half_width) in enumerate(slabs):
                rotations.append(twin)
                self._middle[grain, column] = middle + centre @ self._across[grain]
                self._half_width[grain, column] = half_width
                self._number[grain, column] = len(rotations)
        # (lamellae, 4) lab2crystal; the lamella numbered t has row t - 1
        self.rotations = np.reshape(rotations, (-1, 4))
        self.widths_um = np.full(len(rotations) + 1, np.nan)  # (t,) on the surface
        self.widths_um[self._number] = np.where(self._number, 2 * self._half_width, np.nan)

    def locate(self, points_um: np.ndarray, grain: np.ndarray) -> np.ndarray:
        """Return the number (n,) int32 of the lamella at points of known grain, 0 for none."""
        position = (points_um * self._across[grain]).sum(1)
        away = np.abs(position[:, None] - self._middle[grain])
        # Lamellae of a grain do not overlap.
        return np.where(away <= self._half_width[grain], self._number[grain], 0).max(1, initial=0)


def _surface_normals(crystals):
    """The {111} normals in the sample, (..., 4, 3), of lab2crystal (..., 4)."""
    return PLANES_111 @ Rotation.from_quat(crystals, scalar_first=True).as_matrix()


def _place_slabs(half_widths, reach, rng):
    """Return (middle, half width) of slabs that do not overlap."""
    placed = []
    for half in np.sort(half_widths)[::-1]:
        for middle in rng.uniform(-reach, reach, SLAB_TRIES):
            if all(abs(middle - other) > half + width for other, width in placed):
                placed.append((middle, half))
                break
    return placed


class ParticleMap:
    """All particles of a specimen."""

    def __init__(
        self, specimen: Specimen, grains: GrainMap, cells: CellStructure | None, rng: Generator
    ):
        settings = specimen.particles
        largest = settings.radius_um[1]
        extent = np.array(specimen.size_um) + 2 * largest
        count = rng.poisson(settings.per_1000_um2 * extent.prod() / 1000)
        centres = rng.uniform(0, extent, (count, 2)) - largest
        radii = np.exp(rng.uniform(*np.log(settings.radius_um), count))
        rotations = quaternions.random_rotations(count, rng)
        shares = np.array(list(settings.shares.values()))
        phases = np.array([PHASES.index(name) for name in settings.shares], np.int8)
        phase = rng.choice(phases, count, p=shares / shares.sum())
        present = np.ones(count, bool)
        if cells is not None and count:
            centres, present = _move_to_walls(centres, AT_WALL * radii, grains, cells)
        self.centres_um, self.radii_um = centres[present], radii[present]  # (m, 2), (m,)
        self.rotations = rotations[present]  # (m, 4) lab2crystal
        self.phase = phase[present]  # (m,) int8 index into PHASES
        self._discs = _PowerDiagram(self.centres_um, self.radii_um)

    def locate(self, points_um: np.ndarray) -> np.ndarray:
        """Return the number (n,) of the particle at points (n, 2), -1 for none."""
        return self._discs.inside(points_um)


def _move_to_walls(centres, tolerance, grains, cells):
    """Return centres moved to the nearest walls, and which of them arrived."""
    home = grains.locate(centres)[0]
    for _ in range(MOVES):
        there = cells.locate(centres, home)
        centres = centres + there.to_wall_um[:, None] * there.wall_normal
    arrived = cells.locate(centres, home).to_wall_um <= tolerance
    return centres, arrived & (grains.locate(centres)[0] == home)


class SlipBands:
    """Bands along the trace of each crystal's most stressed {111} plane.

    ``crystals`` (m, 4) lab2crystal are those of grains and twins.
    """

    def __init__(self, settings: Deformation, crystals: np.ndarray, rng: Generator):
        self._settings = settings
        tension = {"x": (1, 0, 0), "y": (0, 1, 0)}[settings.tension_axis]
        plane = _schmid_factors(crystals, np.array(tension)).argmax(1)
        across = _surface_normals(crystals)[np.arange(len(crystals)), plane, :2]
        in_plane = np.maximum(np.linalg.norm(across, axis=1, keepdims=True), LEAST_IN_PLANE)
        self._across = across / in_plane / settings.slip_band_spacing_um
        self._first = rng.integers(0, BANDS, len(crystals))
        self._place = rng.uniform(-BAND_JITTER, BAND_JITTER, BANDS)
        self._strength = rng.uniform(WEAKEST, 1, BANDS)

    def density(self, points_um: np.ndarray, crystal: np.ndarray) -> np.ndarray:
        """Return the density added at points (n, 2) of known crystal (n,), (n,)."""
        settings = self._settings
        position = (points_um * self._across[crystal]).sum(1)
        nearest = np.round(position).astype(int)
        added = np.zeros(len(points_um))
        for band in (nearest - 1, nearest, nearest + 1):
            number = (band + self._first[crystal]) % BANDS
            away = (position - band - self._place[number]) * settings.slip_band_spacing_um
            added += self._strength[number] * bell(away, settings.slip_band_width_um)
        return settings.slip_band_density_per_percent * settings.strain_percent * added


def _schmid_factors(crystals: np.ndarray, tension: np.ndarray) -> np.ndarray:
    """Largest Schmid factor on each {111} plane, (m, 4); tension is a unit vector in the sample."""
    axis = Rotation.from_quat(crystals, scalar_first=True).apply(tension)
    contained = np.abs(PLANES_111 @ DIRECTIONS_110.T) < 1e-9  # directions in the plane
    along = np.where(contained, np.abs(axis @ DIRECTIONS_110.T)[:, None], 0).max(-1)
    return np.abs(axis @ PLANES_111.T) * along


class ScratchMap:
    """Scratches across the whole specimen, each through a random point at a random angle."""

    def __init__(self, specimen: Specimen, rng: Generator):
        self._settings = specimen.scratches
        angle = rng.uniform(*np.radians(self._settings.normals_deg), self._settings.count)
        self._normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        through = rng.uniform(0, specimen.size_um, (self._settings.count, 2))
        self._offsets = (through * self._normals).sum(1)

    def density(self, points_um: np.ndarray) -> np.ndarray:
        """Return the density added at points (n, 2), (n,)."""
        return self._settings.density * bell(self._away(points_um), self._settings.width_um).sum(1)

    def turn_deg(self, points_um: np.ndarray) -> np.ndarray:
        """Return the rotation vectors (n, 3) that scratches add at points (n, 2).

        At a distance d the angle goes as d exp(-d^2 / (2 length^2)): none in the middle of a
        scratch, the highest at the length on either side.
        """
        away = self._away(points_um) / self._settings.turn_length_um
        angle = self._settings.turn_deg * away * np.exp((1 - away**2) / 2)
        along = np.insert(self._normals[:, ::-1] * (-1, 1), 2, 0, axis=1)
        return angle @ along

    def _away(self, points_um):
        return points_um @ self._normals.T - self._offsets
