"""Grains: a Laguerre tessellation of log-normal discs, and the necklace along its boundaries.

The Laguerre (power) diagram of discs gives convex grains whose sizes follow those of the discs.
A Voronoi diagram cannot do that (doi:10.1080/14786435.2020.1790053, arXiv:1912.07188).
"""

import numpy as np
from numpy.random import Generator
from scipy.spatial import KDTree
from scipy.special import ndtri

from kikuhelpers.scans.virtual.fields_and_rotations import RandomField
from kikuhelpers.study.specimen import Specimen

NEIGHBOURS = 6  # candidates for the nearest boundary of a grain, the grain itself included
TRIES = 40  # places tried for a disc; the one with the least overlap is taken
NECKLACE_JITTER = 0.45  # of the spacing: the necklace's seeds are a shaken square grid


class PowerDiagram:
    """Which disc's power cell a point lies in, and how far from its boundary.

    The cell of the disc (s, r) holds the points for which the power |p - s|^2 - r^2 is least.
    Lifted to the height sqrt(max r^2 - r^2) the discs become points, and the disc of the least
    power becomes the nearest neighbour.

    Parameters
    ----------
    centres_um
        (m, 2) centres of the discs.
    radii_um
        (m,) radii, along y.
    stretch
        The discs are ellipses, that much longer along x.
    """

    def __init__(self, centres_um: np.ndarray, radii_um: np.ndarray, stretch: float = 1.0):
        self.centres_um, self.radii_um = centres_um, radii_um
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
    """All grains of a specimen; the necklace's are numbered after the others.

    Attributes
    ----------
    first_small
        Number of the first grain of the necklace; equal to ``count`` without one.
    count
        Number of all grains.
    recrystallised
        Numbers of the grains that may hold twins: the necklace's, or all without a necklace.
    centres_um
        (count, 2) centres.
    radii_um
        (count,) radii, across y.
    """

    def __init__(self, settings: Specimen, rng: Generator, necklace_rng: Generator):
        self._waviness_um = settings.grains.waviness_um
        self._waves = RandomField(2, settings.grains.waviness_length_um, rng)
        self._large, self._small = _pack_discs(settings.grains, settings.size_um, rng), None
        self.centres_um, self.radii_um = self._large.centres_um, self._large.radii_um
        self.first_small = len(self.radii_um)
        if settings.necklace:
            self._add_necklace(settings.necklace, settings.size_um, necklace_rng)
        self.count = len(self.radii_um)
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
        self._small = PowerDiagram(seeds, width / 2)
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
        places = rng.uniform(0, extent, (TRIES, 2))
        apart = np.linalg.norm(places[:, None] - centres[:i], axis=-1)
        gap = (apart - radii[:i] - radius).min(1, initial=np.inf)
        centres[i] = places[np.minimum(gap, 0).argmax()]
    centres = (centres - margin) * (stretch, 1)
    order = rng.permutation(count)  # numbers say nothing about sizes
    return PowerDiagram(centres[order], radii[order], stretch)
