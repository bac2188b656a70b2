"""Latent features on the specimen: every pattern encoded and mapped on the scan grid.

The number of a feature depends on the seed of the training, so features are found by
measures that need no eye: Moran's I for spatial structure, rank correlation with the
physical maps, and the share of variance that orientation (grain) explains.
"""

from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor

from kikuhelpers.patterns.up2 import HALF_RANGE, release
from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.runs.files import temporary_name, written_aside
from kikuhelpers.runs.progress import progress_bar
from kikuhelpers.training.loop import ACTIVE_VARIANCE
from kikuhelpers.training.vae import KikuchiVAE

BATCH = 256  # patterns per pass of the network; any size gives the same values


@torch.inference_mode()
def encode_map(
    model: KikuchiVAE, patterns: np.ndarray, precision: str, path: Path | None = None
) -> np.ndarray:
    """Return the latent mean of every pattern.

    Parameters
    ----------
    model
        A trained model.
    patterns
        (rows, columns, height, width) uint16 counts, read batch by batch.
    precision
        As in training: "auto", "bfloat16" or "float32".
    path
        A .npy file to write the latents to as they come, so that memory does not grow with
        the map; without it they are kept in memory only.

    Returns
    -------
    numpy.ndarray
        (rows, columns, D) float32; with a path, its memory map.
    """
    shape = (*patterns.shape[:2], model.latent_dim)
    if path is None:
        latents = np.empty(shape, np.float32)
        _encode_into(latents, model, patterns, precision)
        return latents
    with written_aside(path) as temporary:
        latents = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        _encode_into(latents, model, patterns, precision)
        latents.flush()
    return np.load(path, mmap_mode="r")


def _encode_into(
    latents: np.ndarray, model: KikuchiVAE, patterns: np.ndarray, precision: str
) -> None:
    flat, out = patterns.reshape(-1, *patterns.shape[2:]), latents.reshape(-1, latents.shape[-1])
    with progress_bar(len(flat), "encoding") as bar:
        for start in range(0, len(flat), BATCH):
            counts = flat[start : start + BATCH]
            with arithmetic(precision):
                mean, _ = model.encode(intensity_on_device(counts))
            out[start : start + BATCH] = mean.cpu().numpy()
            release(counts)
            release(out[start : start + BATCH])
            bar.update(len(counts))


def intensity_on_device(counts: np.ndarray) -> Tensor:
    """Turn counts (n, height, width) into (n, 1, height, width) intensities on the device."""
    batch = torch.from_numpy(np.array(counts)).to(device())  # 16 bit on the way there
    return batch.unsqueeze(1).to(torch.float32).div_(HALF_RANGE).sub_(1)


def save_hyperspy(path: Path, latents: np.ndarray, step_um: float) -> None:
    """Write latents (rows, columns, D) for hyperspy (.hspy), with map axes in um."""
    signal = hs.signals.Signal1D(latents)
    signal.metadata.General.title = "latent features"
    for axis, name in zip(signal.axes_manager.navigation_axes, "xy", strict=True):
        axis.name, axis.scale, axis.units = name, step_um, "um"
    signal.axes_manager.signal_axes[0].name = "latent feature"
    temporary = temporary_name(path)
    signal.save(temporary, overwrite=True)
    temporary.replace(path)


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


def save_features(path, measures: pd.DataFrame) -> None:
    """Write the measures of the features as CSV."""
    with written_aside(path) as temporary:
        measures.to_csv(temporary, index=False, float_format="%.6g")


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
    _, groups, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, groups, features)
    centre = features.mean(axis=0)
    between = (counts[:, None] * (sums / counts[:, None] - centre) ** 2).sum(axis=0)
    total = np.maximum(((features - centre) ** 2).sum(axis=0), np.finfo(np.float32).tiny)
    return between / total
