"""Background, binning, rescaling: from counts of the camera to patterns in [-1, 1].

The paper ("Data preprocessing and VAE training"): the mean pattern of each map is
subtracted from every pattern of it, patterns are binned by 4 and rescaled to [-1, 1].
Binning and subtraction are linear, so the order does not matter; here binning comes
first, it is cheaper. A scan is larger than the memory and takes long to read, so it is
streamed, and read once: where patterns are binned, a nameless temporary file keeps them.
"""

import tempfile
from typing import BinaryIO

import numpy as np
from scipy import ndimage

from kikuhelpers.patterns.masking import round_mask
from kikuhelpers.patterns.streaming import in_order
from kikuhelpers.patterns.up2 import PatternFileError, Up2Writer
from kikuhelpers.preprocessing.kernels import block_sums, moments, ranges, rescaled_counts
from kikuhelpers.runs.files import save_array
from kikuhelpers.study.layout import ScanFiles
from kikuhelpers.study.study import Preprocessing

OUTSIDE = -1.0  # intensity outside the screen: black, as on the detector
# A pixel is on the screen if its standard deviation over the map is at least this
# fraction of the median one: outside, nothing varies.
_SCREEN_FRACTION = 0.1


def preprocess(
    raw: np.ndarray,
    binning: int,
    settings: Preprocessing,
    files: ScanFiles,
    step_um: float,
    other_mean: np.ndarray | None = None,
) -> None:
    """Write background, mask and preprocessed patterns of a scan.

    Parameters
    ----------
    raw
        (rows, columns, height * binning, width * binning) counts; a memory map is read once.
    binning
        Pixels per side that become one.
    settings
        Settings of the preprocessing.
    files
        ``background``, ``mask`` and ``preprocessed`` are written.
    step_um
        Step of the map.
    other_mean
        (height, width) mean pattern of another scan that stands in for this one's, as bright as
        this one's.

    Raises
    ------
    ValueError
        A mask that leaves no pixel, or a map without a signal to find the screen by.

    Examples
    --------
    >>> from pathlib import Path
    >>> raw = np.random.default_rng(0).integers(0, 65536, (2, 3, 60, 60), np.uint16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = ScanFiles(lambda stage: Path(folder))  # of a study: Layout(study).scan(name)
    ...     preprocess(raw, 2, Preprocessing(mask="none"), files, step_um=1.0)
    ...     np.load(files.background).shape
    (30, 30)
    """
    pixels, folder = binning**2, files.preprocessed.parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as aside:
        binned, mean, std = _bin(raw.reshape(-1, *raw.shape[2:]), binning, aside)
        mask = screen_mask(std, settings)
        if other_mean is not None:
            mean = _as_bright(other_mean, mean, mask)
        background = (mean if settings.background == "map mean" else 0 * mean).astype(np.float32)
        within = (pixels, background, mask)
        map_limits = _map_limits(binned, within) if settings.rescale == "map" else None

        def rescaled(chunk):
            if map_limits is None:
                return rescaled_counts(chunk, *within, ranges(chunk, *within))
            return rescaled_counts(chunk, *within, np.tile(map_limits, (len(chunk), 1)))

        with Up2Writer(files.preprocessed, raw.shape[:2], mask.shape, step_um) as writer:
            for counts in in_order(binned, rescaled, "rescaling"):
                writer.append(counts)
    save_array(files.background, background)
    save_array(files.mask, mask)


def screen_mask(std: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """Return True inside the screen, given, found, or all of it, from a map's ``std`` (h, w)."""
    if settings.mask == "none":
        return np.ones(std.shape, bool)
    if settings.mask == "find":
        return _find_screen(std)
    return round_mask(std.shape, settings.mask.centre, settings.mask.radius)


def _as_bright(mean: np.ndarray, own: np.ndarray, mask: np.ndarray) -> np.ndarray:
    if mean.shape != mask.shape:
        raise PatternFileError(
            f"The background of the other scan is of {mean.shape} px, these patterns are of "
            f"{mask.shape}: choose another background_of."
        )
    return mean * (own[mask].mean() / mean[mask].mean())


def _find_screen(std: np.ndarray) -> np.ndarray:
    """Return the largest connected area that varies over the map, holes (dust) filled."""
    if not std.any():
        raise PatternFileError(
            "No pixel varies over the map, so no screen can be found: check that the scan holds "
            "patterns, or give preprocessing.mask."
        )
    labels, _ = ndimage.label(std > _SCREEN_FRACTION * np.median(std[std > 0]))
    sizes = np.bincount(labels.ravel())[1:]
    return ndimage.binary_fill_holes(labels == 1 + sizes.argmax())


def _bin(raw: np.ndarray, factor: int, aside: BinaryIO) -> tuple[np.ndarray, ...]:
    """Return binned patterns (n, h, w), as sums of counts, and their mean and deviation (h, w).

    The sums are written to ``aside`` and mapped; without binning they are ``raw`` itself.
    """
    first = block_sums(raw[:1], factor)[0]
    reference = first.astype(np.float64)

    def binned(chunk):
        sums = block_sums(chunk, factor) if factor > 1 else chunk
        return sums, moments(sums, reference)

    total = np.zeros((2, *first.shape))
    for sums, chunk_moments in in_order(raw, binned, "background"):
        total += chunk_moments
        if factor > 1:
            aside.write(sums.data)
    aside.flush()
    mean, square = total / len(raw)
    std = np.sqrt(np.maximum(square - mean**2, 0)) / factor**2
    if factor > 1:
        raw = np.memmap(aside, first.dtype, "r", shape=(len(raw), *first.shape))
    return raw, (mean + reference) / factor**2, std


def _map_limits(binned: np.ndarray, within: tuple) -> np.ndarray:
    """Return the lowest and highest value of the map inside the mask, (2,) float32."""
    low, high = np.concatenate([*in_order(binned, lambda c: ranges(c, *within), "range")]).T
    return np.array([low.min(), high.max()])
