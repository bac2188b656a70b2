"""Baselines: scans through PCA, NMF or NLPAR, with the files that a model's decoding leaves.

PCA and NMF compress each pattern by itself, as the models do. NLPAR does not compress: it
averages each pattern with those around it that differ from it by no more than noise. So its
residual is what it removed, noise for the most part, and not a measure of its quality.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pyebsdindex.nlpar_cpu import NLPAR
from torch import Tensor

from kikuhelpers.baselines import decompositions
from kikuhelpers.baselines.decompositions import BaselineError
from kikuhelpers.latents.coding import Decoder, decode_map, intensity_on_device
from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.preprocessing.preprocess import OUTSIDE
from kikuhelpers.runs.devices import device
from kikuhelpers.runs.files import temporary_name
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.study.models import Nlpar, Pca
from kikuhelpers.training.sample import load_training_set

Projection = Callable[[np.ndarray], np.ndarray]  # patterns (n, pixels) to what is kept of them

_NLPAR_BYTES = 1_000_000_000  # of a tile, input and output as float32; copies take more
_SHOW_TILES = 2  # PyEBSDIndex's verbosity that prints its progress


def fit_baseline(results: Results, name: str) -> Projection | None:
    """Fit a baseline to the study's training sample.

    Returns
    -------
    callable or None
        Turns pixels inside the screen (n, pixels), float32 in [-1, 1], into what the
        baseline keeps of them; None for NLPAR, which has nothing to fit.

    Raises
    ------
    BaselineError
        More components than the sample has patterns or pixels.
    """
    study = results.study
    settings = study.baseline(name)
    if isinstance(settings, Nlpar):
        return None
    if isinstance(settings, Pca):
        return decompositions.principal_components(results).first(settings.components).project
    pixels = decompositions.sample_inside(load_training_set(results), study.seed)
    return decompositions.fit_nmf(pixels, settings.components, study.seed).project


def decode_scan(
    results: Results, name: str, projection: Projection | None, scan: str
) -> np.ndarray:
    """Write a scan's patterns as a baseline gives them, and measure the loss of each.

    Only pixels inside the screens of all scans take part, as in training; the others are
    black.

    Parameters
    ----------
    results, name, scan
        Results of the study, the baseline's name and the scan's.
    projection
        From :func:`fit_baseline`.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32: half the sum of squared differences inside the screen.

    Raises
    ------
    BaselineError
        A map too small for NLPAR, or one that it left points out of.
    """
    study, files = results.study, results.layout.model_scan(name, scan)
    mask = np.logical_and.reduce([results.scan(other).mask for other in study.training_scans])
    inputs, step_um = results.patterns(PREPROCESSED, scan), study.scan(scan).data.step_um
    decoder = _decoder(projection, mask)
    if projection is not None:
        return decode_map(decoder, inputs, inputs, mask, files, step_um)
    averaged = temporary_name(files.decoded.with_stem("averaged"))
    try:
        preprocessed = results.layout.scan(scan).preprocessed
        average_neighbours(preprocessed, mask, study.baseline(name), averaged)
        return decode_map(decoder, open_patterns(averaged), inputs, mask, files, step_um)
    finally:
        averaged.unlink(missing_ok=True)


def average_neighbours(source: Path, mask: np.ndarray, settings: Nlpar, path: Path) -> None:
    """Write the patterns of a UP2 file, averaged by PyEBSDIndex's NLPAR, as UP2.

    It measures the noise of each pattern and the distances between patterns inside the mask
    and averages counts, without rescaling; it drops fractions of a count, half a count on
    the average of 65,535.

    Raises
    ------
    BaselineError
        The map is too small for the search radius.
    """
    shape = open_patterns(source).shape[:2]
    if min(shape) < settings.smallest_map:
        raise BaselineError(
            f"NLPAR with a search radius of {settings.search_radius} points needs a map of at "
            f"least {settings.smallest_map} x {settings.smallest_map} points, not {shape[0]} x "
            f"{shape[1]}: lower search_radius."
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
            raise BaselineError(
                "PyEBSDIndex's NLPAR left out points of the map: change search_radius."
            )
        return torch.where(inside, patterns, OUTSIDE)

    return decoded
