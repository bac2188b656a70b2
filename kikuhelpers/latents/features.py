"""The latent feature that a panel shows, chosen by a measure and never by hand.

The number of a latent feature depends on the seed of the training. So each panel names a
property, and the feature that has most of it is drawn, with the measure in its title.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import kurtosis

from kikuhelpers.latents.measures import means_by_label, morans_i, rank_correlation
from kikuhelpers.latents.view import View

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

    def map_of(self, view: View) -> np.ndarray:
        """Latent means of the feature over a view, (rows, columns)."""
        return np.array(view.latents(self.model)[..., self.index])


def grain_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature that shows the grains best: orientation's share of variance x Moran's I."""
    table = view.features(model)
    score = (table["rho_orientation"] * table["moran_i"]).to_numpy()
    return _best(view, model, score, "grain share × Moran's I", taken)


def cell_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature with most structure inside the grains: Moran's I of its standardised grains.

    Each grain is brought to mean 0 and variance 1, or one strongly rotated grain would
    decide alone. Of five variants tried on PCA features of virtual specimens this one ranked
    the features most like their true share of domain variance in five of six cases, one a tie.
    """
    score = _over_features(view, model, morans_i, view.grains())
    return _best(view, model, score, "Moran's I in grains", taken)


def rotation_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature that follows the lattice rotation best: rank correlation with GROD."""
    grod = view.property_map("grod_deg").ravel()
    score = _over_features(view, model, lambda x: rank_correlation(x.reshape(len(grod), -1), grod))
    return _best(view, model, score, "|ρ| with GROD", taken)


def spot_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature with the most isolated spots: excess kurtosis within the grains."""
    score = _over_features(view, model, partial(kurtosis, axis=(0, 1)), view.grains())
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
    flat, labels = maps.reshape(-1, maps.shape[-1]).astype(float), grains.ravel()
    means, rows = means_by_label(flat, labels)
    residual = flat - means[rows]
    variances, _ = means_by_label(residual**2, labels)
    spread = np.sqrt(variances)[rows]
    known = (labels >= 0)[:, None] & (spread > 0)
    standard = np.divide(residual, spread, out=np.zeros_like(residual), where=known)
    return standard.reshape(maps.shape)


def _over_features(view: View, model: str, measure: Callable, grains: np.ndarray | None = None):
    """Measure (rows, columns, some features) of every feature, inside the grains if given."""
    latents, scores = view.latents(model), []
    for start in range(0, latents.shape[-1], BLOCK):
        maps = np.array(latents[..., start : start + BLOCK])
        scores.append(measure(maps if grains is None else standardised_in_grains(maps, grains)))
    return np.concatenate(scores)


def _best(view: View, model: str, score: np.ndarray, measure: str, taken: Collection[int]):
    # A feature that the KL term switched off carries no information: its map is
    # arithmetic noise. Only a model without any active feature may show one.
    active = view.features(model)["active"].to_numpy(bool)
    allowed = active if active.any() else np.ones_like(active)
    allowed = allowed & ~np.isin(np.arange(len(score)), list(taken))
    score = np.where(allowed & np.isfinite(score), score, -np.inf)
    index = int(np.argmax(score))
    return Choice(model, index, measure, float(score[index]))
