"""Fig. 4: latent maps of both alloys, and the patterns along a path across a cell wall."""

import numpy as np

from kikuhelpers.figures import drawing, panels, style
from kikuhelpers.latents.features import Choice, cell_feature, grain_feature, rotation_feature
from kikuhelpers.latents.view import View, names
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

PATH_PATTERNS = 7  # shown along the path; of an odd number one is in its middle
_ROLES = {"A": "wrought", "B": "wrought", "D": "am", "E": "am"}
_CHOOSE = {"A": grain_feature, "B": cell_feature, "D": cell_feature, "E": rotation_feature}
_PATH_MM = {183: 52.0, 89: 64.0}  # the lower half, by the figure's width
_HIGHEST_MM, _LOWER_MM = 75.0, 29.0  # of a map, on a page and in a column
_WIDEST = 4.0  # width of a map, relative to its height
_TRUTH_POINTS = 500  # along the path
_DENSITY_COLOUR = "#b5367a"  # from the colours of the density


def draw(results: Results) -> style.PaperFigure:
    """Draw latent maps of both alloys and the patterns along a path across a cell wall."""
    model, path = roles.largest_vae(results.study), results.study.figures.path_4c
    width_mm = results.study.figures.width_mm
    views, missing = panels.panel_views(results, 4, _ROLES)
    shown: dict[str, Choice] = {}
    for panel, view in views.items():
        taken = {shown["A"].index} if panel == "B" and "A" in shown else ()
        shown[panel] = _CHOOSE[panel](view, model, taken)
    twin = panels.slenderest_twin(views["B"]) if "B" in views else None
    if twin is not None:
        shown["B"] = panels.twin_feature(views["B"], model, twin)
    shown = {at: panels.selected(views[at], f"4{at}", choice) for at, choice in shown.items()}
    known = any(view.is_virtual for view in views.values())
    ratios = [view.shape[1] / view.shape[0] for view in views.values()]
    ratios = np.clip(ratios, 1 / panels.TALLEST, _WIDEST)  # so wide, the maps are of one height
    row_mm = min((style.PAGE_MM - 2 * len(views)) / ratios.sum(), _HIGHEST_MM) + panels.TITLE_MM
    maps_mm = (1 + known) * row_mm + 2 * panels.BAR_MM
    if is_narrow := width_mm < style.PAGE_MM:  # the truth stands beside its map
        maps_mm = len(views) * (_LOWER_MM + panels.TITLE_MM + panels.BAR_MM)
    named = [*views.values(), *([View.whole(results, path.scan)] if path else [])]
    title = f"Fig. 4  Latent feature maps, {model}: {names(named)}"
    path_mm = _PATH_MM[width_mm] if path else 0
    figure = style.new_figure(maps_mm + path_mm, title, width_mm, "constrained")
    figure.missing.extend(missing)
    top = figure
    if path:
        top, bottom = figure.subfigures(2, 1, height_ratios=[maps_mm, path_mm])
    if is_narrow:
        columns = top.subplots(len(views), 1 + known, squeeze=False)
    else:
        columns = top.subplots(1 + known, len(views), squeeze=False, width_ratios=ratios).T
    for column, (panel, view) in zip(columns, views.items(), strict=True):
        panels.draw_map(column[0], panel, view, shown[panel], bar=True)
        figure.note_choice(f"4{panel}", shown[panel])
        if known:
            panels.show_truth(column[1], view)
        if panel == "B" and twin is not None:
            drawing.mark_point(column[0], "twin", *twin.centroid)
            words = f"the longest for its thickness, {panels.thickness(twin):.1f} steps"
            figure.choices.append(f"Fig. 4B: the twin marked is {words}; the feature shows it best")
    if path:
        _draw_path(figure, bottom, results, model)
    else:
        figure.missing.append("Fig. 4C: this study gives no path across a cell wall (path_4c).")
    return figure


def _draw_path(figure: style.PaperFigure, place, results: Results, model: str) -> None:
    view, choice, points = panels.path_view(results, model)
    scan = View.whole(results, view.scan)
    figure.note_choice("4C", choice)
    grid = place.add_gridspec(2, 2, width_ratios=[0.3, 0.7])
    of_map, of_tiles, of_line = grid[:, 0], grid[0, 1], grid[1, 1]
    if results.study.figures.width_mm < style.PAGE_MM:
        grid = place.add_gridspec(2, 2, height_ratios=[0.7, 0.3])
        of_map, of_tiles, of_line = grid[0, 0], grid[1, :], grid[0, 1]
    ax = place.add_subplot(of_map)
    panels.draw_map(ax, "C", view, choice)
    rows, columns = (points - [view.rows[0], view.columns[0]]).T
    for colour, width in (("white", 2), ("red", 1)):
        ax.plot(columns, rows, color=colour, lw=width)
    values = choice.map_of(view)[rows, columns]
    shown = np.unique(np.linspace(0, len(points) - 1, PATH_PATTERNS).round().astype(int))
    tiles = of_tiles.subgridspec(1, len(shown), wspace=0.05)
    limits = drawing.pattern_limits(scan.pattern(*points[shown[0]]), scan.mask)
    distance = np.linalg.norm((points - points[0]) * view.step_um, axis=1)
    line = place.add_subplot(of_line)
    line.plot(distance, values, color="0.3")
    line.plot(distance[shown], values[shown], "o", color="red", ms=3.5)
    beside = {"textcoords": "offset points", "ha": "center", "fontsize": style.SMALL_PT}
    for number, at in enumerate(shown, start=1):
        ax.plot(columns[at], rows[at], "o", color="red", mec="white", mew=0.5, ms=4)
        tile = place.add_subplot(tiles[number - 1])
        drawing.show_pattern(tile, scan.pattern(*points[at]), scan.mask, limits)
        tile.set_title(f"{number}: {distance[at]:.1f} µm", fontsize=style.SMALL_PT)
        line.annotate(str(number), (distance[at], values[at]), (0, 3.5), **beside)
    line.margins(y=0.3)
    line.set(xlabel="distance along the path (µm)", ylabel=f"feature {choice.index}")
    ends = " to ".join(f"({row}, {column})" for row, column in points[[0, -1]])
    crossed = "a true wall of a domain" if view.is_virtual else "the steepest ridge in a grain"
    figure.choices.append(f"Fig. 4C: the path {ends} of {view.scan} crosses {crossed}")
    if view.is_virtual:
        _draw_truth(line, view, points)


def _draw_truth(ax, view: View, points: np.ndarray) -> None:
    """Draw the true dislocation density along the path, and where the path leaves a domain."""
    first, last = points[0], points[-1]
    share = np.linspace(0, 1, _TRUTH_POINTS)
    distance = share * np.linalg.norm((last - first) * view.step_um)
    state = panels.state_at(view, first + share[:, None] * (last - first))
    other = ax.twinx()
    other.semilogy(distance, state.density, color=_DENSITY_COLOUR, lw=0.8, ls="--")
    drawing.label_log_axis(other.yaxis)
    other.set_ylabel("true density", color=_DENSITY_COLOUR)
    for here in np.flatnonzero(np.diff(state.domain)):
        place = distance[here : here + 2].mean()
        ax.axvline(place, color=panels.DOMAIN_COLOUR, lw=0.8, zorder=0)
