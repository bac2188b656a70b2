"""A verdict on an indexing: is what it found more than noise, and do the bands agree?

The share of points that are indexed, and the fit, do not tell: three bands of any nine agree with
some orientation within a degree. The confidence index and the number of matched bands tell, and
the same patterns with shuffled pixels show what noise gives.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from orix.crystal_map import CrystalMap

from kikuhelpers.indexing.hough import Detector, band_indexer, solve
from kikuhelpers.indexing.orientation_maps import collected
from kikuhelpers.indexing.pattern_centre import draw_patterns
from kikuhelpers.patterns.masking import fill_outside
from kikuhelpers.study.study import Indexing

# Thresholds, set on the measured crop and two virtual maps and tried on other phases and errors
# (docs/verdicts.py): right ones have a median confidence of 0.3 to 0.7 and 7 to 9 matched bands
# of 9; wrong centres and noise at most 0.02 and 3 to 4 bands.
SOUND_CONFIDENCE, WRONG_CONFIDENCE = 0.2, 0.06
SOUND_SHARE_OF_BANDS = 0.6
# Peaks of the Hough transform over those of shuffled pixels: bands give 2 and more.
PEAKS_OF_BANDS = 1.2
_PATTERNS = 200  # shuffled; their mean confidence is then known to 0.002


@dataclass(frozen=True)
class Verdict:
    """What an indexing is worth."""

    kind: Literal["sound", "doubtful", "disagreement", "noise"]
    sentence: str
    confidence: float  # median over the map
    matched_bands: float
    confidence_of_noise: float  # mean over patterns with shuffled pixels
    matched_bands_of_noise: float
    peak_ratio: float  # median height of the Hough peaks over that of noise


def judge(
    xmap: CrystalMap,
    patterns: np.ndarray,
    mask: np.ndarray,
    detector: Detector,
    settings: Indexing,
    seed: int,
    remark: str = "",
) -> Verdict:
    """Judge an indexed map by its confidence, its matched bands and its Hough peaks.

    The map is what :func:`kikuhelpers.indexing.hough.index_patterns` makes of these patterns, mask,
    detector and settings. The ``seed`` is of the draw and of the shuffling. The ``remark`` is what
    the calibration found: it is said where the bands do not agree.
    """
    drawn = fill_outside(draw_patterns(patterns, _PATTERNS, seed), mask)
    drawn[:, mask] = np.random.default_rng(seed).permuted(drawn[:, mask], axis=1)
    indexer = band_indexer(mask.shape, detector, settings)
    noise, confidence_of_noise = solve(fill_outside(drawn, mask), indexer, settings)
    there = collected(xmap)
    medians = (np.median(xmap.prop[name][there]) for name in ("ci", "nmatch", "pq"))
    confidence, bands, peaks = map(float, medians)
    ratio = peaks / float(np.median(noise["pq"]))
    found = f"median confidence {confidence:.2f}, {bands:.0f} of {settings.bands} bands"
    if confidence >= SOUND_CONFIDENCE and bands >= SOUND_SHARE_OF_BANDS * settings.bands:
        kind, what = "sound", "The orientations can be trusted"
    elif ratio < PEAKS_OF_BANDS:
        kind, what = "noise", "The patterns show no bands, so the orientations are noise"
    elif confidence < WRONG_CONFIDENCE:
        kind = "disagreement"
        what = "The orientations are nonsense: the patterns show bands, but these do not agree; "
        what += "probably the phase or the pattern centre is wrong"
    else:
        kind = "doubtful"
        what = "The orientations are doubtful: few bands agree; look at phase and pattern centre"
    sentence = f"{what} ({found})."
    if remark and kind != "sound":
        sentence += f" {remark}."
    of_noise = float(confidence_of_noise.mean()), float(noise["nmatch"].mean())
    return Verdict(kind, sentence, confidence, bands, *of_noise, ratio)
