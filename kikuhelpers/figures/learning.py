"""How each model of a study learned: over all patterns shown, and by orientation."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib import colormaps

from kikuhelpers.baselines.methods import load_spectrum
from kikuhelpers.figures import drawing, style
from kikuhelpers.runs.results import Results
from kikuhelpers.study import LATENT_DIMENSIONS, Study, roles
from kikuhelpers.tables.table1 import title_of

_HEIGHT_MM = 75.0
_SINGLE_MM = 120.0  # width of a single plot with its legend
_COLOURS = dict(zip(LATENT_DIMENSIONS, colormaps["viridis"]([0, 0.25, 0.5, 0.7, 0.9]), strict=True))
_DASHES = ("--", "-.", (0, (6, 1, 1, 1, 1, 1)))  # by beta above 1
_MARKERS = "osD^v"  # by training, of models otherwise alike
_ROUNDING = 1e-6  # of the sample's variance; less is left by arithmetic alone
_BESIDE = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}  # of a legend
_SMOOTHED_LINES = 5  # of the history, in a running mean
_CURVES = {  # column of the history: its words
    "reconstruction": "half sum of squares per pattern, latents drawn",
    "active_units": "active latent features",
}


@style.print_style
def learning_curves(results: Results) -> style.PaperFigure:
    """Draw the loss (A) and the active features (B) of every model over its training.

    Colours are latent dimensions; dashes tell beta above 1, dots the contrastive loss.
    Horizontal lines are what a PCA of 16 and of as many components as the largest VAE leaves
    of the sample.
    """
    study, title = results.study, f"Learning curves: {title_of(results.study)}"
    figure = style.new_figure(_HEIGHT_MM, title, layout="constrained")
    axes = figure.subplots(1, 2)
    for name, look in _looks(study):
        history = results.model(name).history
        smooth = history.rolling(_SMOOTHED_LINES, min_periods=1, center=True).mean()
        for ax, column in zip(axes, _CURVES, strict=True):
            ax.plot(history["presentations"] / 1000, smooth[column], lw=0.9, alpha=0.9, **look)
    if study.largest_pca:
        spectrum, largest = load_spectrum(results), study.model(roles.largest_vae(study))
        look = {"ha": "right", "va": "bottom", "fontsize": style.SMALL_PT}
        for count in (LATENT_DIMENSIONS[0], largest.latent_dim):
            if (left := spectrum.residual(count)) < _ROUNDING * spectrum.total:
                continue  # as many components as patterns: no place on a logarithmic axis
            axes[0].axhline(left, color="0.6", lw=0.6, zorder=0)
            place = axes[0].get_yaxis_transform()  # x in parts of the axes, y in data
            axes[0].text(0.99, left, f"PCA-{count}", transform=place, **look)
    axes[0].set_yscale("log")
    axes[0].yaxis.set(minor_formatter="{x:g}", major_formatter="{x:g}")
    for ax, panel, words in zip(axes, "AB", _CURVES.values(), strict=True):
        ax.set(xlabel="patterns shown (thousands)", ylabel=words)
        drawing.letter(ax, panel, size_pt=style.TEXT_PT)
    axes[1].legend(**_BESIDE)
    return figure


@style.print_style
def learned_orientations(results: Results) -> style.PaperFigure:
    """Draw how many points each model gets wrong by how often it saw their orientation.

    The grains of orientation_shares.csv, in bins of a factor of two; a grain's orientation was
    shown as often as its share of the training sample times the presentations. Colours and
    dashes as in :func:`learning_curves`, markers tell how models alike were trained. Models
    that hold out grains are left out.
    """
    study, table = results.study, pd.read_csv(results.layout.figures / "orientation_shares.csv")
    title = f"Wrong points by how often their orientation was shown\n{title_of(study)}"
    figure = style.new_figure(_HEIGHT_MM, title, _SINGLE_MM, layout="constrained")
    ax, trainings = figure.subplots(), {}
    for name, look in _looks(study):
        model = study.model(name)
        if model.hold_out is not None:
            continue
        alike = trainings.setdefault((model.latent_dim, model.beta, model.loss), {})
        number = alike.setdefault(repr(model.recipe.training), len(alike))
        grains = table[(table["model"] == name) & (table["share_pct"] > 0)]
        shown = grains["share_pct"] / 100 * results.model(name).history["presentations"].iloc[-1]
        indexed = grains["points"] * grains["indexed_pct"] / 100
        sums = pd.DataFrame({"wrong": grains["wrong_pct"] * indexed, "indexed": indexed})
        sums = sums.groupby(np.floor(np.log2(shown))).sum()
        middles = 2 ** (sums.index.to_numpy() + 0.5)
        look |= {"marker": _MARKERS[number % len(_MARKERS)], "ms": 3, "lw": 0.9}
        ax.plot(middles, sums["wrong"] / sums["indexed"], **look)
    words = f"more than {study.tables.wrong_deg:g}° off (% of indexed points)"
    ax.set(xscale="log", ylim=(-2, 102), ylabel=words)
    ax.set_xlabel("patterns of the grain's orientation shown in training")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(**_BESIDE)
    return figure


def _looks(study: Study) -> Iterator[tuple[str, dict]]:
    """Yield each model with its line's colour, style and label."""
    named, betas = set(), sorted({model.beta for model in study.models.values()} - {1})
    styles = {1: "-"} | dict(zip(betas, _DASHES, strict=False))
    for name, model in study.models.items():
        kind = model.recipe.model_dump_json(exclude={"seed"})
        label = name if kind not in named else None  # further seeds look alike
        named.add(kind)
        dash = ":" if model.loss == "contrastive" else styles.get(model.beta, _DASHES[-1])
        yield name, {"color": _COLOURS[model.latent_dim], "ls": dash, "label": label}
