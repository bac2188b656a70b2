"""Forecasts: counted operations, linear theory on a known spectrum, and a measured estimate."""

import numpy as np
import pytest
import torch

from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study.models import Model
from kikuhelpers.training import forecast
from kikuhelpers.training.forecast import estimate_cost, forecast_collapse, training_operations
from kikuhelpers.training.sample import TrainingSet
from tests.conftest import make_study, screen
from tests.test_training import give_sample


def layer_multiply_adds(latent_dim: int) -> int:
    """Multiply-adds of one pattern, layer by layer from Table 2."""
    total, inputs = 0, 1
    for channels, pixels in ((latent_dim // 4, 56), (latent_dim // 2, 24), (latent_dim, 8)):
        total += 81 * channels * pixels**2 * (inputs + channels)
        inputs = channels
    total += 64 * latent_dim * 2 * latent_dim + (2 * latent_dim) ** 2 + 16 * latent_dim**2
    pixels_before, inputs = 4, latent_dim
    for shrink, pixels in ((1, 11), (2, 27), (4, 61), (8, 120)):
        channels = latent_dim // shrink
        total += 81 * channels * (inputs * pixels_before**2 + channels * pixels**2)
        pixels_before, inputs = pixels, channels
    return total + inputs * 120**2


@pytest.mark.parametrize("latent_dim", [16, 64, 256])
def test_operations_are_those_of_table_2(latent_dim):
    counted = training_operations(Model(latent_dim=latent_dim))
    assert counted == 3 * 2 * layer_multiply_adds(latent_dim)
    assert training_operations(Model(latent_dim=latent_dim, loss="contrastive")) == 2 * counted


def test_collapse_on_a_known_spectrum(monkeypatch):
    variances = np.array([400.0, 90.0, 30.0, 8.0])
    rng = np.random.default_rng(0)
    inside = np.flatnonzero(screen())
    directions = np.linalg.qr(rng.normal(size=(len(inside), 4)))[0]
    sample = np.full((600, 120 * 120), -1.0)
    sample[:, inside] = rng.normal(size=(600, 4)) * np.sqrt(variances) @ directions.T
    for beta, kept in ((1, 4), (15, 3), (50, 2), (500, 0)):
        study = make_study(models={"m": {"latent_dim": 16, "beta": beta}})
        data = TrainingSet(sample.reshape(-1, 120, 120).astype(np.float16), screen())
        monkeypatch.setattr(forecast, "load_training_set", lambda results, name, data=data: data)
        collapse = forecast_collapse(Results(study), "m")
        assert collapse.kept == kept
        assert f"keeps {kept} of 16" in str(collapse)
    np.testing.assert_allclose(collapse.eigenvalues[:4], variances, rtol=0.2)


def test_the_estimate_is_of_this_sample_and_leaves_the_random_state():
    study = make_study(training={"epochs": 250})
    give_sample(study)
    before = torch.get_rng_state()
    table = estimate_cost(Results(study), "vae-16").set_index("estimate")
    assert torch.equal(torch.get_rng_state(), before)
    speed, hours = table.loc["training speed"], table.loc["training time"]
    assert speed["basis"].startswith("measured here")
    assert hours["value"] == pytest.approx(250 * 20 / speed["value"] / 3600, rel=1e-3)
    assert table.loc["operations", "value"] == pytest.approx(0.19968, rel=1e-3)


def test_the_estimate_of_a_missing_sample_says_what_to_run():
    with pytest.raises(MissingResultError, match=r"not there yet\. Make it with: .*02_pre"):
        estimate_cost(Results(make_study()), "vae-16")
