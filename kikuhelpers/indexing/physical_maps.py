"""Everything Table 1 and the physical maps need of a map of patterns, in one CrystalMap."""

from dataclasses import asdict

import numpy as np
from orix.crystal_map import CrystalMap

from kikuhelpers.indexing.hough import calibrate_pattern_centre, index_patterns
from kikuhelpers.indexing.orientation_maps import grod_deg, kam_deg, label_grains
from kikuhelpers.indexing.quality import noise_level, sharpness
from kikuhelpers.runs.files import save_json
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.study.scans import Scan
from kikuhelpers.study.study import Indexing


def calibrate(results: Results, scan: str) -> dict:
    """Calibrate a scan's pattern centre on its preprocessed patterns, and write it.

    It is used for the patterns of every model too, so that all are indexed alike.

    Returns
    -------
    dict
        Of :class:`~kikuhelpers.indexing.hough.Calibration`.
    """
    study, patterns = results.study, results.patterns(PREPROCESSED, scan)
    settings = study.scan(scan).indexing, study.indexing
    found = calibrate_pattern_centre(patterns, results.mask(scan), *settings, study.seed)
    save_json(results.layout.scan(scan).pattern_centre, asdict(found))
    return asdict(found)


def index_and_measure(
    patterns: np.ndarray, mask: np.ndarray, scan: Scan, settings: Indexing, centre: dict
) -> CrystalMap:
    """Index a map and add its grains, GROD, KAM, sharpness and noise.

    Parameters
    ----------
    patterns
        (rows, columns, height, width) uint16 counts.
    mask
        (height, width), True inside the screen.
    scan, settings
        Settings of the scan and of the indexing.
    centre
        From :func:`calibrate`.

    Returns
    -------
    orix.crystal_map.CrystalMap
        With the properties of :func:`~kikuhelpers.indexing.hough.index_patterns` and ``grain``
        (-1 for none), ``grod_deg``, ``kam_deg``, ``sharpness`` and ``noise``.
    """
    found = tuple(centre["pattern_centre"])
    xmap = index_patterns(patterns, mask, scan.indexing, settings, found, scan.data.step_um)
    grains = label_grains(xmap, settings.grain_deg)
    properties = {
        "grain": grains,
        "grod_deg": grod_deg(xmap, grains),
        "kam_deg": kam_deg(xmap, settings.kam_order, settings.kam_limit_deg),
        "sharpness": sharpness(patterns, mask),
        "noise": noise_level(patterns, mask),
    }
    for name, values in properties.items():
        xmap.prop[name] = values.ravel()
    return xmap
