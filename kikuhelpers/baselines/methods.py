"""Baselines: scans through PCA, NMF or NLPAR, with the files that a model's decoding leaves.

PCA and NMF compress each pattern by itself, as the models do. Both are fitted to the sample
that the models are trained on, the pixels inside the screen, held in memory as float32: 24,000
patterns of 120 x 120 px take 1 GB, the paper's 96,000 take 4 GB.

NLPAR does not compress: it averages each pattern with those around it that differ from it by
no more than noise. So its residual is what it removed, noise for the most part, and not a
measure of its quality.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pyebsdindex.nlpar_cpu import NLPAR
from sklearn.decomposition import PCA, non_negative_factorization
from torch import Tensor

from kikuhelpers.indexing.orientation_maps import NOT_INDEXED
from kikuhelpers.latents.coding import Decoder, decode_map, intensity_on_device
from kikuhelpers.latents.features import feature_measures
from kikuhelpers.patterns.masking import is_empty
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import open_patterns, to_intensity
from kikuhelpers.preprocessing.preprocess import OUTSIDE
from kikuhelpers.runs.devices import device
from kikuhelpers.runs.errors import SentenceError, usable
from kikuhelpers.runs.files import mapped_array, save_csv, save_json, temporary_name, written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.study.models import Nlpar
from kikuhelpers.training.sample import TrainingSet, load_training_set

Projection = Callable[[np.ndarray], np.ndarray]  # patterns (n, pixels) to what is kept of them

_NLPAR_BYTES = 1_000_000_000  # of a tile, input and output as float32; copies take more
_SHOW_TILES = 2  # PyEBSDIndex's verbosity that prints its progress
_RADII_OF_A_MAP = 3  # in a map of so many or less PyEBSDIndex's tiles leave points out
_BLACK = 1.0  # added to patterns in [-1, 1] for NMF: black is 0


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

    def project(self, pixels: np.ndarray, count: int) -> np.ndarray:
        """Return what so many components keep of patterns (n, pixels), float32."""
        first = self.components[:count]
        return (pixels - self.mean) @ first.T @ first + self.mean


def fit_baseline(results: Results, name: str) -> Projection | None:
    """Fit a baseline to the study's training sample.

    Returns
    -------
    callable or None
        Turns pixels inside the screen (n, pixels), float32 in [-1, 1], into what the
        baseline keeps of them; None for NLPAR, which has nothing to fit.

    Raises
    ------
    SentenceError
        More components than the sample has patterns or pixels.
    """
    study = results.study
    settings = study.baseline(name)
    if isinstance(settings, Nlpar):
        return None
    if settings.method == "pca":
        return partial(principal_components(results).project, count=settings.components)
    pixels = sample_inside(load_training_set(results), study.seed)
    return _fit_nmf(pixels, settings.components, study.seed)


def decode_scan(
    results: Results, name: str, projection: Projection | None, scan: str
) -> np.ndarray:
    """Write a scan's patterns as a fitted baseline gives them, and measure the loss of each.

    Only pixels inside the screens of all scans take part, as in training; the others are
    black. The ``projection`` is that of :func:`fit_baseline`.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32: half the sum of squared differences inside the screen.

    Raises
    ------
    SentenceError
        A map too small for NLPAR, or one that it left points out of.
    """
    study, files = results.study, results.layout.model_scan(name, scan)
    mask = np.logical_and.reduce([results.scan(other).mask for other in study.training_scans])
    inputs, step_um = results.patterns(PREPROCESSED, scan), results.step_um(scan)
    decoder = _decoder(projection, mask)
    if projection is not None:
        return decode_map(decoder, inputs, inputs, mask, files, step_um)
    averaged = temporary_name(files.decoded.with_stem("averaged"))
    try:
        preprocessed = results.layout.scan(scan).preprocessed
        _average_neighbours(preprocessed, mask, study.baseline(name), averaged)
        return decode_map(decoder, open_patterns(averaged), inputs, mask, files, step_um)
    finally:
        averaged.unlink(missing_ok=True)


def score_scan(results: Results, name: str, scan: str) -> None:
    """File the scores of a scan on principal components as a model's latents are filed.

    ``latents.npy`` is (rows, columns, K) float32, NaN for empty patterns; its measures
    (``features.csv``) know no physical maps.
    """
    found, files = principal_components(results), results.layout.model_scan(name, scan)
    first = found.components[: results.study.baseline(name).components]
    mask, patterns = load_training_set(results).mask, results.patterns(PREPROCESSED, scan)
    with written_aside(files.latents) as path:
        shape = (*patterns.shape[:2], len(first))
        scores = mapped_array(path, shape, np.float32)
        flat, out = patterns.reshape(-1, *mask.shape), scores.reshape(-1, len(first))
        for here, counts, _ in chunks("scores", flat, out):
            inside = to_intensity(counts)[:, mask] - found.mean
            out[here] = np.where(is_empty(counts)[:, np.newaxis], np.nan, inside @ first.T)
        nowhere = np.full(shape[:2], NOT_INDEXED)
        save_csv(feature_measures(scores, {}, nowhere), files.features, digits=6)


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
        with usable(str(path)), np.load(path, allow_pickle=False) as stored:
            found = PrincipalComponents(**{name: value[()] for name, value in stored.items()})
            first = found.components[:wanted].astype(float)
            whole = len(first) == wanted and np.allclose(first @ first.T, np.eye(wanted), atol=1e-3)
        if found.sample == sample and whole:
            return found
    pixels = sample_inside(data, study.seed)
    pca = PCA(wanted, svd_solver="randomized", copy=False, random_state=study.seed).fit(pixels)
    # scikit-learn divides by n - 1; a mean over the patterns divides by n.
    eigenvalues = pca.explained_variance_.astype(np.float64) * (1 - 1 / len(pixels))
    total = float(eigenvalues[0] / pca.explained_variance_ratio_[0])
    found = PrincipalComponents(eigenvalues, total, pca.mean_, pca.components_, sample)
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


def _fit_nmf(pixels: np.ndarray, count: int, seed: int) -> Projection:
    """Fit non-negative components; ``pixels`` (n, pixels) float32 in [-1, 1] is used up.

    By coordinate descent, 200 rounds at most: ``MiniBatchNMF`` fits worse in twice the time.
    The class ``NMF`` takes three times the memory for an error that nobody asked for.
    """
    if count > min(pixels.shape):
        raise SentenceError(
            f"{count} components are more than a sample of {len(pixels)} patterns with "
            f"{pixels.shape[1]} pixels inside the screen has: lower the baseline's components."
        )
    pixels += _BLACK
    _, found, _ = non_negative_factorization(pixels, n_components=count, random_state=seed)
    return partial(_mix, components=found)


def _mix(pixels: np.ndarray, components: np.ndarray) -> np.ndarray:
    """What non-negative components of p + 1 (K, pixels) keep of patterns (n, pixels)."""
    fixed = {"H": components, "n_components": len(components), "update_H": False}
    return non_negative_factorization(pixels + _BLACK, **fixed)[0] @ components - _BLACK


def _average_neighbours(source: Path, mask: np.ndarray, settings: Nlpar, path: Path) -> None:
    """Write the patterns of a UP2 file, averaged by PyEBSDIndex's NLPAR, as UP2.

    It averages counts without rescaling and drops fractions of a count.
    """
    radius, (rows, columns) = settings.search_radius, open_patterns(source).shape[:2]
    smallest = _RADII_OF_A_MAP * radius + 1
    if min(rows, columns) < smallest:
        raise SentenceError(
            f"NLPAR with a search radius of {radius} points needs a map of at least {smallest} x "
            f"{smallest} points, not {rows} x {columns}: lower search_radius."
        )
    flat = open_patterns(source).reshape(-1, *mask.shape)
    if any(is_empty(some).any() for _, some in chunks("empty points", flat)):
        raise SentenceError(
            "PyEBSDIndex's NLPAR mixes points without a pattern into their neighbours: leave this "
            "baseline out of the study."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # The class for CPUs, also where there is a GPU: the same result everywhere.
    nlpar = NLPAR(str(source), lam=settings.weight_decay, searchradius=settings.search_radius)
    nlpar.mask = mask.astype(np.uint8)
    nlpar.calcnlpar(fileout=str(path), chunksize=_NLPAR_BYTES, verbose=_SHOW_TILES)


def _decoder(projection: Projection | None, mask: np.ndarray) -> Decoder:
    """What a projection keeps of counts (n, height, width); NLPAR's counts as they are."""
    inside = torch.from_numpy(mask).to(device())

    def decoded(counts: np.ndarray) -> Tensor:
        patterns = intensity_on_device(counts)
        if projection is not None:
            kept = torch.from_numpy(projection(patterns[:, 0, inside].cpu().numpy()))
            patterns[:, 0, inside] = kept.clamp(-1, 1).to(device())
        elif not counts[:, mask].any(axis=1).all():
            raise SentenceError(
                "PyEBSDIndex's NLPAR left out points of the map: change search_radius."
            )
        return torch.where(inside, patterns, OUTSIDE)

    return decoded
