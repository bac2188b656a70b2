"""The pattern centre in every convention, and what is noticed when it is wrong."""

import re
from dataclasses import replace

import kikuchipy as kp
import numpy as np
import pytest
from orix.quaternion import Rotation
from orix.quaternion.symmetry import Oh

from kikuhelpers.indexing.hough import Detector, band_indexer, index_patterns, save_map, solve
from kikuhelpers.indexing.orientation_maps import disorientation_deg
from kikuhelpers.indexing.pattern_centre import NOBODY, calibrate_pattern_centre, detector_of
from kikuhelpers.indexing.verdict import judge
from kikuhelpers.patterns.masking import fill_outside, round_mask
from kikuhelpers.patterns.up2 import to_counts
from kikuhelpers.scans.virtual.scanning import ScanMaker
from kikuhelpers.study import StudyError, load_study
from kikuhelpers.study.scans import Scan
from kikuhelpers.study.study import NICKEL, Indexing
from tests.test_virtual_microscope import small_grains

CENTRE = (0.51, 0.34, 0.62)
STATED = Detector(CENTRE)
SETTINGS = Indexing(phase=NICKEL, calibration_patterns=30)
MASK = round_mask((120, 120), (59.5, 59.5), 57.5)
CAMERA = {"pattern_shape": (128, 156)}


@pytest.fixture(scope="module")
def patterns():
    """(6, 8) simulated Ni patterns with as much noise as bands."""
    master = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", energy=20)
    camera = kp.detectors.EBSDDetector(shape=MASK.shape, pc=CENTRE)
    quaternions = np.random.default_rng(0).normal(size=(6, 8, 4))
    turns = Rotation(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True))
    signal = master.get_patterns(turns, camera, compute=True, show_progressbar=False).data
    signal = signal.astype(float)
    signal -= signal.mean(axis=(-1, -2), keepdims=True)
    noise = np.random.default_rng(0).standard_normal(signal.shape) * signal.std()
    return to_counts((signal + noise) / 8 / signal.std())


def scan_of(**indexing):
    return Scan.model_validate({"data": {"path": "scan.up2"}, "indexing": indexing})


@pytest.mark.parametrize("convention", ["bruker", "edax", "oxford", "emsoft"])
def test_every_convention_is_kikuchipys(convention):
    camera = kp.detectors.EBSDDetector(CAMERA["pattern_shape"], pc=CENTRE, px_size=30.0)
    name = {"edax": "tsl"}.get(convention, convention)
    given = getattr(camera, f"pc_{name}")()[0] if convention != "bruker" else CENTRE
    pixel = {"pixel_um": 30.0} if convention == "emsoft" else {}
    scan = scan_of(pattern_centre={convention: tuple(given), **pixel})
    detector, sources = detector_of(scan, CAMERA)
    x, y, z = CENTRE  # the square is the middle of the camera, as high as it
    assert detector.pattern_centre == pytest.approx(((156 * x - 14) / 128, y, z))
    assert sources == dict.fromkeys(sources, NOBODY) | {"pattern_centre": "the study"}


def test_emsofts_centre_must_be_one_of_the_camera():
    given = {"emsoft": (3.2, 14, 15000), "pixel_um": 3.0}  # a tenth of the pixel's true size
    sentence = r"^indexing.pattern_centre.emsoft: .* 39.* lies outside 0.2 to 3; .* and pixel_um\.$"
    with pytest.raises(StudyError, match=sentence):
        detector_of(scan_of(pattern_centre=given), CAMERA)


@pytest.mark.parametrize(("square", "share"), [("crop", 128 / 156), ("pad", 1)])
def test_the_screen_is_as_wide_as_the_square(square, share):
    given = {"indexing": {"screen_um": 30_000.0}, "preprocessing": {"square": square}}
    scan = Scan.model_validate({"data": {"path": "scan.up2"}} | given)
    detector, sources = detector_of(scan, CAMERA)
    assert detector.screen_um == pytest.approx(30_000 * share)
    assert sources["screen_um"] == "the study"
    with pytest.raises(StudyError, match=r"indexing.screen_um.* 5000"):
        load_study("crop", {"scans.rx.indexing.screen_um": 30})  # mm


def test_one_centre_serves_the_map_unless_it_moves(patterns):
    still, moving = STATED.centres(MASK.shape, (6, 8), 9.0), replace(STATED, screen_um=30_000.0)
    assert np.array_equal(still, np.tile(CENTRE, (48, 1)))
    camera = kp.detectors.EBSDDetector(MASK.shape, px_size=250.0, pc=CENTRE, sample_tilt=70.0)
    moved = camera.extrapolate_pc((0, 0), (6, 8), (9.0, 9.0)).pc.reshape(-1, 3)
    expected = CENTRE + moved - moved.mean(axis=0)
    np.testing.assert_allclose(moving.centres(MASK.shape, (6, 8), 9.0), expected, atol=1e-9)
    flat = fill_outside(patterns.reshape(-1, *MASK.shape), MASK)
    best, confidence = solve(flat, band_indexer(MASK.shape, STATED, SETTINGS), SETTINGS)
    xmap = index_patterns(patterns, MASK, STATED, SETTINGS, 9.0)
    assert np.array_equal(xmap.prop["ci"], confidence)
    assert np.array_equal(xmap.prop["fit"], best["fit"])


def test_a_moving_centre_serves_a_wide_map():
    """Corners of a map as wide as a 25th of the screen, as 1.2 mm of 30 mm are."""
    scan = small_grains(screen_width_um=3_000)
    maker = ScanMaker(scan)
    made = [maker.chunk(start) for start in maker.starts]
    seen = np.concatenate([patterns for patterns, _ in made]).astype(float)
    seen -= seen.mean(axis=0)
    spread = np.abs(seen).max(axis=(1, 2), keepdims=True)
    counts = np.where(MASK, to_counts(seen / spread), 0).reshape(*scan.map_shape, *MASK.shape)
    truth = Rotation(np.concatenate([truth["rotation"] for _, truth in made]))
    row, column = np.indices(scan.map_shape).reshape(2, -1)
    corner = (np.abs(row - 9.5) > 7) & (np.abs(column - 9.5) > 7)
    off_deg = {}
    for screen_um in (np.inf, 3_000.0):
        detector = Detector(scan.microscope.pattern_centre, screen_um=screen_um)
        found = index_patterns(counts, MASK, detector, SETTINGS, scan.step_um).rotations
        off_deg[screen_um] = np.median(disorientation_deg(found, truth, Oh)[corner])
    assert off_deg[np.inf] > 1.2
    assert off_deg[3_000.0] < 0.24  # the precision of noisy patterns whose centre stands still


def test_the_file_says_what_the_study_leaves_open():
    of_file = {"pattern_centre": (0.4, 0.2, 0.7), "sample_tilt_deg": 69.0, "phases": []}
    card = {"pattern_shape": (60, 60), "file": of_file}
    detector, sources = detector_of(scan_of(sample_tilt_deg=70.0), card)
    assert detector == Detector((0.4, 0.2, 0.7), 70.0, 0.0)
    assert list(sources.values()) == ["the scan's file", "the study", NOBODY, NOBODY]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([51.3, 34.0, 62.6], r"pattern_centre: \[51.3, .* per cent and pixels are to be divided"),
        ([0.5, 0.3, 0.0], "0 lies outside 0.2 to 3"),
        ({"edax": [0.5, 66, 0.6]}, "pattern_centre.edax: .* 66 lies outside"),
        ({"edax": [0.5, 0.6, 0.6], "bruker": [0.5, 0.4, 0.6]}, "give one of bruker, edax"),
        ({"emsoft": [3.2, 14, 15000]}, "emsoft goes with pixel_um"),
        ({"tsl": [0.5, 0.6, 0.6]}, "pattern_centre.tsl: is not a known setting"),
        ("edax", "pattern_centre: must hold settings"),
    ],
)
def test_an_impossible_centre_is_named_as_it_stands_in_the_file(given, sentence):
    with pytest.raises(StudyError, match=f"scans.rx.indexing.*{sentence}"):
        load_study("crop", {"scans.rx.indexing.pattern_centre": given})


@pytest.mark.parametrize("guess", [(0.5, 0.3, 0.6), (0.4, 0.44, 0.5)])
def test_a_poor_guess_is_mended(patterns, guess):
    found = calibrate_pattern_centre(patterns, MASK, Detector(guess), SETTINGS, seed=1)
    assert found.pattern_centre == pytest.approx(CENTRE, abs=0.015)
    assert not found.remark


@pytest.mark.parametrize("error", ["convention", "upside down"])
def test_the_wrong_side_of_the_middle_is_noticed(patterns, error):
    x, y, z = CENTRE
    detector = Detector((x, 1 - y, z)) if error == "convention" else STATED
    given = patterns if error == "convention" else patterns[..., ::-1, :]
    found = calibrate_pattern_centre(given, MASK, detector, SETTINGS, seed=1)
    assert re.search(r"edax: \[x, y, z\].*flip: true", found.remark)
    agree = float(re.search(r"near \[[\d.]+, ([\d.]+),", found.remark)[1])
    assert agree == pytest.approx(1 - detector.pattern_centre[1], abs=0.05)
    how = given, MASK, Detector(found.pattern_centre), SETTINGS
    xmap = index_patterns(*how, 1.0)
    verdict = judge(xmap, *how, 1, found.remark)
    assert verdict.kind == "disagreement" and found.remark in verdict.sentence
    assert xmap.is_indexed.mean() > 0.8  # which says nothing


def test_noise_and_bands_are_told_apart(patterns):
    noise = np.random.default_rng(0).integers(0, 2**16, patterns.shape, np.uint16)
    kinds = {}
    for name, given in {"bands": patterns, "noise": noise}.items():
        xmap = index_patterns(given, MASK, STATED, SETTINGS, 1.0)
        kinds[name] = judge(xmap, given, MASK, STATED, SETTINGS, seed=1)
        assert kinds[name].confidence_of_noise < 0.03
    assert kinds["bands"].kind == "sound" and kinds["bands"].peak_ratio > 1.5
    assert kinds["noise"].kind == "noise" and kinds["noise"].peak_ratio == pytest.approx(1, abs=0.1)


def test_the_ang_file_states_the_centre_in_edaxs_convention(tmp_path, patterns):
    xmap = index_patterns(patterns, MASK, STATED, SETTINGS, 1.0)
    save_map(tmp_path / "map.h5", xmap, CENTRE)
    head = (tmp_path / "map.ang").read_text()
    stated = [float(re.search(f"{axis}-star +([\\d.]+)\n", head)[1]) for axis in "xyz"]
    assert stated == pytest.approx(kp.detectors.EBSDDetector(pc=CENTRE).pc_tsl()[0])
