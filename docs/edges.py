"""How wide is an edge across a grain boundary? Lines and widths for docs/experiments.py.

A line runs along x, the map's rows, across one boundary of a virtual specimen.
"""

import numpy as np
import pandas as pd
from orix.quaternion import Rotation
from orix.quaternion.symmetry import Oh
from scipy.optimize import curve_fit
from scipy.stats import norm

from kikuhelpers.indexing.orientation_maps import disorientation_deg
from kikuhelpers.scans.virtual.specimen import VirtualSpecimen

_STEP_UM, _HALF, _PLATEAU = 0.05, 20, 10  # points on either side of the boundary; at an end
ALONG_UM = _STEP_UM * np.arange(-_HALF, _HALF + 1)  # the points of a line, from its middle
_LINES, _BOUNDARIES, _APART_UM, _LEAST_DEG = 5, 16, 1.0, 15.0
_SEEN = 4.0  # deviations, that a step has at least
_TEN_TO_NINETY = 2 * norm.ppf(0.9)  # standard deviations between 10 and 90 % of an error function
_SEED = 1


def edge_width(values: np.ndarray) -> float:
    """10-90 % width in um of an edge in the values (points,) of a line; NaN where none is seen.

    That of the error function that fits best. It is at least one step, and the edge must stand out
    of what the fit leaves.
    """
    first, last = values[:_PLATEAU], values[-_PLATEAU:]

    def edge(x, low, height, middle, sigma):
        return low + height * norm.cdf((x - middle) / sigma)

    start = first.mean(), last.mean() - first.mean(), 0.0, 2 * _STEP_UM
    least = -np.inf, -np.inf, ALONG_UM[0], _STEP_UM / _TEN_TO_NINETY
    most = np.inf, np.inf, ALONG_UM[-1], np.ptp(ALONG_UM)
    try:
        fitted, _ = curve_fit(edge, ALONG_UM, values, start, bounds=(least, most))
    except (RuntimeError, ValueError):  # no fit, or a value that is not finite
        return np.nan
    left = (values - edge(ALONG_UM, *fitted)).std()
    return _TEN_TO_NINETY * fitted[3] if abs(fitted[1]) >= _SEEN * left else np.nan


def boundary_lines(data) -> pd.DataFrame:
    """Lines along x across boundaries of a scan's field: ``x`` and ``y`` of the middle, in um.

    Also the ``boundary``, numbered, and the ``other`` grain's domain.
    """
    specimen, crossings = VirtualSpecimen(data.specimen, data.seed), []
    rng = np.random.default_rng(_SEED)
    x, reach = np.arange(0, data.map_shape[0] * data.step_um, _STEP_UM), round(_APART_UM / _STEP_UM)
    for y in np.arange(0, data.map_shape[1] * data.step_um, data.step_um):
        state = specimen.at(np.stack([x, np.full(len(x), y)], axis=1))
        change = np.flatnonzero(np.diff(state.domain))
        alone = np.diff(change, prepend=-reach, append=len(x) + reach) > reach
        for last in change[alone[:-1] & alone[1:]]:
            sides = [last, last + 1]
            if last < reach or last + reach >= len(x) or state.phase[sides].any():
                continue
            if state.grain[last] == state.grain[last + 1]:
                continue  # a twin
            pair = tuple(sorted(state.domain[sides]))
            middle = x[last] + _STEP_UM * rng.random()
            crossings.append((middle, y, pair, state.domain[last + 1], *state.rotation[sides]))
    table = pd.DataFrame(crossings, columns=["x", "y", "pair", "other", "one_turn", "other_turn"])
    turns = (Rotation(np.stack(table[name])) for name in ("one_turn", "other_turn"))
    table = table[disorientation_deg(*turns, Oh) >= _LEAST_DEG]
    enough = table.groupby("pair").filter(lambda some: len(some) >= _LINES)
    pairs = sorted(enough["pair"].unique())
    chosen = rng.permutation(len(pairs))[:_BOUNDARIES]
    numbers = {pairs[i]: number for number, i in enumerate(sorted(chosen))}
    table = enough.assign(boundary=enough["pair"].map(numbers)).dropna(subset="boundary")
    return table.groupby("boundary").sample(_LINES, random_state=_SEED)


def projected(latents: np.ndarray) -> np.ndarray:
    """Latents (points, D) of a line, 0 at the mean of the first ends and 1 at that of the last."""
    first, last = latents[:_PLATEAU].mean(axis=0), latents[-_PLATEAU:].mean(axis=0)
    along = last - first
    return (latents - first) @ along / (along @ along)
