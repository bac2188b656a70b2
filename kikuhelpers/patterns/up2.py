"""EDAX UP1/UP2 pattern files: memory-mapped reading, streamed writing.

The header (reference: EDAX; PyEBSDIndex's ``UPFile``) is ``_HEAD``, of which version 1 has the
first four numbers only. Patterns follow in C order, u8 (UP1) or u16 (UP2). Every file that
this package writes is a version 3 UP2.

Preprocessed and decoded patterns p in [-1, 1] are stored as counts = (p + 1) * 32767.5,
one affine map for all, so that two files compare count by count.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import temporary_name

HALF_RANGE = 32767.5  # of 16 bit: p = -1 gives 0 counts, p = 1 gives 65535
_HEAD = np.dtype(
    [(name, "<u4") for name in ("version", "width", "height", "offset")]
    + [("unused", "u1"), ("columns", "<u4"), ("rows", "<u4"), ("hexagonal", "u1")]
    + [("x_step_um", "<f8"), ("y_step_um", "<f8")]
)
_VERSION_1_BYTES = _HEAD.fields["unused"][1]
_PIXEL_TYPES = {".up1": np.dtype("u1"), ".up2": np.dtype("<u2")}


class PatternFileError(SentenceError):
    """A scan or a file of patterns that cannot be had or used."""


@dataclass(frozen=True)
class UpHeader:
    """What the head of a UP file says."""

    path: Path
    version: int
    pattern_shape: tuple[int, int]  # height, width
    offset: int  # bytes before the first pattern
    map_shape: tuple[int, int] | None  # rows, columns; version 1 does not say
    step_um: tuple[float, float] | None  # x, y
    patterns: int  # as many as the file's size holds


def read_header(path: str | Path) -> UpHeader:
    """Read and check the header of a UP1 or UP2 file.

    Raises
    ------
    PatternFileError
        Not there, not UP1/UP2, of an unknown version, hexagonal or truncated.
    """
    path = Path(path)
    if path.suffix.lower() not in _PIXEL_TYPES:
        raise PatternFileError(f"{path.name} is not a .up1 or .up2 file.")
    if not path.is_file():
        raise PatternFileError(f"There is no pattern file {path}; check the study's path.")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_HEAD.itemsize).ljust(_HEAD.itemsize, b"\0")
    head = dict(zip(_HEAD.names, np.frombuffer(start, _HEAD)[0].item(), strict=True))
    version, width, height = head["version"], head["width"], head["height"]
    if size < (_HEAD.itemsize if version >= 3 else _VERSION_1_BYTES):
        raise PatternFileError(f"{path.name} ends inside its header ({size} bytes); copy it again.")
    if version == 2 or not 1 <= version <= 100 or not width or not height:
        raise PatternFileError(
            f"{path.name} is no UP file this reader knows "
            f"(version {version}, {width} x {height} px); write it again as version 1 or 3."
        )
    map_shape = step = None
    if version >= 3:
        map_shape = (head["rows"], head["columns"])
        step = (head["x_step_um"], head["y_step_um"])
        if head["hexagonal"]:
            raise PatternFileError(
                f"{path.name} is on a hexagonal grid; export it on a square one."
            )
    pattern_bytes = width * height * _PIXEL_TYPES[path.suffix.lower()].itemsize
    held = max(0, size - head["offset"]) // pattern_bytes
    stated = map_shape[0] * map_shape[1] if map_shape else held
    if held < stated or not held:
        raise PatternFileError(
            f"{path.name} is truncated: it holds {held} whole patterns, its header states "
            f"{stated or 'some'}; copy it again from the microscope."
        )
    return UpHeader(path, version, (height, width), head["offset"], map_shape, step, held)


def open_patterns(path: str | Path, map_shape: tuple[int, int] | None = None) -> np.memmap:
    """Map a UP1/UP2 file into memory, read-only.

    Parameters
    ----------
    path
        The file.
    map_shape
        (rows, columns), needed where the header does not say.

    Returns
    -------
    numpy.memmap
        (rows, columns, height, width), uint8 or uint16 counts.

    Raises
    ------
    PatternFileError
        See :func:`read_header`; also a map shape that the file cannot fill.
    """
    header = read_header(path)
    shape = map_shape or header.map_shape
    if shape is None:
        raise PatternFileError(
            f"{header.path.name} (version 1) does not state its map's shape: "
            f"give map_shape: [rows, columns], together {header.patterns} points."
        )
    other = header.map_shape and tuple(shape) != header.map_shape
    if other or shape[0] * shape[1] > header.patterns:
        raise PatternFileError(
            f"{header.path.name} holds {header.map_shape or header.patterns} points, "
            f"not the map_shape {tuple(shape)} that was given."
        )
    pixel = _PIXEL_TYPES[header.path.suffix.lower()]
    return np.memmap(path, pixel, "r", header.offset, (*shape, *header.pattern_shape))


def release(patterns: np.ndarray) -> None:
    """Give back the memory of a memory map's slice; nothing is lost, it is read when needed.

    Pages that were read count as memory of the process until the map is closed. Without
    effect on other arrays, and on Windows.
    """
    pages = getattr(patterns, "_mmap", None)
    if pages is None or not hasattr(mmap, "MADV_DONTNEED") or not patterns.size:
        return
    start = patterns.ctypes.data - np.frombuffer(pages, np.uint8, 1).ctypes.data
    aligned = start - start % mmap.PAGESIZE
    pages.madvise(mmap.MADV_DONTNEED, aligned, start + patterns.nbytes - aligned)


class Up2Writer:
    """Write a version 3 UP2 file chunk by chunk, under a temporary name until complete.

    Parameters
    ----------
    path
        The file to make; an older one of that name is replaced when this one is complete.
    map_shape
        (rows, columns).
    pattern_shape
        (height, width) in pixels.
    step_um
        Step of the square grid.
    """

    def __init__(self, path, map_shape, pattern_shape, step_um):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_name(self.path)
        self._pattern_shape = height, width = tuple(int(n) for n in pattern_shape)
        rows, columns = (int(n) for n in map_shape)
        self._wanted, self._written = rows * columns, 0
        grid = (0, columns, rows, False, step_um, step_um)
        head = np.array((3, width, height, _HEAD.itemsize, *grid), _HEAD)
        self._file = self._temporary.open("wb")
        self._file.write(head.tobytes())

    def append(self, patterns: np.ndarray) -> None:
        """Append patterns (n, height, width) of uint16 counts."""
        if patterns.dtype != np.uint16 or patterns.shape[1:] != self._pattern_shape:
            raise PatternFileError(
                f"{self.path.name} takes uint16 patterns of {self._pattern_shape}, "
                f"not {patterns.dtype} of {patterns.shape[1:]}."
            )
        self._written += len(patterns)
        self._file.write(np.ascontiguousarray(patterns, "<u2").data)

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, trace):
        self._file.close()
        if error_type is None and self._written == self._wanted:
            self._temporary.replace(self.path)
            return
        self._temporary.unlink()
        if error_type is None:
            raise PatternFileError(
                f"{self.path.name} holds {self._written} of {self._wanted} patterns: it was not "
                "written."
            )


def to_counts(patterns: np.ndarray) -> np.ndarray:
    """Turn intensities in [-1, 1] into uint16 counts, clipping what lies outside."""
    return np.round((np.clip(patterns, -1, 1) + 1) * HALF_RANGE).astype(np.uint16)


def to_intensity(counts: np.ndarray) -> np.ndarray:
    """Turn uint16 counts into float32 intensities in [-1, 1]."""
    return counts.astype(np.float32) / np.float32(HALF_RANGE) - 1
