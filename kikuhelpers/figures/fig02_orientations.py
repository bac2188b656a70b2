"""Fig. 2: orientation maps with the regions of interest of the other figures."""

from kikuhelpers.figures import drawing, panels, style
from kikuhelpers.latents.view import View, names
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

_MAP_MM = 77.0  # width of a map
_TALLEST = 1.4  # height of a map, relative to its width
_KEY_SHARE = 0.32  # width of the colour key, relative to a map
_MEASURE = "highest local Moran's I inside the grains, mean of the active features"


def draw(results: Results) -> style.PaperFigure:
    """Draw the IPF-X maps with the regions of interest of the other figures."""
    views, missing = panels.panel_views(results, 2, {"A": "wrought", "B": "am"})
    height = max(_MAP_MM * view.shape[0] / view.shape[1] for view in views.values())
    height, shares = min(height, _TALLEST * _MAP_MM), [1] * len(views) + [_KEY_SHARE]
    shape, width_mm = {"ncols": len(shares), "width_ratios": shares}, results.study.figures.width_mm
    if width_mm < style.PAGE_MM:
        heights = [height + 4] * len(views) + [drawing.KEY_MM]
        shape, height = {"nrows": len(heights), "height_ratios": heights}, sum(heights)
    title = f"Fig. 2  Orientation maps (IPF-X): {names(views.values())}"
    figure = style.new_figure(height + 14, title, width_mm, layout="constrained")
    figure.missing.extend(missing)
    *axes, key = figure.subplots(**shape)
    for ax, (panel, view) in zip(axes, views.items(), strict=True):
        drawing.show_map(ax, view.ipf_x(), view.step_um)
        for (rows, columns), named in _boxes(figure, view).items():
            drawing.draw_box(ax, rows, columns, " ".join(named))
        share = 100 * view.indexed().mean()
        title = f"{view.label}, step {view.step_um:g} µm, {share:.1f} % indexed"
        drawing.letter(ax, panel, title, style.TEXT_PT)
    drawing.add_ipf_key(key, view.orientations())
    return figure


def _boxes(figure: style.PaperFigure, view: View) -> dict[tuple, list[str]]:
    """Regions of one scan; panels that share a box share its label."""
    boxes: dict[tuple, list[str]] = {}
    results, settings = view.results, view.results.study.figures
    regions = {panel: panels.region(results, panel, None) for panel in settings.regions}
    if settings.path_4c is not None:
        regions["4C"] = panels.path_view(results, roles.largest_vae(results.study))[0]
    for panel, box in sorted(regions.items()):
        if box.scan != view.scan:
            continue
        boxes.setdefault((box.rows, box.columns), []).append(panel)
        given = settings.regions.get(panel)
        if given is not None and given.size is not None:
            (top, bottom), (left, right) = box.rows, box.columns
            one = "the box" if given.rank == 1 else f"number {given.rank} of the boxes"
            one = f"around the slenderest twin, without any {one}" if panel == "4B" else one
            place = f"rows {top} to {bottom - 1}, columns {left} to {right - 1} of {view.scan}"
            figure.choices.append(f"Fig. {panel}: {place}: {one} of this size with the {_MEASURE}")
    return boxes
