"""Table, page and picture of docs/generalisation.py: python -m docs.generalisation_page.

The design and the rule stand there. What is finished is shown, and every line says of how many
seeds it is. Intervals: 95 %, the test's orientations drawn again 1,000 times, the same draws for
all methods; so differences are paired.
"""

from itertools import product
from pathlib import Path

from docs import generalisation as design  # isort: skip  (numba compiles as kikuhelpers says: first)
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.ticker import LogLocator

from docs.generalisation import EQUAL, ITSELF, LONGER, MEMORY, ON_TRAINED, ON_UNSEEN, PCA_32, VAE
from kikuhelpers.figures import drawing, style
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_csv, written_aside
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.training.vae import KikuchiVAE, count_parameters

# To the nearest trained orientation; chosen before any outcome.
BINS_DEG = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, design.WORST_DEG)
_RESAMPLES, _LEVEL, _SEED = 1000, 0.95, 1
FAR_DEG = 5.0  # of the claim in data/claims.yaml
_FEWEST = 20  # patterns in a bin that is shown
_SECTIONS = {
    ON_UNSEEN: "Orientations never seen",
    ON_TRAINED: "Trained orientations, exposed again",
}
_SHOWN = {"lost %": "lost %", "error deg": "off °", "residual": "residual"}
_COUNTS = ["orientations", "presentations", "seed"]
_METHODS = (VAE, PCA_32, MEMORY, ITSELF)
_HEIGHT_MM, _DPI = 78.0, 200
_SHADES = dict(zip((VAE, MEMORY, PCA_32), colormaps["viridis"]([0.0, 0.45, 0.8]), strict=True))
_LOOKS = {name: {"color": shade} for name, shade in _SHADES.items()}
_LOOKS[VAE] |= {"marker": "o"}
_LOOKS[PCA_32] |= {"marker": "D"}
_LOOKS[MEMORY] |= {"marker": "s"}
_LOOKS[ITSELF] = {"color": "0.5", "ls": "--"}


# ------------------------------------------------- tables
def all_scores() -> pd.DataFrame:
    """Return the scores of all finished networks and of their samples' baselines, per pattern.

    The baselines stand in every row of the design that has their sample.
    """
    parts = []
    for seed, n in product(design.SEEDS, design.ORIENTATIONS):
        for row in (*design.ROWS, LONGER):
            shown = design.presentations_of(n, row)
            of_network = design.scores_file(seed, n, shown)
            if of_network.is_file():
                head = {"row": row, "orientations": n, "seed": seed, "presentations": shown}
                files = of_network, design.scores_file(seed, n)
                parts += [pd.read_csv(file).assign(**head) for file in files]
    if not parts:
        raise SentenceError("No network is finished yet: train with python -m docs.generalisation.")
    return pd.concat(parts, ignore_index=True)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a line per row of the design, N, seed, test and method, with intervals.

    ``more lost %`` and ``more error deg`` are over the noisy patterns themselves, the same ones.
    """
    lines, keys = [], ["row", "orientations", "presentations", "seed", "set"]
    for head, of_test in scores.groupby(keys, sort=False):
        by_method = dict(tuple(of_test.groupby("method", sort=False)))
        own = by_method[ITSELF]
        draws = _draws(own["unit"].to_numpy())
        of_itself = _measures(own["off_deg"].to_numpy(), draws)
        for method in _METHODS:
            some = by_method[method]
            line = dict(zip(keys, head, strict=True)) | {"method": method, "patterns": len(some)}
            line |= {"nearest deg": some["nearest_deg"].median()}
            found = _measures(some["off_deg"].to_numpy(), draws)
            for name, values in found.items():
                line |= _with_interval(name, values)
            for name, values in of_itself.items():
                line |= _with_interval(f"more {name}", found[name] - values)
            line |= {"error deg, 90%": some["off_deg"].quantile(0.9)}
            line |= {"residual": some["residual"].median()}
            lines.append(line | {"residual, 90%": some["residual"].quantile(0.9)})
    return pd.DataFrame(lines)


def _draws(unit: np.ndarray) -> list[np.ndarray]:
    """Patterns of all orientations, then of orientations drawn again and again."""
    members = [*pd.Series(unit).groupby(unit).indices.values()]
    rng = np.random.default_rng(_SEED)
    draws = rng.integers(0, len(members), (_RESAMPLES, len(members)))
    return [np.arange(len(unit)), *(np.concatenate([members[i] for i in of]) for of in draws)]


def _measures(off_deg: np.ndarray, draws: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Share lost in % and median error, of all patterns and of each draw of them."""
    lost = off_deg > design.LOST_DEG
    return {
        "lost %": np.array([100 * lost[of].mean() for of in draws]),
        "error deg": np.array([np.median(off_deg[of]) for of in draws]),
    }


def _with_interval(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values[1:], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return {name: values[0], f"{name}, low": low, f"{name}, high": high}


def by_distance(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the share of unseen patterns that is lost, by the distance to the nearest trained one.

    A line per method and bin, of the row of equal presentations, all N and seeds together.
    """
    some = scores[(scores["row"] == EQUAL) & (scores["set"] == ON_UNSEEN)]
    some = some.assign(lost=100 * (some["off_deg"] > design.LOST_DEG), n=1)
    some["bin"] = np.searchsorted(BINS_DEG[1:-1], some["nearest_deg"], side="right")
    units, lines = np.unique(some["unit"]), []
    draws = np.random.default_rng(_SEED).multinomial(
        len(units), np.full(len(units), 1 / len(units)), _RESAMPLES
    )
    times = np.concatenate([np.ones((1, len(units)), int), draws])
    for (method, bin_), here in some.groupby(["method", "bin"]):
        if len(here) < _FEWEST:
            continue
        per_unit = here.groupby("unit")[["lost", "n"]].sum().reindex(units, fill_value=0)
        count = times @ per_unit["n"].to_numpy()
        shares = (times @ per_unit["lost"].to_numpy())[count > 0] / count[count > 0]
        line = {"row": EQUAL, "set": ON_UNSEEN, "method": method, "patterns": len(here)}
        line |= {"from deg": BINS_DEG[bin_], "to deg": BINS_DEG[bin_ + 1]}
        line |= {"nearest deg": here["nearest_deg"].mean()}
        lines.append(line | _with_interval("lost %", shares))
    return pd.DataFrame(lines)


def claim_row(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the line that data/claims.yaml judges as ``universal_encoder``.

    Median error of unseen orientations farther than FAR_DEG from any trained one, seeds together,
    at the N where the VAE's is least; beside it PCA's, of the same patterns.
    """
    some = scores[(scores["row"] == EQUAL) & (scores["set"] == ON_UNSEEN)]
    some = some[some["nearest_deg"] > FAR_DEG]
    n = some[some["method"] == VAE].groupby("orientations")["off_deg"].median().idxmin()
    some = some[some["orientations"] == n].sort_values(["seed", "unit"])
    own, other = (some[some["method"] == method] for method in (VAE, PCA_32))
    draws = _draws(own.groupby(["seed", "unit"]).ngroup().to_numpy())
    errors = [_measures(of["off_deg"].to_numpy(), draws)["error deg"] for of in (own, other)]
    ends = [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
    (low, high), (below, above) = (
        np.quantile(v[1:], ends) for v in (errors[0], np.subtract(*errors))
    )
    seeds = own["seed"].nunique()
    line = {"claim": "universal_encoder", "value": errors[0][0], "low": low, "high": high}
    line |= {"baseline": errors[1][0], "lead_low": below, "lead_high": above}
    line |= {"units": f"{len(own)} orientations, N = {n}, {seeds} of {len(design.SEEDS)} seeds"}
    return pd.DataFrame([line | {"commit": git_commit()}])


def of(table: pd.DataFrame, row: str, test: str, method: str, n: int | None = None) -> pd.DataFrame:
    """Return the lines, one per seed, of a row of the design, a test, a method and an N."""
    kept = (table["row"] == row) & (table["set"] == test) & (table["method"] == method)
    return table[kept & ((table["orientations"] == n) if n else True)]


# ------------------------------------------------- the rule
def passes(lines: pd.DataFrame) -> str:
    """Tell whether lines of one N hold the rule: "yes", "no", "not known yet" without all seeds."""
    holds = lines["more lost %"] <= design.MORE_LOST_PCT
    holds &= lines["more error deg"] <= design.MORE_ERROR_DEG
    if not holds.all():
        return "no"
    return "yes" if set(design.SEEDS) <= set(lines["seed"]) else "not known yet"


def verdict(table: pd.DataFrame, n: int, method: str = VAE, test: str = ON_UNSEEN) -> str:
    """Tell by the rule whether N generalises; of another method or test, whether it would."""
    return passes(of(table, EQUAL, test, method, n))


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Return by how much a tenfold N lowers what is lost, and the error, between the last two N.

    A line per seed: points of ``more lost %``, and the factor of ``more error deg``.
    """
    lines, (n_before, n_last) = [], design.ORIENTATIONS[-2:]
    decades = np.log10(n_last / n_before)
    pair = [of(table, EQUAL, ON_UNSEEN, VAE, n).set_index("seed") for n in (n_before, n_last)]
    for seed in pair[0].index.intersection(pair[1].index):
        before, last = (some.loc[seed] for some in pair)
        points = (before["more lost %"] - last["more lost %"]) / decades
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = (before["more error deg"] / last["more error deg"]) ** (1 / decades)
        lines.append({"seed": seed, "points": points, "factor": factor})
    return pd.DataFrame(lines, columns=["seed", "points", "factor"])


# ------------------------------------------------- the page
_HEAD = """# Does a VAE know orientations that it was never shown?

`python -m docs.generalisation` trains the networks and scores them;
`python -m docs.generalisation_page` makes this page, [its table](generalisation.csv) (a line per
network, test and method, then lines by distance, with intervals) and the picture. Design and rule
stand at the head of [generalisation.py](generalisation.py) and are older than the results.

All patterns are virtual: one camera, one pattern centre, one dose, perfect nickel. A network of N
orientations and {sample:,} patterns is tested on {tested:,} other orientations. Lost: not indexed
after decoding, or more than {lost:g}° off the truth. Off: median angle to the truth. Residual:
median of half the sum of squared differences to the pattern without noise, inside the screen.
Mean of the seeds, and their range in brackets. Memory: the nearest pattern of the sample; it is not
lost where a trained orientation lies within {lost:g}°, so look at its error, too. Itself: the noisy
pattern, not decoded.

![Lost, error and distance](generalisation.png)
"""


def _spread(values: pd.Series) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return f"{values.mean():.3g}" + (f" [{low}, {high}]" if low != high else "")


def markdown_of(table: pd.DataFrame, test: str, column: str, label: str) -> str:
    """Return a table (Markdown) with a line per row of the design and N, a column per method."""
    rows, some = [], table[table["set"] == test]
    for head, lines in some.groupby(["row", "orientations", "presentations"], sort=False):
        row, n, shown = head
        line = {"networks": row, "N": f"{n:,}", "shown": f"{shown:,}"}
        line |= {"seeds": f"{lines['seed'].nunique()}"}
        if test == ON_UNSEEN:
            line |= {"nearest °": _spread(lines["nearest deg"])}
        for method in _METHODS:
            of_method = lines[lines["method"] == method]
            line |= {f"{label}, {method}": _spread(of_method[column])}
        rows.append(line)
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def answers(table: pd.DataFrame, bins: pd.DataFrame) -> list[str]:
    """Return what follows from the table, a sentence or two each."""
    counts = {n: verdict(table, n) for n in design.ORIENTATIONS}
    passed = [n for n, found in counts.items() if found == "yes"]
    rule = (
        f"The rule, of before the results: in each of {len(design.SEEDS)} seeds at most "
        f"{design.MORE_LOST_PCT:g} percentage point more lost than of the noisy patterns "
        f"themselves, and a median error at most {design.MORE_ERROR_DEG:g}° larger."
    )
    largest = design.ORIENTATIONS[-1]
    if passed:
        said = f"**A universal encoder: yes, from N = {passed[0]:,} on.**"
        megabytes = 4e-6 * count_parameters(KikuchiVAE(design.COMPONENTS))  # float32
        said += (
            f" It holds for this camera, pattern centre, dose and phase alone. To ship it takes "
            f"{megabytes:.1f} MB of weights, a study that names them by `weights`, and a warning "
            "where the geometry is another."
        )
    elif counts[largest] == "no":
        said = "**A universal encoder: no.**"
    else:
        said = "**A universal encoder: not known yet.**"
    lines = [f"{said} {rule}"]
    last = of(table, EQUAL, ON_UNSEEN, VAE, largest)
    if len(last):
        lines.append(_how_far(last, largest))
    if len(steps := slopes(table)):
        lines.append(_slope_sentence(steps))
    if len(known := of(table, EQUAL, ON_TRAINED, VAE, largest)):
        lines.append(_cause(known, last, largest))
    for method in (PCA_32, MEMORY):
        found = {verdict(table, n, method): n for n in reversed(design.ORIENTATIONS)}
        by_rule = f"from N = {found['yes']:,} on" if "yes" in found else "at no N"
        so_far = " that is known yet" if "yes" not in found and len(found) > 1 else ""
        lines.append(f"By the same rule {method} generalises {by_rule}{so_far}.")
    if len(of_vae := bins[bins["method"] == VAE]):
        first, final = of_vae.iloc[0], of_vae.iloc[-1]
        parts = [
            f"{line['lost %']:.3g} % [{line['lost %, low']:.3g}, {line['lost %, high']:.3g}] at "
            f"{line['from deg']:g} to {line['to deg']:g}°"
            for line in (first, final)
        ]
        lines.append(
            f"By the distance to the nearest trained orientation, all N together, the VAE loses "
            f"{parts[0]} and {parts[1]}."
        )
    longer = of(table, LONGER, ON_UNSEEN, VAE, largest)
    if len(longer) and len(last):
        same = last[last["seed"].isin(longer["seed"])]
        lines.append(
            f"Length: {design.LONG:,} presentations in place of {design.PRESENTATIONS:,}, seed "
            f"{longer['seed'].iloc[0]}, N = {largest:,}: {_two(longer)} in place of {_two(same)}. "
            "It has no part in the verdict."
        )
    return lines


def _two(lines: pd.DataFrame) -> str:
    return f"{lines['lost %'].mean():.3g} % lost and {lines['error deg'].mean():.3g}° off"


def _how_far(last: pd.DataFrame, n: int) -> str:
    worst = last.loc[last["more lost %"].idxmax()]
    interval = ", ".join(f"{worst[f'more lost %, {end}']:.3g}" for end in ("low", "high"))
    return (
        f"At N = {n:,} the VAE loses {_spread(last['more lost %'])} points more than the noisy "
        f"patterns themselves (worst seed's interval: {interval}), and is "
        f"{_spread(last['more error deg'])}° further off ({last['seed'].nunique()} of "
        f"{len(design.SEEDS)} seeds). {design.MORE_LOST_PCT:g} point and "
        f"{design.MORE_ERROR_DEG:g}° are allowed."
    )


def _slope_sentence(steps: pd.DataFrame) -> str:
    before, last = design.ORIENTATIONS[-2:]
    return (
        f"Slope: from N = {before:,} to {last:,} ten times the orientations lower what is lost by "
        f"{_spread(steps['points'])} points, and divide the additional error by "
        f"{_spread(steps['factor'])}."
    )


def _cause(known: pd.DataFrame, unseen: pd.DataFrame, n: int) -> str:
    said = (
        f"New exposures of trained orientations at N = {n:,}: "
        f"{_spread(known['more lost %'])} points more lost and "
        f"{_spread(known['more error deg'])}° further off than the noisy patterns themselves. "
    )
    trained, other = passes(known), passes(unseen)
    if trained == "no":
        return said + (
            "By the rule the network fails on these, too: its 32 dimensions or its training fall "
            "short, and not the number of orientations alone."
        )
    if other == "no":
        return said + (
            "The rule holds on these: what is missing is orientations, not dimensions or training."
        )
    return said + "The rule is not broken on these."


def page(table: pd.DataFrame, bins: pd.DataFrame) -> str:
    """Return the page (Markdown)."""
    facts = {"sample": design.SAMPLE, "tested": design.TESTED, "lost": design.LOST_DEG}
    parts = [_HEAD.format(**facts), *(f"- {line}" for line in answers(table, bins)), ""]
    for test, name in _SECTIONS.items():
        parts += [f"## {name}", ""]
        for column, label in _SHOWN.items():
            parts += [markdown_of(table, test, column, label), ""]
    return "\n".join(parts)


# ------------------------------------------------- the picture
@style.print_style
def save_picture(table: pd.DataFrame, bins: pd.DataFrame, path: Path) -> None:
    """Draw lost share and error against N, and the lost share against the distance."""
    title = "Virtual patterns of orientations that were never trained on, decoded and indexed"
    figure = style.new_figure(_HEIGHT_MM, title, layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, column in zip(axes, ("lost %", "error deg"), strict=False):
        for method in _METHODS:
            label = "noisy pattern itself" if method == ITSELF else method
            _line(ax, of(table, EQUAL, ON_UNSEEN, method), column, label, _LOOKS[method])
        look = _LOOKS[VAE] | {"ls": ":", "mfc": "white"}
        known = of(table, EQUAL, ON_TRAINED, VAE)
        _line(ax, known, column, f"{VAE}, trained orientations", look)
        equal = of(table, design.PER, ON_UNSEEN, VAE)
        few = _LOOKS[VAE] | {"ls": "-.", "marker": "x", "lw": 0.7}
        _line(ax, equal, column, f"{VAE}, {design.PER_ORIENTATION} per orientation", few)
        ax.set(xscale="log", xlabel="trained orientations N")
        drawing.label_log_axis(ax.xaxis)
    axes[0].set(ylabel="lost (%)", ylim=(-3, 103))
    axes[1].set(ylabel="median angle to the truth (°)", yscale="log")
    drawing.label_log_axis(axes[1].yaxis)
    for method, lines in bins.groupby("method", sort=False):
        ends = [(lines["lost %"] - lines["lost %, low"]), (lines["lost %, high"] - lines["lost %"])]
        ends = np.clip(ends, 0, None)
        axes[2].errorbar(lines["nearest deg"], lines["lost %"], ends, ms=3, **_LOOKS[method])
    axes[2].set(ylabel="lost (%)", ylim=(-3, 103), xscale="log")
    axes[2].set(xlabel="angle to the nearest trained orientation (°)")
    drawing.label_log_axis(axes[2].xaxis)
    axes[2].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # little more than a decade
    drawing.letter(axes[0], "A", "lost: not indexed or over 5° off")
    drawing.letter(axes[1], "B", "error; bars: range of the seeds")
    drawing.letter(axes[2], "C", "all N together; bars: 95 %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=style.SMALL_PT)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _line(ax, lines: pd.DataFrame, column: str, label: str, look: dict) -> None:
    """Draw the seeds' mean against N, with their range."""
    if lines.empty:
        return
    values = lines.groupby("orientations")[column].agg(["mean", "min", "max"])
    ends = [values["mean"] - values["min"], values["max"] - values["mean"]]
    ax.errorbar(values.index, values["mean"], ends, label=label, ms=3, **look)


def save(scores: pd.DataFrame, path: Path) -> list[str]:
    """Write table, page and picture beside a path without its ending; return the answers."""
    table, bins = summary(scores), by_distance(scores)
    whole = pd.concat([table, bins], ignore_index=True)
    whole[_COUNTS] = whole[_COUNTS].astype("Int64")  # none in the lines by distance
    save_csv(whole.assign(commit=git_commit()), path.with_suffix(".csv"), digits=4)
    with written_aside(path.with_suffix(".md")) as temporary:
        temporary.write_text(page(table, bins), "utf-8")
    with written_aside(path.with_suffix(".png")) as temporary:
        save_picture(table, bins, temporary)
    return answers(table, bins)


def main() -> None:
    """Make all of what is finished."""
    try:
        scores = all_scores()
    except SentenceError as error:
        raise SystemExit(str(error)) from None
    to = Path(design.__file__).with_suffix("")
    print(*save(scores, to), sep="\n")
    save_csv(claim_row(scores), to.with_name("generalisation_claim.csv"), digits=4)


if __name__ == "__main__":
    main()
