"""The slope of a loss and its interval: against scipy's, and how often it holds the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from kikuhelpers.training.adoption import _UNKNOWN
from kikuhelpers.training.convergence import STILL_FALLING_PCT, still_falling

LINES, NOISE = 100, 0.01


def history(fall_per_quarter: float, memory=0.0, lines=LINES, seed=0) -> pd.DataFrame:
    """A loss that falls evenly, under noise that remembers that of the line before."""
    rng, noise = np.random.default_rng(seed), np.zeros(lines)
    for line, new in enumerate(rng.normal(0, NOISE, lines)):
        noise[line] = memory * noise[line - 1] + new
    steady = (1 - fall_per_quarter) ** (4 * np.arange(lines) / lines)
    return pd.DataFrame({"loss": 100 * steady * np.exp(noise)})


def test_the_slope_is_that_of_least_squares():
    of = history(0.05)
    half = np.log(of["loss"].to_numpy()[LINES // 2 :])
    theirs = linregress(4 / LINES * np.arange(LINES // 2), half)
    fall = still_falling(of)
    assert fall["loss_fall_pct"] == pytest.approx(-100 * np.expm1(theirs.slope))


@pytest.mark.parametrize(("memory", "held"), [(0.0, 0.92), (0.6, 0.89)])
def test_the_interval_holds_the_true_fall(memory, held):
    falls = [still_falling(history(0.03, memory, seed=seed)) for seed in range(300)]
    hits = [fall["loss_fall_pct_low"] < 3 < fall["loss_fall_pct_high"] for fall in falls]
    assert held < np.mean(hits) < 0.99


def test_lines_that_lean_on_each_other_widen_the_interval():
    """By more than their noise grows, as linregress would have it."""
    of = [history(0.03, 0.6, seed=seed) for seed in range(50)]
    ours = [f["loss_fall_pct_high"] - f["loss_fall_pct_low"] for f in map(still_falling, of)]
    x = 4 / LINES * np.arange(LINES // 2)
    theirs = [2 * 2.01 * 100 * linregress(x, np.log(h["loss"][LINES // 2 :])).stderr for h in of]
    assert np.mean(ours) > 1.5 * np.mean(theirs)


def test_a_flat_end_a_fall_and_too_much_noise_are_told_apart():
    flat, falling, open_ = (still_falling(history(*of)) for of in ((0,), (0.05,), (0.01,)))
    assert flat["flat_at_schedule_end"] is True
    assert falling["flat_at_schedule_end"] is False
    assert falling["loss_fall_pct_low"] > STILL_FALLING_PCT
    assert open_["flat_at_schedule_end"] is False
    assert open_["loss_fall_pct_low"] < STILL_FALLING_PCT < open_["loss_fall_pct_high"]


def test_an_early_fall_does_not_count():
    early = pd.concat([history(0.5, lines=50), 6 + 0 * history(0, lines=50)], ignore_index=True)
    assert still_falling(early)["loss_fall_pct"] == pytest.approx(0, abs=1e-9)


def test_a_short_history_and_one_from_elsewhere_tell_nothing():
    for of in (history(0.5, lines=8), pd.DataFrame([_UNKNOWN])):
        assert pd.isna(pd.Series(still_falling(of))).all()
