"""Second-phase particles: discs at random places, or on the nearest cell walls."""

from collections.abc import Callable

import numpy as np

from kikuhelpers.scans.virtual.cells import CellStructure
from kikuhelpers.scans.virtual.grains import PowerDiagram
from kikuhelpers.scans.virtual.rotations import random_rotations
from kikuhelpers.study.specimen import PHASES, Particles

MOVES = 4  # towards the nearest wall; beyond a corner the first ends on another cell's wall
AT_WALL = 0.1  # of its radius: a particle farther off the wall is left out


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
        cells: CellStructure | None,
        grain_at: Callable[[np.ndarray], np.ndarray],
        rng: np.random.Generator,
    ):
        largest = settings.radius_um[1]
        extent = np.array(size_um) + 2 * largest
        count = rng.poisson(settings.per_1000_um2 * extent.prod() / 1000)
        centres = rng.uniform(0, extent, (count, 2)) - largest
        radii = np.exp(rng.uniform(*np.log(settings.radius_um), count))
        self.rotations = random_rotations(count, rng)
        names = list(settings.shares)
        shares = np.array(list(settings.shares.values()))
        drawn = rng.choice(len(names), count, p=shares / shares.sum())
        self.phase = np.array([PHASES.index(name) for name in names], np.int8)[drawn]
        if cells is not None and count:
            centres, on_wall = _move_to_walls(centres, AT_WALL * radii, cells, grain_at)
            centres, radii = centres[on_wall], radii[on_wall]
            self.rotations, self.phase = self.rotations[on_wall], self.phase[on_wall]
        self.centres_um, self.radii_um = centres, radii
        self._discs = PowerDiagram(centres, radii) if len(radii) else None

    def locate(self, points_um: np.ndarray) -> np.ndarray:
        """Return the number (n,) of the particle at points (n, 2), -1 for none."""
        if self._discs is None:
            return np.full(len(points_um), -1)
        return self._discs.inside(points_um)


def _move_to_walls(centres, tolerance, cells, grain_at):
    """Return centres moved to the nearest walls, and which of them arrived."""
    home = grain_at(centres)
    for _ in range(MOVES):
        there = cells.locate(centres, home)
        centres = centres + there.to_wall_um[:, None] * there.wall_normal
    arrived = cells.locate(centres, home).to_wall_um <= tolerance
    return centres, arrived & (grain_at(centres) == home)
