"""The patterns that the figures show, remembered while they are drawn.

They take a megabyte where the files that they come from take hundreds, so they can be kept:
a figure is then drawn again without those files.
"""

from itertools import groupby
from pathlib import Path

import numpy as np

from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.runs.files import MissingResultError, written_aside
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study

Place = tuple[str, str, int, int]  # model, scan, row and column in the scan

_drawn: dict[Path, dict[Place, np.ndarray]] = {}  # counts, by the file they will be written to


def counts_at(study: Study, model: str, scan: str, row: int, column: int) -> np.ndarray:
    """Return one pattern of a scan, (h, w) uint16 counts, and remember it.

    Parameters
    ----------
    study, model, scan
        Whose patterns; a model's are the decoded ones.
    row, column
        In the scan.

    Raises
    ------
    MissingResultError
        Neither the file of the patterns nor a kept copy of this one is there.
    """
    layout = Layout(study)
    patterns = layout.patterns(model, scan)
    drawn = _drawn.setdefault(layout.shown_patterns, {})
    place = (model, scan, int(row), int(column))
    if patterns.is_file():
        drawn[place] = np.array(open_patterns(patterns)[row, column])
    elif place not in drawn:
        # All of them: what a file no longer there once gave must not be lost.
        for other, counts in load_shown(layout.shown_patterns).items():
            drawn.setdefault(other, counts)
    if place not in drawn:
        raise MissingResultError(patterns, "notebooks 02 and 05")
    return drawn[place]


def forget_shown(path: Path) -> None:
    """Begin a new set of figures, whose patterns go to ``path``."""
    _drawn.pop(path, None)


def save_shown(path: Path) -> None:
    """Write the patterns drawn since :func:`forget_shown`; without any, nothing is written."""
    drawn = sorted(_drawn.get(path, {}).items())
    arrays = {}
    for (model, scan), places in groupby(drawn, key=lambda item: item[0][:2]):
        places = list(places)
        arrays[f"{model}/{scan}/points"] = np.array([place[2:] for place, _ in places], np.int32)
        arrays[f"{model}/{scan}/counts"] = np.stack([counts for _, counts in places])
    if arrays:
        with written_aside(path) as temporary:
            np.savez_compressed(temporary, **arrays)


def load_shown(path: Path) -> dict[Place, np.ndarray]:
    """Read what :func:`save_shown` wrote; no file holds no pattern."""
    if not path.is_file():
        return {}
    shown = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            model, scan, kind = name.split("/")
            if kind == "points":
                for (row, column), counts in zip(
                    arrays[name].tolist(), arrays[f"{model}/{scan}/counts"], strict=True
                ):
                    shown[model, scan, row, column] = counts
    return shown
