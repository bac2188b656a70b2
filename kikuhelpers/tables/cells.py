"""The page cells.md: does a latent map show dislocation cells better than fair physical maps do?"""

import pandas as pd

from kikuhelpers.runs.results import Results
from kikuhelpers.tables.scores import MARGIN
from kikuhelpers.tables.truth_scores import TOLD

_RULE = f"""The rule was stated before any score, its last clause after the first ones. Latents
"reveal" cells where their AUC, walls against interiors, is above that of the best physical map by
more than {MARGIN}, with a 95 % interval above 0. They are "equal" within {MARGIN}, else "worse";
"unclear" where the interval does not decide, or where both lie in the null. Probes stand against
all physical maps and probes. Intervals resample the grains of one specimen, or blocks of a map with
fewer than five, which say nothing of others; of fewer than some 25 they are too narrow (in trials
59 % of the intervals of blocks held the truth, 91 % of those of 25 grains). A scan "chosen on" that
shows the same specimen is not independent. Columns: points of smoothing.

The band of the blind choice was picked, of six, on maps of one virtual AM specimen whose truth was
seen: on these maps it is not quite blind.
"""


def cells_page(results: Results, scores: pd.DataFrame) -> str:
    """Return the page (Markdown): of each scan the verdict by the rule, and the AUCs behind it."""
    parts = [f"# Dislocation cells in latent maps: {results.study.title}\n", _RULE]
    walls = scores[(scores["effect"] == "walls") & (scores["measure"] == "AUC")]
    for scan, rows in walls.groupby("scan", sort=False):
        reveals = rows[rows["verdict"] == "reveals"]["readout"]
        answer = "yes" if (reveals != TOLD).any() else "only if the truth chooses the feature"
        answer = answer if len(reveals) else "no"
        parts.append(f"## `{scan}`, step {results.step_um(scan):g} µm: {answer}\n")
        counts = rows.loc[rows["model"] != "", "verdict"].value_counts().items()
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts)
        parts.append(f"Readouts of latents: {said}; intervals over {rows['clusters'].iloc[0]}.\n")
        text = rows["score"].map("{:.2f} ".format) + rows["verdict"]
        table = rows.assign(text=text, of=rows["model"].replace("", "physics"))
        table = table.pivot(index=["of", "readout"], columns="smoothing_points", values="text")
        plain = {"index": False, "disable_numparse": True}
        parts.append(table.reset_index().fillna("").to_markdown(**plain) + "\n")
    return "\n".join(parts if len(walls) else [*parts, "No scan of this study shows cells.\n"])
