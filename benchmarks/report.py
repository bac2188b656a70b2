"""One JSON with every number and the machine they are of, and one table to read."""

import os
from pathlib import Path

import pandas as pd

from kikuhelpers.runs.files import save_json, written_aside
from kikuhelpers.runs.provenance import git_commit, hardware, versions


def machine() -> dict:
    """Return what the numbers depend on besides the code."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return {"hardware": hardware(), "load_average": load}


def table(rows: list[dict]) -> pd.DataFrame:
    """Return one line per measurement; ``times`` is our speed over theirs."""
    multiplies = [row["gflop_per_s"] for row in rows if row["part"] == "matrix multiply"]
    lines = []
    for row in rows:
        line = {"part": row["part"], "case": row["case"]}
        if "ours" in row:
            ours, plain = (row[name]["patterns_per_s"] for name in ("ours", "plain"))
            line |= {"patterns/s": f"{ours:.0f}", "against": row["against"]}
            line |= {"theirs": f"{plain:.0f}", "times": f"{ours / plain:.2f}"}
        if "reading" in row:
            reading, copying = (row[name]["patterns_per_s"] for name in ("reading", "copying"))
            line["note"] = (
                f"{ours / reading:.0%} of the speed of reading the file ({reading:.0f}), "
                f"{ours / copying:.0%} of copying it ({copying:.0f})"
            )
        if "gflop_per_s" in row:
            line["note"] = f"{row['gflop_per_s']:.0f} GFLOP/s"
            if "ours" in row and multiplies:
                share = row["gflop_per_s"] / max(multiplies)
                line["note"] += f", {share:.0%} of the best multiply"
        if "points" in row:
            line["note"] = (
                f"{row['work_ratio']:.0f} x the map: {row['memory_ratio']:.2f} x the memory "
                f"({row['points'][-1]['peak_mib']:.0f} MiB), {row['time_ratio']:.1f} x the time"
            )
        if "shares" in row:
            shares = (f"{kind} {share:.0%}" for kind, share in row["shares"].items())
            speed = f"convolutions alone at {row['convolution_gflop_per_s']:.0f} GFLOP/s"
            line["note"] = f"{', '.join(shares)}; {speed}"
        if "work" in row:
            parts = ("work", "start and rest", "waiting")
            spent = (f"{row[part]:.0f} s {part}" for part in parts if row[part])
            line["note"] = f"{row['jobs']:.0f} jobs: {', '.join(spent)}"
        lines.append(line)
    return pd.DataFrame(lines).fillna("")


def write(rows: list[dict], before: dict, path: Path) -> str:
    """Write the JSON and beside it the table as Markdown; return the table."""
    content = {
        "commit": git_commit(),
        "versions": versions(),
        **before,
        "load_average_after": machine()["load_average"],
        "measurements": rows,
    }
    save_json(path, content)
    markdown = table(rows).to_markdown(index=False, disable_numparse=True)
    with written_aside(path.with_suffix(".md")) as temporary:
        temporary.write_text(markdown + "\n")
    return markdown
