"""Dislocation cells and rotation domains: each grain sees one Voronoi pattern its own way.

One cloud of seeds, repeated without end, serves all grains; a grain scales, stretches, turns
and shifts it. Domains are bundles of cells, so that low-angle boundaries run along walls.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from kikuhelpers.scans.virtual.random_fields import RandomField
from kikuhelpers.study.specimen import Cells

PERIOD = 96  # cells, after which the cloud repeats: longer than most grains
JITTER = 0.4  # of the spacing: the cloud is a shaken square grid, so that cells are alike
OVERLAP = 4  # cells that are kept of the next period, so that no cell misses a neighbour
# Candidates for the nearest wall of a cell, itself included; stretched cells need more than
# round ones, for the nearest in the cloud is not the nearest in the sample.
NEIGHBOURS = 5


class SeedCloud:
    """A periodic cloud of points, one per unit area, and its nearest neighbours."""

    def __init__(self, rng: np.random.Generator):
        grid = np.stack(np.indices((PERIOD, PERIOD)), -1).reshape(-1, 2) + 0.5
        grid += rng.uniform(-JITTER, JITTER, grid.shape)
        shifts = PERIOD * np.stack(np.indices((3, 3)) - 1, -1).reshape(-1, 1, 2)
        tiled = (grid + shifts).reshape(-1, 2)
        near = ((tiled > -OVERLAP) & (tiled < PERIOD + OVERLAP)).all(1)
        self.count = len(grid)
        self._seeds = tiled[near]
        self._number = np.flatnonzero(near) % self.count
        self._tree = KDTree(self._seeds)

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return number (n,) and offset from the point (n, 2) of the nearest seed."""
        wrapped = points % PERIOD
        index = self._tree.query(wrapped)[1]
        return self._number[index], self._seeds[index] - wrapped

    def nearest_few(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`nearest`, for the NEIGHBOURS nearest seeds: (n, k) and (n, k, 2)."""
        wrapped = points % PERIOD
        index = self._tree.query(wrapped, k=NEIGHBOURS)[1]
        return self._number[index], self._seeds[index] - wrapped[:, None]


@dataclass(frozen=True)
class CellState:
    """Cells at n points.

    Parameters
    ----------
    domain
        (n,) number of the domain in its grain, below ``CellStructure.domains``.
    turn_deg
        (n, 3) rotation vector of cell and domain.
    to_wall_um
        (n,) distance from the nearest wall.
    wall_normal
        (n, 2) unit vector towards it.
    """

    domain: np.ndarray
    turn_deg: np.ndarray
    to_wall_um: np.ndarray
    wall_normal: np.ndarray


class CellStructure:
    """Cells and domains of all grains."""

    def __init__(self, settings: Cells, grains: int, rng: np.random.Generator):
        self._settings = settings
        self._cells, self._domains = SeedCloud(rng), SeedCloud(rng)
        self.domains = self._domains.count
        size = rng.uniform(*settings.size_um, grains)
        root = np.sqrt(rng.uniform(*settings.elongation, grains))
        direction = rng.uniform(0, np.pi, grains)
        cos, sin = np.cos(direction), np.sin(direction)
        # From the sample to the cloud: cells are long along (cos, sin).
        self._to_cloud = np.empty((grains, 2, 2))
        self._to_cloud[:, 0] = np.stack([cos, sin], 1) / (size * root)[:, None]
        self._to_cloud[:, 1] = np.stack([-sin, cos], 1) * (root / size)[:, None]
        self._from_cloud = np.linalg.inv(self._to_cloud)
        product = self._to_cloud @ self._to_cloud.transpose(0, 2, 1)
        self._metric = product[:, [0, 0, 1], [0, 1, 1]]  # xx, xy, yy of a gradient's square
        self._shift = rng.uniform(0, PERIOD, (grains, 2))
        self._domain_shift = rng.uniform(0, PERIOD, (grains, 2))
        self._ratio = rng.uniform(*settings.wall_density_ratio, grains)
        self._cell_turns = settings.misorientation_deg * rng.standard_normal((self._cells.count, 3))
        self._domain_turns = settings.domain_misorientation_deg * rng.standard_normal(
            (self.domains, 3)
        )
        self._waves = RandomField(2, settings.waviness_length_um, rng)
        self._first_turn = rng.integers(0, self._cells.count, grains)

    def locate(self, points_um: np.ndarray, grain: np.ndarray) -> CellState:
        """Return the cells at points (n, 2) of known grain (n,)."""
        waved_um = points_um + self._settings.waviness_um * self._waves(points_um)
        there = _apply(self._to_cloud[grain], waved_um) + self._shift[grain]
        number, offset = self._cells.nearest_few(there)
        cell = number[:, 0]
        # How much nearer the own seed is than another is linear in the point, and zero on the
        # wall between them: its slope, seen in the sample, gives the wall's distance.
        nearer = (offset**2).sum(-1)
        nearer = nearer[:, 1:] - nearer[:, :1]
        x, y = np.moveaxis(offset[:, 1:] - offset[:, :1], -1, 0)
        xx, xy, yy = self._metric[grain].T[..., None]
        distances = nearer / (2 * np.sqrt(xx * x**2 + 2 * xy * x * y + yy * y**2))
        nearest = distances.argmin(1)
        row = np.arange(len(there))
        to_wall = distances[row, nearest]
        across = np.stack([x[row, nearest], y[row, nearest]], axis=1)
        normal = _apply(self._to_cloud[grain].transpose(0, 2, 1), across)
        normal /= np.sqrt((normal**2).sum(1, keepdims=True))
        # A cell belongs to the domain in which its seed lies.
        seed_um = waved_um + _apply(self._from_cloud[grain], offset[:, 0])
        place = seed_um / self._settings.domain_size_um + self._domain_shift[grain]
        domain = self._domains.nearest(place)[0]
        turn = self._cell_turns[(cell + self._first_turn[grain]) % self._cells.count]
        turn = turn + self._domain_turns[(domain + self._first_turn[grain]) % self.domains]
        return CellState(domain, turn, to_wall, normal)

    def density_ratio(self, cells: CellState, grain: np.ndarray) -> np.ndarray:
        """Return density over that of the cell's interior, (n,)."""
        wall = bell(cells.to_wall_um, self._settings.wall_width_um)
        return 1 + (self._ratio[grain] - 1) * wall

    def segregation_strain(self, cells: CellState) -> np.ndarray:
        """Return the strain by segregation to the walls, (n,)."""
        wall = bell(cells.to_wall_um, self._settings.segregation_width_um)
        return self._settings.segregation_strain * wall


def bell(distance_um: np.ndarray, fwhm_um: float) -> np.ndarray:
    """Gaussian of height 1 and the given full width at half maximum."""
    return np.exp2(-((2 * distance_um / fwhm_um) ** 2))


def _apply(matrices, vectors):
    """Matrices (..., 2, 2) times vectors (..., 2); plain sums are faster than einsum."""
    x, y = vectors[..., 0], vectors[..., 1]
    first = matrices[..., 0, 0] * x + matrices[..., 0, 1] * y
    second = matrices[..., 1, 0] * x + matrices[..., 1, 1] * y
    return np.stack([first, second], axis=-1)
