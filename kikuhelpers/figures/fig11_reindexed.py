"""Fig. 11: orientation and image-quality maps of decoded patterns."""

from string import ascii_uppercase

import numpy as np

from kikuhelpers.figures import drawing, panels, style
from kikuhelpers.indexing.orientation_maps import misorientation_map
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED, Study, roles
from kikuhelpers.tables.table1 import WRONG_DEG

PAPER_BETAS = ("15", "50")
_KEY_SHARE = 0.8  # width of colour key and bar, relative to a map
_TITLES_MM = 9.0  # above each map, on average


def draw(results: Results) -> style.PaperFigure:
    """Draw IPF-X (.1) and IQ (.2) of the preprocessed and the decoded patterns."""
    study = results.study
    view = View.whole(results, roles.decoded_scan(study))
    models = compared_models(study)
    betas = {name: f"{study.model(name).beta:g}" for name in models}
    ratios, width_mm = [1] * (1 + len(models)) + [_KEY_SHARE], study.figures.width_mm
    width = style.PAGE_MM / sum(ratios) - 3
    tall = min(view.shape[0] / view.shape[1], panels.TALLEST)
    height = 2 * (width * tall + _TITLES_MM) + 6
    if is_narrow := width_mm < style.PAGE_MM:  # the two rows are columns
        ratios = [width * tall + _TITLES_MM] * (1 + len(models)) + [drawing.KEY_MM]
        height = sum(ratios) + 6
    title = f"Fig. 11  Hough indexing of preprocessed and decoded patterns: {view.label}"
    figure = style.new_figure(height, title, width_mm)
    if is_narrow:
        upper, lower = figure.subplots(len(ratios), 2, height_ratios=ratios).T
    else:
        upper, lower = figure.subplots(2, len(ratios), width_ratios=ratios)
    indexed = {name: view.indexed(name) for name in (PREPROCESSED, *models)}
    quality = [np.where(i, view.property_map("pq", name), np.nan) for name, i in indexed.items()]
    limits = drawing.clip_limits(np.stack(quality))
    colours = study.figures.colours.get(drawing.QUALITY_COLOURS, drawing.QUALITY_COLOURS)
    columns = zip(upper, lower, ascii_uppercase, indexed, quality, strict=False)
    for above, below, panel, name, iq in columns:
        drawing.show_map(above, view.ipf_x(name), view.step_um)
        off = misorientation_map(view.orientations(), view.orientations(name))
        share = 100 * (view.crop(off) <= WRONG_DEG)[indexed[PREPROCESSED]].mean()
        beta = f"β = {betas[name]}" if name in betas else ""
        drawing.letter(above, f"{panel}.1", f"{name}\n{beta}\n{share:.1f} % within {WRONG_DEG:g}°")
        image = drawing.show_map(below, iq, view.step_um, colours, limits)
        # Three significant digits, never as a power of ten.
        median = np.format_float_positional(np.nanmedian(iq), 3, fractional=False, trim="-")
        drawing.letter(below, f"{panel}.2", f"median {median}")
    upper[0].set_ylabel("IPF-X")
    lower[0].set_ylabel("IQ")
    drawing.add_ipf_key(upper[-1], view.orientations())
    lower[-1].remove()
    drawing.add_colour_bar(image, list(lower[:-1]), "IQ (pq)", orientation="vertical")
    figure.note_lacking("Fig. 11: no model of β = {} in this study.", PAPER_BETAS, betas.values())
    return figure


def compared_models(study: Study) -> list[str]:
    """Return the smallest and the largest VAE, the beta-VAEs and the contrastive models."""
    conventional = roles.vaes(study)
    betas = [name for name in roles.beta_series(study) if study.model(name).beta != 1]
    named = [*conventional[:1], *conventional[-1:], *betas, *roles.contrastive_models(study)]
    return list(dict.fromkeys(named))
