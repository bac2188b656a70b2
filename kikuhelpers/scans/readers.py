"""Any scan in, one UP2 file out: all later stages read that one file.

A scan comes from what kikuchipy reads (lazily), from an EDAX UP1/UP2 file (memory-mapped), from
images, a bare array, a public scan or a virtual specimen. Patterns are read a few at a
time, so that memory does not grow with the map. What the study says counts before what the file
says, and a line says so.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

import dask
import dask.array as da
import h5py
import numpy as np

from kikuhelpers.patterns.geometry import geometry_of
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import PatternFileError, Up2Writer, open_patterns, read_header
from kikuhelpers.runs.errors import in_one_sentence
from kikuhelpers.runs.files import hdf5_data, save_array, save_json
from kikuhelpers.scans import formats, public
from kikuhelpers.study import NETWORK_INPUT_PX
from kikuhelpers.study.layout import ScanFiles
from kikuhelpers.study.scans import FILE, ArrayData, Data, FileData, PublicData, Scan, VirtualData
from kikuhelpers.study.stages import plain

_WHAT_TO_DO = "check it and its settings, or export the scan as UP2"
_UP_ENDINGS = {".up1", ".up2"}
_LAZY_CHUNKS = 16  # read at once, 128 MB: dask takes seconds to find a row in a large map
_STEP_OF_NO_WORD_UM = 1.0
_NUMBERS = "uif"  # numpy's kinds
# Quantiles: where the whole range is so many times the inner one, defects of the camera make it,
# and would leave few grey levels to the other values.
_RANGES, _FAR = (0, 1e-3, 1 - 1e-3, 1), 20
_SAME_STEP = 0.01  # steps that differ by less, relatively, are rounded alike


@dataclass(frozen=True)
class Overview:
    """What a single reading of a scan tells."""

    sha256: str  # of the file
    mean_pattern: np.ndarray  # (height, width), counts
    brightness: np.ndarray  # (rows, columns), mean count of each pattern


def convert_scan(scan: Scan, files: ScanFiles, name: str) -> tuple[dict, Overview]:
    """Make ``scan.up2`` and its card from whatever the study names.

    Returns
    -------
    card : dict
        Source, map and pattern shape, step in micrometres, SHA-256 of the UP2; what the file
        says of step, phases and camera (:func:`kikuhelpers.scans.formats.said_by`).
    overview : Overview
        From the reading that hashes the scan.
    """
    data, own = scan.data, scan.preprocessing
    files.raw.parent.mkdir(parents=True, exist_ok=True)
    said: dict = {}
    if isinstance(data, VirtualData):
        # The microscope takes seconds to import: only virtual scans wait for it.
        from kikuhelpers.scans.virtual.scanning import simulate

        step_um = data.step_um
        simulate(data, files.raw, files.truth)
    else:
        shape, rows, said = _source(data)
        geometry_of(shape[2:], own)  # which checks the size
        step_um, static = _step(data, said, name), said.pop("background", None)
        if own.background_of == FILE:
            if static is None:
                what = "brings no background of its patterns: name another scan in background_of"
                raise PatternFileError(f"The file of scan '{name}' {what}.")
            save_array(files.brought, static[:: -1 if getattr(data, "flip", False) else 1])
        if _is_ready(data):
            _link(Path(data.path), files.raw)
        else:
            with Up2Writer(files.raw, shape[:2], shape[2:], step_um) as writer:
                for patterns in rows:
                    writer.append(patterns.reshape(-1, *shape[2:]))
    overview = survey(files.raw)
    if empty := (overview.brightness == 0).sum():
        print(f"{empty:,} of {overview.brightness.size:,} points hold zeros: never measured.")
    patterns = open_patterns(files.raw)
    card = {
        "scan": name,
        "source": plain(data),
        "map_shape": patterns.shape[:2],
        "pattern_shape": patterns.shape[2:],
        "step_um": step_um,
        "file": said,
        "sha256": overview.sha256,
    }
    save_json(files.card, card)
    return card, overview


def open_scan(path: str | Path, map_shape: tuple[int, int] | None = None, **settings):
    """Open any scan file that kikuchipy reads, an EDAX UP1/UP2 file, or images.

    Parameters
    ----------
    path
        The file; of images their folder or a glob.
    map_shape
        (rows, columns), needed where the file does not say.
    **settings
        Others of :class:`~kikuhelpers.study.scans.FileData`: offset, rows, processed.

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
    return open_data(FileData(path=str(path), map_shape=map_shape, **settings))[0]


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


def _is_ready(data: Data) -> bool:
    """Tell whether the source is already a UP2 file that states all that its patterns need."""
    if not isinstance(data, FileData) or Path(data.path).suffix.lower() != ".up2":
        return False
    header = read_header(data.path)
    as_stated = data.map_shape in (None, header.map_shape) and data.offset in (None, header.offset)
    return bool(as_stated and header.map_shape and not (data.rows or data.flip or header.hexagonal))


def _link(source: Path, target: Path) -> None:
    """Use a large file where it lies; copy it where links are not allowed (Windows)."""
    if target.exists() and target.samefile(source):
        return  # the link is there; or it is the only copy, which must not go
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def open_data(data: FileData | ArrayData | PublicData) -> tuple:
    """Return patterns (rows, columns, height, width), read when sliced, and what the file says."""
    name = data.name if isinstance(data, PublicData) else Path(data.path).name
    is_up = isinstance(data, FileData) and Path(data.path).suffix.lower() in _UP_ENDINGS
    if not is_up and getattr(data, "offset", None):
        raise PatternFileError(f"{name} is no UP file: leave offset out.")
    with in_one_sentence(PatternFileError, name, _WHAT_TO_DO):
        patterns, said = _open_up(data) if is_up else _open_other(data, name)
    rows_are_cut = is_up and isinstance(patterns, np.memmap)  # others may not be there
    first, last = (not rows_are_cut and data.rows) or (0, len(patterns))
    if not 0 <= first < last <= len(patterns):
        raise PatternFileError(f"{name} has {len(patterns)} map rows: correct [{first}, {last}].")
    return patterns[first:last], said


def _open_up(data: FileData) -> tuple:
    stated, header = read_header(data.path), read_header(data.path, data.offset)
    if header.hexagonal and not data.map_shape:
        flat = open_patterns(data.path, offset=data.offset)[0]
        patterns = formats.from_hexagonal(flat, header.hexagonal, stated.path.name)
    else:
        patterns = open_patterns(data.path, data.map_shape, data.offset, data.rows)
    shape = header.hexagonal or header.map_shape
    for what, files in {"offset": stated.offset, "map_shape": shape}.items():
        mine = getattr(data, what)
        if mine and files and mine != files:
            print(f"{stated.path.name}: {what} {mine} as the study says; the file says {files}.")
    step = formats.plausible_step((header.step_um or ())[: 1 if header.hexagonal else 2])
    if header.step_um and not step:
        what = f"{stated.path.name} states a step of {header.step_um} um"
        if not data.step_um:
            raise PatternFileError(f"{what}: set step_um.")
        print(f"{what}; the study says {data.step_um:g} um.")
    return patterns, {"step_um": step} if step else {}


def _open_other(data: FileData | ArrayData | PublicData, name: str) -> tuple:
    if isinstance(data, PublicData):
        signal = public.open_kikuchipy_scan(name)
        return formats.map_of(signal, name), formats.said_by(signal)
    path = Path(data.path)
    is_file = isinstance(data, FileData)
    if not path.is_file() and not (is_file and (path.is_dir() or has_magic(name))):
        raise PatternFileError(f"There is no scan file {path}; check its path in the study.")
    if h5py.is_hdf5(path):
        hdf5_data(path)  # all of them are in this file
    if not is_file:
        return _open_array(data, path), {}
    signal = formats.open_signal(path, data.processed)
    return formats.map_of(signal, name, data.map_shape), formats.said_by(signal)


def _open_array(scan: ArrayData, path: Path):
    """Open .npy, HDF5, .mat or flat binary without reading it whole where the format allows."""
    shape = (*scan.map_shape, *scan.pattern_shape)
    one_by_one = (shape[0] * shape[1], *shape[2:])
    if path.suffix.lower() == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    elif path.suffix.lower() == ".mat" or h5py.is_hdf5(path):
        array = _dataset(path, scan.dataset)
    else:
        expected = int(np.prod(shape)) * np.dtype(scan.dtype).itemsize
        if path.stat().st_size != expected:
            raise PatternFileError(
                f"{path.name} holds {path.stat().st_size} bytes, but {shape} of {scan.dtype} "
                f"take {expected}; correct map_shape, pattern_shape or dtype."
            )
        array = np.memmap(path, scan.dtype, "r", shape=shape)
    if array.shape not in (shape, one_by_one):
        raise PatternFileError(
            f"{path.name} holds an array of {array.shape}, not {shape} or {one_by_one}: correct "
            "map_shape and pattern_shape, or save its axes in this order."
        )
    if isinstance(array, da.Array):
        array = array.compute()
    if isinstance(array, h5py.Dataset):  # row by row
        array = da.from_array(array, (1, *shape[1:]) if array.ndim == 4 else shape[1:])
    return array.reshape(shape)


def _dataset(path: Path, name: str | None):
    import scipy.io

    if h5py.is_hdf5(path):
        file, names = h5py.File(path), []
        file.visit(lambda n: names.append(n) if getattr(file[n], "ndim", 0) >= 3 else None)
    else:
        file = names = {name: about for name, *about in scipy.io.whosmat(path)}
    if name not in names:
        raise PatternFileError(
            f"{path.name} has no dataset '{name}'; set dataset to one of: {', '.join(names)}."
        )
    if isinstance(file, h5py.File):
        return file[name]
    # Unpacked once its shape is known to be right. A cell, whose kind numpy does not know, is not.
    whole = dask.delayed(lambda: scipy.io.loadmat(path, variable_names=[name])[name])
    return da.from_delayed(whole(), *file[name])


def _source(data: Data) -> tuple[tuple[int, ...], Iterator[np.ndarray], dict]:
    """Return a map's shape, its patterns as uint16, some at a time, and what its file says."""
    if isinstance(data, PublicData) and data.name == public.IN718:
        shape = (*public.in718_shape(data.rows), NETWORK_INPUT_PX, NETWORK_INPUT_PX)
        return shape, public.in718_rows(data.rows), {}
    patterns, said = open_data(data)
    return patterns.shape, _counts(data, patterns), said


def _counts(data: Data, patterns) -> Iterator[np.ndarray]:
    name = Path(getattr(data, "path", data.source)).name
    with in_one_sentence(PatternFileError, name, _WHAT_TO_DO):
        to_uint16 = scaling(patterns)
        if not isinstance(patterns, da.Array):  # a row of a wide map is half a GB
            patterns = patterns.reshape(-1, *patterns.shape[2:])
        for _, part in chunks("converting", patterns, pattern_bytes=_row_bytes(patterns)):
            counts = to_uint16(np.asarray(part))
            yield counts[..., ::-1, :] if getattr(data, "flip", False) else counts


def _row_bytes(patterns) -> int:
    """Return the bytes of a map row, or fewer of a lazy map, so that more rows are read at once."""
    row = int(np.prod(patterns.shape[1:])) * patterns.dtype.itemsize
    return row // _LAZY_CHUNKS if isinstance(patterns, da.Array) else row


def scaling(patterns):
    """Return the map to uint16: integers as they are, floats by the scan's own range."""
    if patterns.dtype.kind not in _NUMBERS:
        raise PatternFileError(f"The patterns are of {patterns.dtype}, which is no number.")
    if patterns.dtype.kind == "u" and patterns.dtype.itemsize <= 2:
        return lambda chunk: chunk.astype(np.uint16)
    wide = np.promote_types(patterns.dtype, np.float32)  # float16 would overflow
    parts = chunks("range", patterns, pattern_bytes=_row_bytes(patterns))
    ranges = [np.quantile(np.asarray(part, wide), _RANGES) for _, part in parts]
    (low, usual_low), (usual_high, high) = np.min(ranges, 0)[:2], np.max(ranges, 0)[2:]
    if not np.isfinite([low, high]).all() or low == high:
        what = "they are constant or hold NaN"
        raise PatternFileError(f"The patterns range from {low} to {high}: {what}.")
    if 0 < _FAR * (usual_high - usual_low) < high - low:
        print(f"Values reach from {low:g} to {high:g}: cut to {usual_low:g} to {usual_high:g}.")
        low, high = usual_low, usual_high
    scale = 65535 / (high - low)
    return lambda part: np.round((part.astype(wide).clip(low, high) - low) * scale).astype("u2")


def _step(data: FileData | ArrayData | PublicData, said: dict, name: str) -> float:
    """Return the step in um: the study's, else the file's, else 1; a line says what is doubtful."""
    mine, files = data.step_um, said.get("step_um")
    if mine and files and abs(mine - files) > _SAME_STEP * files:
        print(f"Scan '{name}': step {mine:g} um as the study says, not {files:g} as the file does.")
    if not mine and not files:
        print(f"Scan '{name}': neither study nor file states a step; 1 um is taken: set step_um.")
    return mine or files or _STEP_OF_NO_WORD_UM
