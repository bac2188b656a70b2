"""The stored master patterns: size, scale, symmetry and frame, kikuchipy's Ni, Bragg's law."""

import dataclasses
import json

import kikuchipy as kp
import numpy as np
import pytest
from orix.quaternion.symmetry import get_point_group
from scipy.ndimage import map_coordinates

from data.master_patterns import simulate as simulation
from data.master_patterns.simulate import (
    FOLDER,
    GRID,
    LATTICE,
    NICKEL,
    STRUCTURES,
)
from kikuhelpers.scans.virtual.master_patterns import _blur

WAVELENGTH_NM = 0.00858  # of 20 keV electrons
MOST_BYTES = 1_000_000
FINEST_DEG = 0.3  # a pixel is 0.36°; what is finer, a turned grid samples elsewhere


def stored(name: str) -> tuple[np.ndarray, dict]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return file["upper"].astype(float), json.loads(str(file["metadata"]))


def sample(upper: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Values of a centrosymmetric master pattern along directions (..., 3)."""
    x, y, z = np.moveaxis(np.where(directions[..., 2:] < 0, -directions, directions), -1, 0)
    wide = np.abs(x) >= np.abs(y)
    longer, shorter = np.where(wide, x, y), np.where(wide, y, x)
    first = np.sign(longer) * np.sqrt(1 - z)
    ratio = np.divide(shorter, longer, out=np.zeros_like(x), where=longer != 0)
    second = first * 4 / np.pi * np.arctan(ratio)
    half = len(upper) // 2
    column, row = np.where(wide, first, second), np.where(wide, second, first)
    return map_coordinates(upper, half * (1 + np.array([row, column])), order=3, mode="mirror")


def around_pole(angle_deg: float, turned_deg: float) -> np.ndarray:
    """Directions (longitudes, 3) at an angle from the pole, turned about it."""
    polar, longitude = np.radians(angle_deg), np.radians(np.arange(0, 360, 0.5) + turned_deg)
    ring = [np.sin(polar) * np.cos(longitude), np.sin(polar) * np.sin(longitude)]
    return np.stack([*ring, np.full_like(longitude, np.cos(polar))], axis=-1)


def turned_correlation(upper: np.ndarray, turned_deg: float, other=None) -> float:
    """Correlation of a pattern, turned about its pole, with itself or another one."""
    there, here = (
        np.concatenate([sample(of, around_pole(a, turn)) for a in range(3, 90, 3)])
        for of, turn in ((upper, turned_deg), (upper if other is None else other, 0.0))
    )
    return np.corrcoef(there, here)[0, 1]


def band_profile(upper: np.ndarray, normal: tuple, angles: np.ndarray) -> np.ndarray:
    """Mean along the band of each angle (radians) from its plane."""
    n = np.array(normal) / np.linalg.norm(normal)
    first = np.cross(n, [0.3, 0.5, 0.7])
    first /= np.linalg.norm(first)
    along = np.linspace(0, 2 * np.pi, 720, endpoint=False)[:, None]
    circle = np.cos(along) * first + np.sin(along) * np.cross(n, first)
    angle = angles[:, None, None]
    return sample(upper, np.cos(angle) * circle + np.sin(angle) * n).mean(axis=1)


def band_edge(profile: np.ndarray, angles: np.ndarray, bragg: float) -> float:
    """The angle where the profile has fallen half of the way, near Bragg's."""
    inside = np.where(angles <= bragg, profile, -np.inf)
    outside = profile[(angles >= bragg) & (angles <= 1.5 * bragg)]
    level = (inside.max() + outside.min()) / 2
    top = inside.argmax()
    after = top + np.argmax(profile[top:] < level)
    last = slice(after, after - 2, -1)
    return float(np.interp(level, profile[last], angles[last]))


@pytest.mark.parametrize("name", [*STRUCTURES, LATTICE])
def test_files_are_small_and_say_how_they_were_made(name):
    assert (FOLDER / f"{name}.npz").stat().st_size <= MOST_BYTES
    upper, metadata = stored(name)
    assert upper.shape == (GRID, GRID) and np.isfinite(upper).all()
    structure = NICKEL if name == LATTICE else STRUCTURES[name]
    assert metadata["structure"] == json.loads(json.dumps(dataclasses.asdict(structure)))
    assert metadata["energy_kev"] == 20 and metadata["depth_nm"] == simulation.DEPTH_NM
    assert metadata["grid"] == GRID and metadata["de_ebsd"] == "0.2.1"


@pytest.mark.parametrize("name", STRUCTURES)
def test_scale_over_the_sphere(name):
    upper, _ = stored(name)
    assert abs(upper.mean()) < 1e-3 and abs(upper.std() - 1) < 1e-3


def test_the_derivative_is_without_its_mean():
    upper, metadata = stored(LATTICE)
    assert abs(upper.mean()) < 1e-3 * upper.std() and "mean removed" in metadata["quantity"]


def test_one_hemisphere_is_enough():
    for structure in STRUCTURES.values():
        assert get_point_group(structure.space_group).contains_inversion


@pytest.mark.parametrize("name", ["Ni", "NbC", "TiN", LATTICE])
def test_cubic_poles_are_fourfold(name):
    upper, _ = stored(name)
    assert np.array_equal(upper, np.rot90(upper)) and np.array_equal(upper, upper.T)
    assert turned_correlation(upper, 45) < 0.5


def test_the_hexagonal_pole_is_sixfold():
    upper, _ = stored("Laves")
    assert np.array_equal(upper, upper[::-1]) and np.array_equal(upper, upper[:, ::-1])
    smooth = _blur(upper, FINEST_DEG)
    assert turned_correlation(smooth, 60) > 0.98 > 0.5 > turned_correlation(smooth, 30)


def test_x_is_along_a_in_the_hexagonal_phase():
    # The strong {11-20} bands (d = a / 2) are those normal to the a axes, so to x.
    upper, _ = stored("Laves")
    across_x, across_y = (
        band_profile(upper, normal, np.radians([0.0, 2.0])) for normal in ((1, 0, 0), (0, 1, 0))
    )
    assert across_x[0] - across_x[1] > across_y[0] - across_y[1] + 0.3


def test_the_trigonal_pole_is_threefold_and_x_along_a():
    upper, _ = stored("oxide")
    assert np.array_equal(upper, upper[:, ::-1]), "mirrors are normal to the a axes"
    assert not np.allclose(upper, upper[::-1], atol=0.5)
    smooth = _blur(upper, FINEST_DEG)
    assert turned_correlation(smooth, 120) > 0.98 > 0.9 > turned_correlation(smooth, 60)


def test_nickel_lies_as_kikuchipys_does():
    # That one is of 2 nm depth and a smaller lattice, so with broader bands: alike, not the same.
    # Its frame is the same one: a turn by 1°, a third of a band, is seen.
    upper, _ = stored("Ni")
    shipped = kp.data.nickel_ebsd_master_pattern_small(projection="lambert").data.astype(float)
    assert 0.75 < np.corrcoef(upper.ravel(), shipped.ravel())[0, 1] < 0.85
    assert turned_correlation(upper, 0, shipped) > 0.75
    assert turned_correlation(upper, 1, shipped) < 0.65
    assert turned_correlation(upper, -1, shipped) < 0.65
    assert turned_correlation(upper, 45, shipped) < 0.3


# Bloch waves shape the edges: that of {200}, half-way down, moves by three quarters of Bragg's law.
@pytest.mark.parametrize(
    "normal, least, most",
    [
        ((1, 1, 1), 0.9, 1.1),
        ((2, 0, 0), 0.65, 0.85),
        ((2, 2, 0), 0.9, 1.1),
        ((3, 1, 1), 0.9, 1.1),
    ],
)
def test_bands_narrow_by_braggs_law(normal, least, most):
    upper, _ = stored("Ni")
    derivative, _ = stored(LATTICE)
    bragg = np.arcsin(WAVELENGTH_NM / 2 * np.linalg.norm(normal) / NICKEL.a_nm)
    angles = np.linspace(0, 1.6 * bragg, 200)
    pattern, change = (band_profile(u, normal, angles) for u in (upper, derivative))
    for strain in (0.002, 0.01):
        wide, narrow = (band_edge(pattern + s * change, angles, bragg) for s in (-strain, strain))
        assert least < (wide - narrow) / (2 * strain * np.tan(bragg)) < most


def test_the_same_command_gives_the_same_values(tmp_path):
    pytest.importorskip("de_ebsd", reason="de-ebsd is not installed (optional: simulation)")
    for folder in ("first", "second"):
        simulation.main(["NbC", "--grid", "11", "--folder", str(tmp_path / folder)])
    first, second = (np.load(tmp_path / f / "NbC.npz") for f in ("first", "second"))
    assert np.array_equal(first["upper"], second["upper"])
    assert str(first["metadata"]) == str(second["metadata"])
    assert not list((tmp_path / "first").glob(".*")), "nothing is left of the writing"
