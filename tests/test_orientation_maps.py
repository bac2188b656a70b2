import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from orix.quaternion.symmetry import O, Oh
from orix.vector import Vector3d

from kikuhelpers.indexing import orientation_maps as maps

ANGLE = 1e-4  # degrees; arccos near 1 is no better
START = Rotation.from_axes_angles([1, 2, 3], 25, degrees=True)


def about(axis, angles_deg):
    return Rotation.from_axes_angles(axis, np.asarray(angles_deg, float), degrees=True)


def make_map(rotations, shape, not_indexed=()):
    row, column = np.indices(shape)
    phase_id = np.zeros(row.size, int)
    phase_id[list(not_indexed)] = -1
    return CrystalMap(
        rotations=Rotation(rotations.data.reshape(-1, 4)),
        phase_id=phase_id,
        phase_list=PhaseList(Phase("Ni", space_group=225)),
        x=column.ravel(),
        y=row.ravel(),
    )


def turned(angles_deg, not_indexed=(), scatter=True):
    """A map turned about [001] from one orientation, each point in a random equivalent."""
    angles_deg = np.asarray(angles_deg, float)
    rotations = about([0, 0, 1], angles_deg.ravel()) * START
    if scatter:
        pick = np.random.default_rng(0).integers(0, 24, angles_deg.size)
        rotations = Rotation(O.data[pick]) * rotations
    return make_map(rotations, angles_deg.shape, not_indexed)


def test_twin_is_sixty_degrees():
    twin = about([1, 1, 1], [60]) * START
    assert maps.disorientation_deg(START, twin, Oh) == pytest.approx(60, abs=ANGLE)


def test_disorientation_is_at_most_the_cubic_limit():
    a, b = Rotation.random(5000), Rotation.random(5000)
    angles = maps.disorientation_deg(a, b, Oh)
    # Mackenzie 1958: the limit, and the median 42.4 degrees.
    assert angles.max() < 62.8
    assert np.median(angles) == pytest.approx(42.4, abs=1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31 - 1), st.integers(0, 23), st.integers(0, 23))
def test_disorientation_ignores_symmetry_and_order(seed, s, t):
    data = np.random.default_rng(seed).normal(size=(2, 1, 4))
    a, b = (Rotation(d / np.linalg.norm(d)) for d in data)
    expected = maps.disorientation_deg(a, b, Oh)
    again = maps.disorientation_deg(Rotation(O.data[s]) * b, Rotation(O.data[t]) * a, Oh)
    assert again == pytest.approx(expected, abs=ANGLE)


def test_misorientation_map_is_nan_where_either_is_not_indexed():
    a = turned(np.zeros((2, 3)), not_indexed=[0])
    b = turned(np.full((2, 3), 7.0), not_indexed=[4])
    expected = np.array([[np.nan, 7, 7], [7, np.nan, 7]])
    assert maps.misorientation_map(a, b) == pytest.approx(expected, abs=ANGLE, nan_ok=True)


def test_misorientation_of_maps_of_other_shapes_is_named():
    with pytest.raises(ValueError, match="no misorientation"):
        maps.misorientation_map(turned(np.zeros((2, 3))), turned(np.zeros((3, 2))))


def test_grains_are_apart_at_a_boundary_and_joined_along_a_slope():
    angles = np.array([[0, 0, 20, 20], [0, 3, 20, 20], [0, 6, 9, 12]])
    grains = maps.label_grains(turned(angles, not_indexed=[3]), 5)
    # 9 to 20 and 0 to 6 degrees are boundaries, but 3 to 6 to 9 to 12 is a slope.
    assert grains.tolist() == [[0, 0, 1, -1], [0, 0, 1, 1], [0, 0, 0, 0]]


def test_grod_of_a_linear_gradient_is_the_distance_to_the_middle():
    angles = np.tile(np.linspace(0, 8, 9), (4, 1))
    xmap = turned(angles)
    grains = maps.label_grains(xmap, 5)
    assert grains.max() == 0
    assert maps.grod_deg(xmap, grains) == pytest.approx(np.abs(angles - 4), abs=2e-3)


def test_the_principal_rotation_has_the_sign_that_grod_folds():
    """Two halves of a grain turned by 1 degree either way about one axis of the sample."""
    axis, half = np.array([0.6, 0.0, -0.8]), np.where(np.arange(10) < 5, 1.0, -1.0)
    turns = Rotation.from_axes_angles(axis, half, degrees=True)
    mean = Rotation.from_euler([10, 20, 30], degrees=True)
    xmap = make_map(mean * turns, (2, 5))
    grains = np.zeros((2, 5), int)
    vectors = maps.rotation_vectors_deg(xmap, grains)
    np.testing.assert_allclose(vectors.reshape(10, 3), half[:, None] * axis, atol=1e-6)
    found = maps.principal_rotation_deg(vectors, grains)
    np.testing.assert_allclose(found.ravel(), -half, atol=1e-6)  # -0.8 is the largest: positive
    grains[0, 0] = -1
    vectors = maps.rotation_vectors_deg(xmap, grains)
    assert np.isnan(maps.principal_rotation_deg(vectors, grains)[0, 0])


def test_grod_takes_each_grain_alone_and_leaves_out_what_is_not_indexed():
    angles = np.array([[0, 2, 30, 34], [0, 2, 30, 34]])
    xmap = turned(angles, not_indexed=[0, 4])
    grod = maps.grod_deg(xmap, maps.label_grains(xmap, 5))
    expected = np.tile([np.nan, 0, 2, 2], (2, 1))
    assert grod == pytest.approx(expected, abs=1e-3, nan_ok=True)


def test_kam_of_a_step():
    angles = np.array([[0, 0, 2, 2]] * 3)
    kam = maps.kam_deg(turned(angles), 1, 5)
    # Inner row: one of four neighbours is 2 degrees off; border rows: one of three.
    assert kam[1] == pytest.approx([0, 0.5, 0.5, 0], abs=ANGLE)
    assert kam[0] == pytest.approx([0, 2 / 3, 2 / 3, 0], abs=ANGLE)


def test_kam_order_two_takes_twelve_neighbours():
    angles = np.zeros((5, 5))
    angles[2, 2] = 3
    kam = maps.kam_deg(turned(angles), 2, 5)
    assert kam[2, 2] == pytest.approx(3, abs=ANGLE)
    assert kam[1, 1] > 0 and kam[0, 2] > 0 and kam[0, 0] == pytest.approx(0, abs=ANGLE)


def test_kam_leaves_out_other_grains_and_points_not_indexed():
    angles = np.array([[0, 1, 20], [0, 1, 20]])
    kam = maps.kam_deg(turned(angles, not_indexed=[0, 5]), 1, 5)
    expected = np.array([[np.nan, 0, np.nan], [1, 0.5, np.nan]])
    assert kam == pytest.approx(expected, abs=ANGLE, nan_ok=True)


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 3))
def test_kam_of_a_uniform_map_is_zero(rows, columns, order):
    kam = maps.kam_deg(turned(np.full((rows, columns), 11.0)), order, 5)
    assert kam == pytest.approx(np.zeros((rows, columns)), abs=ANGLE)


def test_surroundings_are_the_median_of_a_square_around():
    """A lamella differs from most points two steps away, and a point beside it from few."""
    angles = np.zeros((9, 9))
    angles[4] = 20
    turn = maps.surroundings_deg(turned(angles, not_indexed=[40]), 2)
    assert turn[4, 2] == pytest.approx(20, abs=ANGLE) and np.isnan(turn[4, 4])
    assert turn[3, 4] == turn[2, 4] == pytest.approx(0, abs=ANGLE)


def test_ipf_colours_of_cube_directions():
    corners = Vector3d([[1, 0, 0], [1, 1, 0], [1, 1, 1]])  # red, green and blue in the TSL key
    turns = [Rotation.from_align_vectors(corner, Vector3d.xvector()).data[0] for corner in corners]
    xmap = make_map(Rotation(np.tile(turns, (2, 1))), (2, 3), not_indexed=[5])
    colours = maps.ipf_colours(xmap)
    assert colours.shape == (2, 3, 3)
    assert colours[0] == pytest.approx(np.eye(3), abs=0.01)  # orix misses by 0.009
    assert colours[1, 2] == pytest.approx([0, 0, 0])


def test_archived_maps_without_a_quality_have_all_their_points():
    xmap = maps.CrystalMap(Rotation.identity((3,)))
    assert maps.collected(xmap).all()
    xmap.prop["pq"] = np.array([1.0, np.nan, 0.0])
    assert maps.collected(xmap).tolist() == [True, False, True]
