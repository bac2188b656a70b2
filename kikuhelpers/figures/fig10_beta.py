"""Figs 8 and 10: what the networks make of single patterns."""

from itertools import pairwise

import numpy as np
import pandas as pd

from kikuhelpers.figures import selection
from kikuhelpers.figures.drawing import (
    DIFFERENCE_COLOURS,
    letter,
    pattern_limits,
    show_pattern,
)
from kikuhelpers.figures.style import (
    PAGE_MM,
    SMALL_PT,
    PaperFigure,
    dropped_figure,
    new_figure,
    print_style,
)
from kikuhelpers.figures.views import View, scan_label, whole
from kikuhelpers.latents.encoding import rank_correlation
from kikuhelpers.runs.files import require
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study

PAPER_DIMENSIONS = (16, 32, 64, 128, 256)
PAPER_BETAS = (15, 50)
RING_PX = 3  # width of a ring of the radial profile
DIFFERENCE_PERCENT = 99.5  # of all differences, the end of their common scale
GENERATED_SHOWN = 4  # two by two
_LARGEST_TILE_MM = 38.0
_PROFILE_MM = 36.0
LEGEND_ROOM = 3  # factor above the highest loss
_BAR_8 = (0.05, 0.5, 0.9, 0.07)  # colour bar of Fig. 8 in its place
_ROW_10_MM = 44.0
_SHARES_MM = 48.0
GRAIN_AREA = 60.0  # of the largest grain's dot in Fig. 10, in square points


# --------------------------------------------------------------------- Fig. 8


@print_style
def figure_8(study: Study) -> PaperFigure:
    """Draw one pattern decoded by each VAE, its differences, and their radial profile."""
    models = selection.vaes(study)
    if not models:
        return dropped_figure("Fig. 8: this study has no conventional VAE.")
    scan = selection.decoded_scan(study)
    view = whole(study, scan)
    point = selection.typical_point(view, models[-1])
    original = view.pattern(*point)
    decoded = {name: view.pattern(*point, model=name) for name in models}
    short = {name: f"{study.model(name).latent_dim}-D" for name in models}
    to_input = {f"{short[name]} − input": decoded[name] - original for name in models}
    successive = {
        f"{short[later]} − {short[earlier]}": decoded[later] - decoded[earlier]
        for earlier, later in pairwise(models)
    }
    limit = _common_limit([*to_input.values(), *successive.values()], view.mask)
    columns = len(models) + 1
    rows = 4 if successive else 3
    tile_mm = min(PAGE_MM / columns, _LARGEST_TILE_MM)
    figure = new_figure((rows - 1) * (tile_mm + 4) + _PROFILE_MM + 6, layout="constrained")
    figure.suptitle(
        f"Fig. 8  One pattern through each VAE: {view.label}, point ({point[0]}, {point[1]}), "
        f"median loss of {models[-1]}"
    )
    heights = [tile_mm + 4] * (rows - 1) + [_PROFILE_MM]
    grid = figure.add_gridspec(rows, columns, height_ratios=heights)
    ax = figure.add_subplot(grid[1, 0])
    grey = pattern_limits(original, view.mask)
    show_pattern(ax, original, view.mask, grey)
    letter(ax, "", "input", SMALL_PT)
    for column, (name, label) in enumerate(zip(models, to_input, strict=True), start=1):
        ax = figure.add_subplot(grid[0, column])
        image = _show_difference(ax, to_input[label], view, limit, f"A.{column}", label)
        ax = figure.add_subplot(grid[1, column])
        show_pattern(ax, decoded[name], view.mask, grey)
        letter(ax, f"B.{column}", name, SMALL_PT)
    for column, (label, values) in enumerate(successive.items(), start=2):
        ax = figure.add_subplot(grid[2, column])
        _show_difference(ax, values, view, limit, f"C.{column - 1}", label)
    place = figure.add_subplot(grid[0, 0])
    place.set_axis_off()
    bar = figure.colorbar(image, cax=place.inset_axes(_BAR_8), orientation="horizontal")
    bar.set_label("difference,\none scale for A and C")
    _draw_profiles(figure.add_subplot(grid[-1, :]), to_input, successive, view.mask)
    figure.choices.append(
        f"Fig. 8: point ({point[0]}, {point[1]}) has the median loss of {models[-1]}"
    )
    lacking = [d for d in PAPER_DIMENSIONS if d not in {study.model(n).latent_dim for n in models}]
    if lacking:
        names = ", ".join(f"{d}-D" for d in lacking)
        figure.missing.append(f"Fig. 8: no {names} VAE in this study.")
    return figure


def _common_limit(differences: list[np.ndarray], mask: np.ndarray) -> float:
    inside = np.concatenate([np.abs(values[mask]) for values in differences])
    return float(np.percentile(inside, DIFFERENCE_PERCENT)) or 1.0


def _show_difference(ax, values, view: View, limit: float, panel: str, label: str):
    image = show_pattern(ax, values, view.mask, (-limit, limit), DIFFERENCE_COLOURS)
    rms = np.sqrt(np.mean(values[view.mask] ** 2))
    letter(ax, panel, f"{label}\nRMS {rms:.3f}", SMALL_PT)
    return image


def radial_rms(difference: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RMS of a difference pattern in rings around the middle of the screen.

    Parameters
    ----------
    difference
        (h, w).
    mask
        (h, w) bool, True inside the screen.

    Returns
    -------
    radius : numpy.ndarray
        (n,) middle of each ring in px.
    rms : numpy.ndarray
        (n,) in units of the [-1, 1] scale.
    """
    rows, columns = np.nonzero(mask)
    radius = np.hypot(rows - rows.mean(), columns - columns.mean())
    ring = (radius / RING_PX).astype(int)
    count = np.bincount(ring)
    square = np.bincount(ring, weights=difference[mask] ** 2)
    filled = count > 0
    return (np.flatnonzero(filled) + 0.5) * RING_PX, np.sqrt(square[filled] / count[filled])


def _draw_profiles(ax, to_input: dict, successive: dict, mask: np.ndarray) -> None:
    for differences, style in ((to_input, "-"), (successive, "--")):
        for number, (label, values) in enumerate(differences.items()):
            ax.plot(*radial_rms(values, mask), style, color=f"C{number}", label=label)
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.set_xlabel("distance from the middle of the screen (px)")
    ax.set_ylabel("RMS difference")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    letter(ax, "D", "radial profile of each difference")


# -------------------------------------------------------------------- Fig. 10


@print_style
def figure_10(study: Study) -> PaperFigure:
    """Draw best, worst and generated patterns for each beta, the losses and what survives."""
    models = selection.beta_series(study)
    views = [whole(study, scan) for scan in study.decoded_scans]
    histories = {name: _history(study, name) for name in models}
    figure = new_figure(len(models) * _ROW_10_MM + _SHARES_MM + 12, layout="constrained")
    names = " and ".join(dict.fromkeys(scan_label(study, scan) for scan in study.decoded_scans))
    figure.suptitle(f"Fig. 10  Best, worst and generated patterns by β: {names}")
    above, below = figure.subfigures(2, 1, height_ratios=[len(models) * _ROW_10_MM, _SHARES_MM])
    grid = above.add_gridspec(2 * len(models), 5, width_ratios=[1, 1, 1, 1, 2.1])
    lines = []
    for row, (name, panel) in enumerate(zip(models, "ABCDEFGH", strict=False)):
        title = f"{name} (β = {study.model(name).beta:g})"
        for column, worst in enumerate((False, True)):
            view, *point = selection.extreme_point(views, name, worst)
            original = view.pattern(*point)
            grey = pattern_limits(original, view.mask)
            loss = view.losses(name)[tuple(point)]
            ax = above.add_subplot(grid[2 * row, column])
            show_pattern(ax, original, view.mask, grey)
            kind = "worst" if worst else "best"
            letter(ax, f"{panel}.{column + 1}", f"{kind}, loss {loss:.0f}", SMALL_PT)
            if not worst:
                ax.set_ylabel("original", fontsize=SMALL_PT)
            ax = above.add_subplot(grid[2 * row + 1, column])
            show_pattern(ax, view.pattern(*point, model=name), view.mask, grey)
            if not worst:
                ax.set_ylabel("decoded", fontsize=SMALL_PT)
            place = f"{view.scan} ({point[0]}, {point[1]})"
            figure.choices.append(f"Fig. 10{panel}.{column + 1}: {kind} of {name}: {place}")
        tiles = [grid[2 * row + n // 2, 2 + n % 2] for n in range(GENERATED_SHOWN)]
        _draw_generated(above, tiles, study, name, f"{panel}.3")
        lines.append(above.add_subplot(grid[2 * row : 2 * row + 2, 4]))
        _draw_history(lines[-1], histories[name])
        letter(lines[-1], f"{panel}.4", title, SMALL_PT)
    low = min(history["best"].min() for history in histories.values())
    high = max(history["worst"].max() for history in histories.values())
    for ax in lines:
        ax.set_ylim(low / 1.2, high * LEGEND_ROOM)
    _draw_shares(figure, below, study, models)
    trained = {study.model(name).beta for name in models}
    lacking = [beta for beta in (1, *PAPER_BETAS) if beta not in trained]
    if lacking:
        betas = ", ".join(str(beta) for beta in lacking)
        figure.missing.append(f"Fig. 10: β = {betas} was not trained at this dimension.")
    return figure


def _draw_shares(figure: PaperFigure, place, study: Study, models: list[str]) -> None:
    """Each grain's error against its share of the training sample, a plot per model."""
    path, panel = Layout(study).orientation_shares, "ABCDEFGH"[len(models)]
    if not path.is_file():
        figure.missing.append(f"Fig. 10{panel}: {path.name} is not there: run notebook 07.")
        return
    table = pd.read_csv(path)
    axes = np.ravel(place.subplots(1, len(models), squeeze=False, sharex=True, sharey=True))
    for number, (ax, model) in enumerate(zip(axes, models, strict=True), start=1):
        grains = table[(table["model"] == model) & (table["share_pct"] > 0)]
        off = grains["misorientation_deg_q50"]
        area = GRAIN_AREA * grains["points"] / table["points"].max()
        ax.scatter(grains["share_pct"], off, s=area + 2, c="C0", alpha=0.6, lw=0)
        ax.axhline(study.indexing.wrong_deg, color="0.6", ls="--", lw=0.6)
        ax.set(xscale="log", yscale="log")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
        ax.set_xlabel("share of the training patterns (%)")
        rank = rank_correlation(grains[["share_pct"]].to_numpy(), off.to_numpy())[0]
        lost = 100 * (off > study.indexing.wrong_deg).mean()
        letter(
            ax,
            f"{panel}.{number}",
            f"β = {study.model(model).beta:g}: {lost:.0f} % of {len(grains)} grains lost, "
            f"|ρ| {rank:.2f}",
            SMALL_PT,
        )
    axes[0].set_ylabel("median misorientation\nof a grain (°)")


def _history(study: Study, model: str) -> pd.DataFrame:
    return pd.read_csv(require(Layout(study).model(model).history, "notebook 03"))


def _draw_generated(figure, places: list, study: Study, model: str, panel: str) -> None:
    scan = selection.decoded_scan(study)
    path = Layout(study).model_scan(model, scan).generated
    generated = np.load(require(path, "notebook 05"))
    mask = whole(study, scan).mask
    limits = pattern_limits(generated, np.broadcast_to(mask, generated.shape))
    for place, pattern in zip(places, generated, strict=False):
        ax = figure.add_subplot(place)
        show_pattern(ax, pattern, mask, limits)
        if place is places[0]:
            letter(ax, panel, "from noise", SMALL_PT)


def _draw_history(ax, history: pd.DataFrame) -> None:
    for column, colour in (("worst", "C3"), ("reconstruction", "0.6"), ("best", "C0")):
        label = "mean" if column == "reconstruction" else column
        ax.plot(history["presentations"] / 1000, history[column], color=colour, label=label)
    ax.set_yscale("log")
    ax.set_xlabel("patterns shown (thousands)")
    ax.set_ylabel("reconstruction loss")
    ax.legend(loc="upper center", ncols=3, columnspacing=1.0, handlelength=1.5)
