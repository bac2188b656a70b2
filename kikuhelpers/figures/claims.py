"""The verdicts on the paper's claims, in pictures."""

from textwrap import shorten

import pandas as pd

from kikuhelpers.figures import style
from kikuhelpers.tables.claims import FAILS, HOLDS, IN_PART, UNTESTED

_COLOURS = {HOLDS: "tab:green", IN_PART: "tab:orange", FAILS: "tab:red", UNTESTED: "0.5"}
_ROW_MM, _HEAD_MM, _LONGEST = 6.5, 12.0, 80  # letters of a claim


@style.print_style
def claims_figure(table: pd.DataFrame, group: str) -> style.PaperFigure:
    """Draw a group of claims: each with its interval, threshold and baseline, in its own unit."""
    rows = table[table["group"] == group]
    title = "Dot: found, 95 % interval. Line: threshold. Triangle: the sceptic's baseline."
    height = _ROW_MM / (tall := _HEAD_MM + _ROW_MM * len(rows))
    figure = style.new_figure(tall, title, layout="none")
    for place, row in enumerate(rows.itertuples()):
        ax = figure.add_axes((0.55, (len(rows) - place - 0.5) * height, 0.22, 0.3 * height))
        look = {"va": "center", "transform": ax.transAxes, "fontsize": style.SMALL_PT}
        colour = _COLOURS[row.verdict]
        ax.text(-2.45, 0.8, shorten(row.says, _LONGEST, placeholder=" …"), **look)
        ax.text(-2.45, -0.5, shorten(row.unit, _LONGEST, placeholder=" …"), color="0.5", **look)
        ax.text(1.05, 0.8, row.verdict, color=colour, **look)
        ax.text(1.05, -0.5, row.evidence, color="0.5", **look)
        if row.verdict == UNTESTED:
            ax.set_axis_off()
            continue
        # A lead is drawn as the value, beside the baseline and what must be gained on it.
        line = row.threshold + (row.baseline if row.judged == "lead" else 0)
        ax.plot(
            [row.low, row.value, row.high], [0, 0, 0], color=colour, marker="o", ms=3, markevery=[1]
        )
        ax.plot(row.baseline, 0, "^", mfc="none", color="black", ms=3.5, mew=0.6)
        for at in {line, -line if row.side == "within" else line}:
            ax.axvline(at, color="black", lw=0.7)
        ax.set(yticks=[], xmargin=0.1)
        ax.spines[["left", "right", "top"]].set_visible(False)
        ax.locator_params(axis="x", nbins=4)
    return figure
