"""Bootstrap intervals: against scipy's where points are independent, and where they are not."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from kikuhelpers.tables.table1 import _block_labels, _quantile_intervals, _share_intervals


def test_blocks_tile_the_map():
    blocks = _block_labels((35, 50)).reshape(35, 50)
    assert blocks[0, 0] == blocks[19, 19] == 0
    assert len(np.unique(blocks)) == 2 * 3
    assert (np.unique(blocks, return_counts=True)[1] <= 20**2).all()


def test_single_points_give_scipys_interval():
    values = np.random.default_rng(0).lognormal(size=400)
    ours = _quantile_intervals(values, np.arange(400), [0.5], seed=1)[0]
    theirs = bootstrap((values,), np.median, n_resamples=1000, method="percentile", rng=1)
    assert ours == pytest.approx(theirs.confidence_interval, rel=0.05)


def test_alike_neighbours_widen_the_interval():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=50), 40)
    single = np.diff(_quantile_intervals(values, np.arange(2000), [0.5], seed=1)[0])
    blocks = np.diff(_quantile_intervals(values, np.repeat(np.arange(50), 40), [0.5], seed=1)[0])
    assert blocks > 3 * single


def test_points_without_a_value_do_not_count():
    values = np.random.default_rng(0).normal(size=300)
    holed = np.concatenate([values, np.full(100, np.nan)])
    low, high = _quantile_intervals(holed, np.arange(400), [0.5], seed=1)[0]
    assert low < np.median(values) < high
    assert np.isnan(_quantile_intervals(np.full(4, np.nan), np.arange(4), [0.5], seed=1)).all()


def test_the_interval_of_a_share_is_the_binomial_one():
    hits = np.arange(2500) < 250
    low, high = _share_intervals(hits, np.arange(2500), seed=1)
    deviation = 100 * np.sqrt(0.1 * 0.9 / 2500)
    assert (low, high) == pytest.approx((10 - 1.96 * deviation, 10 + 1.96 * deviation), abs=0.2)
