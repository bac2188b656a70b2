"""Which latent feature shows what: measures, and the feature that has most of one.

The number of a latent feature depends on the seed of the training. So each panel names a
property, and the feature that has most of it is drawn, chosen by a measure and never by eye,
with the measure in its title.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.ndimage import find_objects, gaussian_filter, median_filter
from scipy.stats import kurtosis, rankdata, zscore

from kikuhelpers.latents.view import View
from kikuhelpers.study.models import ACTIVE_VARIANCE

ALIKE = 0.9  # likeness from which on features are said to be one
LARGEST = 10  # features by variance, whose likeness counts
BAND = 0.7, 2.0  # points: standard deviations of the Gaussians whose difference shows walls
BLOCK = 8  # features measured at a time, to bound memory on large maps


@dataclass(frozen=True)
class Choice:
    """A latent feature and why it was chosen."""

    model: str
    index: int  # position in the latent vector, from 0
    measure: str
    value: float | None = None  # None where no measure chose it

    @property
    def name(self) -> str:
        """Model and feature number, for a title."""
        return f"{self.model}, feature {self.index}"

    @property
    def reason(self) -> str:
        """Measure and its value, for a title."""
        return self.measure if self.value is None else f"{self.measure} {self.value:.2f}"

    def map_of(self, view: View) -> np.ndarray:
        """Latent means of the feature over a view, (rows, columns)."""
        return np.array(view.latents(self.model)[..., self.index])


def grain_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature that shows the grains best: orientation's share of variance x Moran's I."""
    table = view.features(model)
    share = table["rho_orientation"].to_numpy()
    if np.isnan(share).all():  # the measures did not wait for the grains
        share = _over_features(view, model, partial(variance_between, labels=view.grains()))
    score = share * table["moran_i"].to_numpy()
    return _best(view, model, score, "grain share × Moran's I", taken)


def cell_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature that shows cell walls best: share of the variance in grains at 0.7 to 2 points.

    The difference of two Gaussians passes thin lines, and less of smooth rotation domains, which
    Moran's I prefers. It is blind to walls that are wider than some 5 points. The band was picked,
    of six, by the truth of virtual AM maps.
    """
    score = _over_features(view, model, partial(band_share, grains=view.grains()))
    return _best(view, model, score, "share at 0.7-2 points", taken)


def domain_feature(view: View, model: str) -> Choice:
    """Feature that shows rotation domains best: Moran's I of its standardised grains.

    Each grain is brought to mean 0 and variance 1, or one strongly rotated grain would
    decide alone. Of five variants tried on PCA features of virtual specimens this one ranked
    the features most like their true share of domain variance in five of six cases, one a tie.
    """
    score = _over_features(view, model, morans_i, view.grains())
    return _best(view, model, score, "Moran's I in grains")


def rotation_feature(view: View, model: str, taken: Collection[int] = ()) -> Choice:
    """Feature that follows the lattice rotation best: rank correlation with GROD."""
    grod = view.property_map("grod_deg").ravel()
    score = _over_features(view, model, lambda x: rank_correlation(x.reshape(len(grod), -1), grod))
    return _best(view, model, score, "|ρ| with GROD", taken)


def spot_feature(view: View, model: str) -> Choice:
    """Feature with the most isolated spots: excess kurtosis of its local outliers."""
    grains = view.grains()
    score = _over_features(view, model, lambda x: kurtosis(local_outliers(x, grains), axis=(0, 1)))
    return _best(view, model, score, "kurtosis of outliers")


def structured_features(view: View, model: str, count: int) -> list[Choice]:
    """Features of most spatial structure on the whole scan (Moran's I), best first."""
    score = view.features(model)["moran_i"].to_numpy()
    chosen: list[Choice] = []
    for _ in range(min(count, len(score))):
        chosen.append(_best(view, model, score, "Moran's I", [choice.index for choice in chosen]))
    return chosen


def standardised_in_grains(maps: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Bring every grain to mean 0 and variance 1; points without a grain become 0.

    Parameters
    ----------
    maps
        (rows, columns) or (rows, columns, D).
    grains
        (rows, columns) labels, -1 for none.

    Returns
    -------
    numpy.ndarray
        Of the shape of the maps.
    """
    flat, labels = maps.reshape(grains.size, -1).astype(float), grains.ravel()
    means, rows = _means_by_label(flat, labels)
    residual = flat - means[rows]
    variances, _ = _means_by_label(residual**2, labels)
    spread = np.sqrt(variances)[rows]
    known = (labels >= 0)[:, None] & (spread > 0)
    standard = np.divide(residual, spread, out=np.zeros_like(residual), where=known)
    return standard.reshape(maps.shape)


def smoothed_in_grains(maps: np.ndarray, grains: np.ndarray, points: float) -> np.ndarray:
    """Smooth maps (rows, columns, D) by a Gaussian of so many points, each grain by itself.

    NaN and points without a grain (-1) add nothing, and points with nothing near are NaN.
    """
    maps = np.where((grains >= 0)[..., None], maps, np.nan)
    if not points:
        return maps
    smooth, sigma = np.full(maps.shape, np.nan, np.float32), (points, points, 0)
    for label, box in enumerate(find_objects(grains + 1)):
        if box is None:
            continue
        inside = (grains[box] == label)[..., None]
        there = (inside & np.isfinite(maps[box])).astype(np.float32)
        sums = gaussian_filter(np.where(there, maps[box], 0), sigma, mode="constant")
        weights = gaussian_filter(there, sigma, mode="constant")
        mean = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 1e-3)
        smooth[box] = np.where(inside, mean, smooth[box])
    return smooth


def band_share(maps: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Share (D,) of the variance of maps (rows, columns, D) inside grains in the band BAND."""
    standard = standardised_in_grains(maps, grains)
    fine, coarse = (smoothed_in_grains(standard, grains, sigma) for sigma in BAND)
    return np.nan_to_num(np.nanvar(fine - coarse, axis=(0, 1)))


def local_outliers(maps: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Distance of maps (rows, columns, D) from the median of 5 x 5 points, in spreads of a grain.

    Each grain is standardised first, so that a boundary is no outlier.
    """
    standard = standardised_in_grains(maps, grains)
    return np.abs(standard - median_filter(standard, (5, 5, 1), mode="nearest"))


def feature_measures(latents: np.ndarray, maps: dict[str, np.ndarray], grains: np.ndarray):
    """Measure every latent feature map.

    Parameters
    ----------
    latents
        (rows, columns, D), NaN where a pattern is empty: such points do not count.
    maps
        Physical maps (rows, columns) by name, for example "pq", "grod"; NaN where unknown.
    grains
        (rows, columns) grain labels, -1 for none.

    Returns
    -------
    pandas.DataFrame
        One row per feature: ``feature`` (its number, from 0 as everywhere), ``variance``,
        ``active``, ``moran_i`` (spatial structure, 0 for none), ``rho_<name>`` (absolute Spearman
        correlation with each map), ``rho_orientation`` (share of the variance between grains).
    """
    tables = [_measures_of(block, maps, grains) for block in _blocks(latents)]
    return pd.concat(tables, ignore_index=True).rename_axis("feature").reset_index()


def _measures_of(block: np.ndarray, maps: dict[str, np.ndarray], grains: np.ndarray):
    flat = block.reshape(-1, block.shape[-1])
    there = np.isfinite(flat[:, 0])
    flat = flat[there]
    variance = flat.var(axis=0)
    measures = {
        "variance": variance,
        "active": variance > ACTIVE_VARIANCE,
        "moran_i": morans_i(block),
        **{f"rho_{n}": rank_correlation(flat, v.ravel()[there]) for n, v in maps.items()},
        "rho_orientation": variance_between(flat, grains.ravel()[there]),
    }
    return pd.DataFrame(measures)


def likeness(latents: np.ndarray) -> float:
    """Return how alike the ten features of largest variance are: near 1, they are one feature.

    Parameters
    ----------
    latents
        (rows, columns, D).

    Returns
    -------
    float
        Median absolute correlation of their pairs over the points; 0 with fewer than two.
    """
    variance = np.concatenate([np.nanvar(block, axis=(0, 1)) for block in _blocks(latents)])
    largest = [i for i in np.argsort(-variance)[:LARGEST] if variance[i] > ACTIVE_VARIANCE]
    if len(largest) < 2:
        return 0.0
    flat = latents[..., largest].reshape(-1, len(largest))
    related = np.abs(np.corrcoef(flat[np.isfinite(flat[:, 0])].T))
    return float(np.median(related[np.triu_indices(len(largest), 1)]))


def morans_i(maps: np.ndarray) -> np.ndarray:
    """Moran's I of maps (rows, columns, D) over the four neighbours, (D,).

    1 for a smooth map, near 0 for one without spatial structure (Moran 1950,
    doi:10.1093/biomet/37.1-2.17). Points that are NaN do not count.
    """
    there = np.isfinite(maps[..., 0])
    centred = np.nan_to_num(maps - np.nanmean(maps, axis=(0, 1)))
    across = (centred[1:] * centred[:-1]).sum(axis=(0, 1))
    along = (centred[:, 1:] * centred[:, :-1]).sum(axis=(0, 1))
    pairs = int((there[1:] & there[:-1]).sum() + (there[:, 1:] & there[:, :-1]).sum())
    square = (centred**2).mean(axis=(0, 1)) / float(there.mean())
    variance = np.maximum(square, np.finfo(np.float32).tiny)
    return (across + along) / pairs / variance


def rank_correlation(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Absolute Spearman correlation of features (n, D) with values (n,), NaN left out."""
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return np.full(features.shape[1], np.nan)
    ranks, of_values = (rankdata(x[known], axis=0) for x in (features, values))
    with np.errstate(invalid="ignore"):  # a feature without variance
        return np.abs(np.nan_to_num(zscore(of_values) @ zscore(ranks) / len(ranks)))


def variance_between(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of the variance of features (..., D) that lies between labels (...), (D,), 0 to 1."""
    inside = labels >= 0
    features, labels = features[inside], labels[inside]
    if not len(labels):
        return np.full(features.shape[1], np.nan)
    means, groups, centre = *_means_by_label(features, labels), features.mean(axis=0)
    between = (np.bincount(groups)[:, None] * (means - centre) ** 2).sum(axis=0)
    total = np.maximum(((features - centre) ** 2).sum(axis=0), np.finfo(np.float32).tiny)
    return between / total


def _means_by_label(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of features (n, D) over each label, (labels, D), and the row of each point, (n,)."""
    _, rows, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(rows, feature) for feature in features.T], axis=1)
    return sums / counts[:, None], rows


def _over_features(view: View, model: str, measure: Callable, grains: np.ndarray | None = None):
    """Measure (rows, columns, some features) of every feature, inside the grains if given."""
    blocks = _blocks(view.latents(model))
    if grains is not None:
        blocks = (standardised_in_grains(block, grains) for block in blocks)
    return np.concatenate([measure(block) for block in blocks])


def _blocks(latents: np.ndarray):
    """Yield some features of latents (rows, columns, D) at a time, in memory."""
    for start in range(0, latents.shape[-1], BLOCK):
        yield np.array(latents[..., start : start + BLOCK])


def _best(view: View, model: str, score: np.ndarray, measure: str, taken: Collection[int] = ()):
    # A feature that the KL term switched off carries no information: its map is
    # arithmetic noise. Only a model without any active feature may show one.
    active = view.features(model)["active"].to_numpy(bool)
    allowed = active if active.any() else np.ones_like(active)
    allowed = allowed & ~np.isin(np.arange(len(score)), list(taken))
    score = np.where(allowed & np.isfinite(score), score, -np.inf)
    index = int(np.argmax(score))
    return Choice(model, index, measure, float(score[index]))
