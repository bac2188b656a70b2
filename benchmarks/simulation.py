"""Virtual scans against kikuchipy's projection alone."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import kikuchipy
import numpy as np
from kikuchipy.detectors import EBSDDetector
from numpy.random import Generator
from orix.quaternion import Rotation

from benchmarks.settings import Sizes
from benchmarks.timing import compare
from kikuhelpers.scans.virtual.fields_and_rotations import random_rotations
from kikuhelpers.scans.virtual.microscope import detector_of
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.study.scans import VirtualData

MAP_ROWS, PATTERN_PX = 2, (120, 120)


def virtual_scan(patterns: int, alloy: str = "wrought") -> VirtualData:
    """Return the settings of a virtual scan of so many patterns."""
    map_shape = (MAP_ROWS, patterns // MAP_ROWS)
    return VirtualData(source="virtual", specimen={"alloy": alloy}, map_shape=map_shape)


def projection(patterns: int, detector: EBSDDetector, rng: Generator) -> Callable:
    """Return kikuchipy's projection of nickel patterns of random orientations, to be called."""
    master = kikuchipy.data.nickel_ebsd_master_pattern_small(projection="lambert", energy=20)
    rotations = Rotation(random_rotations(patterns, rng).reshape(MAP_ROWS, -1, 4))
    return partial(master.get_patterns, rotations, detector, compute=True, show_progressbar=False)


def simulation(sizes: Sizes) -> Iterator[dict]:
    """Measure virtual scans from specimen to UP2; kikuchipy projects one pattern per point."""
    patterns = sizes.simulated_patterns
    detector = detector_of(virtual_scan(patterns).microscope).camera(PATTERN_PX)
    plain = projection(patterns, detector, np.random.default_rng(0))
    for alloy in ("wrought", "am"):
        jobs = {"ours": partial(_simulate_anew, virtual_scan(patterns, alloy)), "plain": plain}
        yield {
            "part": "simulation",
            "case": f"virtual {alloy} scan",
            "against": "kikuchipy's projection alone",
            **compare(jobs, patterns, sizes.rounds, 0),
        }


def _simulate_anew(scan: VirtualData) -> None:
    with tempfile.TemporaryDirectory() as folder:
        simulate(scan, Path(folder) / "scan.up2", Path(folder) / "truth.h5")
