"""Time and peak memory against the size of the map, each size in a process of its own."""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from benchmarks.scans import PIXELS, files_in, preprocess_noise, write_noise
from benchmarks.settings import Sizes
from benchmarks.simulation import virtual_scan
from kikuhelpers.indexing.hough import Detector, index_patterns
from kikuhelpers.indexing.quality import noise_level, sharpness
from kikuhelpers.latents.coding import decode_map, decoder_of, encode
from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.runs.files import save_array
from kikuhelpers.runs.provenance import peak_memory_bytes
from kikuhelpers.scans.virtual.scanning import ScanMaker, simulate
from kikuhelpers.study.layout import ModelScanFiles
from kikuhelpers.study.study import NICKEL, Indexing
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.vae import KikuchiVAE

_BINNING = 4
_QUALITY = {"sharpness": sharpness, "noise level": noise_level}


def growth(sizes: Sizes) -> Iterator[dict]:
    """Measure every stage at 1, 2, 4 and 8 times the work."""
    for stage in sizes.growth_stages:
        points = []
        for factor in sizes.growth:
            n = factor * sizes.growth_patterns
            with tempfile.TemporaryDirectory() as folder:
                _prepare(stage, n, sizes.growth_dimension, folder)
                with ProcessPoolExecutor(1, get_context("spawn")) as own:
                    run = own.submit(_run, stage, n, sizes.growth_dimension, folder)
                points.append(run.result())
        yield {
            "part": "growth",
            "case": stage,
            "points": points,
            "memory_ratio": points[-1]["peak_mib"] / points[0]["peak_mib"],
            "work_ratio": points[-1]["patterns"] / points[0]["patterns"],
            "time_ratio": points[-1]["seconds"] / points[0]["seconds"],
        }


def _prepare(stage: str, patterns: int, dimension: int, folder: str) -> None:
    """Write what the stage reads."""
    if stage == "simulation":
        return
    write_noise(files_in(folder), patterns, _BINNING if stage == "preprocessing" else 1)
    if stage == "decoding":
        latents = np.random.default_rng(0).standard_normal((2, patterns // 2, dimension))
        save_array(files_in(folder, ModelScanFiles).latents, latents.astype(np.float32))


def _work(stage: str, number: int, dimension: int, folder: str) -> Callable[[], object]:
    """Return the work of a stage; what is compiled or loaded once is there already."""
    files, outputs = files_in(folder), files_in(folder, ModelScanFiles)
    if stage == "simulation":
        virtual = virtual_scan(number)
        ScanMaker(virtual).chunk(0)
        return lambda: simulate(virtual, files.raw, files.truth)
    if stage == "preprocessing":
        return lambda: preprocess_noise(files, _BINNING)
    patterns, mask = open_patterns(files.raw), np.ones(PIXELS, bool)
    if stage in _QUALITY:
        return lambda: _QUALITY[stage](patterns, mask)
    if stage == "indexing":
        more = mask, Detector(), Indexing(phase=NICKEL), 1.0
        index_patterns(patterns[:, :2], *more)
        return lambda: index_patterns(patterns, *more)
    model = on_device(KikuchiVAE(dimension)).eval()
    if stage == "encoding":
        return lambda: encode(model, patterns, "auto", outputs.latents)
    latents = np.load(outputs.latents, mmap_mode="r")
    decoder = decoder_of(model, mask, "auto")
    return lambda: decode_map(decoder, latents, patterns, mask, outputs, 1.0)


def _run(stage: str, patterns: int, dimension: int, folder: str) -> dict:
    imported = peak_memory_bytes() / 2**20
    work = _work(stage, patterns, dimension, folder)
    start = time.perf_counter()
    work()
    return {
        "patterns": patterns,
        "seconds": time.perf_counter() - start,
        "imported_mib": imported,  # before any work
        "peak_mib": peak_memory_bytes() / 2**20,
    }
