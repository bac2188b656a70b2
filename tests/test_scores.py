"""Scores of maps against a truth: the truth itself, noise, and the truth seen through noise."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from kikuhelpers.latents.features import standardised_in_grains
from kikuhelpers.tables.scores import (
    Judge,
    Target,
    areas,
    domain_areas,
    interval,
    labels_in,
    probe,
    verdict,
)

SHAPE = (48, 60)
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def walls() -> Target:
    """Six grains with walls every eight points; between wall and interior points do not count."""
    rows, columns = np.indices(SHAPE)
    grain = 3 * (rows >= 24) + columns // 20
    amount = np.cos(2 * np.pi * (rows + 0.3 * columns) / 8)
    return Target("walls", grain, grain, amount > 0.6, amount < 0, amount, np.exp(amount))


def standard(values, target):
    return standardised_in_grains(values[..., None], target.crystals)[..., 0]


def scores(judge, values):
    return judge.scores(judge.oriented(values))


def test_the_truth_scores_1_noise_by_chance_and_noisy_truth_between(walls):
    judge, noise = Judge(walls), np.random.default_rng(0).standard_normal(SHAPE)
    maps = {"truth": -walls.amount, "seen": 0.7 * walls.amount + noise, "noise": noise}
    found = {name: scores(judge, standard(values, walls)) for name, values in maps.items()}
    for name in ("AUC", "average precision", "rank correlation"):
        truth, seen, chance = (found[kind][name] for kind in ("truth", "seen", "noise"))
        assert truth.value == pytest.approx(1, abs=2e-3)
        assert chance.value <= chance.null_95 < seen.value < truth.value
        low, high = interval(seen.resampled)
        assert low < seen.value < high
    lead = interval(found["truth"]["AUC"].resampled - found["seen"]["AUC"].resampled)
    assert verdict(found["truth"]["AUC"].value - found["seen"]["AUC"].value, *lead) == "reveals"


def test_scores_are_those_of_other_libraries(walls):
    values = standard(walls.amount + 2 * np.random.default_rng(1).standard_normal(SHAPE), walls)
    found, known = scores(Judge(walls), values), walls.marked | walls.plain
    assert found["AUC"].value == pytest.approx(
        roc_auc_score(walls.marked[known], values[known]), abs=1e-3
    )
    amount = standard(walls.amount, walls)
    rho = spearmanr(values.ravel(), amount.ravel()).statistic
    assert found["rank correlation"].value == pytest.approx(rho, abs=1e-6)


def test_areas_of_many_weights_are_scikit_learns():
    values, marked = RNG.standard_normal(90), RNG.random(90) < 0.3
    weights = RNG.integers(0, 4, (3, 90)).astype(float)
    auc, precision = areas(values, (weights * marked).T, (weights * ~marked).T)
    for i, weight in enumerate(weights):
        assert auc[i] == pytest.approx(roc_auc_score(marked, values, sample_weight=weight))
        other = average_precision_score(marked, values, sample_weight=weight)
        assert precision[i] == pytest.approx(other)


def test_domains_are_scored_by_their_areas_and_by_the_variance_between_them(walls):
    domains = walls.grains * 10 + (np.indices(SHAPE)[0] % 24 >= 12)
    target = Target(*[getattr(walls, n) for n in list(vars(walls))[:7]], domains=domains)
    noise = np.random.default_rng(2).standard_normal(SHAPE)
    maps = [standard(v, target) for v in (1.0 * (domains % 10), domains % 10 + noise, noise)]
    found = [Judge(target).scores(values) for values in maps]
    for measure in ("variance between", "AUC"):
        truth, seen, chance = (of_map[measure] for of_map in found)
        assert truth.value == pytest.approx(1) and chance.value <= chance.null_95
        assert chance.null_95 < seen.value < 1
        assert interval(truth.resampled)[1] <= 1
    one = walls.grains == 4
    expected = roc_auc_score(domains[one] % 10, maps[1][one])
    labels = labels_in(walls.grains.ravel(), domains.ravel())[:, None]
    areas_of = domain_areas(maps[1].ravel(), walls.grains.ravel(), labels)
    np.testing.assert_allclose(areas_of[one.ravel()], expected)


def test_a_probe_that_learned_on_other_scans_finds_the_walls_of_this_one(walls):
    rng = np.random.default_rng(6)
    here, there = (
        walls.amount[..., None] * [1, 0.5] + rng.standard_normal((*SHAPE, 2)) for _ in "ab"
    )
    found = scores(Judge(walls), probe(here, walls, [(there, walls)]))["AUC"]
    assert found.value > 0.85
    told = Target(
        *[getattr(walls, n) for n in list(vars(walls))[:5]], -walls.amount, walls.strength
    )
    wrong = probe(here, walls, [(there, told)])
    np.testing.assert_allclose(wrong, -probe(here, walls, [(there, walls)]), atol=1e-6)


def test_few_grains_are_resampled_as_blocks(walls):
    one = Target("walls", 0 * walls.crystals, 0 * walls.grains, *[walls.marked] * 4)
    assert len(np.unique(one.clusters)) == 16
    assert (walls.clusters == walls.grains).all()


@pytest.mark.parametrize("trees", [False, True])
def test_a_probe_finds_what_no_single_map_shows_and_learns_no_grain_by_heart(walls, trees):
    common = np.random.default_rng(3).standard_normal(SHAPE)
    maps = np.stack([standard(walls.amount + 5 * common, walls), standard(common, walls)], axis=-1)
    judge = Judge(walls)
    single = max(scores(judge, maps[..., i])["AUC"].value for i in (0, 1))
    assert scores(judge, probe(maps, walls, trees=trees))["AUC"].value > max(0.8, single + 0.1)
    noise = np.random.default_rng(4).standard_normal((*SHAPE, 30))
    found = scores(judge, probe(noise, walls, trees=trees))["AUC"]
    assert found.value < found.null_95 + 0.05


@pytest.mark.parametrize(
    ("difference", "low", "high", "word"),
    [
        (0.10, 0.02, 0.2, "reveals"),
        (0.10, -0.02, 0.2, "unclear"),
        (0.03, 0.01, 0.06, "equal"),
        (0.0, -0.2, 0.2, "unclear"),
        (-0.1, -0.2, -0.01, "worse"),
        (-0.1, -0.2, 0.01, "unclear"),
    ],
)
def test_the_verdict_follows_the_rule(difference, low, high, word):
    assert verdict(difference, low, high) == word


def test_equal_values_tell_nothing_and_count_as_scikit_learn_counts_them():
    rng = np.random.default_rng(0)
    marked = rng.random(4000) < 0.1
    sets = marked[:, None].astype(np.float32), (~marked)[:, None].astype(np.float32)
    auc, precision = areas(np.zeros(4000), *sets)
    assert auc[0] == pytest.approx(0.5) and precision[0] == pytest.approx(marked.mean(), rel=1e-3)
    values = rng.integers(0, 5, 4000) + 2.0 * marked
    auc, precision = areas(values, *sets)
    assert auc[0] == pytest.approx(roc_auc_score(marked, values), abs=0.002)
    assert precision[0] == pytest.approx(average_precision_score(marked, values), abs=0.002)
