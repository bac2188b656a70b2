"""Compile the libraries' numba code once, alone: ``python -m kikuhelpers.warm_up``.

This comes before everything else in a study, and a lock keeps two studies apart (see
:mod:`kikuhelpers.compilation`).
"""

from kikuhelpers.compilation import compiling_lock


def warm_up() -> None:
    """Import and run what compiles: orix, kikuchipy, PyEBSDIndex and our own code."""
    with compiling_lock():
        # Imported under the lock, since the import itself compiles.
        from kikuhelpers import indexing, preprocessing, specimen
        from kikuhelpers.study import VirtualScan

        scan = VirtualScan(source="virtual", alloy="wrought", map_shape=(2, 2), grains=1)
        for _ in specimen.noise_free_rows(scan, specimen.make_truth(scan)):
            pass
        preprocessing.warm_up()
        indexing.warm_up()


if __name__ == "__main__":
    warm_up()
