"""Dislocation cells and rotation domains: each grain sees one Voronoi pattern its own way.

One cloud of seeds, repeated without end, serves all grains. Each grain scales, stretches,
turns and shifts the cloud. Domains are bundles of cells, so that low-angle boundaries run
along walls.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.spatial import KDTree

from kikuhelpers.scans.virtual.fields_and_rotations import RandomField
from kikuhelpers.study.specimen import Cells

PERIOD = 96  # cells, after which the cloud repeats: longer than most grains
JITTER = 0.4  # of the spacing: the cloud is a shaken square grid, so that cells are alike
# Candidates for the nearest wall of a cell, the cell itself included. Stretched cells need more
# than round ones, because the nearest seed in the cloud is not the nearest in the sample.
NEIGHBOURS = 5
# Between two cells the share of the other one's turn is logistic in the distance from the wall.
# Its slope falls to a half at arccosh(sqrt 2) / 2 of a decay length, on either side.
DECAYS_PER_WIDTH = 4 * np.arccosh(np.sqrt(2))
LEAST_SHARE = 1e-3  # of another cell's turn that counts


@dataclass(frozen=True)
class CellState:
    """Cells at n points."""

    domain: np.ndarray  # (n,) number in its grain, below ``CellStructure.domains``
    turn_deg: np.ndarray  # (n, 3) rotation vector of cell and domain, smooth across walls
    density_ratio: np.ndarray  # (n,) density over that of the cell's interior
    strain: np.ndarray  # (n,) by segregation to the walls
    to_wall_um: np.ndarray  # (n,) distance from the nearest wall
    wall_normal: np.ndarray  # (n, 2) unit vector towards it


class CellStructure:
    """Cells and domains of all grains."""

    def __init__(self, settings: Cells, grains: int, rng: Generator):
        self._settings = settings
        self._cells, self._domains = _SeedCloud(rng), _SeedCloud(rng)
        self.domains = self._domains.count
        size = rng.uniform(*settings.size_um, grains)
        root = np.sqrt(rng.uniform(*settings.elongation, grains))
        direction = rng.uniform(0, np.pi, grains)
        cos, sin = np.cos(direction), np.sin(direction)
        # From the sample to the cloud: cells are long along (cos, sin).
        rows = np.array([cos, sin]) / (size * root), np.array([-sin, cos]) * (root / size)
        self._to_cloud = np.moveaxis(np.array(rows), -1, 0).copy()
        self._from_cloud = np.linalg.inv(self._to_cloud)
        product = self._to_cloud @ self._to_cloud.transpose(0, 2, 1)
        self._metric = product[:, [0, 0, 1], [0, 1, 1]]  # xx, xy, yy of a gradient's square
        self._shift = rng.uniform(0, PERIOD, (grains, 2))
        self._domain_shift = rng.uniform(0, PERIOD, (grains, 2))
        self._ratio = rng.uniform(*settings.wall_density_ratio, grains)
        self._cell_turns = settings.misorientation_deg * rng.standard_normal((self._cells.count, 3))
        turns = rng.standard_normal((self.domains, 3))
        self._domain_turns = settings.domain_misorientation_deg * turns
        self._waves = RandomField(2, settings.waviness_length_um, rng)
        self._first_turn = rng.integers(0, self._cells.count, grains)

    def locate(self, points_um: np.ndarray, grain: np.ndarray) -> CellState:
        """Return the cells at points (n, 2) of known grain (n,)."""
        settings = self._settings
        waved_um = points_um + settings.waviness_um * self._waves(points_um)
        there = _apply(self._to_cloud[grain], waved_um) + self._shift[grain]
        number, offset = self._cells.nearest(there, NEIGHBOURS)
        # The difference of the squared distances from two seeds is linear in the point, and
        # zero on the wall between them: its slope, seen in the sample, gives the wall's distance.
        nearer = (offset**2).sum(-1)
        nearer = nearer[:, 1:] - nearer[:, :1]
        x, y = np.moveaxis(offset[:, 1:] - offset[:, :1], -1, 0)
        xx, xy, yy = self._metric[grain].T[..., None]
        distances = nearer / (2 * np.sqrt(xx * x**2 + 2 * xy * x * y + yy * y**2))
        wall = np.arange(len(there)), distances.argmin(1)
        to_wall_um = distances[wall]
        across = np.stack([x[wall], y[wall]], axis=1)
        normal = _apply(self._to_cloud[grain].transpose(0, 2, 1), across)
        normal /= np.sqrt((normal**2).sum(1, keepdims=True))
        domain, turn = self._turn(number[:, 0], offset[:, 0], waved_um, grain)
        if settings.turn_width_um:
            share = np.exp(-DECAYS_PER_WIDTH * distances / settings.turn_width_um)
            share /= 1 + share.sum(1, keepdims=True)
            point, other = np.nonzero(share > LEAST_SHARE)
            near = number[point, other + 1], offset[point, other + 1], waved_um[point], grain[point]
            apart = self._turn(*near)[1] - turn[point]
            np.add.at(turn, point, share[point, other, np.newaxis] * apart)
        dense = bell(to_wall_um, settings.wall_width_um)
        density_ratio = 1 + (self._ratio[grain] - 1) * dense
        strain = settings.segregation_strain * bell(to_wall_um, settings.segregation_width_um)
        return CellState(domain, turn, density_ratio, strain, to_wall_um, normal)

    def _turn(self, number, offset, waved_um, grain):
        """Domain (n,) of cells (n,) at offsets in the cloud, and turn (n, 3) of cell and domain."""
        # A cell belongs to the domain in which its seed lies.
        seed_um = waved_um + _apply(self._from_cloud[grain], offset)
        place = seed_um / self._settings.domain_size_um + self._domain_shift[grain]
        domain = self._domains.nearest(place, 1)[0][:, 0]
        first = self._first_turn[grain]
        turn = self._cell_turns[(number + first) % self._cells.count]
        return domain, turn + self._domain_turns[(domain + first) % self.domains]


def bell(distance_um: np.ndarray, fwhm_um: float) -> np.ndarray:
    """Gaussian of height 1 and the given full width at half maximum."""
    return np.exp2(-((2 * distance_um / fwhm_um) ** 2))


class _SeedCloud:
    """A periodic cloud of points, one per unit area, and its nearest neighbours."""

    def __init__(self, rng: Generator):
        grid = np.stack(np.indices((PERIOD, PERIOD)), -1).reshape(-1, 2) + 0.5
        self._seeds = grid + rng.uniform(-JITTER, JITTER, grid.shape)
        self._tree = KDTree(self._seeds, boxsize=PERIOD)
        self.count = len(grid)

    def nearest(self, points: np.ndarray, few: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (n, few) of the nearest seeds and their offsets (n, few, 2)."""
        wrapped = (points % PERIOD)[:, None]
        number = self._tree.query(wrapped[:, 0], k=list(range(1, few + 1)))[1]
        seeds = self._seeds[number]
        # The nearest seed may lie in the next period.
        return number, seeds + PERIOD * np.round((wrapped - seeds) / PERIOD) - wrapped


def _apply(matrices, vectors):
    """Matrices (n, 2, 2) times vectors (n, 2); plain sums are faster than einsum."""
    return matrices[:, :, 0] * vectors[:, :1] + matrices[:, :, 1] * vectors[:, 1:]
