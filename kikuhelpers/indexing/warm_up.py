"""Compile the libraries' numba code once, alone: ``python -m kikuhelpers.indexing.warm_up``.

This comes before everything else in a study, and a lock keeps two studies apart (see
:mod:`kikuhelpers.runs.compilation`).
"""

from kikuhelpers.runs.compilation import compiling_lock


def warm_up() -> None:
    """Import and run what compiles: orix, kikuchipy, PyEBSDIndex and our own code."""
    with compiling_lock():
        # Imported under the lock, since the import itself compiles.
        from kikuhelpers.indexing import hough
        from kikuhelpers.preprocessing import preprocess
        from kikuhelpers.scans.virtual.scanning import ScanMaker
        from kikuhelpers.study.scans import VirtualData

        small = {"source": "virtual", "map_shape": (2, 2), "specimen": {"alloy": "am"}}
        ScanMaker(VirtualData.model_validate(small)).chunk(0)
        preprocess.warm_up()
        hough.warm_up()


if __name__ == "__main__":
    warm_up()
