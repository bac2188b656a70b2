"""Whole grains kept out of a training, a twin pair among them: does the network generalise?

Points drawn at random leave the network neighbours of the same orientation. So all points
near either orientation of a twin pair are held out, wherever on the map they lie: what is
then decoded is an orientation never seen.
"""

import numpy as np
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kikuhelpers.indexing.orientation_maps import central_points, disorientation_deg, point_groups
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED, StudyError

# Sigma 3: 60° about <111>, within Brandon's 15° / sqrt(3) (Acta Metall. 14 (1966) 1479,
# doi:10.1016/0001-6160(66)90168-4).
CUBIC, TWIN_TOLERANCE_DEG = "m-3m", 15.0 / np.sqrt(3)
TWINS = Rotation.from_axes_angles(
    [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]], 60.0, degrees=True
)
_SMALLEST_GRAIN = 50  # points; smaller ones are no grain to judge by


def held_out_points(results: Results, model: str) -> np.ndarray:
    """Return which points of its hold-out scan a model must not see, (rows, columns) bool.

    StudyError if the map is not of one cubic phase, no neighbouring grains are twins, or each pair
    is large.
    """
    settings = results.study.model(model).hold_out
    xmap = results.orientations(PREPROCESSED, settings.scan)
    return _twin_pair_points(xmap, results.study.indexing.grain_deg, settings.largest_share)


def _twin_pair_points(xmap: CrystalMap, near_deg: float, largest_share: float) -> np.ndarray:
    """Points (rows, columns) near either orientation of the largest pair that is not too large."""
    groups = point_groups(xmap).values()
    if {group.name for group in groups} != {CUBIC} or len(groups) > 1:
        raise StudyError(
            f"hold_out knows the twins of one {CUBIC} phase only, not of {xmap.phases.names}: "
            "leave it out."
        )
    pairs = _twin_pairs(xmap, _SMALLEST_GRAIN)
    if not len(pairs):
        raise StudyError(
            "hold_out finds no two neighbouring grains that are twins: take another scan."
        )
    near, middles = {}, central_points(xmap, _SMALLEST_GRAIN)
    for grain in np.unique(pairs):
        middle = xmap.rotations[middles[grain]]
        near[grain] = disorientation_deg(xmap.rotations, middle, *groups) < near_deg
    taken = [(near[one] | near[other]) & xmap.is_indexed for one, other in pairs]
    shares = np.array([points.sum() for points in taken]) / xmap.is_indexed.sum()
    if shares.min() > largest_share:
        raise StudyError(
            f"hold_out: the smallest twin pair takes {shares.min():.0%} of the points; raise "
            "largest_share above that."
        )
    largest = np.argmax(np.where(shares <= largest_share, shares, -1))
    return taken[largest].reshape(xmap.shape)


def twins_joined(xmap: CrystalMap) -> np.ndarray:
    """Number of every point's grain, the same for grains in twin relation: (rows, columns) int.

    -1 without a grain. As grains stand where the map is not of one cubic phase.
    """
    grains, groups = xmap.get_map_data("grain"), point_groups(xmap)
    if [group.name for group in groups.values()] != [CUBIC]:
        return grains
    ends, count = tuple(_twin_pairs(xmap, 1).T), grains.max() + 1
    graph = coo_array((np.ones(len(ends[0])), ends), shape=(count, count))
    joined = connected_components(graph, directed=False)[1]
    return np.where(grains >= 0, joined[grains], grains)


def _twin_pairs(xmap: CrystalMap, smallest: int) -> np.ndarray:
    """Pairs of neighbouring grains in twin relation, (n, 2) labels, of so many points or more."""
    grains = np.asarray(xmap.prop["grain"]).reshape(xmap.shape)
    middles = central_points(xmap, smallest)
    sides = [(grains[1:], grains[:-1]), (grains[:, 1:], grains[:, :-1])]
    pairs = np.hstack([np.stack([a.ravel(), b.ravel()]) for a, b in sides])
    pairs = pairs[:, (pairs[0] != pairs[1]) & np.isin(pairs, [*middles]).all(axis=0)]
    pairs = np.unique(np.sort(pairs, axis=0), axis=1)
    one, other = (xmap.rotations[[middles[g] for g in side]] for side in pairs)
    off = [disorientation_deg(twin * one, other, *point_groups(xmap).values()) for twin in TWINS]
    return pairs.T[np.min(off, axis=0) < TWIN_TOLERANCE_DEG]
