"""Fig. 7: a map of a finer step."""

from kikuhelpers.figures import drawing, panels, style
from kikuhelpers.latents.features import cell_feature, rotation_feature, spot_feature
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

_PHYSICAL = ("grod_deg", "sharpness", "pq", "kam_deg")


def draw(results: Results) -> style.PaperFigure:
    """Draw the fine-step map: three latent features, then GROD, sharpness, IQ, KAM; zooms."""
    scan = roles.fine_scan(results.study)
    if scan is None:
        return style.dropped_figure("Fig. 7: this study has no AM scan of a finer step.")
    model = roles.largest_vae(results.study)
    field = panels.region(results, "7", scan)
    field = field if field.scan == scan else View.whole(results, scan)
    zoom = _zoom(field)
    cells = cell_feature(field, model)
    rotation = rotation_feature(field, model, {cells.index})
    spots = spot_feature(field, model, {cells.index, rotation.index})
    latent = (cells, rotation, spots, panels.ORIENTATIONS)
    rows = [("A", field, latent), ("C", zoom, latent)]
    rows += [("B", field, _PHYSICAL), ("D", zoom, _PHYSICAL)]
    title = f"Fine step ({field.step_um:g} µm), {model}: {field.label}"
    figure, axes = panels.draw_rows(7, f"{title}; C, D: zooms of the dashed box", rows)
    for ax in axes[::2, : len(latent)].flat:
        drawing.draw_box(ax, *zoom.within(field))
    return figure


def _zoom(field: View) -> View:
    """Region 7C; the middle half of the field if it is not given."""
    zoom = panels.region(field.results, "7C", None)
    if zoom is not None and zoom.scan == field.scan:
        return zoom
    ends = zip((field.rows, field.columns), field.shape, strict=True)
    middle = ((first + size // 4, last - size // 4) for (first, last), size in ends)
    return View(field.results, field.scan, *middle)
