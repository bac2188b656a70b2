"""The helpers of docs/experiments.py, where the answer is known."""

import numpy as np
import pytest
from orix.quaternion import Rotation
from orix.quaternion.symmetry import Oh
from scipy.stats import norm

from docs import edges, experiments
from docs.edges import ALONG_UM as ALONG
from kikuhelpers.study.specimen import PHASES


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
def test_the_width_of_an_error_function_is_that_from_10_to_90_percent(sigma):
    rng = np.random.default_rng(0)
    values = 3 - 2 * norm.cdf((ALONG - 0.07) / sigma) + 0.01 * rng.normal(size=len(ALONG))
    ten, ninety = norm.ppf((0.1, 0.9), 0.07, sigma)
    assert edges.edge_width(values) == pytest.approx(ninety - ten, rel=0.05)


def test_a_step_is_as_wide_as_the_points_are_apart_and_noise_has_no_edge():
    assert edges.edge_width((ALONG > 0.02) * 1.0) == pytest.approx(0.05, rel=0.01)
    noise = np.random.default_rng(0).normal(size=len(ALONG))
    assert np.isnan(edges.edge_width(noise))


def test_latents_are_projected_on_the_line_between_the_ends():
    share = norm.cdf(ALONG / 0.1)
    aside = np.sin(9 * share * np.pi)  # what is not along the line does not count
    found = edges.projected(np.stack([2 + 3 * share, -share, aside * 0, aside], axis=1))
    assert np.allclose(found[[0, -1]], [0, 1], atol=0.01) and abs(found[20] - 0.5) < 0.01


def test_points_are_drawn_by_the_grain():
    """Of two points in one grain and two alone, the first two come and go together."""
    shares = experiments.shares_right(np.array([1, 1, 0, 0.0]), np.array([7, 7, 3, 4]))
    assert shares[0] == 50
    assert set(np.unique(shares.round())) <= {0, 50, 80, 100}  # 0, 1, 2, 3 times the first grain
    assert {0, 50, 80, 100} & set(np.unique(shares.round())) > {50}


def test_right_is_indexed_and_near_a_symmetric_orientation():
    truth = Rotation.from_axes_angles([0, 0, 1], [10, 10, 10, 10], degrees=True)
    off = Rotation.from_axes_angles([0, 0, 1], [10, 14, 16, 100], degrees=True)

    class Map:
        rotations, is_indexed, phases = off, np.array([False, True, True, True]), [None]

    Map.phases = [type("Phase", (), {"point_group": Oh})]
    assert experiments.is_right(Map, truth.data).tolist() == [False, True, False, True]


def test_phases_have_the_lattices_and_atoms_of_the_specimen():
    found = {phase.name: phase for phase in experiments.particle_phases()}
    assert tuple(found) == PHASES
    assert found["oxide"].lattice == pytest.approx((0.47605, 0.47605, 1.29956, 90, 90, 120))
    assert found["TiN"].lattice == (0.424, 0.424, 0.424, 90, 90, 90)
    assert {element for element, *_ in found["oxide"].atoms} == {"Al", "O"}


def test_patterns_on_one_scale_keep_their_contrast():
    """Twice the contrast stays twice, and what is the same for all patterns is gone."""
    rng = np.random.default_rng(0)
    mask, shape = np.ones((8, 8), bool), rng.normal(size=(8, 8))
    background = 500 + 50 * rng.random((8, 8))
    raw = background + np.stack([10 * shape, 20 * shape + 7])
    weak, strong = experiments.on_one_scale(raw, background, mask, 30.0).astype(float) - 32767.5
    assert strong == pytest.approx(2 * weak, abs=2)
