"""What the verdict on an indexing says of right and of wrong cases: python -m docs.verdicts.

The thresholds of kikuhelpers/indexing/verdict.py were fixed before the cases of "tested" were
looked at. One line per case goes to docs/verdicts.csv.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kikuhelpers.indexing.hough import Detector, index_patterns
from kikuhelpers.indexing.verdict import judge
from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.runs.files import save_csv
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.scans import public
from kikuhelpers.study.phases import NICKEL
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.study import Indexing, Preprocessing, ScreenMask
from tests.conftest import scan_files, write_scan
from tests.test_phases import CENTRE, FE, MASK, NI, TI, simulated

_CROP_CENTRE, _SEED = (0.5134, 0.3440, 0.6259), 1
_SCREEN = ScreenMask(centre=(59.5, 59.5), radius=57.5)


def cases():
    """Yield group, name, whether the indexing is right, patterns, detector and phase."""
    crop = preprocessed(np.concatenate([*public.in718_rows((0, 60))])[::6, ::10])
    at = Detector(_CROP_CENTRE)
    flipped = replace(at, pattern_centre=(at.pattern_centre[0], 1 - at.pattern_centre[1], 0.6259))
    noise = np.random.default_rng(_SEED).integers(0, 2**16, crop.shape, np.uint16)
    yield "fixed", "measured IN718", True, crop, at, NICKEL
    yield "fixed", "measured IN718, centre in EDAX's convention", False, crop, flipped, NICKEL
    yield "tested", "measured IN718 as bcc", False, crop, at, FE
    yield "fixed", "uniform noise", False, noise, at, NICKEL
    of, at = {phase.name: simulated(phase) for phase in (NI, FE, TI)}, Detector(CENTRE)
    for true in (NI, FE, TI):
        for tried in (NI, FE, TI):
            name = f"simulated {true.name} as {tried.name}"
            yield "tested", name, tried is true, of[true.name], at, tried
    for true in (FE, TI):
        turned = np.ascontiguousarray(of[true.name][..., ::-1, :])
        yield "tested", f"simulated {true.name}, upside down", False, turned, at, true
        tilted = replace(at, pattern_centre=(CENTRE[0] + 0.15, CENTRE[1], CENTRE[2]))
        yield (
            "tested",
            f"simulated {true.name}, centre 0.15 off",
            False,
            of[true.name],
            tilted,
            true,
        )


def preprocessed(raw: np.ndarray) -> np.ndarray:
    """Return patterns as stage 02 leaves them."""
    with tempfile.TemporaryDirectory() as folder:
        files = scan_files(Path(folder))
        write_scan(files.raw, raw)
        preprocess(raw, ScanPreprocessing(), Preprocessing(mask=_SCREEN), files, step_um=1.0)
        return np.array(open_patterns(files.preprocessed))


def main() -> None:
    """Judge every case."""
    rows = []
    for group, name, right, patterns, detector, phase in cases():
        settings = Indexing(phase=phase)
        how = patterns, MASK, detector, settings
        xmap = index_patterns(*how, 1.0)
        verdict = judge(xmap, *how, _SEED)
        indexed = round(100 * float(xmap.is_indexed.mean()), 1)
        row = {"cases": group, "case": name, "is right": right, "verdict": verdict.kind}
        row |= {"indexed %": indexed, "confidence": verdict.confidence}
        row |= {"matched bands": verdict.matched_bands, "peaks": verdict.peak_ratio}
        rows.append(row | {"commit": git_commit()})
    save_csv(pd.DataFrame(rows), Path(__file__).with_name("verdicts.csv"), digits=3)


if __name__ == "__main__":
    main()
