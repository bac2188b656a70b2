"""Where the camera stands, which square of a pattern the network sees, and where its centre lies.

Camera pixels are averaged in blocks (``binning``), a square in the middle is cropped or padded, and
becomes the network's: by area averages where it is larger, by linear interpolation where smaller.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from kikuhelpers.patterns.up2 import PatternFileError
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.sizes import NETWORK_INPUT_PX

_SMALLEST_PX = 20  # of a binned pattern's shorter side: bands are some 5 % of it wide
_LONGEST_ASPECT = 4  # of the sides of a pattern; with more the square holds too little of it

Centre = tuple[float, float, float]


@dataclass(frozen=True)
class Detector:
    """Where the camera stands; the values are the usual ones."""

    # Bruker's convention; of the map's middle, if it moves
    pattern_centre: Centre = (0.5, 0.3, 0.6)
    sample_tilt_deg: float = 70.0
    detector_tilt_deg: float = 0.0
    screen_um: float = np.inf  # width of what a pattern shows; infinite: one centre for the map

    def camera(self, shape: tuple[int, int]):
        """Return kikuchipy's detector of patterns of a shape (height, width)."""
        from kikuchipy.detectors import EBSDDetector  # takes seconds: only who needs it waits

        tilts = {"sample_tilt": self.sample_tilt_deg, "tilt": self.detector_tilt_deg}
        pixel_um = self.screen_um / shape[1]
        return EBSDDetector(shape, px_size=pixel_um, pc=self.pattern_centre, **tilts)

    def centres(self, shape, map_shape: tuple[int, int], step_um: float) -> np.ndarray:
        """Return the pattern centre (points, 3) of each point of a map, Bruker's convention.

        It moves with the beam as kikuchipy says: a map is scanned up the slope, row by row.
        """
        at_zero = replace(self, pattern_centre=(0.0, 0.0, 0.0)).camera(shape)
        moved = at_zero.extrapolate_pc((0, 0), map_shape, (step_um, step_um)).pc.reshape(-1, 3)
        return self.pattern_centre + (moved - moved.mean(axis=0))


@dataclass(frozen=True)
class Geometry:
    """How a scan's patterns become the network's; see :func:`geometry_of`.

    Pattern centres are in Bruker's convention: x from the left over the width, y from the top over
    the height, distance over the height. Of the camera they become those of the square exactly:
    x' = (x w - left) / side, y' = (y h - top) / side, z' = z h / side.
    """

    binning: int
    binned: tuple[int, int]  # height, width after it, the pixels of what follows
    side: int  # of the square
    corner: tuple[int, int]  # its top, left; negative where it is padded

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the camera that the square holds."""
        ends = [(self.binning * max(0, n), self.binning * (n + self.side)) for n in self.corner]
        return slice(*ends[0]), slice(*ends[1])

    @property
    def block(self) -> int:
        """Side in camera pixels of the block behind a network's pixel; 0 where it is no whole."""
        whole = min(self.corner) >= 0 and self.side % NETWORK_INPUT_PX == 0
        return self.binning * self.side // NETWORK_INPUT_PX if whole else 0

    @cached_property
    def weights(self) -> sparse.csr_array:
        """Weights of the window's pixels in the network's (120 * 120, pixels), float32.

        A line sums to 1; it is empty where the network's pixel is not wholly on the camera.
        """
        return sparse.kron(self._lines(0), self._lines(1), "csr")

    @property
    def on_camera(self) -> np.ndarray:
        """(120, 120) bool, True where the network's pixel is wholly on the camera."""
        return (np.diff(self.weights.indptr) > 0).reshape(NETWORK_INPUT_PX, NETWORK_INPUT_PX)

    def to_square(self, centre: Centre) -> Centre:
        """Return the square's pattern centre for one of the camera."""
        height, width, top, left = np.divide((*self.binned, *self.corner), self.side).tolist()
        return centre[0] * width - left, centre[1] * height - top, centre[2] * height

    def to_camera(self, centre: Centre) -> Centre:
        """Return the camera's pattern centre for one of the square."""
        height, width, top, left = np.divide((*self.binned, *self.corner), self.side).tolist()
        return (centre[0] + left) / width, (centre[1] + top) / height, centre[2] / height

    def _lines(self, axis: int) -> sparse.csr_array:
        """Weights (120, pixels of the window) of an axis: of areas, or between nearest middles."""
        # In units of 1 / 120 pixel the edges of the network's pixels are whole numbers.
        unit, size, start = NETWORK_INPUT_PX, self.binned[axis], self.corner[axis]
        edges = unit * start + self.side * np.arange(unit + 1)[:, np.newaxis]
        first, last = edges[:-1], edges[1:]
        pixel = np.arange(max(0, start), min(size, start + self.side))
        if self.side >= unit:
            covered = np.minimum(last, unit * (pixel + 1)) - np.maximum(first, unit * pixel)
            weights = np.maximum(covered, 0) / self.side
        else:  # beyond the middles of the outermost pixels these alone
            middle = np.clip(((first + last) / unit - 1) / 2, pixel[0], pixel[-1])
            weights = np.maximum(1 - np.abs(middle - pixel), 0)
        weights = weights * ((first >= 0) & (last <= unit * size)) / self.binning
        return sparse.csr_array(np.repeat(weights, self.binning, axis=1).astype(np.float32))


def geometry_of(camera: tuple[int, int], scan: ScanPreprocessing) -> Geometry:
    """Return the geometry of a scan with patterns of (height, width) px.

    PatternFileError if the binning leaves pixels over, or the patterns are too small or too narrow.
    """
    height, width = binned = tuple(n // scan.binning for n in camera)
    whole = all(n % scan.binning == 0 for n in camera) and min(binned) >= _SMALLEST_PX
    if not whole or max(binned) > _LONGEST_ASPECT * min(binned):
        raise PatternFileError(
            f"Patterns of {camera[0]} x {camera[1]} px cannot be used with binning {scan.binning}: "
            f"it must divide both sides and leave {_SMALLEST_PX} px of each, and no side may be "
            f"over {_LONGEST_ASPECT} times the other."
        )
    side = max(binned) if scan.square == "pad" else min(binned)
    return Geometry(scan.binning, binned, side, ((height - side) // 2, (width - side) // 2))
