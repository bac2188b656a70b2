"""Measures of claims that read tables: scores against truth, Table 1, cards and histories."""

import numpy as np
import pandas as pd

from kikuhelpers.indexing.orientation_maps import collected
from kikuhelpers.study import NETWORK_INPUT_PX, PREPROCESSED, roles
from kikuhelpers.tables.evidence import Evidence, Found, Untestable, drawn, found
from kikuhelpers.tables.intervals import lattice_labels
from kikuhelpers.tables.table1 import compare_maps
from kikuhelpers.tables.truth_scores import IDEAL, PHYSICAL
from kikuhelpers.training.convergence import still_falling

_WORST, _BEST = 0.99, 0.1  # quantiles of the loss
WRONG_TRUTH_DEG = 5.0  # median error before decoding, from which on the truth is another map's
_FEWEST_GRAINS = 3  # that survive, and that are lost
_NO_STRUCTURE = 0.2  # Moran's I


def detection(
    e: Evidence, effect: str, role="", fine=None, readout="feature", maps=(), against=(), model=""
) -> Found:
    """AUC of an effect on latents and on physical maps, mean over the scans of a role.

    The best over models and smoothings, on either side, of what needs no truth of the judged map.
    Scans may be of one specimen: their ends are averaged, as if they erred together.
    """
    table, parts = e.table("truth_scores").query("effect == @effect and measure == 'AUC'"), []
    for scan, rows in table.groupby("scan", sort=False):
        name, probed = rows["readout"], rows["readout"].str.contains("probe")
        chosen = probed if readout == "probe" else name.str.startswith("feature chosen")
        own = chosen & rows["model"].isin([model] if model else roles.vaes(e.study))
        physical = rows["model"].isna() & (~probed | (readout == "probe"))
        own = physical & name.isin([PHYSICAL[m] for m in maps]) if maps else own
        physical &= name.isin([PHYSICAL[m] for m in against]) if against else True
        if e.is_of(scan, role, fine) and own.any() and physical.any():
            mine, other = (rows.loc[rows.loc[of, "score"].idxmax()] for of in (own, physical))
            # The table's difference is to the best map of one smoothing: its width is taken over.
            lead = mine["score"] - other["score"] - mine["difference"]
            lead = lead + mine["difference_low"], lead + mine["difference_high"]
            parts.append((scan, mine["score"], mine["low"], mine["high"], other["score"], *lead))
    if not parts:
        raise Untestable(f"no scan has a score of {effect} as it is asked for")
    scans, *numbers = zip(*parts, strict=True)
    value, low, high, other, *lead = np.mean(numbers, axis=1)
    return Found(value, (low, high), other, tuple(lead), f"grains of {len(scans)} maps", scans)


def mean_lead(e: Evidence) -> Found:
    """Mean of :func:`detection` over effects and kinds of maps, which are drawn."""
    keys = e.table("truth_scores").query("measure == 'AUC'")[["effect", "scan"]].drop_duplicates()
    kinds = {(f, e.study.scan(s).figures.role, e.is_of(s, "", True)) for f, s in keys.to_numpy()}
    parts = [detection(e, *kind) for kind in sorted(kinds)]
    mine, other = (drawn(len(parts)) @ [[p.value, p.baseline] for p in parts] / len(parts)).T
    scans = {scan for part in parts for scan in part.scans}
    return found(mine, other, len(parts), "effects", sorted(scans))


def by_dimension(e: Evidence, effect: str, role: str) -> Found:
    """:func:`detection` of the largest VAE, against the smallest; ends are not paired."""
    one, other = (detection(e, effect, role, model=e.model(n)) for n in ("largest", "smallest"))
    lead = one.ends[0] - other.ends[1], one.ends[1] - other.ends[0]
    return Found(one.value, one.ends, other.value, lead, one.units, one.scans)


def share_of_ideal(e: Evidence) -> Found:
    """Share found from latents, however read, over what an ideal observer finds."""
    table, shares = e.table("detection").fillna({"model": ""}), []
    for _, rows in table.groupby(["scan", "effect"]):
        ways = rows.groupby(["model", "readout", "smoothing_points"])["detected"].mean()
        ways = ways.reset_index(["model", "readout"])
        latent, ideal = ways["model"].isin(roles.vaes(e.study)), ways["readout"] == IDEAL
        of = latent, (ways["model"] == "") & ~ideal, ideal
        shares.append([ways.loc[some, "detected"].max() for some in of])
    latent, physical, ideal = (drawn(len(shares)) @ np.array(shares)).T
    return found(latent / ideal, physical / ideal, len(shares), "effects", table["scan"].unique())


def table1_number(e: Evidence, model: str, number: str) -> Found:
    """A number of Table 1: mean over seeds of the longest trainings, and their widest ends.

    Baseline of a beta-VAE is the VAE of beta = 1, of others a PCA; ends of the lead not paired.
    """
    table, ends = e.table("table1"), e.table("table1_intervals").query("number == @number")
    own = e.study.model(e.model(model))
    seen = [name for name, other in e.study.models.items() if not other.hold_out]
    rows = table[table["model"].isin(seen) & (table["latent_dim"] == own.latent_dim)]
    rows = rows[(rows["loss"] == own.loss) & (rows["beta"] == own.beta)]
    rows = rows[rows["presentations"] == rows["presentations"].max()]
    plain = e.model("beta_one") if own.beta != 1 else e.pca_like(e.model(model))
    of = [ends[ends["model"].isin(names)] for names in (rows["model"], [plain])]
    (low, high), (under, over) = ((part["low"].min(), part["high"].max()) for part in of)
    other, lead = table.loc[table["model"] == plain, number].mean(), (low - over, high - under)
    units = f"{rows['lattices'].iloc[0]} lattices, {len(rows)} trainings"
    return Found(rows[number].mean(), (low, high), other, lead, units, tuple(e.study.decoded_scans))


def table1_difference(e: Evidence, number: str, one: str, other: str) -> Found:
    """A paired difference of Table 1; baseline a PCA in place of a plain VAE, of others 0."""
    first, table = e.model(one), e.table("table1_differences").query("number == @number")
    alike = e.pca_like(first)
    named = {PREPROCESSED: PREPROCESSED, "pca": alike}
    second = named[other] if other in named else e.model(other)
    if other == PREPROCESSED and e.table("table1")[f"{other}_{number}"].max() > WRONG_TRUTH_DEG:
        raise Untestable("the truth is not that of the decoded scans")

    def pair(*names):
        rows = table[(table[["model", "reference"]] == names).all(axis=1)]
        return rows[["difference", "low", "high"]].to_numpy(float)

    rows = [*pair(first, second), *-pair(second, first)[:, [0, 2, 1]]]
    if not rows:
        raise Untestable(f"Table 1 has no {number} of {one} and {other} side by side")
    value, *ends = rows[0]
    plain = first in roles.vaes(e.study) and second in e.study.models
    lead, *lead_ends = [*pair(first, alike), (np.nan,) * 3][0] if plain else rows[0]
    scans = tuple(e.study.decoded_scans)
    return Found(value, tuple(ends), value - lead, tuple(lead_ends), "lattices", scans)


def ranked_patterns(e: Evidence, model: str, part: str, number: str) -> Found:
    """Per cent right, or lost, of a model's worst or best patterns; pores are left out.

    Baseline: the worst of a PCA, or of the VAE of beta = 1; of the best patterns the same points.
    """
    name, scans, shares, losses = e.model(model), e.study.decoded_scans, [], []
    plain = e.model("beta_one") if e.study.model(name).beta != 1 else e.pca_like(name)
    before = [e.results.orientations(PREPROCESSED, scan) for scan in scans]
    lattices = lattice_labels(before, e.study.indexing.grain_deg)
    for of in filter(None, (name, plain)):
        after = [e.results.orientations(of, scan) for scan in scans]
        points = pd.concat(map(compare_maps, before, after)).reset_index(drop=True)
        lost = (points["off_deg"] > e.study.tables.wrong_deg) | ~points["indexed"]
        inside = ~points["pore"] & np.concatenate([collected(xmap) for xmap in before])
        files = [e.results.model_scan(of, scan).pattern_loss.ravel() for scan in scans]
        losses.append(pd.Series(np.concatenate(files)).where(inside).rank(pct=True))
        chosen = losses[0] <= _BEST if part == "best" else losses[-1] > _WORST
        unit = np.unique(lattices[chosen], return_inverse=True)[1]
        times = drawn(unit.max() + 1)
        hits = times @ np.bincount(unit, (lost == (number == "lost"))[chosen])
        shares.append((100 * hits / (times @ np.bincount(unit)), unit.max() + 1))
    (share, count), other = shares[0], shares[1][0] if plain else np.nan
    return found(share, other, count, "lattices", scans)


def worst_loss_fall(e: Evidence, model: str) -> Found:
    """Per cent by which the worst loss falls per quarter in the second half of a training."""
    histories = [e.results.model(e.model(name)).history for name in (model, "beta_one")]
    own, plain = (still_falling(h.assign(loss=h["worst"])) for h in histories)
    ends, units = (
        (own["loss_fall_pct_low"], own["loss_fall_pct_high"]),
        f"{len(histories[0])} lines",
    )
    return Found(own["loss_fall_pct"], ends, plain["loss_fall_pct"], units=units)


def survivors(e: Evidence, model: str) -> Found:
    """AUC of the share of training patterns, grains that survive against lost ones."""
    rows = e.table("orientation_shares")
    rows = rows[rows["model"] == e.model(model)]
    kept = (rows["misorientation_deg_q50"] <= e.study.tables.wrong_deg).to_numpy()
    if min(kept.sum(), (~kept).sum()) < _FEWEST_GRAINS:
        raise Untestable(f"fewer than {_FEWEST_GRAINS} grains survive, or are lost")
    times, areas = drawn(len(rows)), []
    for values in rows[["share_pct", "points"]].to_numpy(float).T:
        wins = np.sign(values[kept][:, np.newaxis] - values[~kept]) / 2 + 0.5
        won = ((times[:, kept] @ wins) * times[:, ~kept]).sum(axis=1)
        pairs = times[:, kept].sum(axis=1) * times[:, ~kept].sum(axis=1)
        areas.append(np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))
    return found(*areas, len(rows), "grains", e.study.decoded_scans)


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
    return Found(value, (value, value), value, (0.0, 0.0))


def time_ratio(e: Evidence, one: str, other: str) -> Found:
    """Seconds per presentation of a model over another's; lines of their histories are drawn."""
    rates = []
    for name in (one, other):
        lines = e.results.model(e.model(name)).history[["seconds", "presentations"]].diff()[1:]
        rates.append(np.divide(*(drawn(len(lines)) @ lines.to_numpy(float)).T))
    return found(rates[0] / rates[1], np.nan, len(lines), "lines of the history")
