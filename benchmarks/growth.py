"""Time and peak memory against the size of the map, each size in a process of its own."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.scans import preprocess_noise, write_noise
from benchmarks.settings import Sizes
from benchmarks.simulation import virtual_scan
from kikuhelpers.indexing.hough import index_patterns
from kikuhelpers.latents.decoding import decode_map
from kikuhelpers.latents.encoding import encode_map
from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.runs.devices import device
from kikuhelpers.runs.files import save_array
from kikuhelpers.runs.provenance import peak_memory_bytes
from kikuhelpers.scans.virtual.scanning import ScanMaker, simulate
from kikuhelpers.study.layout import ModelScanFiles, ScanFiles
from kikuhelpers.study.study import FileScan, Indexing
from kikuhelpers.training.vae import KikuchiVAE

_BINNING = 4


def growth(sizes: Sizes) -> Iterator[dict]:
    """Measure every stage at 1, 2, 4 and 8 times the work."""
    for stage in sizes.growth_stages:
        points = []
        for factor in sizes.growth:
            n = factor * sizes.growth_patterns
            with tempfile.TemporaryDirectory() as folder:
                _prepare(stage, n, sizes.growth_dimension, Path(folder))
                points.append(_in_own_process(stage, n, sizes.growth_dimension, folder))
        yield {
            "part": "growth",
            "case": stage,
            "points": points,
            "memory_ratio": points[-1]["peak_mib"] / points[0]["peak_mib"],
            "work_ratio": points[-1]["patterns"] / points[0]["patterns"],
            "time_ratio": points[-1]["seconds"] / points[0]["seconds"],
        }


def _in_own_process(stage: str, patterns: int, dimension: int, folder: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.growth", stage]
    done = subprocess.run(
        [*command, str(patterns), str(dimension), folder], check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout.splitlines()[-1])


def _prepare(stage: str, patterns: int, dimension: int, folder: Path) -> None:
    """Write what the stage reads."""
    if stage == "simulation":
        return
    write_noise(ScanFiles(folder), patterns, _BINNING if stage == "preprocessing" else 1)
    if stage == "decoding":
        latents = np.random.default_rng(0).standard_normal((2, patterns // 2, dimension))
        save_array(ModelScanFiles(folder).latents, latents.astype(np.float32))


def _run(stage: str, number: int, dimension: int, folder: Path) -> float:
    """Run a stage; return its seconds without imports, compilation and loading."""
    files = ScanFiles(folder)
    if stage == "simulation":
        scan = virtual_scan(number)
        ScanMaker(scan).chunk(0)
        start = time.perf_counter()
        simulate(scan, files.raw, files.truth)
        return time.perf_counter() - start
    patterns, mask = open_patterns(files.raw), np.ones((120, 120), bool)
    if stage == "preprocessing":
        start = time.perf_counter()
        preprocess_noise(files, _BINNING)
    elif stage == "indexing":
        scan, settings = FileScan(path=""), Indexing()
        index_patterns(patterns[:, :2], mask, scan, settings, scan.pattern_centre)
        start = time.perf_counter()
        index_patterns(patterns, mask, scan, settings, scan.pattern_centre)
    else:
        model = KikuchiVAE(dimension).to(device(), memory_format=torch.channels_last).eval()
        outputs = ModelScanFiles(folder)
        start = time.perf_counter()
        if stage == "encoding":
            encode_map(model, patterns, "auto", outputs.latents)
        else:
            latents = np.load(outputs.latents, mmap_mode="r")
            decode_map(model, latents, patterns, mask, outputs, 1.0, "auto")
    return time.perf_counter() - start


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stage")
    parser.add_argument("patterns", type=int)
    parser.add_argument("dimension", type=int)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    imported = peak_memory_bytes() / 2**20
    seconds = _run(asked.stage, asked.patterns, asked.dimension, asked.folder)
    point = {
        "patterns": asked.patterns,
        "seconds": seconds,
        "imported_mib": imported,  # before any work
        "peak_mib": peak_memory_bytes() / 2**20,
    }
    print(json.dumps(point))


if __name__ == "__main__":
    _main()
