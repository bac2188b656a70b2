"""Fig. 6: two latent features and GROD of the AM alloy."""

from kikuhelpers.figures import panels, style
from kikuhelpers.latents.features import cell_feature, rotation_feature
from kikuhelpers.latents.view import names
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles


def draw(results: Results) -> style.PaperFigure:
    """Draw two latent features and GROD for two regions of the AM alloy."""
    model = roles.largest_vae(results.study)
    views, missing = panels.panel_views(results, 6, {"A": "am", "B": "am"})
    rows = []
    for letter, view in views.items():
        cells = panels.selected(view, f"6{letter}.1", cell_feature(view, model))
        rotation = rotation_feature(view, model, {cells.index})
        rotation = panels.selected(view, f"6{letter}.2", rotation)
        rows.append((letter, view, (cells, rotation, "grod_deg")))
    title = f"Two latent features and GROD, {model}: {names(views.values())}"
    return panels.draw_rows(6, title, rows, missing, bars=True)[0]
