"""Regions of interest: the boxes of a study, and boxes chosen by a measure.

Where a study gives the size of a region only, it is placed where the latent maps show most
structure inside the grains: lines, cells and particles, not the grains themselves.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import convolve, maximum_filter, minimum_filter

from kikuhelpers.latents.features import BLOCK, Choice, cell_feature, standardised_in_grains
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import StudyError, roles

PATH_MARGIN_POINTS = 15  # of map around the path of Fig. 4C
PATH_CLEARANCE_POINTS = 2  # between the path and the next grain, whose patterns mix in
_ROLES = {"wrought": "wrought", "am": "AM"}  # as a sentence names them
# Neighbours of a point in Moran's I, each with a quarter of the weight.
_FOUR_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])[..., None] / 4


def region(results: Results, panel: str, scan: str | None) -> View | None:
    """View of a panel's region of interest; of the whole ``scan`` if none is given for it."""
    box = results.study.figures.regions.get(panel)
    if box is None:
        return View.whole(results, scan) if scan is not None else None
    view = View.whole(results, box.scan)
    if box.size is not None:
        structure = structure_in_grains(view, roles.largest_vae(results.study))
        return View(results, box.scan, *most_structured_box(structure, box.size, box.rank))
    ends = zip((box.rows, box.columns), view.shape, strict=True)
    return View(results, box.scan, *((min(a, n - 1), min(b, n)) for (a, b), n in ends))


def panel_views(
    results: Results, number: int, panels: dict[str, str]
) -> tuple[dict[str, View], list[str]]:
    """Views of a figure's panels, and one sentence for each role that no scan plays.

    Parameters
    ----------
    results
        Of the study.
    number
        Of the figure.
    panels
        Role of a scan, "wrought" or "am", by the panel's letter.
    """
    views, lacking = {}, {}
    for letter, role in panels.items():
        view = region(results, f"{number}{letter}", roles.scan_of(results.study, role))
        if view is None:
            lacking.setdefault(role, []).append(letter)
        else:
            views[letter] = view
    return views, [
        f"Fig. {number}{', '.join(letters)}: this study has no {_ROLES[role]} scan."
        for role, letters in lacking.items()
    ]


def structure_in_grains(view: View, model: str) -> np.ndarray:
    """Local Moran's I of the latent features inside the grains, their mean, (rows, columns).

    Each grain of each active feature is brought to mean 0 and variance 1; a point's value is
    the product of its own and its four neighbours' mean (Anselin 1995,
    doi:10.1111/j.1538-4632.1995.tb00338.x). Noise gives 0 on the average.
    """
    grains, latents = view.grains(), view.latents(model)
    active = np.flatnonzero(view.features(model)["active"].to_numpy(bool))
    total = np.zeros(view.shape)
    for start in range(0, len(active), BLOCK):
        values = np.array(latents[..., active[start : start + BLOCK]])
        values = standardised_in_grains(values, grains)
        around = convolve(values, _FOUR_NEIGHBOURS, mode="nearest")
        total += (values * around).sum(axis=-1)
    return total / max(1, len(active))


def most_structured_box(
    structure: np.ndarray, size: tuple[int, int], rank: int = 1
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Place a box of a size where the mean of a map (rows, columns) is highest.

    With a ``rank`` above 1: where it is highest without overlap with the boxes before.

    Returns
    -------
    tuple
        Rows and columns, each (first, one past the last).

    Raises
    ------
    StudyError
        The map has no room for so many boxes.
    """
    height, width = (int(n) for n in np.minimum(size, structure.shape))
    sums = np.pad(structure.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    inside += sums[:-height, :-width]
    for _ in range(rank):
        if not np.isfinite(inside).any():
            raise StudyError(f"The map has no room for region {rank} of {height} x {width} points.")
        row, column = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
        rows, columns = (max(0, row - height + 1), max(0, column - width + 1))
        inside[rows : row + height, columns : column + width] = -np.inf
    return (row, row + height), (column, column + width)


def path_view(results: Results, model: str) -> tuple[View, Choice, np.ndarray]:
    """View of the box around the path of Fig. 4C, the feature, and the path's points (n, 2).

    The feature is that of most structure in the grains of the whole scan.
    """
    path = results.study.figures.path_4c
    scan = View.whole(results, path.scan)
    choice = cell_feature(scan, model)
    start, stop = path.start, path.stop
    if path.length is not None:
        grains = scan.grains()
        standard = standardised_in_grains(choice.map_of(scan)[..., None], grains)[..., 0]
        width = 2 * PATH_CLEARANCE_POINTS + 1
        clear = minimum_filter(grains, width) == maximum_filter(grains, width)
        start, stop = steepest_path(standard, np.where(clear, grains, -1), path.length)
    points = path_points(start, stop)
    first = np.maximum(points.min(axis=0) - PATH_MARGIN_POINTS, 0)
    last = np.minimum(points.max(axis=0) + PATH_MARGIN_POINTS + 1, scan.shape)
    rows, columns = zip(first.tolist(), last.tolist(), strict=True)
    return View(results, path.scan, rows, columns), choice, points


def path_points(start: tuple[int, int], stop: tuple[int, int]) -> np.ndarray:
    """Return the points (n, 2) of a straight path, both ends included, one per step."""
    count = max(abs(stop[0] - start[0]), abs(stop[1] - start[1])) + 1
    return np.round(np.linspace(start, stop, count)).astype(int)


def steepest_path(
    values: np.ndarray, grains: np.ndarray, length: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Find the row or column of points, inside one grain, whose halves differ most on average.

    Parameters
    ----------
    values
        (rows, columns), brought to mean 0 and variance 1 in each grain.
    grains
        (rows, columns) labels, -1 for none.
    length
        Points of the path.

    Returns
    -------
    tuple
        First and last point, each (row, column).

    Raises
    ------
    StudyError
        No grain holds a path of this length.
    """
    best, ends, half = -np.inf, None, length // 2
    for axis in (0, 1):
        if values.shape[axis] < length:
            continue
        path, label = (sliding_window_view(a, length, axis=axis) for a in (values, grains))
        inside = (label == label[..., :1]).all(axis=-1) & (label[..., 0] >= 0)
        step = np.abs(path[..., -half:].mean(axis=-1) - path[..., :half].mean(axis=-1))
        step = np.where(inside, step, -np.inf)
        if step.max(initial=-np.inf) > best:
            best = step.max()
            row, column = (int(i) for i in np.unravel_index(step.argmax(), step.shape))
            ends = (row, column), (row + (length - 1) * (axis == 0), column + (length - 1) * axis)
    if ends is None:
        raise StudyError(f"path_4c: no grain of the map holds a path of {length} points.")
    return ends
