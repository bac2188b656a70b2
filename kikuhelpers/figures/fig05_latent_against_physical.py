"""Fig. 5: a latent feature beside what physics makes of the same fields."""

from kikuhelpers.figures import panels, style
from kikuhelpers.latents.features import cell_feature, grain_feature, rotation_feature
from kikuhelpers.latents.view import names
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

_CHOOSE = {"A": grain_feature, "B": cell_feature, "C": rotation_feature}


def draw(results: Results) -> style.PaperFigure:
    """Draw a latent feature beside IQ, GROD, KAM and sharpness for three regions.

    Below them stand the physical maps on the camera's scale.
    """
    model = roles.largest_vae(results.study)
    views, missing = panels.panel_views(results, 5, {"A": "wrought", "B": "am", "C": "am"})
    rows = []
    for at, view in views.items():
        chosen = panels.selected(view, f"5{at}.1", _CHOOSE[at](view, model))
        rows.append((at, view, (chosen, *panels.PAPERS_WAY)))
        fair = panels.ON_CAMERA[: 1 + len(panels.PAPERS_WAY) + view.is_virtual]
        rows.append((f"{at}′", view, fair))
    title = f"Latent feature against physical maps, {model}: {names(views.values())}"
    return panels.draw_rows(5, title, rows, missing, bars=True)[0]
