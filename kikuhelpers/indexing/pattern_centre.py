"""The pattern centre: from the study or the file, in any convention, then calibrated.

Where the stated one does not fit, a grid of others is searched by the confidence index: far from
the right centre no local optimum leads back.
"""

from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
from kikuchipy.detectors import EBSDDetector
from pyebsdindex import pcopt

from kikuhelpers.indexing.confidence import confidence_index
from kikuhelpers.indexing.hough import NO_FIT_DEG, band_indexer, solve
from kikuhelpers.indexing.phases import library_of
from kikuhelpers.patterns.geometry import Detector, geometry_of
from kikuhelpers.patterns.masking import fill_outside, is_empty
from kikuhelpers.study import StudyError
from kikuhelpers.study.scans import PatternCentre, Scan, plausible
from kikuhelpers.study.study import Indexing

NOBODY = "nobody: what is usual"  # who said a value
SIGNIFICANT = 3.0  # standard errors that a calibrated pattern centre must gain
# Mean confidence of a few patterns below which a centre is taken for wrong: right ones reach 0.4
# and more, wrong ones 0.02 (measured and virtual Ni); see tests/test_pattern_centre.py.
FITS = 0.1
# The grid, so fine that half a step along every axis leaves half of the confidence.
_GRID = (np.arange(0.3, 0.71, 0.05), np.arange(0.0, 1.01, 0.05), np.arange(0.4, 1.11, 0.1))
_GRID_PATTERNS = 30
_MIDDLE = 0.5  # of the pattern's height; the beam's foot lies above it in a usual set-up
_A_POOR_GUESS = 0.2  # of the detector, per coordinate: how far from a stated centre one is taken


@dataclass(frozen=True)
class Calibration:
    """A calibrated pattern centre, in Bruker's convention, and what it gained."""

    pattern_centre: tuple[float, float, float]  # fractions of the detector, from the top left
    start: tuple[float, float, float]
    fit_before_deg: float  # median over the patterns; 180 for one without solution
    fit_after_deg: float
    patterns: int
    remark: str = ""  # where the search found another centre than the stated one


def detector_of(scan: Scan, card: dict) -> tuple[Detector, dict[str, str]]:
    """Complete the detector's geometry: what the study leaves open the scan's file may say.

    Of the scan's card (:func:`kikuhelpers.scans.readers.convert_scan`) ``pattern_shape`` (height,
    width) of the camera is read, and under ``file`` what the scan's file says.

    Returns
    -------
    detector : Detector
        Its pattern centre and width are those of the square that the network sees.
    sources : dict
        Of each value, whether the study, the file or nobody said it.
    """
    found, sources = {}, {}
    for name, usual in asdict(Detector()).items():
        own, of_file = getattr(scan.indexing, name), (card.get("file") or {}).get(name)
        said = (own, "the study"), (of_file, "the scan's file"), (usual, NOBODY)
        found[name], sources[name] = next(pair for pair in said if pair[0] is not None)
    centre = found["pattern_centre"]
    if isinstance(centre, PatternCentre):
        ((convention, values),) = centre.given.items()
        how = {"px_size": centre.pixel_um or 1.0, "convention": convention}
        camera = EBSDDetector(card["pattern_shape"], pc=values, **how)
        try:
            centre = plausible(camera.pc[0].tolist(), advice="check its three numbers and pixel_um")
        except ValueError as error:
            raise StudyError(f"indexing.pattern_centre.{convention}: {error}.") from None
    square = geometry_of(card["pattern_shape"], scan.preprocessing)
    found["pattern_centre"] = square.to_square(tuple(centre))
    found["screen_um"] *= square.side / square.binned[1]
    return Detector(**found), sources


def calibrate_pattern_centre(
    patterns: np.ndarray,
    mask: np.ndarray,
    detector: Detector,
    settings: Indexing,
    seed: int,
    stated: bool = True,
) -> Calibration:
    """Find the pattern centre that indexes random patterns of a scan best.

    Nelder-Mead from the scan's first guess (PyEBSDIndex's ``pcopt``), one centre for the map,
    which is the middle's of one that moves. The guess is kept where the optimum does not match
    better by more than chance. A guess that does not fit at all is replaced by the best of a grid,
    where that one fits: one near a stated guess, any one where nobody ``stated`` a guess.

    Patterns, mask, detector and settings, and the errors, are those of
    :func:`~kikuhelpers.indexing.hough.index_patterns`. The detector's pattern centre is the first
    guess; ``calibration_patterns`` are drawn, or all if there are fewer, and only these are read.
    """
    drawn = fill_outside(draw_patterns(patterns, settings.calibration_patterns, seed), mask)
    start, remark = detector.pattern_centre, ""
    indexer = band_indexer(mask.shape, detector, settings)
    before, confidence = solve(drawn, indexer, settings)
    if confidence.mean() < FITS:
        other, reached = best_of_grid(drawn[:_GRID_PATTERNS], indexer, settings)
        near = np.abs(np.subtract(other, start)).max() <= _A_POOR_GUESS
        if reached > FITS and (near or not stated):
            start = other
        if reached > FITS and not near:
            remark = _remark(other, detector.pattern_centre)
    optimum = tuple(pcopt.optimize(drawn, indexer, PC0=list(start)).tolist())
    mended = replace(detector, pattern_centre=optimum)
    after, _ = solve(drawn, band_indexer(mask.shape, mended, settings), settings)
    # A gain within the noise is none: few orientations leave the centre open, and the optimum
    # then wanders off.
    gain = _cost(before) - _cost(after)
    if not gain.mean() > SIGNIFICANT * gain.std() / np.sqrt(len(drawn)):
        optimum, after = detector.pattern_centre, before
    fits = (float(np.median(found["fit"])) for found in (before, after))
    return Calibration(optimum, detector.pattern_centre, *fits, len(drawn), remark)


def _cost(solutions: np.ndarray) -> np.ndarray:
    """Misfit of each pattern's solution, in degrees.

    A wrong centre can fit its few matched bands well: an unmatched band costs 1 degree, as in
    PyEBSDIndex's own objective. A pattern without solution matches none.
    """
    solved = solutions["fit"] < NO_FIT_DEG
    return np.where(solved, solutions["fit"] - solutions["nmatch"], 0.0)


def _remark(found: tuple[float, float, float], stated: tuple[float, float, float]) -> str:
    x, y, z = (round(value, 2) for value in found)
    remark = f"The bands agree with a pattern centre near [{x}, {y}, {z}]"
    if (y > _MIDDLE) != (stated[1] > _MIDDLE):
        # Of a centrosymmetric crystal a mirrored pattern is the pattern of a mirrored orientation.
        remark += (
            ", on the other side of the middle: the stated one may be in EDAX's or Oxford's "
            "convention (pattern_centre: {edax: [x, y, z]}), or the patterns are upside down "
            "(flip: true of the scan's data)"
        )
    return remark


def draw_patterns(patterns: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return random patterns of a map, (n, height, width), all where there are fewer.

    Empty ones are left out.
    """
    rows, columns = patterns.shape[:2]
    rng, found, missing = np.random.default_rng(seed), [], min(count, rows * columns)
    left = np.arange(rows * columns)
    while missing and len(left):  # again, where empty ones were drawn
        points = np.sort(rng.choice(left, min(missing, len(left)), replace=False))
        drawn = patterns[points // columns, points % columns]
        found.append(drawn[~is_empty(drawn)])
        left, missing = np.setdiff1d(left, points), missing - len(found[-1])
    return np.concatenate(found)


def best_of_grid(
    patterns: np.ndarray, indexer, settings: Indexing
) -> tuple[tuple[float, float, float], float]:
    """Return the centre of highest mean confidence on the grid, and that confidence."""
    bands = indexer.bandDetectPlan.find_bands(patterns)
    plan, valid = indexer.bandDetectPlan.radonPlan, bands["valid"] > 0
    libraries = [library_of(phase) for phase in settings.phases]

    def confidence(centre):
        normals = plan.radon2pole(bands, PC=centre, vendor=indexer.vendor)
        return max(confidence_index(normals, valid, library).mean() for library in libraries)

    best = max((tuple(map(float, centre)) for centre in product(*_GRID)), key=confidence)
    return best, float(confidence(best))
