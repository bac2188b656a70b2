"""Does a model decode orientations that it never saw? Table 1 for held-out grains.

Held-out grains may be easier or harder than the others. So a model that saw all points
stands beside the one that did not, on the same points.
"""

import numpy as np
import pandas as pd

from kikuhelpers.indexing.hough import load_map
from kikuhelpers.runs.available import with_results
from kikuhelpers.runs.files import require, save_csv
from kikuhelpers.study.layout import PREPROCESSED, Layout
from kikuhelpers.study.study import Model, Study
from kikuhelpers.tables.table1 import compare_maps, summarise


def held_out_table(study: Study) -> pd.DataFrame:
    """Return rows of Table 1 for the held-out points and for the others.

    Returns
    -------
    pandas.DataFrame
        For each model with ``hold_out``, and each like it that saw all points: ``model``,
        ``points`` ("held out" or "others"), ``seen`` (whether the model saw them),
        ``residual_mean`` (half the sum of squared differences) and the numbers of
        :func:`~kikuhelpers.tables.table1.summarise`. Empty where no model holds out grains.
    """
    layout, rows = Layout(study), []
    for blind, model in study.models.items():
        if not model.hold_out:
            continue
        held_out = np.load(require(layout.model(blind).held_out, "notebook 03_training"))
        scan = model.hold_out.scan
        before = load_map(require(layout.orientations(PREPROCESSED, scan), "notebook 06"))
        for name in [blind, *_alike(study, model)]:
            after = load_map(require(layout.orientations(name, scan), "notebook 06"))
            points = compare_maps(before, after)
            losses = np.load(require(layout.model_scan(name, scan).pattern_loss, "notebook 05"))
            for label, inside in (("held out", held_out), ("others", ~held_out)):
                row = {"model": name, "points": label, "seen": name != blind or label == "others"}
                row["residual_mean"] = float(losses[inside].mean())
                rows.append(row | summarise(points[inside.ravel()], study.indexing.wrong_deg))
    return pd.DataFrame(rows)


def _alike(study: Study, blind: Model) -> list[str]:
    """Names of models that differ from this one in what they saw only."""
    seeing = blind.model_copy(update={"hold_out": None})
    return [name for name, model in study.models.items() if model == seeing]


def save_held_out_table(study: Study) -> pd.DataFrame | None:
    """Write held_out.csv; return the table, or None of a study that holds out nothing."""
    table = held_out_table(with_results(study)[0])
    if table.empty:
        return None
    save_csv(table, Layout(study).figures / "held_out.csv")
    return table
