"""How much of what decoding leaves is the noise of the camera."""

import numpy as np
import pandas as pd

from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED


def residual_table(results: Results) -> pd.DataFrame:
    """Return what each model leaves of each scan, beside the noise of the camera's patterns.

    Returns
    -------
    pandas.DataFrame
        One row per model and scan: ``residual_rms`` of the decoded patterns and
        ``noise_rms``, the median level of the preprocessed ones
        (:func:`~kikuhelpers.indexing.quality.noise_level`), both on the scale of [-1, 1], and the
        numbers of :func:`~kikuhelpers.latents.coding.camera_residual`.
    """
    rows = []
    for scan in results.study.decoded_scans:
        pixels = results.mask(scan).sum()
        noise = float(np.median(results.orientations(PREPROCESSED, scan).prop["noise"]))
        for model in results.study.models:
            rms = float(np.sqrt(2 * results.losses(model, scan).mean() / pixels))
            row = {"model": model, "scan": scan, "residual_rms": rms, "noise_rms": noise}
            rows.append(row | results.residual(model, scan))
    return pd.DataFrame(rows)
