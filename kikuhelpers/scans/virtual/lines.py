"""Straight lines of raised density: scratches of the polish, and slip bands."""

import numpy as np

from kikuhelpers.scans.virtual.cells import bell
from kikuhelpers.scans.virtual.rotations import rotate
from kikuhelpers.scans.virtual.twins import PLANES_111, surface_normals
from kikuhelpers.study.specimen import Deformation, Scratches

DIRECTIONS_110 = np.array(
    [[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]]
) / np.sqrt(2)
BANDS = 1024  # bands of different strength and place, after which they repeat
JITTER = 0.45  # of the spacing: how irregularly slip bands follow each other
WEAKEST = 0.1  # strength of the weakest slip band, of the strongest
LEAST_IN_PLANE = 0.2  # keeps the spacing of bands on planes close to the surface finite


class ScratchMap:
    """Scratches across the whole specimen, each through a random point at a random angle."""

    def __init__(self, settings: Scratches, size_um: tuple[float, float], rng: np.random.Generator):
        self._settings = settings
        angle = rng.uniform(0, np.pi, settings.count)
        self._normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        through = rng.uniform(0, size_um, (settings.count, 2))
        self._offsets = (through * self._normals).sum(1)

    def density(self, points_um: np.ndarray) -> np.ndarray:
        """Return the density added at points (n, 2), (n,)."""
        away = points_um @ self._normals.T - self._offsets
        return self._settings.density * bell(away, self._settings.width_um).sum(1)


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

    def __init__(self, settings: Deformation, crystals: np.ndarray, rng: np.random.Generator):
        self._width_um = settings.slip_band_width_um
        self._density = settings.slip_band_density_per_percent * settings.strain_percent
        tension = {"x": (1, 0, 0), "y": (0, 1, 0)}[settings.tension_axis]
        plane = schmid_factors(crystals, np.array(tension)).argmax(1)
        across = surface_normals(crystals)[np.arange(len(crystals)), plane, :2]
        in_plane = np.maximum(np.linalg.norm(across, axis=1, keepdims=True), LEAST_IN_PLANE)
        self._spacing_um = settings.slip_band_spacing_um
        self._across = across / in_plane / self._spacing_um
        self._first = rng.integers(0, BANDS, len(crystals))
        self._place = rng.uniform(-JITTER, JITTER, BANDS)
        self._strength = rng.uniform(WEAKEST, 1, BANDS)

    def density(self, points_um: np.ndarray, crystal: np.ndarray) -> np.ndarray:
        """Return the density added at points (n, 2) of known crystal (n,), (n,)."""
        position = (points_um * self._across[crystal]).sum(1)
        nearest = np.round(position).astype(int)
        added = np.zeros(len(points_um))
        for band in (nearest - 1, nearest, nearest + 1):
            number = (band + self._first[crystal]) % BANDS
            away = (position - band - self._place[number]) * self._spacing_um
            added += self._strength[number] * bell(away, self._width_um)
        return self._density * added


def schmid_factors(crystals: np.ndarray, tension: np.ndarray) -> np.ndarray:
    """Return the largest Schmid factor on each {111} plane, (m, 4).

    Parameters
    ----------
    crystals
        (m, 4) lab2crystal.
    tension
        (3,) unit vector in the sample.
    """
    axis = rotate(crystals, np.broadcast_to(tension, (len(crystals), 3)))
    contained = np.abs(PLANES_111 @ DIRECTIONS_110.T) < 1e-9  # directions in the plane
    along = np.where(contained, np.abs(axis @ DIRECTIONS_110.T)[:, None], 0).max(-1)
    return np.abs(axis @ PLANES_111.T) * along
