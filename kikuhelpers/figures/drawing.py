"""What all figures share: a map with its scale bar, a pattern, a colour bar, a letter."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from kikuhelpers.figures.style import SMALL_PT
from kikuhelpers.study import LATENT_DIMENSIONS

LATENT_COLOURS = "viridis"
ANGLE_COLOURS = "inferno"  # GROD and KAM
QUALITY_COLOURS = "cividis"  # IQ and sharpness
DIFFERENCE_COLOURS = "RdBu_r"
DENSITY_COLOURS = "magma"  # of dislocations
_FROM_DARK = colormaps["viridis"]([0, 0.25, 0.5, 0.7, 0.9])
DIMENSION_COLOURS = dict(zip(LATENT_DIMENSIONS, _FROM_DARK, strict=True))
CLIP_PERCENT = (1.0, 99.0)  # of a map's values, so that a few outliers do not set its colours
PATTERN_CLIP_PERCENT = (0.5, 99.5)
IPF_X = "IPF-X (X up)"
# Title of each physical map, of two lines with its unit, and its colours.
MAPS = {
    "pq": ("IQ (pq)\n", QUALITY_COLOURS),
    "grod_deg": ("GROD (°)\n", ANGLE_COLOURS),
    "kam_deg": ("KAM (°)\n", ANGLE_COLOURS),
    "sharpness": ("sharpness (fraction)\n", QUALITY_COLOURS),
    "mean_counts": ("mean intensity\n(counts)", QUALITY_COLOURS),
    "iq_counts": ("IQ (pq, counts)\ncamera's scale", QUALITY_COLOURS),
    "rotation_deg": ("rotation in grain (°)\nprincipal axis", DIFFERENCE_COLOURS),
    "iq_per_noise": ("IQ / noise (pq)\n", QUALITY_COLOURS),
    "sharpness_map": ("sharpness (fraction)\ncamera's scale", QUALITY_COLOURS),
    "std_counts": ("standard deviation\n(counts)", QUALITY_COLOURS),
    "noise": ("noise\n(half range = 1)", QUALITY_COLOURS),
    "noise_counts": ("noise (counts)\ncamera's scale", QUALITY_COLOURS),
    "fit": ("fit of the bands (°)\n", ANGLE_COLOURS),
    "ci": ("CI\n", QUALITY_COLOURS),
    "misorientation_deg": ("misorientation (°)\ndecoded to measured", ANGLE_COLOURS),
    "IPF-X": (f"{IPF_X}\n", ""),
}

KEY_MM = 43.0  # height of a colour key with its labels
_BAR_FRACTION = 0.35  # a scale bar is at most this part of the map's width
_OUTLINE = [withStroke(linewidth=1.5, foreground="black")]


def clip_limits(values: np.ndarray, percent=CLIP_PERCENT) -> tuple[float, float]:
    """Return the colour limits of a map: percentiles of its finite values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, percent)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def show_map(ax: Axes, values: np.ndarray, step_um: float, colours=LATENT_COLOURS, limits=None):
    """Draw a map (rows, columns) with its scale bar; points without a value are black.

    ``limits`` are the lowest and highest value, by default the map's 1 and 99 % quantiles. Values
    (rows, columns, 3) are colours in [0, 1], and need neither limits nor a colour map.
    """
    if values.ndim == 3:
        image = ax.imshow(values)
    else:
        low, high = limits or clip_limits(values)
        cmap = colormaps.get_cmap(colours).with_extremes(bad="black")
        image = ax.imshow(np.ma.masked_invalid(values), cmap=cmap, vmin=low, vmax=high)
    bare(ax)
    _draw_scale_bar(ax, values.shape[:2], step_um)
    return image


def bare(ax: Axes) -> None:
    """Take away ticks, keep the frame."""
    ax.set(xticks=[], yticks=[])


def _bar_length_um(width_um: float) -> float:
    """Return the largest of 1, 2, 5 x 10^k that fits into a map of this width."""
    room = _BAR_FRACTION * width_um
    decade = 10.0 ** np.floor(np.log10(room))
    return float(max(digit * decade for digit in (1, 2, 5) if digit * decade <= room))


def _draw_scale_bar(ax: Axes, shape: tuple[int, int], step_um: float) -> Rectangle:
    """Draw a bar with its length in the lower left corner of a map of (rows, columns) points."""
    rows, columns = shape
    length_um = _bar_length_um(columns * step_um)
    left, bottom = 0.05 * columns - 0.5, rows - 0.5 - 0.05 * max(rows, columns)
    size = length_um / step_um, 0.018 * max(rows, columns)
    bar = ax.add_patch(Rectangle((left, bottom), *size, fc="white", ec="black", lw=0.4))
    _write(ax, f"{length_um:g} µm", (left, bottom), (0, 1.5), va="bottom")
    return bar


def draw_box(ax: Axes, rows: tuple[int, int], columns: tuple[int, int], label: str = "") -> None:
    """Draw a dashed box around points [first, last) of a map, its label inside on top."""
    corner = (columns[0] - 0.5, rows[0] - 0.5)
    size = (columns[1] - columns[0], rows[1] - rows[0])
    for colour, style in (("black", "solid"), ("white", (0, (2, 2)))):
        ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, ls=style, lw=0.9))
    _write(ax, label, corner, (1.5, -1.5), fontweight="bold", va="top")


def mark_point(ax: Axes, label: str, row: int, column: int) -> None:
    """Draw a ring around a point of a map, its label beside it."""
    ax.plot(column, row, "o", mfc="none", mec="white", ms=4, mew=0.8)
    up_pt = 3 if row > np.mean(ax.get_ylim()) else -9  # so that the label stays on the map
    _write(ax, label, (column, row), (3, up_pt), fontweight="bold")


def show_pattern(ax: Axes, pattern, mask, limits=None, colours="gray") -> AxesImage:
    """Draw one pattern (h, w), white outside the mask (h, w), by default between its own limits."""
    low, high = limits or pattern_limits(pattern, mask)
    cmap = colormaps.get_cmap(colours).with_extremes(bad="white")
    image = ax.imshow(np.ma.array(pattern, mask=~mask), cmap=cmap, vmin=low, vmax=high)
    bare(ax)
    return image


def pattern_limits(pattern: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Return the grey limits of a pattern; the same go to all that are compared with it."""
    return clip_limits(pattern[mask], PATTERN_CLIP_PERCENT)


def add_colour_bar(image: AxesImage, axes, label: str = "", orientation: str = "horizontal"):
    """Add a thin colour bar to one or several axes; a picture of colours has its room alone."""
    figure = np.ravel(axes)[0].figure
    look = {"aspect": 25, "pad": 0.02, "shrink": 0.9, "ticks": MaxNLocator(3), "label": label}
    bar = figure.colorbar(image, ax=axes, orientation=orientation, **look)
    bar.outline.set_linewidth(0.4)
    bar.ax.set_visible(image.get_array().ndim == 2)
    return bar


def label_log_axis(axis: Axis) -> None:
    """Label 1 and 3 of each decade of a logarithmic axis as numbers: 30, and not 3x10^1."""
    axis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:g}")
    axis.set_minor_formatter(NullFormatter())


def letter(ax: Axes, panel: str, text: str = "", size_pt: float = SMALL_PT) -> None:
    """Write the bold panel letter and a few words above an axes."""
    bold = rf"$\bf{{{panel}}}$ " if panel else ""
    ax.set_title(bold + text.replace("$", r"\$"), loc="left", fontsize=size_pt, wrap=True)


def add_ipf_key(host: Axes, xmap):
    """Draw the colour key of a map's first phase inside empty axes; return the key's own axes."""
    # Late: a notebook without orientations needs no orix.
    from kikuhelpers.indexing.orientation_maps import point_groups

    host.set_axis_off()
    room_for_labels = (0.1, 0.22, 0.8, 0.62)
    group = next(iter(point_groups(xmap).values()), None)
    key = host.inset_axes(room_for_labels, projection="ipf", symmetry=group)
    key.set_in_layout(False)  # its labels stay inside the host; the layout need not know
    key.plot_ipf_color_key(show_title=False)
    for text in key.texts:
        text.set_fontsize(SMALL_PT)
    below = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
    key.annotate(IPF_X, (0.5, 0), (0, -12), va="top", fontsize=SMALL_PT, **below)
    return key


def ipf_key(xmap) -> np.ndarray:
    """Return the colour key of a map's first phase as a small picture (h, w, 3) uint8."""
    canvas = FigureCanvasAgg(Figure(figsize=(1.8, 1.6), dpi=200))
    add_ipf_key(canvas.figure.add_axes((0, 0, 1, 1)), xmap)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _write(ax: Axes, text: str, point, offset_pt, **style) -> None:
    look = {"color": "white", "fontsize": SMALL_PT, "path_effects": _OUTLINE} | style
    ax.annotate(text, point, offset_pt, textcoords="offset points", **look)
