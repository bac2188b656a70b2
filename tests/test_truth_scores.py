"""A map is scored by what it shows of the truth, not by its grains."""

from types import SimpleNamespace

import numpy as np
import pytest

from kikuhelpers.figures.panels import _boundary_lines
from kikuhelpers.tables.truth_scores import _scores

SHAPE = (40, 40)


@pytest.fixture
def view():
    """Two grains; the right one of two domains, with walls every eight rows and a particle."""
    rows, columns = np.indices(SHAPE)
    grain = (columns >= 20).astype(int)
    domain = grain + ((grain == 1) & (rows >= 20))
    density = np.exp(2 * np.cos(rows * np.pi / 4)) * (1 + grain)
    phase = ((np.abs(rows - 10) < 2) & (np.abs(columns - 10) < 2)).astype(int)
    truth = {"grain": grain, "twin": 0 * grain, "domain": domain, "density": density}
    truth["phase"] = phase
    return SimpleNamespace(truth=truth.__getitem__, shape=SHAPE)


def scores(view, values):
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    return _scores((values + 0.1 * noise)[..., None], view).iloc[0]


def test_each_score_finds_its_own(view):
    grains = scores(view, 5.0 * view.truth("grain"))
    walls = scores(view, -3.0 * np.log(view.truth("density")))
    domains = scores(view, 5.0 * view.truth("domain"))
    particle = scores(view, 5.0 * view.truth("phase"))
    assert walls["density"] > 0.5 > max(grains["density"], domains["density"])
    assert domains["domains"] > 0.45 > max(grains["domains"], walls["domains"])
    assert particle["particles"] > 0.99
    assert abs(grains["particles"] - 0.5) < 0.25
    assert grains["density"] < 0.1 and grains["domains"] < 0.02


def test_points_without_a_value_are_borne(view):
    values = -3.0 * np.log(view.truth("density"))
    values[5, 5] = np.nan
    assert scores(view, values)["density"] > 0.5


def test_what_a_specimen_lacks_is_not_scored(view):
    plain = {"domain": view.truth("grain"), "phase": 0 * view.truth("phase")}
    lacking = SimpleNamespace(
        truth=lambda name: plain[name] if name in plain else view.truth(name), shape=SHAPE
    )
    found = scores(lacking, view.truth("density"))
    assert np.isnan(found["domains"]) and np.isnan(found["particles"])
    assert found["density"] > 0.5


def test_boundaries_run_between_the_points():
    lines = _boundary_lines(np.array([[1, 1, 2], [1, -1, 2]]))
    assert lines.tolist() == [[[1.5, -0.5], [1.5, 0.5]]]
    assert len(_boundary_lines(np.eye(3))) == 8
