"""Forecasts: the layers' counted operations, and linear theory on a known spectrum."""

import numpy as np
import pytest

from benchmarks.networks import training_operations
from kikuhelpers.figures.stages import collapse_forecast
from kikuhelpers.study.models import Model
from kikuhelpers.training.forecast import sample_eigenvalues
from kikuhelpers.training.sample import TrainingSet
from tests.conftest import screen


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


def test_collapse_on_a_known_spectrum():
    variances = np.array([400.0, 90.0, 30.0, 8.0])
    rng = np.random.default_rng(0)
    inside = np.flatnonzero(screen())
    directions = np.linalg.qr(rng.normal(size=(len(inside), 4)))[0]
    sample = np.full((600, 120 * 120), -1.0)
    sample[:, inside] = rng.normal(size=(600, 4)) * np.sqrt(variances) @ directions.T
    data = TrainingSet(sample.reshape(-1, 120, 120).astype(np.float16), screen())
    eigenvalues = sample_eigenvalues(data, latent_dim=16, seed=1)
    np.testing.assert_allclose(eigenvalues[:4], variances, rtol=0.2)
    for beta, kept in ((1, 4), (15, 3), (50, 2), (500, 0)):
        figure = collapse_forecast(eigenvalues, beta, "m")
        assert f"keeps {kept} of 16" in figure.get_suptitle()
