"""Fig. 8: one pattern through VAEs of each dimension."""

from itertools import pairwise

import numpy as np

from kikuhelpers.figures import drawing, style
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import LATENT_DIMENSIONS, roles

DIFFERENCE_PERCENT = 99.5  # of all differences, the end of their common scale
_LARGEST_TILE_MM = 38.0
_BAR_PLACE = (0.05, 0.5, 0.9, 0.07)  # of the colour bar in its axes


def draw(results: Results) -> style.PaperFigure:
    """Draw one pattern decoded by each VAE, and the differences to the input and of each other."""
    study, models = results.study, roles.vaes(results.study)
    if not models:
        return style.dropped_figure("Fig. 8: this study has no conventional VAE.")
    view = View.whole(results, roles.decoded_scan(study))
    point, mask = view.typical_point(models[-1]), view.mask
    original = view.pattern(*point)
    decoded = {f"{study.model(name).latent_dim}-D": view.pattern(*point, name) for name in models}
    to_input = {f"{name} − input": pattern - original for name, pattern in decoded.items()}
    successive = {f"{b} − {a}": decoded[b] - decoded[a] for a, b in pairwise(decoded)}
    every = np.stack([*to_input.values(), *successive.values()])
    limit = float(np.percentile(np.abs(every[:, mask]), DIFFERENCE_PERCENT)) or 1.0
    grey, scale = drawing.pattern_limits(original, mask), (-limit, limit)

    lines = {"A": to_input, "B": dict(zip(models, decoded.values(), strict=True)), "C": successive}
    lines = {panel: tiles for panel, tiles in lines.items() if tiles}
    shape, width_mm = (len(lines), len(models) + 1), study.figures.width_mm
    turn = -1 if width_mm < style.PAGE_MM else 1  # -1: rows are columns
    rows, columns = shape[::turn]
    tile_mm = min(width_mm / columns, _LARGEST_TILE_MM) + 4
    where, typical = f"point ({point[0]}, {point[1]})", f"median loss of {models[-1]}"
    title = f"Fig. 8  One pattern through each VAE: {view.label}, {where}, {typical}"
    figure = style.new_figure(rows * tile_mm + 6, title, width_mm, "constrained")
    figure.choices.append(f"Fig. 8: {where} has the {typical}")
    grid = figure.add_gridspec(rows, columns)
    ax = figure.add_subplot(grid[(1, 0)[::turn]])
    drawing.show_pattern(ax, original, mask, grey)
    drawing.letter(ax, "", "input")
    for row, (panel, tiles) in enumerate(lines.items()):
        for number, (title, values) in enumerate(tiles.items(), start=1):
            ax = figure.add_subplot(grid[(row, number + (panel == "C"))[::turn]])
            if panel == "B":
                drawing.show_pattern(ax, values, mask, grey)
            else:
                image = drawing.show_pattern(ax, values, mask, scale, drawing.DIFFERENCE_COLOURS)
                title += f"\nRMS {np.sqrt(np.mean(values[mask] ** 2)):.3f}"
            drawing.letter(ax, f"{panel}.{number}", title)
    place = figure.add_subplot(grid[0, 0])
    place.set_axis_off()
    bar = figure.colorbar(image, cax=place.inset_axes(_BAR_PLACE), orientation="horizontal")
    bar.set_label("difference,\none scale for A and C")
    wanted = [f"{dimension}-D" for dimension in LATENT_DIMENSIONS]
    figure.note_lacking("Fig. 8: no {} VAE in this study.", wanted, decoded)
    return figure
