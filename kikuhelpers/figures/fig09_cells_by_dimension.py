"""Fig. 9: the cells as VAEs of each dimension show them."""

from kikuhelpers.figures import panels, style
from kikuhelpers.latents.features import cell_feature
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles

PAPER_DIMENSIONS = ("32-D", "64-D", "128-D", "256-D")


def draw(results: Results) -> style.PaperFigure:
    """Draw, for each VAE dimension, the feature that reveals the cells best."""
    study = results.study
    view = panels.region(results, "5B", roles.scan_of(study, "am"))
    if view is None:
        return style.dropped_figure("Fig. 9: this study has no AM scan.")
    if not (models := roles.vaes(study)):
        return style.dropped_figure("Fig. 9: this study has no conventional VAE.")
    row = "", view, [cell_feature(view, model) for model in models]
    title = f"Feature of most structure inside the grains, by latent dimension: {view.label}"
    figure, _ = panels.draw_rows(9, title, [row])
    there = [f"{study.model(name).latent_dim}-D" for name in models]
    sentence = f"Fig. 9: no {{}} VAE; only {', '.join(there)} is in this study."
    figure.note_lacking(sentence, PAPER_DIMENSIONS, there)
    return figure
