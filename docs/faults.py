"""Kill a running study again and again, let its disk fail, and compare what it makes in the end.

``make soak`` (``python -m docs.faults --kills 50``) runs the smallest study that has every stage,
once undisturbed, and once with a SIGKILL at moments drawn at random: of all its processes, of the
command, of Snakemake, of the fork server or of a kernel alone; some of them between the writing of
a file and its renaming. Then every stage runs in one process on a disk of which each N-th operation
fails. ``docs/faults.csv`` has a line for each kill and each stage, ``docs/faults.md`` the summary.
It lasts about half a minute a kill; Linux only.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import psutil
from filelock import FileLock, Timeout

from kikuhelpers.runs.files import save_csv, written_aside
from kikuhelpers.runs.provenance import git_commit, hardware, versions
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import Job, jobs_of
from tests.faulty import REMEDY, failing_disk

PAGE = Path(__file__).with_suffix(".md")
STUDY = """
title: Soak
scans:
  wrought:
    data:
      source: virtual
      map_shape: [9, 9]
      step_um: 6.0
      microscope: {pattern_centre: [0.51, 0.34, 0.63]}
      specimen: {alloy: wrought, size_um: [100, 100]}
    training: {patterns: 60}
models: {vae-16: {latent_dim: 16}}
baselines: {pca-4: {method: pca, components: 4}}
training: {presentations: 256, batch_size: 16, warmup_steps: 2, history_steps: 4}
indexing: {calibration_patterns: 10}
figures: {regions: {4B: {scan: wrought, size: [8, 8]}}}
"""
# Python reads it when it starts: it holds whoever is about to rename a file of that name.
HOLD = """
import os, time
replace = os.replace
def held(source, target, **more):
    if os.path.basename(target) == os.environ.get("SOAK_HOLD"):
        open(os.environ["SOAK_HELD"], "w").close()
        time.sleep(600)
    return replace(source, target, **more)
os.replace = held
"""
KILLED = ("all", "command", "Snakemake", "fork server", "kernel")
RENAMED = {  # files that are caught between their writing and their renaming
    "01_diffraction_data.wrought": "scan.up2",
    "02_preprocessing.wrought": "mask.npy",
    "04_training.vae-16": "weights.safetensors",
    "05_latent_maps.vae-16.wrought": "latents.npy",
    "09_table1": "table1.csv",
    "12_claims": "12_claims.json",
}
COMPARED = (".csv", ".md", ".tex", ".png", ".pdf")


class Run:
    """A study that runs in a folder, as its command runs it."""

    def __init__(self, folder: Path, hold: str = ""):
        self.folder, self.held = folder, folder / "held"
        self.held.unlink(missing_ok=True)
        environment = surroundings(folder)
        if hold:
            (folder / "sitecustomize.py").write_text(HOLD)
            path = os.pathsep.join((str(folder), environment.get("PYTHONPATH", "")))
            environment |= {"PYTHONPATH": path, "SOAK_HOLD": hold, "SOAK_HELD": str(self.held)}
        command = [sys.executable, "-m", "kikuhelpers", str(folder / "soak.yaml")]
        with (folder / "said.txt").open("a") as said:
            self.process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that work on the study now, by what each is."""
        top = psutil.Process(self.process.pid)
        found = {"command": top}
        for child in top.children():
            name = "Snakemake" if "snakemake" in child.cmdline() else "fork server"
            found[name] = child
            for below in child.children(recursive=name == "fork server"):
                # Of the two forks of a job the one below the other is its kernel.
                found["kernel" if below.ppid() != child.pid else f"job {below.pid}"] = below
        return found

    def kill(self, which: str) -> list[psutil.Process]:
        """Kill one process or all; return all that were there."""
        processes = self.processes()
        for process in processes.values() if which == "all" else [processes[which]]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return list(processes.values())


def surroundings(folder: Path) -> dict[str, str]:
    """The environment in which a study writes to a folder."""
    roots = {f"KIKUHELPERS_{n.upper()}": str(folder / n) for n in ("results", "figures", "archive")}
    return os.environ | roots | {"SOURCE_DATE_EPOCH": "0"}


def plan(jobs: list[str], rows: list[dict], kills: int, rng) -> list[tuple[str, str, str]]:
    """Return the job, the process and the file (or "") of each kill, in the order of the jobs.

    Jobs that were killed least in the ``rows`` before come first.
    """
    had = Counter(row["job"] for row in rows)
    renames = [(job, "all", file) for job, file in RENAMED.items() if not had[job]][: kills // 4]
    least = sorted(jobs, key=lambda job: had[job])
    others = [least[n % len(jobs)] for n in range(kills - len(renames))]
    drawn = [(job, rng.choice(KILLED), "") for job in others]
    return sorted(renames + drawn, key=lambda kill: (jobs.index(kill[0]), kill[2]))


def finished(folder: Path) -> dict[str, bytes]:
    """The records of the jobs that Snakemake knows as finished, by name."""
    results = folder / "results" / "soak"
    marks = (results / ".snakemake" / "incomplete").glob("**/*")
    open_ones = {base64.b64decode(mark.name + "==", altchars=b"-_") for mark in marks}
    records = (results / "runs").glob("*.json")
    return {r.stem: r.read_bytes() for r in records if f"runs/{r.name}".encode() not in open_ones}


def is_free(folder: Path) -> bool:
    """Tell whether nobody holds the study's lock."""
    try:
        FileLock(folder / "results/soak/running.lock").acquire(blocking=False).lock.release()
    except Timeout:
        return False
    return True


def disturb(folder: Path, kill: tuple, seconds: float) -> dict | None:
    """Start the study, kill it in a job, and say what was so; None where the job was done."""
    job, which, name = kill
    log, before, started = folder / f"results/soak/logs/{job}.log", finished(folder), time.time()
    if job in before:
        return None
    run = Run(folder, hold=name)
    begun = run.held if name else log
    while not (begun.is_file() and begun.stat().st_mtime >= started):
        if run.process.poll() is not None:
            return None
        time.sleep(0.02)
    time.sleep(0 if name else seconds)
    while which not in ("all", *run.processes()):
        if run.process.poll() is not None:
            return None
        time.sleep(0.02)
    done, there = finished(folder), run.kill(which)
    run.process.wait()
    psutil.wait_procs(there, timeout=60)
    return {
        "job": job,
        "killed": which,
        "moment": f"before {name} is renamed" if name else f"{seconds:.1f} s",
        "jobs finished": len(done),
        "done again without need": sum(record != done.get(j) for j, record in before.items()),
        "left alive": sum(p.is_running() and p.status() != "zombie" for p in there),
        "lock free": is_free(folder),
    }


def made(folder: Path) -> dict[str, bytes]:
    """Tables and figures, by name."""
    files = sorted(p for p in (folder / "figures/soak").iterdir() if p.suffix in COMPARED)
    return {path.name: path.read_bytes() for path in files}


def soak(root: Path, kills: int, seed: int) -> tuple[list[dict], dict]:
    """Run the study undisturbed and killed; return a row for each kill, and what came of it.

    A run that outlives its kill may finish more jobs than the one: a study that is done before
    all kills were dealt is compared with the undisturbed one, and another begins.
    """
    rng, rows, whole, killed = random.Random(seed), [], root / "whole", root / "killed"
    found = {"studies": 0, "differ": set(), "again": 0, "temporary": 0}
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    (whole / "soak.yaml").write_text(STUDY)
    assert Run(whole).process.wait() == 0, (whole / "said.txt").read_text()
    seconds = {job: json.loads(record)["seconds"] for job, record in finished(whole).items()}
    wanted = made(whole)
    while len(rows) < kills:
        shutil.rmtree(killed, ignore_errors=True)
        killed.mkdir()
        (killed / "soak.yaml").write_text(STUDY)
        for kill in plan(sorted(seconds), rows, kills - len(rows), rng):
            if row := disturb(killed, kill, rng.uniform(0, seconds[kill[0]])):
                rows.append({"kind": "kill", "kill": len(rows) + 1} | row)
                print(rows[-1], flush=True)
        before = finished(killed)
        assert Run(killed).process.wait() == 0, (killed / "said.txt").read_text()
        after, there = finished(killed), made(killed)
        found["studies"] += 1
        found["differ"] |= {n for n in {*wanted, *there} if wanted.get(n) != there.get(n)}
        found["again"] += sum(after[job] != record for job, record in before.items())
        found["temporary"] += len(list(killed.rglob(".*.unfinished-*")))
    return rows, found | {"files": len(wanted)}


def fail_every(layout: Layout, job: Job, root: Path, most: int) -> dict:
    """Run a job's notebook in this process, on a disk of which the N-th operation fails.

    N goes from 1 to the last operation, in steps that make ``most`` faults. The first run has no
    fault: its files are the whole ones. They are not compared with those of another process, whose
    number of threads may round otherwise. Nor has the last run one: it mends what is left.
    """
    record = layout.record(job.stage, *job.parts)
    cells = json.loads((PROJECT_ROOT / "notebooks" / f"{job.stage}.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    kinds = ("scan", "model", "baseline")
    named = [line.split(" = ")[0] for line in code[0].splitlines() if line.startswith(kinds)]
    given = dict(zip(named, job.parts, strict=True)) | {"study_name": layout.study.origin.source}
    half, never = [], sys.maxsize

    def run(fails: int) -> int:
        for path in (*layout.outputs(job), record):
            path.unlink(missing_ok=True)
        names, quiet = {"display": print, "__name__": "__main__"}, io.StringIO()
        with failing_disk(root, fails) as disk, contextlib.redirect_stdout(quiet):
            try:
                exec(code[0], names)
                names |= given
                for cell in code[1:]:
                    exec(cell, names)
            except Exception as error:
                if REMEDY not in f"{error} {error.__cause__} {error.__context__}":
                    raise
        return disk.done

    operations = run(never)
    made_now = [p for p in layout.outputs(job) if p.suffix != ".json" and p.is_file()]
    whole = {path: path.read_bytes() for path in made_now}
    faults = [*range(1, operations + 1, 1 + operations // most), never]
    for fails in faults:
        run(fails)
        there = [path for path in whole if path.is_file()]
        half += [f"{p.name} at {fails}" for p in there if p.read_bytes() != whole[p]]
    if lacking := Results(layout.study).lacks(job):
        half.append(lacking)
    return {
        "kind": "disk",
        "job": str(job),
        "operations": operations,
        "faults": len(faults) - 1,
        "half": half,
    }


def write(rows: list[dict], found: dict, seed: int) -> None:
    """Write every row as CSV, and what they say together as a page."""
    save_csv(pd.DataFrame(rows), PAGE.with_suffix(".csv"))
    kills = pd.DataFrame([row for row in rows if row["kind"] == "kill"])
    disks = pd.DataFrame([row for row in rows if row["kind"] == "disk"])
    differ = ", ".join(sorted(found["differ"])) or "none"
    again = found["again"] + int(kills["done again without need"].sum())
    lines = [
        "# Faults",
        "",
        "Made by `make soak`, a line for each fault in [faults.csv](faults.csv).",
        "",
        f"{len(kills)} kills of {found['studies']} running studies (seed {seed}), which then ran",
        f"to their end. Of {found['files']} tables and figures these differ from those of an",
        f"undisturbed run: {differ}. Jobs done again without need: {again}. Temporary files left:",
        f"{found['temporary']}.",
        "",
    ]
    grouped = kills.groupby("killed")
    table = pd.DataFrame(
        {
            "kills": grouped.size(),
            "before a renaming": grouped["moment"].agg(lambda m: m.str.startswith("before").sum()),
            "left alive": grouped["left alive"].sum(),
            "lock not free": grouped["lock free"].agg(lambda free: (~free).sum()),
        }
    )
    lines += [table.to_markdown(), ""]
    if len(disks):
        lines += ["A disk of which the N-th opening, write or renaming fails, stage by stage. A"]
        lines += ["job that is not listed was not reached.", ""]
        shown = disks[["job", "operations", "faults"]].assign(half_written=disks["half"].map(len))
        lines += [shown.to_markdown(index=False), ""]
    lines += [f"Commit {git_commit()}; {hardware()}; {versions()}."]
    with written_aside(PAGE) as temporary:
        temporary.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    """Kill, let the disk fail, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=1000, help="failing disks a stage at most")
    parser.add_argument("--folder", type=Path, help="where the studies run (default: temporary)")
    given = parser.parse_args()
    mpl.use("agg")
    with tempfile.TemporaryDirectory() as temporary:
        root = given.folder or Path(temporary)
        rows, found = soak(root, given.kills, given.seed)
        write(rows, found, given.seed)
        os.environ.update(surroundings(root / "whole"))
        shutil.rmtree(root / "killed")
        layout = Layout(load_study(root / "whole" / "soak.yaml"))
        for job in jobs_of(layout.study) if given.most else []:
            rows.append(fail_every(layout, job, root / "whole", given.most))
            print(rows[-1], flush=True)
            write(rows, found, given.seed)


if __name__ == "__main__":
    main()
