"""A measured and a virtual scan side by side, and the statistics that they share."""

import numpy as np
import pandas as pd

from kikuhelpers.figures import drawing
from kikuhelpers.figures.style import PAGE_MM, TEXT_PT, PaperFigure, new_figure, print_style
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.tables.realism import ScanStatistics

_COLUMNS = 4
_BAR_MM = 8.0
_TITLE_MM = 5.0
_PLOT_MM = 48.0
_HISTOGRAM_BINS = 40
_PLOTS = (
    ("E", "principal component", "variance"),
    ("F", "frequency (cycles/px)", "power (arb. units)"),
    ("G", "Hough fit (°)", "density"),
    ("H", "IQ (pq, arb. units)", ""),
)


@print_style
def realism_figure(
    results: Results, statistics: dict[str, ScanStatistics], table: pd.DataFrame
) -> PaperFigure:
    """Draw a measured and a virtual scan side by side, and the statistics that they share.

    Parameters
    ----------
    results
        Of a study with ``comparison``.
    statistics
        Of both scans by their names.
    table
        Of :func:`kikuhelpers.tables.realism.compare`.
    """
    views = [View.whole(results, scan) for scan in statistics]
    labels = ["virtual" if view.is_virtual else "measured" for view in views]
    width = PAGE_MM / _COLUMNS
    tall = width * views[0].shape[0] / views[0].shape[1] + _TITLE_MM
    heights = [tall + _BAR_MM, width + _TITLE_MM, _PLOT_MM]
    title = f"A measured and a virtual scan: {views[0].label}, {views[1].label}"
    figure = new_figure(sum(heights) + 6, title, layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=heights)
    maps, patterns, plots = (figure.add_subfigure(row).subplots(1, _COLUMNS) for row in grid)
    quality = [view.property_map("pq") for view in views]
    limits = drawing.clip_limits(np.stack(quality))
    for index, (view, label) in enumerate(zip(views, labels, strict=True)):
        drawing.show_map(maps[index], view.ipf_x(), view.step_um)
        drawing.letter(maps[index], "AB"[index], f"{label}, IPF-X", TEXT_PT)
        look = drawing.QUALITY_COLOURS, limits
        image = drawing.show_map(maps[index + 2], quality[index], view.step_um, *look)
        drawing.letter(maps[index + 2], "CD"[index], f"{label}, IQ", TEXT_PT)
        for ax, point in zip(patterns[2 * index :], _typical_points(view), strict=False):
            drawing.show_pattern(ax, view.pattern(*point), view.mask)
            drawing.letter(ax, "", f"{label} ({point[0]}, {point[1]})")
    drawing.add_colour_bar(image, list(maps[2:]), "IQ (pq, arb. units)")
    _draw_statistics(plots, views, labels, list(statistics.values()))
    met = table["alike"]
    figure.choices.append(f"{met.sum()} of {len(met)} statistics are alike within their limits")
    return figure


def _draw_statistics(axes, views, labels, statistics) -> None:
    for view, label, found in zip(views, labels, statistics, strict=True):
        number = np.arange(1, len(found.eigenvalues) + 1)
        axes[0].semilogy(number, found.eigenvalues, ".-", label=label)
        axes[1].semilogy(found.frequency, found.power, ".-", label=label)
        indexed = view.indexed()
        for ax, name, text in ((axes[2], "fit", f"{found.fit_deg:.2f}°"), (axes[3], "pq", "")):
            values = view.property_map(name)[indexed]
            edges = np.linspace(*np.quantile(values, (0.002, 0.998)), _HISTOGRAM_BINS)
            ax.hist(values, edges, density=True, histtype="step", label=f"{label} {text}")
            ax.set_yticks([])
    for ax, (panel, horizontal, vertical) in zip(axes, _PLOTS, strict=True):
        drawing.letter(ax, panel, size_pt=TEXT_PT)
        ax.set(xlabel=horizontal, ylabel=vertical)
    axes[0].legend()
    axes[2].legend()


def _typical_points(view: View) -> list[tuple[int, int]]:
    """Two points of median image quality, from the largest grains."""
    grains, quality = view.grains(), view.property_map("pq")
    largest = np.bincount(grains[grains >= 0]).argsort()[::-1][:2]
    points = []
    for grain in largest:
        inside = grains == grain
        away = np.where(inside, np.abs(quality - np.median(quality[inside])), np.inf)
        points.append(tuple(int(i) for i in np.unravel_index(away.argmin(), view.shape)))
    return points
