"""Public scans by name: found in a data folder, else downloaded once and checked.

``KIKUHELPERS_DATA`` may name a folder that holds ``in718_rx/tiles/``; files found there
are used if their SHA-256 agrees. Everything else goes through pooch into its cache.
Origins and licences: ``data/README.md``.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pooch
from PIL import Image

from kikuhelpers.patterns.up2 import PatternFileError
from kikuhelpers.runs.errors import in_one_sentence
from kikuhelpers.study import PROJECT_ROOT
from kikuhelpers.study.load import root_of

# Crop of the recrystallised IN718 map of doi:10.5061/dryad.zcrjdfnr9 (CC0 1.0), as tiles.
_IN718_URL = (
    "https://raw.githubusercontent.com/neural-ebsd/neural-ebsd.github.io/"
    "f917ba6e641532ad9bbfe94c9f39b9299ee6bcf8/docs/data/rx/tiles/"
)
_IN718_REGISTRY = PROJECT_ROOT / "data" / "in718_rx_registry.txt"
_SIDE_TILES = 10  # the crop is 10 x 10 tiles ...
_TILE_POINTS = 20  # ... of 20 x 20 patterns ...
_PATTERN_PX = 120  # ... of 120 x 120 px
_SIDE_POINTS = _SIDE_TILES * _TILE_POINTS
# The source's affine map from 16-bit counts to its [-1, 1] scale.
_COUNTS_PER_UNIT = 1 / 3.7376889868994e-05
_COUNTS_OFFSET = 1.28683025285466

# Functions of kikuchipy.data; all but the small scan are downloaded, and opened lazily.
_SMALL, _LARGE = "nickel_ebsd_small", ("nickel_ebsd_large", "ni_gain", "si_wafer")
IN718 = "in718_rx"
PUBLIC_SCANS = (IN718, _SMALL, *_LARGE)


def open_kikuchipy_scan(name: str):
    """Return one of kikuchipy's own scans as its EBSD signal, lazy where it is large."""
    if name not in (_SMALL, *_LARGE):
        raise PatternFileError(
            f"There is no public scan '{name}'; known are {', '.join(PUBLIC_SCANS)}."
        )
    from kikuchipy import data  # takes seconds: only who needs it waits for it

    options = {"allow_download": True, "lazy": True} if name in _LARGE else {}
    with in_one_sentence(PatternFileError, name, "try again online"):
        return getattr(data, name)(**options)


def in718_shape(rows: tuple[int, int] | None) -> tuple[int, int]:
    """Return (rows, columns) in points of the IN718 crop, or of some of its rows."""
    first, last = rows or (0, _SIDE_POINTS)
    if not 0 <= first < last <= _SIDE_POINTS or first % _TILE_POINTS or last % _TILE_POINTS:
        raise PatternFileError(
            f"in718_rx has rows 0 to {_SIDE_POINTS} in tiles of {_TILE_POINTS}; "
            f"rows: [{first}, {last}] does not begin and end at a tile's edge."
        )
    return last - first, _SIDE_POINTS


def in718_rows(rows: tuple[int, int] | None) -> Iterator[np.ndarray]:
    """Yield the IN718 crop by rows of tiles, (20, 200, 120, 120) uint16 counts of the source."""
    first, (count, _) = rows[0] if rows else 0, in718_shape(rows)
    for row in range(first // _TILE_POINTS, (first + count) // _TILE_POINTS):
        yield np.concatenate([_read_tile(row, column) for column in range(_SIDE_TILES)], axis=1)


def in718_downloads() -> pooch.Pooch:
    """Return the registry of the crop's files; its cache is ``KIKUHELPERS_CACHE`` if set."""
    downloads = pooch.create(
        path=pooch.os_cache("kikuhelpers") / IN718, base_url=_IN718_URL, env="KIKUHELPERS_CACHE"
    )
    downloads.load_registry(_IN718_REGISTRY)
    return downloads


def _read_tile(row: int, column: int) -> np.ndarray:
    """(20, 20, 120, 120) uint16: a lossy 8-bit mosaic and each pattern's range."""
    mosaic = np.asarray(Image.open(_fetch(f"tile_{row}_{column}.webp")))[..., 0]
    side = (_TILE_POINTS, _PATTERN_PX) * 2
    patterns = mosaic.reshape(side).swapaxes(1, 2).astype(np.float32) / 255
    ranges = np.fromfile(_fetch(f"ranges_{row}_{column}.bin"), "<f4")
    low, high = np.moveaxis(ranges.reshape(_TILE_POINTS, _TILE_POINTS, 1, 1, 2), -1, 0)
    counts = (low + patterns * (high - low) + _COUNTS_OFFSET) * _COUNTS_PER_UNIT
    return np.round(counts).astype(np.uint16)


def _fetch(name: str) -> Path:
    """Return a file of the crop: from the data folder, the cache or the network."""
    downloads = in718_downloads()
    local = root_of("data") / IN718 / "tiles" / name
    if local.is_file():
        if pooch.file_hash(local) != downloads.registry[name]:
            raise PatternFileError(
                f"{local} is not the registered file (SHA-256 differs); copy it again."
            )
        return local
    what_to_do = "go online or set KIKUHELPERS_DATA to a folder that holds in718_rx/tiles"
    with in_one_sentence(PatternFileError, f"{name} of in718_rx", what_to_do):
        return Path(downloads.fetch(name))
