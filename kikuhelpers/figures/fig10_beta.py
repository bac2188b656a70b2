"""Fig. 10: what a higher beta does to patterns."""

from string import ascii_uppercase

import numpy as np

from kikuhelpers.figures import drawing, stages, style
from kikuhelpers.latents.view import View, highest_point, names
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

PAPER_BETAS = ("1", "15", "50")
GENERATED_SHOWN = 4  # in a row
LEGEND_ROOM = 3  # factor above the highest loss
_ROW_MM = {183: 50.0, 89: 76.0}  # of one beta, by the figure's width


def draw(results: Results) -> style.PaperFigure:
    """Draw best, worst and generated patterns for each beta, and the losses."""
    study, models = results.study, roles.beta_series(results.study)
    views = [View.whole(results, scan) for scan in study.decoded_scans]
    decoded = roles.decoded_scan(study)
    title = f"Fig. 10  Best, worst and generated patterns by β: {names(views)}"
    width_mm, lines, shares = study.figures.width_mm, 2, [1, 1, 1, 1, 1.8]
    if is_narrow := width_mm < style.PAGE_MM:
        lines, shares = 3, shares[:4]  # the losses stand below the patterns
    height_mm = len(models) * _ROW_MM[width_mm] + 12
    figure = style.new_figure(height_mm, title, width_mm, "constrained")
    grid = figure.add_gridspec(lines * len(models), len(shares), width_ratios=shares)
    histories = [results.model(name).history for name in models]
    lowest = min(history["best"].min() for history in histories) / 1.2
    highest = max(history["worst"].max() for history in histories) * LEGEND_ROOM
    for row, (name, history) in enumerate(zip(models, histories, strict=True)):
        panel, upper = ascii_uppercase[row], lines * row
        tiles, limits = [], []  # of one grey scale
        for number, (kind, sign) in enumerate([("best", -1), ("worst", 1)], start=1):
            # The point of the best or the worst reconstruction of all scans.
            losses = [sign * view.losses(name) for view in views]
            at = int(np.argmax([np.nanmax(values) for values in losses]))
            view, point = views[at], highest_point(losses[at])
            text = f"{kind}, loss {view.losses(name)[point]:.0f}"
            text = text.replace(", ", ",\n") if is_narrow else text
            tiles.append((view.pattern(*point), view.mask, f"{panel}.{number}", text))
            tiles.append((view.pattern(*point, name), view.mask, "", "decoded"))
            limits.append(drawing.pattern_limits(*tiles[-2][:2]))
            place = f"{view.scan} ({point[0]}, {point[1]})"
            figure.choices.append(f"Fig. 10{panel}.{number}: {kind} of {name}: {place}")
        grey = min(low for low, _ in limits), max(high for _, high in limits)
        generated, mask = results.model_scan(name, decoded).generated, results.scan(decoded).mask
        named = [(f"{panel}.3", "from noise")] + [("", "")] * (GENERATED_SHOWN - 1)
        tiles += [(p, mask, *title) for p, title in zip(generated, named, strict=False)]
        for place, (pattern, screen, letter, text) in enumerate(tiles):
            ax = figure.add_subplot(grid[upper + place // 4, place % 4])
            drawing.show_pattern(ax, pattern, screen, grey)
            drawing.letter(ax, letter, text)
            if place % 4 == 0:
                ax.set_ylabel("generated" if place else "original")
        ax = figure.add_subplot(grid[upper + 2, :] if is_narrow else grid[upper : upper + 2, 4])
        stages.draw_losses(ax, history)
        ax.set_ylim(lowest, highest)
        drawing.label_log_axis(ax.yaxis)
        drawing.letter(ax, f"{panel}.4", f"{name} (β = {study.model(name).beta:g})")
    trained = [f"{study.model(name).beta:g}" for name in models]
    figure.note_lacking("Fig. 10: β = {} was not trained at this dimension.", PAPER_BETAS, trained)
    return figure
