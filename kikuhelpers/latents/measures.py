"""Which latent feature shows what: measures that need no eye.

The number of a feature depends on the seed of the training, so features are found by
measures: Moran's I for spatial structure, rank correlation with the physical maps, and the
share of variance that orientation (grain) explains.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from kikuhelpers.study.models import ACTIVE_VARIANCE


def feature_measures(latents: np.ndarray, maps: dict[str, np.ndarray], grains: np.ndarray):
    """Measure every latent feature map.

    Parameters
    ----------
    latents
        (rows, columns, D).
    maps
        Physical maps (rows, columns) by name, for example "pq", "grod"; NaN where unknown.
    grains
        (rows, columns) grain labels, -1 for none.

    Returns
    -------
    pandas.DataFrame
        One row per feature: ``feature`` (from 1), ``variance``, ``active``, ``moran_i``
        (spatial structure, 0 for none), ``rho_<name>`` (absolute Spearman correlation
        with each map), ``rho_orientation`` (share of the variance between grains).
    """
    flat = latents.reshape(-1, latents.shape[-1])
    variance = flat.var(axis=0)
    measures = {
        "feature": np.arange(1, flat.shape[1] + 1),
        "variance": variance,
        "active": variance > ACTIVE_VARIANCE,
        "moran_i": morans_i(latents),
    }
    for name, values in maps.items():
        measures[f"rho_{name}"] = rank_correlation(flat, values.ravel())
    measures["rho_orientation"] = variance_between(flat, grains.ravel())
    return pd.DataFrame(measures)


def morans_i(maps: np.ndarray) -> np.ndarray:
    """Moran's I of maps (rows, columns, D) over the four neighbours, (D,).

    1 for a smooth map, near 0 for one without spatial structure (Moran 1950,
    doi:10.1093/biomet/37.1-2.17).
    """
    centred = maps - maps.mean(axis=(0, 1))
    across = (centred[1:] * centred[:-1]).sum(axis=(0, 1))
    along = (centred[:, 1:] * centred[:, :-1]).sum(axis=(0, 1))
    rows, columns = maps.shape[:2]
    pairs = (rows - 1) * columns + rows * (columns - 1)
    variance = np.maximum((centred**2).mean(axis=(0, 1)), np.finfo(np.float32).tiny)
    return (across + along) / pairs / variance


def rank_correlation(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Absolute Spearman correlation of features (n, D) with values (n,), NaN left out."""
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return np.full(features.shape[1], np.nan)
    ranks = rankdata(features[known], axis=0)
    other = rankdata(values[known])
    ranks, other = ranks - ranks.mean(axis=0), other - other.mean()
    norm = np.linalg.norm(ranks, axis=0) * np.linalg.norm(other)
    return np.abs(other @ ranks) / np.maximum(norm, np.finfo(np.float32).tiny)


def variance_between(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of the variance of features (n, D) that lies between labels, (D,), 0 to 1."""
    inside = labels >= 0
    features, labels = features[inside], labels[inside]
    if not len(labels):
        return np.full(features.shape[1], np.nan)
    means, groups, centre = *means_by_label(features, labels), features.mean(axis=0)
    between = (np.bincount(groups)[:, None] * (means - centre) ** 2).sum(axis=0)
    total = np.maximum(((features - centre) ** 2).sum(axis=0), np.finfo(np.float32).tiny)
    return between / total


def means_by_label(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of features (n, D) over each label, (labels, D), and the row of each point, (n,)."""
    _, rows, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, rows, features)
    return sums / counts[:, None], rows
