"""Virtual specimens: their truth beside what Hough indexing sees, and beside a measurement."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuhelpers.figures.drawing import (
    ANGLE_COLOURS,
    DENSITY_COLOURS,
    DIFFERENCE_COLOURS,
    QUALITY_COLOURS,
    add_colour_bar,
    clip_limits,
    letter,
    pattern_limits,
    show_map,
    show_pattern,
)
from kikuhelpers.figures.style import (
    PAGE_MM,
    SMALL_PT,
    PaperFigure,
    new_figure,
    print_style,
)
from kikuhelpers.figures.views import View, whole
from kikuhelpers.indexing.orientation_maps import ipf_colours, misorientation_map
from kikuhelpers.study.specimen import PHASES
from kikuhelpers.study.study import Study
from kikuhelpers.tables.realism import ScanStatistics

PURE_SHARE = 0.95  # of a pattern that one lattice must give to stand for it
_COLUMNS = 4
_BAR_MM = 8.0
_TITLE_MM = 5.0
_PHASE_COLOURS = ListedColormap(colormaps["tab10"].colors[: len(PHASES)])
_HISTOGRAM_BINS = 40
_PLOT_MM = 48.0


@print_style
def truth_figure(study: Study, scan: str) -> PaperFigure:
    """Draw the truth of a virtual scan, what Hough indexing makes of it, and four patterns."""
    view = whole(study, scan)
    true = _true_map(view)
    points = telling_points(view)
    width = PAGE_MM / _COLUMNS
    tall = width * view.shape[0] / view.shape[1]
    heights = [tall + _TITLE_MM + _BAR_MM] * 2 + [width + _TITLE_MM]
    figure = new_figure(sum(heights) + 6)
    figure.suptitle(
        f"Truth (A-D), Hough indexing (E-H) and patterns (1-4): {view.label}, scan '{scan}'"
    )
    axes = figure.subplots(3, _COLUMNS, height_ratios=heights)
    _draw_truth(axes[0], view, true)
    _draw_hough(axes[1], view, true)
    for number, (ax, (text, (row, column))) in enumerate(
        zip(axes[2], points.items(), strict=True), start=1
    ):
        for place in (axes[0, 0], axes[0, 1]):
            _mark(place, number, row, column)
        pattern = view.pattern(row, column)
        show_pattern(ax, pattern, view.mask, pattern_limits(pattern, view.mask))
        density, own = (view.truth(name)[row, column] for name in ("density", "own_share"))
        letter(ax, str(number), f"{text}\ndensity {density:.1f}, own share {own:.2f}", SMALL_PT)
        figure.choices.append(f"scan '{scan}', pattern {number} ({row}, {column}): {text}")
    return figure


def telling_points(view: View) -> dict[str, tuple[int, int]]:
    """Choose four points of a virtual scan by its truth: {reason: (row, column)}."""
    density, own = view.truth("density"), view.truth("own_share")
    phase, twin = view.truth("phase"), view.truth("twin")
    matrix = phase == PHASES.index("Ni")
    pure = matrix & (own >= PURE_SHARE)
    boundary = np.where(matrix, own, np.inf)
    choices = {
        "lowest density": np.where(pure, density, np.inf).argmin(),
        "highest density": np.where(pure, density, -np.inf).argmax(),
        "most mixed": boundary.argmin(),
    }
    if not matrix.all():
        choices["purest second phase"] = np.where(matrix, -np.inf, own).argmax()
    else:
        choices["purest twin"] = np.where(twin > 0, own, -np.inf).argmax()
    return {
        text: tuple(int(i) for i in np.unravel_index(index, view.shape))
        for text, index in choices.items()
    }


@print_style
def realism_figure(
    study: Study, statistics: dict[str, ScanStatistics], table: pd.DataFrame
) -> PaperFigure:
    """Draw a measured and a virtual scan side by side, and the statistics that they share.

    Parameters
    ----------
    study
        A study with ``comparison``.
    statistics
        Of both scans by their names.
    table
        Of :func:`kikuhelpers.tables.realism.compare`.
    """
    views = [whole(study, scan) for scan in statistics]
    labels = [_short_label(view) for view in views]
    width = PAGE_MM / _COLUMNS
    tall = width * views[0].shape[0] / views[0].shape[1] + _TITLE_MM
    heights = [tall + _BAR_MM, width + _TITLE_MM, _PLOT_MM]
    figure = new_figure(sum(heights) + 6, layout="constrained")
    figure.suptitle(f"A measured and a virtual scan: {views[0].label}, {views[1].label}")
    rows = figure.add_gridspec(3, 1, height_ratios=heights)
    maps, patterns = (figure.add_subfigure(rows[i]).subplots(1, _COLUMNS) for i in (0, 1))
    plots = figure.add_subfigure(rows[2]).subplots(1, _COLUMNS)
    quality = [view.property_map("pq") for view in views]
    limits = clip_limits(np.stack(quality))
    for index, (view, label) in enumerate(zip(views, labels, strict=True)):
        show_map(maps[index], view.ipf_x(), view.step_um)
        letter(maps[index], "AB"[index], f"{label}, IPF-X")
        image = show_map(maps[index + 2], quality[index], view.step_um, QUALITY_COLOURS, limits)
        letter(maps[index + 2], "CD"[index], f"{label}, IQ")
        for ax, point in zip(patterns[2 * index :], _typical_points(view), strict=False):
            pattern = view.pattern(*point)
            show_pattern(ax, pattern, view.mask, pattern_limits(pattern, view.mask))
            letter(ax, "", f"{label} ({point[0]}, {point[1]})", SMALL_PT)
    add_colour_bar(image, list(maps[2:]), "IQ (pq, arb. units)")
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
    texts = (
        ("E", "principal component", "variance"),
        ("F", "frequency (cycles/px)", "power (arb. units)"),
        ("G", "Hough fit (°)", "density"),
        ("H", "IQ (pq, arb. units)", ""),
    )
    for ax, (panel, horizontal, vertical) in zip(axes, texts, strict=True):
        letter(ax, panel)
        ax.set_xlabel(horizontal)
        ax.set_ylabel(vertical)
    for ax in axes[2:]:
        ax.set_yticks([])
    axes[0].legend()
    axes[2].legend()


def _short_label(view: View) -> str:
    return "virtual" if view.study.is_virtual(view.scan) else "measured"


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


def _true_map(view: View) -> CrystalMap:
    """The true orientations on the grid of the Hough map, second phases not indexed."""
    hough = view.orientations()
    matrix = view.truth("phase").ravel() == PHASES.index("Ni")
    return CrystalMap(
        rotations=Rotation(view.truth("rotation").reshape(-1, 4)),
        phase_id=np.where(matrix, 0, -1),
        x=hough.x,
        y=hough.y,
        phase_list=hough.phases,
        scan_unit=hough.scan_unit,
    )


def _draw_truth(axes, view: View, true: CrystalMap) -> None:
    _show_orientations(axes[0], ipf_colours(true), view, "A", "orientation, IPF-X")
    image = show_map(axes[1], np.log10(view.truth("density")), view.step_um, DENSITY_COLOURS)
    letter(axes[1], "B", "dislocation density (log10, annealed 0)", SMALL_PT)
    add_colour_bar(image, axes[1])
    strain = 100 * view.truth("strain")
    limit = max(np.abs(clip_limits(strain)).max(), 1e-6)
    image = show_map(axes[2], strain, view.step_um, DIFFERENCE_COLOURS, (-limit, limit))
    letter(axes[2], "C", "lattice strain (%)", SMALL_PT)
    add_colour_bar(image, axes[2])
    image = show_map(axes[3], view.truth("phase").astype(float), view.step_um)
    image.set_cmap(_PHASE_COLOURS)
    image.set_norm(BoundaryNorm(np.arange(len(PHASES) + 1) - 0.5, len(PHASES)))
    letter(axes[3], "D", "phase", SMALL_PT)
    bar = add_colour_bar(image, axes[3])
    bar.set_ticks(range(len(PHASES)), labels=PHASES)
    bar.ax.minorticks_off()


def _draw_hough(axes, view: View, true: CrystalMap) -> None:
    _show_orientations(axes[0], view.ipf_x(), view, "E", "Hough, IPF-X")
    maps = (
        ("F", "IQ (pq, arb. units)", view.property_map("pq"), QUALITY_COLOURS),
        ("G", "KAM (°)", view.property_map("kam_deg"), ANGLE_COLOURS),
        ("H", "off the truth (°)", misorientation_map(view.orientations(), true), ANGLE_COLOURS),
    )
    for ax, (panel, text, values, colours) in zip(axes[1:], maps, strict=True):
        image = show_map(ax, values, view.step_um, colours)
        middle = f", median {np.nanmedian(values):.2f}" if panel == "H" else ""
        letter(ax, panel, text + middle, SMALL_PT)
        add_colour_bar(image, ax)


def _show_orientations(ax, colours, view: View, panel: str, text: str) -> None:
    bar = add_colour_bar(show_map(ax, colours, view.step_um), ax)
    bar.ax.set_visible(False)  # but takes the same room as its neighbours'
    letter(ax, panel, text, SMALL_PT)


def _mark(ax, number: int, row: int, column: int) -> None:
    ax.plot(column, row, "o", mfc="none", mec="white", ms=4, mew=0.8)
    ax.annotate(
        str(number),
        (column, row),
        (3, 3),
        textcoords="offset points",
        color="white",
        fontsize=SMALL_PT,
        fontweight="bold",
    )
