"""How do time and memory grow with the map? Every stage, on maps of several sizes.

``make scale`` (``python -m docs.scale``) measures four things. ``study``: a small study's notebooks
on a map, on one of 4 and on one of 16 times the points. ``map``: what works on maps and not on
patterns, up to the paper's 900 x 1000 points. ``window``: some rows of a sparse file of the paper's
full size, and of its deposit's. ``features``: 256 features of 900 x 1000 points. ``docs/scale.csv``
has a line for each measurement, ``docs/scale.md`` the summary. It lasts about an hour; ``--part``
measures one anew. Linux only.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import yaml

from docs.faults import surroundings
from docs.scale_maps import MAP_WORK, MIB, PEAK, Watch, maps, measured
from kikuhelpers.patterns.up2 import Up2Writer, open_patterns
from kikuhelpers.runs.files import save_csv, written_aside
from kikuhelpers.runs.provenance import git_commit, hardware, versions
from kikuhelpers.scans.readers import open_scan
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.study import load_study
from kikuhelpers.study.scans import VirtualData
from kikuhelpers.study.stages import jobs_of
from kikuhelpers.study.study import NICKEL

PAGE = Path(__file__).with_suffix(".md")
PAPER = (900, 1000)  # points of the paper's map
CENTRE = [0.51, 0.34, 0.63]
STUDY = """
title: Scale
scans:
  alloy:
    data:
      source: virtual
      step_um: 2.0
      microscope: {pattern_centre: [0.51, 0.34, 0.63]}
      specimen: {alloy: wrought}
    training: {patterns: 60}
models: {vae-16: {latent_dim: 16}}
baselines: {pca-4: {method: pca, components: 4}, nlpar: {method: nlpar}}
training: {presentations: 256, batch_size: 16, warmup_steps: 2, history_steps: 4}
indexing: {calibration_patterns: 10}
figures: {regions: {4B: {scan: alloy, size: [8, 8]}}}
"""
STAGES = ("01", "02", "03", "04", "05", "06", "08")  # of which the window makes all jobs
OF_PATTERNS = (*STAGES, "07", "export")  # jobs that handle patterns: the others handle maps
FEATURES_MIB = 2_000_000_000 // MIB
MOST_TIMES, MOST_BYTES = 1.1, 500  # of a job's peak memory, and of a map's point
WINDOW_ROWS, WINDOW_COLUMNS, KINDS = 2, 1001, ("window", "alone")
FILES = {  # header, map, pixels of a pattern and settings
    "paper's full size": (
        struct.pack("<4IB2IB2d", 3, 480, 480, 42, 0, 1000, 900, 0, 1.0, 1.0),
        *(PAPER, 480, {}),
    ),
    "deposit's size": (
        struct.pack("<4I", 4, 120, 120, 58),
        *((901, 1001), 120, {"offset": 16, "map_shape": [901, 1001], "step_um": 1.0}),
    ),
}


def run_study(folder: Path, settings: dict, stages: tuple[str, ...] = ()) -> list[dict]:
    """Run a study's jobs one after the other, and its export if all; return a row for each."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scale.yaml"
    path.write_text(yaml.safe_dump(settings))
    (scan,) = settings["scans"]
    jobs = [str(job) for job in jobs_of(load_study(path)) if job.stage[:2] in stages]
    commands = [[str(path), *jobs, "--cores", "1"]]
    commands += [] if stages else [["export", str(path)]]
    ends = []
    with Watch() as watch, (folder / "said.txt").open("a") as said:
        for arguments in commands:
            command = [sys.executable, "-P", "-m", "kikuhelpers", *arguments]
            done = subprocess.run(command, env=surroundings(folder), stdout=said, stderr=said)
            if done.returncode:
                raise SystemExit((folder / "said.txt").read_text()[-3000:])
            ends.append(time.time())
    found = []
    for record in (folder / "results/scale/runs").glob("*.json"):
        seconds = json.loads(record.read_text())["seconds"]
        name = record.stem.removesuffix(f".{scan}")
        found.append((record.stat().st_mtime - seconds, name, seconds))
    # A record is closed before a notebook draws: its memory counts until the next job begins.
    begun = [start for start, *_ in sorted(found)] + ends[:1]
    rows = [
        {"case": name, "seconds": seconds} | watch.between(start, end)
        for (start, name, seconds), end in zip(sorted(found), begun[1:], strict=True)
    ]
    if not stages:
        row = {"case": "export", "seconds": round(ends[1] - ends[0], 1)}
        rows.append(row | watch.between(*ends))
    return rows


def studies(root: Path, sides: list[int]) -> Iterator[dict]:
    """Yield the jobs of a study on square maps of so many points a side."""
    for side in sides:
        settings = yaml.safe_load(STUDY)
        data = settings["scans"]["alloy"]["data"]
        data["map_shape"] = [side, side]
        data["specimen"]["size_um"] = [data["step_um"] * side] * 2
        for row in run_study(root / str(side), settings):
            yield {"points": side**2} | row


def write_sparse(path: Path, file: str, rows: np.ndarray) -> int:
    """Write a file of a size of FILES, zeros but for rows in its middle; return the first one.

    The rows are (n, columns, height, width) counts.
    """
    head, (height, columns), pixels, _ = FILES[file]
    first, row_bytes = height // 2, 2 * columns * pixels**2
    with path.open("wb") as target:
        target.write(head)
        target.truncate(len(head) + height * row_bytes)
        target.seek(len(head) + first * row_bytes)
        for row in rows:
            target.write(row.tobytes())
    return first


def windows(root: Path) -> Iterator[dict]:
    """Yield the jobs of a window of sparse files, and of a file that holds the window alone."""
    study = yaml.safe_load(STUDY)
    data = study["scans"].pop("alloy")["data"] | {"map_shape": [WINDOW_ROWS, WINDOW_COLUMNS]}
    data["specimen"]["size_um"] = [2.0 * n for n in data["map_shape"]]
    root.mkdir(parents=True, exist_ok=True)
    simulate(VirtualData(**data), root / "virtual.up2", root / "truth.h5")
    study |= {"figures": {}, "baselines": {}}
    study["indexing"]["phase"] = NICKEL.model_dump(exclude_unset=True)
    for file, (_, (_, columns), pixels, settings) in FILES.items():
        sparse, alone = root / "sparse.up2", root / "alone.up2"
        enlarged = np.ones((1, 1, pixels // 120, pixels // 120), np.uint16)
        rows = open_patterns(root / "virtual.up2")[:, :columns]
        with Up2Writer(alone, rows.shape[:2], (pixels, pixels), 1.0) as writer:
            for row in rows:
                writer.append(np.kron(row[np.newaxis], enlarged)[0])
        first = write_sparse(sparse, file, open_patterns(alone))
        what = {"file": file, "bytes": sparse.stat().st_size}
        points = {"points": WINDOW_ROWS * columns}
        yield what | {"kind": "opened"} | measured(_opened, str(sparse), settings)
        window = {"path": str(sparse), "rows": [first, first + WINDOW_ROWS]} | settings
        for kind, data in zip(KINDS, (window, {"path": str(alone)}), strict=True):
            scan = {"data": data, "preprocessing": {"binning": pixels // 120}}
            scan |= {"training": {"patterns": 60}, "indexing": {"pattern_centre": CENTRE}}
            for row in run_study(root / file / kind, study | {"scans": {"window": scan}}, STAGES):
                yield what | points | {"kind": kind} | row


def _opened(path: str, settings: dict) -> dict:
    start = time.perf_counter()
    shape = open_scan(path, **settings).shape
    return {"case": " x ".join(map(str, shape)), "seconds": time.perf_counter() - start}


def growth(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each case: time and peak of each size, and by how much these grew."""
    sizes = sorted(rows["points"].unique())
    tables = {
        n: rows.pivot(index="case", columns="points", values=n) for n in ("cpu_seconds", PEAK)
    }
    seconds, peak = (tables[n][sizes] for n in tables)
    return pd.DataFrame(
        {
            "processor s": seconds.apply(lambda row: " / ".join(f"{v:.1f}" for v in row), axis=1),
            "time x": (seconds[sizes[-1]] / seconds[sizes[0]]).round(1),
            "peak MiB": peak.apply(lambda row: " / ".join(f"{v:.0f}" for v in row), axis=1),
            "anonymous MiB": rows[rows["points"] == sizes[-1]].set_index("case")["anonymous_mib"],
            "memory x": (peak[sizes[-1]] / peak[sizes[0]]).round(2),
            "bytes a point": ((peak[sizes[-1]] - peak[sizes[0]]) * MIB / sizes[-1]).round(),
        }
    )


def said(met: pd.Series, grown: pd.DataFrame) -> np.ndarray:
    """Say of each case whether its bound is met, where the largest map was measured."""
    return np.where(grown["memory x"].isna(), "not measured", np.where(met, "yes", "no"))


def page(table: pd.DataFrame) -> str:
    """Say what a table of all rows says."""
    lines = ["# Scale", ""]
    lines += [
        "Made by `make scale`, a line for each measurement in [scale.csv](scale.csv). Peak is"
    ]
    lines += ["the resident memory of the job's process, libraries and mapped file"]
    lines += [
        "pages among it. Anonymous memory, looked at 10 times a second, is without the files."
    ]
    parts = dict(list(table.groupby("part")))
    if "study" in parts and parts["study"]["points"].nunique() == 1:
        del parts["study"]  # which is under way
    if "study" in parts:
        grown = growth(rows := parts["study"])
        handled = grown.index.str.startswith(OF_PATTERNS)
        met = (grown["memory x"] <= MOST_TIMES) & handled
        met |= (grown["bytes a point"] <= MOST_BYTES) & ~handled
        grown["bound"] = np.where(handled, f"{MOST_TIMES} x", f"{MOST_BYTES} bytes a point")
        sizes = " / ".join(f"{n:,}" for n in sorted(rows["points"].unique()))
        lines += ["", "## A study's jobs on maps of 1, 4 and 16 times the points", ""]
        lines += [f"Virtual maps of {sizes} points of 120 x 120 px; the training is the same.", ""]
        lines += [grown.assign(met=said(met, grown)).to_markdown()]
    if "map" in parts:
        grown = growth(rows := parts["map"])
        met = said(grown["bytes a point"] <= MOST_BYTES, grown)
        sizes = " / ".join(f"{n:,}" for n in sorted(rows["points"].unique()))
        lines += ["", "## What works on maps", ""]
        lines += [f"Made-up maps of {sizes} points, 16 features of each. Bound: {MOST_BYTES} bytes"]
        lines += ["a point above the smallest map.", "", grown.assign(met=met).to_markdown()]
    if "window" in parts:
        lines += ["", "## A window of a file of full size", ""]
        lines += [f"{WINDOW_ROWS} rows in the middle of a sparse file hold virtual patterns, all"]
        lines += [
            "others zeros. The same rows stand alone in a second file, and the same jobs run."
        ]
        lines += ["Memory that does not depend on the map is the same for both."]
        for file, rows in parts["window"].groupby("file", sort=False):
            opened = rows[rows["kind"] == "opened"].iloc[0]
            lines += [
                "",
                f"A file of the {file}, {opened['bytes']:,.0f} bytes ({opened['case']}), opened in",
            ]
            lines += [f"{1000 * opened['seconds']:.1f} ms, with {opened[PEAK]:.0f} MiB in all.", ""]
            both = rows[rows["kind"] != "opened"]
            if both.empty:
                continue
            shown = both.pivot(index="case", columns="kind", values=["cpu_seconds", PEAK]).round(1)
            shown.columns = [f"{kind}, {value}" for value, kind in shown.columns]
            columns = [f"{kind}, {n}" for n in ("cpu_seconds", PEAK) for kind in KINDS]
            shown = shown.reindex(columns=columns)  # of a run that is under way some lack
            ratio = (shown[f"window, {PEAK}"] / shown[f"alone, {PEAK}"]).round(2)
            lines += [shown.assign(ratio=ratio).to_markdown()]
    if "features" in parts:
        rows = parts["features"].assign(minutes=parts["features"]["cpu_seconds"] / 60)
        rows["bound"] = f"{FEATURES_MIB} MiB"
        rows["met"] = np.where(rows[PEAK] <= FEATURES_MIB, "yes", "no")
        lines += ["", "## 256 features of 900 x 1000 points", ""]
        lines += ["Mapped pages of the features' file are up to 880 MiB of the peak.", ""]
        shown = rows[["case", "minutes", PEAK, "anonymous_mib", "bound", "met"]].round(1)
        lines += [shown.to_markdown(index=False)]
    names = {"study": "a study's jobs", "features": "256 features"}
    lacking = [what for part, what in names.items() if part not in parts]
    lines += ["", f"Not measured yet: {', '.join(lacking)}."] if lacking else []
    commits = ", ".join(sorted(table["commit"].unique()))
    return "\n".join([*lines, "", f"Commit {commits}; {hardware()}; {versions()}.", ""])


def main() -> None:
    """Measure some parts or all, and write the table and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("study", "map", "window", "features")
    parser.add_argument("--part", choices=names, nargs="+", default=names)
    parser.add_argument(
        "--sides", type=int, nargs="+", default=(50, 100, 200), help="of the studies"
    )
    parser.add_argument("--folder", type=Path, help="where all is written (default: temporary)")
    given = parser.parse_args()
    mpl.use("agg")
    smaller = [(PAPER[0] // n, PAPER[1] // n) for n in (4, 2, 1)]
    work = {
        "study": lambda root: studies(root, given.sides),
        "map": lambda root: maps(root, smaller, 16),
        "window": windows,
        "features": lambda root: maps(
            root, [PAPER], 256, [name for name in MAP_WORK if name.startswith("features")]
        ),
    }
    table = PAGE.with_suffix(".csv")
    for part in given.part:
        rows = []
        with tempfile.TemporaryDirectory(dir=given.folder) as root:
            for row in work[part](Path(root)):
                rows.append({"part": part, "commit": git_commit()} | row)
                print(rows[-1], flush=True)
                before = pd.read_csv(table) if table.is_file() else pd.DataFrame({"part": []})
                whole = pd.concat([before[before["part"] != part], pd.DataFrame(rows)])
                whole = whole.astype({n: "Int64" for n in ("points", "bytes") if n in whole})
                save_csv(whole, table)
                with written_aside(PAGE) as temporary:
                    temporary.write_text(page(whole), "utf-8")


if __name__ == "__main__":
    main()
