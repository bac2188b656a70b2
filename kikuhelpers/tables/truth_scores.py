"""In which maps does the truth appear? Physical maps and latents of virtual scans, scored alike.

Every map gets the same care: the same smoothing inside the true crystals, each of which is then
brought to mean 0 and variance 1, the same rule for its sign, and the same folds of its probes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from kikuhelpers.latents import features
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles
from kikuhelpers.tables.scores import Judge, Target, interval, probe, single_scores, verdict
from kikuhelpers.tables.targets import FALSE_ALARMS, FEWEST_POINTS, ideal_detection, targets_of

SMOOTHINGS = (0, 1, 2)  # points, standard deviation of a Gaussian
TREES_AT = 1  # of these, the only one at which trees are grown, for walls and scratches alone
BINS, IDEAL_POINTS = 7, 12  # of the strength; points of each for the ideal observer
IDEAL, BLIND, TOLD = "ideal observer", "feature chosen blind", "best feature, told by the truth"
ON_OTHERS = "feature chosen on other specimens"
# Property of a view: its name in the table. Those on the camera's scale come first.
PHYSICAL = {
    "iq_counts": "IQ, camera's scale",
    "std_counts": "standard deviation, camera's scale",
    "mean_counts": "mean intensity, camera's scale",
    "noise_counts": "noise, camera's scale",
    "sharpness_map": "sharpness, camera's scale",
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


def truth_scores(results: Results, models: Sequence[str] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score physical maps, features and probes of the virtual scans against their truth.

    Without ``models`` those of :func:`~kikuhelpers.study.roles.vaes` are scored, and the largest
    PCA.

    Returns
    -------
    scores : pandas.DataFrame
        ``scan``, ``effect``, ``readout``, ``model`` ("" of physical maps; also the largest PCA),
        ``smoothing_points``, ``measure``, ``score`` with its 95 % interval ``low`` to ``high`` over
        ``clusters``: true grains, or blocks of a map with fewer than five; ``null_95``;
        ``difference`` from the best physical map of the same smoothing (of probes: from the best
        map or probe), named in ``against``, with its interval; the ``verdict`` on latents.
    detection : pandas.DataFrame
        Share ``detected`` of the points of a ``strength`` (in ``unit``), at FALSE_ALARMS.
    """
    study = results.study
    views = {name: View.whole(results, name) for name in roles.scored_scans(study)}
    targets = {name: targets_of(view) for name, view in views.items()}
    models = models or [*roles.vaes(study), *filter(None, [study.largest_pca])]
    rows, curves, ideal = [], [], []
    with ThreadPoolExecutor(1) as beside:  # blurring master patterns holds no lock of Python's
        for effect in dict.fromkeys(target.name for some in targets.values() for target in some):
            there = {s: t for s, some in targets.items() for t in some if t.name == effect}
            if next(iter(there.values())).domains is None:
                ideal += [beside.submit(_curve, views[s], target) for s, target in there.items()]
            judges = {scan: Judge(target) for scan, target in there.items()}
            found = {(scan, points): [] for scan in there for points in SMOOTHINGS}
            for model in ("", *models):
                for scan, points, readout, values in _readouts(views, there, model):
                    key, judge = (scan, effect, readout, model, points), judges[scan]
                    # A probe says itself which way is high.
                    values = values if "probe" in readout else judge.oriented(values)
                    found[scan, points].append((key, judge.scores(values)))
                    curves += _curve(views[scan], there[scan], key, values)
            for (scan, _), scored in found.items():
                rows += _compared(*zip(*scored, strict=True), there[scan])
    curves += [row for one in ideal for row in one.result()]
    columns = [*_KEYS, "unit", "strength", "detected"]
    return pd.DataFrame(rows, columns=_COLUMNS), pd.DataFrame(curves, columns=columns)


def physical_maps(view: View) -> dict[str, np.ndarray]:
    """Physical maps (rows, columns) of a view, by name."""
    turns = np.moveaxis(view.crop(view.rotation_vectors), -1, 0)
    maps = {text: view.property_map(name) for name, text in PHYSICAL.items()}
    return maps | {f"rotation about {axis}": turn for axis, turn in zip("xyz", turns, strict=True)}


def _readouts(views: dict[str, View], targets: dict[str, Target], model: str) -> Iterator[tuple]:
    """Yield all that one model shows of an effect: scan, smoothing, its name, standardised map.

    What is chosen or fitted is so on the scans of other specimens. A probe without any is fitted on
    other grains of the scan.
    """
    names, maps = _maps({scan: views[scan] for scan in targets}, model)
    data = {scan: views[scan].results.study.scan(scan).data for scan in targets}
    seen = {  # the maps, or how far their points lie off their surroundings
        scan: features.local_outliers(_filled(maps[scan]), t.crystals) if t.local else maps[scan]
        for scan, t in targets.items()
    }
    for points in SMOOTHINGS:
        smooth = {scan: _smoothed(seen[scan], target, points) for scan, target in targets.items()}
        single = {scan: single_scores(smooth[scan], target) for scan, target in targets.items()}
        for scan, target in targets.items():
            specimen = data[scan].specimen, data[scan].seed
            others = [s for s, d in data.items() if (d.specimen, d.seed) != specimen]
            chosen = {name: i for i, name in enumerate(names)}
            if model and len(names):
                choice = _BLIND_CHOICE.get(target.name, features.cell_feature)
                blind = choice(views[scan], model).index
                chosen = {BLIND: names.index(blind)} if blind in names else {}
                chosen[TOLD] = single[scan].argmax()
                if others:
                    chosen[ON_OTHERS] = np.mean([single[s] for s in others], axis=0).argmax()
                yield scan, points, "gradient", _gradient(maps[scan], target, points)
            for name, i in chosen.items():
                yield scan, points, name, smooth[scan][..., i]
            if target.domains is not None or not (len(names) and (others or target.has_folds)):
                continue
            told = [(smooth[s], targets[s]) for s in others]
            where = ", other specimens" if others else ""
            yield scan, points, f"ridge probe{where}", probe(smooth[scan], target, told)
            if points == TREES_AT and not target.local:
                yield scan, points, f"trees probe{where}", probe(smooth[scan], target, told, True)


def _maps(views: dict[str, View], model: str) -> tuple[list, dict[str, np.ndarray]]:
    """Names of the maps of a model, its features active in any view or physics, and the maps."""
    if not model:
        physical = {scan: physical_maps(view) for scan, view in views.items()}
        names = list(next(iter(physical.values())))
        return names, {scan: np.stack(list(of.values()), axis=-1) for scan, of in physical.items()}
    active = np.any([view.features(model)["active"] for view in views.values()], axis=0)
    names = list(np.flatnonzero(active))
    return names, {scan: np.array(view.latents(model)[..., names]) for scan, view in views.items()}


def _gradient(maps: np.ndarray, target: Target, points: int) -> np.ndarray:
    """How far the latent vector moves from a point to the next, standardised (rows, columns)."""
    even = _smoothed(maps, target, points)
    long = [i for i in (0, 1) if even.shape[i] > 1]  # a line has no other gradient
    steps = np.sqrt(sum((np.gradient(even, axis=i) ** 2).sum(-1) for i in long))
    return features.standardised_in_grains(steps, target.crystals)


def _smoothed(maps: np.ndarray, target: Target, points: int) -> np.ndarray:
    """Maps (rows, columns, D), smoothed and standardised; NaN counts as the median at last."""
    smooth = features.smoothed_in_grains(maps, target.crystals, points)
    return features.standardised_in_grains(_filled(smooth), target.crystals)


def _filled(maps: np.ndarray) -> np.ndarray:
    masked = np.ma.masked_invalid(maps)
    medians = np.ma.median(masked, axis=(0, 1)) if masked.mask.any() else 0
    return np.where(masked.mask, np.ma.filled(medians, 0), maps)


def _compared(keys: Sequence[tuple], scores: Sequence[dict], target: Target) -> Iterator[dict]:
    """Rows of the table: every score beside that of the best physical map."""
    is_probe = np.array(["probe" in key[2] for key in keys])
    physics = np.array([not key[3] for key in keys])
    main = np.nan_to_num([score["AUC"].value for score in scores], nan=-np.inf)
    clusters = "grains" if target.clusters is target.grains else "blocks"
    for key, score, probed in zip(keys, scores, is_probe, strict=True):
        best = np.where(physics & (probed | ~is_probe), main, -np.inf).argmax()
        for measure, found in score.items():
            other = scores[best][measure]
            ends = interval(found.resampled), interval(found.resampled - other.resampled)
            lead = found.value - other.value
            neither = found.value <= found.null_95 and other.value <= other.null_95
            word = "unclear" if neither else verdict(lead, *ends[1])
            word = word if key[3] and measure == "AUC" else ""
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
