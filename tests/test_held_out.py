"""Held-out grains: twins are found by their orientation, wherever the pair lies."""

import numpy as np
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation
from orix.vector import Vector3d

from kikuhelpers.indexing.orientation_maps import grod_deg, label_grains
from kikuhelpers.study import StudyError
from kikuhelpers.training.held_out import _twin_pair_points, _twin_pairs, twins_joined


@pytest.fixture(scope="module")
def xmap() -> CrystalMap:
    """Four strips 20 x 10: a matrix, its twin, a stranger, the twin's orientation again."""
    matrix = Rotation.from_euler([20, 30, 40], degrees=True)
    twin = Rotation.from_axes_angles(Vector3d([1, -1, 1]), 60, degrees=True) * matrix
    stranger = Rotation.from_axes_angles(Vector3d([1, 2, 3]), 35, degrees=True) * matrix
    strips = np.repeat([0, 1, 2, 1], 10)
    rotations = Rotation.stack([matrix, twin, stranger]).flatten()[np.tile(strips, 20)]
    coordinates, _ = create_coordinate_arrays((20, 40), (1, 1))
    phases = PhaseList(Phase("Ni", space_group=225))
    xmap = CrystalMap(rotations=rotations, phase_list=phases, **coordinates)
    grains = label_grains(xmap, 5)
    xmap.prop["grain"], xmap.prop["grod_deg"] = grains.ravel(), grod_deg(xmap, grains).ravel()
    return xmap


def test_twins_of_other_crystals_are_not_known(xmap):
    hexagonal = xmap.deepcopy()
    hexagonal.phases[0].space_group = 194
    with pytest.raises(StudyError, match=r"twins of one m-3m phase only, not of \['Ni'\]"):
        _twin_pair_points(hexagonal, near_deg=5, largest_share=0.8)


def test_only_the_neighbours_in_twin_relation_are_a_pair(xmap):
    grains = xmap.prop["grain"].reshape(xmap.shape)
    assert _twin_pairs(xmap, 50).tolist() == [[grains[0, 0], grains[0, 10]]]
    joined = twins_joined(xmap)
    assert joined[0, 0] == joined[0, 10] and len(np.unique(joined)) == len(np.unique(grains)) - 1


def test_the_pairs_orientations_are_held_out_everywhere(xmap):
    points = _twin_pair_points(xmap, near_deg=5, largest_share=0.8)
    assert points.all(axis=0).tolist() == [True] * 20 + [False] * 10 + [True] * 10


def test_a_pair_that_takes_too_much_is_refused(xmap):
    with pytest.raises(StudyError, match="smallest twin pair takes 75%"):
        _twin_pair_points(xmap, near_deg=5, largest_share=0.5)
