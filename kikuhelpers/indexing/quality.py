"""Quality of patterns: sharpness and noise level, each from the pattern alone.

The two are printed side by side, since a model that removes noise also lowers the sharpness.
Patterns are (rows, columns, height, width) counts, (p + 1) * 32767.5 of intensities p, read some at
a time; the mask (height, width) is True on the screen. A map of a quality is (rows, columns)
float32, NaN where a pattern is empty. A mask that does not fit ends in a ValueError.
"""

import numpy as np
import scipy.fft
from scipy.ndimage import binary_erosion

from kikuhelpers.patterns.masking import fill_outside, is_empty
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import HALF_RANGE

SHARPNESS_DIVISOR = 2500  # threshold: the largest absolute real part over this


def sharpness(patterns: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the fraction of strong coefficients in each pattern's Fourier transform.

    A coefficient is strong if its signed real part exceeds the largest absolute real part
    divided by :data:`SHARPNESS_DIVISOR`; a variant of De & Masilamani, Procedia Eng. 64 (2013)
    149, doi:10.1016/j.proeng.2013.09.086. The mean level sets the threshold, so patterns that
    are compared must share one affine map to counts. The masked mean fills what is off the screen.
    """

    def measure(chunk):
        real = scipy.fft.fft2(fill_outside(chunk, mask), workers=-1).real
        threshold = np.abs(real).max(axis=(1, 2), keepdims=True) / SHARPNESS_DIVISOR
        return (real > threshold).mean(axis=(1, 2))

    return _over_map(measure, patterns, "sharpness")


def noise_level(patterns: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each pattern's noise, on the scale of [-1, 1].

    Immerkaer, Comput. Vis. Image Underst. 64 (1996) 300, doi:10.1006/cviu.1996.0060: the mean
    absolute response of a difference of two Laplacians, which smooth structure leaves at zero.
    Sharp bands raise it, correlated noise lowers it. Only pixels whose eight neighbours are on the
    screen count; ValueError where the mask has none.
    """
    inner = binary_erosion(mask, np.ones((3, 3)))[1:-1, 1:-1]
    if mask.shape != patterns.shape[2:] or not inner.any():
        raise ValueError(
            f"The noise level needs 3 x 3 px of a mask of the patterns' shape "
            f"{patterns.shape[2:]}, not of {mask.shape}; make the mask from these patterns."
        )

    def measure(chunk):
        p = chunk.astype(np.float32) / np.float32(HALF_RANGE)
        # The kernel (1, -2, 1) along the rows and then along the columns.
        p = p[:, :-2] - 2 * p[:, 1:-1] + p[:, 2:]
        p = p[:, :, :-2] - 2 * p[:, :, 1:-1] + p[:, :, 2:]
        # 6 is the kernel's norm, sqrt(pi / 2) turns a mean absolute value into a deviation.
        return np.sqrt(np.pi / 2) / 6 * np.abs(p[:, inner]).mean(axis=1)

    return _over_map(measure, patterns, "noise")


def _over_map(measure, patterns, stage):
    flat = patterns.reshape(-1, *patterns.shape[2:])
    values = np.empty(len(flat), np.float32)
    for here, counts in chunks(stage, flat):
        values[here] = np.where(is_empty(counts), np.nan, measure(counts))
    return values.reshape(patterns.shape[:2])
