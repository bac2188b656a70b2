"""How weak an effect each method still finds, beside an observer who knows all but the noise."""

from collections.abc import Iterator
from string import ascii_uppercase

import pandas as pd
from matplotlib.ticker import LogLocator

from kikuhelpers.figures import drawing, style
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles
from kikuhelpers.tables.targets import FALSE_ALARMS
from kikuhelpers.tables.truth_scores import IDEAL, PHYSICAL

_PLOT_MM, _LEGEND_MM = 52.0, 38.0
_BELOW = 5.0  # heights of its text from the axes to their legend, with room for their label


@style.print_style
def detection_figure(
    results: Results, effect: str, scores: pd.DataFrame, detection: pd.DataFrame
) -> style.PaperFigure:
    """Draw the share of an effect that is found, by its strength: a panel for each mapped scan.

    ``scores`` and ``detection`` are those of :func:`kikuhelpers.tables.truth_scores.truth_scores`.
    Each method has the smoothing at which its AUC is highest.
    """
    shown = detection[detection["effect"] == effect]
    mapped = roles.mapped_in_figures(results.study)
    scans = [scan for scan in shown["scan"].unique() if scan in mapped]
    if not scans:
        return style.dropped_figure(f"No scan of this study shows enough {effect}.")
    width = style.COLUMN_MM if len(scans) == 1 else style.PAGE_MM
    title = f"{effect.capitalize()} of virtual specimens, found at {FALSE_ALARMS:.0%} false alarms"
    rows = -(-len(scans) // 2)
    figure = style.new_figure(rows * (_PLOT_MM + _LEGEND_MM), title, width, "constrained")
    axes = figure.subplots(rows, min(2, len(scans)), squeeze=False).ravel()
    for ax in axes[len(scans) :]:
        ax.set_axis_off()
    for ax, panel, scan in zip(axes, ascii_uppercase, scans, strict=False):
        view, of_scan = View.whole(results, scan), shown[shown["scan"] == scan]
        for row, label, look in _methods(results, scores, scan, effect):
            keys = ["readout", "model", "smoothing_points"]
            line = of_scan[(of_scan[keys] == [row[key] for key in keys]).all(axis=1)]
            ax.plot(line["strength"], 100 * line["detected"], ms=2.5, label=label, **look)
            figure.choices.append(f"{effect} of scan '{scan}': {label}")
        ax.set(xscale="log", ylim=(-3, 103), ylabel="found (%)", xlabel=of_scan["unit"].iloc[0])
        drawing.label_log_axis(ax.xaxis)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # less than two decades
        drawing.letter(ax, panel, f"{view.label}, '{scan}', {view.step_um:g} µm steps")
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": _BELOW}
        ax.legend(**below, fontsize=style.SMALL_PT)
    return figure


def _methods(results: Results, scores: pd.DataFrame, scan: str, effect: str) -> Iterator[tuple]:
    """Yield of each method that is drawn its row, its label and its look."""
    rows = scores[(scores["scan"] == scan) & (scores["effect"] == effect)]
    rows = rows[rows["measure"] == "AUC"]
    probe, physics = rows["readout"].str.contains("probe"), rows["model"] == ""
    linear = rows["model"].isin(results.study.baselines)
    latent = ~physics & ~linear
    paper, red = [rows["readout"] == PHYSICAL[name] for name in ("pq", "sharpness")], "tab:red"
    ideal = {"readout": IDEAL, "model": "", "smoothing_points": 0}
    yield ideal, IDEAL, {"color": "black", "ls": "--", "marker": "."}
    kinds = [(physics & ~probe & ~paper[0] & ~paper[1], {"color": red, "marker": "s"})]
    kinds += [(p, {"color": "0.6", "marker": m}) for p, m in zip(paper, "v^", strict=True)]
    kinds += [(physics & probe, {"color": red, "ls": ":", "marker": "s"})]
    kinds += [(linear, {"color": "tab:brown", "ls": ":", "marker": "D"})]
    for model in rows.loc[latent, "model"].unique():
        colour = drawing.DIMENSION_COLOURS[results.study.model(model).latent_dim]
        kinds += [((rows["model"] == model) & ~probe, {"color": colour, "marker": "o"})]
    kinds += [(latent & probe, {"color": "black", "ls": ":", "marker": "o"})]
    for which, look in kinds:
        if which.any():
            best = rows.loc[rows.loc[which, "score"].idxmax()]
            words = f"{best['model'] or 'physics'}: {best['readout']}, "
            words += f"smoothing {best['smoothing_points']}, AUC {best['score']:.2f}"
            yield best, words, look
