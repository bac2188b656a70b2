"""What one pattern centre for a map costs, and one that moves: python -m docs.moving_centre.

Virtual maps of known orientations are indexed with the right centre of their middle. Of the
measured crop no truth is known: there the bands' fit tells. A map that is turned by 180 degrees,
in the plane, moves the other way. One line per case goes to docs/moving_centre.csv.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from docs.verdicts import preprocessed
from kikuhelpers.indexing.hough import Detector, index_patterns
from kikuhelpers.indexing.orientation_maps import disorientation_deg
from kikuhelpers.runs.files import save_csv
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.scans import public
from kikuhelpers.scans.virtual.scanning import ScanMaker
from kikuhelpers.study.phases import NICKEL
from kikuhelpers.study.study import Indexing
from tests.test_phases import MASK
from tests.test_virtual_microscope import make_scan

_SCREEN_UM = 30_000.0  # of the virtual microscope; its distance is 0.63 of it, 19 mm
_POINTS, _WIDTHS_UM = 60, (50.0, 200.0, 500.0, 1000.0, 2000.0)
_GRAINS_ACROSS = 12
_CORNER, _MIDDLE = 0.1, 0.2  # of the map's width: squares in its corners, a square in its middle
_CROP_CENTRE, _CROP_ROWS, _CROP_STEP_UM = (0.5134, 0.3440, 0.6259), (0, 120), 1.0


def virtual_map(width_um: float):
    """Return patterns as stage 02 leaves them, quaternions (points, 4), detector and step."""
    step_um = width_um / (_POINTS - 1)
    scan = make_scan(
        {"size_um": (width_um,) * 2, "grains": {"median_width_um": width_um / _GRAINS_ACROSS}},
        {"interaction_um": (0, 0), "screen_width_um": _SCREEN_UM},
        map_shape=(_POINTS, _POINTS),
        step_um=step_um,
    )
    maker = ScanMaker(scan)
    patterns, truth = zip(*map(maker.chunk, maker.starts), strict=True)
    raw = np.concatenate(patterns).reshape(_POINTS, _POINTS, *MASK.shape)
    rotations = np.concatenate([part["rotation"] for part in truth])
    return preprocessed(raw), rotations, Detector(scan.microscope.pattern_centre), step_um


def indexed(patterns, truth, detector: Detector, step_um: float):
    """Yield the centre's name, angles to the truth and fit (points) of each way to index a map."""
    moving = replace(detector, screen_um=_SCREEN_UM)
    for name, at, turn in (("one", detector, 1), ("moving", moving, 1), ("turned", moving, -1)):
        seen = patterns[::turn, ::turn]
        xmap = index_patterns(seen, MASK, at, Indexing(phase=NICKEL), step_um)
        found, group, off = xmap.rotations[::turn], xmap.phases[0].point_group, None
        if truth is not None:
            off = disorientation_deg(found, type(found)(truth), group)
        yield name, off, np.where(xmap.is_indexed, xmap.fit, np.nan)[::turn]


def main() -> None:
    """Index every map in each way."""
    rows = []
    crop = preprocessed(np.concatenate([*public.in718_rows(_CROP_ROWS)]))
    maps = {f"virtual, {width:g} um": virtual_map(width) for width in _WIDTHS_UM}
    maps["measured IN718, 120 x 200 um"] = crop, None, Detector(_CROP_CENTRE), _CROP_STEP_UM
    place = np.abs(np.linspace(-0.5, 0.5, _POINTS))
    inner, outer = np.maximum.outer(place, place), np.minimum.outer(place, place)
    for name, (patterns, truth, detector, step_um) in maps.items():
        fit_of_one = None
        for centre, off, fit in indexed(patterns, truth, detector, step_um):
            fit_of_one = fit if centre == "one" else fit_of_one
            gain = (fit_of_one - fit)[np.isfinite(fit_of_one + fit)]
            row = {"map": name, "centre": centre, "corners deg": None, "middle deg": None}
            if off is not None:
                row["corners deg"] = np.median(off[outer.ravel() > 0.5 - _CORNER])
                row["middle deg"] = np.median(off[inner.ravel() < _MIDDLE / 2])
            row |= {"fit deg": np.nanmean(fit), "gain deg": gain.mean()}
            row |= {"standard error": gain.std() / np.sqrt(len(gain)), "commit": git_commit()}
            rows.append(row)
    save_csv(pd.DataFrame(rows), Path(__file__).with_name("moving_centre.csv"), digits=3)


if __name__ == "__main__":
    main()
