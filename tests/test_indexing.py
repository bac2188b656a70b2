import kikuchipy as kp
import numpy as np
import orix.io
import pytest
from orix.quaternion import Rotation
from orix.quaternion.symmetry import Oh

from kikuhelpers.indexing import hough as indexing
from kikuhelpers.indexing import orientation_maps as maps
from kikuhelpers.indexing import pattern_centre
from kikuhelpers.patterns import streaming
from kikuhelpers.patterns.masking import round_mask
from kikuhelpers.patterns.up2 import to_counts
from kikuhelpers.runs import compilation
from kikuhelpers.runs.results import with_rows_and_columns
from kikuhelpers.study.study import NICKEL, Indexing

CENTRE = (0.51, 0.34, 0.62)
AT = indexing.Detector(CENTRE)
SHAPE = (4, 10)
STEP_UM = 0.5
NI = Indexing(
    phase={"name": "Ni", "space_group": 225, "lattice_nm": 0.352}, calibration_patterns=30
)
MASK = round_mask((120, 120), (59.5, 59.5), 57.5)


@pytest.fixture(scope="module")
def truth():
    return Rotation.random(SHAPE)


@pytest.fixture(scope="module")
def patterns(truth):
    """Simulated Ni patterns of known rotations, black outside the screen."""
    master = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", energy=20)
    detector = kp.detectors.EBSDDetector(shape=MASK.shape, pc=CENTRE, sample_tilt=70, tilt=0)
    simulated = master.get_patterns(truth, detector, compute=True, show_progressbar=False).data
    simulated = simulated.astype(float)
    inside = simulated[..., MASK]
    low, high = (f(inside, axis=-1)[..., None, None] for f in (np.min, np.max))
    return np.where(MASK, to_counts((simulated - low) / (high - low) * 2 - 1), 0).astype("u2")


@pytest.fixture(scope="module")
def scan():
    return indexing.Detector(pattern_centre=(0.5, 0.35, 0.6))


@pytest.fixture(scope="module")
def xmap(patterns):
    return indexing.index_patterns(patterns, MASK, AT, NI, STEP_UM)


def test_simulated_patterns_index_back(xmap, truth):
    known = Rotation(truth.data.reshape(-1, 4))  # orix's flatten() runs along the columns
    error = maps.disorientation_deg(xmap.rotations, known, Oh)
    assert xmap.is_indexed.all()
    assert np.median(error) < 0.5
    assert (error < 2).mean() > 0.95


def test_map_has_the_grid_of_the_scan(xmap):
    assert xmap.shape == SHAPE
    assert (xmap.dx, xmap.dy, xmap.scan_unit) == (0.5, 0.5, "um")
    assert set(xmap.prop) == {"pq", "cm", "ci", "fit", "nmatch"}
    assert xmap.phases[0].structure.lattice.a == pytest.approx(3.52)


def test_confidence_separates_patterns_from_noise(xmap):
    noise = np.random.default_rng(0).integers(0, 2**16, (10, 20, *MASK.shape), np.uint16)
    of_noise = indexing.index_patterns(noise, MASK, AT, NI, STEP_UM).prop["ci"]
    assert of_noise.mean() < 0.1
    assert np.median(xmap.prop["ci"]) > 0.5
    assert np.all((xmap.prop["ci"] >= 0) & (xmap.prop["ci"] <= 1))


def test_chunks_do_not_change_the_result(monkeypatch, patterns, xmap):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 7 * patterns[0, 0].nbytes)
    again = indexing.index_patterns(patterns, MASK, AT, NI, STEP_UM)
    assert maps.misorientation_map(again, xmap).max() < 0.01
    assert np.array_equal(again.prop["nmatch"], xmap.prop["nmatch"])


def test_rho_fraction_is_the_share_of_rho_searched():
    settings = Indexing(phase=NICKEL, rho_bins=200)
    plan = indexing.band_indexer((120, 120), indexing.Detector(), settings).bandDetectPlan
    assert plan.rdnmask[:, 90].sum() == 0.85 * 200
    assert plan.nTheta == 180
    assert tuple(plan.peakPad) == (11, 11)  # the peak distance that the docstring states


def test_calibration_finds_the_centre(patterns, scan):
    found = pattern_centre.calibrate_pattern_centre(patterns, MASK, scan, NI, seed=1)
    assert found.pattern_centre == pytest.approx(CENTRE, abs=0.015)
    assert found.fit_after_deg < found.fit_before_deg
    assert found.patterns == 30


def test_calibration_keeps_a_start_that_fits_better(monkeypatch, patterns, scan):
    monkeypatch.setattr(
        pattern_centre.pcopt, "optimize", lambda *_, **__: np.array([0.2, 0.8, 0.9])
    )
    found = pattern_centre.calibrate_pattern_centre(patterns, MASK, scan, NI, seed=1)
    assert found.pattern_centre == found.start == scan.pattern_centre
    assert found.fit_after_deg == found.fit_before_deg


@pytest.mark.parametrize("bands", [9, 10])  # more than 9 of 9: none is indexed
def test_points_that_are_not_indexed_survive_both_formats(tmp_path, patterns, bands):
    strict = NI.model_copy(update={"minimum_matched_bands": bands})
    xmap = indexing.index_patterns(patterns, MASK, AT, strict, STEP_UM)
    assert (~xmap.is_indexed).sum() > 0
    indexing.save_map(tmp_path / "map.h5", xmap, CENTRE)
    again = orix.io.load(str(tmp_path / "map.h5"))
    assert again.shape == xmap.shape and again.scan_unit == "um"
    assert np.array_equal(again.phase_id, xmap.phase_id)
    assert again.rotations.data == pytest.approx(xmap.rotations.data)
    for name, values in xmap.prop.items():
        assert np.array_equal(again.prop[name], values)
    missing = ~xmap.is_indexed.reshape(SHAPE)
    assert np.array_equal(np.isnan(maps.misorientation_map(again, xmap)), missing)
    grains = maps.label_grains(again, 5)
    assert np.array_equal(grains == -1, missing)
    assert np.array_equal(np.isnan(maps.grod_deg(again, grains)), missing)
    assert np.all(np.isnan(maps.kam_deg(again, 1, 5))[missing])
    assert np.all(maps.ipf_colours(again)[missing] == 0)
    ang = np.loadtxt(tmp_path / "map.ang")
    assert np.all(ang[missing.ravel(), 6] == -1) and np.all(ang[missing.ravel(), 5] == 0)
    indexed = xmap.is_indexed
    assert ang[indexed, 5] == pytest.approx(xmap.prop["pq"][indexed], rel=1e-4)
    assert ang[indexed, 6] == pytest.approx(xmap.prop["ci"][indexed], abs=1e-4)
    if indexed.any():  # orix does not read an .ang file without a phase
        assert np.array_equal(orix.io.load(str(tmp_path / "map.ang")).is_indexed, indexed)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.ang", "map.h5"]


def test_compilation_is_announced_only_when_it_comes(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(compilation, "LOCK", tmp_path / "compiling.lock")
    compilation.announce_compilation.__wrapped__()
    assert capsys.readouterr().out.count("2-3 minutes") == 1
    compilation.compiled_mark().touch()
    compilation.announce_compilation.__wrapped__()
    assert capsys.readouterr().out == ""
    before = compilation.compiled_mark()
    monkeypatch.setattr(compilation.sys, "version", "another")
    assert compilation.compiled_mark() != before


def test_the_lock_is_taken_again_within_a_process(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "LOCK", tmp_path / "compiling.lock")
    with compilation.compiling_lock(), compilation.compiling_lock() as lock:
        assert lock.is_locked
    assert not lock.is_locked


@pytest.mark.parametrize("shape", [(1, 40), (40, 1)])
def test_a_line_of_points_indexes_as_a_map(tmp_path, patterns, truth, shape):
    """Two points of each orientation: as in a square map, and each pair is a grain."""
    point = np.repeat(np.arange(20), 2)
    flat = patterns.reshape(-1, *MASK.shape)[point]
    square, line = (
        indexing.index_and_measure(flat.reshape(*n, *MASK.shape), MASK, AT, NI, STEP_UM)
        for n in ((10, 4), shape)
    )
    known = Rotation(truth.data.reshape(-1, 4)[point])
    assert np.median(maps.disorientation_deg(line.rotations, known, Oh)) < 0.5
    assert maps.disorientation_deg(line.rotations, square.rotations, Oh).max() < 0.01
    for name in ("ci", "pq", "nmatch", "sharpness", "noise"):
        assert line.prop[name] == pytest.approx(square.prop[name])
    assert line.shape == line.get_map_data("kam_deg").shape == shape
    assert line.prop["grain"].tolist() == (point - point[0]).tolist()
    assert max(line.prop["kam_deg"].max(), line.prop["grod_deg"].max()) < 0.01
    indexing.save_map(tmp_path / "line.h5", line, CENTRE)
    again = with_rows_and_columns(orix.io.load(str(tmp_path / "line.h5")))
    assert again.shape == maps.ipf_colours(again).shape[:2] == shape
    assert maps.misorientation_map(again, line).max() < 0.01
    places = np.loadtxt(tmp_path / "line.ang")[:, 3:5]  # x, y
    assert places.max(axis=0).tolist() == [STEP_UM * (n - 1) for n in shape[::-1]]


def test_a_single_point_and_other_formats_are_named(patterns):
    with pytest.raises(ValueError, match="index at least 4 points"):
        indexing.index_patterns(patterns[:1, :1], MASK, AT, NI, STEP_UM)
