"""One process compiles at a time.

Two that compile orix's functions at the same time overwrite parts of each other's cache, and
every later import crashes (in ``qu_multiply``, seen with orix 0.15 and numba 0.68).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = Path.home() / ".pyebsdindex" / "compiling.lock"


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
