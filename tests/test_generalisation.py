"""Whether a network generalises follows from its scores: docs/generalisation.py."""

import numpy as np
import pandas as pd
import pytest
from orix.quaternion import Orientation
from orix.quaternion.symmetry import Oh

from docs import generalisation as design
from docs import generalisation_page as page
from kikuhelpers.scans.virtual.fields_and_rotations import random_rotations
from kikuhelpers.study import load_study

RIGHT_DEG = 0.2  # error of the noisy patterns themselves


def planted(n: int, seed: int, off_deg: np.ndarray, trained_deg: np.ndarray) -> pd.DataFrame:
    """Scores of a network, of both tests: the angles to the truth of its decoded patterns."""
    count, parts = len(off_deg), []
    for test, of_vae in ((design.ON_UNSEEN, off_deg), (design.ON_TRAINED, trained_deg)):
        for method in (design.VAE, design.PCA_32, design.MEMORY, design.ITSELF):
            off = of_vae if method == design.VAE else np.full(count, RIGHT_DEG)
            head = {"row": design.EQUAL, "orientations": n, "presentations": 9, "seed": seed}
            head |= {"set": test, "method": method, "unit": np.arange(count), "residual": 1.0}
            parts.append(pd.DataFrame(head | {"nearest_deg": 5.0, "off_deg": off}))
    return pd.concat(parts)


def off(lost: int, error_deg: float) -> np.ndarray:
    """Angles of 400 patterns, so many of them lost."""
    return np.where(np.arange(400) < lost, 30.0, error_deg)


GOOD, LOST, BLURRED = off(4, RIGHT_DEG + 0.09), off(5, RIGHT_DEG), off(0, RIGHT_DEG + 0.11)
CASES = {  # unseen orientations by seed, trained ones, what the rule says, what the page says
    "as good as the noisy": ([GOOD] * 3, GOOD, "yes", "encoder: yes, from N = 3,000"),
    "one seed loses more": ([GOOD, GOOD, LOST], GOOD, "no", "what is missing is orientations"),
    "one seed is further off": ([GOOD, BLURRED, GOOD], GOOD, "no", "encoder: no."),
    "trained ones are lost, too": ([LOST] * 3, LOST, "no", "not the number of orientations alone"),
    "two seeds": ([GOOD, GOOD], GOOD, "not known yet", "encoder: not known yet"),
    "two seeds, one fails": ([LOST, GOOD], GOOD, "no", "encoder: no."),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rule_decides(name, monkeypatch):
    monkeypatch.setattr(page, "_RESAMPLES", 20)
    seeds, known, expected, said = CASES[name]
    scores = [planted(3000, seed, of, known) for seed, of in zip(design.SEEDS, seeds, strict=False)]
    scores += [planted(1000, 1, off(400, 0), known)]
    scores = pd.concat(scores, ignore_index=True)
    table = page.summary(scores)
    assert page.verdict(table, 3000) == expected
    assert page.verdict(table, 1000) == "no"
    text = page.page(table, page.by_distance(scores))
    assert said in text
    assert f"{len(seeds)} of 3 seeds" in text


def test_the_claim_is_of_orientations_far_from_any_trained_one(monkeypatch):
    monkeypatch.setattr(page, "_RESAMPLES", 50)
    near = planted(1000, 1, off(0, 0.5), GOOD)
    far = planted(3000, 1, off(0, 2.0), GOOD).assign(nearest_deg=np.tile([4.0, 6.0], 1600))
    far.loc[far["nearest_deg"] < 5, "off_deg"] = 40.0
    (line,) = page.claim_row(pd.concat([near, far], ignore_index=True)).itertuples()
    assert (line.value, line.baseline) == pytest.approx((2.0, RIGHT_DEG))
    assert line.units == "200 orientations, N = 3000, 1 of 3 seeds"


def test_a_pattern_that_is_not_decoded_has_no_excess_and_the_slope_is_per_tenfold(monkeypatch):
    monkeypatch.setattr(page, "_RESAMPLES", 20)
    scores = [planted(1000, 1, off(200, 1), GOOD), planted(3000, 1, off(100, 1), GOOD)]
    table = page.summary(pd.concat(scores, ignore_index=True))
    assert (table.loc[table["method"] == design.ITSELF, "more lost %"] == 0).all()
    (step,) = page.slopes(table).to_dict("records")
    assert step["points"] == pytest.approx(25 / np.log10(3))  # 50 % become 25 %


def test_lost_by_distance_counts_the_patterns_of_each_bin():
    scores = planted(10, 1, off(100, 1), GOOD)
    scores["nearest_deg"] = np.where(scores["unit"] < 200, 20.0, 3.0)  # an edge counts as above
    bins = page.by_distance(scores)
    of_vae = bins[bins["method"] == design.VAE].set_index("from deg")
    assert of_vae["lost %"].to_dict() == {3: 0.0, 16: 50.0}
    assert of_vae["patterns"].to_dict() == {3: 200, 16: 200}
    assert of_vae.loc[16, "lost %, low"] < 50 < of_vae.loc[16, "lost %, high"]


def test_the_nearest_orientation_is_that_of_orix():
    some, others = (random_rotations(n, np.random.default_rng(n)) for n in (20, 30))
    apart = Orientation(some, Oh).angle_with_outer(Orientation(others, Oh), degrees=True)
    np.testing.assert_allclose(design.nearest_deg(some, others), apart.min(axis=1), atol=1e-5)
    np.testing.assert_allclose(design.nearest_deg(others, others), 0, atol=1e-5)


def test_networks_of_both_rows_are_trained_once_and_a_seed_at_a_time():
    jobs = design.jobs()
    assert len(jobs) == len(set(jobs))
    assert [seed for seed, _, shown in jobs if shown != design.LONG] == sorted([1, 2, 3] * 10)
    assert [shown for seed, n, shown in jobs if (seed, n) == (2, 10)] == [90_000, 2000]
    assert [shown for seed, n, shown in jobs if (seed, n) == (2, 1000)] == [90_000]


def test_a_sample_shows_each_orientation_as_often_with_noise_of_its_own(monkeypatch):
    monkeypatch.setattr(design, "OF_BACKGROUND", 30)
    monkeypatch.setattr(design, "SAMPLE", 30)
    monkeypatch.setattr(design, "TESTED", 20)
    camera = design.Camera(load_study(design.STUDY))
    pixels = design.training_set(camera, 10, seed=1).patterns[:, camera.mask].astype(float)
    alike = np.corrcoef(pixels)
    same = np.arange(30)[:, np.newaxis] % 10 == np.arange(30) % 10
    assert alike[same].min() > alike[~same].max()
    assert alike[same & ~np.eye(30, dtype=bool)].max() < 1
    unseen, trained = design.tests(camera, 10, seed=1)
    first = trained.noisy[:10][:, camera.mask]
    assert (np.corrcoef(first, pixels[:10])[:10, 10:].argmax(axis=1) == np.arange(10)).all()
    assert unseen.nearest_deg.min() > 0
    # Without noise a pattern lies on the scale of its noisy exposure.
    noisy, clean = (of[:, camera.mask].astype(float) for of in (unseen.noisy, unseen.clean))
    slopes = [np.polyfit(*pair, 1)[0] for pair in zip(clean, noisy, strict=True)]
    np.testing.assert_allclose(slopes, 1, atol=0.02)
    assert (np.ptp(clean, axis=1) < np.ptp(noisy, axis=1)).all()
