"""How each model of a study learned: over all patterns shown, and by orientation."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from kikuhelpers.baselines.methods import load_spectrum
from kikuhelpers.figures import drawing, style
from kikuhelpers.runs.results import Results
from kikuhelpers.study import LATENT_DIMENSIONS, Study, roles
from kikuhelpers.tables.table1 import WRONG_DEG, title_of

_HEIGHT_MM = 90.0
_DASHES = ("--", "-.", (0, (6, 1, 1, 1, 1, 1)))  # by beta above 1
_MARKERS = "osD^v"  # by training, of models otherwise alike
_ROUNDING = 1e-6  # of the sample's variance; less is left by arithmetic alone
_FAINT = 0.4  # opacity of an interval
_EVERY = 0.15  # of the axes, between two markers of a curve
_SMOOTHED_LINES = 5  # of the history, in a running mean
_CURVES = {  # column of the history: its words
    "reconstruction": "half sum of squares per pattern, latents drawn",
    "active_units": "active latent features",
}


@style.print_style
def learning_curves(results: Results) -> style.PaperFigure:
    """Draw the loss (A) and the active features (B) of every model over its training.

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
            shown = history["presentations"] / 1000
            ax.plot(shown, smooth[column], lw=0.9, markevery=_EVERY, **look)
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
    drawing.label_log_axis(axes[0].yaxis)
    for ax, panel, words in zip(axes, "AB", _CURVES.values(), strict=True):
        ax.set(xlabel="patterns shown (thousands)", ylabel=words)
        drawing.letter(ax, panel, size_pt=style.TEXT_PT)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


@style.print_style
def learned_orientations(results: Results) -> style.PaperFigure:
    """Draw how many points each model gets wrong by how often it saw their orientation.

    The grains of orientation_shares.csv, in bins of a factor of two; a grain's orientation was
    shown as often as its share of the training sample times the presentations. Bars are Wilson
    intervals in which a grain counts once, for its points go right or wrong together. Looks are
    those of :func:`learning_curves`. Models that hold out grains are left out.
    """
    study, table = results.study, pd.read_csv(results.layout.figures / "orientation_shares.csv")
    table = table[table["share_pct"] > 0]
    if table.empty:
        return style.dropped_figure("Learned orientations: no grain lies in the training sample.")
    title = f"Wrong points by how often their orientation was shown\n{title_of(study)}"
    figure = style.new_figure(_HEIGHT_MM, title, style.COLUMN_MM, layout="constrained")
    ax = figure.subplots()
    for place, (name, look) in enumerate(_looks(study), start=1):
        grains = table[table["model"] == name]
        if study.model(name).hold_out is not None or grains.empty:
            continue
        shown = grains["share_pct"] / 100 * results.model(name).history["presentations"].iloc[-1]
        indexed = grains["points"] * grains["indexed_pct"] / 100
        sums = {"wrong": grains["wrong_pct"] * indexed, "indexed": indexed, "grains": 1}
        sums = pd.DataFrame(sums).groupby(np.floor(np.log2(shown))).sum().query("indexed > 0")
        wrong = sums["wrong"] / sums["indexed"]
        lost = (wrong * sums["grains"] / 100).round().astype(int)
        trials = map(binomtest, lost, sums["grains"])
        ends = [trial.proportion_ci(method="wilson") for trial in trials]
        bars = np.abs(100 * np.array(ends).T - wrong.to_numpy())
        places = 2 ** (sums.index.to_numpy() + place / (len(study.models) + 1))  # side by side
        faint = (*look["color"][:3], _FAINT)
        ax.errorbar(places, wrong, bars, lw=0.9, elinewidth=0.5, ecolor=faint, **look)
    words = f"more than {WRONG_DEG:g}° off (% of indexed points)"
    ax.set(xscale="log", ylim=(-2, 102), ylabel=words)
    ax.set_xlabel("patterns of the grain's orientation shown in training")
    drawing.label_log_axis(ax.xaxis)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _looks(study: Study) -> Iterator[tuple[str, dict]]:
    """Yield each model and its look: colour by dimension, line by beta or loss, else marker."""
    trainings, betas = {}, sorted({model.beta for model in study.models.values()} - {1})
    styles = {1: "-"} | dict(zip(betas, _DASHES, strict=False))
    for name, model in study.models.items():
        alike = trainings.setdefault((model.latent_dim, model.beta, model.loss), [])
        kind = model.recipe.model_dump_json(exclude={"seed"})
        label = None if kind in alike else name  # further seeds look alike
        alike += [kind] * bool(label)
        dash = ":" if model.loss == "contrastive" else styles.get(model.beta, _DASHES[-1])
        marker = _MARKERS[alike.index(kind) % len(_MARKERS)]
        look = {"color": drawing.DIMENSION_COLOURS[model.latent_dim], "ls": dash, "ms": 3}
        yield name, look | {"marker": marker, "label": label}
