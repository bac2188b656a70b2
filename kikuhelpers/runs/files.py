"""Files that are whole or not there: write aside, then rename."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import psutil

from kikuhelpers.runs.errors import SentenceError

_BLOCK_BYTES, _BLOCKS = 1 << 20, 64  # that a digest reads at most
_NODE = re.sub(r"\W", "_", platform.node())
_TEMPORARY = re.compile(r"\..+\.unfinished-(\w*)-(\d+)\.\w+")  # the names of temporary_name
_LONG_AGO = 86_400  # seconds without writing: which processes live elsewhere is not known
_FULL_BYTES = 1 << 20  # libraries that meet a full disk leave less, and raise what they like


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path``, of the same ending, that no other process uses."""
    return path.with_name(f".{path.stem}.unfinished-{_NODE}-{os.getpid()}{path.suffix}")


@contextmanager
def written_aside(path: str | Path):
    """Yield a temporary path; rename it to ``path`` on success, remove it on error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    except Exception as error:
        full = shutil.disk_usage(path.parent).free < _FULL_BYTES
        if full or getattr(error, "errno", None) == errno.ENOSPC:
            wrong = f"No space left on the disk for {path}: free some, then start again."
            raise SentenceError(wrong) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def mapped_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """Return a new .npy file as an array to write to, its space taken from the disk at once."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # Linux kills who writes to a mapped file on a full disk
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def tidy(folder: Path) -> None:
    """Remove temporaries of dead processes; date to now what a clock that was ahead made."""
    now = time.time()
    for path in [*folder.rglob("*")]:
        with suppress(FileNotFoundError):  # a process that lives has renamed its file
            at, left = path.lstat(), _TEMPORARY.fullmatch(path.name)
            here = left and left[1] == _NODE
            lives = psutil.pid_exists(int(left[2])) if here else at.st_mtime > now - _LONG_AGO
            if left and not lives:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif at.st_mtime > now and not path.is_symlink():
                os.utime(path, (now, now))


def save_json(path: str | Path, content: Any) -> None:
    """Write JSON, readable by eye."""
    with written_aside(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n", "utf-8")


def load_json(path: str | Path) -> Any:
    """Read JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def readable_json(path: str | Path) -> dict:
    """Read JSON; {} where the file is not there or is broken."""
    try:
        content = load_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def save_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array as .npy."""
    with written_aside(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def digest(path: str | Path, blocks: int = _BLOCKS) -> str:
    """Return a hash of a file's size and of 64 MiB spread evenly over it: all of a smaller file."""
    at = Path(path).stat()
    times = at.st_ino, at.st_mtime_ns, at.st_ctime_ns  # others, once a file has changed
    return _digest(Path(path), min(blocks, 2 + at.st_size // _BLOCK_BYTES), at.st_size, times)


@lru_cache(maxsize=4096)
def _digest(path: Path, blocks: int, size: int, times: tuple[int, ...]) -> str:
    hashed = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in np.linspace(0, max(0, size - _BLOCK_BYTES), blocks, dtype=int).tolist():
            file.seek(start)
            hashed.update(file.read(_BLOCK_BYTES))
    return hashed.hexdigest()


def whole_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file that :func:`digest` reads in part; "" of a smaller one."""
    with Path(path).open("rb") as file:
        large = os.fstat(file.fileno()).st_size > _BLOCKS * _BLOCK_BYTES
        return hashlib.file_digest(file, "sha256").hexdigest() if large else ""


def hdf5_data(path: Path) -> int:
    """Return the bytes that an HDF5 file's data sets unpack to.

    ValueError where data lie in another file: a stranger's could name any file of the user's.
    """
    sets, elsewhere = [], []

    def look(name: str, item) -> None:
        is_set = isinstance(item, h5py.Dataset)
        if isinstance(item, h5py.ExternalLink) or (is_set and (item.external or item.is_virtual)):
            elsewhere.append(name)
        sets.append(item.nbytes if is_set else 0)

    with h5py.File(path) as file:
        file.visititems_links(look)
        file.visititems(look)
    if elsewhere:
        raise ValueError(f"the data of '{elsewhere[0]}' lie in another file")
    return sum(sets)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else os.fspath(value)


def save_csv(table: pd.DataFrame, path: Path, digits: int = 5) -> pd.DataFrame:
    """Write a table as CSV, with so many significant digits, without its index; return it."""
    with written_aside(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{digits}g")
    return table
