"""What decoding leaves of the patterns, in units that other work can be compared with.

A half sum of squares of rescaled patterns means something only within one study. On the
camera's own scale the same residual has a unit, counts, and a share of the range of counts.
"""

import numpy as np

from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.preprocessing.kernels import block_sums, ranges


def camera_residual(
    decoded: np.ndarray, inputs: np.ndarray, raw: np.ndarray, background: np.ndarray, mask
) -> dict[str, float]:
    """Return the mean absolute error of decoded patterns on the camera's scale.

    Rescaling stretched each pattern, less its background; here that is undone, by the range
    of the pattern before and after it. The background is the same on both sides.

    Parameters
    ----------
    decoded, inputs
        (rows, columns, height, width) uint16 counts of rescaled patterns.
    raw
        (rows, columns, height * binning, width * binning), as the camera gave them.
    background
        (height, width) mean pattern, counts.
    mask
        (height, width), True inside the screen; errors count there only.

    Returns
    -------
    dict
        ``mae_rescaled`` (on the scale of [-1, 1] of each pattern), ``mae_counts``,
        ``lowest`` and ``highest`` count of the scan (binned, inside the screen), and
        ``mae_camera``: the error if these two are mapped to -1 and 1, as neural-EBSD
        (arXiv:2606.10352) prints it.
    """
    factor = raw.shape[2] // mask.shape[0]
    flat = (patterns.reshape(-1, *patterns.shape[2:]) for patterns in (raw, decoded, inputs))
    errors, in_counts, lowest, highest = [], [], np.inf, -np.inf
    for _, camera, *both in chunks("residual", *flat):
        shown, wanted = (to_intensity(part)[:, mask] for part in both)
        errors.append(np.abs(shown - wanted).mean(axis=1))
        binned = block_sums(camera, factor) if factor > 1 else camera
        low, high = ranges(binned, factor**2, background, mask).T
        stretched = np.maximum(np.ptp(wanted, axis=1), np.finfo(np.float32).tiny)
        in_counts.append(errors[-1] * (high - low) / stretched)
        means = binned[:, mask] / factor**2
        lowest, highest = min(lowest, means.min()), max(highest, means.max())
    counts = float(np.concatenate(in_counts).mean())
    return {
        "mae_rescaled": float(np.concatenate(errors).mean()),
        "mae_counts": counts,
        "lowest": float(lowest),
        "highest": float(highest),
        "mae_camera": 2 * counts / float(highest - lowest),
    }
