"""The truth of a virtual specimen as one more panel beside the maps."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap

from kikuhelpers.figures.drawing import DENSITY_COLOURS, letter, show_map
from kikuhelpers.figures.style import SMALL_PT, PaperFigure
from kikuhelpers.figures.views import View
from kikuhelpers.layout import Layout
from kikuhelpers.specimen_settings import PHASES

DOMAIN_COLOUR = "#5cc8ff"
PARTICLE_COLOUR = "#7dff5c"
_PATH_COLOUR = "#b5367a"  # from the colours of the density
_WORDS = "truth: log10 of dislocation density\nblue: domains, twins; green: particles"


def truth_is_known(figure: PaperFigure, number: int, views: list[View]) -> bool:
    """Tell whether any view has its truth; note in the figure where that of a virtual one lacks."""
    virtual = {view.scan: view for view in views if view.study.is_virtual(view.scan)}
    there = {scan: Layout(view.study).scan(scan).truth.is_file() for scan, view in virtual.items()}
    figure.missing.extend(
        f"Fig. {number}: the truth of virtual scan '{scan}' is not there: run notebook 01."
        for scan, known in there.items()
        if not known
    )
    return any(there.values())


def show_truth(ax, view: View, panel: str = "") -> None:
    """Draw dislocation density, the boundaries of domains and the particles of a view.

    Without a truth the axes are left empty.
    """
    if not Layout(view.study).scan(view.scan).truth.is_file():
        ax.set_axis_off()
        return
    show_map(ax, np.log10(view.truth("density")), view.step_um, DENSITY_COLOURS)
    particles = view.truth("phase") != PHASES.index("Ni")
    ax.imshow(np.ma.masked_equal(particles, False), cmap=ListedColormap([PARTICLE_COLOUR]))
    lines = boundary_lines(np.where(particles, -1, view.truth("domain")))
    ax.add_collection(LineCollection(lines, colors=DOMAIN_COLOUR, lw=0.4, rasterized=True))
    letter(ax, panel, _WORDS, SMALL_PT)


def draw_truth_along(ax, view: View, points: np.ndarray, distance: np.ndarray) -> None:
    """Draw the true dislocation density along a path, and where it leaves a domain.

    Parameters
    ----------
    ax
        Axes that hold a feature against the distance.
    view
        Around the path.
    points
        (n, 2) rows and columns in the view.
    distance
        (n,) in micrometres.
    """
    density, domain = (view.truth(name)[tuple(points.T)] for name in ("density", "domain"))
    other = ax.twinx()
    other.semilogy(distance, density, color=_PATH_COLOUR, lw=0.8, ls="--")
    other.set_ylabel("true density (dashed)", color=_PATH_COLOUR)
    for here in np.flatnonzero(np.diff(domain)):
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
