"""Table 1 of the paper, from result files, and what its numbers hide.

Table 1 compares the maps of decoded patterns with those of the preprocessed ones they came from;
baselines stand below the models. It is made the paper's way: quality is that of preprocessed
patterns, each stretched to its own range, not that on the camera's scale. Populations: confidence,
``cm`` and misorientation over the points indexed in both, IQ, sharpness and residual over all
points with a pattern; empty ones do not count.
Table 1 of the paper prints radians under the heading degrees; both are given here.

Beside the paper's columns stand: lost points, which are wrong or not indexed; those inside and
outside of pores; the error to the truth of virtual scans (their matrix alone); and whether the
training had converged. Intervals and differences are of :mod:`kikuhelpers.tables.intervals`.
"""

from html import escape
from operator import methodcaller

import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap

from kikuhelpers.indexing.orientation_maps import collected, misorientation_map
from kikuhelpers.latents.view import View
from kikuhelpers.runs.files import save_csv, written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED, PROJECT_ROOT, Study, roles
from kikuhelpers.tables.intervals import Resamples, lattice_labels
from kikuhelpers.training.convergence import still_falling

PAPER_TABLE1 = PROJECT_ROOT / "data" / "paper_table1.csv"
QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
RATIOS = {"ci_ratio": "ci", "cm_ratio": "cm", "iq_ratio": "pq", "sharpness_ratio": "sharpness"}
FINAL_TERMS = ("loss", "reconstruction", "kl", "active_units")  # of the last history line
RESIDUAL = "residual (½Σ²)"
WRONG_DEG = 15.0  # indexed but further off counts as wrong
_OF_ALL_POINTS = {"iq_ratio", "sharpness_ratio"}
# Confidence of a preprocessed pattern below which its point counts as in a pore: of fcc patterns
# above it 95 % are indexed right (Field, Ultramicroscopy 67 (1997) 1). Particles are among them.
PORE_CI, _CI_DIGITS = 0.1, 3  # archived confidences are sure to so many digits
_QUANTITIES = [*RATIOS, "misorientation_deg", "misorientation_rad", "residual"]
_QUANTITIES += ["truth_error_deg", "preprocessed_truth_error_deg"]
_COMPARED = ["indexed_pct", "lost_pct", "misorientation_deg_q50", "residual_mean"]
_COMPARED += ["truth_error_deg_q50"]
_IN_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {sign: f"${sign}$" for sign in "<>"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"½": r"$\frac12$", "Σ": r"$\Sigma$", "β": r"$\beta$", "²": "$^2$", "°": r"$^\circ$"}
)
_PARTS = ("", "_by_scan", "_intervals", "_differences")
_WHOLE = dict.fromkeys(("latent_dim", "seed", "presentations"), "Int64")  # some missing


def compare_maps(before: CrystalMap, after: CrystalMap, true=None) -> pd.DataFrame:
    """Compare a map of decoded patterns with its original, point by point, and with the truth.

    Returns
    -------
    pandas.DataFrame
        One row per point: ``indexed`` (after), ``both``, ``misorientation_deg`` (NaN unless
        both are of one phase; ``..._rad`` too), ``off_deg`` (the same, but infinite for another
        phase), ``pore`` (see :data:`PORE_CI`) and the ratios after / before; NaN outside their
        population and where the original is 0. With a ``true`` map the angles of both to it,
        ``truth_error_deg`` and ``preprocessed_truth_error_deg``.
    """
    indexed_before, indexed = before.phase_id >= 0, after.phase_id >= 0
    points = pd.DataFrame({"indexed": indexed, "both": indexed & indexed_before})
    points["misorientation_deg"] = misorientation_map(before, after).ravel()
    points["misorientation_rad"] = np.radians(points["misorientation_deg"])
    points["pore"] = ~(np.round(before.prop["ci"], _CI_DIGITS) >= PORE_CI)
    for name, xmap in (("", after), ("preprocessed_", before)) if true is not None else ():
        points[f"{name}truth_error_deg"] = misorientation_map(xmap, true).ravel()
    changed = points["both"] & (before.phase_id != after.phase_id)
    points["off_deg"] = points["misorientation_deg"].mask(changed, np.inf)
    for name, prop in RATIOS.items():
        known = before.prop[prop] != 0
        if name not in _OF_ALL_POINTS:
            known &= points["both"].to_numpy()
        points[name] = np.nan
        points.loc[known, name] = after.prop[prop][known] / before.prop[prop][known]
    return points


def summarise(points: pd.DataFrame) -> dict[str, float]:
    """Summarise points as one row of Table 1: percentages and 10/50/90 % quantiles.

    ``lost_pct`` are wrong or not indexed; ``pores_pct`` is the share of points in pores.
    """
    means, quantities = _columns(points)
    row = {"n": len(points), "n_both": int(points["both"].sum())} | means.mean().to_dict()
    for name, values in quantities.items():
        row |= {f"{name}_{label}": values.quantile(q) for label, q in QUANTILES.items()}
    return row


def _columns(points: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a row of Table 1 holds the means of, and the quantiles of; NaN where not counted."""
    wrong, pore = points["off_deg"] > WRONG_DEG, points["pore"]
    lost = (wrong | ~points["indexed"]).astype(float)
    shares = {"indexed_pct": points["indexed"], "wrong_pct": wrong, "lost_pct": lost}
    shares |= {"lost_pct_outside_pores": lost.where(~pore), "lost_pct_in_pores": lost.where(pore)}
    shares = 100 * pd.DataFrame(shares | {"pores_pct": pore}).astype(float)
    residual = points.filter(["residual"]).add_suffix("_mean")
    return pd.concat([shares, residual], axis=1), points.filter(_QUANTITIES)


def table1(results: Results) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return Table 1, one row per model and baseline over all scans; per scan; and how sure it is.

    The paper's values stand beside ours in columns ``paper_...``, empty where the paper
    has no such model, or the study none of its specimens. ``residual_...`` are of half the sum
    of squared differences inside the screen. ``lattices`` are those that the intervals, the third
    table, draw. The fourth holds differences, model minus reference, with intervals of the same
    draws: against the largest conventional VAE (other losses: that of their dimension, too), a PCA
    of as many components, and, in the error to the truth, the preprocessed patterns.
    """
    study, paper = results.study, pd.read_csv(PAPER_TABLE1)
    for label in QUANTILES:
        radians = paper[f"paper_misorientation_rad_{label}"]
        paper[f"paper_misorientation_deg_{label}"] = np.degrees(radians)
    if all(study.scan(scan).figures.role == "other" for scan in study.decoded_scans):
        paper = paper[:0]  # none of its specimens, so none of its rows
    rows, scan_rows, resampled = [], [], {}
    maps = {scan: results.orientations(PREPROCESSED, scan) for scan in study.decoded_scans}
    truth = {s: View.whole(results, s).true_orientations() for s in maps if study.is_virtual(s)}
    there = np.concatenate([collected(xmap) for xmap in maps.values()])
    lattices = lattice_labels([*maps.values()], study.indexing.grain_deg)
    resamples = Resamples(lattices[there], study.seed)
    for name in study.decoders:
        head, parts = _head(results, name), []
        for scan, before in maps.items():
            points = compare_maps(before, results.orientations(name, scan), truth.get(scan))
            points["residual"] = results.model_scan(name, scan).pattern_loss.ravel()
            parts.append(points[collected(before)])
            scan_rows.append(head | {"scan": scan} | summarise(parts[-1]))
        points = pd.concat(parts)
        rows.append(head | {"lattices": resamples.count} | summarise(points))
        resampled[name] = resamples.numbers(*_columns(points), QUANTILES)
    intervals = {name: resamples.ends(numbers) for name, numbers in resampled.items()}
    intervals = pd.concat(intervals, names=["model"]).reset_index("model")
    table = pd.DataFrame(rows).astype(_WHOLE)
    differences = _differences(study, table.set_index("model"), resampled, resamples)
    table = table.merge(paper, how="left", on=["loss", "latent_dim", "beta"])
    return table, pd.DataFrame(scan_rows).astype(_WHOLE), intervals, differences


def _differences(study, table: pd.DataFrame, resampled: dict, resamples: Resamples) -> pd.DataFrame:
    """Differences between rows of Table 1, paired; ``table`` and ``resampled`` are by model."""
    largest = roles.largest_vae(study)
    pairs = [(name, largest) for name in study.decoders if name != largest]
    for name, model in study.models.items():
        alike = (table["loss"] == "pca") & (table["latent_dim"] == model.latent_dim)
        pairs += [(name, pca) for pca in table.index[alike]]
        vaes = [] if (model.loss, model.beta) == ("vae", 1) else roles.vaes(study)[:-1]
        pairs += [(name, v) for v in vaes if study.model(v).latent_dim == model.latent_dim]
    own = {f"preprocessed_{name}": name for name in _COMPARED if f"preprocessed_{name}" in table}
    pairs += [(name, PREPROCESSED) for name in study.decoders if own]
    before = table.loc[[largest], [*own]].set_axis([PREPROCESSED]).rename(columns=own)
    table = pd.concat([table, before]).reindex(columns=_COMPARED)
    resampled = resampled | {PREPROCESSED: resampled[largest][[*own]].rename(columns=own)}
    rows = []
    for model, reference in pairs:
        found = resamples.ends((resampled[model] - resampled[reference]).reindex(columns=_COMPARED))
        found["difference"] = (table.loc[model] - table.loc[reference]).to_numpy(float)
        found = found[found["difference"].notna()].assign(model=model, reference=reference)
        rows += found.to_dict("records")
    return pd.DataFrame(rows, columns=["model", "reference", "number", "difference", "low", "high"])


def _head(results: Results, name: str) -> dict:
    """What a row of Table 1 is of: a model and its training, as its card says, or a baseline."""
    if name in results.study.baselines:
        settings = results.study.baseline(name)
        components = getattr(settings, "components", None)  # NLPAR has none
        return {"model": name, "loss": settings.method, "latent_dim": components}
    card = results.model(name).card
    settings = {key: card["settings"][key] for key in ("loss", "latent_dim", "beta", "seed")}
    last = {f"final_{term}": card["last"][term] for term in FINAL_TERMS}
    last |= still_falling(results.model(name).history)
    return {"model": name, **settings, "presentations": card["presentations"], **last}


def held_out_table(results: Results) -> pd.DataFrame:
    """Return rows of Table 1 for orientations that a model held out, if one does, and the others.

    Held-out grains may be easier or harder than the others, so a model that saw all points
    stands beside the one that did not, on the same points.

    Returns
    -------
    pandas.DataFrame
        For each model with ``hold_out``, and each like it that saw all: ``model``, ``points``
        ("held out" or "others"), ``seen`` (by the model) and the numbers of :func:`summarise`.
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
            points["residual"] = results.model_scan(name, scan).pattern_loss.ravel()
            for label, inside in (("held out", held_out), ("others", others)):
                row = {"model": name, "points": label, "seen": name != blind or label == "others"}
                rows.append(row | summarise(points[inside.ravel()]))
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
    """Write table1.csv, .md and .tex, ..._by_scan, _intervals and _differences.csv; return it.

    It is returned as printed. Models without results have no row; the caption names them.
    """
    results = results.complete()
    parts = dict(zip(_PARTS, table1(results), strict=True))
    printed, folder = printed_table1(parts[""]), results.layout.figures
    caption = f"{title_of(results.study)}: decoded against preprocessed patterns, the paper's way "
    caption += "(rescaled patterns, not on the camera's scale), 10 % / 50 % / 90 % quantiles; "
    caption = " ".join((caption + "residual: mean; lost: wrong or not indexed.", *results.left_out))
    for name, part in parts.items():
        save_csv(part, folder / f"table1{name}.csv")
    with written_aside(folder / "table1.md") as temporary:
        page = f"{escape(caption, quote=False)}\n\n{printed.to_markdown(index=False)}\n"
        temporary.write_text(page, "utf-8")
    with written_aside(folder / "table1.tex") as temporary:
        temporary.write_text(in_latex(printed, caption), "utf-8")
    return printed


def in_latex(printed: pd.DataFrame, caption: str) -> str:
    r"""Return a printed Table 1 for LaTeX, with booktabs and longtable: pages of 17 cm hold it.

    All its columns are wider than a page, so the ratios stand in a second table below.
    """
    escaped = methodcaller("translate", _IN_LATEX)
    printed = printed.rename(columns=escaped).map(escaped)
    ratios = printed.columns.str.contains("ratio|truth")
    parts = {escaped(caption): ~ratios, None: ratios | (printed.columns == "model")}
    tables = "".join(
        printed.loc[:, part].to_latex(
            index=False, longtable=True, caption=above, column_format="l" + "r" * (part.sum() - 1)
        )
        for above, part in parts.items()
    )
    return f"{{\\scriptsize\\setlength{{\\tabcolsep}}{{3pt}}\n{tables}}}\n"


def title_of(study: Study) -> str:
    """Return the title of a study, which says where patterns are virtual."""
    return f"{study.title}{' (virtual specimens)' if study.virtual_scans else ''}"


def _printed(row: pd.Series, prefix: str) -> dict[str, str]:
    def cell(name: str, digits: int) -> str:
        values = [row.get(f"{prefix}{name}_{label}") for label in QUANTILES]
        return "" if any(pd.isna(values)) else " / ".join(f"{v:.{digits}f}" for v in values)

    def number(name: str) -> str:
        value = row.get(f"{prefix}{name}")
        return "" if pd.isna(value) else f"{value:.1f}"

    printed = {
        "n": "" if prefix else f"{row['n']}",
        "indexed %": number("indexed_pct"),
        f"> {WRONG_DEG:g}° off %": number("wrong_pct"),
        "lost %": number("lost_pct"),
        "CI ratio": cell("ci_ratio", 2),
        "cm ratio": cell("cm_ratio", 2),
        "IQ ratio": cell("iq_ratio", 2),
        "misorientation (°)": cell("misorientation_deg", 1 if prefix else 2),
        "misorientation (rad)": cell("misorientation_rad", 2 if prefix else 3),
        "sharpness ratio": cell("sharpness_ratio", 2),
        RESIDUAL: number("residual_mean"),
    }
    if "truth_error_deg_q50" in row:
        before = row["preprocessed_truth_error_deg_q50"]
        printed[f"off the truth (°; preprocessed {before:.2f})"] = cell("truth_error_deg", 2)
    return printed
