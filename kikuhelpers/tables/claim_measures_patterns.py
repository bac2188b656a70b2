"""Measures of claims that look at patterns: measured, decoded, drawn at random, between two."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from kikuhelpers.indexing.hough import index_patterns
from kikuhelpers.indexing.pattern_centre import detector_of
from kikuhelpers.latents.coding import decode, load_model
from kikuhelpers.latents.features import standardised_in_grains
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.up2 import to_counts, to_intensity
from kikuhelpers.runs.results import MissingResultError
from kikuhelpers.study import PREPROCESSED, roles
from kikuhelpers.tables.evidence import Evidence, Found, Untestable, drawn, found

_MOST, _DECODED = 300, 150  # patterns that are looked at; that are decoded for it
_APART, _FEWEST = 2, 20  # points between the two of a pair; in grains of a map
_WALL = 1.5  # spreads of the density above its crystal's mean, that a wall has at least
_NEAR_PX, _SMOOTH_PX = 3, 10.0
_FIT_DEG = 1.0


def _sample(e: Evidence, scan: str) -> tuple[View, np.ndarray, np.ndarray, int]:
    """A view, some of its points (n, 2), the grain of each, numbered, and how many grains."""
    view = View.whole(e.results, scan)
    grains = view.grains()
    points = np.argwhere(grains >= 0)
    if len(points) < _FEWEST:
        raise Untestable(f"a map with {_FEWEST} points in grains")
    points = points[:: max(1, len(points) // _MOST)]
    grain = np.unique(grains[tuple(points.T)], return_inverse=True)[1]
    return view, points, grain, grain.max() + 1


def _patterns(e: Evidence, kind: str, view: View, points: np.ndarray) -> np.ndarray:
    """Patterns (n, pixels inside the screen) at points (n, 2) of a map."""
    patterns = e.results.patterns(kind, view.scan)
    return to_intensity(np.stack([patterns[r, c] for r, c in points]))[:, view.mask]


def across_walls(e: Evidence, role: str) -> Found:
    """Difference of two patterns with a wall under one, over that of two of one interior."""
    view = View.whole(e.results, roles.scan_of(e.study, role))
    crystals = view.truth("grain") + 1j * view.truth("twin")
    crystals = np.unique(crystals, return_inverse=True)[1].reshape(view.shape)
    crystals = np.where(view.truth("phase") == 0, crystals, -1)
    density = standardised_in_grains(np.log(view.truth("density")), crystals)
    contrast = standardised_in_grains(view.property_map("std_counts"), crystals)
    if contrast[density > _WALL].mean() > contrast[density < 0].mean() - 0.2:
        raise Untestable("walls that lower the contrast of their patterns")
    one, other = (slice(None), slice(_APART, None)), (slice(None), slice(None, -_APART))
    same = (crystals[one] == crystals[other]) & (crystals[other] >= 0)
    parts, grain = [], np.unique(crystals, return_inverse=True)[1].reshape(view.shape)[other]
    for low, high in ((_WALL, np.inf), (-np.inf, 0)):
        pairs = np.argwhere(
            same & (density[one] > low) & (density[one] <= high) & (density[other] < 0)
        )
        pairs = pairs[:: max(1, len(pairs) // _MOST)]
        apart = pairs + np.array([0, _APART]), pairs
        a, b = (_patterns(e, PREPROCESSED, view, points) for points in apart)
        parts.append((((a - b) ** 2).mean(axis=1), grain[tuple(pairs.T)]))
    times = drawn(grain.max() + 1)
    means = []
    for squares, units in parts:
        sums, counts = (np.bincount(units, w, grain.max() + 1) for w in (squares, squares * 0 + 1))
        with np.errstate(invalid="ignore"):
            means.append(times @ sums / (times @ counts))
    count = len(np.unique(parts[0][1]))
    return found(np.sqrt(means[0] / means[1]), 1.0, count, "grains", [view.scan])


def residual_correlation(e: Evidence) -> Found:
    """Correlation of what the largest VAE leaves of a pattern with itself, a few pixels away."""
    view, points, grain, count = _sample(e, e.study.decoded_scans[0])
    wanted, shares = _patterns(e, PREPROCESSED, view, points), []
    for name in ("largest", "smallest"):
        left = np.zeros((len(points), *view.mask.shape), np.float32)
        left[:, view.mask] = wanted - _patterns(e, e.model(name), view, points)
        both = view.mask[:, _NEAR_PX:] & view.mask[:, :-_NEAR_PX]
        one, two = left[..., _NEAR_PX:][:, both], left[..., :-_NEAR_PX][:, both]
        sums = [np.bincount(grain, (a * b).sum(axis=1)) for a, b in ((one, two), (one, one))]
        shares.append(np.divide(*(drawn(count) @ part for part in sums)))
    return found(*shares, count, "grains", [view.scan])


def gain_ratio(e: Evidence) -> Found:
    """Change of decoded patterns from the smallest VAE to the next, over that of the last step."""
    vaes = roles.vaes(e.study)
    if len(vaes) < 4:
        raise Untestable("VAEs of four dimensions")
    view, points, grain, count = _sample(e, e.study.decoded_scans[0])
    changes = []
    for pair in (vaes[:2], vaes[-2:]):
        one, two = (_patterns(e, name, view, points) for name in pair)
        changes.append(drawn(count) @ np.bincount(grain, ((one - two) ** 2).mean(axis=1)))
    return found(np.sqrt(changes[0] / changes[1]), 1.0, count, "grains", [view.scan])


def _indexed(e: Evidence, view: View, patterns: np.ndarray):
    """The orientation map of patterns (n, height, width), as if the camera had taken them."""
    card, centre = (getattr(e.results.scan(view.scan), n) for n in ("card", "pattern_centre"))
    detector, _ = detector_of(e.study.scan(view.scan), card)
    detector = replace(detector, pattern_centre=tuple(centre["pattern_centre"]), screen_um=np.inf)
    indexing = e.study.indexing_of(view.scan, card.get("file", {}).get("phases"))
    counts = to_counts(patterns).reshape(2, -1, *patterns.shape[1:])  # a map has two axes
    return index_patterns(counts, view.mask, detector, indexing, 1.0)


def _network(e: Evidence):
    """The largest conventional VAE whose weights are there, and its name."""
    for name in reversed(roles.vaes(e.study)):
        try:
            return load_model(e.results, name), name
        except MissingResultError:
            continue
    raise Untestable("the weights of a VAE")


def random_decodes(e: Evidence, number: str) -> Found:
    """Of decoded random latents: per cent that index as decoded patterns do, or their background.

    The latter is the distance of the smooth part to the nearest measured one, over that of measured
    ones to those of other grains. Baselines: decoded patterns themselves; the mean background.
    """
    network, name = _network(e)
    view, points, grain, _ = _sample(e, roles.decoded_scan(e.study))
    noise = np.random.default_rng(e.study.seed).standard_normal((_DECODED, network.latent_dim))
    random = decode(network, noise.astype(np.float32), view.mask, e.study.training.precision)
    if number == "background":
        real = np.full((len(points), *view.mask.shape), -1, np.float32)
        real[:, view.mask] = _patterns(e, PREPROCESSED, view, points)
        sets = random, real, real.mean(axis=0, keepdims=True)
        small, inside = (slice(None), *[slice(None, None, 2)] * 2), view.mask[::2, ::2]
        sigma = 0, _SMOOTH_PX / 2, _SMOOTH_PX / 2  # on every second pixel
        smooth = [gaussian_filter(of[small], sigma)[:, inside] for of in sets]
        own = cdist(smooth[1], smooth[1])
        own = np.where(grain[:, np.newaxis] == grain, np.inf, own).min(axis=1)
        off, mean = (cdist(of, smooth[1]).min(axis=1) / np.median(own) for of in smooth[::2])
        some = [np.median(np.repeat(off, times)) for times in drawn(_DECODED).astype(int)]
        return found(some, mean[0], _DECODED, "random latents", [view.scan])
    points = points[::2][: len(points) // 4 * 2]  # an even number, for a map of two rows
    latents = np.array([view.latents(name)[r, c] for r, c in points], np.float32)
    real = _indexed(e, view, decode(network, latents, view.mask, e.study.training.precision))
    shares = []
    for xmap in (_indexed(e, view, random), real):
        enough = xmap.prop["nmatch"] >= np.median(real.prop["nmatch"])
        index = enough & (xmap.prop["fit"] < _FIT_DEG)
        shares.append(100 * drawn(len(index)) @ index / len(index))
    return found(*shares, _DECODED, "random latents", [view.scan])


def interpolated(e: Evidence, role: str) -> Found:
    """Per cent of decoded middles of two latents of different grains that index as their ends do.

    The baseline is the mean of the two decoded patterns.
    """
    network, name = _network(e)
    view, points, grain, count = _sample(e, roles.scan_of(e.study, role))
    rng = np.random.default_rng(e.study.seed)
    ends = rng.integers(0, len(points), (2, 4 * _DECODED))
    ends = ends[:, grain[ends[0]] != grain[ends[1]]][:, :_DECODED]
    ends = ends[:, : ends.shape[1] // 2 * 2]
    if not ends.size:
        raise Untestable("a map with two grains")
    latents = np.array([view.latents(name)[r, c] for r, c in points], np.float32)
    some = [latents[ends[0]], latents[ends[1]], (latents[ends[0]] + latents[ends[1]]) / 2]
    first, last, middle = (decode(network, z, view.mask, e.study.training.precision) for z in some)
    maps = [_indexed(e, view, patterns) for patterns in (first, middle, (first + last) / 2)]
    least = np.quantile(maps[0].prop["nmatch"], 0.1)
    hits = [np.bincount(grain[ends[0]], m.prop["nmatch"] >= least, count) for m in maps[1:]]
    points_of = drawn(count) @ np.bincount(grain[ends[0]], minlength=count)
    return found(
        *(100 * (drawn(count) @ h) / points_of for h in hits), count, "grains", [view.scan]
    )
