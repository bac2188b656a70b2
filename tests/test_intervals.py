"""Lattices are orientations, wherever they lie; intervals against scipy's and brute force."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation
from scipy.stats import bootstrap

from kikuhelpers.indexing.orientation_maps import grod_deg, label_grains
from kikuhelpers.tables.intervals import RESAMPLES, Resamples, lattice_labels

ROWS, WIDTH = 4, 5  # of a strip: 20 points, a grain large enough to be one


def strips(*turns_deg, phase_id=0) -> CrystalMap:
    """Strips turned by so many degrees about [001]; NaN is not indexed."""
    columns = np.repeat(turns_deg, WIDTH).astype(float)
    ids = np.repeat(np.broadcast_to(phase_id, len(turns_deg)), WIDTH)
    ids = np.tile(np.where(np.isnan(columns), -1, ids), ROWS)
    angles = np.tile(np.nan_to_num(columns), ROWS)
    coordinates, _ = create_coordinate_arrays((ROWS, len(columns)), (1, 1))
    turned = Rotation.from_axes_angles([0, 0, 1], angles, degrees=True)
    phases = PhaseList([Phase("Ni", space_group=225), Phase("Fe", space_group=229)])
    return with_grains(CrystalMap(turned, ids, phase_list=phases, **coordinates))


def with_grains(xmap: CrystalMap) -> CrystalMap:
    """Label the grains of a map."""
    grains = label_grains(xmap, 2)
    xmap.prop["grain"], xmap.prop["grod_deg"] = grains.ravel(), grod_deg(xmap, grains).ravel()
    return xmap


def of_strips(labels: np.ndarray) -> list[int]:
    """The label of each strip of a map, in the order of their first appearance."""
    labels = labels.reshape(ROWS, -1)
    assert (labels == labels[0]).all()
    strip = labels[0].reshape(-1, WIDTH)
    assert (strip == strip[:, :1]).all()
    return (pd.factorize(strip[:, 0])[0]).tolist()


def test_a_lattice_is_an_orientation_up_to_symmetry():
    assert of_strips(lattice_labels([strips(0, 20, 40, 1, 110)], 5)) == [0, 1, 2, 0, 1]


def test_a_chain_of_orientations_is_not_one_lattice():
    labels = of_strips(lattice_labels([strips(0, 4, 8, 12)], 5))
    assert labels == [0, 0, 1, 1]


def test_maps_share_their_lattices():
    labels = lattice_labels([strips(0, 20), strips(21, 40, 1)], 5)
    one, other = (part.reshape(ROWS, -1) for part in np.split(labels, [2 * ROWS * WIDTH]))
    assert of_strips(np.hstack([one, other])) == [0, 1, 1, 2, 0]


def test_many_grains_take_no_copy_of_the_map_each():
    xmap = strips(*np.resize([0.0, 10.0, 20.0], 100))  # 100 grains, and 64 kB of orientations
    tracemalloc.start()
    lattice_labels([xmap], 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # 4,950 pairs of grains take 6 MB while they are compared


def test_phases_are_different_lattices():
    assert of_strips(lattice_labels([strips(0, 0, phase_id=[0, 1])], 5)) == [0, 1]


def test_points_without_a_grain_count_with_the_nearest():
    xmap = strips(0, 20)
    data = xmap.rotations.data.copy()
    data[0] = Rotation.from_axes_angles([0, 0, 1], 40, degrees=True).data  # a grain of one point
    ids = xmap.phase_id.copy()
    ids[2 * WIDTH - 1] = -1  # at the right edge
    holed = with_grains(CrystalMap(Rotation(data), ids, x=xmap.x, y=xmap.y, phase_list=xmap.phases))
    assert of_strips(lattice_labels([holed], 5)) == [0, 1]


def test_maps_without_a_grain_are_one_lattice():
    nothing = strips(np.nan, np.nan)
    labels = lattice_labels([strips(0, 20), nothing], 5)
    assert len(np.unique(labels)) == 3
    assert set(labels[-nothing.size :]) == {-1}
    assert set(lattice_labels([nothing], 5)) == {-1}


def resampled(values, lattices, quantiles, seed=1):
    """Ends of the intervals of quantiles, (quantiles, 2)."""
    resamples = Resamples(lattices, seed)
    named = {str(q): q for q in quantiles}
    frame = pd.DataFrame({"v": values})
    found = resamples.ends(resamples.numbers(frame[[]], frame, named))
    assert found["number"].tolist() == [f"v_{q}" for q in named]
    return found[["low", "high"]].to_numpy()


def share_interval(hits, lattices):
    """Interval of a mean, (2,)."""
    resamples = Resamples(lattices, 1)
    frame = pd.DataFrame({"hits": hits})
    return resamples.ends(resamples.numbers(frame, frame[[]], {}))[["low", "high"]].to_numpy()[0]


def test_single_points_give_scipys_interval():
    values = np.random.default_rng(0).lognormal(size=400)
    ours = resampled(values, np.arange(400), [0.5])[0]
    theirs = bootstrap((values,), np.median, n_resamples=1000, method="percentile", rng=1)
    assert ours == pytest.approx(theirs.confidence_interval, rel=0.05)


def test_the_interval_of_a_share_is_the_binomial_one():
    low, high = share_interval(np.arange(2500) < 250, np.arange(2500))
    deviation = np.sqrt(0.1 * 0.9 / 2500)
    assert (low, high) == pytest.approx((0.1 - 1.96 * deviation, 0.1 + 1.96 * deviation), abs=0.002)


def test_points_of_one_lattice_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=50), 40)
    single = np.diff(resampled(values, np.arange(2000), [0.5]))
    assert np.diff(resampled(values, np.repeat(np.arange(50), 40), [0.5])) > 3 * single


@pytest.mark.parametrize("points", [300, 5000])
def test_resamples_are_those_of_repeated_points(points):
    """Each point repeated as often as its lattice is drawn; of many points within the ranks."""
    rng = np.random.default_rng(2)
    lattices, values = rng.integers(0, 12, points), rng.normal(size=points)
    values[rng.random(points) < 0.2] = np.nan
    resamples = Resamples(lattices, 3)
    frame = pd.DataFrame({"v": values})
    found = resamples.numbers(frame, frame, {"q10": 0.1, "q50": 0.5})
    assert len(found) == RESAMPLES
    for row in (0, 1, 500):
        drawn = np.repeat(values, resamples._drawn[row].astype(int)[lattices])
        drawn = np.sort(drawn[np.isfinite(drawn)])
        assert found["v"][row] == pytest.approx(drawn.mean())
        for name, q in (("v_q10", 0.1), ("v_q50", 0.5)):
            rank = np.searchsorted(drawn, found[name][row], side="left") / len(drawn)
            assert rank == pytest.approx(q, abs=0.002 if points == 5000 else 1.01 / 20)
            if points == 300:  # fewer points than ranks: the order statistic itself
                place = int(np.ceil(q * len(drawn) - 1e-9)) - 1
                assert found[name][row] == drawn[place]


def test_points_without_a_value_do_not_count():
    values = np.random.default_rng(0).normal(size=300)
    holed = np.concatenate([values, np.full(100, np.nan)])
    low, high = resampled(holed, np.arange(400), [0.5])[0]
    assert low < np.median(values) < high
    assert np.isnan(resampled(np.full(6, np.nan), np.arange(6), [0.5])).all()


def test_paired_differences_forget_what_two_models_share():
    rng = np.random.default_rng(0)
    hard, lattices = np.repeat(rng.normal(size=30), 20), np.repeat(np.arange(30), 20)
    frame = pd.DataFrame({"one": hard, "other": hard + 0.1})
    resamples = Resamples(lattices, 1)
    drawn = resamples.numbers(frame, frame[[]], {})
    alone = resamples.ends(drawn)
    assert alone["low"][1] < alone["high"][0]  # unpaired intervals overlap
    gap = resamples.ends((drawn["other"] - drawn["one"]).to_frame())
    assert gap[["low", "high"]].to_numpy() == pytest.approx(0.1)


def test_too_few_lattices_give_no_interval():
    values, lattices = np.arange(100.0), np.arange(100)
    assert np.isnan(resampled(values, lattices % 4, [0.5])).all()
    assert np.isfinite(resampled(values, lattices % 5, [0.5])).all()
