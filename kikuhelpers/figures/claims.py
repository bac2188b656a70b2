"""The verdicts on the paper's claims in pictures, and how weak an effect each method finds."""

from textwrap import shorten

import numpy as np
import pandas as pd

from kikuhelpers.figures import drawing, style
from kikuhelpers.tables.claims import FAILS, HOLDS, IN_PART, UNTESTED
from kikuhelpers.tables.targets import FALSE_ALARMS
from kikuhelpers.tables.truth_scores import IDEAL

_COLOURS = {HOLDS: "tab:green", IN_PART: "tab:orange", FAILS: "tab:red"}
_ROW_MM, _HEAD_MM, _LIMITS_MM, _LONGEST = 6.5, 12.0, 75.0, 88  # letters of a claim
_BETWEEN = 0.1  # of a row, from a scan's dot to the next one's
_FOUND = 0.5  # share of the points: the effect is found
_METHODS = ("ideal observer", "best physical map", "probe of physical maps", "principal components")
_METHODS += ("latent feature", "probe of latents")


@style.print_style
def claims_figure(table: pd.DataFrame, group: str) -> style.PaperFigure:
    """Draw the tested claims of a group: interval, threshold and baseline, each in its own unit."""
    rows = table[(table["group"] == group) & (table["verdict"] != UNTESTED)]
    if rows.empty:
        return style.dropped_figure(f"No claim of the group '{group}' can be tested here.")
    title = f"Claims, {group}, {' and '.join(rows['evidence'].unique())} patterns: "
    title += "found (dot, 95 %), threshold (line), baseline (triangle)"
    height = _ROW_MM / (tall := _HEAD_MM + _ROW_MM * len(rows))
    figure = style.new_figure(tall, title, layout="none")
    for place, row in enumerate(rows.itertuples()):
        ax = figure.add_axes((0.55, (len(rows) - place - 0.5) * height, 0.22, 0.3 * height))
        look = {"va": "center", "transform": ax.transAxes, "fontsize": style.SMALL_PT}
        colour = _COLOURS[row.verdict]
        ax.text(-2.45, 0.8, shorten(row.says, _LONGEST, placeholder=" …"), **look)
        unit = f"lead, {row.unit}" if row.judged == "lead" else row.unit
        ax.text(-2.45, -0.5, shorten(unit, _LONGEST, placeholder=" …"), color="0.5", **look)
        ax.text(1.1, 0.8, row.verdict, color=colour, **look)
        ax.text(1.1, -0.5, row.evidence, color="0.5", **look)
        numbers, beside = [row.low, row.value, row.high], row.baseline
        if row.judged == "lead":  # over the baseline, which then stands at 0
            numbers, beside = [row.lead_low, row.value - row.baseline, row.lead_high], 0
        ax.plot(numbers, [0, 0, 0], color=colour, marker="o", ms=3, markevery=[1])
        ax.plot(beside, 0, "^", mfc="none", color="black", ms=3.5, mew=0.6)
        for at in {row.threshold, -row.threshold if row.side == "within" else row.threshold}:
            ax.axvline(at, color="black", lw=0.7)
        ax.set(yticks=[], xmargin=0.1)
        ax.spines[["left", "right", "top"]].set_visible(False)
        ax.locator_params(axis="x", nbins=3)
    return figure


@style.print_style
def detection_limits(table: pd.DataFrame, vaes: list[str]) -> style.PaperFigure:
    """Draw the weakest effect of which half is found (detection.csv), by method and map.

    Of each method that way counts which finds most. Right of the dotted line: not found.
    """
    if table.empty:
        return style.dropped_figure("No scan of this study shows enough of any effect.")
    effects, scans = table["effect"].unique(), table["scan"].unique().tolist()
    title = f"Half is found at {100 * FALSE_ALARMS:g} % false alarms"
    figure = style.new_figure(_LIMITS_MM, f"{title}: the weakest effect, on virtual maps")
    axes = figure.subplots(1, len(effects), sharey=True, squeeze=False)[0]
    for ax, effect in zip(axes, effects, strict=True):
        of_effect = table[table["effect"] == effect].fillna({"model": ""})
        strongest = of_effect["strength"].max()
        for number, scan in enumerate(scans):
            rows = of_effect[of_effect["scan"] == scan]
            ideal, probe = rows["readout"] == IDEAL, rows["readout"].str.contains("probe")
            latent, physics = rows["model"].isin(vaes), (rows["model"] == "") & ~ideal
            feature = latent & rows["readout"].str.startswith("feature chosen")
            kinds = ideal, physics & ~probe, physics & probe, ~latent & (rows["model"] != "")
            limits = [_limit(rows[kind]) for kind in (*kinds, feature, latent & probe)]
            places = np.arange(len(limits)) + _BETWEEN * (number - (len(scans) - 1) / 2)
            ax.plot(np.minimum(limits, 1.5 * strongest), places, "o", ms=3, label=scan)
        ax.axvline(1.2 * strongest, color="black", ls=":", lw=0.7)
        ax.set(xscale="log", yticks=range(len(_METHODS)), yticklabels=_METHODS, title=effect)
        ax.set_xlabel(of_effect["unit"].iloc[0])
        drawing.label_log_axis(ax.xaxis)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(scans)
    )
    axes[0].invert_yaxis()
    return figure


def _limit(rows: pd.DataFrame) -> float:
    """Where the way that finds most finds half: infinite for nowhere, NaN without a way."""
    ways = [way for _, way in rows.groupby(["model", "readout", "smoothing_points"])]
    best = max(ways, key=lambda way: way["detected"].mean(), default=None)
    if best is None:
        return np.nan
    return min(best.loc[best["detected"] >= _FOUND, "strength"], default=np.inf)
