"""Whether another rescaling is proposed follows from the tables: docs/rescaling.py."""

import numpy as np
import pandas as pd
import pytest

from docs import rescaling
from kikuhelpers.training.sample import TrainingSet


def networks(scale: str, lost: float, walls: tuple[float, float, float]) -> pd.DataFrame:
    """Rows of three seeds that lose so many points on both scans, and of 64-D."""
    rows = []
    for seed, (name, auc) in enumerate(
        zip((*rescaling.SEEDS, rescaling.LARGE), (*walls, 0.99), strict=True)
    ):
        row = {"study": "s", "scale": scale, "network": name, "beta": 1.0, "variance": 400.0}
        row |= {"beta, % of it": 0.25, "active": 20.0, "error deg, not decoded": 0.3}
        for scan in (rescaling.VIRTUAL, rescaling.MEASURED):
            row |= {f"lost % {scan}": lost + 0.1 * seed, f"misorientation deg {scan}": 0.5}
            row |= {f"error deg {scan}": 0.6}
        for points in rescaling.SMOOTHINGS:  # the best smoothing counts
            row |= {f"walls {points}": auc if points == 1 else auc - 0.2, f"physics {points}": 0.9}
        rows.append(row)
    return pd.DataFrame(rows)


TODAY = networks("pattern", lost=4.0, walls=(0.6, 0.62, 0.61))
CASES = {
    "the same": (4.0, (0.6, 0.62, 0.61), False),
    "walls better in every seed, nothing lost": (4.0, (0.66, 0.68, 0.67), True),
    "walls better in two seeds": (4.0, (0.66, 0.66, 0.67), False),
    "walls better, more lost": (4.2, (0.8, 0.8, 0.8), False),
    "half the points lost, walls a little worse": (1.9, (0.56, 0.58, 0.57), True),
    "half the points lost, walls gone": (1.9, (0.5, 0.5, 0.5), False),
    "a seed without a score": (1.0, (0.9, 0.9, np.nan), False),
}


@pytest.mark.parametrize("name", CASES)
def test_another_default_is_proposed_by_the_rule(name):
    lost, walls, expected = CASES[name]
    table = pd.concat([TODAY, networks("map", lost, walls)], ignore_index=True)
    assert rescaling.is_proposed(table, "map") == expected
    text = rescaling.page(table)
    assert ("default: yes, `map`" in text) == expected
    assert ("default: no" in text) != expected


def test_a_difference_counts_where_it_is_larger_than_the_seeds_range():
    column = f"lost % {rescaling.VIRTUAL}"
    for lost, expected in ((3.7, "a difference larger"), (3.9, "a difference not larger")):
        table = pd.concat([TODAY, networks("map", lost, (0.6, 0.6, 0.6))], ignore_index=True)
        found = rescaling.best_sentence(table, column, "Lost", " %")
        assert "`map` is best" in found and expected in found


def test_the_network_of_equal_share_stands_beside_the_seeds():
    share = networks("map", 3.0, (0.7, 0.7, 0.7)).head(1).assign(network=rescaling.SHARE, beta=1.3)
    table = pd.concat([TODAY, networks("map", 2.0, (0.6, 0.6, 0.62)), share], ignore_index=True)
    found = rescaling.share_sentence(table)
    assert "`map`, β = 1.3: 3 % (2 to 2.2), 3 % (2 to 2.2), walls 0.70 (0.60 to 0.62)" in found
    assert "`pattern`" not in found and "32-D, equal share" in rescaling.page(table)


def test_walls_are_those_of_the_best_readout_that_knows_no_truth():
    keys = ["scan", "effect", "measure", "readout", "model", "smoothing_points", "score"]
    rows = [("am", "walls", "AUC", rescaling.TOLD, "vae-32", 1, 0.9)]
    rows += [("am", "walls", "AUC", "gradient", "vae-32", 1, 0.7)]
    rows += [("am", "walls", "AUC", "ridge probe", "vae-32", 1, 0.8)]
    rows += [("am", "walls", "AUC", "ridge probe", "vae-64", 1, 0.95)]
    rows += [("am", "walls", "average precision", "gradient", "vae-32", 1, 0.99)]
    rows += [("am", "walls", "AUC", "ridge probe", np.nan, 1, 0.98)]
    rows += [
        ("am", "walls", "AUC", "KAM", np.nan, 1, 0.85),
        ("am", "walls", "AUC", "CI", np.nan, 1, 0.6),
    ]
    found = rescaling.walls_of(pd.DataFrame(rows, columns=keys), "vae-32")
    assert (found["walls 1"], found["walls 1 by"]) == (0.8, "ridge probe")
    assert (found["physics 1"], found["physics 1 by"]) == (0.85, "KAM")
    assert np.isnan(found["walls 0"]) and found["walls 0 by"] == ""


def test_the_variance_is_half_the_sum_over_the_screen():
    patterns = np.random.default_rng(0).normal(2.0, 0.5, (1500, 6, 6)).astype(np.float16)
    mask = np.ones((6, 6), bool)
    mask[0] = False
    inside = patterns[:, mask].astype(float)
    expected = 0.5 * inside.var(axis=0).sum()
    found = rescaling.half_sum_variance(TrainingSet(patterns, mask))
    assert found == pytest.approx(expected)


def test_a_study_without_tables_ends_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("KIKUHELPERS_FIGURES", str(tmp_path))
    with pytest.raises(
        SystemExit, match=r"not there yet\. Make it with: python -m kikuhelpers resc"
    ):
        rescaling.main()
