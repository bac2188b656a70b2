"""Which orientations does a model keep? Each grain's error against its share of the training.

The paper (section on beta) says that a strong KL term keeps the orientations with a large
share of the training set. Here the share counts every training pattern, of whichever scan,
whose orientation is that of the grain.
"""

import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuhelpers.indexing.orientation_maps import central_points, collected, disorientation_deg
from kikuhelpers.runs.files import save_csv
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.tables.table1 import WRONG_DEG, compare_maps
from kikuhelpers.training.sample import sample_points

_SMALLEST_GRAIN = 10  # points; the median of fewer says little


def _share_table(results: Results) -> pd.DataFrame:
    """What each model makes of each grain of the decoded scans, one row per model and grain.

    ``share_pct`` of the training patterns lie within ``indexing.grain_deg`` of the grain's
    orientation; ``misorientation_deg_q50`` of decoded against preprocessed patterns and
    ``wrong_pct``, more than ``WRONG_DEG`` off, are over the points indexed in both.
    """
    study, tables = results.study, {}
    sample, total = _training_orientations(results)
    for scan in study.decoded_scans:
        before = results.orientations(PREPROCESSED, scan)
        shares = _shares(before, sample, study.indexing.grain_deg) / total
        for name, model in study.models.items():
            points = compare_maps(before, results.orientations(name, scan))
            wrong = points["off_deg"] > WRONG_DEG
            points["wrong"] = wrong.astype(float).where(points["both"])
            points["grain"] = before.prop["grain"]
            by_grain = points[points["grain"].isin(shares.index)].groupby("grain")
            table = by_grain.agg(
                points=("indexed", "size"),
                misorientation_deg_q50=("misorientation_deg", "median"),
                wrong_pct=("wrong", "mean"),
                indexed_pct=("indexed", "mean"),
            )
            table[["wrong_pct", "indexed_pct"]] *= 100
            table.insert(1, "share_pct", 100 * shares)
            tables[name, model.beta, scan] = table
    return pd.concat(tables, names=["model", "beta", "scan"]).reset_index()


def _training_orientations(results: Results) -> tuple[dict[str, Rotation], int]:
    """Orientations of the indexed training patterns by their phase, and the number of all."""
    parts, total = {}, 0
    for name in results.study.training_scans:
        xmap = results.orientations(PREPROCESSED, name)
        points = sample_points(results.study, name, xmap.shape)
        points = points[collected(xmap)[points]]
        for number, phase in xmap.phases:
            of = points[xmap.phase_id[points] == number]
            parts.setdefault(repr(phase), []).append(xmap.rotations.data[of])
        total += len(points)
    return {phase: Rotation(np.concatenate(part)) for phase, part in parts.items()}, total


def _shares(xmap: CrystalMap, sample: dict[str, Rotation], near_deg: float) -> pd.Series:
    """Count the orientations of a sample that lie near each grain's, by the grain's label."""
    near = {}
    for grain, middle in central_points(xmap, _SMALLEST_GRAIN).items():
        phase = xmap.phases[int(xmap.phase_id[middle])]
        alike, middle = sample.get(repr(phase), Rotation.empty()), xmap.rotations[[middle]]
        apart = disorientation_deg(alike, middle, phase.point_group.laue)
        near[grain] = (apart < near_deg).sum()
    return pd.Series(near, dtype=float)


def save_share_table(results: Results) -> pd.DataFrame:
    """Write orientation_shares.csv; return its summary, one row per model.

    Returns
    -------
    pandas.DataFrame
        ``grains``, ``lost_pct`` of them (median misorientation above ``WRONG_DEG``), and
        the median share of the training patterns of the kept and of the lost grains, in per cent.
    """
    table = _share_table(results.complete())
    save_csv(table, results.layout.figures / "orientation_shares.csv")
    table = table.assign(lost=table["misorientation_deg_q50"] > WRONG_DEG)
    by_model = table.groupby("model", sort=False)
    shares = table.groupby(["model", "lost"], sort=False)["share_pct"].median().unstack()
    columns = {"grains": by_model.size(), "lost_pct": 100 * by_model["lost"].mean()}
    columns |= {"share_of_kept_pct": shares.get(False), "share_of_lost_pct": shares.get(True)}
    return pd.DataFrame(columns)
