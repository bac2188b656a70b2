"""Fig. 7: a map of a finer step."""

import numpy as np
from scipy.ndimage import gaussian_filter

from kikuhelpers.figures import drawing, panels, style
from kikuhelpers.latents.features import Choice, cell_feature, rotation_feature, spot_feature
from kikuhelpers.latents.view import View, highest_point
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

_PHYSICAL = ("grod_deg", "sharpness", "sharpness_map", "iq_counts")
_PARTICLE_POINTS = 2.0  # standard deviation of the smoothing that finds the largest particle


def draw(results: Results) -> style.PaperFigure:
    """Draw three latent features of the fine-step map, four physical maps, and a zoom of both."""
    scan = roles.fine_scan(results.study)
    if scan is None:
        return style.dropped_figure("Fig. 7: this study has no AM scan of a finer step.")
    model = roles.largest_vae(results.study)
    field = panels.region(results, "7", scan)
    field = field if field.scan == scan else View.whole(results, scan)
    cells = panels.selected(field, "7A.1", cell_feature(field, model))
    rotation = panels.selected(field, "7A.2", rotation_feature(field, model, {cells.index}))
    spots = panels.selected(field, "7A.3", spot_feature(field, model))
    zoom = _zoom(field, spots)
    box = np.subtract([zoom.rows, zoom.columns], [field.rows[:1], field.columns[:1]])
    latent = (cells, rotation, spots)
    physical = _PHYSICAL[: len(latent) + field.is_virtual]  # the truth takes a column
    rows = [("A", field, latent), ("B", field, physical)]
    rows += [("C", zoom, latent), ("D", zoom, physical)]
    rows = [row for row in rows if f"7{row[0]}" in results.study.figures.panels] or rows
    title = f"Fine step ({field.step_um:g} µm), {model}: {field.label}"
    figure, axes = panels.draw_rows(7, f"{title}; C, D: zooms of the dashed box", rows, bars=True)
    for (_, view, maps), line in zip(rows, axes, strict=True):
        words = ("latent features" if maps is latent else "physics") + ", zoom" * (view is zoom)
        line[0].set_ylabel(words, fontsize=style.SMALL_PT)
        for ax in line[: len(maps)] if view is field else ():
            drawing.draw_box(ax, *box)
    return figure


def _zoom(field: View, spots: Choice) -> View:
    """Region 7C, else half the field around the largest particle, by truth or outliers."""
    zoom = panels.region(field.results, "7C", None)
    if zoom is not None and zoom.scan == field.scan:
        return zoom
    spotted = field.truth("phase") > 0 if field.is_virtual else np.abs(spots.map_of(field))
    spotted = gaussian_filter(np.nan_to_num(spotted * 1.0), _PARTICLE_POINTS, mode="constant")
    return panels.box_around(field, highest_point(spotted), -(-np.array(field.shape) // 2))
