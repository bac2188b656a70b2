"""One process compiles at a time.

Two processes that compile orix's functions at the same time overwrite parts of each other's
cache, and every later import crashes (a segmentation fault in ``qu_multiply``, seen with orix
0.15 and numba 0.68). PyEBSDIndex compiles for minutes, which only one process need spend.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = Path.home() / ".pyebsdindex" / "compiling.lock"


@contextmanager
def compiling_lock() -> Iterator[FileLock]:
    """Hold the machine-wide lock to compile under; the lock dies with its process.

    Where another process compiles, one line says that this process waits. Within a process the
    lock can be taken again.
    """
    LOCK.parent.mkdir(exist_ok=True)
    lock = FileLock(LOCK, is_singleton=True)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        print("Another process compiles the libraries: this one waits for it.", flush=True)
        held = lock.acquire()
    with held:
        yield lock
