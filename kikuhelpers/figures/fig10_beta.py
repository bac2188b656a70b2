"""Fig. 10: what a higher beta does to patterns, and which orientations survive it."""

from string import ascii_uppercase

import numpy as np
import pandas as pd

from kikuhelpers.figures import drawing, style
from kikuhelpers.latents.features import rank_correlation
from kikuhelpers.latents.view import View, names
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import Study, roles

PAPER_BETAS = ("1", "15", "50")
GENERATED_SHOWN = 4  # two by two
LEGEND_ROOM = 3  # factor above the highest loss
GRAIN_AREA = 60.0  # of the largest grain's dot, in square points
_ROW_MM = 44.0
_SHARES_MM = 48.0
_LINES = {"worst": ("worst", "C3"), "reconstruction": ("mean", "0.6"), "best": ("best", "C0")}


def draw(results: Results) -> style.PaperFigure:
    """Draw best, worst and generated patterns for each beta, the losses and what survives."""
    study, models = results.study, roles.beta_series(results.study)
    views = [View.whole(results, scan) for scan in study.decoded_scans]
    maps_mm, decoded = len(models) * _ROW_MM, roles.decoded_scan(study)
    title = f"Fig. 10  Best, worst and generated patterns by β: {names(views)}"
    figure = style.new_figure(maps_mm + _SHARES_MM + 12, title, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[maps_mm, _SHARES_MM])
    grid = above.add_gridspec(2 * len(models), 5, width_ratios=[1, 1, 1, 1, 2.1])
    histories = [results.model(name).history for name in models]
    lowest = min(history["best"].min() for history in histories) / 1.2
    highest = max(history["worst"].max() for history in histories) * LEGEND_ROOM
    for row, (name, history) in enumerate(zip(models, histories, strict=True)):
        panel, upper = ascii_uppercase[row], 2 * row
        for column, kind in enumerate(("best", "worst")):
            view, point = extreme_point(views, name, kind)
            pair = {"original": view.pattern(*point), "decoded": view.pattern(*point, name)}
            grey = drawing.pattern_limits(pair["original"], view.mask)
            for line, (word, pattern) in enumerate(pair.items()):
                ax = above.add_subplot(grid[upper + line, column])
                drawing.show_pattern(ax, pattern, view.mask, grey)
                if kind == "best":
                    ax.set_ylabel(word, fontsize=style.SMALL_PT)
                if word == "original":
                    text = f"{kind}, loss {view.losses(name)[point]:.0f}"
                    drawing.letter(ax, f"{panel}.{column + 1}", text)
            place = f"{view.scan} ({point[0]}, {point[1]})"
            figure.choices.append(f"Fig. 10{panel}.{column + 1}: {kind} of {name}: {place}")
        generated, mask = results.model_scan(name, decoded).generated, results.scan(decoded).mask
        grey = drawing.pattern_limits(generated, np.broadcast_to(mask, generated.shape))
        for number, pattern in enumerate(generated[:GENERATED_SHOWN]):
            ax = above.add_subplot(grid[upper + number // 2, 2 + number % 2])
            drawing.show_pattern(ax, pattern, mask, grey)
            if number == 0:
                drawing.letter(ax, f"{panel}.3", "from noise")
        ax = above.add_subplot(grid[upper : upper + 2, 4])
        _draw_history(ax, history)
        ax.set_ylim(lowest, highest)
        drawing.letter(ax, f"{panel}.4", f"{name} (β = {study.model(name).beta:g})")
    panel = ascii_uppercase[len(models)]
    try:
        shares = results.open(results.layout.figures / "orientation_shares.csv")
        if len(shares):
            _draw_shares(below, panel, shares, study, models)
        else:
            figure.missing.append(f"Fig. 10{panel}: no grain of the map is large enough.")
    except MissingResultError as error:
        figure.missing.append(f"Fig. 10{panel}: {error.what}.")
    trained = [f"{study.model(name).beta:g}" for name in models]
    figure.note_lacking("Fig. 10: β = {} was not trained at this dimension.", PAPER_BETAS, trained)
    return figure


def extreme_point(views: list[View], model: str, kind: str) -> tuple[View, tuple[int, int]]:
    """View and point (row, column) of the "best" or "worst" reconstruction of several scans."""
    sign = 1 if kind == "worst" else -1
    losses = [sign * view.losses(model) for view in views]
    at = int(np.argmax([np.nanmax(values) for values in losses]))
    return views[at], np.unravel_index(int(np.nanargmax(losses[at])), losses[at].shape)


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
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
        rank = rank_correlation(grains[["share_pct"]].to_numpy(), off.to_numpy())[0]
        lost = f"{100 * (off > wrong_deg).mean():.0f} % of {len(grains)} grains lost"
        beta = f"β = {study.model(model).beta:g}"
        drawing.letter(ax, f"{panel}.{number}", f"{beta}: {lost}, |ρ| {rank:.2f}")
    axes[0].set_ylabel("median misorientation\nof a grain (°)")
