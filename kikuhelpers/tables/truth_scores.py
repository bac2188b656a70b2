"""In which maps does the truth appear? Physical maps and latents of virtual scans, scored alike.

Every map gets the same care: the same smoothing inside the true crystals, each of which is then
brought to mean 0 and variance 1, the same rule for its sign, and the same folds of its probes.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from kikuhelpers.latents import features
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles
from kikuhelpers.tables.scores import Judge, Target, interval, probe, verdict
from kikuhelpers.tables.targets import FALSE_ALARMS, FEWEST_POINTS, ideal_detection, targets_of

SMOOTHINGS = (0, 1, 2)  # points, standard deviation of a Gaussian
TREES_AT = 1  # of these, the only one at which trees are grown, for walls and scratches alone
BINS, IDEAL_POINTS = 7, 12  # of the strength; points of each for the ideal observer
IDEAL, BLIND, TOLD = "ideal observer", "feature chosen blind", "best feature, told by the truth"
# Property of a view: its name in the table. Those on the camera's scale come first.
CAMERA = {
    "iq_counts": "IQ, camera's scale",
    "std_counts": "standard deviation, camera's scale",
    "mean_counts": "mean intensity, camera's scale",
    "noise_counts": "noise, camera's scale",
    "sharpness_map": "sharpness, camera's scale",
}
PHYSICAL = CAMERA | {
    "iq_per_noise": "IQ / noise",
    "fit": "fit",
    "ci": "CI",
    "kam_deg": "KAM",
    "grod_deg": "GROD",
    "rotation_deg": "rotation, first component",
    "pq": "IQ, the paper's way",
    "sharpness": "sharpness, the paper's way",
}
_BLIND_CHOICE = {"domains": features.domain_feature, "particles": features.spot_feature}
_BLIND_CHOICE |= {"twins": features.spot_feature}
_KEYS = ["scan", "effect", "readout", "model", "smoothing_points"]
_COLUMNS = [*_KEYS, "measure", "score", "low", "high", "null_95", "clusters", "against"]
_COLUMNS += ["difference", "difference_low", "difference_high", "verdict"]


def truth_scores(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score physical maps, features and probes of the virtual scans against their truth.

    Returns
    -------
    scores : pandas.DataFrame
        ``scan``, ``effect``, ``readout``, ``model`` ("" of physical maps), ``smoothing_points``,
        ``measure``, ``score`` with its 95 % interval ``low`` to ``high`` over ``clusters``: true
        grains, or blocks of a map with fewer than five; ``null_95``; ``difference`` from the best
        physical map of the same smoothing (of probes: from the best map or probe), named in
        ``against``, with its interval; the ``verdict`` on latents.
    detection : pandas.DataFrame
        Share ``detected`` of the points of a ``strength`` (in ``unit``), at FALSE_ALARMS.
    """
    study = results.study
    views = {name: View.whole(results, name) for name in roles.scored_scans(study)}
    for name in views:  # no fair scores without: older archives lack it
        results.open(results.layout.scan(name).camera_scale)
    targets = {name: targets_of(view) for name, view in views.items()}
    best, rows, curves, ideal = {}, [], [], []
    for scan, model in [(name, model) for name in views for model in roles.vaes(study)]:
        active, latents = _active(views[scan], model)
        for target in targets[scan] if len(active) else ():
            for points, maps in _smoothed(latents, target):
                index = active[single_scores(maps, target).argmax()]
                best.setdefault((target.name, model, points), {})[scan] = index
    with ThreadPoolExecutor(1) as beside:  # blurring master patterns holds no lock of Python's
        for scan, target in [(name, one) for name in views for one in targets[name]]:
            if target.domains is None:
                ideal.append(beside.submit(_curve, views[scan], target))
            judge = Judge(target)
            for points, found in _readouts(views[scan], target, best).items():
                keys = [(scan, target.name, *names, points) for *names, _ in found]
                # A probe says itself which way is high.
                maps = [v if "probe" in name else judge.oriented(v) for name, _, v in found]
                rows += _compared(keys, [judge.scores(values) for values in maps], target)
                for key, values in zip(keys, maps, strict=True):
                    curves += _curve(views[scan], target, key, values)
    curves += [row for one in ideal for row in one.result()]
    columns = [*_KEYS, "unit", "strength", "detected"]
    return pd.DataFrame(rows, columns=_COLUMNS), pd.DataFrame(curves, columns=columns)


def physical_maps(view: View) -> dict[str, np.ndarray]:
    """Physical maps (rows, columns) by name, those that there are: older results lack some."""
    there = {*view.orientations().prop, "rotation_deg"}
    there |= {*CAMERA} if view.has_camera_scale else set()
    there |= {"iq_per_noise"} if "noise" in there else set()
    maps = {PHYSICAL[name]: view.property_map(name) for name in PHYSICAL if name in there}
    turns = np.moveaxis(view.rotation_vectors(), -1, 0)
    return maps | {f"rotation about {axis}": turn for axis, turn in zip("xyz", turns, strict=True)}


def _readouts(view: View, target: Target, best: dict) -> dict[int, list]:
    """All that is scored, by smoothing: (its name, its model or "", its standardised map)."""
    physical, found = physical_maps(view), {}
    for points, maps in _smoothed(np.stack(list(physical.values()), axis=-1), target):
        found[points] = [(name, "", maps[..., i]) for i, name in enumerate(physical)]
        found[points] += _probes(maps, "", target, points)
    for model in roles.vaes(view.results.study):
        active, latents = _active(view, model)
        if not len(active):
            continue
        blind = _BLIND_CHOICE.get(target.name, features.cell_feature)(view, model).index
        plain = _smoothed(latents, replace(target, local=False))
        for (points, maps), (_, even) in zip(_smoothed(latents, target), plain, strict=True):
            chosen = {BLIND: blind, TOLD: best[target.name, model, points][view.scan]}
            for scan, index in best[target.name, model, points].items():
                if scan != view.scan and index in active:
                    chosen[f"feature chosen on {scan}"] = index
            for name, index in chosen.items():
                found[points].append((name, model, maps[..., np.searchsorted(active, index)]))
            long = [i for i in (0, 1) if even.shape[i] > 1]  # a line has no other gradient
            steps = np.sqrt(sum((np.gradient(even, axis=i) ** 2).sum(-1) for i in long))
            steps = features.standardised_in_grains(steps, target.crystals)
            found[points].append(("gradient", model, steps))
            found[points] += _probes(maps, model, target, points)
    return found


def _active(view: View, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and maps (rows, columns, D) of the active features."""
    active = np.flatnonzero(view.features(model)["active"])
    return active, np.array(view.latents(model)[..., active])


def _probes(maps: np.ndarray, model: str, target: Target, points: int) -> Iterator[tuple]:
    if target.domains is None and target.has_folds:
        yield "ridge probe", model, probe(maps, target)
        if points == TREES_AT and not target.local:
            yield "trees probe", model, probe(maps, target, trees=True)


def _smoothed(maps: np.ndarray, target: Target) -> Iterator[tuple[int, np.ndarray]]:
    """Maps (rows, columns, D) at each smoothing, standardised; NaN counts as the median at last."""
    if target.local:
        maps = features.local_outliers(_filled(maps), target.crystals)
    for points in SMOOTHINGS:
        smooth = features.smoothed_in_grains(maps, target.crystals, points)
        yield points, features.standardised_in_grains(_filled(smooth), target.crystals)


def _filled(maps: np.ndarray) -> np.ndarray:
    masked = np.ma.masked_invalid(maps)
    medians = np.ma.median(masked, axis=(0, 1)) if masked.mask.any() else 0
    return np.where(masked.mask, np.ma.filled(medians, 0), maps)


def single_scores(maps: np.ndarray, target: Target) -> np.ndarray:
    """The main score (D,) of each of some standardised maps (rows, columns, D)."""
    if target.domains is not None:
        inside = target.crystals >= 0
        return features.variance_between(maps[inside], target.domains[inside])
    known = (target.marked | target.plain) & (target.crystals >= 0)
    marked, ranks = target.marked[known], rankdata(maps[known], axis=0)
    apart = ranks[marked].mean(axis=0) - ranks[~marked].mean(axis=0)
    return 0.5 + np.abs(apart) / len(ranks)


def _compared(keys: list[tuple], scores: list[dict], target: Target) -> Iterator[dict]:
    """Rows of the table: every score beside that of the best physical map."""
    is_probe = np.array(["probe" in key[2] for key in keys])
    physics = np.array([not key[3] for key in keys])
    main = np.nan_to_num([score[target.main].value for score in scores], nan=-np.inf)
    clusters = "grains" if target.clusters is target.grains else "blocks"
    for key, score, probed in zip(keys, scores, is_probe, strict=True):
        best = np.where(physics & (probed | ~is_probe), main, -np.inf).argmax()
        for measure, found in score.items():
            other = scores[best][measure]
            ends = interval(found.resampled), interval(found.resampled - other.resampled)
            lead = found.value - other.value
            neither = found.value <= found.null_95 and other.value <= other.null_95
            word = "unclear" if neither else verdict(lead, *ends[1])
            word = word if key[3] and measure == target.main else ""
            row = *key, measure, found.value, *ends[0], found.null_95, clusters, keys[best][2]
            yield dict(zip(_COLUMNS, (*row, lead, *ends[1], word), strict=True))


def _curve(view: View, target: Target, key: tuple = (), values: np.ndarray | None = None) -> list:
    """Share of the points found by strength, on a map or else by an ideal observer."""
    if target.domains is not None:
        return []
    there = (target.crystals >= 0) & ~target.plain & np.isfinite(target.strength)
    strength, points = target.strength[there], np.argwhere(there)
    edges = np.geomspace(strength.min(), strength.max(), BINS + 1)
    place = np.clip(np.digitize(strength, edges) - 1, 0, BINS - 1)
    bins = [i for i in range(BINS) if (place == i).sum() >= FEWEST_POINTS]
    if values is None:
        some = [points[place == i][:: max(1, (place == i).sum() // IDEAL_POINTS)] for i in bins]
        shares = [ideal_detection(view, target.name, of_bin).mean() for of_bin in some]
        key = view.scan, target.name, IDEAL, "", 0
    else:
        found = values > np.quantile(values[target.plain], 1 - FALSE_ALARMS)
        shares = [found[there][place == i].mean() for i in bins]
    middles = np.sqrt(edges[1:] * edges[:-1])[bins]
    named = dict(zip(_KEYS, key, strict=True)) | {"unit": target.unit}
    return [named | {"strength": x, "detected": y} for x, y in zip(middles, shares, strict=True)]
