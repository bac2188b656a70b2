"""Any scan in, one UP2 file out: what follows has one path.

Sources: what kikuchipy reads (lazily), EDAX UP1/UP2 (memory-mapped), bare arrays, public
scans, virtual specimens. Patterns are read a few map rows at a time, so that memory does
not grow with the map.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import kikuchipy
import numpy as np
import scipy.io

from kikuhelpers.patterns.up2 import PatternFileError, Up2Writer, open_patterns, read_header
from kikuhelpers.runs.files import save_json, sha256
from kikuhelpers.runs.progress import progress_bar
from kikuhelpers.scans import public
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.study.layout import ScanFiles
from kikuhelpers.study.study import (
    NETWORK_INPUT_PX,
    ArrayScan,
    FileScan,
    PublicScan,
    Scan,
    VirtualScan,
)

_CHUNK_BYTES = 64 << 20  # of raw patterns held at a time
_UP_ENDINGS = {".up1", ".up2"}


class ScanError(ValueError):
    """A scan that cannot be read; the message is one sentence for its user."""


def convert_scan(scan: Scan, files: ScanFiles, name: str) -> dict:
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
    dict
        The card: source, map and pattern shape, step in micrometres, SHA-256 of the UP2.

    Raises
    ------
    ScanError, PatternFileError, PublicScanError
        One sentence: what is wrong, where, and what to do.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    if isinstance(scan, VirtualScan):
        simulate(scan, files.raw, files.truth)
    elif _is_ready(scan):
        whole = open_patterns(scan.path, scan.map_shape)
        _check_size(whole.shape[2:], scan.binning, name)
        _link(Path(scan.path), files.raw)
    else:
        shape, chunks = _source(scan)
        _check_size(shape[2:], scan.binning, name)
        _write_up2(shape, chunks, scan.step_um, files.raw)
    patterns = open_patterns(files.raw)
    card = {
        "scan": name,
        "source": scan.model_dump(),
        "map_shape": patterns.shape[:2],
        "pattern_shape": patterns.shape[2:],
        "step_um": scan.step_um,
        "sha256": sha256(files.raw),
    }
    save_json(files.card, card)
    return card


def row_chunks(shape: tuple[int, ...], itemsize: int) -> Iterator[slice]:
    """Cut a map (rows, columns, height, width) into slices of whole rows of flat size."""
    rows = max(1, _CHUNK_BYTES // (int(np.prod(shape[1:])) * itemsize))
    for first in range(0, shape[0], rows):
        yield slice(first, min(first + rows, shape[0]))


def _is_ready(scan: Scan) -> bool:
    """Tell whether the source is already a UP2 file that states its map."""
    if not isinstance(scan, FileScan) or Path(scan.path).suffix.lower() != ".up2":
        return False
    return read_header(Path(scan.path)).version >= 3


def _link(source: Path, target: Path) -> None:
    """Use a large file where it lies; copy it where links are not allowed (Windows)."""
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def _open(scan: Scan):
    """Return patterns (rows, columns, height, width) that are read when sliced by rows."""
    if isinstance(scan, PublicScan):
        return _signal_data(public.open_kikuchipy_scan(scan.name), scan.name)
    path = Path(scan.path)
    if not path.is_file():
        raise ScanError(f"There is no scan file {path}; check its path in the study.")
    if isinstance(scan, ArrayScan):
        return _open_array(scan, path)
    if path.suffix.lower() in _UP_ENDINGS:
        return open_patterns(path, scan.map_shape)
    try:
        signal = kikuchipy.load(path, lazy=True)
    except (OSError, ValueError, KeyError) as error:
        raise ScanError(
            f"kikuchipy cannot read {path.name} ({error}); export it as UP2."
        ) from error
    return _signal_data(signal, path.name, scan.map_shape)


def _signal_data(signal, name: str, map_shape: tuple[int, int] | None = None):
    data = signal.data
    if data.ndim == 3 and map_shape:
        data = data.reshape(*map_shape, *data.shape[1:])
    if data.ndim != 4:
        raise ScanError(
            f"{name} is not a map of patterns (shape {data.shape}); give its map_shape."
        )
    return data


def _open_array(scan: ArrayScan, path: Path):
    """Open .npy, .h5, .mat or flat binary without reading it whole where the format allows."""
    ending, shape = path.suffix.lower(), (*scan.map_shape, *scan.pattern_shape)
    if ending == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    elif ending in {".h5", ".hdf5"} or (ending == ".mat" and h5py.is_hdf5(path)):
        array = _named(h5py.File(path, "r"), scan.dataset, path)
    elif ending == ".mat":
        array = _named(scipy.io.loadmat(path), scan.dataset, path)
    else:
        expected = int(np.prod(shape)) * np.dtype(scan.dtype).itemsize
        if path.stat().st_size != expected:
            raise ScanError(
                f"{path.name} holds {path.stat().st_size} bytes, but {shape} of {scan.dtype} "
                f"take {expected}; correct map_shape, pattern_shape or dtype."
            )
        array = np.memmap(path, scan.dtype, "r", shape=shape)
    if int(np.prod(array.shape)) != int(np.prod(shape)):
        raise ScanError(f"{path.name} holds an array of {array.shape}, not {shape}.")
    if array.shape == shape:
        return array
    if isinstance(array, h5py.Dataset):
        return array[()].reshape(shape)
    return array.reshape(shape)


def _named(container, dataset: str | None, path: Path):
    if dataset is None or dataset not in container:
        names = ", ".join(n for n in container if not n.startswith("__"))
        raise ScanError(f"{path.name} has no dataset '{dataset}'; set dataset to one of: {names}.")
    return container[dataset]


def _write_up2(shape: tuple[int, ...], chunks, step_um: float, path: Path) -> None:
    with (
        Up2Writer(path, shape[:2], shape[2:], step_um) as writer,
        progress_bar(shape[0] * shape[1], "converting") as bar,
    ):
        for chunk in chunks:
            writer.append(chunk.reshape(-1, *shape[2:]))
            bar.update(chunk.shape[0] * chunk.shape[1])


def _source(scan: Scan) -> tuple[tuple[int, ...], Iterator[np.ndarray]]:
    """Return a map's shape and its patterns as uint16, some rows at a time."""
    if isinstance(scan, PublicScan) and scan.name == public.IN718:
        rows, columns = public.in718_shape(scan.rows)
        shape = (rows, columns, NETWORK_INPUT_PX, NETWORK_INPUT_PX)
        return shape, public.in718_rows(scan.rows)
    patterns = _open(scan)
    to_uint16 = _scaling(patterns)
    chunks = row_chunks(patterns.shape, patterns.dtype.itemsize)
    return patterns.shape, (to_uint16(np.asarray(patterns[rows])) for rows in chunks)


def _scaling(patterns):
    """Return the map to uint16: integers as they are, floats by the scan's own range."""
    if patterns.dtype in (np.uint8, np.uint16):
        return lambda chunk: chunk.astype(np.uint16)
    low, high = np.inf, -np.inf
    for rows in row_chunks(patterns.shape, patterns.dtype.itemsize):
        chunk = np.asarray(patterns[rows])
        low, high = min(low, chunk.min()), max(high, chunk.max())
    if not np.isfinite([low, high]).all() or low == high:
        raise ScanError(f"The patterns range from {low} to {high}: they hold no image or hold NaN.")
    return lambda chunk: np.round((chunk - low) * (65535 / (high - low))).astype(np.uint16)


def _check_size(pattern_shape: tuple[int, int], binning: int, name: str) -> None:
    """Fail at the first stage, not hours later at the network's input."""
    binned = tuple(n / binning for n in pattern_shape)
    if binned != (NETWORK_INPUT_PX, NETWORK_INPUT_PX):
        raise PatternFileError(
            f"Scan '{name}' has patterns of {pattern_shape[0]} x {pattern_shape[1]} px, binned by "
            f"{binning} they are not {NETWORK_INPUT_PX} x {NETWORK_INPUT_PX}, which the network "
            f"takes: set the scan's binning, or crop or resize the patterns first."
        )
