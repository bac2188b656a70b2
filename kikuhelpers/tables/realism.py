"""How alike two scans are: statistics that a virtual scan should share with a measured one.

Taken from preprocessed patterns and their Hough indexing, since these are what the network
and the tables see: the variance by principal component, the power by spatial frequency, and how
noise, image quality, sharpness, fit and KAM are distributed. A study says which of them its
virtual scan was fitted to, and on which rows of the scans they are judged.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.fft
from scipy.ndimage import mean
from scipy.stats import wasserstein_distance
from sklearn.decomposition import PCA

from kikuhelpers.patterns.masking import is_empty
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED

_COMPONENTS = 20
_SAMPLE = 6000  # patterns drawn at random; enough for the first eigenvalues to 2 %
_RING, _RINGS = 0.025, 10  # width of rings in frequency, cycles per pixel; to half of Nyquist's
# Maps whose distributions are compared, by their names in the table. "noise" is on [-1, 1].
_MAPS = {"noise": "noise", "pq": "pq", "sharpness": "sharpness", "fit": "fit", "KAM": "kam_deg"}
_IN_DEGREES = ("fit", "KAM")

# How far a virtual scan may be off to count as alike
_EIGENVALUE_FACTOR = 2.0
_POWER_FRACTION = 0.2
_QUANTILES = (0.1, 0.9)  # whose distance is the spread of a map
_SPREAD_FRACTION = 0.2  # Wasserstein distance of maps, of the measured spread


@dataclass(frozen=True)
class ScanStatistics:
    """Statistics of one scan."""

    eigenvalues: np.ndarray  # (20,) variances of the first components, on the scale of [-1, 1]
    frequency: np.ndarray  # (10,) middles of the rings, cycles per pixel, to half of Nyquist's
    power: np.ndarray  # (10,) mean power in the rings
    maps: dict[str, np.ndarray]  # values of the indexed points, by the names in the table


def scan_statistics(results: Results, scan: str) -> ScanStatistics:
    """Measure a scan of a study; reads its preprocessed patterns and their orientations.

    Only the rows count that the study's comparison names, if it names some.
    """
    mask, seed = results.scan(scan).mask, results.study.seed
    comparison = results.study.comparison
    rows = slice(*comparison.rows) if comparison and comparison.rows else slice(None)
    flat = results.patterns(PREPROCESSED, scan)[rows].reshape(-1, *mask.shape)
    rng = np.random.default_rng(seed)
    points = np.sort(rng.choice(len(flat), min(_SAMPLE, len(flat)), replace=False))
    drawn = flat[points]
    drawn = to_intensity(drawn[~is_empty(drawn)])
    xmap = results.orientations(PREPROCESSED, scan)
    pca = PCA(_COMPONENTS, svd_solver="randomized", random_state=seed)
    indexed = xmap.get_map_data("is_indexed")[rows].astype(bool)
    maps = {name: xmap.get_map_data(of)[rows][indexed] for name, of in _MAPS.items()}
    return ScanStatistics(
        pca.fit(drawn[:, mask]).explained_variance_,
        *_power_spectrum(drawn, mask),
        {name: values[np.isfinite(values)] for name, values in maps.items()},
    )


def _power_spectrum(patterns: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles of rings of spatial frequency, cycles per pixel, and their mean power per pixel."""
    total = np.zeros(scipy.fft.rfft2(mask.astype(np.float32)).shape)
    for chunk in np.array_split(patterns, max(1, len(patterns) // 512)):
        inside = np.where(mask, chunk - chunk[:, mask].mean(axis=1)[:, None, None], 0)
        total += (np.abs(scipy.fft.rfft2(inside)) ** 2).sum(axis=0)
    rows, columns = np.fft.fftfreq(mask.shape[0]), np.fft.rfftfreq(mask.shape[1])
    ring, rings = (np.hypot(rows[:, np.newaxis], columns) / _RING).astype(int), np.arange(_RINGS)
    ring[0, 0] = -1  # the mean of a pattern is in no ring
    return (rings + 0.5) * _RING, mean(total, ring, rings) / (len(patterns) * mask.sum())


def compare(
    measured: ScanStatistics, virtual: ScanStatistics, fitted: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Return a row for each statistic: both values, their distance, and whether they are alike.

    Parameters
    ----------
    measured, virtual
        Of :func:`scan_statistics`.
    fitted
        Kinds of statistics that the virtual scan was fitted to, as ``Comparison.fitted``.

    Returns
    -------
    pandas.DataFrame
        Of a map the values are medians, and the distance is Wasserstein's: by how much the points
        are off, on average, if both scans are sorted. It has the unit of the map. Of eigenvalues
        and powers it is the logarithm of the ratio, without its sign.
    """
    ratios = [("PCA eigenvalue", "PCA eigenvalue {}", _EIGENVALUE_FACTOR)]
    ratios += [("power", "power at {:.4f} cycles/px", 1 + _POWER_FRACTION)]
    of = [(range(1, _COMPONENTS + 1), measured.eigenvalues, virtual.eigenvalues)]
    of += [(measured.frequency, measured.power, virtual.power)]
    rows = []
    for (kind, text, factor), values in zip(ratios, of, strict=True):
        for which, one, other in zip(*values, strict=True):
            distance = abs(np.log(other / one))
            limit = f"factor {factor:g}", distance <= np.log(factor)
            rows.append((text.format(which), one, other, distance, *limit, kind in fitted))
    for name, one in measured.maps.items():
        other = virtual.maps[name]
        text = name + (" (°)" if name in _IN_DEGREES else "")
        distance = wasserstein_distance(one, other)
        most = _SPREAD_FRACTION * np.ptp(np.quantile(one, _QUANTILES))
        limit = f"{most:.3g}", distance <= most
        rows.append((text, np.median(one), np.median(other), distance, *limit, name in fitted))
    columns = ["statistic", "measured", "virtual", "distance", "limit", "alike", "fitted"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(3, "ratio", table["virtual"] / table["measured"])
    return table
