"""Baselines against closed forms, scikit-learn and what averaging does to noise."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.decomposition import PCA

from kikuhelpers.baselines.methods import (
    _fit_nmf,
    decode_scan,
    fit_baseline,
    principal_components,
    sample_inside,
    score_scan,
)
from kikuhelpers.patterns.masking import round_mask
from kikuhelpers.patterns.up2 import open_patterns, to_counts, to_intensity
from kikuhelpers.preprocessing.preprocess import OUTSIDE
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_array
from kikuhelpers.runs.results import Results
from kikuhelpers.study import layout
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import BASELINES as BASELINES_STAGE
from kikuhelpers.study.stages import PREPROCESSING, Job
from kikuhelpers.tables.residuals import _linear_vae
from kikuhelpers.training.sample import load_training_set
from tests.conftest import make_study, stamp, with_training_patterns, write_scan

ROWS, COLUMNS, PIXELS = 12, 14, 24
MASK = round_mask((PIXELS, PIXELS), (11.5, 11.5), 11)
BASELINES = {
    "pca-3": {"method": "pca", "components": 3},
    "pca-5": {"method": "pca", "components": 5},
    "nmf-2": {"method": "nmf", "components": 2},
    "nmf-6": {"method": "nmf", "components": 6},
    "nlpar": {"method": "nlpar"},
}


@pytest.fixture(autouse=True)
def small_patterns(monkeypatch):
    """Patterns here have 24 px, to be fast; what a study's files must hold says 120."""
    holds = {name: text.replace("120", "24") for name, text in layout._HOLDS.items()}
    monkeypatch.setattr(layout, "_HOLDS", holds)


def study_of(patterns, **changes):
    """A study whose one scan is preprocessed: all its patterns are the training sample."""
    study = with_sample(ROWS * COLUMNS, BASELINES | changes)
    files = Layout(study).scan("wrought")
    write_scan(files.preprocessed, to_counts(np.where(MASK, patterns, OUTSIDE)))
    save_array(files.mask, MASK)
    stamp(study, PREPROCESSING, "wrought")
    return study


def with_sample(patterns, baselines):
    """A study whose one scan gives so many patterns to the training sample."""
    return make_study(scans=with_training_patterns(patterns), baselines=baselines)


def random_patterns(rng, noise=0.02):
    """Patterns of eight components of falling strength, and noise, far from -1 and 1."""
    strength = 0.05 / np.arange(1, 9)
    scores = rng.normal(size=(ROWS, COLUMNS, 8)) * strength
    shapes = rng.uniform(-1, 1, (8, PIXELS, PIXELS))
    return np.tensordot(scores, shapes, 1) + rng.normal(0, noise, (ROWS, COLUMNS, PIXELS, PIXELS))


def run(study, name):
    results = Results(study)
    losses = decode_scan(results, name, fit_baseline(results, name), "wrought")
    files = Layout(study).model_scan(name, "wrought")
    np.testing.assert_array_equal(np.load(files.pattern_loss), losses)
    return to_intensity(open_patterns(files.decoded)), losses


def test_pca_is_scikit_learns_and_its_residual_the_eigenvalues_left():
    study = study_of(random_patterns(np.random.default_rng(0)))
    decoded, losses = run(study, "pca-3")
    inputs = to_intensity(open_patterns(Layout(study).scan("wrought").preprocessed))
    pixels = inputs[..., MASK].reshape(ROWS * COLUMNS, -1)
    full = PCA(svd_solver="full").fit(pixels)
    exact = PCA(3, svd_solver="full").fit(pixels)
    expected = exact.inverse_transform(exact.transform(pixels))
    np.testing.assert_allclose(decoded[..., MASK].reshape(len(pixels), -1), expected, atol=2e-3)
    assert (decoded[..., ~MASK] == OUTSIDE).all()
    half_squares = 0.5 * ((expected - pixels) ** 2).sum(axis=1)
    np.testing.assert_allclose(losses.ravel(), half_squares, rtol=0.01)
    basis = principal_components(Results(study))
    assert len(basis.eigenvalues) == 16, "as many as the model has latent dimensions"
    left = full.explained_variance_[3:].sum() * (1 - 1 / len(pixels)) / 2
    assert basis.residual(3) == pytest.approx(left, rel=1e-3)
    assert losses.mean() == pytest.approx(left, rel=1e-3)


def test_scores_on_the_largest_pca_stand_where_latents_of_a_model_stand():
    study = study_of(random_patterns(np.random.default_rng(2)))
    results, files = Results(study), Layout(study).model_scan("pca-5", "wrought")
    made = Layout(study).outputs(Job(BASELINES_STAGE, ("pca-5",)))
    assert {files.latents, files.features} <= {*made}
    score_scan(results, "pca-5", "wrought")
    scores, measures = np.load(files.latents), pd.read_csv(files.features)
    basis = principal_components(results)
    pixels = to_intensity(results.patterns("preprocessed", "wrought"))[..., MASK]
    np.testing.assert_allclose(scores, (pixels - basis.mean) @ basis.components[:5].T, atol=1e-4)
    assert measures["active"].all() and measures["variance"].is_monotonic_decreasing


def test_the_basis_is_fitted_once_for_a_sample():
    study = study_of(random_patterns(np.random.default_rng(1)))
    first, path = principal_components(Results(study)), Layout(study).sample.principal_components
    written = path.stat().st_mtime_ns
    np.testing.assert_array_equal(principal_components(Results(study)).components, first.components)
    assert path.stat().st_mtime_ns == written
    larger = {"pca-20": {"method": "pca", "components": 20}}
    more = principal_components(Results(with_sample(ROWS * COLUMNS, larger)))
    assert len(more.eigenvalues) == 20 and more.sample == first.sample
    other = principal_components(Results(with_sample(100, larger)))
    assert other.sample != first.sample


def test_nmf_is_not_negative_and_more_components_leave_less():
    study = study_of(random_patterns(np.random.default_rng(2)) * 3)
    nmf = _fit_nmf(sample_inside(load_training_set(Results(study)), 1), 6, 1)
    assert (nmf.keywords["components"] >= 0).all()
    few, more = (run(study, name)[1].mean() for name in ("nmf-2", "nmf-6"))
    basis = principal_components(Results(study))
    assert basis.residual(6) < more < few < basis.residual(0)


def test_nlpar_takes_noise_and_leaves_edges_and_the_mean():
    rng = np.random.default_rng(3)
    left, right = rng.uniform(-0.5, 0.5, (2, PIXELS, PIXELS))
    clean = np.where((np.arange(COLUMNS) < 7)[None, :, None, None], left, right)
    clean = np.broadcast_to(clean, (ROWS, COLUMNS, PIXELS, PIXELS))
    noisy = clean + rng.normal(0, 0.1, clean.shape)
    study = study_of(noisy)
    decoded, losses = run(study, "nlpar")
    error = (decoded - clean)[..., MASK]
    assert error.std(axis=-1).max() < 0.1 / 2, "also beside the edge"
    assert abs((decoded - noisy)[..., MASK].mean()) < 3 * 0.1 / np.sqrt(error.size)
    assert (decoded[..., ~MASK] == OUTSIDE).all()
    removed = 0.5 * ((decoded - noisy)[..., MASK] ** 2).sum(axis=-1)
    np.testing.assert_allclose(losses, removed, rtol=0.01)
    assert not [p for p in Layout(study).model_scan("nlpar", "wrought").decoded.parent.glob(".*")]


def test_what_a_map_or_sample_does_not_allow_is_one_sentence():
    patterns = random_patterns(np.random.default_rng(4))
    study = study_of(patterns, wide={"method": "nlpar", "search_radius": 4})
    with pytest.raises(SentenceError, match="at least 13 x 13 points, not 12 x 14"):
        run(study, "wide")
    patterns[3, 4] = OUTSIDE  # 0 counts
    with pytest.raises(SentenceError, match="mixes points without a pattern"):
        run(study_of(patterns), "nlpar")
    few = study_of(patterns[:2, :2])
    with pytest.raises(SentenceError, match="6 components are more than a sample of 4 patterns"):
        run(few, "nmf-6")


@pytest.mark.parametrize("beta", [0.5, 2.0, 5.0, 20.0])
def test_linear_theory_is_the_optimum_of_a_linear_vae(beta):
    """Decoder weight, encoder weight and log-variance of each dimension, found numerically."""
    eigenvalues, unseen = np.array([9.0, 4.0, 1.0]), 3.0

    def parts(x, eigenvalue):
        """Reconstruction of drawn latents, of latent means, and KL divergence."""
        weight, encoder, log_variance = x
        missed, variance = (1 - weight * encoder) ** 2 * eigenvalue, np.exp(log_variance)
        divergence = encoder**2 * eigenvalue + variance - 1 - log_variance
        return np.array([missed + weight**2 * variance, missed, divergence]) / 2

    def optimum(eigenvalue):
        def cost(x):
            return parts(x, eigenvalue) @ (1, 0, beta)

        return parts(minimize(cost, (1.0, 0.3, -1.0), tol=1e-10).x, eigenvalue)

    reconstruction, residual, kl = sum(optimum(eigenvalue) for eigenvalue in eigenvalues[:2])
    theory = _linear_vae(eigenvalues, eigenvalues[:2].sum() + unseen, beta, latent_dim=2)
    assert theory["linear_kept"] == (eigenvalues[:2] > beta).sum()
    assert theory["linear_reconstruction"] == pytest.approx(reconstruction + unseen / 2, abs=1e-4)
    assert theory["linear_residual"] == pytest.approx(residual + unseen / 2, abs=1e-4)
    assert theory["linear_kl"] == pytest.approx(kl, abs=1e-4)
