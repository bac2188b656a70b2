"""Second-phase particles: discs at random places, or on the nearest cell walls."""

import numpy as np

from kikuhelpers.scans.virtual.cells import CellStructure
from kikuhelpers.scans.virtual.grains import GrainMap, PowerDiagram
from kikuhelpers.scans.virtual.rotations import random_rotations
from kikuhelpers.study.specimen import PHASES, Particles

MOVES = 4  # towards the nearest wall: beyond a corner, the first ends in another cell
AT_WALL = 0.1  # of its radius: a particle that stays farther from the wall is left out


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
        self,
        settings: Particles,
        size_um: tuple[float, float],
        grains: GrainMap,
        cells: CellStructure | None,
        rng: np.random.Generator,
    ):
        largest = settings.radius_um[1]
        extent = np.array(size_um) + 2 * largest
        count = rng.poisson(settings.per_1000_um2 * extent.prod() / 1000)
        centres = rng.uniform(0, extent, (count, 2)) - largest
        radii = np.exp(rng.uniform(*np.log(settings.radius_um), count))
        rotations = random_rotations(count, rng)
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
