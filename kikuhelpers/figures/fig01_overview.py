"""Fig. 1: the two routes from a pattern to a map, on the study's own data."""

from textwrap import fill

import numpy as np
from matplotlib.patches import FancyArrow
from orix.vector import Vector3d
from scipy.ndimage import gaussian_filter
from skimage.transform import radon

from kikuhelpers.figures import drawing, style
from kikuhelpers.latents.features import structured_features
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

STACKED_MAPS = 5
BRIGHTNESS_PX = 8.0  # standard deviation of the smoothing that leaves brightness only
_HEIGHT_MM = {183: 92.0, 89: 172.0}  # by width
_TILE_MM = 34.0  # side of a square picture
_FOLD_MM = 96.0  # from here on a route goes on in a second line of a column
_LONGEST_MM, _NARROW = 40.0, 0.9  # picture of a column, and its sizes over those of a page
_SHIFT_MM = 3.0  # from one stacked map to the next


def draw(results: Results) -> style.PaperFigure:
    """Draw the two routes from a pattern to a map: physics (A) and latent space (B)."""
    view = View.whole(results, roles.decoded_scan(results.study))
    model = roles.largest_vae(results.study)
    point = view.typical_point(model)
    width_mm = results.study.figures.width_mm
    figure = style.new_figure(_HEIGHT_MM[width_mm], width_mm=width_mm, layout="none")
    title = f"Fig. 1  From pattern to map by physics (A) and by latent space (B): {view.label}"
    figure.suptitle(fill(title, int(width_mm / style.LETTER_MM)), x=0.01, ha="left")
    pattern, where = view.pattern(*point), f"({point[0]}, {point[1]})"
    for row, panel in enumerate("AB"):
        ax = _tile(figure, row, 0.0)
        drawing.show_pattern(ax, pattern, view.mask)
        drawing.letter(ax, panel, f"pattern at {where}", style.TEXT_PT)
    _draw_physics(figure, view, point, pattern)
    _draw_latent_space(figure, view, point, model)
    figure.choices.append(f"Fig. 1: pattern {where} has the median loss of {model}")
    return figure


def _tile(figure, row: int, left_mm: float, width_mm: float = _TILE_MM, height_mm=_TILE_MM):
    page, scale, head = figure.get_size_inches() / style.INCH_PER_MM, 1.0, 12
    if page[0] < style.PAGE_MM:
        line, left_mm = divmod(left_mm, _FOLD_MM)
        row, width_mm = 2 * row + line, min(width_mm, _LONGEST_MM)
        scale, head = _NARROW, 16  # its title takes two lines
    top = row * (_TILE_MM + 9) + (_TILE_MM - height_mm) / 2
    place = np.array([left_mm, -top - height_mm, width_mm, height_mm]) * scale
    place[:2] += 2, page[1] - head
    return figure.add_axes(tuple(place / np.tile(page, 2)))


def _arrow(figure, row: int, left_mm: float) -> None:
    ax = _tile(figure, row, left_mm, width_mm=9, height_mm=6)
    ax.set_axis_off()
    ax.set(xlim=(0, 9), ylim=(-3, 3))
    shape = {"width": 0.7, "head_width": 2.4, "head_length": 2.4, "length_includes_head": True}
    ax.add_patch(FancyArrow(0.5, 0, 8, 0, color="0.3", lw=0, **shape))


def _draw_physics(figure, view: View, point: tuple[int, int], pattern: np.ndarray) -> None:
    for left_mm in (35, 84, 133):
        _arrow(figure, 0, left_mm)
    bands, orientation, place = (_tile(figure, 0, left_mm) for left_mm in (48, 96, 145))

    lines = _band_transform(pattern, view.mask)
    limits = drawing.clip_limits(lines.compressed())
    drawing.show_pattern(bands, lines.data, ~lines.mask, limits)
    bands.set(aspect="auto", xlabel="angle θ (0° to 180°)", ylabel="distance ρ")
    drawing.letter(bands, "", "bands: peaks of the Radon transform")

    xmap = view.orientations()
    rotation = xmap.rotations[np.ravel_multi_index(point, xmap.shape)]
    key = drawing.add_ipf_key(orientation, xmap)
    key.scatter(rotation * Vector3d.xvector(), c="black", s=14, ec="white", lw=0.6)
    euler = ", ".join(f"{angle:.0f}°" for angle in np.rad2deg(rotation.to_euler()).ravel())
    drawing.letter(orientation, "", f"orientation: Euler {euler}")

    drawing.show_map(place, view.ipf_x(), view.step_um)
    drawing.mark_point(place, "", *point)
    drawing.letter(place, "", "map of orientations")


def _band_transform(pattern: np.ndarray, mask: np.ndarray) -> np.ma.MaskedArray:
    """Radon transform of a pattern (h, w) without its smooth part, which outshines the bands."""
    angles, inside = np.arange(180.0), mask.astype(float)
    # Mean along each line: sums would only show how long the lines are.
    length = radon(inside, angles, circle=False)
    weight = np.maximum(gaussian_filter(inside, BRIGHTNESS_PX), 1e-6)
    bands = (pattern - gaussian_filter(pattern * inside, BRIGHTNESS_PX) / weight) * inside
    lines = radon(bands, angles, circle=False) / np.maximum(length, 1)
    used = length > 0.2 * length.max()
    rows = np.flatnonzero(used.any(axis=1))
    return np.ma.masked_where(~used, lines)[rows[0] : rows[-1] + 1]


def _draw_latent_space(figure, view: View, point: tuple[int, int], model: str) -> None:
    _arrow(figure, 1, 35)
    latent = view.latents(model)[point]
    ax = _tile(figure, 1, 54, width_mm=70, height_mm=24)
    ax.bar(np.arange(latent.size), latent, width=0.8, color="0.35")
    ax.axhline(0, color="black", lw=0.4)
    ax.set(xlim=(-0.8, latent.size - 0.2), xlabel="latent feature", ylabel="value")
    drawing.letter(ax, "", f"encoder of {model}: {latent.size} features of this pattern")

    _arrow(figure, 1, 128)
    chosen = structured_features(view, model, STACKED_MAPS)
    stack, shift = _tile(figure, 1, 140), _SHIFT_MM / _TILE_MM
    stack.set_axis_off()
    side, colours = 1 - shift * (len(chosen) - 1), view.results.study.figures.colours
    look = colours.get(drawing.LATENT_COLOURS, drawing.LATENT_COLOURS)
    for depth, choice in reversed(list(enumerate(chosen))):
        ax = stack.inset_axes((shift * depth, shift * depth, side, side))
        values = choice.map_of(view)
        drawing.show_pattern(ax, values, np.isfinite(values), drawing.clip_limits(values), look)
        for spine in ax.spines.values():
            spine.set(color="white", linewidth=1.2)
        figure.note_choice("1B", choice)
    drawing.mark_point(ax, "", *point)
    numbers = ", ".join(str(choice.index) for choice in chosen)
    ax.set_xlabel(f"maps of features {numbers}")
