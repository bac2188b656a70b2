"""The virtual specimen and its microscope: known truth in, known truth out."""

from dataclasses import fields

import kikuchipy as kp
import numpy as np
import pytest
from orix.crystal_map import PhaseList
from orix.quaternion import Orientation, Rotation
from orix.vector import Vector3d

from kikuhelpers import specimen
from kikuhelpers.specimen import (
    Truth,
    detector_of,
    load_truth,
    make_truth,
    mixing_weights,
    noise_free_rows,
    save_truth,
    screen_mask,
    simulate,
)
from kikuhelpers.study import VirtualScan
from kikuhelpers.up2 import open_patterns, read_header

BANDS_ONLY = {"noise": 0.0, "background": 0.0, "brightness": 0.0, "mixing_um": 0.0}


def scan_of(**settings):
    settings = {"alloy": "wrought", "map_shape": (12, 10), "grains": 4, **settings}
    return VirtualScan(source="virtual", **settings)


def same_truth(one, other):
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Truth))


@pytest.fixture(scope="module")
def master():
    return kp.data.nickel_ebsd_master_pattern_small(projection="lambert", hemisphere="both")


# ---------------------------------------------------------------- the specimen


def test_twins_are_sigma3_lamellae_along_their_trace():
    truth = make_truth(
        scan_of(map_shape=(80, 80), grains=8, twin_fraction=1.0, lattice_rotation_deg=0.0)
    )
    rotations = truth.rotations.reshape(80, 80, 4)
    twins = np.setdiff1d(truth.grain, truth.parent)
    assert len(twins) == 8
    for twin in twins:
        lamella = truth.grain == twin
        parent = np.unique(truth.parent[lamella])
        assert len(parent) == 1
        matrix = truth.grain == parent[0]
        crystal = Rotation(rotations[matrix][0])
        turn = Rotation(rotations[lamella][0]) * ~crystal
        axis = turn.axis.data.ravel()
        assert np.degrees(turn.angle[0]) == pytest.approx(60, abs=1e-6)
        np.testing.assert_allclose(np.abs(axis), 1 / np.sqrt(3), atol=1e-6)
        across = (~crystal * Vector3d(axis)).data.ravel()[:2]
        position = np.argwhere(lamella) @ (across / np.linalg.norm(across))
        assert np.ptp(position) <= specimen.LAMELLA_WIDTH_POINTS[1]


def test_twin_fraction_counts_grains():
    truth = make_truth(scan_of(map_shape=(60, 60), grains=10, twin_fraction=0.3))
    assert len(np.setdiff1d(truth.grain, truth.parent)) == 3
    assert same_truth(truth, make_truth(scan_of(map_shape=(60, 60), grains=10, twin_fraction=0.3)))


def test_lattice_rotation_has_the_stated_deviation_and_is_smooth():
    truth = make_truth(
        scan_of(map_shape=(150, 150), grains=1, twin_fraction=0.0, lattice_rotation_deg=0.5)
    )
    rotations = Rotation(truth.rotations)
    middle = Rotation(rotations.data.mean(0))
    vector = 2 * np.degrees((~middle * rotations).data[:, 1:])  # small angles
    vector *= np.sign((~middle * rotations).data[:, :1])
    assert vector.std() == pytest.approx(0.5, rel=0.15)
    steps = np.diff(vector.reshape(150, 150, 3), axis=1)
    assert steps.std() < 0.2 * vector.std()


def test_columnar_grains_are_longer_along_the_rows():
    truth = make_truth(
        scan_of(alloy="am", map_shape=(120, 120), grains=40, twin_fraction=0, aspect_ratio=5)
    )
    borders_down = (np.diff(truth.grain, axis=0) != 0).sum()
    borders_across = (np.diff(truth.grain, axis=1) != 0).sum()
    assert borders_across > 2.5 * borders_down


def test_domains_divide_grains_and_walls_lie_between_them():
    scan = scan_of(
        map_shape=(60, 60),
        grains=3,
        domain_size_um=12.0,
        domain_rotation_deg=1.0,
        wall_width_um=2.0,
    )
    truth = make_truth(scan)
    assert all(len(np.unique(truth.grain[truth.domain == d])) == 1 for d in np.unique(truth.domain))
    assert len(np.unique(truth.domain)) > len(np.unique(truth.grain))
    border = (np.diff(truth.domain, axis=1) != 0) & (np.diff(truth.grain, axis=1) == 0)
    at_border = np.maximum(truth.wall[:, 1:], truth.wall[:, :-1])[border]
    assert at_border.min() > 0.5  # at most half a step, that is half of the FWHM's half, away
    assert truth.wall.min() >= 0 and truth.wall.max() <= 1
    assert np.median(truth.wall) < 0.2


def test_no_domains_means_no_walls():
    truth = make_truth(scan_of())
    assert np.array_equal(truth.domain, truth.grain)
    assert not truth.wall.any()


def test_truth_survives_its_file(tmp_path):
    truth = make_truth(scan_of(domain_size_um=4.0))
    save_truth(tmp_path / "truth.npz", truth)
    assert same_truth(truth, load_truth(tmp_path / "truth.npz"))
    assert [p.name for p in tmp_path.iterdir()] == ["truth.npz"]


# -------------------------------------------------------------- the microscope


def test_noise_free_patterns_are_those_of_kikuchipy(tmp_path, master):
    scan = scan_of(map_shape=(5, 4), **BANDS_ONLY)
    truth = simulate(scan, tmp_path / "scan.up2")
    screen = screen_mask()
    ours = open_patterns(tmp_path / "scan.up2").reshape(-1, 120, 120)[:, screen]
    theirs = master.get_patterns(
        Rotation(truth.rotations), detector_of(scan), compute=True, show_progressbar=False
    ).data[:, screen]
    for one, other in zip(ours, theirs, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.9999


def test_hough_indexing_gives_the_orientation_back(tmp_path, master):
    scan = scan_of(map_shape=(4, 3), grains=12, lattice_rotation_deg=3.0, **BANDS_ONLY)
    truth = simulate(scan, tmp_path / "scan.up2")
    patterns = np.array(open_patterns(tmp_path / "scan.up2"), np.float32).reshape(-1, 120, 120)
    screen = screen_mask()
    patterns[:, ~screen] = patterns[:, screen].mean()
    signal = kp.signals.EBSD(patterns)
    phases = PhaseList(master.phase)
    indexed = signal.hough_indexing(phases, detector_of(scan).get_indexer(phases), verbose=0)
    found = indexed.orientations
    true = Orientation(truth.rotations, symmetry=found.symmetry)
    errors = found.angle_with(true, degrees=True)
    assert np.median(errors) < 0.5
    assert errors.max() < 1.5


def test_same_seed_same_bytes_and_another_seed_another_map(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(scan_of(map_shape=(4, 5), seed=seed), tmp_path / f"{name}.up2")
    a, b, c = ((tmp_path / f"{name}.up2").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_bands_of_a_point_do_not_depend_on_its_row_mates():
    scan = scan_of(map_shape=(3, 6), mixing_um=0.0)
    truth = make_truth(scan)
    whole = np.stack(list(noise_free_rows(scan, truth)))
    narrow = Truth(
        truth.rotations.reshape(3, 6, 4)[:, 2:3].reshape(-1, 4),
        *(getattr(truth, f.name)[:, 2:3] for f in fields(Truth)[1:]),
    )
    column = np.stack(list(noise_free_rows(scan_of(map_shape=(3, 1), mixing_um=0.0), narrow)))
    np.testing.assert_allclose(whole[:, 2:3], column, atol=1e-5)


def test_outside_the_screen_is_zero_and_nothing_is_clipped(tmp_path):
    scan = scan_of(brightness=3.0, noise=2.0, step_um=0.5)
    simulate(scan, tmp_path / "scan.up2")
    patterns = open_patterns(tmp_path / "scan.up2")
    screen = screen_mask()
    assert not patterns[..., ~screen].any()
    assert patterns[..., screen].min() > specimen.LOWEST_COUNT
    assert patterns[..., screen].max() < specimen.HIGHEST_COUNT
    header = read_header(tmp_path / "scan.up2")
    assert header.map_shape == (12, 10)
    assert header.step_um == (0.5, 0.5)


def test_binning_averages_down_to_the_noise_asked_for(tmp_path):
    settings = {"map_shape": (1, 2), "grains": 1, "twin_fraction": 0, "lattice_rotation_deg": 0}
    scan = scan_of(binning=2, noise=0.5, **settings)
    simulate(scan, tmp_path / "scan.up2")
    raw = open_patterns(tmp_path / "scan.up2").astype(float)
    assert raw.shape == (1, 2, 240, 240)
    binned = raw.reshape(2, 120, 2, 120, 2).mean((2, 4))
    inside = np.s_[40:80, 40:80]
    low = specimen.HEADROOM * (scan.band_contrast + scan.brightness + 2 * scan.noise)
    gain = (specimen.HIGHEST_COUNT - specimen.LOWEST_COUNT) / (scan.background + 2 * low)
    difference = (binned[0] - binned[1])[inside] / gain  # two points of one orientation
    assert difference.std() / np.sqrt(2) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("mixing_um", [0.0, 0.3, 0.6, 1.0, 2.5])
def test_mixing_weights_share_out_one_point(mixing_um):
    weights = mixing_weights(scan_of(mixing_um=mixing_um))
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-7)
    assert (weights >= -1e-7).all()
    offsets = np.arange(len(weights)) - len(weights) // 2
    if mixing_um >= 1:
        # The tent adds the step's 1/6 to the Gaussian's variance.
        sigma = mixing_um / specimen.FWHM_PER_SIGMA
        assert (weights * offsets**2).sum() == pytest.approx(sigma**2 + 1 / 6, rel=0.05)


@pytest.mark.parametrize("mixing_um", [0.6, 1.6])
def test_only_points_near_a_border_hold_their_neighbours(mixing_um):
    scan = scan_of(map_shape=(9, 8), grains=2, twin_fraction=0, mixing_um=mixing_um)
    truth = make_truth(scan)
    pure = np.stack(list(noise_free_rows(scan_of(map_shape=(9, 8), mixing_um=0), truth)))
    mixed = np.stack(list(noise_free_rows(scan, truth)))
    weights = mixing_weights(scan)
    reach = len(weights) // 2
    for row, column in np.ndindex(9, 8):
        around = [
            (min(max(row + dy, 0), 8), min(max(column + dx, 0), 7))
            for dy in range(-reach, reach + 1)
            for dx in range(-reach, reach + 1)
        ]
        expected = pure[row, column]
        if len({truth.domain[point] for point in around}) > 1:
            shares = np.outer(weights, weights).ravel()
            expected = sum(share * pure[point] for share, point in zip(shares, around, strict=True))
        np.testing.assert_allclose(mixed[row, column], expected, atol=1e-4)


def test_walls_lose_contrast():
    scan = scan_of(map_shape=(1, 2), wall_contrast_loss=0.4, **BANDS_ONLY)
    quaternion = np.array([0.8, 0.2, 0.4, 0.4]) / np.linalg.norm([0.8, 0.2, 0.4, 0.4])
    label = np.zeros((1, 2), int)
    truth = Truth(np.stack([quaternion] * 2), label, label, label, np.array([[0.0, 1.0]]))
    (row,) = noise_free_rows(scan, truth)
    np.testing.assert_allclose(row[1], 0.6 * row[0], atol=1e-5)


def test_brightness_has_the_stated_deviation_and_the_bands_theirs():
    scan = scan_of(map_shape=(20, 20), brightness=1.5, mixing_um=0.0)
    rng = np.random.default_rng(3)
    rotations = rng.standard_normal((400, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    label = np.zeros((20, 20), int)
    truth = Truth(rotations, label, label, label, np.zeros((20, 20)))
    both = np.concatenate(list(noise_free_rows(scan, truth)))
    dark = scan.model_copy(update={"brightness": 0.0})
    bands = np.concatenate(list(noise_free_rows(dark, truth)))
    assert bands.std() == pytest.approx(1, rel=0.1)
    assert (both - bands).std() == pytest.approx(1.5, rel=0.1)
