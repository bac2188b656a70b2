"""From the camera to the network: which square of a pattern it sees, and where the centre lies.

Camera pixels are averaged in blocks (``binning``), a centred square is cropped from the result or
padded around it, and the square becomes the network's: by area averages where it is larger, by
linear interpolation where it is smaller. Rows and columns go separately, each by a matrix.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kikuhelpers.patterns.up2 import PatternFileError
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.sizes import NETWORK_INPUT_PX

_SMALLEST_PX = 20  # of a binned pattern's shorter side: bands are some 5 % of it wide
_LONGEST_ASPECT = 4.0  # of the sides of a pattern; with more the square holds too little of it

Centre = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """How a scan's patterns become the network's.

    Pattern centres are in Bruker's convention: x from the left over the width, y from the top over
    the height, distance over the height. Of the camera they become those of the square exactly:
    x' = (x w - left) / side, y' = (y h - top) / side, z' = z h / side.

    Raises
    ------
    PatternFileError
        The binning leaves pixels over, or the patterns are too small or too narrow.

    Examples
    --------
    >>> geometry = Geometry((128, 156), ScanPreprocessing())
    >>> geometry.side, geometry.corner, geometry.to_square((0.5, 0.25, 0.625))
    (128, (0, 14), (0.5, 0.25, 0.625))
    """

    camera: tuple[int, int]  # height, width of a pattern as in the file
    scan: ScanPreprocessing

    def __post_init__(self):
        (height, width), binning = self.camera, self.scan.binning
        if height % binning or width % binning:
            raise PatternFileError(
                f"Patterns of {height} x {width} px cannot be binned by {binning}: set the scan's "
                "binning to 1 or to another divisor of both."
            )
        if min(self.binned) < _SMALLEST_PX or max(self.camera) > _LONGEST_ASPECT * min(self.camera):
            raise PatternFileError(
                f"Patterns of {height} x {width} px, binned by {binning}, are too small or too "
                f"narrow: they need {_SMALLEST_PX} px a side, and one side at most "
                f"{_LONGEST_ASPECT:g} times the other."
            )

    @property
    def binned(self) -> tuple[int, int]:
        """(height, width) after the binning."""
        return self.camera[0] // self.scan.binning, self.camera[1] // self.scan.binning

    @property
    def side(self) -> int:
        """Side of the square in binned pixels."""
        return max(self.binned) if self.scan.square == "pad" else min(self.binned)

    @property
    def corner(self) -> tuple[int, int]:
        """(top, left) of the square in binned pixels; negative where it is padded."""
        return (self.binned[0] - self.side) // 2, (self.binned[1] - self.side) // 2

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the camera that the square holds."""
        ends = [(max(0, n), n + self.side) for n in self.corner]
        return tuple(slice(*(self.scan.binning * n for n in pair)) for pair in ends)

    @property
    def block(self) -> int:
        """Side in camera pixels of the block behind a network pixel; 0 where it is no whole one."""
        whole = min(self.corner) >= 0 and self.side % NETWORK_INPUT_PX == 0
        return self.scan.binning * self.side // NETWORK_INPUT_PX if whole else 0

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the camera's rows (120, height) and columns (120, width), float32.

        Each line sums to 1, or is 0 where the network's pixel is not wholly on the camera.
        """
        pairs = zip(self.binned, self.corner, strict=True)
        return tuple(_weights(size, start, self.side, self.scan.binning) for size, start in pairs)

    @property
    def on_camera(self) -> np.ndarray:
        """(120, 120) bool, True where the network's pixel is wholly on the camera."""
        rows, columns = (lines.any(axis=1) for lines in self.weights)
        return rows[:, np.newaxis] & columns

    def to_square(self, centre: Centre) -> Centre:
        """Return the square's pattern centre for one of the camera."""
        # Shares first: of a square pattern the centre stays what it is to the last digit.
        height, width, top, left = (n / self.side for n in (*self.binned, *self.corner))
        x, y, distance = centre
        return x * width - left, y * height - top, distance * height

    def to_camera(self, centre: Centre) -> Centre:
        """Return the camera's pattern centre for one of the square."""
        height, width, top, left = (n / self.side for n in (*self.binned, *self.corner))
        x, y, distance = centre
        return (x + left) / width, (y + top) / height, distance / height


def _weights(size: int, start: int, side: int, binning: int) -> np.ndarray:
    """Lines (120, size * binning): averages over a share of the square, or between two pixels."""
    # In units of 1 / 120 pixel the edges of the network's pixels are whole numbers.
    unit, pixel = NETWORK_INPUT_PX, np.arange(size)
    edges = unit * start + side * np.arange(unit + 1)[:, np.newaxis]
    if side >= unit:
        covered = np.minimum(edges[1:], unit * (pixel + 1)) - np.maximum(edges[:-1], unit * pixel)
        weights = np.maximum(covered, 0) / side
    else:  # between the middles of pixels, and the outermost pixel beyond
        middle = ((edges[1:] + edges[:-1]) / unit - 1) / 2
        weights = np.maximum(1 - np.abs(np.clip(middle, 0, size - 1) - pixel), 0)
    weights = weights * ((edges[:-1] >= 0) & (edges[1:] <= unit * size))
    return np.repeat(weights / binning, binning, axis=1).astype(np.float32)
