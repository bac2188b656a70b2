"""The training sample in a few components: PCA and NMF of the pixels inside the screen.

Both are fitted to the sample that the models are trained on. It is held in memory as
float32: 24,000 patterns of 120 x 120 px take 1 GB, the paper's 96,000 take 4 GB. Maps of any
size are decoded in a few patterns at a time.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.decomposition import PCA, non_negative_factorization

from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_json, written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.training.sample import TrainingSet, load_training_set

_BLACK = 1.0  # added to patterns in [-1, 1] for NMF: black is 0


class BaselineError(SentenceError):
    """A baseline that this sample or map does not allow."""


@dataclass(frozen=True)
class Spectrum:
    """Variance of the training sample, pixels inside the screen, along its components."""

    eigenvalues: np.ndarray  # (K,), largest first
    total: float  # of all pixels together

    def residual(self, count: int) -> float:
        """Half the sum of squares that so many components leave of a pattern of the sample."""
        return 0.5 * (self.total - float(self.eigenvalues[:count].sum()))


@dataclass(frozen=True)
class PrincipalComponents(Spectrum):
    """Principal components of the pixels inside the screen."""

    mean: np.ndarray  # (pixels,) float32
    components: np.ndarray  # (K, pixels) float32, orthonormal, largest variance first
    sample: str  # which sample, and the seed of the fit

    def first(self, count: int) -> "PrincipalComponents":
        """Return the basis of the first components only."""
        first = {"components": self.components[:count], "eigenvalues": self.eigenvalues[:count]}
        return replace(self, **first)

    def project(self, pixels: np.ndarray) -> np.ndarray:
        """Return what the components keep of patterns (n, pixels), float32."""
        return (pixels - self.mean) @ self.components.T @ self.components + self.mean


@dataclass(frozen=True)
class NonNegativeComponents:
    """Non-negative components of p + 1, the pixels inside the screen."""

    components: np.ndarray  # (K, pixels) float32

    def project(self, pixels: np.ndarray) -> np.ndarray:
        """Return what the components keep of patterns (n, pixels), float32."""
        weights, components, _ = non_negative_factorization(
            pixels + _BLACK, H=self.components, n_components=len(self.components), update_H=False
        )
        return weights @ components - _BLACK


def principal_components(results: Results) -> PrincipalComponents:
    """Return the principal components of a study's training sample.

    They are fitted once, as many as the study needs: what is on file is used if it is of this
    sample and enough.
    """
    study, files = results.study, results.layout.sample
    data, path = load_training_set(results), files.principal_components
    sample = f"{data.digest()} seed {study.seed}"
    wanted = min(study.components_wanted, len(data), int(data.mask.sum()))
    if path.is_file():
        with np.load(path) as stored:
            found = PrincipalComponents(**{name: value[()] for name, value in stored.items()})
        if found.sample == sample and len(found.eigenvalues) >= wanted:
            return found
    found = fit_pca(sample_inside(data, study.seed), wanted, study.seed, sample)
    with written_aside(path) as temporary:
        np.savez(temporary, **vars(found))
    save_json(files.spectrum, {"eigenvalues": found.eigenvalues.tolist(), "total": found.total})
    return found


def load_spectrum(results: Results) -> Spectrum:
    """Return the spectrum of a study's training sample, as a PCA among its baselines left it."""
    stored = results.sample.spectrum
    return Spectrum(np.array(stored["eigenvalues"]), stored["total"])


def sample_inside(data: TrainingSet, seed: int) -> np.ndarray:
    """Read the training sample inside the screen, in random order: (n, pixels) float32.

    Neighbours in a map are alike, so batches of neighbours would not stand for the sample.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    pixels = np.empty((len(data), int(data.mask.sum())), np.float32)
    for here, points in chunks("reading", order, pattern_bytes=data.patterns[0].nbytes):
        pixels[here] = data.patterns[points][:, data.mask]
    return pixels


def fit_pca(pixels: np.ndarray, count: int, seed: int, sample: str) -> PrincipalComponents:
    """Fit principal components; ``pixels`` (n, pixels) float32 is used up."""
    _check(count, pixels)
    pca = PCA(count, svd_solver="randomized", copy=False, random_state=seed).fit(pixels)
    # scikit-learn divides by n - 1; a mean over the patterns divides by n.
    eigenvalues = pca.explained_variance_.astype(np.float64) * (1 - 1 / len(pixels))
    total = float(eigenvalues[0] / pca.explained_variance_ratio_[0])
    return PrincipalComponents(eigenvalues, total, pca.mean_, pca.components_, sample)


def fit_nmf(pixels: np.ndarray, count: int, seed: int) -> NonNegativeComponents:
    """Fit non-negative components; ``pixels`` (n, pixels) float32 in [-1, 1] is used up.

    By coordinate descent, 200 rounds at most. scikit-learn's ``MiniBatchNMF`` left 61 of the
    half sum of squares of 3,000 patterns of IN718 after twice the time, where this left 51
    and the PCA 50 (16 components). The function and not the class ``NMF``, which takes
    three times the memory for an error that nobody asked for.
    """
    _check(count, pixels)
    pixels += _BLACK
    _, components, _ = non_negative_factorization(pixels, n_components=count, random_state=seed)
    return NonNegativeComponents(components)


def _check(count: int, pixels: np.ndarray) -> None:
    if count > min(pixels.shape):
        raise BaselineError(
            f"{count} components are more than a sample of {len(pixels)} patterns with "
            f"{pixels.shape[1]} pixels inside the screen has: lower the baseline's components."
        )
