"""Measures of claims that read decoded patterns' maps, trainings and their histories."""

import numpy as np
import pandas as pd

from kikuhelpers.indexing.orientation_maps import collected
from kikuhelpers.study import NETWORK_INPUT_PX, PREPROCESSED
from kikuhelpers.tables.evidence import Evidence, Found, Untestable, drawn, found
from kikuhelpers.tables.intervals import lattice_labels
from kikuhelpers.tables.scores import areas
from kikuhelpers.tables.table1 import WRONG_DEG, compare_maps
from kikuhelpers.training.convergence import still_falling

_TAIL = 0.025  # beyond either end of an interval
_WORST, _BEST = 0.99, 0.1  # quantiles of the loss
_FEWEST_GRAINS = 3  # that survive, and that are lost
_NO_STRUCTURE = 0.2  # Moran's I


def ranked_patterns(e: Evidence, model: str, part: str, number: str) -> Found:
    """Per cent right, or lost, of a model's worst or best patterns; pores are left out.

    Where no unit differs draws say nothing, and the end is the exact one of as many units.

    Baseline: the worst of a PCA, or of the VAE of beta = 1; of the best patterns the same points.
    """
    name, scans, shares, losses, counts = e.model(model), e.study.decoded_scans, [], [], []
    plain = e.model("beta_one") if e.study.model(name).beta != 1 else e.pca_like(name)
    before = [e.results.orientations(PREPROCESSED, scan) for scan in scans]
    lattices = lattice_labels(before, e.study.indexing.grain_deg)
    unit = np.unique(lattices, return_inverse=True)[1]
    times = drawn(unit.max() + 1)
    for of in filter(None, (name, plain)):
        after = [e.results.orientations(of, scan) for scan in scans]
        points = pd.concat(map(compare_maps, before, after)).reset_index(drop=True)
        lost = (points["off_deg"] > WRONG_DEG) | ~points["indexed"]
        inside = ~points["pore"] & np.concatenate([collected(xmap) for xmap in before])
        files = [e.results.model_scan(of, scan).pattern_loss.ravel() for scan in scans]
        losses.append(pd.Series(np.concatenate(files)).where(inside).rank(pct=True))
        chosen = losses[0] <= _BEST if part == "best" else losses[-1] > _WORST
        hit = (lost == (number == "lost")) & chosen
        sums = (np.bincount(unit, of_all * 1.0) for of_all in (hit, chosen))
        hits, points = (times @ part for part in sums)
        none = np.full(len(times), np.nan)
        shares.append(100 * np.divide(hits, points, out=none, where=points > 0))
        counts.append(len(np.unique(unit[chosen])))
    of = found(shares[0], shares[1] if plain else np.nan, counts[0], "lattices", scans)
    least = 100 * _TAIL ** (1 / counts[0])  # Clopper & Pearson, Biometrika 26 (1934) 404
    ends = {0: {"high": 100 - least}, 100: {"low": least}} if of.low == of.high else {}
    return of._replace(**ends.get(of.value, {}))


def loss_fall(e: Evidence, models, column: str) -> Found:
    """Per cent by which a loss falls per quarter in the second half of a training, at most."""
    names = [e.model(name) for name in (*models, "beta_one")]
    histories = [e.results.model(name).history for name in names]
    *own, plain = (still_falling(h.assign(loss=h[column])) for h in histories)
    most = max(own, key=lambda fall: fall["loss_fall_pct"])
    numbers = [most[f"loss_fall_pct{end}"] for end in ("", "_low", "_high")]
    return Found(*numbers, plain["loss_fall_pct"], units=f"{len(histories[0])} lines")


def survivors(e: Evidence, model: str) -> Found:
    """AUC of the share of training patterns, grains that survive against lost; lattices drawn."""
    rows = e.table("orientation_shares")
    rows = rows[rows["model"] == e.model(model)]
    before = {s: e.results.orientations(PREPROCESSED, s) for s in e.study.decoded_scans}
    places = [(scan, grain) for scan, xmap in before.items() for grain in xmap.prop["grain"]]
    lattices = lattice_labels([*before.values()], e.study.indexing.grain_deg)
    lattices = dict(zip(places, lattices, strict=True))
    unit = [lattices[place] for place in zip(rows["scan"], rows["grain"], strict=True)]
    unit = np.unique(unit, return_inverse=True)[1]
    kept = (rows["misorientation_deg_q50"] <= WRONG_DEG).to_numpy()
    if min(kept.sum(), (~kept).sum()) < _FEWEST_GRAINS:
        raise Untestable(f"{_FEWEST_GRAINS} grains that survive, and as many that are lost")
    times, columns = drawn(unit.max() + 1)[:, unit].T, ["share_pct", "points"]
    sets = [times * part[:, np.newaxis] for part in (kept, ~kept)]
    auc, of_sizes = (areas(values, *sets)[0] for values in rows[columns].to_numpy(float).T)
    return found(auc, of_sizes, unit.max() + 1, "lattices", e.study.decoded_scans)


def noise_features(e: Evidence) -> Found:
    """Share of active features without structure, of the largest and of the smallest VAE."""
    shares, scan = [], e.study.mapped_scans[0]
    for name in ("largest", "smallest"):
        table = e.results.model_scan(e.model(name), scan).features
        noise = (table.loc[table["active"], "moran_i"] < _NO_STRUCTURE).to_numpy()
        shares.append(drawn(len(noise)) @ noise / len(noise))
    return found(*shares, len(noise), "features", [scan])


def values_per_latent(e: Evidence, dimensions: int) -> Found:
    """Values of the network's input per latent value."""
    value = NETWORK_INPUT_PX**2 / dimensions
    return Found(value, value, value, value, 0.0, 0.0, "counted")
