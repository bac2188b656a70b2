"""The verdicts on the paper's claims, and the picture to remember: what is found, how weak."""

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from kikuhelpers.figures import drawing, style
from kikuhelpers.tables.claims import FAILS, HOLDS, IN_PART, UNTESTED
from kikuhelpers.tables.targets import FALSE_ALARMS
from kikuhelpers.tables.truth_scores import IDEAL

_COLOURS = {HOLDS: "tab:green", IN_PART: "tab:orange", FAILS: "tab:red", UNTESTED: "0.5"}
_ROW_MM, _HEAD_MM, _LIMITS_MM = 6.5, 12.0, 75.0
_FOUND = 0.5  # share of the points: the effect is found
_METHODS = ("ideal observer", "best physical map", "probe of physical maps", "principal components")
_METHODS += ("latent feature", "probe of latents")


@style.print_style
def claims_figure(table: pd.DataFrame, group: str) -> style.PaperFigure:
    """Draw a group of claims: each with its interval, threshold and baseline, in its own unit."""
    rows = table[table["group"] == group]
    title = "Dot: measured, 95 % interval. Line: threshold. Triangle: the sceptic's baseline."
    figure = style.new_figure(_HEAD_MM + _ROW_MM * len(rows), title, layout="none")
    height = _ROW_MM / (_HEAD_MM + _ROW_MM * len(rows))
    for place, row in enumerate(rows.itertuples()):
        ax = figure.add_axes((0.52, (len(rows) - place - 0.6) * height, 0.24, 0.3 * height))
        words = {"va": "center", "transform": ax.transAxes, "fontsize": style.SMALL_PT}
        colour, gone = _COLOURS[row.verdict], row.verdict == UNTESTED
        ax.text(-2.15, 0.5, row.says[:74] + "…" * (len(row.says) > 74), **words)
        ax.text(
            1.05,
            0.5,
            f"{row.verdict} {row.evidence and f'({row.evidence})'}",
            color=colour,
            **words,
        )
        if gone:
            ax.set_axis_off()
            continue
        # A lead is drawn as the value, beside the baseline and what must be gained on it.
        line = row.threshold + (row.baseline if row.judged == "lead" else 0)
        ax.plot([row.low, row.high], [0, 0], color=colour, lw=1.5)
        ax.plot(row.value, 0, "o", color=colour, ms=3)
        ax.plot(row.baseline, 0, "^", mfc="none", color="black", ms=3.5, mew=0.6)
        for at in (line, -line)[: 1 + (row.side == "within")]:
            ax.axvline(at, color="black", lw=0.7)
        ax.margins(x=0.1)
        ax.set(yticks=[])
        ax.spines[["left", "right", "top"]].set_visible(False)
        ax.tick_params(pad=0.5)
        ax.locator_params(nbins=4)
    return figure


@style.print_style
def detection_limits(table: pd.DataFrame, vaes: list[str]) -> style.PaperFigure:
    """Draw how weak an effect may be for half of it to be found, by method, a mark for each map.

    ``table`` is detection.csv. A method is at its best: the readout, model and smoothing that
    find most. A mark at the right edge, with an arrow: not even the strongest is found.
    """
    effects = list(dict.fromkeys(table["effect"]))
    title = f"Detection limit: half is found at {FALSE_ALARMS:.0%} false alarms (virtual maps)"
    figure = style.new_figure(_LIMITS_MM, title, layout="constrained")
    for ax, effect in zip(
        figure.subplots(1, len(effects), sharey=True, squeeze=False)[0], effects, strict=True
    ):
        of_effect = table[table["effect"] == effect].fillna({"model": ""})
        for number, (scan, rows) in enumerate(of_effect.groupby("scan", sort=False)):
            latent, name = rows["model"].isin(vaes), rows["readout"]
            physics = (rows["model"] == "") & (name != IDEAL)
            probe, chosen = name.str.contains("probe"), name.str.startswith("feature chosen")
            kinds = [name == IDEAL, physics & ~probe, physics & probe]
            kinds += [~latent & (rows["model"] != ""), latent & chosen, latent & probe]
            limits = [_limit(rows[kind]) for kind in kinds]
            strongest = rows["strength"].max()
            there = [y for y, kind in enumerate(kinds) if kind.any()]
            at = np.array([min(limits[y], 1.3 * strongest) for y in there])
            places = np.array(there) + 0.12 * number
            (line,) = ax.plot(at, places, "o", ms=3.5, label=scan)
            for x, y in zip(at[at > strongest], places[at > strongest], strict=True):
                ax.annotate(
                    "",
                    (1.12 * x, y),
                    (x, y),
                    arrowprops={"arrowstyle": "->", "color": line.get_color()},
                )
        ax.set(xscale="log", yticks=range(len(_METHODS)), yticklabels=_METHODS, title=effect)
        ax.set_xlabel(of_effect["unit"].iloc[0])
        drawing.label_log_axis(ax.xaxis)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.grid(axis="y", lw=0.3)
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.25),
            title="map",
            title_fontsize=style.SMALL_PT,
        )
    figure.axes[0].invert_yaxis()
    return figure


def _limit(rows: pd.DataFrame) -> float:
    """Lowest strength at which the best way finds half; infinite for none."""
    ways = rows.groupby(["model", "readout", "smoothing_points"])
    best = max(ways, key=lambda way: way[1]["detected"].mean(), default=(None, rows))[1]
    found = best.sort_values("strength").query("detected >= @_FOUND")["strength"]
    return found.min() if len(found) else np.inf
