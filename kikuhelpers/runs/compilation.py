"""The libraries' numba code is compiled once on a machine, by one process at a time.

Two that compile orix's functions at the same time overwrite parts of each other's cache, and
every later import crashes (in ``qu_multiply``, seen with orix 0.15 and numba 0.68).
"""

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = Path.home() / ".pyebsdindex" / "compiling.lock"
_COMPILED = ("numba", "orix", "kikuchipy", "pyebsdindex")  # packages, beside this one


@contextmanager
def compiling_lock() -> Iterator[FileLock]:
    """Hold the machine-wide lock to compile under, which the same process can take again."""
    LOCK.parent.mkdir(exist_ok=True)
    lock = FileLock(LOCK, is_singleton=True)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        print("Another process compiles the libraries: this one waits for it.", flush=True)
        held = lock.acquire()
    with held:
        yield lock


def compiled_mark() -> Path:
    """Return the file that tells that all has been compiled, as the versions now are."""
    package = Path(__file__).parents[1]
    files = [path for path in sorted(package.rglob("*.py")) if "numba" in path.read_text("utf-8")]
    known = [f"{path} {path.stat().st_mtime_ns}" for path in files]
    known += [sys.version, *map(importlib.metadata.version, _COMPILED)]
    return LOCK.with_name(f"compiled-{hashlib.sha256(repr(known).encode()).hexdigest()}")


@cache
def announce_compilation() -> None:
    """Say so, once in a process, if the libraries have yet to be compiled."""
    if not compiled_mark().is_file():
        print("PyEBSDIndex compiles once on this machine: 2-3 minutes more.", flush=True)
