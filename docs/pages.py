"""Write pages of docs/, their numbers looked up in the tables: python -m docs.pages.

The templates docs/*.md.jinja hold the words. Each look-up names a CSV, a column and a pandas
query, and fails where no row answers, or several where one is asked for.
"""

import functools
import json
from pathlib import Path

import jinja2
import pandas as pd

from kikuhelpers.runs.files import written_aside
from kikuhelpers.study import PROJECT_ROOT

TEMPLATES = sorted((PROJECT_ROOT / "docs").glob("*.md.jinja"))


@functools.cache
def _table(file: str) -> pd.DataFrame:
    return pd.read_csv(PROJECT_ROOT / f"{file}.csv")


def column(file: str, name: str, query: str) -> pd.Series:
    """Return one column of the rows that answer the query; at least one has to."""
    found = _table(file).query(query, engine="python")[name].dropna()
    if found.empty:
        raise LookupError(f"{file}.csv has no {name!r} where {query}")
    return found


def shown(value: float, digits: int = 0) -> str:
    """Return a number as it stands in the text."""
    return f"{value:,.{digits}f}".replace("-", "−")


def number(file: str, name: str, query: str, digits: int = 0) -> str:
    """Return the value of the one row, or of all rows if they agree as it is printed."""
    printed = {shown(value, digits) for value in column(file, name, query)}
    if len(printed) > 1:
        raise LookupError(f"{file}.csv has {sorted(printed)} as {name!r} where {query}")
    return printed.pop()


def span(file: str, name: str, query: str, digits: int = 0) -> str:
    """Return the lowest to the highest value of some rows."""
    found = column(file, name, query)
    ends = shown(found.min(), digits), shown(found.max(), digits)
    return " to ".join(dict.fromkeys(ends))


def interval(file: str, query: str, digits: int = 0) -> str:
    """Return the lowest end to the highest of the intervals of some rows."""
    low, high = column(file, "low", query).min(), column(file, "high", query).max()
    return f"{shown(low, digits)} to {shown(high, digits)}"


def count(file: str, query: str) -> int:
    """Return how many rows answer the query; none may."""
    return len(_table(file).query(query, engine="python"))


def bench(file: str, part: str, case: str) -> dict:
    """Return the one measurement of a file of ``make bench``."""
    measured = json.loads((PROJECT_ROOT / f"{file}.json").read_text("utf-8"))["measurements"]
    [found] = (m for m in measured if (m["part"], m["case"]) == (part, case))
    ours, theirs = (found.get(of, {}).get("patterns_per_s") for of in ("ours", "plain"))
    return found | ({"rate": ours, "times": ours / theirs} if ours else {})


def page(template: Path) -> str:
    """Return a page of docs/."""
    helpers = (column, shown, number, span, interval, count, bench)
    names = {helper.__name__: helper for helper in helpers}
    names["text"] = lambda file: (PROJECT_ROOT / file).read_text("utf-8").strip()
    words = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return words.from_string(template.read_text("utf-8")).render(names)


def main() -> None:
    """Renew the pages."""
    for template in TEMPLATES:
        with written_aside(template.with_suffix("")) as temporary:
            temporary.write_text(page(template), "utf-8")


if __name__ == "__main__":
    main()
