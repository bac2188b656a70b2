"""Does decoding help indexing? Hough beside pattern matching, with and without decoding.

    python -m kikuhelpers virtual 03_indexing.am 03_indexing.wrought
    python -m docs.refinement

Points of two virtual maps, whose orientation is known, are indexed by their Hough bands, refined by
kikuchipy from there, and found in a dictionary and refined: each as preprocessed and as the
archived 64-D VAE decodes them. The master pattern is the one that the virtual microscope draws
from, without its blur, and each point has its own pattern centre in the refinement: pattern
matching is as good here as it can be. For Hough and the dictionary one centre serves each map. One
line per case goes to docs/refinement.csv.
"""

from dataclasses import replace
from pathlib import Path

import kikuhelpers  # isort: skip  # noqa: F401  (numba compiles kikuchipy as it says: first)
import kikuchipy as kp
import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap, PhaseList
from orix.quaternion import Rotation
from orix.sampling import get_sample_fundamental

from kikuhelpers.indexing.hough import Detector, index_patterns
from kikuhelpers.indexing.orientation_maps import disorientation_deg
from kikuhelpers.latents.coding import decode, encode, load_model
from kikuhelpers.patterns.up2 import to_counts
from kikuhelpers.runs.files import save_csv
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.runs.results import Results
from kikuhelpers.scans.virtual.master_patterns import MASTER_PATTERNS
from kikuhelpers.study import PREPROCESSED, load_study
from kikuhelpers.study.specimen import PHASES

_STUDY, _SCANS, _MODEL, _SEED = "virtual", ("am", "wrought"), "vae-64", 1
_POINTS, _FEW = (10, 20), 5  # drawn at random; the dictionary has the first rows of them
_DICTIONARY_DEG, _ENERGY_KEV, _BINNING = 4.0, 20.0, 2
_TRUST_DEG = [3, 3, 3]  # of the refinement, about each axis
_RIGHT_DEG = 5.0  # found at all, if not precisely
_QUANTILES = (0.1, 0.5, 0.9)


class Matching:
    """Pattern matching of patterns (rows, columns, height, width) with a phase's own master.

    ``centres`` (points, 3) are those of the points, ``detector`` has one.
    """

    def __init__(self, phase, detector, centres, mask):
        with np.load(MASTER_PATTERNS / "Ni.npz", allow_pickle=False) as stored:
            upper = stored["upper"].astype(np.float32)
        of = {"projection": "lambert", "hemisphere": "upper", "energy": _ENERGY_KEV}
        self.master = kp.signals.EBSDMasterPattern(upper, phase=phase, **of)
        self.detector, self.centres, self.mask = detector.deepcopy(), centres, mask
        self.small = detector.deepcopy()
        self.small.shape = tuple(n // _BINNING for n in mask.shape)
        some = get_sample_fundamental(_DICTIONARY_DEG, point_group=phase.point_group)
        self.dictionary = self.master.get_patterns(some, self.small, _ENERGY_KEV, compute=True)

    def refined(self, patterns, rotations):
        """Rotations (points,) that others become where the patterns fit best."""
        signal = kp.signals.EBSD(patterns.astype(np.float32))
        row, column = (axis.ravel() for axis in np.indices(patterns.shape[:2]))
        named = PhaseList(self.master.phase)
        self.detector.pc = self.centres[: len(row)].reshape(*patterns.shape[:2], 3)
        xmap = CrystalMap(rotations, x=column, y=row, phase_list=named)
        how = {"energy": _ENERGY_KEV, "signal_mask": ~self.mask, "trust_region": _TRUST_DEG}
        return signal.refine_orientation(xmap, self.detector, self.master, **how).rotations

    def found(self, patterns):
        """Rotations (points,) of the most alike patterns of the dictionary."""
        height, width = self.small.shape
        tiles = (*patterns.shape[:2], height, _BINNING, width, _BINNING)
        signal = kp.signals.EBSD(patterns.reshape(tiles).mean((3, 5)).astype(np.float32))
        outside = ~self.mask.reshape(tiles[2:]).all((1, 3))
        xmap = signal.dictionary_indexing(self.dictionary, keep_n=1, signal_mask=outside)
        return Rotation(xmap.rotations.data.reshape(-1, 4))


def cases(results: Results, scan: str):
    """Yield patterns, way, and the angles to the truth in degrees of one map's points."""
    xmap, opened = results.orientations(PREPROCESSED, scan), results.scan(scan)
    mask, truth = opened.mask, opened.truth
    matrix = np.flatnonzero(truth["phase"].ravel() == PHASES.index("Ni"))
    points = np.sort(np.random.default_rng(_SEED).choice(matrix, np.prod(_POINTS), replace=False))
    flat = results.patterns(PREPROCESSED, scan).reshape(-1, *mask.shape)
    patterns = np.array(flat[points]).reshape(*_POINTS, *mask.shape)
    wanted = Rotation(truth["rotation"].reshape(-1, 4)[points])
    network = load_model(results, _MODEL)
    latents = encode(network, patterns, "float32").reshape(len(points), -1)
    decoded = to_counts(decode(network, latents, mask, "float32")).reshape(patterns.shape)
    detector = Detector(tuple(opened.pattern_centre["pattern_centre"]))
    screen_um = results.study.scan(scan).data.microscope.screen_width_um
    moving = replace(detector, screen_um=screen_um)
    centres = moving.centres(mask.shape, xmap.shape, results.step_um(scan))[points]
    matching = Matching(xmap.phases[0], detector.camera(mask.shape), centres, mask)
    group = matching.master.phase.point_group
    for kind, images in ((PREPROCESSED, patterns), (f"decoded by {_MODEL}", decoded)):
        settings = results.study.indexing_of(scan)
        hough = index_patterns(images, mask, detector, settings, 1.0).rotations
        best = matching.found(images[:_FEW])
        ways = {"Hough": hough, "Hough, refined": matching.refined(images, hough)}
        ways["dictionary, refined"] = matching.refined(images[:_FEW], best)
        for way, rotations in ways.items():
            n = rotations.size
            yield kind, way, disorientation_deg(rotations, wanted[:n], group)


def main() -> None:
    """Index the points of every map in each way."""
    results, rows = Results(load_study(_STUDY), archive=True), []
    for scan in _SCANS:
        for kind, way, off in cases(results, scan):
            right = off[off < _RIGHT_DEG]
            row = {"scan": scan, "patterns": kind, "way": way, "points": len(off)}
            row |= {f"within {_RIGHT_DEG:g} deg, %": 100 * len(right) / len(off)}
            row |= {f"off deg, {q:.0%}": np.quantile(off, q) for q in _QUANTILES}
            rows.append(row | {"commit": git_commit()})
    save_csv(pd.DataFrame(rows), Path(__file__).with_name("refinement.csv"), digits=3)


if __name__ == "__main__":
    main()
