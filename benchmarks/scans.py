"""Preprocessing against kikuchipy's calls and against reading; indexing against PyEBSDIndex."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import kikuchipy
import numpy as np

from benchmarks.settings import Sizes
from benchmarks.simulation import MAP_ROWS, projection
from benchmarks.timing import compare
from kikuhelpers.indexing.hough import Detector, band_indexer, index_patterns
from kikuhelpers.patterns.up2 import Up2Writer, open_patterns, to_counts
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.study import NETWORK_INPUT_PX
from kikuhelpers.study.layout import ScanFiles
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.study import NICKEL, Indexing, Preprocessing

_READ_BYTES = 4 << 20
_CENTRE = (0.51, 0.34, 0.62)  # Bruker's convention; of the simulated patterns
PIXELS = (NETWORK_INPUT_PX, NETWORK_INPUT_PX)
_NOISE = 0.3  # in units of the simulated patterns' own contrast
_SETTINGS = Preprocessing(mask="none")  # kikuchipy's rescaling knows no mask


def files_in(folder: str, kind: type = ScanFiles) -> ScanFiles:
    """Return the files of a scan, or of another kind, in one folder whatever stage makes them."""
    return kind(lambda stage: Path(folder))


def write_noise(files: ScanFiles, patterns: int, binning: int) -> None:
    """Write a scan of noise, row by row."""
    side = NETWORK_INPUT_PX * binning
    row = np.random.default_rng(0).integers(20000, 40000, (MAP_ROWS, side, side), np.uint16)
    with Up2Writer(files.raw, (MAP_ROWS, patterns // MAP_ROWS), (side, side), 1.0) as writer:
        for _ in range(patterns // MAP_ROWS):
            writer.append(row)


def preprocess_noise(files: ScanFiles, binning: int) -> None:
    """Preprocess a scan of noise."""
    scan = ScanPreprocessing(binning=binning)
    preprocess(open_patterns(files.raw), scan, _SETTINGS, files, 1.0)


def preprocessing(sizes: Sizes) -> Iterator[dict]:
    """Measure preprocessing from UP2 to UP2, from the disk where the system allows."""
    for binning, patterns in ((4, sizes.scan_patterns), (1, sizes.binned_scan_patterns)):
        with tempfile.TemporaryDirectory() as folder:
            files = files_in(folder)
            write_noise(files, patterns, binning)
            jobs = {
                "ours": partial(_preprocess_anew, files.raw, binning),
                "plain": partial(_kikuchipy_calls, files.raw, binning),
                "reading": partial(_read, files.raw),
                "copying": partial(_copy, files.raw),
            }
            speeds = compare(jobs, patterns, sizes.rounds, 0, prepare=partial(_forget, files.raw))
        yield {
            "part": "preprocessing",
            "case": f"{NETWORK_INPUT_PX * binning} px binned by {binning}",
            "against": "kikuchipy's calls",
            **speeds,
        }


def indexing(sizes: Sizes) -> Iterator[dict]:
    """Measure Hough indexing with confidence index and map, against PyEBSDIndex alone."""
    patterns = simulated_patterns(sizes.map_patterns)
    flat = patterns.reshape(-1, *PIXELS)
    settings, detector = Indexing(phase=NICKEL), Detector(_CENTRE)
    mask = np.ones(PIXELS, bool)
    indexer = band_indexer(PIXELS, detector, settings)
    bands = indexer.bandDetectPlan  # with PyEBSDIndex's own loops again:
    del bands._grey_dilation, bands.radonPlan.rdn_loops
    jobs = {
        "ours": partial(index_patterns, patterns, mask, detector, settings, 1.0),
        "plain": partial(indexer.index_pats, flat),
    }
    yield {
        "part": "indexing",
        "case": f"{settings.bands} bands",
        "against": "bare PyEBSDIndex call",
        **compare(jobs, len(flat), sizes.rounds, sizes.seconds),
    }


def simulated_patterns(number: int) -> np.ndarray:
    """Return noisy nickel patterns of random orientation, (rows, columns, 120, 120) counts."""
    detector = kikuchipy.detectors.EBSDDetector(shape=PIXELS, pc=_CENTRE, sample_tilt=70)
    rng = np.random.default_rng(0)
    signal = projection(number, detector, rng)().data
    signal = signal + (_NOISE * signal.std()) * rng.standard_normal(signal.shape, np.float32)
    low, high = signal.min(), signal.max()
    return to_counts(2 * (signal - low) / (high - low) - 1)


def _preprocess_anew(raw: Path, binning: int) -> None:
    """Preprocess as one does, once: no earlier output is there to be replaced."""
    new = files_in(_new_folder_beside(raw))
    os.link(raw, new.raw)
    preprocess_noise(new, binning)


def _kikuchipy_calls(path: Path, binning: int) -> None:
    signal = kikuchipy.load(path)
    background = signal.data.mean(axis=(0, 1)).astype(signal.data.dtype)
    signal.remove_static_background("subtract", static_bg=background, show_progressbar=False)
    if binning > 1:
        signal.downsample(binning, show_progressbar=False)
    signal.rescale_intensity(dtype_out=np.uint16, show_progressbar=False)


def _read(path: Path) -> None:
    buffer = bytearray(_READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _copy(path: Path) -> None:
    shutil.copyfile(path, _new_folder_beside(path) / path.name)


def _new_folder_beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=path.parent))


def _forget(path: Path) -> None:
    """Drop a file from the system's cache, so that it is read from the disk (POSIX only).

    What was written before goes to the disk first, or it would slow what is measured next.
    """
    if hasattr(os, "posix_fadvise"):
        os.sync()
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
