"""Background, binning, mask, rescaling and sample, on patterns made for the purpose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kikuhelpers import readers
from kikuhelpers.layout import ScanFiles
from kikuhelpers.preprocessing import (
    OUTSIDE,
    PreprocessingError,
    bin_patterns,
    preprocess,
    rescale,
)
from kikuhelpers.study import FileScan, Preprocessing, ScreenMask
from kikuhelpers.up2 import open_patterns, to_intensity
from tests.conftest import screen, write_scan

SHAPE = (3, 4, 120, 120)


@pytest.fixture
def files(tmp_path):
    return ScanFiles(tmp_path)


def noisy_patterns(seed=0):
    """A fixed background and noise on a round screen, black around it."""
    rng = np.random.default_rng(seed)
    background = 20000 + 10000 * np.linspace(0, 1, 120)[:, None]
    patterns = background + rng.normal(0, 1000, SHAPE)
    return np.where(screen(), patterns, 0).astype(np.uint16)


def run(files, patterns, training_patterns=5, binning=1, **settings):
    write_scan(files.raw, patterns)
    scan = FileScan(path="", training_patterns=training_patterns, binning=binning)
    preprocess(scan, Preprocessing(**settings), files, seed=1)
    return to_intensity(open_patterns(files.preprocessed)), np.load(files.mask)


def test_the_screen_is_found_and_the_background_goes(files):
    raw = noisy_patterns()
    clean, mask = run(files, raw)
    np.testing.assert_array_equal(mask, screen())
    np.testing.assert_allclose(np.load(files.background), raw.mean((0, 1)), rtol=1e-5)
    wanted = (raw - raw.mean((0, 1)))[..., mask]
    low, high = wanted.min(-1, keepdims=True), wanted.max(-1, keepdims=True)
    np.testing.assert_allclose(clean[..., mask], 2 * (wanted - low) / (high - low) - 1, atol=1e-4)
    assert (clean[..., ~mask] == OUTSIDE).all()


def test_map_rescaling_keeps_patterns_comparable(files):
    clean, mask = run(files, noisy_patterns(), rescale="map")
    inside = clean[..., mask]
    assert inside.min() == pytest.approx(-1, abs=1e-4)
    assert inside.max() == pytest.approx(1, abs=1e-4)
    assert (inside.max(-1) < 0.999).sum() > 1, "only one pattern holds the map's maximum"


def test_memory_flat_chunks_change_nothing(files, tmp_path, monkeypatch):
    whole, _ = run(files, noisy_patterns())
    monkeypatch.setattr(readers, "_CHUNK_BYTES", 1)  # one map row at a time
    rows, _ = run(ScanFiles(tmp_path / "again"), noisy_patterns())
    np.testing.assert_array_equal(whole, rows)


def test_a_given_mask_and_none(files):
    given_mask = {"centre": (50, 60), "radius": 20}
    _, mask = run(files, noisy_patterns(), mask=ScreenMask(**given_mask))
    assert mask.sum() == pytest.approx(np.pi * 20**2, rel=0.02)
    assert mask[50, 60] and not mask[60, 100]
    _, everything = run(files, noisy_patterns(), mask="none")
    assert everything.all()


def test_a_mask_without_pixels_leaves_nothing_behind(files):
    with pytest.raises(ValueError, match="holds no pixel"):
        run(files, noisy_patterns(), mask=ScreenMask(centre=(500, 500), radius=2))
    with pytest.raises(PreprocessingError, match="No pixel varies"):
        run(files, np.full(SHAPE, 7, np.uint16))  # nothing varies: no screen to find
    assert [p.name for p in files.folder.iterdir()] == ["scan.up2"]


@given(st.sampled_from([1, 2, 3, 4]), st.integers(1, 3), st.integers(0, 99))
def test_binning_is_the_mean_of_blocks(factor, n, seed):
    patterns = np.random.default_rng(seed).integers(0, 65536, (n, 12, 24), np.uint16)
    binned = bin_patterns(patterns, factor)
    assert binned.shape == (n, 12 // factor, 24 // factor)
    np.testing.assert_allclose(binned[0, 0, 0], patterns[0, :factor, :factor].mean(), rtol=1e-6)
    np.testing.assert_allclose(binned.mean(), patterns.mean(), rtol=1e-5)


def test_a_flat_pattern_becomes_zero_not_nan():
    flat = rescale(np.full((1, 4, 4), 3.0, np.float32), np.ones((4, 4), bool))
    assert (flat == 0).all()


def test_the_sample_is_drawn_without_repetition(files):
    clean, _ = run(files, noisy_patterns(), training_patterns=7)
    points, sample = np.load(files.sample_points), np.load(files.sample)
    assert len(np.unique(points)) == 7
    np.testing.assert_allclose(sample, clean.reshape(-1, 120, 120)[points], atol=1e-3)
    run(files, noisy_patterns(), training_patterns=999)
    assert len(np.load(files.sample)) == 12, "a small map gives all it has"
    run(files, noisy_patterns(), training_patterns=0)
    assert len(np.load(files.sample)) == 0
