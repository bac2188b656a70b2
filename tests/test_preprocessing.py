"""Background, binning, mask, rescaling and sample, on patterns made for the purpose."""

import kikuchipy as kp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from kikuhelpers.patterns import streaming
from kikuhelpers.patterns.up2 import PatternFileError, open_patterns, to_counts, to_intensity
from kikuhelpers.preprocessing.camera_scale import camera_scale_maps
from kikuhelpers.preprocessing.kernels import block_sums, moments, ranges, rescaled_counts
from kikuhelpers.preprocessing.preprocess import ONE_GRAIN, OUTSIDE, preprocess
from kikuhelpers.runs.files import save_array
from kikuhelpers.runs.results import Results
from kikuhelpers.scans.virtual.scanning import ScanMaker
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.stages import PREPROCESSING
from kikuhelpers.study.study import Preprocessing, ScreenMask
from kikuhelpers.training.sample import load_training_set, sample_points
from tests.conftest import (
    make_study,
    scan_files,
    screen,
    stamp,
    virtual_scan,
    with_training_patterns,
    write_scan,
)

SHAPE = (3, 4, 120, 120)


@pytest.fixture
def files(tmp_path):
    return scan_files(tmp_path)


def noisy_patterns(seed=0):
    """A fixed background and noise on a round screen, black around it."""
    rng = np.random.default_rng(seed)
    background = 20000 + 10000 * np.linspace(0, 1, 120)[:, None]
    patterns = background + rng.normal(0, 1000, SHAPE)
    return np.where(screen(), patterns, 0).astype(np.uint16)


def run(files, patterns, other_mean=None, scan=None, **settings):
    write_scan(files.raw, patterns)
    both = ScanPreprocessing(**(scan or {})), Preprocessing(**settings)
    preprocess(open_patterns(files.raw), *both, files, step_um=1.0, other_mean=other_mean)
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


def test_the_screen_is_found_though_the_cameras_dark_level_drifts(files):
    """As on the measured crop, where every pixel beside the screen varies by 400 counts."""
    level = 10000 + np.random.default_rng(1).normal(0, 2000, (*SHAPE[:2], 1, 1))
    drifting = noisy_patterns().astype(float) + level + (np.arange(120) % 2)  # never empty
    _, mask = run(files, drifting.astype(np.uint16))
    np.testing.assert_array_equal(mask, screen())


def test_the_background_of_another_scan_is_as_bright_as_the_own(files, tmp_path):
    own, other = noisy_patterns(), scan_files(tmp_path / "other")
    run(other, noisy_patterns(seed=1) // 2)
    run(files, own, other_mean=np.load(other.background))
    background = np.load(files.background)[screen()]
    np.testing.assert_allclose(background.mean(), own.mean((0, 1))[screen()].mean(), rtol=1e-6)
    shape = np.load(other.background)[screen()]
    np.testing.assert_allclose(background / shape, (background / shape)[0], rtol=1e-5)


@pytest.mark.parametrize("camera_px", [120, 240])
def test_the_background_of_the_file_goes_as_kikuchipy_removes_it(files, camera_px):
    """Nickel of 60 x 60 px, enlarged; the background is taken to be as bright as the map."""
    small, blocks = kp.data.nickel_ebsd_small(), np.ones((camera_px // 60,) * 2, np.uint16)
    raw, static = (
        np.kron(a, blocks).astype(np.uint16) for a in (small.data, small.static_background)
    )
    rng = np.random.default_rng(0)
    raw = 200 * raw + rng.integers(0, 200, raw.shape, np.uint16)
    save_array(files.brought, static)
    clean, mask = run(files, raw, scan={"background_of": "its file"}, mask="none")
    assert mask.all()
    binned = raw.reshape(3, 3, 120, camera_px // 120, 120, camera_px // 120).mean((3, 5))
    signal = kp.signals.EBSD(binned.astype(np.float32))
    static = np.kron(small.static_background, np.ones((2, 2)))
    static = static * (raw.mean() / static.mean())
    signal.remove_static_background(static_bg=static.astype(np.float32), show_progressbar=False)
    np.testing.assert_allclose(clean, signal.data, atol=1e-4)
    np.testing.assert_allclose(np.load(files.background), static, rtol=1e-5)


@pytest.mark.parametrize(("width_um", "one_grain"), [(60.0, True), (6.0, False)])
def test_a_window_inside_one_grain_is_noticed(files, width_um, one_grain):
    specimen = {"alloy": "wrought", "grains": {"median_width_um": width_um}, "size_um": [60, 60]}
    scan = virtual_scan(map_shape=(12, 12), step_um=3.0, specimen=specimen | {"twins": None})
    patterns, _ = ScanMaker(scan).chunk(0)
    patterns = patterns.reshape(12, 12, 120, 120)
    patterns[-3:] = 0  # empty points change nothing
    write_scan(files.raw, patterns)
    raw, mean = open_patterns(files.raw), patterns[:-3].mean(axis=(0, 1))
    for change, warns in (({}, one_grain), ({"background": "none"}, False)):
        given = ScanPreprocessing(), Preprocessing(**change), files, 3.0
        assert (preprocess(raw, *given) > ONE_GRAIN) is warns
    assert preprocess(raw, ScanPreprocessing(), Preprocessing(), files, 3.0, mean) == 0


def test_map_rescaling_keeps_patterns_comparable(files):
    raw = noisy_patterns()
    less = (raw - raw.mean((0, 1)))[..., screen()]
    clean, mask = run(files, raw, rescale="map")
    wanted = np.clip((less - less.mean(-1, keepdims=True)) / (3 * less.std()), -1, 1)
    np.testing.assert_allclose(clean[..., mask], wanted, atol=1e-3)


def test_percentiles_and_deviations_clip_as_they_say(files):
    raw = noisy_patterns()
    less = (raw - raw.mean((0, 1)))[..., screen()]
    clipped, mask = run(files, raw, rescale="percentiles")
    inside = clipped[..., mask]
    for end in (-1, 1):
        assert (np.abs(inside - end) < 1e-4).mean() == pytest.approx(0.005, rel=0.1)
    scored, _ = run(files, raw, rescale="z-score")
    away = less - less.mean(-1, keepdims=True)
    wanted = np.clip(away / (3 * less.std(-1, keepdims=True)), -1, 1)
    np.testing.assert_allclose(scored[..., mask], wanted, atol=1e-3)


@pytest.mark.parametrize("rescale", ["pattern", "map"])
def test_quality_is_on_the_cameras_scale_however_patterns_are_rescaled(files, rescale):
    raw = noisy_patterns()
    raw[0, 1], raw[0, 2] = raw[0, 0] // 2, 0  # half as bright; never collected
    run(files, raw, rescale=rescale)
    found, there = np.load(files.camera_scale), raw.any((2, 3))
    inside = raw[..., screen()].astype(float)
    less = inside - np.load(files.background)[screen()]
    there_less = less[there]
    half = np.ptp(there_less, axis=-1) / 2 if rescale == "pattern" else 3 * there_less.std()
    np.testing.assert_allclose(found["half_range"][there], half, rtol=1e-4)
    np.testing.assert_allclose(found["mean_counts"][there], inside.mean(-1)[there], rtol=1e-5)
    mean = there_less.mean(-1, keepdims=True)
    ends = (mean - half, mean + half) if rescale == "map" else (None, None)
    clipped = np.clip(there_less, *ends)
    np.testing.assert_allclose(found["std_counts"][there], clipped.std(-1), rtol=1e-3)
    assert all(np.isnan(found[name][0, 2]) for name in found.dtype.names)


def test_one_threshold_for_the_map_sees_a_blur_that_the_noise_does_not_hide(files):
    """Of white noise 4.6 % of the coefficients lie beyond two standard deviations."""
    rng, flat = np.random.default_rng(0), np.ones((120, 120), bool)
    noise = rng.normal(0, 1000, (10, 10, 120, 120)).astype(np.float32)
    noise[5:] /= 2  # as noisy as half
    half_range = 4 * np.where(np.arange(100) < 50, 1000, 500)
    counts = to_counts(noise / half_range.reshape(10, 10, 1, 1))
    limits = np.stack([-half_range, half_range, 0 * half_range], axis=1).astype(np.float32)
    sharp = camera_scale_maps(counts, flat, limits)["sharpness_map"]
    sigma = np.median(np.abs(rng.normal(0, [[1], [0.5]], (2, 10**6)))) / 0.6745
    for half, deviation in ((sharp[:5], 1.0), (sharp[5:], 0.5)):
        wanted = 2 * norm.sf(2 * sigma / deviation)
        assert half.mean() == pytest.approx(wanted, rel=0.05)


def test_memory_flat_chunks_change_nothing(files, tmp_path, monkeypatch):
    whole, _ = run(files, noisy_patterns())
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1)  # one pattern at a time
    single, _ = run(scan_files(tmp_path / "again"), noisy_patterns())
    np.testing.assert_array_equal(whole, single)


@pytest.mark.parametrize("binning", [1, 4])
def test_as_kikuchipys_own_calls(files, binning):
    """Static background, binning and rescaling of kikuchipy, in 32 bit so that none rounds."""
    side = 120 * binning
    raw = np.random.default_rng(3).integers(0, 65536, (2, 3, side, side), np.uint16)
    clean, _ = run(files, raw, scan={"binning": binning}, mask="none")
    theirs = kp.signals.EBSD(raw.astype(np.float32))
    background = raw.mean((0, 1)).astype(np.float32)
    theirs.remove_static_background("subtract", background, show_progressbar=False)
    if binning > 1:
        theirs.downsample(binning, show_progressbar=False)
    theirs.rescale_intensity(out_range=(-1, 1), dtype_out="float32", show_progressbar=False)
    np.testing.assert_allclose(clean, theirs.data, atol=1e-4)


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
    with pytest.raises(PatternFileError, match="Every pattern of the scan is empty"):
        run(files, np.full(SHAPE, 7, np.uint16))  # nothing varies: no screen to find
    assert [p.name for p in files.raw.parent.iterdir()] == ["scan.up2"]


@settings(deadline=None)  # the first call compiles
@given(
    st.sampled_from([1, 2, 3, 4]),
    st.integers(1, 3),
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(0, 99),
)
def test_kernels_are_their_formulas(factor, n, dtype, seed):
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, np.iinfo(dtype).max, (n, 12, 24), dtype, endpoint=True)
    blocks = patterns.reshape(n, 12 // factor, factor, 24 // factor, factor)
    sums = block_sums(patterns, factor)
    np.testing.assert_array_equal(sums, blocks.sum((2, 4), np.uint32))
    reference = sums[0].astype(float)
    wanted = (sums - reference).sum(0), ((sums - reference) ** 2).sum(0)
    np.testing.assert_allclose(moments(sums, reference), wanted)
    mask = rng.random(sums.shape[1:]) < 0.7
    mask[0, 0] = True
    background = sums.mean(0, dtype=np.float32) / factor**2
    inside = (sums / factor**2 - background)[:, mask]
    limits = ranges(sums, factor**2, background, mask)
    np.testing.assert_allclose(limits[:, 0], inside.min(1), atol=0.02)
    np.testing.assert_allclose(limits[:, 1], inside.max(1), atol=0.02)
    np.testing.assert_allclose(limits[:, 2], inside.mean(1), atol=0.02)


def test_a_flat_pattern_becomes_zero_not_nan():
    flat, mask = np.full((1, 4, 4), 3, np.uint16), np.ones((4, 4), bool)
    within = (1, np.zeros((4, 4), np.float32), mask)
    counts = rescaled_counts(flat, *within, ranges(flat, *within))
    np.testing.assert_allclose(to_intensity(counts), 0, atol=2e-5)  # half a count


@pytest.mark.parametrize(("wanted", "drawn"), [(7, 7), (999, 12)])
def test_the_sample_is_drawn_without_repetition(wanted, drawn):
    """A map that is too small gives all it has."""
    scans = with_training_patterns(wanted)
    points = sample_points(make_study(scans=scans), "wrought", SHAPE[:2])
    assert len(np.unique(points)) == drawn
    assert points.max() < 12 and (np.diff(points) > 0).all()
    assert (points == sample_points(make_study(scans=scans), "wrought", SHAPE[:2])).all()
    if wanted < 12:
        other = sample_points(make_study(scans=scans, seed=2), "wrought", SHAPE[:2])
        assert (points != other).any()


def test_the_training_set_is_the_drawn_patterns():
    study = make_study()
    files = Layout(study).scan("wrought")
    patterns = np.random.default_rng(0).integers(0, 65536, (5, 6, 120, 120), np.uint16)
    write_scan(files.preprocessed, patterns)
    save_array(files.mask, screen())
    stamp(study, PREPROCESSING, "wrought")
    data = load_training_set(Results(study))
    points = sample_points(study, "wrought", (5, 6))
    wanted = to_intensity(patterns.reshape(-1, 120, 120)[points])
    np.testing.assert_array_equal(data.patterns, wanted.astype(np.float16))
    np.testing.assert_array_equal(data.mask, screen())
