"""EDAX UP1/UP2 pattern files: memory-mapped reading, streamed writing.

The header (reference: EDAX; PyEBSDIndex's ``UPFile``) is ``_HEAD``, of which version 1 has the
first four numbers only. Patterns follow in C order, u8 (UP1) or u16 (UP2). Every file that
this package writes is a version 3 UP2.

Preprocessed and decoded patterns p in [-1, 1] are stored as counts = (p + 1) * 32767.5,
one affine map for all, so that two files compare count by count.
"""

import mmap
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import written_aside

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
    """What the head of a UP file says, and what its size holds."""

    path: Path
    version: int
    pattern_shape: tuple[int, int]  # height, width
    offset: int  # bytes before the first pattern
    # Version 1 says none of these; nor does a head in whose place patterns stand.
    map_shape: tuple[int, int] | None  # rows, columns; of a hexagonal grid all in one row
    step_um: tuple[float, float] | None  # x, y
    hexagonal: tuple[int, int] | None  # rows, columns of the first one
    patterns: int  # as many whole ones as the file's size holds
    left_over: int  # bytes after them


def read_header(path: str | Path, offset: int | None = None) -> UpHeader:
    """Read the header of a UP1 or UP2 file; ``offset`` stands in for the one that it states.

    Raises
    ------
    PatternFileError
        Not there, not UP1/UP2, of an unknown version, or cut off in its header.
    """
    path = Path(path)
    if path.suffix.lower() not in _PIXEL_TYPES:
        raise PatternFileError(f"{path.name} is not a .up1 or .up2 file.")
    if not path.is_file():
        raise PatternFileError(f"There is no pattern file {path}; check its path.")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_HEAD.itemsize).ljust(_HEAD.itemsize, b"\0")
    head = dict(zip(_HEAD.names, np.frombuffer(start, _HEAD)[0].item(), strict=True))
    version, width, height = head["version"], head["width"], head["height"]
    if size < _head_bytes(version):
        raise PatternFileError(f"{path.name} ends inside its header ({size} bytes); copy it again.")
    if version == 2 or not 1 <= version <= 100 or not width or not height:
        raise PatternFileError(
            f"{path.name} is no UP file this reader knows "
            f"(version {version}, {width} x {height} px); write it again as version 1 or 3."
        )
    first, map_shape, step = head["offset"] if offset is None else offset, None, None
    if version >= 3 and (offset is None or offset >= _HEAD.itemsize):
        map_shape = (head["rows"], head["columns"])
        step = (head["x_step_um"], head["y_step_um"])
    hexagonal = map_shape if head["hexagonal"] else None
    pattern_bytes = width * height * _PIXEL_TYPES[path.suffix.lower()].itemsize
    held = divmod(max(0, size - first), pattern_bytes)
    map_shape = (1, held[0]) if hexagonal else map_shape
    return UpHeader(path, version, (height, width), first, map_shape, step, hexagonal, *held)


def open_patterns(
    path: str | Path,
    map_shape: tuple[int, int] | None = None,
    offset: int | None = None,
    rows: tuple[int, int] | None = None,
) -> np.memmap:
    """Map a UP1/UP2 file into memory, read-only.

    Parameters
    ----------
    path
        The file.
    map_shape, offset
        (rows, columns) and bytes before the first pattern, where the header does not say, or is
        wrong.
    rows
        First and one past the last map row to open: then no others need be there.

    Returns
    -------
    numpy.memmap
        (rows, columns, height, width), uint8 or uint16 counts; of a hexagonal grid all in one row.

    Raises
    ------
    PatternFileError
        See :func:`read_header`; or the size of the file contradicts the offset or the map: the
        sentence says what fits.
    """
    header = read_header(path, offset)
    if wrong := _contradiction(header, map_shape, rows, offset is not None):
        raise PatternFileError(f"{header.path.name} (version {header.version}) {wrong}.")
    shape = map_shape or header.map_shape
    first, last = rows or (0, shape[0])
    pixel, whole = _PIXEL_TYPES[header.path.suffix.lower()], (last, shape[1])
    return np.memmap(path, pixel, "r", header.offset, (*whole, *header.pattern_shape))[first:]


def _head_bytes(version: int) -> int:
    return _HEAD.itemsize if version >= 3 else _VERSION_1_BYTES


def _contradiction(header: UpHeader, given, rows, offset_is_given: bool) -> str:
    """Say how the size of a file contradicts its offset or map, and what to do; "" if not."""
    held, start, shape = header.patterns, header.offset, given or header.map_shape
    points = shape[0] * shape[1] if shape else held
    fills = held == points > 0 and not header.left_over
    if not fills and not offset_is_given and (fitting := _what_fits(header, given)):
        return f"does not hold its patterns from byte {start} on, as it states: set {fitting}"
    if not offset_is_given and start < _head_bytes(header.version):
        return f"states that its patterns begin at byte {start}, in its header: set offset"
    set_shape = f"set map_shape: [rows, columns] with {held:,} points in all"
    if shape is None:
        return f"does not state its map's shape: {set_shape}"
    whole_rows = min(held // shape[1], shape[0]) if points else 0
    if 0 <= rows[0] < rows[1] <= whole_rows if rows else fills:
        return ""
    if rows and held >= points:
        return f"has {shape[0]} map rows: correct rows: {list(rows)}"
    excess = f"{held - points:,} patterns" if held > points else f"{header.left_over} bytes"
    wrong = f"{excess} left over" if held >= points else f"{points - held:,} patterns missing"
    sizes = f"it holds {held:,}, a map of {shape[0]} x {shape[1]} points has {points:,}"
    # What is left over speaks against an offset that was given, and then against every row.
    rows_help = (held < points or not offset_is_given) and not header.hexagonal
    some = f", or rows: [0, {whole_rows}] to use whole rows alone" * rows_help
    to_do = f"{set_shape}{some}, or copy it again"
    return f"has {wrong} ({sizes}): {to_do}"


def _what_fits(header: UpHeader, given: tuple[int, int] | None) -> str:
    """Return the settings by which patterns fill their file to the end; "" if none do."""
    for offset in (_HEAD.itemsize, _VERSION_1_BYTES):
        found = read_header(header.path, offset)
        shape = given or found.map_shape
        of_map = bool(shape) and shape[0] * shape[1] == found.patterns
        fits = found.patterns and not found.left_over and (of_map or not found.map_shape)
        if fits and header.offset != offset <= _head_bytes(header.version):
            more = f" and map_shape: [rows, columns] with {found.patterns:,} points in all"
            return f"offset: {offset}" + more * (not of_map)
    return ""


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

    An older file of that name is replaced when the new one is complete. The shapes are (rows,
    columns) and (height, width), the step is that of the square grid.
    """

    def __init__(self, path, map_shape, pattern_shape, step_um):
        self.path, self._aside = Path(path), ExitStack()
        self._pattern_shape = height, width = tuple(int(n) for n in pattern_shape)
        rows, columns = (int(n) for n in map_shape)
        self._wanted, self._written = rows * columns, 0
        grid = (0, columns, rows, False, step_um, step_um)
        head = np.array((3, width, height, _HEAD.itemsize, *grid), _HEAD)
        temporary = self._aside.enter_context(written_aside(self.path))
        self._file = self._aside.enter_context(temporary.open("wb"))
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
        with self._aside:
            if error:
                raise error
            if self._written != self._wanted:
                raise PatternFileError(
                    f"{self.path.name} holds {self._written} of {self._wanted} patterns: it was "
                    "not written."
                )


def to_counts(patterns: np.ndarray) -> np.ndarray:
    """Turn intensities in [-1, 1] into uint16 counts, clipping what lies outside."""
    return np.round((np.clip(patterns, -1, 1) + 1) * HALF_RANGE).astype(np.uint16)


def to_intensity(counts: np.ndarray) -> np.ndarray:
    """Turn uint16 counts into float32 intensities in [-1, 1]."""
    return counts.astype(np.float32) / np.float32(HALF_RANGE) - 1
