"""The page cells.md: does a latent map show dislocation cells better than fair physical maps do?"""

import pandas as pd

from kikuhelpers.runs.results import Results
from kikuhelpers.tables.scores import MARGIN
from kikuhelpers.tables.truth_scores import TOLD

_PLAIN = {"index": False, "disable_numparse": True}
_RULE = f"""The rule was stated before any score, its last clause after the first ones. A readout of
latents "reveals" cells where its AUC, walls against interiors, is above that of the best physical
map of the same smoothing by more than {MARGIN}, with a 95 % interval above 0. It is "equal" within
{MARGIN}, else "worse"; "unclear" where the interval does not decide, or where both lie in the null.
Probes stand against all physical maps and probes. PCA is a baseline, neither latent nor physics.
Other rescalings of the patterns: [the same question](../../docs/rescaling.md).

The best of many readouts is chosen on the scan that scores it, which flatters latents; so is the
best of physics. The intervals know nothing of these choices. Shown is a readout that reveals, if
there is one, else the one with the largest lead. "{TOLD.capitalize()}", does
not count: on a measured map nobody knows which feature it is.

Intervals resample the grains of one specimen, or blocks of a map with fewer than five, which say
nothing of others. Of fewer than some 25 they are too narrow: in trials 59 % of the intervals of
blocks held the truth, 91 % of those of 25 grains. The band of the blind choice was picked, of six,
on maps of one virtual AM specimen whose truth was seen: there it is not quite blind.
"""


def cells_page(results: Results, scores: pd.DataFrame) -> str:
    """Return the page (Markdown): the answer, a table by scan and smoothing, and the rule.

    ``scores`` are those of :func:`~kikuhelpers.tables.truth_scores.truth_scores`.
    """
    study = results.study
    rows = scores[(scores["effect"] == "walls") & (scores["measure"] == "AUC")]
    kinds = {"": "physics"} | dict.fromkeys(study.baselines, "baseline")
    rows = rows.assign(kind=rows["model"].map(kinds).fillna("latent"))
    title = f"# Dislocation cells in latent maps: {study.title}\n"
    free = rows[rows["readout"] != TOLD]
    latent = free[free["kind"] == "latent"]
    if latent.empty:
        return f"{title}\nNo latent map of a scan with cells is scored.\n"
    lines, verdicts, revealed = [], latent["verdict"].value_counts(), []
    for (scan, points), some in latent.groupby(["scan", "smoothing_points"], sort=False):
        same = free[(free["scan"] == scan) & (free["smoothing_points"] == points)]
        data, reveals = study.scan(scan).data, some[some["verdict"] == "reveals"]
        first = (reveals if len(reveals) else some).nlargest(1, "difference")
        best = first.squeeze()
        cells, dose = "{:g} to {:g}".format(*data.specimen.cells.size_um), data.microscope.dose
        case = {"scan": f"`{scan}`", "specimen": data.seed, "cells, µm": cells}
        case |= {"step, µm": f"{results.step_um(scan):g}", "dose": f"{dose:g}"}
        case |= {"rescaled by": study.preprocessing.rescale, "smoothing": points}
        if len(reveals):
            revealed.append(f"`{scan}` (cells of {cells} µm) smoothed by {points} points")
        case |= {"best physics": f"{best['against']}: {best['score'] - best['difference']:.2f}"}
        case |= {"best baseline": _named(same[same["kind"] == "baseline"], "readout")}
        case |= {"best latent": _named(first, "readout")}
        ends = f"[{best['difference_low']:.2f}, {best['difference_high']:.2f}]"
        case |= {"difference": f"{best['difference']:+.2f} {ends}, {best['clusters']}"}
        lines.append(case | {"verdict": best["verdict"]})
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    answer = f"Yes, on {', '.join(revealed)}." if revealed else "No: no case below shows it."
    kinds = rows.groupby(["kind", "readout", "scan"], sort=False)[rows.columns].apply(
        _named, "smoothing_points"
    )
    kinds = kinds.unstack().drop("physics", level=0).reindex(columns=latent["scan"].unique())
    return "\n".join(
        [
            title,
            f"Does a latent map show cells that fair physics misses? {answer} Of all latent "
            f"readouts that were not told the truth, models and smoothings: {counted}.\n",
            pd.DataFrame(lines).to_markdown(**_PLAIN) + "\n",
            "Dose: electrons per pixel; smoothing: points; behind names: the AUC, 0.5 by chance.\n",
            _RULE,
            "The best of each readout, with its model and smoothing ([all](truth_scores.csv)):\n",
            kinds.fillna("").reset_index().to_markdown(**_PLAIN) + "\n",
        ]
    )


def _named(rows: pd.DataFrame, column: str) -> str:
    """The best AUC of some rows, behind its model and its value of a column; "" without rows."""
    if rows.empty:
        return ""
    best = rows.nlargest(1, "score").squeeze()
    return f"{best['model']}, {best[column]}: {best['score']:.2f}"
