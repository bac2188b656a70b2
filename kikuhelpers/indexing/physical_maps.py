"""Everything Table 1 and the physical maps need of a map of patterns, in one CrystalMap."""

from dataclasses import asdict

import numpy as np
from orix.crystal_map import CrystalMap

from kikuhelpers.indexing.hough import calibrate_pattern_centre, index_patterns
from kikuhelpers.indexing.orientation_maps import grod_deg, kam_deg, label_grains
from kikuhelpers.indexing.quality import noise_level, sharpness
from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.runs.files import load_json, require, save_json
from kikuhelpers.study.layout import PREPROCESSED, Layout
from kikuhelpers.study.study import Indexing, Scan, Study


def pattern_centre_of(study: Study, scan: str, model: str) -> dict:
    """Return a scan's calibrated pattern centre as a dictionary with its fit in degrees.

    It is calibrated on the preprocessed patterns and used for those of every model, so
    that all are indexed alike.
    """
    files = Layout(study).scan(scan)
    if model == PREPROCESSED:
        patterns, mask = open_patterns(files.preprocessed), np.load(files.mask)
        found = calibrate_pattern_centre(
            patterns, mask, study.scan(scan), study.indexing, study.seed
        )
        save_json(files.pattern_centre, asdict(found))
    maker = 'notebook 06_reindexing with model = "preprocessed"'
    return load_json(require(files.pattern_centre, maker))


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
        From :func:`pattern_centre_of`.

    Returns
    -------
    orix.crystal_map.CrystalMap
        With the properties of :func:`~kikuhelpers.indexing.hough.index_patterns` and ``grain``
        (-1 for none), ``grod_deg``, ``kam_deg``, ``sharpness`` and ``noise``.
    """
    xmap = index_patterns(patterns, mask, scan, settings, tuple(centre["pattern_centre"]))
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
