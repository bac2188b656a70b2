"""Virtual scans against kikuchipy's projection alone."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import kikuchipy
import numpy as np
from orix.quaternion import Rotation

from benchmarks.settings import Sizes
from benchmarks.timing import compare
from kikuhelpers.scans.virtual.fields_and_rotations import random_rotations
from kikuhelpers.scans.virtual.microscope import detector_of
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.study.scans import VirtualData

_MAP_ROWS = 2


def virtual_scan(patterns: int, alloy: str = "wrought") -> VirtualData:
    """Return the settings of a virtual scan of so many patterns."""
    settings = {
        "source": "virtual",
        "specimen": {"alloy": alloy},
        "map_shape": (_MAP_ROWS, patterns // _MAP_ROWS),
    }
    return VirtualData.model_validate(settings)


def simulation(sizes: Sizes) -> Iterator[dict]:
    """Measure virtual scans from specimen to UP2; kikuchipy projects one pattern per point."""
    master = kikuchipy.data.nickel_ebsd_master_pattern_small(projection="lambert", energy=20)
    rotations = random_rotations(sizes.simulated_patterns, np.random.default_rng(0))
    rotations = Rotation(rotations.reshape(_MAP_ROWS, -1, 4))

    def projection():
        master.get_patterns(
            rotations,
            detector_of(virtual_scan(sizes.simulated_patterns)),
            dtype_out="float32",
            compute=True,
            show_progressbar=False,
        )

    for alloy in ("wrought", "am"):
        scan = virtual_scan(sizes.simulated_patterns, alloy)
        jobs = {"ours": partial(_simulate_anew, scan), "plain": projection}
        yield {
            "part": "simulation",
            "case": f"virtual {alloy} scan",
            "against": "kikuchipy's projection alone",
            **compare(jobs, sizes.simulated_patterns, sizes.rounds, 0),
        }


def _simulate_anew(scan: VirtualData) -> None:
    with tempfile.TemporaryDirectory() as folder:
        simulate(scan, Path(folder) / "scan.up2", Path(folder) / "truth.h5")
