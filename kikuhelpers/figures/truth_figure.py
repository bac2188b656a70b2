"""A virtual specimen: its truth beside what Hough indexing sees of it."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuhelpers.figures import drawing
from kikuhelpers.figures.style import PAGE_MM, PaperFigure, new_figure, print_style
from kikuhelpers.indexing.orientation_maps import ipf_colours, misorientation_map
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study.specimen import PHASES

PURE_SHARE = 0.95  # of a pattern that one lattice must give to stand for it
_COLUMNS = 4
_BAR_MM = 8.0
_TITLE_MM = 5.0
_PHASE_COLOURS = ListedColormap(colormaps["tab10"].colors[: len(PHASES)])


@print_style
def truth_figure(results: Results, scan: str) -> PaperFigure:
    """Draw the truth of a virtual scan, what Hough indexing makes of it, and four patterns."""
    view = View.whole(results, scan)
    width = PAGE_MM / _COLUMNS
    tall = width * view.shape[0] / view.shape[1]
    heights = [tall + _TITLE_MM + _BAR_MM] * 2 + [width + _TITLE_MM]
    title = f"Truth (A-D), Hough indexing (E-H) and patterns (1-4): {view.label}, scan '{scan}'"
    figure = new_figure(sum(heights) + 6, title)
    axes = figure.subplots(3, _COLUMNS, height_ratios=heights)
    for ax, (panel, title, values, colours, limits) in zip(axes[:2].flat, _maps(view), strict=True):
        image = drawing.show_map(ax, values, view.step_um, colours, limits)
        drawing.letter(ax, panel, title)
        bar = drawing.add_colour_bar(image, ax)
        bar.ax.set_visible(values.ndim == 2)  # an IPF map has none, but takes the same room
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
    """Choose four points of a virtual scan by its truth: {reason: (row, column)}."""
    density, own = view.truth("density"), view.truth("own_share")
    matrix = view.truth("phase") == PHASES.index("Ni")
    pure = matrix & (own >= PURE_SHARE)
    choices = {
        "lowest density": np.where(pure, density, np.inf).argmin(),
        "highest density": np.where(pure, density, -np.inf).argmax(),
        "most mixed": np.where(matrix, own, np.inf).argmin(),
    }
    if not matrix.all():
        choices["purest second phase"] = np.where(matrix, -np.inf, own).argmax()
    else:
        choices["purest twin"] = np.where(view.truth("twin") > 0, own, -np.inf).argmax()
    return {
        text: tuple(int(i) for i in np.unravel_index(index, view.shape))
        for text, index in choices.items()
    }


def _maps(view: View) -> list[tuple]:
    """Panel, title, values, colours and colour limits of each map."""
    true = _true_map(view)
    density, strain = np.log10(view.truth("density")), 100 * view.truth("strain")
    limit = max(np.abs(drawing.clip_limits(strain)).max(), 1e-6)
    off = misorientation_map(view.orientations(), true)
    off_title = f"off the truth (°), median {np.nanmedian(off):.2f}"
    quality, angle = drawing.QUALITY_COLOURS, drawing.ANGLE_COLOURS
    phase = view.truth("phase").astype(float)
    return [
        ("A", "orientation, IPF-X", ipf_colours(true), None, None),
        ("B", "dislocation density (log10, annealed 0)", density, drawing.DENSITY_COLOURS, None),
        ("C", "lattice strain (%)", strain, drawing.DIFFERENCE_COLOURS, (-limit, limit)),
        ("D", "phase", phase, _PHASE_COLOURS, None),
        ("E", "Hough, IPF-X", view.ipf_x(), None, None),
        ("F", "IQ (pq, arb. units)", view.property_map("pq"), quality, None),
        ("G", "KAM (°)", view.property_map("kam_deg"), angle, None),
        ("H", off_title, off, angle, None),
    ]


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
