"""Which rescaling of patterns to [-1, 1] is right for whom: python -m docs.rescaling.

    python -m kikuhelpers rescaling          # and rescaling-percentiles, -z-score, -map
    python -m docs.rescaling

The four studies differ in what they stretch, and in the network "equal share", whose beta is as
large a part of the patterns' variance as today's is. Their finished tables become
docs/rescaling.csv, a row per network, and docs/rescaling.md, a row per scale.

The rule for another default was committed before any of these tables existed. Networks of one seed
are compared: 32-D, beta = 1, three seeds. Walls are those of scan `am`, by the highest AUC of a
latent readout that was not told the truth, over 0, 1 and 2 points of smoothing. Another default is
proposed

(a) if in every seed it loses no more points on both decoded scans and its walls' AUC is higher by
    more than ``WALLS``, or
(b) if in every seed it loses at most ``LOST_SHARE`` of the points on both decoded scans and its
    walls' AUC is not lower by ``WALLS`` or more.

A seed without a score fails. "Lost" is wrong or not indexed. The network of equal share has one
seed: it decides nothing.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from kikuhelpers.preprocessing.preprocess import DEVIATIONS, PERCENTILES
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_csv, written_aside
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.runs.results import Results
from kikuhelpers.study import load_study
from kikuhelpers.tables.truth_scores import SMOOTHINGS, TOLD, truth_scores
from kikuhelpers.training.sample import TrainingSet, load_training_set

# ------------------------------------------------- the rule, committed before any table
WALLS, LOST_SHARE = 0.05, 0.5  # AUC; of the points that today's default loses

# ------------------------------------------------- what is compared
STUDIES = ("rescaling", "rescaling-percentiles", "rescaling-z-score", "rescaling-map")
SEEDS, LARGE, SHARE = ("vae-32", "vae-32-seed-2", "vae-32-seed-3"), "vae-64", "vae-32-share"
VIRTUAL, MEASURED, MAPPED = "am_grid", "rx_rows", "am"  # scans: two decoded, one mapped
DEFAULT = "pattern"
STRETCHED = {
    "pattern": "each pattern, lowest to highest value, no clip",
    "percentiles": "each pattern, percentiles {:g} to {:g}, clipped there".format(*PERCENTILES),
    "z-score": f"each pattern, mean ± {DEVIATIONS:g} standard deviations, clipped there",
    "map": f"all patterns of a map alike, mean ± {DEVIATIONS:g} of its standard deviations, "
    "clipped there",
}
_CHUNK = 1000  # patterns that are summed at a time
_TABLES = ("table1.csv", "table1_by_scan.csv")


def half_sum_variance(sample: TrainingSet) -> float:
    """Return the mean of half the sum of squared differences to the mean pattern, on the screen."""
    count, sums, squares = len(sample), 0.0, 0.0
    for first in range(0, count, _CHUNK):
        some = sample.patterns[first : first + _CHUNK][:, sample.mask].astype(np.float64)
        sums, squares = sums + some.sum(axis=0), squares + (some**2).sum()
    return float(squares / count - ((sums / count) ** 2).sum()) / 2


def walls_of(scores: pd.DataFrame, network: str) -> dict:
    """Return the best readout of a network for walls, and the best physical map, by smoothing.

    Neither the readout that the truth chose counts, nor a probe of physical maps.
    """
    rows = scores[(scores["scan"] == MAPPED) & (scores["effect"] == "walls")]
    rows = rows[(rows["measure"] == "AUC") & (rows["readout"] != TOLD)]
    model = rows["model"].fillna("")
    physical = (model == "") & ~rows["readout"].str.contains("probe")
    found = {}
    for kind, of in (("walls", model == network), ("physics", physical)):
        for points in SMOOTHINGS:
            some = rows[of & (rows["smoothing_points"] == points)]
            best = some.nlargest(1, "score").squeeze() if len(some) else {}
            found[f"{kind} {points}"] = best.get("score", np.nan)
            found[f"{kind} {points} by"] = best.get("readout", "")
    return found


def read(name: str) -> pd.DataFrame:
    """Return one row per network of a study; SentenceError where it has no tables yet."""
    study = load_study(name)
    results, tables = Results(study), []
    for file in _TABLES:
        path = results.layout.figures / file
        if not path.is_file():
            command = f"python -m kikuhelpers {name}"
            raise SentenceError(
                f"{file} of study '{name}' is not there yet. Make it with: {command}"
            )
        tables.append(pd.read_csv(path))
    whole, by_scan = tables
    networks = [n for n in (*SEEDS, LARGE, SHARE) if n in study.models]
    scores, _ = truth_scores(results, networks)
    variance, rows = half_sum_variance(load_training_set(results)), []
    for network in networks:
        beta = study.model(network).beta
        row = {"study": name, "scale": study.preprocessing.rescale, "network": network}
        row |= {"beta": beta, "variance": variance, "beta, % of it": 100 * beta / variance}
        for scan in (VIRTUAL, MEASURED):
            of_scan = by_scan[by_scan["scan"] == scan].set_index("model").loc[network]
            row |= {f"lost % {scan}": of_scan["lost_pct"]}
            row |= {f"misorientation deg {scan}": of_scan["misorientation_deg_q50"]}
            if study.is_virtual(scan):
                row |= {f"error deg {scan}": of_scan["truth_error_deg_q50"]}
                row |= {"error deg, not decoded": of_scan["preprocessed_truth_error_deg_q50"]}
        row |= {"active": whole.set_index("model").loc[network, "final_active_units"]}
        rows.append(row | walls_of(scores, network))
    return pd.DataFrame(rows)


def of_seeds(table: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Return a scale's rows of the three seeds, in their order, with ``walls``: the best AUC."""
    rows = table[table["scale"] == scale].set_index("network").reindex(SEEDS)
    return rows.assign(walls=best_walls(rows))


def best_walls(rows: pd.DataFrame) -> pd.Series:
    """Return the AUC of walls at the best smoothing, of each row."""
    return rows[[f"walls {points}" for points in SMOOTHINGS]].max(axis=1)


def share_sentence(table: pd.DataFrame) -> str:
    """Say what beta does and what the stretch does: scales at today's share of the variance."""
    parts, columns = [], [f"lost % {scan}" for scan in (VIRTUAL, MEASURED)]
    for scale, some in table.groupby("scale", sort=False):
        if (share := some[some["network"] == SHARE]).empty:
            continue
        (here,), (auc,) = share[columns].to_numpy(), best_walls(share)
        seeds = of_seeds(table, scale)
        low, high = (seeds[[*columns, "walls"]].agg(end) for end in ("min", "max"))
        told = [
            f"{value:.3g} % ({low[column]:.3g} to {high[column]:.3g})"
            for column, value in zip(columns, here, strict=True)
        ]
        told.append(f"walls {auc:.2f} ({low['walls']:.2f} to {high['walls']:.2f})")
        parts.append(f"`{scale}`, β = {share['beta'].squeeze():g}: {', '.join(told)}")
    return (
        "Lost on the virtual and on the measured scan, and walls, with β at today's share of the "
        f"variance (three seeds at β = 1): {'; '.join(parts)}."
    )


def is_proposed(table: pd.DataFrame, scale: str) -> bool:
    """Tell whether the rule proposes a scale as another default."""
    now, then = of_seeds(table, DEFAULT), of_seeds(table, scale)
    lead, lost = then["walls"] - now["walls"], [f"lost % {scan}" for scan in (VIRTUAL, MEASURED)]
    no_more = (then[lost] <= now[lost]).all(axis=None) and (lead > WALLS).all()
    halved = (then[lost] <= LOST_SHARE * now[lost]).all(axis=None) and (lead > -WALLS).all()
    return bool(no_more or halved)


def best_sentence(table: pd.DataFrame, column: str, what: str, unit: str, highest=False) -> str:
    """Name the best scale by the seeds' mean of a column, and whether the seeds bear it out."""
    seeds = {scale: of_seeds(table, scale)[column] for scale in table["scale"].unique()}
    means = pd.Series({scale: values.mean() for scale, values in seeds.items()})
    best = means.idxmax() if highest else means.idxmin()
    said = f"{what}: `{best}` is best ({means[best]:.3g}{unit}"
    if best == DEFAULT:
        second = means.drop(best).idxmax() if highest else means.drop(best).idxmin()
        return f"{said}; the next, `{second}`, {means[second]:.3g}{unit}){_borne(seeds, second)}."
    return f"{said}; today's `{DEFAULT}` {means[DEFAULT]:.3g}{unit}){_borne(seeds, best)}."


def _borne(seeds: dict, scale: str) -> str:
    spread = max(np.ptp(seeds[name].to_numpy()) for name in (scale, DEFAULT))
    apart = abs(seeds[scale].mean() - seeds[DEFAULT].mean())
    larger = "larger" if apart > spread else "not larger"
    return (
        f", a difference {larger} than the range of the three seeds ({apart:.2g} against "
        f"{spread:.2g})"
    )


def page(table: pd.DataFrame) -> str:
    """Return the page (Markdown) of all networks' rows."""
    rows = []
    for scale in table["scale"].unique():
        some = table[table["scale"] == scale].set_index("network")
        kinds = {"32-D, 3 seeds": [*SEEDS], "64-D": [LARGE], "32-D, equal share": [SHARE]}
        for kind, names in kinds.items():
            if not set(names) <= set(some.index):
                continue
            few = some.loc[names]
            row = {"scale": f"`{scale}`", "stretched": STRETCHED[scale], "network": kind}
            row |= {"β": f"{few['beta'].iloc[0]:g}"}
            row |= {"β, % of ½Σ²": f"{few['beta, % of it'].iloc[0]:.2g}"}
            for scan, label in ((VIRTUAL, "virtual"), (MEASURED, "measured")):
                row |= {f"lost %, {label}": _spread(few[f"lost % {scan}"])}
                row |= {f"off °, {label}": _spread(few[f"misorientation deg {scan}"])}
            row |= {"off the truth °": _spread(few[f"error deg {VIRTUAL}"])}
            row |= {"not decoded °": _spread(few["error deg, not decoded"])}
            row |= {f"walls, {p}": _spread(few[f"walls {p}"]) for p in SMOOTHINGS}
            row |= {f"physics, {p}": _spread(few[f"physics {p}"]) for p in SMOOTHINGS}
            rows.append(row | {"active": _spread(few["active"])})
    text = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    return "\n".join([_HEAD, text, "", *_meaning(table), "", *_answers(table), ""])


_HEAD = f"""# Rescaling: what becomes [-1, 1]

`python -m docs.rescaling` makes this page of the tables of `{STUDIES[0]}` and three more studies;
[rescaling.csv](rescaling.csv) has a row per network. Means of three seeds, with the lowest and the
highest.

Lost: wrong or not indexed. Off: median misorientation to the preprocessed patterns, of which each
scale has its own. Off the truth: median of decoded patterns, and beside it of those that are not
decoded. Walls: AUC on `{MAPPED}` of the best latent readout that was not told the truth, at 0, 1
and 2 points of smoothing; it is the best of many, and flattered by that. Physics: the same of the
best physical map, on the camera's scale for the most part, so alike under all scales.
"""


def _spread(values: pd.Series) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return f"{values.mean():.3g}" + (f" [{low}, {high}]" if low != high else "")


def _meaning(table: pd.DataFrame) -> list[str]:
    """Sentences on what beta means."""
    variance = table.groupby("scale", sort=False)["variance"].first()
    shares = ", ".join(f"1 of {value:.0f} (`{scale}`)" for scale, value in variance.items())
    return [
        "**What β means.** The loss is half the sum of squared differences over the screen, plus β "
        "times the KL term. A stretch by a factor multiplies the first by the factor's square and "
        "leaves the second. So β = 1 is another share of the patterns' variance (½Σ², of the "
        f"training sample as preprocessed) under each scale: {shares}. The larger the variance, "
        "the weaker β. Where each pattern is stretched by itself, β weighs every pattern alike; "
        "under `map` a pattern of little contrast has less to lose, and β weighs more for it.",
    ]


def _answers(table: pd.DataFrame) -> list[str]:
    proposed = [s for s in table["scale"].unique() if s != DEFAULT and is_proposed(table, s)]
    said = ", ".join(f"`{scale}`" for scale in proposed)
    rule = (
        f"The rule, of before the tables: in every seed no more points lost on both scans and "
        f"walls better by more than {WALLS}, or at most {LOST_SHARE:.0%} of the lost points on "
        f"both scans and walls not worse by {WALLS}."
    )
    unscored = [s for s in table["scale"].unique() if of_seeds(table, s)["walls"].isna().any()]
    lines = [
        best_sentence(table, f"lost % {VIRTUAL}", "Fewest points lost, virtual", " %"),
        best_sentence(table, f"lost % {MEASURED}", "Fewest points lost, measured", " %"),
        best_sentence(table, f"error deg {VIRTUAL}", "Nearest to the truth, virtual", "°"),
        best_sentence(table, "walls", "Walls, best smoothing", "", highest=True),
        share_sentence(table),
        f"**Propose another default: {f'yes, {said}' if proposed else 'no'}.** {rule}",
    ]
    if unscored:
        lines.append(f"Not every seed's walls are scored: {', '.join(unscored)}.")
    return [f"- {line}" for line in lines]


def main() -> None:
    """Read the four studies; write the table and the page."""
    try:
        table = pd.concat([read(name) for name in STUDIES], ignore_index=True)
    except SentenceError as error:
        raise SystemExit(str(error)) from None
    save_csv(table.assign(commit=git_commit()), Path(__file__).with_suffix(".csv"), digits=4)
    with written_aside(Path(__file__).with_suffix(".md")) as temporary:
        temporary.write_text(page(table), "utf-8")
    print(*_answers(table), sep="\n")


if __name__ == "__main__":
    main()
