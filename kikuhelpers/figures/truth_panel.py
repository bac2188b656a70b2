"""The truth of a virtual specimen as one more panel beside the maps.

A virtual specimen is known between the points of its scan too, so it is drawn finer than the
scan: cell walls are often thinner than a step.
"""

from functools import lru_cache

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.ticker import LogLocator, NullFormatter

from kikuhelpers.figures.drawing import DENSITY_COLOURS, add_colour_bar, letter, show_map
from kikuhelpers.latents.view import View
from kikuhelpers.scans.virtual.specimen import State, VirtualSpecimen
from kikuhelpers.study.scans import VirtualData
from kikuhelpers.study.specimen import PHASES

DRAWN_POINTS = 240  # along the longer side of a map, at least
PATH_POINTS = 500
DOMAIN_COLOUR = "#5cc8ff"
PARTICLE_COLOUR = "#7dff5c"
_PATH_COLOUR = "#b5367a"  # from the colours of the density
_WORDS = "truth: log10 density, annealed 0;\nboundaries blue, particles green"


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
    state = _state(view, grid.reshape(-1, 2))
    shape = grid.shape[:2]
    density, domain = state.density.reshape(shape), state.domain.reshape(shape)
    particles = state.phase.reshape(shape) != PHASES.index("Ni")
    image = show_map(ax, np.log10(density), view.step_um / finer, DENSITY_COLOURS)
    ax.imshow(np.ma.masked_equal(particles, False), cmap=ListedColormap([PARTICLE_COLOUR]))
    lines = boundary_lines(np.where(particles, -1, domain))
    look = {"colors": DOMAIN_COLOUR, "lw": 0.5, "rasterized": True, "zorder": 0.5}
    ax.add_collection(LineCollection(lines, **look))
    letter(ax, "", _WORDS)
    if bar:
        add_colour_bar(image, ax)


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
