"""Compile the libraries' numba code once, alone: ``python -m kikuhelpers.warm_up``.

This comes before everything else in a study, and a lock keeps two studies apart (see
:mod:`kikuhelpers.compilation`).
"""

from kikuhelpers.compilation import compiling_lock


def warm_up() -> None:
    """Import and run what compiles: orix, kikuchipy, PyEBSDIndex and our own code."""
    with compiling_lock():
        # Imported under the lock, since the import itself compiles.
        from kikuhelpers import indexing, preprocessing
        from kikuhelpers.study import VirtualScan
        from kikuhelpers.virtual.scanning import ScanMaker

        small = {"source": "virtual", "map_shape": (2, 2), "specimen": {"alloy": "am"}}
        ScanMaker(VirtualScan.model_validate(small)).chunk(0)
        preprocessing.warm_up()
        indexing.warm_up()


if __name__ == "__main__":
    warm_up()
