"""Quality of patterns on the camera's scale, which rescaling each to its own range hides.

The range of a pattern jitters by its noise, and what is measured on a rescaled pattern is divided
by that jitter: a quality of the rescaled pattern says less of the specimen. The background stays
subtracted.
"""

import numpy as np
import scipy.fft

from kikuhelpers.patterns.masking import fill_outside, is_empty
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import HALF_RANGE

# half_range: counts per unit of a rescaled pattern; IQ and noise go with it, too.
MAPS = ("half_range", "mean_counts", "sharpness_map", "std_counts")
# A coefficient is strong beyond two standard deviations of the map's coefficients, most of which
# are noise; their deviation follows from the median absolute value of a normal distribution.
_DEVIATIONS, _MEDIAN_OF_NORMAL = 2.0, 0.6745
_SAMPLE = 500  # patterns whose coefficients give the map's threshold


def camera_scale_maps(patterns: np.ndarray, mask: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Measure the patterns of a map on the camera's scale.

    Parameters
    ----------
    patterns
        (rows, columns, height, width) counts, (p + 1) * 32767.5 of rescaled patterns p; read
        some at a time.
    mask
        (height, width), True on the screen.
    ranges
        (rows * columns, 3): the values of each pattern, background subtracted, that became -1 and
        1, and its mean with the background, in counts of the camera.

    Returns
    -------
    numpy.ndarray
        (rows, columns) with the float32 fields of :data:`MAPS`. ``half_range`` is half of what
        lies between -1 and 1, ``mean_counts`` that mean, ``std_counts`` the standard deviation on
        the screen. ``sharpness_map`` is the share of the Fourier coefficients whose absolute real
        part exceeds one threshold of the map (:func:`~kikuhelpers.indexing.quality.sharpness` has
        one for each pattern). NaN where a pattern is empty.
    """
    flat = patterns.reshape(-1, *patterns.shape[2:])
    low, high, mean = ranges.T
    half_range = (high - low) / 2
    some = slice(None, None, max(1, len(flat) // _SAMPLE))
    sample = _coefficients(np.array(flat[some]), mask, half_range[some])
    sample = sample[~is_empty(flat[some])]
    threshold = _DEVIATIONS / _MEDIAN_OF_NORMAL * np.median(sample) if len(sample) else 0
    found = np.zeros(len(flat), [(name, np.float32) for name in MAPS])
    found["half_range"], found["mean_counts"] = half_range, mean
    for here, counts, half in chunks("camera's scale", flat, half_range):
        found["std_counts"][here] = counts[:, mask].std(axis=1) / HALF_RANGE * half
        strong = _coefficients(counts, mask, half) > threshold
        found["sharpness_map"][here] = strong.mean(axis=(1, 2))
        for name in MAPS:
            found[name][here][is_empty(counts)] = np.nan
    return found.reshape(patterns.shape[:2])


def _coefficients(counts, mask, half_range):
    """Absolute real parts of the Fourier transforms (n, h, w // 2 + 1), in counts of the camera."""
    real = scipy.fft.rfft2(fill_outside(counts, mask), workers=-1).real
    return np.abs(real) * (half_range[:, np.newaxis, np.newaxis] / np.float32(HALF_RANGE))
