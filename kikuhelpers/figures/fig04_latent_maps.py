"""Figs 4 to 7 and 9: latent features on the specimen, beside what physics makes of it."""

import numpy as np

from kikuhelpers.figures import selection
from kikuhelpers.figures.drawing import (
    ANGLE_COLOURS,
    LATENT_COLOURS,
    QUALITY_COLOURS,
    add_colour_bar,
    draw_box,
    letter,
    pattern_limits,
    show_map,
    show_pattern,
)
from kikuhelpers.figures.regions import path_view, region
from kikuhelpers.figures.selection import Choice
from kikuhelpers.figures.style import (
    PAGE_MM,
    SMALL_PT,
    PaperFigure,
    dropped_figure,
    new_figure,
    print_style,
)
from kikuhelpers.figures.truth import any_virtual, draw_truth_along, show_truth
from kikuhelpers.figures.views import View, whole
from kikuhelpers.study.study import Study

# Property of the orientation map, its title with unit, its colours.
PHYSICAL_MAPS = {
    "pq": ("IQ (pq, arb. units)", QUALITY_COLOURS),
    "grod_deg": ("GROD (°)", ANGLE_COLOURS),
    "kam_deg": ("KAM (°)", ANGLE_COLOURS),
    "sharpness": ("sharpness (fraction)", QUALITY_COLOURS),
}
PAPER_FIG_9_DIMENSIONS = (32, 64, 128, 256)
PATH_PATTERNS = 6  # shown along the path of Fig. 4C
_TITLE_MM = 9.0  # two lines above a map
_BAR_MM = 7.0  # colour bar below a map
_PATH_MM = 48.0  # the lower half of Fig. 4


def show_latent(ax, view: View, choice: Choice, panel: str):
    """Draw one latent feature over a view, with its number and measure as title."""
    values = np.array(view.latents(choice.model)[..., choice.index])
    image = show_map(ax, values, view.step_um, LATENT_COLOURS)
    letter(ax, panel, f"{choice.name}\n{choice.reason}", SMALL_PT)
    return image


def show_physical(ax, view: View, name: str, panel: str):
    """Draw one physical map over a view."""
    title, colours = PHYSICAL_MAPS[name]
    image = show_map(ax, view.property_map(name), view.step_um, colours)
    letter(ax, panel, f"{title}\n", SMALL_PT)
    return image


def _note(figure: PaperFigure, number: str, choice: Choice) -> None:
    figure.choices.append(f"Fig. {number}: {choice.name}: {choice.reason}")


def _names(views: list[View]) -> str:
    return " and ".join(dict.fromkeys(view.label for view in views))


def _row_mm(views: list[View], columns: int, extra_mm: float) -> float:
    """Height of a row of maps of equal width that fill the page."""
    tallest = max(view.shape[0] / view.shape[1] for view in views)
    return (PAGE_MM / columns - 2) * min(tallest, 1.6) + extra_mm


# --------------------------------------------------------------------- Fig. 4


@print_style
def figure_4(study: Study) -> PaperFigure:
    """Draw latent maps of both alloys and the patterns along a path across a cell wall."""
    model = selection.largest_vae(study)
    wrought, am = (selection.scan_of(study, alloy) for alloy in ("wrought", "am"))
    panels: list[tuple[str, View, Choice]] = []
    missing = []
    if wrought is None:
        missing.append("Fig. 4A, B: this study has no wrought scan.")
    else:
        view = whole(study, wrought)
        first = selection.grain_feature(view, model)
        panels.append(("A", view, first))
        view = region(study, "4B", wrought)
        panels.append(("B", view, selection.cell_feature(view, model, {first.index})))
    if am is None:
        missing.append("Fig. 4D, E: this study has no AM scan.")
    else:
        view = region(study, "4D", am)
        panels.append(("D", view, selection.cell_feature(view, model)))
        view = region(study, "4E", am)
        panels.append(("E", view, selection.rotation_feature(view, model)))
    views = [view for _, view, _ in panels]
    columns = len(panels)
    path = study.figures.path_4c
    known = any_virtual(views)
    maps_mm = (1 + known) * _row_mm(views, columns, _TITLE_MM + _BAR_MM) + _BAR_MM
    figure = new_figure(maps_mm + (_PATH_MM if path else 0), layout="constrained")
    figure.missing.extend(missing)
    names = _names([*views, *([whole(study, path.scan)] if path else [])])
    figure.suptitle(f"Fig. 4  Latent feature maps, {model}: {names}")
    top, bottom = figure, None
    if path:
        top, bottom = figure.subfigures(2, 1, height_ratios=[maps_mm, _PATH_MM])
    axes = top.subplots(1 + known, columns, squeeze=False)
    for ax, (panel, view, choice) in zip(axes[0], panels, strict=True):
        image = show_latent(ax, view, choice, panel)
        add_colour_bar(image, ax)
        _note(figure, f"4{panel}", choice)
    if known:
        for ax, view in zip(axes[1], views, strict=True):
            show_truth(ax, view)
    if bottom is None:
        figure.missing.append("Fig. 4C: this study gives no path across a cell wall (path_4c).")
    else:
        _draw_path(figure, bottom, study, model)
    return figure


def _draw_path(figure: PaperFigure, place, study: Study, model: str) -> None:
    scan = whole(study, study.figures.path_4c.scan)
    view, choice, points = path_view(study, model)
    _note(figure, "4C", choice)
    grid = place.add_gridspec(2, 2, width_ratios=[0.3, 0.7], height_ratios=[1, 1])
    ax = place.add_subplot(grid[:, 0])
    show_latent(ax, view, choice, "C")
    local = points - [view.rows[0], view.columns[0]]
    ax.plot(local[:, 1], local[:, 0], color="white", lw=2)
    ax.plot(local[:, 1], local[:, 0], color="red", lw=1)
    values = np.array(view.latents(model)[local[:, 0], local[:, 1], choice.index])
    shown = np.unique(np.linspace(0, len(points) - 1, PATH_PATTERNS).round().astype(int))
    row = grid[0, 1].subgridspec(1, len(shown), wspace=0.05)
    first = scan.pattern(*points[shown[0]])
    limits = pattern_limits(first, scan.mask)
    distance = np.linalg.norm((points - points[0]) * view.step_um, axis=1)
    for number, at in enumerate(shown, start=1):
        ax.plot(local[at, 1], local[at, 0], "o", color="red", mec="white", mew=0.5, ms=4)
        tile = place.add_subplot(row[number - 1])
        show_pattern(tile, scan.pattern(*points[at]), scan.mask, limits)
        tile.set_title(f"{number}: {distance[at]:.1f} µm", fontsize=SMALL_PT)
    line = place.add_subplot(grid[1, 1])
    line.plot(distance, values, color="0.3")
    line.plot(distance[shown], values[shown], "o", color="red", ms=3.5)
    for number, at in enumerate(shown, start=1):
        line.annotate(
            str(number),
            (distance[at], values[at]),
            (0, 3.5),
            textcoords="offset points",
            ha="center",
            fontsize=SMALL_PT,
        )
    line.margins(y=0.3)
    line.set_xlabel("distance along the path (µm)")
    line.set_ylabel(f"feature {choice.index + 1}")
    if study.figures.path_4c.length is not None:
        ends = " to ".join(f"({row}, {column})" for row, column in points[[0, -1]])
        figure.choices.append(
            f"Fig. 4C: the path {ends} of {view.scan} is the row or column of this length inside "
            "one grain whose halves differ most in this feature"
        )
    if any_virtual([view]):
        draw_truth_along(line, view, points)


# -------------------------------------------------------------- Figs 5 and 6


@print_style
def figure_5(study: Study) -> PaperFigure:
    """Draw a latent feature beside IQ, GROD, KAM and sharpness for three regions."""
    model = selection.largest_vae(study)
    makers = {
        "A": ("wrought", selection.grain_feature),
        "B": ("am", selection.cell_feature),
        "C": ("am", selection.rotation_feature),
    }
    rows, missing = _regions(study, "5", makers)
    if not rows:
        return dropped_figure(*missing)
    views = [view for _, view, _ in rows]
    known = any_virtual(views)
    columns = 1 + len(PHYSICAL_MAPS) + known
    height = sum(_row_mm([view], columns, _TITLE_MM + _BAR_MM) for view in views) + 6
    figure = new_figure(height)
    figure.missing.extend(missing)
    figure.suptitle(f"Fig. 5  Latent feature against physical maps, {model}: {_names(views)}")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (panel, view, choose) in zip(axes, rows, strict=True):
        choice = choose(view, model)
        _note(figure, f"5{panel}.1", choice)
        add_colour_bar(show_latent(line[0], view, choice, f"{panel}.1"), line[0])
        line[0].set_ylabel(view.label, fontsize=SMALL_PT)
        for number, (ax, name) in enumerate(zip(line[1:], PHYSICAL_MAPS, strict=False), start=2):
            add_colour_bar(show_physical(ax, view, name, f"{panel}.{number}"), ax)
        if known:
            show_truth(line[-1], view, bar=True)
    return figure


@print_style
def figure_6(study: Study) -> PaperFigure:
    """Draw two latent features and GROD for two regions of the AM alloy."""
    model = selection.largest_vae(study)
    makers = {"A": ("am", selection.cell_feature), "B": ("am", selection.cell_feature)}
    rows, missing = _regions(study, "6", makers)
    if not rows:
        return dropped_figure(*missing)
    views = [view for _, view, _ in rows]
    columns = 3 + any_virtual(views)
    figure = new_figure(sum(_row_mm([view], columns, _TITLE_MM + _BAR_MM) for view in views) + 6)
    figure.missing.extend(missing)
    figure.suptitle(f"Fig. 6  Two latent features and GROD, {model}: {_names(views)}")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (panel, view, choose) in zip(axes, rows, strict=True):
        cells = choose(view, model)
        rotation = selection.rotation_feature(view, model, {cells.index})
        for number, (ax, choice) in enumerate(zip(line, (cells, rotation), strict=False), start=1):
            add_colour_bar(show_latent(ax, view, choice, f"{panel}.{number}"), ax)
            _note(figure, f"6{panel}.{number}", choice)
        add_colour_bar(show_physical(line[2], view, "grod_deg", f"{panel}.3"), line[2])
        line[0].set_ylabel(view.label, fontsize=SMALL_PT)
        if columns > 3:
            show_truth(line[3], view, bar=True)
    _draw_region_of_7(axes[0, 0], study, views[0])
    return figure


def _regions(study: Study, number: str, makers: dict):
    """Rows that this study can fill, and one sentence for each that it cannot."""
    rows, missing = [], []
    for panel, (alloy, choose) in makers.items():
        view = region(study, f"{number}{panel}", selection.scan_of(study, alloy))
        if view is None:
            name = "AM" if alloy == "am" else alloy
            missing.append(f"Fig. {number}{panel}: this study has no {name} scan.")
        else:
            rows.append((panel, view, choose))
    return rows, missing


def _draw_region_of_7(ax, study: Study, view: View) -> None:
    box = region(study, "7", None)
    if box is not None and box.scan == view.scan:
        rows = (box.rows[0] - view.rows[0], box.rows[1] - view.rows[0])
        columns = (box.columns[0] - view.columns[0], box.columns[1] - view.columns[0])
        draw_box(ax, rows, columns, "7")


# --------------------------------------------------------------------- Fig. 7


@print_style
def figure_7(study: Study) -> PaperFigure:
    """Draw the fine-step map: three latent features, then GROD, sharpness, IQ, KAM; zooms."""
    scan = selection.fine_scan(study)
    if scan is None:
        return dropped_figure("Fig. 7: this study has no AM scan of a finer step.")
    model = selection.largest_vae(study)
    field = region(study, "7", scan)
    field = field if field.scan == scan else whole(study, scan)
    zoom = _zoom_of_7(study, field)
    cells = selection.cell_feature(field, model)
    rotation = selection.rotation_feature(field, model, {cells.index})
    spots = selection.spot_feature(field, model, {cells.index, rotation.index})
    physical = ("grod_deg", "sharpness", "pq", "kam_deg")
    known = any_virtual([field])
    columns = 4 + known
    heights = [_row_mm([view], columns, _TITLE_MM) for view in (field, zoom)] * 2
    figure = new_figure(sum(heights) + 6)
    figure.suptitle(
        f"Fig. 7  Fine step ({field.step_um:g} µm), {model}: {field.label}; "
        "C, D: zooms of the dashed box"
    )
    axes = figure.subplots(4, columns, height_ratios=heights)
    for number, choice in enumerate((cells, rotation, spots), start=1):
        show_latent(axes[0, number - 1], field, choice, f"A.{number}")
        show_latent(axes[1, number - 1], zoom, choice, f"C.{number}")
        _note(figure, f"7A.{number}", choice)
    for view, row, panel in ((field, 0, "A.4"), (zoom, 1, "C.4")):
        show_map(axes[row, 3], view.ipf_x(), view.step_um)
        letter(axes[row, 3], panel, "IPF-X, same field\n", SMALL_PT)
    if known:
        for row, view in ((0, field), (1, zoom)):
            show_truth(axes[row, 4], view)
            axes[row + 2, 4].set_axis_off()
    for number, name in enumerate(physical, start=1):
        show_physical(axes[2, number - 1], field, name, f"B.{number}")
        show_physical(axes[3, number - 1], zoom, name, f"D.{number}")
    rows, columns = (
        (first - origin[0], last - origin[0])
        for (first, last), origin in zip(
            (zoom.rows, zoom.columns), (field.rows, field.columns), strict=True
        )
    )
    for ax in (*axes[0, :4], *axes[2, :4]):
        draw_box(ax, rows, columns)
    return figure


def _zoom_of_7(study: Study, field: View) -> View:
    """Region 7C; the middle half of the field if it is not given."""
    zoom = region(study, "7C", None)
    if zoom is not None and zoom.scan == field.scan:
        return zoom
    (top, _), (left, _), (rows, columns) = field.rows, field.columns, field.shape
    return View(
        study,
        field.scan,
        (top + rows // 4, top + rows - rows // 4),
        (left + columns // 4, left + columns - columns // 4),
    )


# --------------------------------------------------------------------- Fig. 9


@print_style
def figure_9(study: Study) -> PaperFigure:
    """Draw, for each VAE dimension, the feature that reveals the cells best."""
    view = region(study, "5B", selection.scan_of(study, "am"))
    if view is None:
        return dropped_figure("Fig. 9: this study has no AM scan.")
    models = selection.vaes(study)
    dimensions = [study.model(name).latent_dim for name in models]
    columns = len(models) + any_virtual([view])
    figure = new_figure(_row_mm([view], max(columns, 2), _TITLE_MM) + 8)
    figure.suptitle(
        f"Fig. 9  Feature of most structure inside the grains, by latent dimension: {view.label}"
    )
    axes = np.ravel(figure.subplots(1, columns, squeeze=False))
    for ax, model, panel in zip(axes, models, "ABCDE", strict=False):
        choice = selection.cell_feature(view, model)
        show_latent(ax, view, choice, panel)
        _note(figure, f"9{panel}", choice)
    if columns > len(models):
        show_truth(axes[-1], view)
    lacking = [d for d in PAPER_FIG_9_DIMENSIONS if d not in dimensions]
    if lacking:
        has = ", ".join(f"{d}-D" for d in dimensions)
        figure.missing.append(
            f"Fig. 9: no {', '.join(f'{d}-D' for d in lacking)} VAE; only {has} is in this study."
        )
    return figure
