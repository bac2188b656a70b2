"""Measures of claims that read tables: scores against the truth, and Table 1."""

import numpy as np
import pandas as pd

from kikuhelpers.study import PREPROCESSED, PROJECT_ROOT, roles
from kikuhelpers.tables.evidence import Evidence, Found, Untestable, drawn, found
from kikuhelpers.tables.truth_scores import IDEAL, PHYSICAL

EXPERIMENTS = PROJECT_ROOT / "docs"  # where scripts file what they measured
LEAST_SHOWN = 0.9  # presentations over those of the model that one is compared with
WRONG_TRUTH_DEG = 5.0  # median error before decoding, from which on the truth is another map's


def detection(
    e: Evidence, effect: str, role="", fine=None, readout="feature", maps=(), against=(), model=""
) -> Found:
    """AUC of an effect on latents, and on physical maps or the largest PCA, mean over some scans.

    The best over models and smoothings, on either side, of what needs no truth of the judged map.
    Scans may be of one specimen: their ends are averaged, as if they erred together. Of domains
    the AUC counts whichever side is high, so that chance has more than 0.5: it is brought there.
    """
    table, parts = e.table("truth_scores").query("effect == @effect and measure == 'AUC'"), []
    table = table.dropna(subset=["score", "low", "high"])
    for scan, rows in table.groupby("scan", sort=False):
        name, probed = rows["readout"], rows["readout"].str.contains("probe")
        chosen = probed if readout == "probe" else name.str.startswith("feature chosen")
        own = chosen & rows["model"].isin([model] if model else roles.vaes(e.study))
        physical = rows["model"].isna() & (~probed | (readout == "probe"))
        physical |= chosen & (rows["model"] == e.study.largest_pca)
        own = physical & name.isin([PHYSICAL[m] for m in maps]) if maps else own
        physical &= name.isin([PHYSICAL[m] for m in against]) if against else True
        if e.is_of(scan, role, fine) and own.any() and physical.any():
            mine, other = (rows.loc[rows.loc[of, "score"].idxmax()] for of in (own, physical))
            # The table's difference is to the best map of one smoothing: its width is taken over.
            lead = mine["score"] - other["score"] - mine["difference"]
            lead = lead + mine["difference_low"], lead + mine["difference_high"]
            numbers = np.array([*mine[["score", "low", "high"]], other["score"], *lead], float)
            if effect == "domains":
                share = 0.5 / (1 - mine["null_95"])
                numbers *= share
                numbers[:4] += 1 - share
            parts.append((scan, *numbers))
    if not parts:
        raise Untestable(f"a score of {effect} as it is asked for")
    scans, *numbers = zip(*parts, strict=True)
    return Found(*np.mean(numbers, axis=1), f"grains or blocks; maps: {len(scans)}", scans)


def mean_lead(e: Evidence) -> Found:
    """Mean of :func:`detection` over effects and kinds of maps, which are drawn."""
    keys = e.table("truth_scores").query("measure == 'AUC'")[["effect", "scan"]].drop_duplicates()
    kinds = {(f, e.study.scan(s).figures.role, e.is_of(s, "", True)) for f, s in keys.to_numpy()}
    parts = [detection(e, *kind) for kind in sorted(kinds)]
    mine, other = (drawn(len(parts)) @ [[p.value, p.baseline] for p in parts] / len(parts)).T
    return found(mine, other, len(parts), "effects", sorted({s for p in parts for s in p.scans}))


def by_dimension(e: Evidence, effect: str, role: str) -> Found:
    """:func:`detection` of the largest VAE, against the smallest; ends are not paired."""
    one, other = (detection(e, effect, role, model=e.model(n)) for n in ("largest", "smallest"))
    lead = one.low - other.high, one.high - other.low
    return Found(*one[:3], other.value, *lead, one.units, one.scans)


def share_of_ideal(e: Evidence) -> Found:
    """Share found from latents, however read, over what an ideal observer finds."""
    table, shares = e.table("detection").fillna({"model": ""}), []
    for _, rows in table.groupby(["scan", "effect"]):
        ways = rows.groupby(["model", "readout", "smoothing_points"])["detected"].mean()
        ways = ways.reset_index(["model", "readout"])
        latent, ideal = ways["model"].isin(roles.vaes(e.study)), ways["readout"] == IDEAL
        of = latent, (ways["model"] == "") & ~ideal, ideal
        if all(some.any() for some in of):
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
    if rows.empty:
        raise Untestable(f"a Table 1 with {e.model(model)}")
    plain = e.model("beta_one") if own.beta != 1 else e.pca_like(e.model(model))
    of = [ends[ends["model"].isin(names)] for names in (rows["model"], [plain])]
    (low, high), (under, over) = ((part["low"].min(), part["high"].max()) for part in of)
    other = table.loc[table["model"] == plain, number].mean()
    numbers = rows[number].mean(), low, high, other, low - over, high - under
    units = f"{rows['lattices'].iloc[0]} lattices; trainings: {len(rows)}"
    return Found(*numbers, units, tuple(e.study.decoded_scans))


def table1_difference(e: Evidence, number: str, one: str, other: str) -> Found:
    """A paired difference of Table 1; baseline a PCA in place of a plain VAE, of others 0."""
    first, table = e.model(one), e.table("table1_differences").query("number == @number")
    named = {PREPROCESSED: PREPROCESSED, "pca": e.pca_like(first)}
    second = named[other] if other in named else e.model(other)

    def pair(*names):
        rows = table[(table[["model", "reference"]] == names).all(axis=1)]
        return rows[["difference", "low", "high"]].to_numpy(float)

    rows = [*pair(first, second), *-pair(second, first)[:, [0, 2, 1]]]
    if not rows:
        raise Untestable(f"a Table 1 with {number} of {one} and {other} side by side")
    shown = e.table("table1").set_index("model")["presentations"]
    if second in e.study.models and shown[first] < LEAST_SHOWN * shown[second]:
        raise Untestable(f"{first} trained for as long as {second}")
    if other == PREPROCESSED and e.table("table1")[f"{other}_{number}"].max() > WRONG_TRUTH_DEG:
        raise Untestable("the truth of the decoded scans")
    plain = first in roles.vaes(e.study) and second in e.study.models
    lead, *ends = [*pair(first, named["pca"]), (np.nan,) * 3][0] if plain else rows[0]
    return Found(*rows[0], rows[0][0] - lead, *ends, "lattices", tuple(e.study.decoded_scans))


def experiment(e: Evidence, claim: str, file: str = "experiments") -> Found:
    """What a script of docs/ measured of virtual patterns, as docs/<file>.csv holds it."""
    if not (scans := roles.scored_scans(e.study)):
        raise Untestable("a virtual map, whose truth is known")
    table = pd.read_csv(EXPERIMENTS / f"{file}.csv").set_index("claim")
    return Found(*(table.loc[claim, field] for field in Found._fields[:-1]), tuple(scans))
