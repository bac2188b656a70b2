"""Fig. 9: the cells as VAEs of each dimension show them."""

from kikuhelpers.figures import panels, style
from kikuhelpers.latents.features import cell_feature
from kikuhelpers.runs.results import Results
from kikuhelpers.study import LATENT_DIMENSIONS, roles

PAPER_DIMENSIONS = LATENT_DIMENSIONS[1:]  # 16-D is left out


def draw(results: Results) -> style.PaperFigure:
    """Draw, for each VAE dimension, the feature that reveals the cells best."""
    study = results.study
    view = panels.region(results, "5B", roles.scan_of(study, "am"))
    if view is None:
        return style.dropped_figure("Fig. 9: this study has no AM scan.")
    there = {study.model(name).latent_dim: name for name in roles.vaes(study)}
    if not (models := [there[d] for d in PAPER_DIMENSIONS if d in there]):
        return style.dropped_figure("Fig. 9: this study has no conventional VAE of 32-D or more.")
    row = "", view, [cell_feature(view, model) for model in models]
    title = f"The feature for cell walls by latent dimension: {view.label}"
    figure, _ = panels.draw_rows(9, title, [row])
    wanted, shown = ([f"{d}-D" for d in some] for some in (PAPER_DIMENSIONS, there))
    figure.note_lacking("Fig. 9: no {} VAE in this study.", wanted, shown)
    return figure
