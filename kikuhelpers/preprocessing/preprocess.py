"""Background, binning, rescaling: from counts of the camera to patterns in [-1, 1].

The paper ("Data preprocessing and VAE training"): the mean pattern of each map is
subtracted from every pattern of it, patterns are binned by 4 and rescaled to [-1, 1].
Binning (in general :mod:`kikuhelpers.patterns.geometry`) and subtraction are linear, so the order
does not matter; here binning comes first, it is cheaper. A scan is larger than the memory and
takes long to read, so it is streamed, and read once: a nameless temporary file keeps what is
binned.
"""

import tempfile
from typing import BinaryIO

import numpy as np
from scipy import ndimage

from kikuhelpers.patterns.geometry import Geometry, geometry_of
from kikuhelpers.patterns.masking import fill_outside, is_empty, round_mask
from kikuhelpers.patterns.streaming import in_order
from kikuhelpers.patterns.up2 import PatternFileError, Up2Writer, open_patterns
from kikuhelpers.preprocessing.camera_scale import camera_scale_maps
from kikuhelpers.preprocessing.kernels import moments, onto_network, ranges, rescaled_counts
from kikuhelpers.runs.files import save_array
from kikuhelpers.study.layout import ScanFiles
from kikuhelpers.study.scans import FILE, ScanPreprocessing
from kikuhelpers.study.study import Preprocessing

# What a rescaled pattern is clipped to, where that is not its range: percentiles, or standard
# deviations about its mean.
PERCENTILES, DEVIATIONS = (0.5, 99.5), 3.0
OUTSIDE = -1.0  # intensity outside the screen: black, as on the detector
# A pixel is on the screen if what it shows beside the corners of the camera varies over the map by
# this fraction of the median at least: of measured patterns 0.00 to 0.15 outside a round screen,
# 0.5 and more on it.
_SCREEN_FRACTION = 0.25
# Share of the bands that a mean holds: in 24 virtual and 14 measured windows 0.5 to 0.9 of one
# grain, 0.4 to 0.8 of two, 0.04 to 0.4 of eight and more.
ONE_GRAIN = 0.5
_EDGE_PX, _RIM_PX, _SPOT = (1.0, 2.5), 8, 6.0  # between two Gaussians; px; medians: dust is above
_SAMPLE = 100  # patterns


def preprocess(
    raw: np.ndarray,
    scan: ScanPreprocessing,
    settings: Preprocessing,
    files: ScanFiles,
    step_um: float,
    other_mean: np.ndarray | None = None,
) -> float:
    """Write background, mask, preprocessed patterns of a scan and their camera's scale.

    Parameters
    ----------
    raw
        (rows, columns, height, width) counts of the camera; a memory map is read once. Empty
        patterns (:func:`~kikuhelpers.patterns.masking.is_empty`) stay so: 0 counts.
    scan, settings
        Settings of the scan's preprocessing, and of the study's.
    files
        ``background``, ``mask``, ``preprocessed`` and ``camera_scale`` are written; ``brought`` is
        read if asked for.
    step_um
        Step of the map.
    other_mean
        (120, 120) mean pattern of another scan that stands in for this one's, as bright as
        this one's.

    Returns
    -------
    float
        Share of the bands that goes with the map's own mean, see :func:`bands_in_mean`; 0 where
        that is not subtracted. Above ``ONE_GRAIN`` the map lies in one or two grains.

    Raises
    ------
    ValueError
        A mask that leaves no pixel, or a map without a signal to find the screen by.
    PatternFileError
        Patterns that do not fit (:func:`~kikuhelpers.patterns.geometry.geometry_of`), or all empty.

    Examples
    --------
    >>> from pathlib import Path
    >>> raw = np.random.default_rng(0).integers(0, 65536, (2, 3, 60, 60), np.uint16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = ScanFiles(lambda stage: Path(folder))  # of a study: Layout(study).scan(name)
    ...     _ = preprocess(raw, ScanPreprocessing(), Preprocessing(mask="none"), files, step_um=1.0)
    ...     np.load(files.background).shape
    (120, 120)
    """
    geometry, folder = geometry_of(raw.shape[2:], scan), files.preprocessed.parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as aside:
        flat = raw.reshape(-1, *raw.shape[2:])
        binned, pixels, mean, std = _bin(flat, geometry, aside)
        if scan.background_of == FILE:
            (other_mean,), _ = onto_network(np.load(files.brought)[np.newaxis], geometry)
        mask = screen_mask(binned, settings) & geometry.on_camera
        own_mean = other_mean is None and settings.background == "map mean"
        held = bands_in_mean(binned, mean, mask) if own_mean else 0.0
        if other_mean is not None:
            mean = other_mean * (mean[mask].mean() / other_mean[mask].mean())
        background = (mean if settings.background == "map mean" else 0 * mean).astype(np.float32)
        within = (pixels, background, mask)
        # The deviation of all the map's values from the background: in time and over the screen.
        of_map = DEVIATIONS * np.sqrt((std[mask] ** 2 + (mean - background)[mask] ** 2).mean())

        def rescaled(chunk):
            found = ranges(chunk, *within)
            if settings.rescale == "map":
                found[:, :2] = found[:, 2:] + (-of_map, of_map)
            elif settings.rescale != "pattern":
                found[:, :2] = _clipped(chunk, *within, settings.rescale)
            counts = rescaled_counts(chunk, *within, found)
            counts[is_empty(chunk)] = 0
            return counts, found

        found = []
        with Up2Writer(files.preprocessed, raw.shape[:2], mask.shape, step_um) as writer:
            for counts, of_chunk in in_order(binned, rescaled, "rescaling"):
                writer.append(counts)
                found.append(of_chunk)
        found = np.concatenate(found) + np.float32([0, 0, background[mask].mean()])
    save_array(files.background, background)
    save_array(files.mask, mask)
    patterns = open_patterns(files.preprocessed)
    save_array(files.camera_scale, camera_scale_maps(patterns, mask, found))
    return held


def bands_in_mean(patterns: np.ndarray, mean: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a typical pattern's bands that a map's mean pattern (h, w) holds.

    It is the median of the squared correlations of the patterns' (n, h, w) fine structure with the
    mean's: 1 over the number of grains, if all were of one size and nothing else were fine.
    """
    images = fill_outside(np.concatenate([mean[np.newaxis], _some_of(patterns)]), mask)
    fine, coarse = (ndimage.gaussian_filter(images, (0, s, s)) for s in _EDGE_PX)
    edges, inner = fine - coarse, ndimage.binary_erosion(mask, iterations=_RIM_PX)
    inner &= np.abs(edges[0]) < _SPOT * np.median(np.abs(edges[0][inner]))
    return float(np.median(np.corrcoef(edges[:, inner])[0, 1:] ** 2))


def screen_mask(patterns: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """Return (h, w) True inside the screen, given, found in patterns (n, h, w), or all of it."""
    if settings.mask == "none":
        return np.ones(patterns.shape[1:], bool)
    if settings.mask == "find":
        return _find_screen(_some_of(patterns).astype(np.float32))
    return round_mask(patterns.shape[1:], settings.mask.centre, settings.mask.radius)


def _find_screen(patterns: np.ndarray) -> np.ndarray:
    """Return the largest connected area that varies over the map, holes (dust) filled.

    The mean of the four corners is taken away: a camera's dark level drifts with time, beside the
    screen and on it.
    """
    dark = patterns[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=1)
    std = (patterns - dark[:, np.newaxis, np.newaxis]).std(axis=0)
    if not std.any():
        raise PatternFileError(
            "No pixel varies over the map, so no screen can be found: check that the scan holds "
            "patterns, or give preprocessing.mask."
        )
    labels, _ = ndimage.label(std > _SCREEN_FRACTION * np.median(std[std > 0]))
    sizes = np.bincount(labels.ravel())[1:]
    return ndimage.binary_fill_holes(labels == 1 + sizes.argmax())


def _some_of(patterns: np.ndarray) -> np.ndarray:
    """Return some patterns that are not empty, all over the map; a map of few has them all."""
    some = patterns[:: max(1, len(patterns) // _SAMPLE)]
    there = some[~is_empty(some)]
    return there if len(there) else patterns[~is_empty(patterns)]


def _bin(raw: np.ndarray, geometry: Geometry, aside: BinaryIO) -> tuple:
    """Return patterns of the network's size (n, h, w), pixels a value, mean and deviation (h, w).

    The patterns are written to ``aside`` and mapped; those of that size are ``raw`` itself.
    """
    some = next((pattern for pattern in raw[:, np.newaxis] if not is_empty(pattern)), raw[:1])
    (first,), pixels = onto_network(some, geometry)
    reference, same = first.astype(np.float64), raw.shape[1:] == first.shape

    def binned(chunk):
        values, _ = onto_network(chunk, geometry)
        there = ~is_empty(values)
        return values, there.sum(), moments(values if there.all() else values[there], reference)

    total, collected = np.zeros((2, *first.shape)), 0
    for values, number, chunk_moments in in_order(raw, binned, "background", first.nbytes):
        total += chunk_moments
        collected += number
        if not same:
            aside.write(values.data)
    if not collected:
        raise PatternFileError("Every pattern of the scan is empty (all pixels equal).")
    aside.flush()
    mean, square = total / collected
    std = np.sqrt(np.maximum(square - mean**2, 0)) / pixels
    if not same:
        raw = np.memmap(aside, first.dtype, "r", shape=(len(raw), *first.shape))
    return raw, pixels, (mean + reference) / pixels, std


def _clipped(chunk: np.ndarray, pixels: int, background, mask, rescale: str) -> np.ndarray:
    """Return the values of each pattern that become -1 and 1, (n, 2), and are clipped there."""
    values = chunk[:, mask] / np.float32(pixels) - background[mask]
    if rescale == "percentiles":
        return np.percentile(values, PERCENTILES, axis=1).T
    mean, away = values.mean(axis=1), DEVIATIONS * values.std(axis=1)
    return np.stack([mean - away, mean + away], axis=1)
