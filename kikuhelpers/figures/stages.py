"""Plots of the stage notebooks 01 to 06: what a stage read and what it made."""

import numpy as np
import pandas as pd

from kikuhelpers.figures import drawing, style

# Columns of a training's history and their labels.
_LOSSES = {"worst": ("worst", "C3"), "reconstruction": ("mean", "0.6"), "best": ("best", "C0")}
_TERMS = {"kl": "KL (nats)", "active_units": "active latent features", "contrastive": "NT-Xent"}
_ROW_MM = 40.0
_CURVE_MM = 55.0
_CAPTION_MM = 8.0
_PER_ROW = 5


@style.print_style
def pattern_row(patterns: dict[str, np.ndarray], mask=None) -> style.PaperFigure:
    """Draw patterns (h, w) by title, grey from their own 0.5 to 99.5 % inside the mask."""
    figure, axes = _grid(len(patterns))
    for ax, (title, pattern) in zip(axes, patterns.items(), strict=True):
        inside = np.ones(pattern.shape, bool) if mask is None else mask
        drawing.show_pattern(ax, pattern, inside)
        drawing.letter(ax, "", title, style.TEXT_PT)
    return figure


@style.print_style
def map_row(
    maps: dict[str, np.ndarray], step_um: float, colours=drawing.LATENT_COLOURS, title: str = ""
) -> style.PaperFigure:
    """Draw maps (rows, columns[, 3]) by title, or name, with a colour bar and a scale bar each."""
    figure, axes = _grid(len(maps), title)
    for ax, (name, values) in zip(axes, maps.items(), strict=True):
        image = drawing.show_map(ax, values, step_um, colours)
        named, _ = drawing.MAPS.get(name, (name, ""))
        drawing.letter(ax, "", named.strip(), style.TEXT_PT)
        drawing.add_colour_bar(image, ax)
    return figure


@style.print_style
def loss_curves(history: pd.DataFrame, title: str) -> style.PaperFigure:
    """Draw the loss terms over the presentations, with the best and the worst pattern's."""
    figure = style.new_figure(_CURVE_MM, title)
    left, right = figure.subplots(1, 2)
    draw_losses(left, history)
    for column, label in _TERMS.items():
        if column != "contrastive" or history[column].any():
            right.plot(history["presentations"] / 1000, history[column], label=label)
    right.set_xlabel("patterns shown (thousands)")
    right.legend()
    return figure


def draw_losses(ax, history: pd.DataFrame) -> None:
    """Draw the worst, the mean and the best pattern's loss over the presentations."""
    for column, (label, colour) in _LOSSES.items():
        ax.plot(history["presentations"] / 1000, history[column], color=colour, label=label)
    ax.set(yscale="log", xlabel="patterns shown (thousands)", ylabel="reconstruction loss")
    ax.legend(loc="upper center", ncols=3, columnspacing=1.0, handlelength=1.5)


def _grid(count: int, title: str = ""):
    """A figure with so many axes, at most five in a row."""
    columns = min(_PER_ROW, max(count, 1))
    rows = max(1, -(-count // columns))
    figure = style.new_figure(rows * _ROW_MM + _CAPTION_MM, title)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for ax in axes[count:]:
        ax.set_visible(False)
    return figure, axes[:count]
