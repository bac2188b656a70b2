"""What lies in the grains: twin lamellae, particles, slip bands and scratches.

Twins are Sigma-3: parallel slabs of a grain along one of its {111} planes. Particles are discs at
random places, or on the nearest cell walls. Slip bands and scratches are straight lines of raised
density.
"""

import numpy as np
from numpy.random import Generator

from kikuhelpers.scans.virtual import fields_and_rotations as quaternions
from kikuhelpers.scans.virtual.cells import CellStructure, bell
from kikuhelpers.scans.virtual.grains import GrainMap, PowerDiagram
from kikuhelpers.study.specimen import PHASES, Deformation, Specimen, Twins

PLANES_111 = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3)
DIRECTIONS_110 = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]])
DIRECTIONS_110 = DIRECTIONS_110 / np.sqrt(2)

TWIN_ANGLE_DEG = 60.0  # Sigma-3, about <111>
TWIN_REACH = 0.9  # of the grain's radius: the middles of the lamellae lie within
TRIES = 20  # places tried for a lamella before it is left out

MOVES = 4  # of a particle to the nearest wall: beyond a corner, the first ends in another cell
AT_WALL = 0.1  # of its radius: a particle that stays farther from the wall is left out

BANDS = 1024  # bands of different strength and place, after which they repeat
JITTER = 0.45  # of the spacing: how irregularly slip bands follow each other
WEAKEST = 0.1  # strength of the weakest slip band, of the strongest
LEAST_IN_PLANE = 0.2  # keeps the spacing of bands on planes close to the surface finite


class TwinLamellae:
    """The lamellae of all grains.

    Parameters
    ----------
    settings
        None for no twins.
    grains
        The grains; lamellae grow in the recrystallised ones.
    crystals
        (grains, 4) lab2crystal of the parents.
    rng
        Random numbers.

    Attributes
    ----------
    rotations
        (lamellae, 4) lab2crystal; the lamella numbered t has row t - 1.
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
        self.rotations = np.reshape(rotations, (-1, 4))

    def locate(self, points_um: np.ndarray, grain: np.ndarray) -> np.ndarray:
        """Return the number (n,) int32 of the lamella at points of known grain, 0 for none."""
        position = (points_um * self._across[grain]).sum(1)
        away = np.abs(position[:, None] - self._middle[grain])
        # Lamellae of a grain do not overlap.
        return np.where(away <= self._half_width[grain], self._number[grain], 0).max(1, initial=0)


def _surface_normals(crystals):
    """The {111} normals in the sample, (..., 4, 3), of lab2crystal (..., 4)."""
    return quaternions.rotate((crystals * quaternions.CONJUGATE)[..., None, :], PLANES_111)


def _place_slabs(half_widths, reach, rng):
    """Return (middle, half width) of slabs that do not overlap."""
    placed = []
    for half in np.sort(half_widths)[::-1]:
        for middle in rng.uniform(-reach, reach, TRIES):
            if all(abs(middle - other) > half + width for other, width in placed):
                placed.append((middle, half))
                break
    return placed


class ParticleMap:
    """All particles of a specimen.

    Attributes
    ----------
    centres_um
        (m, 2).
    radii_um
        (m,).
    rotations
        (m, 4), lab2crystal, random.
    phase
        (m,) int8 index into PHASES.
    """

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
        self.centres_um, self.radii_um = centres[present], radii[present]
        self.rotations, self.phase = rotations[present], phase[present]
        self._discs = PowerDiagram(self.centres_um, self.radii_um) if present.any() else None

    def locate(self, points_um: np.ndarray) -> np.ndarray:
        """Return the number (n,) of the particle at points (n, 2), -1 for none."""
        if self._discs is None:
            return np.full(len(points_um), -1)
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

    Parameters
    ----------
    settings
        Deformation; its tension axis and strain count here.
    crystals
        (m, 4) lab2crystal of grains and twins.
    rng
        Random numbers.
    """

    def __init__(self, settings: Deformation, crystals: np.ndarray, rng: Generator):
        self._settings = settings
        tension = {"x": (1, 0, 0), "y": (0, 1, 0)}[settings.tension_axis]
        plane = schmid_factors(crystals, np.array(tension)).argmax(1)
        across = _surface_normals(crystals)[np.arange(len(crystals)), plane, :2]
        in_plane = np.maximum(np.linalg.norm(across, axis=1, keepdims=True), LEAST_IN_PLANE)
        self._across = across / in_plane / settings.slip_band_spacing_um
        self._first = rng.integers(0, BANDS, len(crystals))
        self._place = rng.uniform(-JITTER, JITTER, BANDS)
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


def schmid_factors(crystals: np.ndarray, tension: np.ndarray) -> np.ndarray:
    """Return the largest Schmid factor on each {111} plane, (m, 4).

    Parameters
    ----------
    crystals
        (m, 4) lab2crystal.
    tension
        (3,) unit vector in the sample.
    """
    axis = quaternions.rotate(crystals, np.broadcast_to(tension, (len(crystals), 3)))
    contained = np.abs(PLANES_111 @ DIRECTIONS_110.T) < 1e-9  # directions in the plane
    along = np.where(contained, np.abs(axis @ DIRECTIONS_110.T)[:, None], 0).max(-1)
    return np.abs(axis @ PLANES_111.T) * along


class ScratchMap:
    """Scratches across the whole specimen, each through a random point at a random angle."""

    def __init__(self, specimen: Specimen, rng: Generator):
        self._settings = specimen.scratches
        angle = rng.uniform(0, np.pi, self._settings.count)
        self._normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        through = rng.uniform(0, specimen.size_um, (self._settings.count, 2))
        self._offsets = (through * self._normals).sum(1)

    def density(self, points_um: np.ndarray) -> np.ndarray:
        """Return the density added at points (n, 2), (n,)."""
        away = points_um @ self._normals.T - self._offsets
        return self._settings.density * bell(away, self._settings.width_um).sum(1)
