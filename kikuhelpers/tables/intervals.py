"""How sure are the numbers of a table? A bootstrap over lattices.

A network keeps or loses an orientation, so the unit of evidence is the lattice, not the point and
not the grain. Whole lattices are drawn with repetition (cluster bootstrap: Field & Welsh, J. R.
Stat. Soc. B 69 (2007) 369, doi:10.1111/j.1467-9868.2007.00593.x). Of few lattices the intervals
are too narrow. What they do not hold: another specimen, another training.
"""

import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import distance_transform_edt

from kikuhelpers.indexing.orientation_maps import central_points, disorientation_deg

RESAMPLES = 1000
_LEVEL = 0.95  # of the intervals
_FEWEST_LATTICES = 5  # fewer can be drawn in at most 35 ways: too few to cut off 2.5 %
_SMALLEST_GRAIN = 10  # points; smaller ones are mostly misindexed points of the grain around
_RANKS = 1024  # of sorted values; quantiles of a resample are found among these


def lattice_labels(maps: list[CrystalMap], near_deg: float) -> np.ndarray:
    """Number the lattice of every point of some maps of preprocessed patterns, (n of all,) int.

    Grains of one phase, of whichever map, are one lattice if no two of them are as far apart as
    ``near_deg`` (complete linkage, so that a texture does not chain all its grains into one). All
    other points are pores, boundaries and particles, and count with the nearest grain of their map;
    all points of maps without any grain are one lattice, -1.
    """
    rows, groups = [], {}
    for number, xmap in enumerate(maps):
        turns, phase_id = xmap.rotations.data, xmap.phase_id  # orix copies them when asked
        for grain, middle in central_points(xmap, _SMALLEST_GRAIN).items():
            phase = xmap.phases[int(phase_id[middle])]
            groups[phase.name] = phase.point_group.laue
            rows.append((number, grain, phase.name, turns[middle]))
    grains = pd.DataFrame(rows, columns=["map", "grain", "phase", "turn"]).assign(alike=0)
    for phase, of in grains.groupby("phase"):
        turns, (one, other) = Rotation(np.stack(of["turn"])), np.triu_indices(len(of), 1)
        if len(of) > 1:
            apart = disorientation_deg(turns[one], turns[other], groups[phase])
            tree = linkage(apart, "complete")
            grains.loc[of.index, "alike"] = fcluster(tree, near_deg, "distance")
    grains["lattice"], found = grains.groupby(["phase", "alike"]).ngroup(), []
    for number, xmap in enumerate(maps):
        of_grain = grains[grains["map"] == number].set_index("grain")["lattice"]
        known = of_grain.reindex(xmap.prop["grain"]).to_numpy(float).reshape(xmap.shape)
        nearest = distance_transform_edt(np.isnan(known), None, False, True)
        found.append(known[tuple(nearest)].ravel())
    return np.nan_to_num(np.concatenate(found), nan=-1).astype(int)


class Resamples:
    """Draws of the ``count`` lattices of some points; the same ones for the same seed (paired)."""

    def __init__(self, lattices: np.ndarray, seed: int):
        self._lattices = np.unique(lattices, return_inverse=True)[1]
        self.count = int(self._lattices.max()) + 1
        shares, rng = np.full(self.count, 1 / self.count), np.random.default_rng(seed)
        self._drawn = rng.multinomial(self.count, shares, RESAMPLES) * 1.0  # how often each

    def numbers(self, means: pd.DataFrame, others: pd.DataFrame, quantiles: dict) -> pd.DataFrame:
        """Means and named quantiles of columns in each resample, a row each; NaN left out."""
        of_lattice = means.groupby(self._lattices)
        sums, counts = (self._drawn @ of() for of in (of_lattice.sum, of_lattice.count))
        with np.errstate(invalid="ignore"):  # where a resample holds no point that counts
            found = dict(zip(means, (sums / counts).to_numpy().T, strict=True))
        for name, values in others.items():
            columns = self.quantiles(values.to_numpy(float), [*quantiles.values()]).T
            found |= {f"{name}_{label}": c for label, c in zip(quantiles, columns, strict=True)}
        return pd.DataFrame(found)

    def quantiles(self, values: np.ndarray, quantiles: list[float]) -> np.ndarray:
        """Quantiles of (n,) values in each resample, to 1 / 1024 of the points; NaN left out."""
        order = np.argsort(values, kind="stable")[: np.isfinite(values).sum()]
        if not len(order):
            return np.full((RESAMPLES, len(quantiles)), np.nan)
        last = np.linspace(0, len(order), min(len(order), _RANKS) + 1).astype(int)[1:] - 1
        rank = np.searchsorted(last, np.arange(len(order)))
        places = self._lattices[order] * len(last) + rank
        counts = np.bincount(places, minlength=self.count * len(last)).reshape(self.count, -1)
        below = self._drawn @ counts.cumsum(axis=1)  # points up to each rank
        ranks = [(below < q * below[:, -1:]).sum(axis=1) for q in quantiles]
        return np.where(below[:, -1:] > 0, values[order[last]][np.stack(ranks, axis=1)], np.nan)

    def ends(self, resampled: pd.DataFrame) -> pd.DataFrame:
        """95 % interval of each column: ``number``, ``low``, ``high``; NaN of under 5 lattices."""
        tails = {(1 - _LEVEL) / 2: "low", (1 + _LEVEL) / 2: "high"}
        found = resampled.quantile([*tails]) if self.count >= _FEWEST_LATTICES else resampled[:0]
        return found.reindex([*tails]).T.rename(columns=tails).rename_axis("number").reset_index()
