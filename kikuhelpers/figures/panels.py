"""Rows of maps: latent features, what physics makes of the same field, and the truth."""

from dataclasses import dataclass

import numpy as np

from kikuhelpers.figures import drawing
from kikuhelpers.figures.style import PAGE_MM, PaperFigure, new_figure
from kikuhelpers.figures.truth_panel import show_truth
from kikuhelpers.latents.features import Choice
from kikuhelpers.latents.view import View

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


@dataclass(frozen=True)
class Panel:
    """One map of a figure.

    Parameters
    ----------
    letter
        As in the paper, for example "A.1".
    view
        The field that is drawn.
    shown
        A latent feature, a name of ``PHYSICAL_MAPS``, or ``ORIENTATIONS``.
    """

    letter: str
    view: View
    shown: Choice | str

    def draw(self, ax, bar: bool = False) -> None:
        """Draw the map with its title, and a colour ``bar`` below it if wanted."""
        if isinstance(self.shown, Choice):
            values, colours = self.shown.map_of(self.view), drawing.LATENT_COLOURS
            title = f"{self.shown.name}\n{self.shown.reason}"
        elif self.shown == ORIENTATIONS:
            values, colours, title = self.view.ipf_x(), None, "IPF-X, same field\n"
        else:
            title, colours = PHYSICAL_MAPS[self.shown]
            values, title = self.view.property_map(self.shown), f"{title}\n"
        image = drawing.show_map(ax, values, self.view.step_um, colours)
        drawing.letter(ax, self.letter, title)
        if bar:
            drawing.add_colour_bar(image, ax)


def note_choice(figure: PaperFigure, panel: str, choice: Choice) -> None:
    """Write down which feature a panel, for example "4A", shows and why."""
    figure.choices.append(f"Fig. {panel}: {choice.name}: {choice.reason}")


def row_mm(views: list[View], columns: int, extra_mm: float) -> float:
    """Height of a row of maps of equal width that fill the page."""
    tallest = max(view.shape[0] / view.shape[1] for view in views)
    return (PAGE_MM / columns - 2) * min(tallest, _TALLEST) + extra_mm


def draw_rows(
    number: int, title: str, rows: list[list[Panel]], bars: bool = False
) -> tuple[PaperFigure, np.ndarray]:
    """Draw a figure of rows of maps; beside latent features of virtual scans stands the truth.

    Parameters
    ----------
    number, title
        Of the figure.
    rows
        As many panels in each row, all of one view.
    bars
        With a colour bar below each map and the name of its scan beside each row.

    Returns
    -------
    figure : PaperFigure
        Its ``choices`` name each latent feature once.
    axes : numpy.ndarray
        (rows, columns).
    """
    views = [row[0].view for row in rows]
    columns = len(rows[0]) + any(view.is_virtual for view in views)
    extra_mm = TITLE_MM + BAR_MM * bars
    heights = [row_mm([view], max(columns, 2), extra_mm) for view in views]
    figure = new_figure(sum(heights) + 6, f"Fig. {number}  {title}")
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    noted: set[Choice] = set()
    for line, row, view in zip(axes, rows, views, strict=True):
        for ax, panel in zip(line, row, strict=False):
            panel.draw(ax, bars)
            if isinstance(panel.shown, Choice) and panel.shown not in noted:
                note_choice(figure, f"{number}{panel.letter}", panel.shown)
                noted.add(panel.shown)
        if bars:
            line[0].set_ylabel(view.label, fontsize=drawing.SMALL_PT)
        for ax in line[len(row) :]:
            if isinstance(row[0].shown, Choice):
                show_truth(ax, view, bars)
            else:
                ax.set_axis_off()
    return figure, axes
