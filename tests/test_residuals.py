"""Residuals on the camera's scale: a known error in counts is found, binned or not."""

import numpy as np
import pytest

from kikuhelpers.latents.coding import camera_residual
from kikuhelpers.patterns.up2 import Up2Writer, open_patterns, to_counts, to_intensity
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.study import Preprocessing
from tests.conftest import scan_files


@pytest.mark.parametrize("rescale", ["pattern", "map"])
@pytest.mark.parametrize("binning", [1, 2])
def test_an_error_of_known_counts_is_found(tmp_path, binning, rescale):
    side = 120 * binning
    noise = np.random.default_rng(0).integers(8000, 60000, (3, 4, side, side)).astype(np.uint16)
    files = scan_files(tmp_path)
    with Up2Writer(files.raw, (3, 4), noise.shape[2:], 1.0) as writer:
        writer.append(noise.reshape(-1, side, side))
    settings = Preprocessing(mask="none", rescale=rescale)
    scan = ScanPreprocessing(binning=binning)
    preprocess(open_patterns(files.raw), scan, settings, files, step_um=1.0)
    mask, background = np.load(files.mask), np.load(files.background)
    half_range = np.load(files.camera_scale)["half_range"]
    inputs = open_patterns(files.preprocessed)
    # Half way to grey: the error is half of the distance from the middle of the range.
    decoded = to_counts(to_intensity(np.asarray(inputs)) / 2)
    binned = noise.reshape(12, 120, binning, 120, binning).mean(axis=(2, 4)) - background
    if rescale == "pattern":
        middle = (binned.max(axis=(1, 2)) + binned.min(axis=(1, 2)))[:, None, None] / 2
    else:
        # The values, far from normal, lie within three deviations of the pattern's mean.
        middle = binned.mean(axis=(1, 2))[:, None, None]
    raw = open_patterns(files.raw)
    found = camera_residual(decoded, inputs, raw, half_range, mask, scan)
    expected = np.abs(binned - middle).mean() / 2
    assert found["mae_counts"] == pytest.approx(expected, rel=1e-3)
    span = np.ptp(binned + background)
    assert found["mae_camera"] == pytest.approx(2 * expected / span, rel=1e-3)
