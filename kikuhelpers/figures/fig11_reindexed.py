"""Fig. 11: orientation and image-quality maps of decoded patterns."""

import string

import numpy as np

from kikuhelpers.figures import selection
from kikuhelpers.figures.drawing import (
    QUALITY_COLOURS,
    add_colour_bar,
    add_ipf_key,
    clip_limits,
    letter,
    show_map,
)
from kikuhelpers.figures.style import PAGE_MM, SMALL_PT, PaperFigure, new_figure, print_style
from kikuhelpers.figures.views import whole
from kikuhelpers.study.layout import PREPROCESSED
from kikuhelpers.study.study import Study

PAPER_BETAS = (15, 50)
_KEY_SHARE = 0.8  # width of colour key and bar, relative to a map
_TITLES_MM = 9.0  # above each map, on average


@print_style
def figure_11(study: Study) -> PaperFigure:
    """Draw IPF-X (.1) and IQ (.2) of the preprocessed and the decoded patterns."""
    scan = selection.decoded_scan(study)
    view = whole(study, scan)
    variants = [PREPROCESSED, *compared_models(study)]
    width = PAGE_MM / (len(variants) + _KEY_SHARE) - 3
    height = 2 * (width * view.shape[0] / view.shape[1] + _TITLES_MM) + 6
    figure = new_figure(height, layout="compressed")
    figure.suptitle(f"Fig. 11  Hough indexing of preprocessed and decoded patterns: {view.label}")
    grid = figure.add_gridspec(
        2, len(variants) + 1, width_ratios=[1] * len(variants) + [_KEY_SHARE]
    )
    quality = {
        name: np.where(view.indexed(name), view.property_map("pq", name), np.nan)
        for name in variants
    }
    limits = clip_limits(np.stack(list(quality.values())))
    lower = []
    for column, (name, panel) in enumerate(zip(variants, string.ascii_uppercase, strict=False)):
        ax = figure.add_subplot(grid[0, column])
        show_map(ax, view.ipf_x(name), view.step_um)
        share = 100 * view.indexed(name).mean()
        letter(ax, f"{panel}.1", f"{_title(study, name)}\n{share:.1f} % indexed", SMALL_PT)
        lower.append(figure.add_subplot(grid[1, column]))
        image = show_map(lower[-1], quality[name], view.step_um, QUALITY_COLOURS, limits)
        letter(lower[-1], f"{panel}.2", f"median {_plain(np.nanmedian(quality[name]))}", SMALL_PT)
        if name == PREPROCESSED:
            ax.set_ylabel("IPF-X")
            lower[0].set_ylabel("IQ")
    add_ipf_key(figure.add_subplot(grid[0, -1]))
    add_colour_bar(image, lower, "IQ (pq, arb. units)", orientation="vertical")
    trained = {study.model(name).beta for name in variants[1:]}
    lacking = [str(beta) for beta in PAPER_BETAS if beta not in trained]
    if lacking:
        figure.missing.append(f"Fig. 11: no model of β = {', '.join(lacking)} in this study.")
    return figure


def compared_models(study: Study) -> list[str]:
    """Return the smallest and the largest VAE, the beta-VAEs and the contrastive models."""
    conventional = selection.vaes(study)
    betas = [name for name in selection.beta_series(study) if study.model(name).beta != 1]
    named = [*conventional[:1], *conventional[-1:], *betas, *selection.contrastive_models(study)]
    return list(dict.fromkeys(named))


def _plain(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def _title(study: Study, name: str) -> str:
    """Name and beta of a variant, on two lines."""
    return f"{name}\n" + ("" if name == PREPROCESSED else f"β = {study.model(name).beta:g}")
