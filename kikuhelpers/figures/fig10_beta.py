"""Fig. 10: what a higher beta does to patterns, and which orientations survive it."""

from string import ascii_uppercase

import numpy as np
import pandas as pd

from kikuhelpers.figures import drawing, style
from kikuhelpers.latents.features import rank_correlation
from kikuhelpers.latents.view import View, highest_point, names
from kikuhelpers.runs.results import Results
from kikuhelpers.study import Study, roles

PAPER_BETAS = ("1", "15", "50")
GENERATED_SHOWN = 4  # in a row
LEGEND_ROOM = 3  # factor above the highest loss
GRAIN_AREA = 60.0  # of the largest grain's dot, in square points
_ROW_MM = 50.0
_SHARES_MM = 48.0
_LINES = {"worst": ("worst", "C3"), "reconstruction": ("mean", "0.6"), "best": ("best", "C0")}


def draw(results: Results) -> style.PaperFigure:
    """Draw best, worst and generated patterns for each beta, the losses and what survives."""
    study, models = results.study, roles.beta_series(results.study)
    views = [View.whole(results, scan) for scan in study.decoded_scans]
    maps_mm, decoded = len(models) * _ROW_MM, roles.decoded_scan(study)
    last, path = ascii_uppercase[len(models)], results.layout.figures / "orientation_shares.csv"
    shares = results.open(path) if results.has(path) else pd.DataFrame()
    shares_mm = 1.0 if shares.empty else _SHARES_MM
    title = f"Fig. 10  Best, worst and generated patterns by β: {names(views)}"
    figure = style.new_figure(maps_mm + shares_mm + 12, title, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[maps_mm, shares_mm])
    grid = above.add_gridspec(2 * len(models), 5, width_ratios=[1, 1, 1, 1, 1.8])
    histories = [results.model(name).history for name in models]
    lowest = min(history["best"].min() for history in histories) / 1.2
    highest = max(history["worst"].max() for history in histories) * LEGEND_ROOM
    for row, (name, history) in enumerate(zip(models, histories, strict=True)):
        panel, upper = ascii_uppercase[row], 2 * row
        tiles, limits = [], []  # of one grey scale
        for number, kind in enumerate(("best", "worst"), start=1):
            view, point = extreme_point(views, name, kind)
            text = f"{kind}, loss {view.losses(name)[point]:.0f}"
            tiles.append((view.pattern(*point), view.mask, f"{panel}.{number}", text))
            tiles.append((view.pattern(*point, name), view.mask, "", "decoded"))
            limits.append(drawing.pattern_limits(*tiles[-2][:2]))
            place = f"{view.scan} ({point[0]}, {point[1]})"
            figure.choices.append(f"Fig. 10{panel}.{number}: {kind} of {name}: {place}")
        grey = min(low for low, _ in limits), max(high for _, high in limits)
        generated, mask = results.model_scan(name, decoded).generated, results.scan(decoded).mask
        named = [(f"{panel}.3", "from noise")] + [("", "")] * (GENERATED_SHOWN - 1)
        tiles += [(p, mask, *title) for p, title in zip(generated, named, strict=False)]
        for place, (pattern, screen, letter, text) in enumerate(tiles):
            ax = above.add_subplot(grid[upper + place // 4, place % 4])
            drawing.show_pattern(ax, pattern, screen, grey)
            drawing.letter(ax, letter, text)
            if place % 4 == 0:
                ax.set_ylabel("generated" if place else "original")
        ax = above.add_subplot(grid[upper : upper + 2, 4])
        _draw_history(ax, history)
        ax.set_ylim(lowest, highest)
        drawing.label_log_axis(ax.yaxis)
        drawing.letter(ax, f"{panel}.4", f"{name} (β = {study.model(name).beta:g})")
    if shares.empty:
        sentence = f"Fig. 10{last}: no training pattern lies in a grain, or 09_table1 has not run."
        figure.missing.append(sentence)
    else:
        _draw_shares(below, last, shares, study, models)
    trained = [f"{study.model(name).beta:g}" for name in models]
    figure.note_lacking("Fig. 10: β = {} was not trained at this dimension.", PAPER_BETAS, trained)
    return figure


def extreme_point(views: list[View], model: str, kind: str) -> tuple[View, tuple[int, int]]:
    """View and point (row, column) of the "best" or "worst" reconstruction of several scans."""
    sign = 1 if kind == "worst" else -1
    losses = [sign * view.losses(model) for view in views]
    at = int(np.argmax([np.nanmax(values) for values in losses]))
    return views[at], highest_point(losses[at])


def _draw_history(ax, history: pd.DataFrame) -> None:
    for column, (label, colour) in _LINES.items():
        ax.plot(history["presentations"] / 1000, history[column], color=colour, label=label)
    ax.set(yscale="log", xlabel="patterns shown (thousands)", ylabel="reconstruction loss")
    ax.legend(loc="upper center", ncols=3, columnspacing=1.0, handlelength=1.5)


def _draw_shares(place, panel: str, table: pd.DataFrame, study: Study, models: list[str]) -> None:
    """Each grain's error against its share of the training sample, a plot per model."""
    wrong_deg = study.tables.wrong_deg
    axes = np.ravel(place.subplots(1, len(models), squeeze=False, sharex=True, sharey=True))
    for number, (ax, model) in enumerate(zip(axes, models, strict=True), start=1):
        grains = table[(table["model"] == model) & (table["share_pct"] > 0)]
        off = grains["misorientation_deg_q50"]
        area = GRAIN_AREA * grains["points"] / table["points"].max()
        ax.scatter(grains["share_pct"], off, s=area + 2, c="C0", alpha=0.6, lw=0)
        ax.axhline(wrong_deg, color="0.6", ls="--", lw=0.6)
        ax.set(xscale="log", yscale="log", xlabel="share of the training patterns (%)")
        rank = rank_correlation(grains[["share_pct"]].to_numpy(), off.to_numpy())[0]
        lost = f"{100 * (off > wrong_deg).mean():.0f} % of {len(grains)} grains lost"
        beta = f"β = {study.model(model).beta:g}"
        drawing.letter(ax, f"{panel}.{number}", f"{beta}: {lost}, |ρ| {rank:.2f}")
    for axis in [axis for ax in axes for axis in (ax.xaxis, ax.yaxis)]:
        drawing.label_log_axis(axis)
    axes[0].set_ylabel("median misorientation\nof a grain (°)")
