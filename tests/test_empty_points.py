"""Points without a pattern: what stages make of the other points is what it is without them."""

import kikuchipy as kp
import numpy as np
import orix.io
import pytest
import torch
from orix.quaternion import Rotation

from kikuhelpers.indexing import pattern_centre
from kikuhelpers.indexing.hough import Detector, index_and_measure, save_map
from kikuhelpers.indexing.orientation_maps import collected
from kikuhelpers.latents.coding import camera_residual, decode_map, decoder_of, encode
from kikuhelpers.latents.features import feature_measures
from kikuhelpers.patterns.masking import is_empty
from kikuhelpers.patterns.up2 import open_patterns, to_counts
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.runs.archive import _pack_latents, _unpack_latents
from kikuhelpers.runs.files import save_array
from kikuhelpers.runs.results import Results
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.stages import PREPROCESSING
from kikuhelpers.study.study import NICKEL, Indexing, Preprocessing
from kikuhelpers.training.sample import load_training_set, sample_points
from kikuhelpers.training.vae import KikuchiVAE
from tests.conftest import make_study, model_scan_files, scan_files, screen, stamp, write_scan

ROWS, KEPT, COLUMNS = 6, 4, 5  # rows from KEPT on are empty


def test_a_pattern_is_empty_if_no_pixel_differs():
    patterns = np.full((4, 120, 120), 7, np.uint16)
    patterns[1, 3, 5] = 8  # between the pixels that are looked at first
    patterns[2, 0, 0] = 0
    patterns[3] = 0
    assert is_empty(patterns).tolist() == [True, False, False, True]
    assert is_empty(patterns[:0]).tolist() == []


@pytest.mark.parametrize("rescale", ["pattern", "map"])
@pytest.mark.parametrize("shape", [(120, 120), (240, 240), (70, 80)])
@pytest.mark.parametrize("first", [True, False])
def test_preprocessing(tmp_path, shape, rescale, first):
    rng = np.random.default_rng(0)
    raw = rng.integers(1000, 60000, (ROWS, COLUMNS, *shape), np.uint16)
    empty = np.s_[: ROWS - KEPT] if first else np.s_[KEPT:]
    there = np.s_[ROWS - KEPT :] if first else np.s_[:KEPT]
    raw[empty] = 0
    raw[empty][0, 1] = 9  # any level
    files, alone = scan_files(tmp_path), scan_files(tmp_path / "alone")
    scan, settings = ScanPreprocessing(), Preprocessing(rescale=rescale)
    for target, patterns in ((files, raw), (alone, raw[there])):
        write_scan(target.raw, patterns)
        preprocess(open_patterns(target.raw), scan, settings, target, step_um=1.0)
    np.testing.assert_allclose(np.load(files.background), np.load(alone.background), rtol=1e-6)
    np.testing.assert_array_equal(np.load(files.mask), np.load(alone.mask))
    found, wanted = (open_patterns(target.preprocessed) for target in (files, alone))
    np.testing.assert_allclose(found[there].astype(int), wanted, atol=1)
    assert not found[empty].any()
    inputs = [np.asarray(found), np.asarray(wanted)]
    mask, halves = (
        np.load(files.mask),
        (np.load(f.camera_scale)["half_range"] for f in (files, alone)),
    )
    residuals = [
        camera_residual(p // 2, p, raw[part], half, mask, scan)
        for p, part, half in zip(inputs, (np.s_[:], there), halves, strict=True)
    ]
    assert residuals[0] == pytest.approx(residuals[1], rel=1e-3)


def test_the_training_sample():
    study = make_study()
    files = Layout(study).scan("wrought")
    patterns = np.random.default_rng(0).integers(0, 65536, (ROWS, COLUMNS, 120, 120), np.uint16)
    whole = sample_points(study, "wrought", (ROWS, COLUMNS))
    patterns[KEPT:] = 0
    write_scan(files.preprocessed, patterns)
    save_array(files.mask, screen())
    stamp(study, PREPROCESSING, "wrought")
    data = load_training_set(Results(study))
    assert len(data) == (whole < KEPT * COLUMNS).sum() < len(whole)
    assert not is_empty(data.patterns).any()


def test_indexing(tmp_path, monkeypatch):
    master = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", energy=20)
    detector = kp.detectors.EBSDDetector(shape=(120, 120), pc=(0.5, 0.3, 0.6), sample_tilt=70)
    turns = Rotation.random((ROWS, COLUMNS))
    simulated = master.get_patterns(turns, detector, compute=True, show_progressbar=False).data
    low, high = simulated.min(), simulated.max()
    patterns = to_counts(2 * (simulated - low) / (high - low) - 1)
    patterns[KEPT:] = 0
    mask = np.ones((120, 120), bool)
    settings = Detector(), Indexing(phase=NICKEL, calibration_patterns=999)
    xmap = index_and_measure(patterns, mask, *settings, 1.0)
    alone = index_and_measure(patterns[:KEPT], mask, *settings, 1.0)
    n = KEPT * COLUMNS
    assert collected(xmap).tolist() == [True] * n + [False] * (xmap.size - n)
    np.testing.assert_allclose(xmap.rotations[:n].data, alone.rotations.data)
    for name, values in alone.prop.items():
        np.testing.assert_allclose(xmap.prop[name][:n], values, err_msg=name)
    assert (xmap.phase_id[n:] == -1).all() and (xmap.prop["grain"][n:] == -1).all()
    for name in ("pq", "cm", "ci", "sharpness", "noise", "grod_deg", "kam_deg"):
        assert np.isnan(xmap.prop[name][n:]).all(), name
    save_map(tmp_path / "map.h5", xmap, Detector().pattern_centre)
    again = orix.io.load(str(tmp_path / "map.h5"))
    assert (collected(again) == collected(xmap)).all()
    assert np.isfinite(np.loadtxt(tmp_path / "map.ang")).all()
    # The search itself takes seconds.
    monkeypatch.setattr(pattern_centre.pcopt, "optimize", lambda *_, PC0: np.array(PC0))
    found = pattern_centre.calibrate_pattern_centre(patterns, mask, *settings, seed=1)
    assert found.patterns == n


def test_latents_decoded_patterns_and_measures(tmp_path):
    counts = to_counts(np.random.default_rng(0).uniform(-1, 1, (ROWS, COLUMNS, 120, 120)))
    counts[KEPT:] = 0
    torch.manual_seed(0)
    network, files = KikuchiVAE(16).eval(), model_scan_files(tmp_path)
    latents = encode(network, counts, "float32")
    assert np.isnan(latents[KEPT:]).all()
    alone = encode(network, counts[:KEPT], "float32")
    np.testing.assert_allclose(latents[:KEPT], alone, atol=1e-5)
    losses = decode_map(
        decoder_of(network, screen(), "float32"), latents, counts, screen(), files, 1
    )
    assert np.isnan(losses[KEPT:]).all() and np.isfinite(losses[:KEPT]).all()
    decoded = open_patterns(files.decoded)
    assert not decoded[KEPT:].any() and not is_empty(decoded[:KEPT].reshape(-1, 120, 120)).any()


def test_measures_of_features():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(ROWS, COLUMNS, 3)).astype(np.float32).cumsum(axis=0)
    grains = rng.integers(0, 3, (ROWS, COLUMNS))
    maps = {"pq": rng.normal(size=(ROWS, COLUMNS))}
    wanted = feature_measures(latents[:KEPT], {"pq": maps["pq"][:KEPT]}, grains[:KEPT])
    latents[KEPT:], grains[KEPT:], maps["pq"][KEPT:] = np.nan, -1, np.nan
    found = feature_measures(latents, maps, grains)
    np.testing.assert_allclose(found.astype(float), wanted.astype(float), rtol=1e-5)
    again = _unpack_latents(_pack_latents(latents, wanted["moran_i"].to_numpy()))
    active = again[:KEPT].any(axis=(0, 1))
    assert active.all()
    np.testing.assert_allclose(again, latents, atol=0.02)  # 256 levels; NaN where NaN
