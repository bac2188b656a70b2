import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.quaternion import Rotation
from orix.quaternion.symmetry import O

from kikuhelpers.indexing import confidence
from kikuhelpers.indexing.phases import library_of
from kikuhelpers.study.phases import NICKEL

LIBRARY = library_of(NICKEL)
IRON = Phase(name="Fe", space_group=229, lattice_nm=0.287)
TITANIUM = Phase(name="Ti", space_group=194, lattice_nm=(0.295, 0.295, 0.468))
_MILLER = [(1, 0, 1), (0, 2, 0), (1, 1, 2), (2, 1, 0), (0, 0, 2), (1, 2, 1), (0, 1, 2), (3, 1, 1)]
_MILLER += [(1, 0, 2), (2, 0, 1)]
# The Laue groups mmm, -3 (no rotation leads from a normal to its opposite) and -1.
OTHERS = [
    Phase(name="x", space_group=number, lattice_nm=lattice, reflectors=_MILLER)
    for number, lattice in ((62, (0.5, 0.6, 0.7)), (148, (0.5, 0.5, 0.6)), (2, (0.5, 0.6, 0.7)))
]


def bands_of(rng, patterns, bands=9, noise_deg=0.0, library=LIBRARY):
    """Normals of random reflectors of randomly turned crystals, (patterns, bands, 3)."""
    poles = library[0]
    turned = [
        poles[rng.permutation(len(poles))[:bands]] @ matrix
        for matrix in Rotation.random(patterns).to_matrix()
    ]
    normals = np.array(turned) + np.deg2rad(noise_deg) * rng.normal(size=(patterns, bands, 3))
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def all_valid(normals):
    return np.ones(normals.shape[:2], bool)


def test_library_has_the_reflectors_and_rotations_of_the_cube():
    poles, angles, _, _, rotations = LIBRARY
    assert len(poles) == 4 + 3 + 6 + 12
    assert np.all(np.diff(angles) >= 0)
    assert len(np.unique(rotations, axis=0)) == 24
    for rotation in O.to_matrix():
        assert np.abs(rotations - rotation).max(axis=(1, 2)).min() < 1e-12


def test_clean_bands_near_one_and_random_planes_near_zero():
    rng = np.random.default_rng(0)
    clean = bands_of(rng, 300, noise_deg=0.3)
    noise = rng.normal(size=(300, 9, 3))
    noise /= np.linalg.norm(noise, axis=-1, keepdims=True)
    assert np.median(confidence.confidence_index(clean, all_valid(clean), LIBRARY)) > 0.8
    assert confidence.confidence_index(noise, all_valid(noise), LIBRARY).mean() < 0.03


@pytest.mark.parametrize("phase", [NICKEL, IRON, TITANIUM, *OTHERS], ids=str)
def test_every_triplet_of_exact_bands_votes_for_the_truth(phase):
    library, rng = library_of(phase), np.random.default_rng(1)
    normals = bands_of(rng, 50, library=library) * rng.choice([-1, 1], (50, 9, 1))
    first, second, triplets = confidence._triplet_votes(normals, all_valid(normals), library)
    assert np.all(triplets == 84)
    assert np.all(first == 84)
    assert np.all(second < first)


def test_parallel_reflectors_are_no_pair():
    twice = IRON.model_copy(update={"reflectors": ((1, 1, 0), (2, 2, 0), (2, 0, 0))})
    for part in library_of(twice):
        assert np.isfinite(part).all()


def test_three_bands_of_one_zone_cannot_decide():
    # (111), (1-10) x 2 ... of zone [11-2]: its half turn is the twin of the <111> axis.
    zone = np.array([[1, 1, 1], [1, -1, 0], [3, -1, 1]]) / np.sqrt([[3], [2], [11]])
    first, second, _ = confidence._triplet_votes(zone[np.newaxis], np.ones((1, 3), bool), LIBRARY)
    assert first[0] == second[0] == 1


def test_undetected_bands_do_not_vote():
    normals = bands_of(np.random.default_rng(2), 5)
    valid = all_valid(normals)
    valid[:, 4:] = False
    valid[0, 2:] = False
    _, _, triplets = confidence._triplet_votes(normals, valid, LIBRARY)
    assert triplets.tolist() == [0, 4, 4, 4, 4]
    assert confidence.confidence_index(normals, valid, LIBRARY)[0] == 0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_signs_and_frame_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    normals = bands_of(rng, 1)
    other = normals @ Rotation.random().to_matrix()[0] * rng.choice([-1, 1], (1, 9, 1))
    votes, again = (confidence._triplet_votes(n, all_valid(n), LIBRARY) for n in (normals, other))
    assert votes == again


def test_shapes_that_disagree_are_named():
    with pytest.raises(ValueError, match="do not belong together"):
        confidence.confidence_index(np.zeros((2, 9, 3)), np.zeros((2, 8), bool), LIBRARY)
