"""Maps as panels: latent features, what physics makes of the same field, and the truth.

A virtual specimen is known between the points of its scan too, so its truth is drawn finer than
the scan: cell walls are often thinner than a step.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.ticker import LogLocator, NullFormatter

from kikuhelpers.figures import drawing, style
from kikuhelpers.latents.features import Choice
from kikuhelpers.latents.view import View
from kikuhelpers.scans.virtual.specimen import State, VirtualSpecimen
from kikuhelpers.study.scans import VirtualData
from kikuhelpers.study.specimen import PHASES

# Property of the orientation map, its title with unit, its colours.
PHYSICAL_MAPS = {
    "pq": ("IQ (pq, arb. units)", drawing.QUALITY_COLOURS),
    "grod_deg": ("GROD (°)", drawing.ANGLE_COLOURS),
    "kam_deg": ("KAM (°)", drawing.ANGLE_COLOURS),
    "sharpness": ("sharpness (fraction)", drawing.QUALITY_COLOURS),
}
ORIENTATIONS = "ipf_x"
TITLE_MM = 9.0  # two lines above a map
BAR_MM = 7.0  # colour bar below a map
_TALLEST = 1.6  # height of a map, relative to its width

DRAWN_POINTS = 240  # of the truth, along the longer side of a map, at least
PATH_POINTS = 500
DOMAIN_COLOUR = "#5cc8ff"
PARTICLE_COLOUR = "#7dff5c"
_PATH_COLOUR = "#b5367a"  # from the colours of the density


def draw_map(ax, panel: str, view: View, shown: Choice | str, bar: bool = False) -> None:
    """Draw one map of a view with its title, and a colour ``bar`` below it if wanted.

    Parameters
    ----------
    ax
        Axes to fill.
    panel
        Letter of the panel as in the paper, for example "A.1".
    view
        The field that is drawn.
    shown
        A latent feature, a name of ``PHYSICAL_MAPS``, or ``ORIENTATIONS``.
    bar
        Whether a colour bar stands below the map.
    """
    if isinstance(shown, Choice):
        values, colours = shown.map_of(view), drawing.LATENT_COLOURS
        title = f"{shown.name}\n{shown.reason}"
    elif shown == ORIENTATIONS:
        values, colours, title = view.ipf_x(), None, "IPF-X, same field\n"
    else:
        values, (title, colours) = view.property_map(shown), PHYSICAL_MAPS[shown]
        title += "\n"
    image = drawing.show_map(ax, values, view.step_um, colours)
    drawing.letter(ax, panel, title)
    if bar:
        drawing.add_colour_bar(image, ax)


def row_mm(views: Collection[View], columns: int, extra_mm: float) -> float:
    """Height of a row of maps of equal width that fill the page."""
    tallest = max(view.shape[0] / view.shape[1] for view in views)
    return (style.PAGE_MM / columns - 2) * min(tallest, _TALLEST) + extra_mm


def numbered(letter: str, maps: Iterable[Choice | str]) -> dict[str, Choice | str]:
    """Name the panels of a row of maps: A.1, A.2 and so on."""
    return {f"{letter}.{number}": shown for number, shown in enumerate(maps, start=1)}


def draw_rows(
    number: int, title: str, rows: list[tuple[View, dict[str, Choice | str]]], bars: bool = False
) -> tuple[style.PaperFigure, np.ndarray]:
    """Draw a figure of rows of maps; beside latent features of virtual scans stands the truth.

    Parameters
    ----------
    number, title
        Of the figure.
    rows
        Of each row its view and what :func:`draw_map` shows of it, by panel; as many in each row.
    bars
        With a colour bar below each map and the name of its scan beside each row.

    Returns
    -------
    figure : PaperFigure
        Its ``choices`` name each latent feature once.
    axes : numpy.ndarray
        (rows, columns).
    """
    columns = len(rows[0][1]) + any(view.is_virtual for view, _ in rows)
    extra_mm = TITLE_MM + BAR_MM * bars
    heights = [row_mm([view], max(columns, 2), extra_mm) for view, _ in rows]
    figure = style.new_figure(sum(heights) + 6, f"Fig. {number}  {title}")
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    noted = set()
    for line, (view, maps) in zip(axes, rows, strict=True):
        for ax, (panel, shown) in zip(line, maps.items(), strict=False):
            draw_map(ax, panel, view, shown, bars)
            if isinstance(shown, Choice) and shown not in noted:
                figure.note_choice(f"{number}{panel}", shown)
                noted.add(shown)
        if bars:
            line[0].set_ylabel(view.label, fontsize=style.SMALL_PT)
        for ax in line[len(maps) :]:
            if isinstance(next(iter(maps.values())), Choice):
                show_truth(ax, view, bars)
            else:
                ax.set_axis_off()
    return figure, axes


def show_truth(ax, view: View, bar: bool = False) -> None:
    """Draw dislocation density, the boundaries of domains and the particles of a view.

    With a colour ``bar`` of the density, where the neighbours have one. Of a measured scan the
    axes are left empty.
    """
    if not view.is_virtual:
        ax.set_axis_off()
        return
    finer = -(-DRAWN_POINTS // max(view.shape))
    rows, columns = (
        start + (np.arange(finer * size) + 0.5) / finer - 0.5
        for (start, _), size in zip((view.rows, view.columns), view.shape, strict=True)
    )
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    state, shape = _state(view, grid.reshape(-1, 2)), grid.shape[:2]
    density, domain = state.density.reshape(shape), state.domain.reshape(shape)
    particles = state.phase.reshape(shape) != PHASES.index("Ni")
    colours = drawing.DENSITY_COLOURS
    image = drawing.show_map(ax, np.log10(density), view.step_um / finer, colours)
    ax.imshow(np.ma.masked_equal(particles, False), cmap=ListedColormap([PARTICLE_COLOUR]))
    lines = boundary_lines(np.where(particles, -1, domain))
    look = {"colors": DOMAIN_COLOUR, "lw": 0.5, "rasterized": True, "zorder": 0.5}
    ax.add_collection(LineCollection(lines, **look))
    drawing.letter(ax, "", "truth: log10 density, annealed 0;\nboundaries blue, particles green")
    if bar:
        drawing.add_colour_bar(image, ax)


def draw_truth_along(ax, view: View, points: np.ndarray) -> None:
    """Draw the true dislocation density along a straight path, and where it leaves a domain.

    Parameters
    ----------
    ax
        Axes that hold a feature against the distance from the first point in micrometres.
    view
        Of the scan.
    points
        (n, 2) rows and columns in the scan.
    """
    first, last = points[0], points[-1]
    share = np.linspace(0, 1, PATH_POINTS)
    distance = share * np.linalg.norm((last - first) * view.step_um)
    state = _state(view, first + share[:, None] * (last - first))
    other = ax.twinx()
    other.semilogy(distance, state.density, color=_PATH_COLOUR, lw=0.8, ls="--")
    other.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    other.yaxis.set_major_formatter("{x:g}")
    other.yaxis.set_minor_formatter(NullFormatter())
    other.set_ylabel("true density", color=_PATH_COLOUR)
    for here in np.flatnonzero(np.diff(state.domain)):
        ax.axvline(distance[here : here + 2].mean(), color=DOMAIN_COLOUR, lw=0.8, zorder=0)


def boundary_lines(labels: np.ndarray) -> np.ndarray:
    """Return the edges between points of different labels; label -1 has none.

    Parameters
    ----------
    labels
        (rows, columns).

    Returns
    -------
    numpy.ndarray
        (n, 2, 2): both ends of each edge as (x, y), in points.
    """
    lines = []
    for axis, along in ((1, [(0.5, -0.5), (0.5, 0.5)]), (0, [(-0.5, 0.5), (0.5, 0.5)])):
        here, there = (np.moveaxis(labels, axis, 0)[part] for part in (slice(-1), slice(1, None)))
        apart = np.moveaxis((here != there) & (here != -1) & (there != -1), 0, axis)
        rows, columns = np.nonzero(apart)
        lines.append(np.stack([columns, rows], axis=1)[:, None] + np.array(along))
    return np.concatenate(lines)


def _state(view: View, points: np.ndarray) -> State:
    """Truth at (n, 2) rows and columns of a view's scan, which need not be whole."""
    data = view.results.study.scan(view.scan).data
    return _specimen(data.model_dump_json()).at(data.origin_um + data.step_um * points)


@lru_cache(maxsize=4)
def _specimen(data: str) -> VirtualSpecimen:
    settings = VirtualData.model_validate_json(data)  # which cannot be told apart by a hash
    return VirtualSpecimen(settings.specimen, settings.seed)
