"""What a figure shows, chosen by measures and never by hand.

The number of a latent feature depends on the seed of the training. So each panel names a
property, and the feature that has most of it is drawn, with the measure in its title.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from scipy.stats import kurtosis

from kikuhelpers.figures.views import View
from kikuhelpers.latents.encoding import morans_i, rank_correlation
from kikuhelpers.study.study import Study

BLOCK = 16  # features measured at a time, to bound memory on large maps


@dataclass(frozen=True)
class Choice:
    """A latent feature and why it was chosen."""

    model: str
    index: int  # position in the latent vector, from 0
    measure: str
    value: float

    @property
    def name(self) -> str:
        """Model and feature number (from 1), for a title."""
        return f"{self.model}, feature {self.index + 1}"

    @property
    def reason(self) -> str:
        """Measure and its value, for a title."""
        return f"{self.measure} {self.value:.2f}"


# ------------------------------------------------------------ scans and models


def scan_of(study: Study, alloy: str) -> str | None:
    """Return the first mapped scan of an alloy, "wrought" ("other" counts as such) or "am"."""
    return _first(study, study.mapped_scans, alloy)


def decoded_scan(study: Study) -> str:
    """Return the first wrought scan whose patterns are decoded; without any, another one."""
    return _first(study, study.decoded_scans, "wrought") or study.decoded_scans[0]


def _first(study: Study, names: list[str], alloy: str) -> str | None:
    kinds = {"am"} if alloy == "am" else {"wrought", "other"}
    return next((name for name in names if study.scan(name).alloy in kinds), None)


def fine_scan(study: Study) -> str | None:
    """Return the AM scan of the smallest step, if it is finer than the first AM scan."""
    first = scan_of(study, "am")
    if first is None:
        return None
    scans = {name: study.scan(name) for name in study.mapped_scans}
    steps = {name: scan.step_um for name, scan in scans.items() if scan.alloy == "am"}
    finest = min(steps, key=steps.get)
    return finest if steps[finest] < steps[first] else None


def vaes(study: Study) -> list[str]:
    """Return the conventional VAEs (beta = 1), one per latent dimension, smallest first."""
    by_dimension = {}
    for name, model in study.models.items():
        if model.loss == "vae" and model.beta == 1:
            by_dimension.setdefault(model.latent_dim, name)
    return [by_dimension[dimension] for dimension in sorted(by_dimension)]


def largest_vae(study: Study) -> str:
    """Return the conventional VAE of most dimensions; without any, the largest model."""
    names = vaes(study) or sorted(study.models, key=lambda name: study.model(name).latent_dim)
    return names[-1]


def beta_series(study: Study) -> list[str]:
    """Return beta-VAEs of one dimension, lowest beta first, led by their conventional VAE.

    Where beta-VAEs of several dimensions were trained, the dimension of most of them is
    taken. Without any, the list holds the largest conventional VAE alone.
    """
    others = [n for n, model in study.models.items() if model.loss == "vae" and model.beta != 1]
    if not others:
        return [largest_vae(study)]
    dimension = Counter(study.model(name).latent_dim for name in others).most_common(1)[0][0]
    series = [name for name in [*vaes(study), *others] if study.model(name).latent_dim == dimension]
    return sorted(series, key=lambda name: study.model(name).beta)


def contrastive_models(study: Study) -> list[str]:
    """Return the models trained with the contrastive loss."""
    return [name for name, model in study.models.items() if model.loss == "contrastive"]


# ------------------------------------------------------------------- features


def grain_feature(view: View, model: str) -> Choice:
    """Feature that shows the grains best: orientation's share of variance x Moran's I."""
    table = view.features(model)
    score = (table["rho_orientation"] * table["moran_i"]).to_numpy()
    return _best(view, model, score, "grain share × Moran's I", ())


def cell_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature with most structure inside the grains: Moran's I of its standardised grains.

    Each grain is brought to mean 0 and variance 1, or one strongly rotated grain would
    decide alone. Of five variants tried on PCA features of virtual specimens this one ranked
    the features most like their true share of domain variance in five of six cases, one a tie.
    """
    grains = view.grains()
    score = _over_features(view, model, lambda x: morans_i(standardised_in_grains(x, grains)))
    return _best(view, model, score, "Moran's I in grains", taken)


def rotation_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature that follows the lattice rotation best: rank correlation with GROD."""
    grod = view.property_map("grod_deg").ravel()
    score = _over_features(
        view, model, lambda x: rank_correlation(x.reshape(-1, x.shape[-1]), grod)
    )
    return _best(view, model, score, "|ρ| with GROD", taken)


def spot_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature with the most isolated spots: excess kurtosis within the grains."""
    grains = view.grains()
    score = _over_features(
        view, model, lambda x: kurtosis(standardised_in_grains(x, grains), axis=(0, 1))
    )
    return _best(view, model, score, "excess kurtosis", taken)


def structured_features(view: View, model: str, count: int) -> list[Choice]:
    """Features of most spatial structure on the whole scan (Moran's I), best first."""
    score = view.features(model)["moran_i"].to_numpy()
    chosen: list[Choice] = []
    for _ in range(min(count, len(score))):
        taken = [choice.index for choice in chosen]
        chosen.append(_best(view, model, score, "Moran's I", taken))
    return chosen


def standardised_in_grains(maps: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Bring every grain to mean 0 and variance 1; points without a grain become 0.

    Parameters
    ----------
    maps
        (rows, columns, D).
    grains
        (rows, columns) labels, -1 for none.

    Returns
    -------
    numpy.ndarray
        (rows, columns, D).
    """
    flat = maps.reshape(-1, maps.shape[-1]).astype(float)
    _, labels, counts = np.unique(grains, return_inverse=True, return_counts=True)
    labels = labels.ravel()

    def grain_means(values):
        sums = np.zeros((len(counts), values.shape[1]))
        np.add.at(sums, labels, values)
        return (sums / counts[:, None])[labels]

    residual = flat - grain_means(flat)
    spread = np.sqrt(grain_means(residual**2))
    known = (grains.ravel() >= 0)[:, None] & (spread > 0)
    standard = np.divide(residual, spread, out=np.zeros_like(residual), where=known)
    return standard.reshape(maps.shape)


def _over_features(view: View, model: str, measure: Callable[[np.ndarray], np.ndarray]):
    latents = view.latents(model)
    starts = range(0, latents.shape[-1], BLOCK)
    return np.concatenate([measure(np.array(latents[..., s : s + BLOCK])) for s in starts])


def _best(view: View, model: str, score: np.ndarray, measure: str, taken: Collection[int]):
    # A feature that the KL term switched off carries no information: its map is
    # arithmetic noise. Only a model without any active feature may show one.
    active = view.features(model)["active"].to_numpy(bool)
    allowed = active if active.any() else np.ones_like(active)
    allowed = allowed & ~np.isin(np.arange(len(score)), list(taken))
    score = np.where(allowed & np.isfinite(score), score, -np.inf)
    index = int(np.argmax(score))
    return Choice(model, index, measure, float(score[index]))


# ------------------------------------------------------------------- patterns


def typical_point(view: View, model: str) -> tuple[int, int]:
    """Point (row, column) whose loss is the median of the indexed points of a view."""
    losses = np.where(view.indexed(), view.losses(model), np.nan)
    finite = losses[np.isfinite(losses)]
    distance = np.abs(losses - np.median(finite))
    return np.unravel_index(int(np.nanargmin(distance)), losses.shape)


def extreme_point(views: list[View], model: str, worst: bool) -> tuple[View, int, int]:
    """View, row and column of the best or the worst reconstruction of several scans."""
    pick = np.argmax if worst else np.argmin
    found = [(view, view.losses(model)) for view in views]
    view, losses = found[int(pick([getattr(v, "max" if worst else "min")() for _, v in found]))]
    return view, *np.unravel_index(int(pick(losses)), losses.shape)
