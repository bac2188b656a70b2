"""Any scan in, one UP2 file out: all later stages read that one file.

A scan comes from what kikuchipy reads (lazily), from an EDAX UP1/UP2 file (memory-mapped), from a
bare array, a public scan or a virtual specimen. Patterns are read a few map rows at a time, so
that memory does not grow with the map.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kikuhelpers.patterns.geometry import geometry_of
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import PatternFileError, Up2Writer, open_patterns, read_header
from kikuhelpers.runs.files import save_json
from kikuhelpers.scans import public
from kikuhelpers.study import NETWORK_INPUT_PX
from kikuhelpers.study.layout import ScanFiles
from kikuhelpers.study.scans import ArrayData, Data, FileData, PublicData, Scan, VirtualData
from kikuhelpers.study.stages import plain

_UP_ENDINGS = {".up1", ".up2"}


@dataclass(frozen=True)
class Overview:
    """What a single reading of a scan tells."""

    sha256: str  # of the file
    mean_pattern: np.ndarray  # (height, width), counts
    brightness: np.ndarray  # (rows, columns), mean count of each pattern


def convert_scan(scan: Scan, files: ScanFiles, name: str) -> tuple[dict, Overview]:
    """Make ``scan.up2`` and its card from whatever the study names.

    Parameters
    ----------
    scan
        Settings of the scan.
    files
        Where to write.
    name
        Name of the scan, for messages and the card.

    Returns
    -------
    card : dict
        Source, map and pattern shape, step in micrometres, SHA-256 of the UP2.
    overview : Overview
        The scan's mean pattern and brightness, from the reading that hashes it.

    Raises
    ------
    PatternFileError
        What is wrong, where, and what to do.
    """
    data, own = scan.data, scan.preprocessing
    files.raw.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, VirtualData):
        # The microscope takes seconds to import: only virtual scans wait for it.
        from kikuhelpers.scans.virtual.scanning import simulate

        simulate(data, files.raw, files.truth)
    elif _is_ready(data):
        geometry_of(
            open_patterns(data.path, data.map_shape).shape[2:], own
        )  # which checks the size
        _link(Path(data.path), files.raw)
    else:
        shape, rows = _source(data)
        geometry_of(shape[2:], own)
        with Up2Writer(files.raw, shape[:2], shape[2:], data.step_um) as writer:
            for patterns in rows:
                writer.append(patterns.reshape(-1, *shape[2:]))
    overview = survey(files.raw)
    patterns = open_patterns(files.raw)
    card = {
        "scan": name,
        "source": plain(data),
        "map_shape": patterns.shape[:2],
        "pattern_shape": patterns.shape[2:],
        "step_um": data.step_um,
        "sha256": overview.sha256,
    }
    save_json(files.card, card)
    return card, overview


def open_scan(path: str | Path, map_shape: tuple[int, int] | None = None):
    """Open any scan file that kikuchipy reads, or an EDAX UP1/UP2 file.

    Parameters
    ----------
    path
        The file.
    map_shape
        (rows, columns), needed where the file does not say.

    Returns
    -------
    array
        (rows, columns, height, width) counts, read when sliced: numpy's memory map or dask's.

    Raises
    ------
    PatternFileError
        There is no such file, it cannot be read, or it holds no map.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "scan.up2"
    ...     with Up2Writer(path, map_shape=(2, 3), pattern_shape=(60, 60), step_um=1.5) as writer:
    ...         writer.append(np.zeros((6, 60, 60), np.uint16))
    ...     open_scan(path).shape
    (2, 3, 60, 60)
    """
    return _open(FileData(path=str(path), map_shape=map_shape))


def survey(path: Path) -> Overview:
    """Read a UP2 file once: its SHA-256, mean pattern and the brightness of each pattern."""
    patterns = open_patterns(path)
    flat = patterns.reshape(-1, *patterns.shape[2:])
    brightness, total = np.empty(len(flat)), np.zeros(flat.shape[1:])
    with Path(path).open("rb") as file:
        hashed = hashlib.sha256(file.read(patterns.offset))
        for here, part in chunks("reading", flat):
            hashed.update(part.data)
            brightness[here] = part.mean(axis=(1, 2))
            total += part.sum(axis=0, dtype=np.float64)
        file.seek(patterns.offset + flat.nbytes)
        hashed.update(file.read())
    return Overview(hashed.hexdigest(), total / len(flat), brightness.reshape(patterns.shape[:2]))


def _is_ready(scan: Data) -> bool:
    """Tell whether the source is already a UP2 file that states its map."""
    if not isinstance(scan, FileData) or Path(scan.path).suffix.lower() != ".up2":
        return False
    return read_header(Path(scan.path)).version >= 3


def _link(source: Path, target: Path) -> None:
    """Use a large file where it lies; copy it where links are not allowed (Windows)."""
    if target.exists() and target.samefile(source):
        return  # the link is there; or it is the only copy, which must not go
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def _open(scan: Data):
    """Return patterns (rows, columns, height, width) that are read when sliced by rows."""
    if isinstance(scan, PublicData):
        return _signal_data(public.open_kikuchipy_scan(scan.name), scan.name)
    path = Path(scan.path)
    if not path.is_file():
        raise PatternFileError(f"There is no scan file {path}; check its path in the study.")
    if isinstance(scan, ArrayData):
        return _open_array(scan, path)
    if path.suffix.lower() in _UP_ENDINGS:
        return open_patterns(path, scan.map_shape)
    import kikuchipy  # takes seconds: only a scan that needs it waits

    try:
        signal = kikuchipy.load(path, lazy=True)
    except (OSError, ValueError, KeyError) as error:
        sentence = f"kikuchipy cannot read {path.name} ({error}); export the scan as UP2."
        raise PatternFileError(sentence) from error
    return _signal_data(signal, path.name, scan.map_shape)


def _signal_data(signal, name: str, map_shape: tuple[int, int] | None = None):
    data = signal.data
    if data.ndim == 3 and map_shape:
        data = data.reshape(*map_shape, *data.shape[1:])
    if data.ndim != 4:
        raise PatternFileError(
            f"{name} is not a map of patterns (its shape is {data.shape}); give its map_shape."
        )
    return data


def _open_array(scan: ArrayData, path: Path):
    """Open .npy, .h5, .mat or flat binary without reading it whole where the format allows."""
    import h5py
    import scipy.io

    ending, shape = path.suffix.lower(), (*scan.map_shape, *scan.pattern_shape)
    if ending == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    elif ending in {".h5", ".hdf5", ".mat"}:
        old_mat = ending == ".mat" and not h5py.is_hdf5(path)
        datasets = (scipy.io.loadmat if old_mat else h5py.File)(path)
        if scan.dataset is None or scan.dataset not in datasets:
            names = ", ".join(name for name in datasets if not name.startswith("__"))
            raise PatternFileError(
                f"{path.name} has no dataset '{scan.dataset}'; set dataset to one of: {names}."
            )
        array = datasets[scan.dataset]
    else:
        expected = int(np.prod(shape)) * np.dtype(scan.dtype).itemsize
        if path.stat().st_size != expected:
            raise PatternFileError(
                f"{path.name} holds {path.stat().st_size} bytes, but {shape} of {scan.dtype} "
                f"take {expected}; correct map_shape, pattern_shape or dtype."
            )
        array = np.memmap(path, scan.dtype, "r", shape=shape)
    if int(np.prod(array.shape)) != int(np.prod(shape)):
        raise PatternFileError(f"{path.name} holds an array of {array.shape}, not {shape}.")
    if array.shape == shape:
        return array
    return (array[()] if isinstance(array, h5py.Dataset) else array).reshape(shape)


def _source(scan: Data) -> tuple[tuple[int, ...], Iterator[np.ndarray]]:
    """Return a map's shape and its patterns as uint16, some rows at a time."""
    if isinstance(scan, PublicData) and scan.name == public.IN718:
        shape = (*public.in718_shape(scan.rows), NETWORK_INPUT_PX, NETWORK_INPUT_PX)
        return shape, public.in718_rows(scan.rows)
    patterns = _open(scan)
    to_uint16 = _scaling(patterns)
    rows = (to_uint16(np.asarray(part)) for _, part in chunks("converting", patterns))
    return patterns.shape, rows


def _scaling(patterns):
    """Return the map to uint16: integers as they are, floats by the scan's own range."""
    if patterns.dtype in (np.uint8, np.uint16):
        return lambda chunk: chunk.astype(np.uint16)
    low, high = np.inf, -np.inf
    for _, part in chunks("range", patterns):
        values = np.asarray(part)
        low, high = min(low, values.min()), max(high, values.max())
    if not np.isfinite([low, high]).all() or low == high:
        raise PatternFileError(
            f"The patterns range from {low} to {high}: they are constant or hold NaN."
        )
    return lambda chunk: np.round((chunk - low) * (65535 / (high - low))).astype(np.uint16)
