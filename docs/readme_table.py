"""Write the README's table of ten claims from the verdicts: python -m docs.readme_table."""

import re

import pandas as pd

from kikuhelpers.runs.files import written_aside
from kikuhelpers.study import PROJECT_ROOT

README = PROJECT_ROOT / "README.md"
# What a reader of the paper asks first: study and short name in its claims.csv.
_TEN = [
    ("virtual", "grains_by_segmentation"),
    ("in718_rx", "scratches_repeat"),
    ("in718_rx", "d64_indexes_all"),
    ("virtual", "fine_walls_beyond_grod"),
    ("virtual", "particles_seen"),
    ("in718_rx", "frequent_orientations_survive"),
    ("in718_rx", "better_than_pca"),
    ("virtual", "cells_missed_by_usual_maps"),
    ("virtual", "unprecedented_sensitivity"),
    ("virtual", "universal_encoder"),
]
_HEADS = ["The paper's claim", "verdict", "patterns", "ours [95 %]", "baseline", "of what"]
_BETWEEN = re.compile(r"(?<=<!-- claims -->\n\n).*?(?=\n<!-- end of claims -->)", re.S)


def table() -> str:
    """Return the table in Markdown; each number is one of figures/<study>/claims.csv, rounded."""
    verdicts = {
        study: pd.read_csv(PROJECT_ROOT / "figures" / study / "claims.csv", index_col="claim")
        for study, _ in _TEN
    }
    rows = [_HEADS, ["---"] * len(_HEADS)]
    for study, name in _TEN:
        claim = verdicts[study].loc[name]
        ours = f"{claim['value']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}]"
        baseline = f"{claim['baseline']:.3g}: {claim['against']}"
        page = f"[{claim['evidence']}](figures/{study}/claims.md)"
        rows.append([claim["says"], claim["verdict"], page, ours, baseline, claim["unit"]])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Renew the table between its marks in the README."""
    text = _BETWEEN.sub(lambda _: table(), README.read_text("utf-8"))
    with written_aside(README) as temporary:
        temporary.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
