"""What decoding leaves of the patterns, in units that other work can be compared with.

A half sum of squares of rescaled patterns means something only within one study. On the
camera's own scale the same residual has a unit, counts, and a share of the range of counts.
"""

import numpy as np
import pandas as pd

from kikuhelpers.indexing.hough import load_map
from kikuhelpers.patterns.up2 import release, to_intensity
from kikuhelpers.preprocessing.kernels import block_sums, ranges
from kikuhelpers.runs.available import with_results
from kikuhelpers.runs.files import load_json, require, save_csv
from kikuhelpers.runs.progress import progress_bar
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study

CHUNK = 512  # patterns in memory at once


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
    flat = [patterns.reshape(-1, *patterns.shape[2:]) for patterns in (decoded, inputs, raw)]
    errors, in_counts = [], []
    lowest, highest = np.inf, -np.inf
    with progress_bar(len(flat[0]), "residual") as bar:
        for first in range(0, len(flat[0]), CHUNK):
            after, before, camera = (patterns[first : first + CHUNK] for patterns in flat)
            shown, wanted = (to_intensity(part)[:, mask] for part in (after, before))
            error = np.abs(shown - wanted).mean(axis=1)
            binned = block_sums(camera, factor) if factor > 1 else camera
            low, high = ranges(binned, factor**2, background, mask).T
            stretched = np.maximum(np.ptp(wanted, axis=1), np.finfo(np.float32).tiny)
            errors.append(error)
            in_counts.append(error * (high - low) / stretched)
            means = binned[:, mask] / factor**2
            lowest, highest = min(lowest, means.min()), max(highest, means.max())
            for part in (after, before, camera):
                release(part)
            bar.update(len(error))
    counts = float(np.concatenate(in_counts).mean())
    return {
        "mae_rescaled": float(np.concatenate(errors).mean()),
        "mae_counts": counts,
        "lowest": float(lowest),
        "highest": float(highest),
        "mae_camera": 2 * counts / float(highest - lowest),
    }


def residual_table(study: Study) -> pd.DataFrame:
    """Return what each model leaves of each scan, beside the noise of the camera's patterns.

    Returns
    -------
    pandas.DataFrame
        One row per model and scan: ``residual_rms`` of the decoded patterns and
        ``noise_rms``, the median level of the preprocessed ones
        (:func:`~kikuhelpers.indexing.quality.noise_level`), both on the scale of [-1, 1], and the
        numbers of :func:`camera_residual`.
    """
    layout, rows = Layout(study), []
    for scan in study.decoded_scans:
        files = layout.scan(scan)
        pixels = np.load(require(files.mask, "notebook 02_preprocessing")).sum()
        xmap = load_map(require(files.orientations, "notebook 06_reindexing"))
        noise = float(np.median(xmap.prop["noise"]))
        for model in study.models:
            both = layout.model_scan(model, scan)
            loss = np.load(require(both.pattern_loss, "notebook 05_reconstruction"))
            rms = float(np.sqrt(2 * loss.mean() / pixels))
            row = {"model": model, "scan": scan, "residual_rms": rms, "noise_rms": noise}
            rows.append(row | load_json(require(both.residual, "notebook 05_reconstruction")))
    return pd.DataFrame(rows)


def save_residual_table(study: Study) -> pd.DataFrame:
    """Write residuals.csv; return the table."""
    table = residual_table(with_results(study)[0])
    save_csv(table, Layout(study).figures / "residuals.csv")
    return table
