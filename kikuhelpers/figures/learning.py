"""How each model of a study learned: over all patterns shown, and by orientation."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib import colormaps

from kikuhelpers.baselines.decompositions import load_spectrum
from kikuhelpers.figures import selection
from kikuhelpers.figures.drawing import letter
from kikuhelpers.figures.style import SMALL_PT, PaperFigure, new_figure, print_style
from kikuhelpers.runs.available import with_results
from kikuhelpers.runs.files import require
from kikuhelpers.study.baselines import largest_pca
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import LATENT_DIMENSIONS, Model, Study
from kikuhelpers.tables.table1 import title_of

_HEIGHT_MM = 75.0
_SINGLE_MM = 120.0  # width of a single plot with its legend
_COLOURS = dict(
    zip(LATENT_DIMENSIONS, colormaps["viridis"]([0.0, 0.25, 0.5, 0.7, 0.9]), strict=True)
)
_DASHES = ("--", "-.", (0, (6, 1, 1, 1, 1, 1)))  # by beta above 1
_MARKERS = "osD^v"  # by training, of models otherwise alike
_SMOOTHED_LINES = 5  # of the history, in a running mean


@print_style
def learning_curves(study: Study) -> PaperFigure:
    """Draw the loss (A) and the active features (B) of every model over its training.

    Colours are latent dimensions; dashes tell beta above 1, dots the contrastive loss.
    Horizontal lines are what a PCA of 16 and of as many components as the largest VAE leaves
    of the sample.
    """
    study, _ = with_results(study)
    figure = new_figure(_HEIGHT_MM, layout="constrained")
    figure.suptitle(f"Learning curves: {title_of(study)}")
    axes = figure.subplots(1, 2)
    for name, look in _looks(study):
        history = _history(study, name)
        shown = history["presentations"] / 1000
        for ax, column in zip(axes, ("reconstruction", "active_units"), strict=True):
            smooth = history[column].rolling(_SMOOTHED_LINES, min_periods=1, center=True).mean()
            ax.plot(shown, smooth, lw=0.9, alpha=0.9, **look)
    if largest_pca(study.baselines):
        spectrum, largest = load_spectrum(study), study.model(selection.largest_vae(study))
        for count in (LATENT_DIMENSIONS[0], largest.latent_dim):
            left = spectrum.residual(count)
            axes[0].axhline(left, color="0.6", lw=0.6, zorder=0)
            axes[0].annotate(
                f"PCA-{count}",
                (0.99, left),
                xycoords=("axes fraction", "data"),
                fontsize=SMALL_PT,
                ha="right",
                va="bottom",
            )
    axes[0].set_yscale("log")
    axes[0].yaxis.set_minor_formatter("{x:g}")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel("half sum of squares per pattern, latents drawn")
    axes[1].set_ylabel("active latent features")
    for ax, panel in zip(axes, "AB", strict=True):
        ax.set_xlabel("patterns shown (thousands)")
        letter(ax, panel)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


@print_style
def learned_orientations(study: Study) -> PaperFigure:
    """Draw how many points each model gets wrong by how often it saw their orientation.

    The grains of orientation_shares.csv, in bins of a factor of two; a grain's orientation was
    shown as often as its share of the training sample times the presentations. Colours and
    dashes as in :func:`learning_curves`, markers tell how models alike were trained. Models
    that hold out grains are left out.
    """
    study, _ = with_results(study)
    table = pd.read_csv(require(Layout(study).orientation_shares, "notebook 07_table1"))
    figure = new_figure(_HEIGHT_MM, _SINGLE_MM, layout="constrained")
    figure.suptitle(f"Wrong points by how often their orientation was shown\n{title_of(study)}")
    ax, trainings = figure.subplots(), {}
    for name, look in _looks(study):
        model = study.model(name)
        if model.hold_out is not None:
            continue
        alike = trainings.setdefault((model.latent_dim, model.beta, model.loss), [])
        if model.training not in alike:
            alike.append(model.training)
        marker = _MARKERS[alike.index(model.training) % len(_MARKERS)]
        grains = table[(table["model"] == name) & (table["share_pct"] > 0)]
        shown = grains["share_pct"] / 100 * _history(study, name)["presentations"].iloc[-1]
        indexed = grains["points"] * grains["indexed_pct"] / 100
        sums = pd.DataFrame({"wrong": grains["wrong_pct"] * indexed, "indexed": indexed})
        sums = sums.groupby(np.floor(np.log2(shown))).sum()
        middles = 2 ** (sums.index.to_numpy() + 0.5)
        ax.plot(middles, sums["wrong"] / sums["indexed"], marker=marker, ms=3, lw=0.9, **look)
    ax.set(xscale="log", ylim=(-2, 102))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("patterns of the grain's orientation shown in training")
    ax.set_ylabel(f"more than {study.indexing.wrong_deg:g}° off (% of indexed points)")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _looks(study: Study) -> Iterator[tuple[str, dict]]:
    """Yield each model with its line's colour, style and label."""
    named, betas = set(), sorted({model.beta for model in study.models.values()} - {1})
    styles = {1: "-"} | dict(zip(betas, _DASHES, strict=False))
    for name, model in study.models.items():
        label = name if _kind(model) not in named else None  # further seeds look alike
        named.add(_kind(model))
        style = ":" if model.loss == "contrastive" else styles.get(model.beta, _DASHES[-1])
        yield name, {"color": _COLOURS[model.latent_dim], "ls": style, "label": label}


def _history(study: Study, model: str) -> pd.DataFrame:
    return pd.read_csv(require(Layout(study).model(model).history, "notebook 03_training"))


def _kind(model: Model) -> str:
    return model.model_dump_json(exclude={"seed"})
