"""Does a model decode orientations that it never saw? Table 1 for held-out grains.

Held-out grains may be easier or harder than the others. So a model that saw all points
stands beside the one that did not, on the same points.
"""

import pandas as pd

from kikuhelpers.runs.files import save_csv
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED, Study
from kikuhelpers.study.models import Model
from kikuhelpers.tables.table1 import compare_maps, summarise


def held_out_table(results: Results) -> pd.DataFrame:
    """Return rows of Table 1 for the held-out points and for the others.

    Returns
    -------
    pandas.DataFrame
        For each model with ``hold_out``, and each like it that saw all points: ``model``,
        ``points`` ("held out" or "others"), ``seen`` (whether the model saw them),
        ``residual_mean`` (half the sum of squared differences) and the numbers of
        :func:`~kikuhelpers.tables.table1.summarise`. Empty where no model holds out grains.
    """
    study, rows = results.study, []
    for blind, model in study.models.items():
        if not model.hold_out:
            continue
        held_out, scan = results.held_out(blind), model.hold_out.scan
        before = results.orientations(PREPROCESSED, scan)
        for name in [blind, *_alike(study, model)]:
            points = compare_maps(before, results.orientations(name, scan))
            losses = results.losses(name, scan)
            for label, inside in (("held out", held_out), ("others", ~held_out)):
                row = {"model": name, "points": label, "seen": name != blind or label == "others"}
                row["residual_mean"] = float(losses[inside].mean())
                rows.append(row | summarise(points[inside.ravel()], study.tables.wrong_deg))
    return pd.DataFrame(rows)


def _alike(study: Study, blind: Model) -> list[str]:
    """Names of models that differ from this one in what they saw only."""
    seeing = blind.model_copy(update={"hold_out": None})
    return [name for name, model in study.models.items() if model == seeing]


def save_held_out_table(results: Results) -> pd.DataFrame | None:
    """Write held_out.csv; return the table, or None of a study that holds out nothing."""
    table = held_out_table(results.complete())
    if table.empty:
        return None
    save_csv(table, results.layout.figures / "held_out.csv")
    return table
