"""How alike two scans are: statistics that a virtual scan should share with a measured one.

Taken from preprocessed patterns and their Hough indexing, since these are what the network
and the tables see: the variance by principal component, the power by spatial frequency, and how
noise, image quality, sharpness, fit and KAM are distributed. A study says which of them its
virtual scan was fitted to, and on which rows of the scans they are judged.
"""

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

# How far a virtual scan may be off to count as alike: numbers, named so, by a factor
_NUMBERS = {"PCA eigenvalue": ("PCA eigenvalue {}", 2.0)}
_NUMBERS |= {"power": ("power at {:.4f} cycles/px", 1.2)}
_QUANTILES = (0.1, 0.9)  # whose distance is the spread of a map
_SPREAD_FRACTION = 0.2  # Wasserstein distance of maps, of the measured spread


def scan_statistics(results: Results, scan: str) -> dict[str, pd.Series]:
    """Measure a scan of a study; reads its preprocessed patterns and their orientations.

    Only the rows count that the study's comparison names, if it names some.

    Returns
    -------
    dict
        By the kinds of ``Comparison.fitted``: the variances of the first 20 components by number,
        on the scale of [-1, 1]; the mean power in 10 rings by frequency, cycles per pixel, to half
        of Nyquist's; of each map the values of the indexed points.
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
    variances = pca.fit(drawn[:, mask]).explained_variance_
    numbers = {"PCA eigenvalue": pd.Series(variances, range(1, _COMPONENTS + 1))}
    numbers |= {"power": _power_spectrum(drawn, mask)}
    return numbers | {name: pd.Series(v[np.isfinite(v)]) for name, v in maps.items()}


def _power_spectrum(patterns: np.ndarray, mask: np.ndarray) -> pd.Series:
    """Mean power per pixel in rings of spatial frequency, by their middles, cycles per pixel."""
    total = np.zeros(scipy.fft.rfft2(mask.astype(np.float32)).shape)
    for chunk in np.array_split(patterns, max(1, len(patterns) // 512)):
        inside = np.where(mask, chunk - chunk[:, mask].mean(axis=1)[:, None, None], 0)
        total += (np.abs(scipy.fft.rfft2(inside)) ** 2).sum(axis=0)
    rows, columns = np.fft.fftfreq(mask.shape[0]), np.fft.rfftfreq(mask.shape[1])
    ring, rings = (np.hypot(rows[:, np.newaxis], columns) / _RING).astype(int), np.arange(_RINGS)
    ring[0, 0] = -1  # the mean of a pattern is in no ring
    return pd.Series(mean(total, ring, rings) / (len(patterns) * mask.sum()), (rings + 0.5) * _RING)


def compare(
    measured: dict[str, pd.Series], virtual: dict[str, pd.Series], fitted: tuple[str, ...] = ()
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
    rows = []
    for kind, one in measured.items():
        other, (text, factor) = virtual[kind], _NUMBERS.get(kind, (kind, None))
        for which, number in one.items() if factor else ():
            distance = abs(np.log(other[which] / number))
            limit = f"factor {factor:g}", distance <= np.log(factor)
            named = text.format(which), number, other[which]
            rows.append((*named, distance, *limit, kind in fitted))
        if not factor:
            distance = wasserstein_distance(one, other)
            most = _SPREAD_FRACTION * np.ptp(np.quantile(one, _QUANTILES))
            limit = f"{most:.3g}", distance <= most
            named = text + " (°)" * (kind in _IN_DEGREES), one.median(), other.median()
            rows.append((*named, distance, *limit, kind in fitted))
    columns = ["statistic", "measured", "virtual", "distance", "limit", "alike", "fitted"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(3, "ratio", table["virtual"] / table["measured"])
    return table
