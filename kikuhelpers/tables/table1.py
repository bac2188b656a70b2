"""Table 1 of the paper, from result files.

Table 1 compares the maps of decoded patterns with those of the preprocessed ones they
came from; baselines stand below the models. Populations: confidence, ``cm`` and
misorientation over the points indexed in both, IQ, sharpness and residual over all points with a
pattern; empty ones do not count.
Table 1 of the paper prints radians under the heading degrees; both are given here.

How sure the numbers are, bootstrap intervals say. Neighbouring points are of one grain and share
its errors, so points are not drawn one by one, which would make the intervals too narrow, but in
square blocks (a block bootstrap: Lahiri, Resampling Methods for Dependent Data, 2003,
doi:10.1007/978-1-4757-3803-2). What they do not hold: another specimen, another training.
"""

import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap

from kikuhelpers.indexing.orientation_maps import collected, misorientation_map
from kikuhelpers.runs.files import save_csv, written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED, PROJECT_ROOT, Study

PAPER_TABLE1 = PROJECT_ROOT / "data" / "paper_table1.csv"
QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
RATIOS = {"ci_ratio": "ci", "cm_ratio": "cm", "iq_ratio": "pq", "sharpness_ratio": "sharpness"}
FINAL_TERMS = ("loss", "reconstruction", "kl", "active_units")  # of the last history line
RESIDUAL = "residual (½Σ²)"
_OF_ALL_POINTS = {"iq_ratio", "sharpness_ratio"}
_BLOCK_POINTS = 20  # side of a block: less than a grain, more than a scratch is wide
_RESAMPLES = 1000
_LEVEL = 0.95  # of the intervals
_WHOLE = ("latent_dim", "seed", "presentations")  # whole numbers, some missing


def compare_maps(before: CrystalMap, after: CrystalMap) -> pd.DataFrame:
    """Compare a map of decoded patterns with its original, point by point.

    Returns
    -------
    pandas.DataFrame
        One row per point: ``indexed`` (after), ``both``, ``misorientation_deg`` (NaN unless
        both are of one phase), ``off_deg`` (the same, but infinite for another phase) and the
        ratios after / before; NaN outside their population and where the original is 0.
    """
    indexed_before, indexed = before.phase_id >= 0, after.phase_id >= 0
    points = pd.DataFrame({"indexed": indexed, "both": indexed & indexed_before})
    points["misorientation_deg"] = misorientation_map(before, after).ravel()
    changed = points["both"] & (before.phase_id != after.phase_id)
    points["off_deg"] = points["misorientation_deg"].mask(changed, np.inf)
    for name, prop in RATIOS.items():
        known = before.prop[prop] != 0
        if name not in _OF_ALL_POINTS:
            known &= points["both"].to_numpy()
        points[name] = np.nan
        points.loc[known, name] = after.prop[prop][known] / before.prop[prop][known]
    return points


def summarise(points: pd.DataFrame, wrong_deg: float) -> dict[str, float]:
    """Summarise points as one row of Table 1: percentages and 10/50/90 % quantiles."""
    misorientation = points["misorientation_deg"]
    shares = {
        "n": len(points),
        "n_both": int(points["both"].sum()),
        "indexed_pct": 100 * points["indexed"].mean(),
        "wrong_pct": 100 * (points["off_deg"] > wrong_deg).mean(),
    }
    return shares | _quantiles(
        **points[["ci_ratio", "cm_ratio", "iq_ratio", "misorientation_deg"]],
        misorientation_rad=np.radians(misorientation),
        sharpness_ratio=points["sharpness_ratio"],
    )


def _quantiles(**columns: pd.Series) -> dict[str, float]:
    return {
        f"{name}_{label}": values.quantile(q)
        for name, values in columns.items()
        for label, q in QUANTILES.items()
    }


def table1(results: Results) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return Table 1, one row per model and baseline over all scans; per scan; intervals.

    The paper's values stand beside ours in columns ``paper_...``, empty where the paper
    has no such model, or the study none of its specimens. ``residual_...`` are of half the sum
    of squared differences inside the screen. The third table holds the bootstrap intervals of
    the first one's numbers.
    """
    study, paper = results.study, pd.read_csv(PAPER_TABLE1)
    for label in QUANTILES:
        radians = paper[f"paper_misorientation_rad_{label}"]
        paper[f"paper_misorientation_deg_{label}"] = np.degrees(radians)
    if all(study.scan(scan).figures.role == "other" for scan in study.decoded_scans):
        paper = paper[:0]  # none of its specimens, so none of its rows
    rows, scan_rows, intervals = [], [], []
    for name in study.decoders:
        head, scans = _head(results, name), {}
        for scan in study.decoded_scans:
            maps = [results.orientations(kind, scan) for kind in (PREPROCESSED, name)]
            points = compare_maps(*maps)
            points["residual"] = results.model_scan(name, scan).pattern_loss.ravel()
            points["block"] = _block_labels(maps[0].shape)
            scans[scan] = points[collected(maps[0])]
            scan_rows.append(head | {"scan": scan} | _numbers(study, scans[scan]))
        points = pd.concat(scans, names=["scan"])
        blocks = points.groupby(["scan", "block"]).ngroup().to_numpy()
        rows.append(head | _numbers(study, points))
        points = points.drop(columns="block")
        ends = _intervals(points, blocks, study.tables.wrong_deg, study.seed)
        intervals.append(ends.assign(model=name))
    whole = dict.fromkeys(_WHOLE, "Int64")
    table = pd.DataFrame(rows).astype(whole)
    table = table.merge(paper, how="left", on=["loss", "latent_dim", "beta"])
    return table, pd.DataFrame(scan_rows).astype(whole), pd.concat(intervals)


def _head(results: Results, name: str) -> dict:
    """What a row of Table 1 is of: a model and its training, as its card says, or a baseline."""
    study = results.study
    if name in study.baselines:
        settings = study.baseline(name)
        components = getattr(settings, "components", None)  # NLPAR has none
        return {"model": name, "loss": settings.method, "latent_dim": components}
    card = results.model(name).card
    settings = {key: card["settings"][key] for key in ("loss", "latent_dim", "beta", "seed")}
    last = {f"final_{term}": card["last"][term] for term in FINAL_TERMS}
    return {"model": name, **settings, "presentations": card["presentations"], **last}


def _numbers(study: Study, points: pd.DataFrame) -> dict[str, float]:
    residual = points["residual"]
    row = summarise(points, study.tables.wrong_deg) | {"residual_mean": residual.mean()}
    return row | _quantiles(residual=residual)


def _block_labels(shape: tuple[int, int]) -> np.ndarray:
    """Number of the square block (at the last edges part of one) of each point, (n,) int."""
    rows, columns = (np.arange(n) // _BLOCK_POINTS for n in shape)
    return (rows[:, np.newaxis] * (columns[-1] + 1) + columns).ravel()


def _intervals(
    points: pd.DataFrame, blocks: np.ndarray, wrong_deg: float, seed: int
) -> pd.DataFrame:
    """Intervals of one row of Table 1: ``number`` (its column there), ``low`` and ``high``.

    ``points`` are as compare_maps returns them; ``blocks`` (n,) differ between scans.
    """
    hits = {
        "indexed_pct": points["indexed"].to_numpy(),
        "wrong_pct": points["off_deg"].to_numpy() > wrong_deg,
    }
    rows = [(name, *_share_intervals(hit, blocks, seed)) for name, hit in hits.items()]
    for name, values in points.drop(columns=["indexed", "both", "off_deg"]).items():
        ends = _quantile_intervals(values.to_numpy(float), blocks, [*QUANTILES.values()], seed)
        rows += [(f"{name}_{label}", *pair) for label, pair in zip(QUANTILES, ends, strict=True)]
    return pd.DataFrame(rows, columns=["number", "low", "high"])


def _quantile_intervals(
    values: np.ndarray, blocks: np.ndarray, quantiles: list[float], seed: int
) -> np.ndarray:
    """Bootstrap interval of each quantile of some values, (quantiles, 2), NaN without any.

    ``values`` (n,) are NaN outside the population; ``blocks`` (n,) are drawn with repetition.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.full((len(quantiles), 2), np.nan)
    order, found = known[np.argsort(values[known])], []
    for weights in _draws(blocks, seed):
        total = np.cumsum(weights[blocks[order]])
        places = np.searchsorted(total, np.asarray(quantiles) * total[-1])
        found.append(values[order[np.minimum(places, len(order) - 1)]])
    return _ends(found)


def _share_intervals(hits: np.ndarray, blocks: np.ndarray, seed: int) -> np.ndarray:
    """Bootstrap interval (2,) of a share, in percent; ``hits`` (n,) bool."""
    of_block, size = np.bincount(blocks, hits), np.bincount(blocks)
    return _ends([100 * (w @ of_block) / (w @ size) for w in _draws(blocks, seed)])


def _draws(blocks: np.ndarray, seed: int):
    """Yield how often each block is drawn, once per resample."""
    count = int(blocks.max()) + 1
    rng = np.random.default_rng(seed)
    for _ in range(_RESAMPLES):
        yield np.bincount(rng.integers(0, count, count), minlength=count)


def _ends(found: list) -> np.ndarray:
    """Ends of the central interval of the numbers that each resample gave, (numbers, 2)."""
    tail = (1 - _LEVEL) / 2
    return np.quantile(found, [tail, 1 - tail], axis=0).T


def held_out_table(results: Results) -> pd.DataFrame:
    """Return rows of Table 1 for orientations that a model never saw, and for the others.

    Returns
    -------
    pandas.DataFrame
        For each model with ``hold_out``, and each like it that saw all points: ``model``,
        ``points`` ("held out" or "others"), ``seen`` (whether the model saw them),
        ``residual_mean`` (half the sum of squared differences) and the numbers of
        :func:`summarise`. Empty where no model holds out grains.

    Notes
    -----
    Held-out grains may be easier or harder than the others. So a model that saw all points
    stands beside the one that did not, on the same points.
    """
    study, rows = results.study, []
    for blind, model in study.models.items():
        if not model.hold_out:
            continue
        held_out, scan = results.model(blind).held_out, model.hold_out.scan
        before = results.orientations(PREPROCESSED, scan)
        others = ~held_out & collected(before).reshape(before.shape)
        seeing = model.recipe.model_copy(update={"hold_out": None})
        alike = [name for name, other in study.models.items() if other.recipe == seeing]
        for name in [blind, *alike]:
            points = compare_maps(before, results.orientations(name, scan))
            losses = results.model_scan(name, scan).pattern_loss
            for label, inside in (("held out", held_out), ("others", others)):
                row = {"model": name, "points": label, "seen": name != blind or label == "others"}
                row["residual_mean"] = float(losses[inside].mean())
                rows.append(row | summarise(points[inside.ravel()], study.tables.wrong_deg))
    return pd.DataFrame(rows)


def printed_table1(table: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1 as it is read: "10 % / 50 % / 90 %" in one cell, the paper's below.

    Where several models stand for one row of the paper, its values follow the first.
    """
    rows, shown = [], []
    for _, row in table.iterrows():
        rows.append({"model": row["model"], **_printed(row, "")})
        papers = _printed(row, "paper_")
        if pd.notna(row["paper_indexed_pct"]) and papers not in shown:
            rows.append({"model": "  (paper)", **papers})
            shown.append(papers)
    return pd.DataFrame(rows)


def save_table1(results: Results) -> pd.DataFrame:
    """Write table1.csv, .md, .tex, ..._by_scan.csv, ..._intervals.csv; return the printed table.

    Models without results have no row; the caption names them.
    """
    results = results.complete()
    table, by_scan, intervals = table1(results)
    printed, folder = printed_table1(table), results.layout.figures
    caption = f"{title_of(results.study)}: decoded against preprocessed patterns, "
    caption += "10 % / 50 % / 90 % quantiles; residual: mean."
    caption = " ".join((caption, *results.left_out))
    save_csv(table, folder / "table1.csv")
    save_csv(by_scan, folder / "table1_by_scan.csv")
    save_csv(intervals[["model", "number", "low", "high"]], folder / "table1_intervals.csv")
    with written_aside(folder / "table1.md") as temporary:
        temporary.write_text(f"{caption}\n\n{printed.to_markdown(index=False)}\n")
    with written_aside(folder / "table1.tex") as temporary:
        text = printed.to_latex(index=False, escape=True, caption=caption.replace("%", r"\%"))
        temporary.write_text(text)
    return printed


def title_of(study: Study) -> str:
    """Return the title of a study, which says where patterns are virtual."""
    return f"{study.title}{' (virtual specimens)' if study.virtual_scans else ''}"


def _printed(row: pd.Series, prefix: str) -> dict[str, str]:
    def cell(name: str, digits: int) -> str:
        values = [row.get(f"{prefix}{name}_{label}") for label in QUANTILES]
        return "" if any(pd.isna(values)) else " / ".join(f"{v:.{digits}f}" for v in values)

    wrong, residual = row.get(f"{prefix}wrong_pct"), row.get("residual_mean")
    return {
        "n": "" if prefix else f"{row['n']}",
        "indexed %": f"{row[f'{prefix}indexed_pct']:.1f}",
        "> 15° off %": "" if pd.isna(wrong) else f"{wrong:.1f}",
        "CI ratio": cell("ci_ratio", 2),
        "cm ratio": cell("cm_ratio", 2),
        "IQ ratio": cell("iq_ratio", 2),
        "misorientation (°)": cell("misorientation_deg", 1 if prefix else 2),
        "misorientation (rad)": cell("misorientation_rad", 2 if prefix else 3),
        "sharpness ratio": cell("sharpness_ratio", 2),
        RESIDUAL: "" if prefix or pd.isna(residual) else f"{residual:.1f}",
    }
