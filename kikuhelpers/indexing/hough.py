"""Hough indexing with PyEBSDIndex: orientations and their files.

Rowenhorst, Callahan & Anes, J. Appl. Cryst. 57 (2024) 3, doi:10.1107/S1600576723010221, in
the conventions of kikuchipy, which converts its results. The paper's settings (EDAX OIM):

======================  ==============================================================
theta step, 1 degree    ``nTheta`` = 180 / step
rho fraction, 85 %      ``rhoMaskFrac`` = (1 - fraction) / 2, since PyEBSDIndex leaves
                        that share of the rho bins out at *each* end
peak distance, 10       no counterpart: a peak is the largest within 5 bins on either side,
                        fixed by the kernel (``peakPad`` = 11)
peak magnitude, 5       no counterpart: the strongest ``nBands`` peaks, however weak
======================  ==============================================================

The kernel's widths (``rSigma``, ``tSigma``) stay at the defaults of PyEBSDIndex.
"""

from pathlib import Path

import numpy as np
import orix.io
from kikuchipy.indexing import xmap_from_hough_indexing_data
from orix.crystal_map import CrystalMap

from kikuhelpers.indexing.confidence import confidence_index
from kikuhelpers.indexing.hough_kernels import use_fast_kernels
from kikuhelpers.indexing.orientation_maps import NOT_INDEXED, grod_deg, kam_deg, label_grains
from kikuhelpers.indexing.phases import library_of, orix_phases, reflectors
from kikuhelpers.indexing.quality import noise_level, sharpness
from kikuhelpers.patterns.geometry import Detector
from kikuhelpers.patterns.masking import fill_outside, is_empty
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.runs.compilation import announce_compilation
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import written_aside
from kikuhelpers.runs.results import with_rows_and_columns
from kikuhelpers.study.study import Indexing

# Patterns that PyEBSDIndex transforms at once: 128 stay in the processor's cache and take a
# tenth less time than its default of 528.
_HOUGH_CHUNK = 128
_HEAD_BYTES = 500  # of an .ang file: more than its lines down to the pattern centre
_FEWEST_POINTS = 4  # orix takes the values of fewer for colours
NO_FIT_DEG = 180.0  # PyEBSDIndex's fit of a pattern without solution


def index_patterns(
    patterns: np.ndarray, mask: np.ndarray, detector: Detector, settings: Indexing, step_um: float
) -> CrystalMap:
    """Index every pattern of a map by its Kikuchi bands.

    Parameters
    ----------
    patterns
        (rows, columns, height, width) counts, read some at a time.
    mask
        (height, width), True on the screen.
    detector
        Of the patterns. One pattern centre serves the map, unless ``screen_um`` is known: the
        true one moves with the beam, and a point x off the map's middle is turned by about x /
        (distance of the detector), 0.2 degrees for 50 um at 15 mm (docs/moving_centre.csv).
    settings
        Settings of the indexing.
    step_um
        Step of the map.

    Returns
    -------
    orix.crystal_map.CrystalMap
        (rows, columns), x and y in um; rotations from sample to crystal in kikuchipy's frame;
        the phase by its place among ``settings.phases``, or -1 where there is no solution or
        one of fewer than ``settings.minimum_matched_bands`` bands. Properties: ``pq`` (mean
        height of the Hough peaks), ``cm`` (PyEBSDIndex's own confidence), ``ci`` (see
        :mod:`kikuhelpers.indexing.confidence`), ``fit`` (degrees, 180 for no solution), ``nmatch``.
        Empty patterns are not indexed, and their quality is NaN.

    Raises
    ------
    SentenceError
        A phase is not named, its bands are not known, the mask does not fit, or the map has fewer
        than 4 points.

    Examples
    --------
    >>> noise = np.random.default_rng(0).integers(0, 65536, (2, 3, 60, 60), np.uint16)
    >>> whole = np.ones((60, 60), bool)
    >>> iron = Indexing(phase={"name": "Fe", "space_group": 229, "lattice_nm": 0.287})
    >>> index_patterns(noise, whole, Detector(), iron, step_um=1.0).shape
    (2, 3)
    """
    rows, columns = patterns.shape[:2]
    if rows * columns < _FEWEST_POINTS:
        raise SentenceError(
            f"A map of {rows} x {columns} points is too small for orientations; index at least "
            f"{_FEWEST_POINTS} points."
        )
    indexer = band_indexer(mask.shape, detector, settings)
    flat, found = patterns.reshape(-1, *patterns.shape[2:]), []
    centres = detector.centres(mask.shape, (rows, columns), step_um)
    for _, counts, moved in chunks("indexing", flat, centres):
        indexer.PC = moved
        found.append(solve(fill_outside(counts, mask), indexer, settings))
    best, confidence = (np.concatenate(parts) for parts in zip(*found, strict=True))
    weak = best["nmatch"] < settings.minimum_matched_bands
    best["phase"][weak] = NOT_INDEXED
    best["fit"][weak] = NO_FIT_DEG
    grid = {"navigation_shape": (rows, columns), "step_sizes": (step_um, step_um)}
    phases = orix_phases(settings)
    xmap = xmap_from_hough_indexing_data(best[np.newaxis], phases, scan_unit="um", **grid)
    xmap.prop["ci"] = confidence
    return with_rows_and_columns(xmap)


def index_and_measure(
    patterns: np.ndarray, mask: np.ndarray, detector: Detector, settings: Indexing, step_um: float
) -> CrystalMap:
    """Index a map as :func:`index_patterns` does, and add its grains and further maps.

    The added properties are ``grain`` (-1 for none), ``grod_deg``, ``kam_deg``, ``sharpness`` and
    ``noise``.
    """
    xmap = index_patterns(patterns, mask, detector, settings, step_um)
    grains = label_grains(xmap, settings.grain_deg)
    xmap.prop["grain"] = grains.ravel()
    xmap.prop["grod_deg"] = grod_deg(xmap, grains).ravel()
    xmap.prop["kam_deg"] = kam_deg(xmap, settings.kam_order, settings.kam_limit_deg).ravel()
    xmap.prop["sharpness"] = sharpness(patterns, mask).ravel()
    xmap.prop["noise"] = noise_level(patterns, mask).ravel()
    return xmap


def save_map(path: Path, xmap: CrystalMap, pattern_centre: tuple[float, float, float]) -> None:
    """Write a map as orix HDF5 (``.h5``) and beside it as ``.ang`` for OIM and MTEX.

    The pattern centre is that of the map's middle and a square pattern, in Bruker's convention;
    the .ang file states it in EDAX's. There the image quality is ``pq`` and the confidence index
    ``ci``; a point that is not indexed has the quality 0, the confidence -1 and the fit 180. The
    HDF5 file is renamed to ``path`` last.
    """
    with written_aside(path) as whole, written_aside(path.with_suffix(".ang")) as ang:
        named = {"image_quality_prop": "pq", "confidence_index_prop": "ci"}
        orix.io.save(str(ang), xmap, overwrite=True, **named)
        _state_pattern_centre(ang, pattern_centre)
        orix.io.save(str(whole), xmap, overwrite=True)


def _state_pattern_centre(ang: Path, pattern_centre: tuple[float, float, float]) -> None:
    """Write the centre over the zeros that orix leaves in the head of an .ang file."""
    x, y, z = pattern_centre
    with ang.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        for name, value in (("x", x), ("y", 1 - y), ("z", z)):
            zero = f"{name}-star                 0.000000"
            head = head.replace(zero.encode(), f"{zero[:-8]}{value:8.6f}"[: len(zero)].encode())
        file.seek(0)
        file.write(head)


def band_indexer(shape, detector: Detector, settings: Indexing):
    """Return PyEBSDIndex's indexer of patterns of a shape (height, width)."""
    announce_compilation()
    indexer = detector.camera(shape).get_indexer(
        orix_phases(settings),
        [[list(hkl) for hkl in reflectors(phase)] for phase in settings.phases],
        nTheta=round(180 / settings.theta_step_deg),
        nRho=settings.rho_bins,
        rhoMaskFrac=(1 - settings.rho_fraction) / 2,
        nBands=settings.bands,
        nband_earlyexit=settings.bands + 1,  # no phase goes untried because another one fits
    )
    return use_fast_kernels(indexer)


def solve(patterns, indexer, settings: Indexing):
    """Return PyEBSDIndex's solutions and the confidence index of (n, height, width) patterns.

    The latter is of the phase that PyEBSDIndex chose.
    """
    data, bands, _, _ = indexer.index_pats(patterns, chunksize=_HOUGH_CHUNK)
    plan, best = indexer.bandDetectPlan.radonPlan, data[-1]
    normals = plan.radon2pole(bands, PC=indexer.PC, vendor=indexer.vendor)
    confidence, valid = np.zeros(len(best), np.float32), bands["valid"] > 0
    chosen = np.maximum(best["phase"], 0)  # bands without a solution vote for the first
    for i, phase in enumerate(settings.phases):
        of = chosen == i
        confidence[of] = confidence_index(normals[of], valid[of], library_of(phase))
    empty = is_empty(patterns)
    best["nmatch"][empty] = 0
    for quality in (best["pq"], best["cm"], confidence):
        quality[empty] = np.nan
    return best, confidence
