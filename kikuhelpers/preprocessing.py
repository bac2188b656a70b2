"""Background, binning, rescaling: from counts of the camera to patterns in [-1, 1].

The paper ("Data preprocessing and VAE training"): the mean pattern of each map is
subtracted from every pattern of it, patterns are binned by 4 and rescaled to [-1, 1].
Binning and subtraction are linear, so the order does not matter; here binning comes
first, it is cheaper. Everything is streamed by map rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from kikuhelpers.files import save_array, written_aside
from kikuhelpers.layout import ScanFiles
from kikuhelpers.masking import round_mask
from kikuhelpers.progress import progress_bar
from kikuhelpers.readers import row_chunks
from kikuhelpers.study import Preprocessing, Scan
from kikuhelpers.up2 import Up2Writer, open_patterns, to_counts, to_intensity

OUTSIDE = -1.0  # intensity outside the screen: black, as on the detector
# A pixel is on the screen if its standard deviation over the map is at least this
# fraction of the median one: outside, nothing varies.
_SCREEN_FRACTION = 0.1


class PreprocessingError(ValueError):
    """Patterns without a screen; the message is one sentence for its user."""


@dataclass(frozen=True)
class MapStatistics:
    """Per-pixel statistics of a binned map, counts."""

    mean: np.ndarray  # (height, width)
    std: np.ndarray  # (height, width)


def preprocess(scan: Scan, settings: Preprocessing, files: ScanFiles, seed: int) -> None:
    """Write background, mask, preprocessed patterns and this scan's training sample.

    Parameters
    ----------
    scan, settings
        Settings of the scan and of the preprocessing.
    files
        ``files.raw`` is read; ``background``, ``mask``, ``preprocessed``, ``sample`` and
        ``sample_points`` are written.
    seed
        Of the random sample.

    Raises
    ------
    ValueError
        A mask that leaves no pixel, or a map without a signal to find the screen by.
    """
    raw = open_patterns(files.raw)
    statistics = map_statistics(raw, scan.binning)
    mask = screen_mask(statistics, settings)
    background = statistics.mean if settings.background == "map mean" else np.zeros(mask.shape)
    background = background.astype(np.float32)
    limits = None
    if settings.rescale == "map":
        limits = _map_limits(raw, scan.binning, background, mask)
    with Up2Writer(files.preprocessed, raw.shape[:2], mask.shape, scan.step_um) as writer:
        for chunk in _corrected(raw, scan.binning, background, "rescaling"):
            writer.append(to_counts(rescale(chunk, mask, limits)))
    save_array(files.background, background)
    save_array(files.mask, mask)
    draw_sample(files, scan.training_patterns, seed)


def bin_patterns(patterns: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of ``factor`` x ``factor`` pixels: (n, h, w) -> (n, h/f, w/f) float32."""
    if factor == 1:
        return patterns.astype(np.float32)
    n, height, width = patterns.shape
    blocks = patterns.reshape(n, height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def map_statistics(raw: np.ndarray, binning: int) -> MapStatistics:
    """Return mean and standard deviation of every binned pixel over the map."""
    height, width = (n // binning for n in raw.shape[2:])
    total, squares = np.zeros((2, height, width))
    for chunk in _corrected(raw, binning, np.float32(0), "background"):
        total += chunk.sum(axis=0, dtype=np.float64)
        squares += np.einsum("nij,nij->ij", chunk, chunk, dtype=np.float64)
    points = raw.shape[0] * raw.shape[1]
    mean = total / points
    return MapStatistics(mean, np.sqrt(np.maximum(squares / points - mean**2, 0)))


def screen_mask(statistics: MapStatistics, settings: Preprocessing) -> np.ndarray:
    """Return True inside the screen, (height, width): given, found, or all of it."""
    shape = statistics.mean.shape
    if settings.mask == "none":
        return np.ones(shape, bool)
    if settings.mask == "find":
        return _find_screen(statistics.std)
    return round_mask(shape, settings.mask.centre, settings.mask.radius)


def rescale(patterns: np.ndarray, mask: np.ndarray, limits=None) -> np.ndarray:
    """Map patterns to [-1, 1] inside the mask, black outside.

    Parameters
    ----------
    patterns
        (n, height, width) float32, background subtracted.
    mask
        (height, width), True inside the screen.
    limits
        (lowest, highest) value of the map; None takes each pattern's own.

    Returns
    -------
    numpy.ndarray
        (n, height, width) float32. A pattern without any contrast becomes 0.
    """
    inside = patterns[:, mask]
    if limits is None:
        low, high = inside.min(axis=1, keepdims=True), inside.max(axis=1, keepdims=True)
    else:
        low, high = (np.float32(value) for value in limits)
    span = np.where(high > low, high - low, np.inf)
    rescaled = np.full(patterns.shape, OUTSIDE, np.float32)
    middle = (low + high) / 2
    rescaled[:, mask] = (inside - middle) * (2 / span)
    return rescaled


def draw_sample(files: ScanFiles, wanted: int, seed: int) -> None:
    """Draw this scan's random share of the training sample, without repetition.

    A scan with fewer points than wanted gives all of them.
    """
    patterns = open_patterns(files.preprocessed)
    shape = patterns.shape
    flat = patterns.reshape(-1, *shape[2:])
    rng = np.random.default_rng(seed)
    points = np.sort(rng.choice(len(flat), min(wanted, len(flat)), replace=False))
    with written_aside(files.sample) as temporary:
        if len(points):
            sample = np.lib.format.open_memmap(
                temporary, "w+", np.float16, (len(points), *shape[2:])
            )
            for part in np.array_split(np.arange(len(points)), max(1, len(points) // 1024)):
                sample[part] = to_intensity(flat[points[part]])
            sample.flush()
            del sample
        else:
            np.save(temporary, np.empty((0, *shape[2:]), np.float16))
    save_array(files.sample_points, points)


def _find_screen(std: np.ndarray) -> np.ndarray:
    """Return the largest connected area that varies over the map, holes (dust) filled."""
    if not std.any():
        raise PreprocessingError(
            "No pixel varies over the map, so no screen can be found: check that the scan holds "
            "patterns, or give preprocessing.mask."
        )
    labels, _ = ndimage.label(std > _SCREEN_FRACTION * np.median(std[std > 0]))
    sizes = np.bincount(labels.ravel())[1:]
    return ndimage.binary_fill_holes(labels == 1 + sizes.argmax())


def _map_limits(raw, binning, background, mask) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for chunk in _corrected(raw, binning, background, "range"):
        inside = chunk[:, mask]
        low, high = min(low, inside.min()), max(high, inside.max())
    return float(low), float(high)


def _corrected(raw, binning: int, background, stage: str):
    """Yield chunks (n, h, w) float32 of binned, background-subtracted patterns."""
    with progress_bar(raw.shape[0] * raw.shape[1], stage) as bar:
        for rows in row_chunks(raw.shape, raw.dtype.itemsize):
            chunk = np.asarray(raw[rows]).reshape(-1, *raw.shape[2:])
            yield bin_patterns(chunk, binning) - background
            bar.update(len(chunk))
