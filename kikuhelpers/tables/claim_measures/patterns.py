"""Measures of claims that look at patterns: measured, decoded, drawn at random, between two."""

from bisect import bisect_left
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from sklearn.metrics import pairwise_distances

from kikuhelpers.latents.coding import decode, generate, load_model
from kikuhelpers.latents.features import standardised_in_grains
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.preprocessing.preprocess import OUTSIDE
from kikuhelpers.runs.results import MissingResultError
from kikuhelpers.study import PREPROCESSED, roles
from kikuhelpers.tables.evidence import Evidence, Found, Untestable, drawn, found
from kikuhelpers.training.sample import sample_points

_MOST, _DECODED = 300, 150  # patterns that are looked at; that are decoded for it
_APART, _FEWEST = 2, 20  # points between the two of a pair; in grains of a map
_WALL = 1.5  # spreads of the density above its crystal's mean, that a wall has at least
_LOWER = 0.2  # spreads of the contrast, by which walls have less
_SMOOTH_PX, _FIT_DEG = 10.0, 1.0
_OWN = 0.1  # quantile of the matched bands of decoded patterns, that others should reach
_ABOVE_NOISE = 0.95  # quantile of the peaks of noise
_WEBP_EVERY, _WEBP_METHOD, _SHRUNK = 5, 6, (1, 2, 3, 4)  # points; slowest and smallest; factors
_GREY, _BEST = 127.5, 101  # half the range of 8 bits; one above the best quality
_WEBP_CONTAINER = 20  # bytes of RIFF and VP8 headers (RFC 9649), that a file of many has once


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
    view = e.view(role)
    crystals = view.crystals()
    density = standardised_in_grains(np.log(view.truth("density")), crystals)
    contrast = standardised_in_grains(view.property_map("std_counts"), crystals)
    if contrast[density > _WALL].mean() > contrast[density < 0].mean() - _LOWER:
        raise Untestable("walls that lower the contrast of their patterns")
    one, other = (slice(None), slice(_APART, None)), (slice(None), slice(None, -_APART))
    same = (crystals[one] == crystals[other]) & (crystals[other] >= 0)
    same &= density[other] < 0
    means, grain = [], np.unique(crystals, return_inverse=True)[1][other]
    times = drawn(grain.max() + 1)
    for there in (density[one] <= 0, density[one] > _WALL):
        pairs = np.argwhere(same & there)
        pairs = pairs[:: max(1, len(pairs) // _MOST)]
        apart = pairs + np.array([0, _APART]), pairs
        a, b = (_patterns(e, PREPROCESSED, view, points) for points in apart)
        units, squares = grain[tuple(pairs.T)], ((a - b) ** 2).mean(axis=1)
        sums, counts = (times @ np.bincount(units, w, times.shape[1]) for w in (squares, None))
        with np.errstate(invalid="ignore"):  # of a draw without any
            means.append(sums / counts)
    ratio = np.sqrt(means[1] / means[0])  # the last units are those of walls
    return found(ratio, 1.0, len(np.unique(units)), "grains", [view.scan])


def residual_correlation(e: Evidence) -> Found:
    """Correlation of what the largest VAE leaves of a pattern with that of the next in its grain.

    The camera's noise is another in each pattern: what correlates is not noise.
    """
    view, points, grain, count = _sample(e, e.study.decoded_scans[0])
    beside, grains = points + np.array([0, 1]), view.grains()
    inside = beside[:, 1] < view.shape[1]
    inside[inside] = grains[tuple(beside[inside].T)] == grains[tuple(points[inside].T)]
    points, beside, grain, shares = points[inside], beside[inside], grain[inside], []
    for name in ("largest", "smallest"):
        left = []
        for place in (points, beside):
            kinds = (PREPROCESSED, e.model(name))
            left.append(np.subtract(*(_patterns(e, kind, view, place) for kind in kinds)))
        squares = (left[0] ** 2 + left[1] ** 2) / 2
        sums = [np.bincount(grain, v.sum(axis=1), count) for v in (left[0] * left[1], squares)]
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


def _smooth(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The slow part (n, pixels inside the screen) of patterns or their differences, so given."""
    whole = np.zeros((len(values), *mask.shape), np.float32)
    whole[:, mask] = values
    down, right = (gaussian_filter1d(np.eye(n), _SMOOTH_PX, 0).astype("f4") for n in mask.shape)
    slow = np.tensordot(np.tensordot(whole, right, (2, 1)), down, (1, 1))  # faster than a filter
    return slow.transpose(0, 2, 1)[:, mask]


def coded_first(e: Evidence) -> Found:
    """Share of the slow part of patterns that the smallest VAE decodes, less that of the rest.

    Shares of the variance about the mean of what the largest VAE decodes, for camera's noise is of
    the rest alone. The baseline is a PCA of as many components.
    """
    view, points, grain, count = _sample(e, e.study.decoded_scans[0])
    wanted, name = _patterns(e, e.model("largest"), view, points), e.model("smallest")

    def lead(of):
        sums = []
        for part in (wanted - _patterns(e, of, view, points), wanted - wanted.mean(axis=0)):
            slow = _smooth(part, view.mask)
            squares = [(some**2).sum(axis=1) for some in (slow, part - slow)]
            sums.append([drawn(count) @ np.bincount(grain, some) for some in squares])
        return np.subtract(*(1 - np.divide(*sums)))

    pca = e.pca_like(name)
    return found(lead(name), lead(pca) if pca else np.nan, count, "grains", [view.scan])


def gain_place(e: Evidence) -> Found:
    """Gain at the rim over that in the centre from the second VAE to the third, over the first's.

    Rim and centre are halves of the screen's pixels; the gain is of the mean square left.
    """
    names = roles.vaes(e.study)[:3]
    if len(names) < 3:
        raise Untestable("VAEs of three dimensions")
    view, points, grain, count = _sample(e, e.study.decoded_scans[0])
    wanted, gains = _patterns(e, PREPROCESSED, view, points), []
    places = np.argwhere(view.mask)
    radius = np.hypot(*(places - places.mean(axis=0)).T)
    squares = [(wanted - _patterns(e, name, view, points)) ** 2 for name in names]
    for zone in (radius > np.median(radius), radius <= np.median(radius)):
        left = [drawn(count) @ np.bincount(grain, some[:, zone].mean(axis=1)) for some in squares]
        gains.append(-np.diff(left, axis=0))
    rim, centre = gains
    if min(rim[:, 0].min(), centre[:, 0].min()) <= 0:
        raise Untestable("gains of centre and rim in both steps")
    return found(np.divide(*(rim / centre)[::-1]), 1.0, count, "grains", [view.scan])


def bytes_at_equal_distortion(e: Evidence) -> Found:
    """Bytes of WebP that leaves as much of patterns as a VAE, over those of its active latents.

    These take 16 bit each. WebP is tuned: of patterns shrunk by whole factors the fewest bytes,
    without the container. Baseline: the same of a PCA of as many components as dimensions.
    """
    name = e.model("d64")
    view, points, grain, count = _sample(e, e.study.decoded_scans[0])
    points, grain = points[::_WEBP_EVERY], grain[::_WEBP_EVERY]
    wanted = _patterns(e, PREPROCESSED, view, points)
    whole = np.zeros((len(points), *view.mask.shape), np.float32)
    whole[:, view.mask] = wanted
    images = [Image.fromarray(p) for p in np.round(_GREY * (whole + 1)).astype(np.uint8)]

    @cache
    def pressed(shrunk, quality):
        """Bytes of each image, and the sum of squares that is left of all."""
        sizes, left = [], 0.0
        for image, pattern in zip(images, wanted, strict=True):
            file = BytesIO()
            image.reduce(shrunk).save(file, "WEBP", quality=quality, method=_WEBP_METHOD)
            sizes.append(file.tell() - _WEBP_CONTAINER)
            back = Image.open(file).convert("L").resize(image.size, Image.Resampling.BICUBIC)
            left += ((np.asarray(back)[view.mask] / _GREY - 1 - pattern) ** 2).sum()
        return np.array(sizes), left

    def ratio(of):
        most, sizes = ((wanted - _patterns(e, of, view, points)) ** 2).sum(), []
        for by in _SHRUNK:
            better = bisect_left(range(_BEST), -most, key=lambda q, by=by: -pressed(by, q)[1])
            sizes += [pressed(by, better)[0]] if better < _BEST else []
        if not sizes:
            raise Untestable("a WebP that leaves as little as decoded patterns")
        size = np.bincount(grain, min(sizes, key=np.sum), count)
        values = e.study.model(name).latent_dim
        if of == name:
            values = e.results.model_scan(name, view.scan).features["active"].sum()
        there = 2 * values * np.bincount(grain, minlength=count)
        return np.divide(*(drawn(count) @ np.stack([size, there], axis=1)).T)

    pca = e.pca_like(name)
    return found(ratio(name), ratio(pca) if pca else np.nan, count, "grains", [view.scan])


def unseen_points(e: Evidence, role: str) -> Found:
    """Per cent more residual at points that the training did not draw than beside them.

    Of neighbours in a row and a grain one was drawn and the other not.
    """
    name, view = e.model("d64"), e.view(role)
    network, grains = load_model(e.results, name), view.grains()
    shown = np.zeros(view.shape, bool)
    shown.ravel()[sample_points(e.study, view.scan, view.shape)] = True
    pairs = (shown[:, 1:] != shown[:, :-1]) & (grains[:, 1:] == grains[:, :-1])
    left_ends = np.argwhere(pairs & (grains[:, 1:] >= 0))
    if len(left_ends) < _FEWEST:
        raise Untestable(f"a map of {role} with points that the training did not draw")
    left_ends = left_ends[:: max(1, len(left_ends) // _MOST)]
    unit = np.unique(grains[tuple(left_ends.T)], return_inverse=True)[1]
    places = np.stack([left_ends, left_ends + np.array([0, 1])])
    places = np.where(shown[tuple(left_ends.T)][:, np.newaxis], places[::-1], places)
    sums, count = [], unit.max() + 1
    for points in places:  # those that were not drawn come first
        latents = np.array([view.latents(name)[r, c] for r, c in points], np.float32)
        back = decode(network, latents, view.mask, e.study.training.precision)[:, view.mask]
        squares = ((_patterns(e, PREPROCESSED, view, points) - back) ** 2).sum(axis=1)
        sums.append(drawn(count) @ np.bincount(unit, squares))
    return found(100 * (sums[0] / sums[1] - 1), 0.0, count, "grains", [view.scan])


@cache  # several claims look through it
def _network(e: Evidence):
    """The largest conventional VAE whose weights are there, and its name."""
    for name in reversed(roles.vaes(e.study)):
        try:
            return load_model(e.results, name), name
        except MissingResultError:
            continue
    raise Untestable("the weights of a VAE")


@cache
def _random(e: Evidence, name: str) -> np.ndarray:
    """Decoded random latents (n, height, width) of a model."""
    view = View.whole(e.results, roles.decoded_scan(e.study))
    how = _DECODED, view.mask, e.study.seed, e.study.training.precision
    return generate(load_model(e.results, name), *how)


def random_background(e: Evidence) -> Found:
    """Distance of decoded random latents' smooth part to the nearest measured one.

    Over that of measured ones to those of other grains. Baseline: what is no background, the nearer
    of noise about the mean pattern and of its negative.
    """
    _, name = _network(e)
    view, points, grain, _ = _sample(e, roles.decoded_scan(e.study))
    random = _random(e, name)[:, view.mask]
    real = _patterns(e, PREPROCESSED, view, points)
    noise = np.random.default_rng(e.study.seed).standard_normal(random.shape)
    noise = real.mean() + real.std() * noise
    sets = real, random, noise, np.tile(-real.mean(axis=0), (_DECODED, 1))
    smooth = [_smooth(of, view.mask) for of in sets]
    own, *offs = (pairwise_distances(of, smooth[0]) for of in smooth)
    own = np.median(np.where(grain[:, np.newaxis] == grain, np.inf, own).min(axis=1))
    times, sizes = drawn(_DECODED).astype(int), [off.min(axis=1) / own for off in offs]
    value, *others = (np.array([np.median(np.repeat(s, n)) for n in times]) for s in sizes)
    return found(value, np.minimum(*others), _DECODED, "random latents", [view.scan])


def random_decodes(e: Evidence) -> Found:
    """Per cent of decoded random latents that index as decoded patterns, the baseline, do."""
    network, name = _network(e)
    view, points, _, _ = _sample(e, roles.decoded_scan(e.study))
    points = points[::2][: len(points) // 4 * 2]  # every second one, an even number
    latents = np.array([view.latents(name)[r, c] for r, c in points], np.float32)
    real = decode(network, latents, view.mask, e.study.training.precision)
    both = view.index(np.concatenate([_random(e, name), real])).prop
    enough = both["nmatch"] >= np.median(both["nmatch"][_DECODED:])
    hits = np.split(enough & (both["fit"] < _FIT_DEG), [_DECODED])
    shares = (100 * drawn(len(hit)) @ hit / len(hit) for hit in hits)
    return found(*shares, _DECODED, "random latents", [view.scan])


def banded_decodes(e: Evidence, model: str, bands: bool) -> Found:
    """Per cent of decoded random latents with, or without, Hough peaks above those of noise.

    Noise has the spectrum of the decoded patterns and random phases. The baseline is the VAE of
    beta = 1.
    """
    hits = [_banded(e, name) == bands for name in (e.model(model), e.model("beta_one"))]
    shares = (100 * drawn(_DECODED) @ hit / _DECODED for hit in hits)
    return found(*shares, _DECODED, "random latents", [roles.decoded_scan(e.study)])


@cache  # several claims have the same baseline
def _banded(e: Evidence, name: str) -> np.ndarray:
    """Which decoded random latents (n,) of a model have peaks above those of noise."""
    view = View.whole(e.results, roles.decoded_scan(e.study))
    phases = np.random.default_rng(e.study.seed).random((_DECODED, *view.mask.shape))
    random = _random(e, name)
    noise = np.abs(np.fft.rfft2(random * view.mask)) * np.exp(1j * np.angle(np.fft.rfft2(phases)))
    noise = np.where(view.mask, np.fft.irfft2(noise, view.mask.shape), OUTSIDE).clip(-1, 1)
    both = view.index(np.concatenate([random, noise])).prop["pq"]
    return both[:_DECODED] > np.quantile(both[_DECODED:], _ABOVE_NOISE)


def interpolated(e: Evidence, role: str) -> Found:
    """Per cent of decoded middles of two latents of different grains that index as their ends do.

    The baseline is the mean of the two decoded patterns.
    """
    network, name = _network(e)
    view, points, grain, count = _sample(e, e.view(role).scan)
    rng = np.random.default_rng(e.study.seed)
    ends = rng.integers(0, len(points), (2, 4 * _DECODED))
    ends = ends[:, grain[ends[0]] != grain[ends[1]]][:, :_DECODED]
    ends = ends[:, : ends.shape[1] // 2 * 2]
    if not ends.size:
        raise Untestable("a map with two grains")
    latents = np.array([view.latents(name)[r, c] for r, c in points], np.float32)
    some = [latents[ends[0]], latents[ends[1]], (latents[ends[0]] + latents[ends[1]]) / 2]
    first, last, middle = (decode(network, z, view.mask, e.study.training.precision) for z in some)
    together = view.index(np.concatenate([first, middle, (first + last) / 2]))
    own, *others = np.split(together.prop["nmatch"], 3)
    sets = [bands >= np.quantile(own, _OWN) for bands in others]
    hits = [drawn(count) @ np.bincount(grain[ends[0]], hit, count) for hit in (*sets, None)]
    return found(*(100 * hit / hits[-1] for hit in hits[:-1]), count, "grains", [view.scan])
