"""Fig. 11: orientation and image-quality maps of decoded patterns."""

import string

import numpy as np

from kikuhelpers.figures import drawing
from kikuhelpers.figures.style import PAGE_MM, PaperFigure, new_figure, print_style
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED, Study, roles

PAPER_BETAS = ("15", "50")
_KEY_SHARE = 0.8  # width of colour key and bar, relative to a map
_TITLES_MM = 9.0  # above each map, on average


@print_style
def draw(results: Results) -> PaperFigure:
    """Draw IPF-X (.1) and IQ (.2) of the preprocessed and the decoded patterns."""
    study = results.study
    view = View.whole(results, roles.decoded_scan(study))
    variants = [PREPROCESSED, *compared_models(study)]
    width = PAGE_MM / (len(variants) + _KEY_SHARE) - 3
    height = 2 * (width * view.shape[0] / view.shape[1] + _TITLES_MM) + 6
    title = f"Fig. 11  Hough indexing of preprocessed and decoded patterns: {view.label}"
    figure = new_figure(height, title)
    ratios = [1] * len(variants) + [_KEY_SHARE]
    grid = figure.add_gridspec(2, len(variants) + 1, width_ratios=ratios)
    quality = {
        name: np.where(view.indexed(name), view.property_map("pq", name), np.nan)
        for name in variants
    }
    limits = drawing.clip_limits(np.stack(list(quality.values())))
    lower = []
    for column, (name, panel) in enumerate(zip(variants, string.ascii_uppercase, strict=False)):
        upper = figure.add_subplot(grid[0, column])
        drawing.show_map(upper, view.ipf_x(name), view.step_um)
        beta = "" if name == PREPROCESSED else f"β = {study.model(name).beta:g}"
        share = 100 * view.indexed(name).mean()
        drawing.letter(upper, f"{panel}.1", f"{name}\n{beta}\n{share:.1f} % indexed")
        lower.append(figure.add_subplot(grid[1, column]))
        look = drawing.QUALITY_COLOURS, limits
        iq = drawing.show_map(lower[-1], quality[name], view.step_um, *look)
        drawing.letter(lower[-1], f"{panel}.2", f"median {_plain(np.nanmedian(quality[name]))}")
        if name == PREPROCESSED:
            upper.set_ylabel("IPF-X")
            lower[0].set_ylabel("IQ")
    drawing.add_ipf_key(figure.add_subplot(grid[0, -1]))
    drawing.add_colour_bar(iq, lower, "IQ (pq, arb. units)", orientation="vertical")
    trained = [f"{study.model(name).beta:g}" for name in variants[1:]]
    figure.note_lacking("Fig. 11: no model of β = {} in this study.", PAPER_BETAS, trained)
    return figure


def compared_models(study: Study) -> list[str]:
    """Return the smallest and the largest VAE, the beta-VAEs and the contrastive models."""
    conventional = roles.vaes(study)
    betas = [name for name in roles.beta_series(study) if study.model(name).beta != 1]
    named = [*conventional[:1], *conventional[-1:], *betas, *roles.contrastive_models(study)]
    return list(dict.fromkeys(named))


def _plain(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")
