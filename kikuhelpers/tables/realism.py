"""How alike two scans are: statistics that a virtual scan should share with a measured one.

Taken from preprocessed patterns and their Hough indexing, since these are what the network
and the tables see: the variance by principal component, the power by spatial frequency, the
fit of the bands and the spread of the image quality.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.fft
from sklearn.decomposition import PCA

from kikuhelpers.patterns.masking import is_empty
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED

_COMPONENTS = 20
_SAMPLE = 6000  # patterns drawn at random; enough for the first eigenvalues to 2 %
_HALF_NYQUIST = 0.25  # cycles per pixel
_RING = 0.025  # width of a ring in frequency, cycles per pixel
_QUANTILES = (0.1, 0.9)  # whose distance is the spread of the image quality

# How far a virtual scan may be off to count as alike
_EIGENVALUE_FACTOR = 2.0
_POWER_FRACTION = 0.2
_ANGLE_DEG = 0.1  # of the median fit and misorientation
_SPREAD_FRACTION = 0.2


@dataclass(frozen=True)
class ScanStatistics:
    """Statistics of one scan."""

    eigenvalues: np.ndarray  # (20,) variances of the first components, on the scale of [-1, 1]
    frequency: np.ndarray  # (10,) middles of the rings, cycles per pixel, to half of Nyquist's
    power: np.ndarray  # (10,) mean power in the rings
    fit_deg: float  # median Hough fit of the indexed points
    kam_deg: float  # median kernel average misorientation: how precise Hough indexing is
    quality: tuple[float, float]  # quantiles of the image quality (pq): 10 %, 90 %


def scan_statistics(results: Results, scan: str) -> ScanStatistics:
    """Measure a scan of a study; reads its preprocessed patterns and their orientations."""
    mask, seed = results.scan(scan).mask, results.study.seed
    flat = results.patterns(PREPROCESSED, scan).reshape(-1, *mask.shape)
    rng = np.random.default_rng(seed)
    points = np.sort(rng.choice(len(flat), min(_SAMPLE, len(flat)), replace=False))
    drawn = flat[points]
    drawn = to_intensity(drawn[~is_empty(drawn)])
    xmap = results.orientations(PREPROCESSED, scan)
    pca = PCA(_COMPONENTS, svd_solver="randomized", random_state=seed)
    fit, quality = (xmap.prop[name][xmap.is_indexed] for name in ("fit", "pq"))
    return ScanStatistics(
        pca.fit(drawn[:, mask]).explained_variance_,
        *_power_spectrum(drawn, mask),
        float(np.median(fit)),
        float(np.nanmedian(xmap.prop["kam_deg"])),
        tuple(np.quantile(quality, _QUANTILES).tolist()),
    )


def _power_spectrum(patterns: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles of rings of spatial frequency, cycles per pixel, and the mean power in them.

    The power is the squared modulus of the Fourier transform, per pixel of the mask; a pattern's
    mean inside is subtracted, outside is zero.
    """
    total = np.zeros(scipy.fft.rfft2(mask.astype(np.float32)).shape)
    for chunk in np.array_split(patterns, max(1, len(patterns) // 512)):
        inside = np.where(mask, chunk - chunk[:, mask].mean(axis=1)[:, None, None], 0)
        total += (np.abs(scipy.fft.rfft2(inside)) ** 2).sum(axis=0)
    rows, columns = (np.fft.fftfreq(mask.shape[0]), np.fft.rfftfreq(mask.shape[1]))
    ring = (np.hypot(rows[:, np.newaxis], columns) / _RING).astype(int)
    rings = round(_HALF_NYQUIST / _RING)
    inside = (ring < rings) & (ring + rows[:, np.newaxis] ** 2 + columns**2 > 0)
    power = np.bincount(ring[inside], total[inside]) / np.bincount(ring[inside])
    return (np.arange(rings) + 0.5) * _RING, power / (len(patterns) * mask.sum())


def compare(measured: ScanStatistics, virtual: ScanStatistics) -> pd.DataFrame:
    """Return a row for each statistic: both scans' values, the limit, and whether it holds."""

    def by_ratio(name, pair, limit, low, high):
        ratio = pair[1] / pair[0]
        return name, *pair, ratio, limit, low <= ratio <= high

    factor, power, spread = _EIGENVALUE_FACTOR, _POWER_FRACTION, _SPREAD_FRACTION
    rows = [
        by_ratio(f"PCA eigenvalue {n + 1}", pair, f"factor {factor:g}", 1 / factor, factor)
        for n, pair in enumerate(zip(measured.eigenvalues, virtual.eigenvalues, strict=True))
    ]
    rows += [
        by_ratio(f"power at {f:.4f} cycles/px", pair, f"{power:.0%}", 1 - power, 1 + power)
        for f, *pair in zip(measured.frequency, measured.power, virtual.power, strict=True)
    ]
    spreads = [high - low for low, high in (measured.quality, virtual.quality)]
    rows.append(by_ratio("pq from 10 to 90 %", spreads, f"{spread:.0%}", 1 - spread, 1 + spread))
    for name, field in (("median Hough fit (°)", "fit_deg"), ("median KAM (°)", "kam_deg")):
        pair = getattr(measured, field), getattr(virtual, field)
        alike = abs(pair[1] - pair[0]) <= _ANGLE_DEG
        rows.append((name, *pair, pair[1] / pair[0], f"{_ANGLE_DEG}°", alike))
    columns = ["statistic", "measured", "virtual", "ratio", "limit", "alike"]
    return pd.DataFrame(rows, columns=columns)
