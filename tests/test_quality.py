"""Sharpness and noise level: against what is known of noise, and in flat memory."""

import mmap
import sys

import numpy as np
import psutil
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from kikuhelpers.indexing.quality import noise_level, sharpness
from kikuhelpers.patterns import streaming
from kikuhelpers.patterns.masking import fill_outside, round_mask
from kikuhelpers.patterns.up2 import to_counts

MASK = round_mask((120, 120), (59.5, 59.5), 57.5)


def noise(std, shape=(2, 3), seed=0):
    return std * np.random.default_rng(seed).normal(size=(*shape, 120, 120))


def test_round_mask_area_and_symmetry():
    assert MASK.sum() == pytest.approx(np.pi * 57.5**2, rel=0.005)
    assert np.array_equal(MASK, MASK[::-1]) and np.array_equal(MASK, MASK.T)


def test_empty_mask_is_named():
    with pytest.raises(ValueError, match="holds no pixel"):
        round_mask((10, 10), (50, 50), 2)


def test_fill_outside_is_each_patterns_masked_mean_and_copies():
    patterns = to_counts(noise(0.2))
    before = patterns.copy()
    filled = fill_outside(patterns, MASK)
    assert np.array_equal(filled[..., MASK], patterns[..., MASK].astype(np.float32))
    assert filled[1, 2, 0, 0] == pytest.approx(patterns[1, 2, MASK].mean(), abs=0.1)
    assert np.array_equal(patterns, before)


def test_fill_outside_names_a_mask_of_another_shape():
    with pytest.raises(ValueError, match="does not fit"):
        fill_outside(np.zeros((2, 60, 60)), MASK)


def test_sharpness_of_a_constant_is_one_coefficient():
    constant = np.where(MASK, np.full((1, 2, 120, 120), 30000, np.uint16), 0)
    assert sharpness(constant, MASK) == pytest.approx(1 / 120**2)
    assert np.isnan(sharpness(0 * constant, MASK)).all(), "without a pattern"


def test_sharpness_of_white_noise():
    # Real parts are normal with deviation s N / sqrt(2); the threshold is N^2 mean / 2500.
    full, std = np.ones((120, 120), bool), 0.1
    threshold = 120**2 / 2500 / (std * 120 / np.sqrt(2))
    assert sharpness(to_counts(noise(std)), full) == pytest.approx(
        np.full((2, 3), norm.sf(threshold)), abs=0.01
    )


def test_sharpness_falls_with_blur_and_ignores_what_lies_outside():
    patterns = noise(0.2)
    blurred = to_counts(gaussian_filter(patterns, (0, 0, 2, 2)))
    counts = to_counts(patterns)
    assert np.all(sharpness(blurred, MASK) < 0.7 * sharpness(counts, MASK))
    black = np.where(MASK, counts, 0)
    assert np.array_equal(sharpness(black, MASK), sharpness(counts, MASK))


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_noise_level_finds_the_noise_on_a_smooth_pattern(std):
    slope = np.linspace(-0.5, 0.5, 120)[:, np.newaxis] * np.ones(120)
    counts = np.where(MASK, to_counts(slope + noise(std)), 0)
    assert noise_level(counts, MASK) == pytest.approx(np.full((2, 3), std), rel=0.03)


def test_noise_level_names_a_mask_without_inside():
    with pytest.raises(ValueError, match="3 x 3"):
        noise_level(np.zeros((1, 1, 120, 120)), np.eye(120, dtype=bool))


def test_chunks_keep_the_order_of_the_map(monkeypatch):
    patterns = to_counts(noise(0.1, (2, 7)))[..., 50:66, 50:66]
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 4 * patterns[0, 0].nbytes)
    mask = np.ones((16, 16), bool)
    assert sharpness(patterns, mask)[1, -1] == pytest.approx(
        sharpness(patterns[1:, -1:], mask)[0, 0]
    )
    assert noise_level(patterns, mask)[0, 5] == pytest.approx(
        noise_level(patterns[:1, 5:6], mask)[0, 0]
    )


@pytest.mark.skipif(
    not (hasattr(mmap, "MADV_DONTNEED") and sys.platform == "linux"), reason="only Linux tells"
)
@pytest.mark.parametrize("measure", [sharpness, noise_level])
def test_memory_does_not_grow_with_the_map(tmp_path, monkeypatch, measure):
    """A map of 55 MiB, read in chunks of 1 MiB."""
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1 << 20)
    shape = (40, 50, 120, 120)
    np.lib.format.open_memmap(tmp_path / "map.npy", "w+", np.uint16, shape)[:] = 7
    patterns = np.load(tmp_path / "map.npy", mmap_mode="r")
    resident = []

    def watched(stage, flat):
        for part in streaming.chunks(stage, flat):
            yield part
            resident.append(psutil.Process().memory_info().rss)

    monkeypatch.setattr("kikuhelpers.indexing.quality.chunks", watched)
    assert measure(patterns, MASK).shape == shape[:2]
    assert len(resident) > 50
    assert max(resident[5:]) - resident[4] < 16 << 20, "the first chunks fill the caches"
