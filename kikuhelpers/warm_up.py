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
        from kikuhelpers import indexing, specimen
        from kikuhelpers.study import VirtualScan

        scan = VirtualScan(source="virtual", alloy="wrought", map_shape=(2, 2), grains=1)
        for _ in specimen.noise_free_rows(scan, specimen.make_truth(scan)):
            pass
        indexing.warm_up()


if __name__ == "__main__":
    warm_up()
