"""A virtual specimen beside what Hough indexing sees of it, and beside a measured scan."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap

from kikuhelpers.figures import drawing, panels, style
from kikuhelpers.indexing.orientation_maps import ipf_colours, misorientation_map
from kikuhelpers.latents.view import View, highest_point
from kikuhelpers.runs.results import Results
from kikuhelpers.study.specimen import PHASES

PURE_SHARE = 0.95  # of a pattern that one lattice must give to stand for it
_APART = 8  # two points are farther apart than this part of the map's side
_LAST = 1e6  # taken off under the scale bar and near a point: above any density or share
_COLUMNS = 4
_WIDTH_MM = style.PAGE_MM / _COLUMNS
_BAR_MM = 8.0
_TITLE_MM = 5.0
_PLOT_MM = 48.0
_PHASE_COLOURS = ListedColormap(colormaps["tab10"].colors[: len(PHASES)])
_HISTOGRAM_BINS = 40
_ALONG = ("principal component", "frequency (cycles/px)", "Hough fit (°)", "IQ (pq)")
_UP = ("variance", "power (arb. units)", "density", "")


@style.print_style
def truth_figure(results: Results, scan: str) -> style.PaperFigure:
    """Draw the truth of a virtual scan, what Hough indexing makes of it, and four patterns."""
    view = View.whole(results, scan)
    heights = [panels.row_mm(view, _COLUMNS, _TITLE_MM + _BAR_MM)] * 2 + [_WIDTH_MM + _TITLE_MM]
    title = f"Truth (A-D), Hough indexing (E-H) and patterns (1-4): {view.label}, scan '{scan}'"
    figure = style.new_figure(sum(heights) + 6, title)
    axes = figure.subplots(3, _COLUMNS, height_ratios=heights)
    drawn = zip(axes[:2].flat, "ABCDEFGH", _maps(view), strict=True)
    for ax, panel, (title, values, *look) in drawn:
        image = drawing.show_map(ax, values, view.step_um, *look)
        drawing.letter(ax, panel, title)
        bar = drawing.add_colour_bar(image, ax)
        if title == "phase":
            image.set_norm(BoundaryNorm(np.arange(len(PHASES) + 1) - 0.5, len(PHASES)))
            bar.set_ticks(range(len(PHASES)), labels=PHASES)
            bar.ax.minorticks_off()
    for number, (text, (row, column)) in enumerate(telling_points(view).items(), start=1):
        for ax in axes[0, :2]:
            drawing.mark_point(ax, str(number), row, column)
        ax = axes[2, number - 1]
        drawing.show_pattern(ax, view.pattern(row, column), view.mask)
        density, own = (view.truth(name)[row, column] for name in ("density", "own_share"))
        drawing.letter(ax, str(number), f"{text}\ndensity {density:.1f}, own share {own:.2f}")
        figure.choices.append(f"scan '{scan}', pattern {number} ({row}, {column}): {text}")
    return figure


def telling_points(view: View) -> dict[str, tuple[int, int]]:
    """Choose four points of a virtual scan by its truth, apart and none under the scale bar."""
    density, own = view.truth("density"), view.truth("own_share")
    matrix = view.truth("phase") == PHASES.index("Ni")
    pure = matrix & (own >= PURE_SHARE)
    rank = {
        "highest density": np.where(pure, density, -np.inf),
        "lowest density": np.where(pure, -density, -np.inf),
        "most mixed": np.where(matrix, -own, -np.inf),
    }
    if matrix.all():
        rank["purest twin"] = np.where(view.truth("twin") > 0, own, -np.inf)
    else:
        rank["purest second phase"] = np.where(matrix, -np.inf, own)
    taken, found, apart = np.zeros(view.shape), {}, min(view.shape) // _APART
    taken[-max(1, view.shape[0] // 5) :, : view.shape[1] // 2] = _LAST
    for reason, values in rank.items():
        row, column = found[reason] = highest_point(values - taken)
        above, left = max(0, row - apart), max(0, column - apart)
        taken[above : row + apart + 1, left : column + apart + 1] = _LAST
    return found


def _maps(view: View) -> list[tuple]:
    """Title, values, colours and colour limits of each map of the truth and of Hough indexing."""
    true = view.true_orientations()
    density, strain = np.log10(view.truth("density")), 100 * view.truth("strain")
    limit = max(np.abs(drawing.clip_limits(strain)).max(), 1e-6)
    off = misorientation_map(view.orientations(), true)
    quality, angle = drawing.QUALITY_COLOURS, drawing.ANGLE_COLOURS
    return [
        (drawing.IPF_X, ipf_colours(true)),
        ("log10 density of dislocations", density, drawing.DENSITY_COLOURS),
        ("lattice strain (%)", strain, drawing.DIFFERENCE_COLOURS, (-limit, limit)),
        ("phase", view.truth("phase").astype(float), _PHASE_COLOURS),
        ("Hough, IPF-X", view.ipf_x()),
        ("IQ (pq)", view.property_map("pq"), quality),
        ("KAM (°)", view.property_map("kam_deg"), angle),
        (f"off the truth (°), median {np.nanmedian(off):.2f}", off, angle),
    ]


@style.print_style
def realism_figure(
    results: Results, statistics: dict[str, dict[str, pd.Series]], table: pd.DataFrame
) -> style.PaperFigure:
    """Draw a measured and a virtual scan side by side, and the statistics that they share.

    ``table`` is that of :func:`kikuhelpers.tables.realism.compare`.
    """
    views = [View.whole(results, scan) for scan in statistics]
    labels = ["virtual" if view.is_virtual else "measured" for view in views]
    row_mm = panels.row_mm(views[0], _COLUMNS, _TITLE_MM + _BAR_MM)
    heights = [row_mm, _WIDTH_MM + _TITLE_MM, _PLOT_MM]
    title = f"A measured and a virtual scan: {views[0].label}, {views[1].label}"
    figure = style.new_figure(sum(heights) + 6, title, layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=heights)
    maps, patterns, plots = (figure.add_subfigure(row).subplots(1, _COLUMNS) for row in grid)
    quality = [view.property_map("pq") for view in views]
    look = drawing.QUALITY_COLOURS, drawing.clip_limits(np.stack(quality))
    for index, (view, label) in enumerate(zip(views, labels, strict=True)):
        drawing.show_map(maps[index], view.ipf_x(), view.step_um)
        drawing.letter(maps[index], "AB"[index], f"{label}, {drawing.IPF_X}", style.TEXT_PT)
        image = drawing.show_map(maps[index + 2], quality[index], view.step_um, *look)
        drawing.letter(maps[index + 2], "CD"[index], f"{label}, IQ", style.TEXT_PT)
        for ax, point in zip(patterns[2 * index :], _typical_points(view), strict=False):
            drawing.show_pattern(ax, view.pattern(*point), view.mask)
            drawing.letter(ax, "", f"{label} ({point[0]}, {point[1]})")
    drawing.add_colour_bar(image, list(maps[2:]), "IQ (pq)")
    _draw_statistics(plots, labels, list(statistics.values()))
    for kind, of in table.groupby("fitted"):
        said = "that were fitted" if kind else "that were not fitted"
        figure.choices.append(f"{of['alike'].sum()} of {len(of)} statistics {said} are alike")
    return figure


def _draw_statistics(axes, labels, statistics) -> None:
    for label, found in zip(labels, statistics, strict=True):
        for ax, kind in zip(axes[:2], ("PCA eigenvalue", "power"), strict=True):
            ax.semilogy(found[kind].index, found[kind], ".-", label=label)
        median = f"{found['fit'].median():.2f}°"
        for ax, name, text in ((axes[2], "fit", median), (axes[3], "pq", "")):
            values = found[name]
            edges = np.linspace(*np.quantile(values, (0.002, 0.998)), _HISTOGRAM_BINS)
            ax.hist(values, edges, density=True, histtype="step", label=f"{label} {text}")
            ax.set_yticks([])
    for ax, panel, along, up in zip(axes, "EFGH", _ALONG, _UP, strict=True):
        drawing.letter(ax, panel, size_pt=style.TEXT_PT)
        ax.set(xlabel=along, ylabel=up)
    axes[0].legend()
    axes[2].legend()


def _typical_points(view: View) -> list[tuple[int, int]]:
    """Two points of median image quality, from the largest grains."""
    grains, quality = view.grains(), view.property_map("pq")
    points = []
    for grain in np.bincount(grains[grains >= 0]).argsort()[::-1][:2]:
        inside = grains == grain
        away = np.abs(quality - np.median(quality[inside]))
        points.append(highest_point(np.where(inside, -away, -np.inf)))
    return points
