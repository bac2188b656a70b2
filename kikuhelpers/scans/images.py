"""A folder (or glob) of images, one for each pattern, as one map that is read when sliced."""

import re
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from kikuhelpers.patterns.up2 import PatternFileError
from kikuhelpers.scans.signals import placed

_ENDINGS = {".tif", ".tiff", ".png", ".bmp"}
# Column and row at the end of a name, in kikuchipy's two forms: "_x5y10.tif", "-5-10.bmp".
_PLACE = re.compile(r"(?:_x(\d+)y|-(\d+)-)(\d+)$")


class _Images:
    """Images of one shape as an array (n, height, width), read by their numbers."""

    def __init__(self, paths: list[Path]):
        self.paths, first = np.array(paths), iio.imread(paths[0])
        self.shape, self.dtype = (len(paths), *first.shape[:2]), first.dtype

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        images = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for image, path in zip(images, self.paths[numbers], strict=True):
            found = iio.imread(path)
            if found.ndim == 3 and (found[..., :3] == found[..., :1]).all():
                found = found[..., 0]  # grey as three equal colours
            if (found.shape, found.dtype) != (image.shape, image.dtype):
                what = f"{found.shape} {found.dtype}, not grey of {image.shape} {image.dtype}"
                raise PatternFileError(f"{path.name} is {what} as the first image: take it out.")
            image[:] = found
        return images


def open_images(path: Path, map_shape: tuple[int, int] | None = None):
    """Open a folder of images, or those that a glob such as ``scan/*.tif`` names.

    Names that end in the column and row of their point ("_x5y10", "-5-10") say the map; points
    without an image are zeros. Else ``map_shape`` says it, (rows, columns), in the order of the
    names, in which numbers count as numbers.

    Returns
    -------
    dask.array.Array
        (rows, columns, height, width)
    """
    found = path.iterdir() if path.is_dir() else path.parent.glob(path.name)
    paths = sorted((p for p in found if p.suffix.lower() in _ENDINGS), key=_by_numbers)
    if not paths:
        raise PatternFileError(f"There is no image (.tif, .png, .bmp) in {path}; check its path.")
    places, index = [_PLACE.search(p.stem) for p in paths], np.arange(len(paths))
    if map_shape is None and all(places):
        column, row = np.array([[int(n) for n in p.groups() if n] for p in places]).T
        row, column = (np.unique(numbers, return_inverse=True)[1] for numbers in (row, column))
        index = np.full((row.max() + 1, column.max() + 1), -1)
        index[row, column] = np.arange(len(paths))
    elif map_shape is None or len(paths) != map_shape[0] * map_shape[1]:
        raise PatternFileError(
            f"{path.name} has {len(paths):,} images whose names do not end in column and row "
            '("_x5y10", "-5-10"): set map_shape: [rows, columns] with as many points in all.'
        )
    return placed(_Images(paths), index.reshape(map_shape or index.shape))


def _by_numbers(path: Path) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
