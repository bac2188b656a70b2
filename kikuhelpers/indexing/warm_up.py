"""Compile the libraries' numba code once, alone: ``python -m kikuhelpers.indexing.warm_up``."""

import tempfile
from pathlib import Path

from kikuhelpers.runs.compilation import compiled_mark, compiling_lock


def warm_up() -> None:
    """Take a map of 2 x 2 points through the stages that compile, before any other process.

    Nothing is done where the code that compiles is the same as the last time.
    """
    if compiled_mark().is_file():
        return
    with compiling_lock(), tempfile.TemporaryDirectory() as folder:
        if compiled_mark().is_file():
            return
        # Imported under the lock, since the import itself compiles.
        import numpy as np

        from kikuhelpers.indexing.hough import Detector, index_patterns
        from kikuhelpers.indexing.pattern_centre import calibrate_pattern_centre
        from kikuhelpers.preprocessing.preprocess import preprocess
        from kikuhelpers.scans.virtual.scanning import ScanMaker
        from kikuhelpers.study.layout import ScanFiles
        from kikuhelpers.study.scans import Scan
        from kikuhelpers.study.study import NICKEL, Indexing, Preprocessing

        data = {"source": "virtual", "map_shape": (2, 2), "specimen": {"alloy": "am"}}
        scan = Scan.model_validate({"data": data})
        patterns, _ = ScanMaker(scan.data).chunk(0)
        raw, mask = patterns.reshape(2, 2, *patterns.shape[1:]), np.ones(patterns.shape[1:], bool)
        for taken in (raw, raw.repeat(2, axis=2).repeat(2, axis=3), raw[..., 10:]):
            files = ScanFiles(lambda _: Path(folder))
            preprocess(taken, scan.preprocessing, Preprocessing(mask="none"), files, step_um=1.0)
        settings = Detector(), Indexing(phase=NICKEL)  # what compiles is the same for all phases
        calibrate_pattern_centre(raw, mask, *settings, seed=1)
        index_patterns(raw, mask, *settings, 1.0)
        compiled_mark().touch()


if __name__ == "__main__":
    warm_up()
