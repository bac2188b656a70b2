"""Compile the libraries' numba code once, alone: ``python -m kikuhelpers.warm_up``.

Two processes that compile orix's functions at the same time overwrite parts of each
other's cache, and every later import crashes (a segmentation fault in ``qu_multiply``, seen
with orix 0.15 and numba 0.68). So this comes before everything else in a study, and a lock
keeps two studies apart.
"""

from pathlib import Path

from filelock import FileLock

LOCK = Path.home() / ".pyebsdindex" / "compiling.lock"


def warm_up() -> None:
    """Import and run what compiles: orix, kikuchipy, PyEBSDIndex and our own code."""
    LOCK.parent.mkdir(exist_ok=True)
    with FileLock(LOCK):
        # Imported under the lock, since the import itself compiles.
        from kikuhelpers import indexing
        from kikuhelpers.study import VirtualScan
        from kikuhelpers.virtual.scanning import ScanMaker

        small = {"source": "virtual", "map_shape": (2, 2), "specimen": {"alloy": "am"}}
        ScanMaker(VirtualScan.model_validate(small)).chunk(0)
        indexing.warm_up()


if __name__ == "__main__":
    warm_up()
