"""Figs 1 and 2: the method on the study's own data, and its orientation maps."""

import numpy as np
from matplotlib.patches import FancyArrow
from orix.vector import Vector3d
from scipy.ndimage import gaussian_filter
from skimage.transform import radon

from kikuhelpers.figures import selection
from kikuhelpers.figures.drawing import (
    LATENT_COLOURS,
    add_ipf_key,
    bare,
    clip_limits,
    draw_box,
    letter,
    pattern_limits,
    show_map,
    show_pattern,
)
from kikuhelpers.figures.regions import path_view, region
from kikuhelpers.figures.style import (
    PAGE_MM,
    SMALL_PT,
    PaperFigure,
    new_figure,
    print_style,
)
from kikuhelpers.figures.views import View, scan_label, whole
from kikuhelpers.study.study import Study

STACKED_MAPS = 5
BRIGHTNESS_PX = 8.0  # standard deviation of the smoothing that leaves brightness only
_HEIGHT_1_MM = 92.0
_TILE_MM = 34.0  # side of a square picture of Fig. 1
_MAP_2_MM = 77.0  # width of a map of Fig. 2
_KEY_SHARE = 0.32  # width of its colour key, relative to a map


@print_style
def figure_1(study: Study) -> PaperFigure:
    """Draw the two routes from a pattern to a map: physics (A) and latent space (B)."""
    scan = selection.decoded_scan(study)
    view = whole(study, scan)
    model = selection.largest_vae(study)
    point = selection.typical_point(view, model)
    figure = new_figure(_HEIGHT_1_MM, layout="none")
    figure.suptitle(
        f"Fig. 1  From pattern to map by physics (A) and by latent space (B): {view.label}",
        x=0.01,
        ha="left",
    )
    pattern = view.pattern(*point)
    for row, panel in ((0, "A"), (1, "B")):
        ax = _tile(figure, row, 0.0)
        show_pattern(ax, pattern, view.mask, pattern_limits(pattern, view.mask))
        letter(ax, panel, f"pattern at ({point[0]}, {point[1]})")
    _physics(figure, view, point, pattern)
    _latent_space(figure, view, point, model)
    figure.choices.append(
        f"Fig. 1: pattern ({point[0]}, {point[1]}) has the median loss of {model}"
    )
    return figure


def _tile(
    figure, row: int, left_mm: float, width_mm: float = _TILE_MM, height_mm: float = _TILE_MM
):
    bottom = _HEIGHT_1_MM - 12 - (row + 1) * _TILE_MM - row * 9
    bottom += (_TILE_MM - height_mm) / 2
    size = np.array([left_mm + 2, bottom, width_mm, height_mm])
    return figure.add_axes(tuple(size / [PAGE_MM, _HEIGHT_1_MM, PAGE_MM, _HEIGHT_1_MM]))


def _arrow(figure, row: int, left_mm: float) -> None:
    ax = _tile(figure, row, left_mm, width_mm=9, height_mm=6)
    ax.set_axis_off()
    ax.set_xlim(0, 9)
    ax.set_ylim(-3, 3)
    shape = {"width": 0.7, "head_width": 2.4, "head_length": 2.4, "length_includes_head": True}
    ax.add_patch(FancyArrow(0.5, 0, 8, 0, color="0.3", lw=0, **shape))


def _physics(figure, view: View, point: tuple[int, int], pattern: np.ndarray) -> None:
    _arrow(figure, 0, 35)
    ax = _tile(figure, 0, 48)
    angles = np.arange(180.0)
    inside = view.mask.astype(float)
    # Mean along each line: sums would only show how long the lines are.
    length = radon(inside, angles, circle=False)
    bands = (pattern - _brightness(pattern, inside)) * inside
    lines = radon(bands, angles, circle=False) / np.maximum(length, 1)
    used = length > 0.2 * length.max()
    rows = np.flatnonzero(used.any(axis=1))
    lines = np.ma.masked_where(~used, lines)[rows[0] : rows[-1] + 1]
    low, high = clip_limits(lines.compressed())
    ax.imshow(lines, cmap="gray", vmin=low, vmax=high, aspect="auto")
    bare(ax)
    ax.set_xlabel("angle θ (0° to 180°)")
    ax.set_ylabel("distance ρ")
    letter(ax, "", "bands: peaks of the Radon transform", SMALL_PT)

    _arrow(figure, 0, 84)
    xmap = view.orientations()
    flat = np.ravel_multi_index(point, xmap.shape)
    rotation = xmap.rotations[flat]
    ax = _tile(figure, 0, 96)
    key = add_ipf_key(ax)
    key.scatter(rotation * Vector3d.xvector(), c="black", s=14, ec="white", lw=0.6)
    euler = ", ".join(f"{angle:.0f}°" for angle in np.rad2deg(rotation.to_euler()).ravel())
    letter(ax, "", f"orientation: Euler {euler}", SMALL_PT)

    _arrow(figure, 0, 133)
    ax = _tile(figure, 0, 145)
    show_map(ax, view.ipf_x(), view.step_um)
    _mark(ax, point)
    letter(ax, "", "map of orientations", SMALL_PT)


def _brightness(pattern: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Smooth part of a pattern (h, w), which would outshine its bands in the transform."""
    weight = np.maximum(gaussian_filter(inside, BRIGHTNESS_PX), 1e-6)
    return gaussian_filter(pattern * inside, BRIGHTNESS_PX) / weight


def _latent_space(figure, view: View, point: tuple[int, int], model: str) -> None:
    _arrow(figure, 1, 35)
    latent = view.latents(model)[point]
    ax = _tile(figure, 1, 54, width_mm=70, height_mm=24)
    ax.bar(np.arange(1, latent.size + 1), latent, width=0.8, color="0.35")
    ax.axhline(0, color="black", lw=0.4)
    ax.set_xlim(0.2, latent.size + 0.8)
    ax.set_xlabel("latent feature")
    ax.set_ylabel("value")
    letter(ax, "", f"encoder of {model}: {latent.size} features of this pattern", SMALL_PT)
    _arrow(figure, 1, 128)
    chosen = selection.structured_features(view, model, STACKED_MAPS)
    shift = 3.0
    side = _TILE_MM - shift * (len(chosen) - 1)
    for depth, choice in reversed(list(enumerate(chosen))):
        ax = _tile(figure, 1, 140 + shift * depth, side, side)
        left, bottom, width, height = ax.get_position().bounds
        rise = (depth - (len(chosen) - 1) / 2) * shift / _HEIGHT_1_MM
        ax.set_position((left, bottom + rise, width, height))
        values = np.array(view.latents(model)[..., choice.index])
        low, high = clip_limits(values)
        ax.imshow(values, cmap=LATENT_COLOURS, vmin=low, vmax=high)
        bare(ax)
        for spine in ax.spines.values():
            spine.set(color="white", linewidth=1.2)
        figure.choices.append(f"Fig. 1B: {choice.name}: {choice.reason}")
    _mark(ax, point)
    numbers = ", ".join(str(choice.index + 1) for choice in chosen)
    ax.set_xlabel(f"maps of features {numbers}")


def _mark(ax, point: tuple[int, int]) -> None:
    ax.plot(point[1], point[0], "o", mfc="none", mec="white", mew=1.0, ms=5)
    ax.plot(point[1], point[0], "o", mfc="none", mec="black", mew=0.5, ms=6.5)


@print_style
def figure_2(study: Study) -> PaperFigure:
    """Draw the IPF-X maps with the regions of interest of the other figures."""
    scans = [selection.scan_of(study, alloy) for alloy in ("wrought", "am")]
    shown = [scan for scan in scans if scan is not None]
    views = [whole(study, scan) for scan in shown]
    height = max(_MAP_2_MM * view.shape[0] / view.shape[1] for view in views)
    figure = new_figure(min(height, 1.4 * _MAP_2_MM) + 14, layout="constrained")
    names = " and ".join(scan_label(study, scan) for scan in shown)
    figure.suptitle(f"Fig. 2  Orientation maps (IPF-X): {names}")
    grid = figure.add_gridspec(1, len(views) + 1, width_ratios=[1] * len(views) + [_KEY_SHARE])
    for position, view in enumerate(views):
        ax = figure.add_subplot(grid[position])
        show_map(ax, view.ipf_x(), view.step_um)
        for (rows, columns), panels in _boxes(figure, study, view.scan).items():
            draw_box(ax, rows, columns, " ".join(panels))
        panel = "A" if study.scan(view.scan).alloy != "am" else "B"
        share = 100 * view.indexed().mean()
        letter(ax, panel, f"{view.label}, step {view.step_um:g} µm, {share:.1f} % indexed")
    add_ipf_key(figure.add_subplot(grid[-1]))
    for panel, scan, alloy in zip("AB", scans, ("wrought", "AM"), strict=True):
        if scan is None:
            figure.missing.append(f"Fig. 2{panel}: this study has no {alloy} scan.")
    return figure


def _boxes(figure: PaperFigure, study: Study, scan: str) -> dict[tuple, list[str]]:
    """Regions of one scan; panels that share a box share its label."""
    boxes: dict[tuple, list[str]] = {}
    regions = {panel: region(study, panel, None) for panel in study.figures.regions}
    if study.figures.path_4c is not None:
        regions["4C"] = path_view(study, selection.largest_vae(study))[0]
    for panel, box in sorted(regions.items()):
        if box.scan != scan:
            continue
        boxes.setdefault((box.rows, box.columns), []).append(panel)
        given = study.figures.regions.get(panel)
        if given is not None and given.size is not None:
            (top, bottom), (left, right) = box.rows, box.columns
            place = "the box" if given.rank == 1 else f"number {given.rank} of the boxes"
            figure.choices.append(
                f"Fig. {panel}: rows {top} to {bottom - 1}, columns {left} to {right - 1} of "
                f"{scan}: {place} of this size with the highest local Moran's I inside the grains, "
                "mean of the active features"
            )
    return boxes
