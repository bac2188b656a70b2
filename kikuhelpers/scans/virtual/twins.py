"""Sigma-3 twin lamellae: parallel slabs of a grain along one of its {111} planes."""

import numpy as np

from kikuhelpers.scans.virtual.grains import GrainMap
from kikuhelpers.scans.virtual.rotations import from_vectors, inverse, multiply, rotate
from kikuhelpers.study.specimen import Twins

TWIN_ANGLE_DEG = 60.0  # Sigma-3, about <111>
PLANES_111 = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3)
REACH = 0.9  # of the grain's radius: the middles of the lamellae lie within
TRIES = 20  # places tried for a lamella before it is left out


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

    def __init__(
        self,
        settings: Twins | None,
        grains: GrainMap,
        crystals: np.ndarray,
        rng: np.random.Generator,
    ):
        most = settings.per_grain[1] if settings else 0
        self._across = np.zeros((len(crystals), 2))
        self._middle = np.zeros((len(crystals), most))  # along across, from the origin
        self._half_width = np.full((len(crystals), most), -1.0)  # on the surface; -1: none
        self._number = np.zeros((len(crystals), most), np.int32)
        rotations = []
        twinned = round(settings.grain_fraction * len(grains.recrystallised)) if settings else 0
        for grain in rng.permutation(grains.recrystallised)[:twinned]:
            plane, across = _twin_plane(crystals[grain], rng)
            in_plane = np.linalg.norm(across)
            self._across[grain] = across / in_plane
            twin = multiply(from_vectors(TWIN_ANGLE_DEG * plane), crystals[grain])
            wanted = rng.integers(*settings.per_grain, endpoint=True)
            thickness = np.exp(rng.uniform(*np.log(settings.lamella_width_um), wanted))
            slabs = _place_slabs(thickness / in_plane / 2, REACH * grains.radii_um[grain], rng)
            for column, (middle, half_width) in enumerate(slabs):
                rotations.append(twin)
                centre = grains.centres_um[grain] @ self._across[grain]
                self._middle[grain, column] = middle + centre
                self._half_width[grain, column] = half_width
                self._number[grain, column] = len(rotations)
        self.rotations = np.reshape(rotations, (-1, 4))

    def locate(self, points_um: np.ndarray, grain: np.ndarray) -> np.ndarray:
        """Return the number (n,) int32 of the lamella at points of known grain, 0 for none."""
        position = (points_um * self._across[grain]).sum(1)
        twin = np.zeros(len(points_um), np.int32)
        for column in range(self._number.shape[1]):
            away = np.abs(position - self._middle[grain, column])
            hit = away <= self._half_width[grain, column]
            twin[hit] = self._number[grain[hit], column]
        return twin


def surface_normals(crystals: np.ndarray) -> np.ndarray:
    """Return the {111} normals in the sample, (..., 4, 3), of lab2crystal (..., 4)."""
    return rotate(inverse(crystals)[..., None, :], PLANES_111)


def _twin_plane(crystal, rng):
    """Draw a {111} plane: its normal in the crystal, and in the surface (not of length 1).

    The plane closest to the surface is left out: its lamella would cover the grain.
    """
    across = surface_normals(crystal)[:, :2]
    steep = np.argsort(np.linalg.norm(across, axis=1))[1:]
    pick = rng.choice(steep)
    return PLANES_111[pick], across[pick]


def _place_slabs(half_widths, reach, rng):
    """Return (middle, half width) of slabs that do not overlap."""
    placed = []
    for half in np.sort(half_widths)[::-1]:
        for middle in rng.uniform(-reach, reach, TRIES):
            if all(abs(middle - other) > half + width for other, width in placed):
                placed.append((middle, half))
                break
    return placed
