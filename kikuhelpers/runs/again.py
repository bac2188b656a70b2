"""Rerun what a record describes; say whether today's numbers match, and by how much not.

A job runs with the settings of its record (:mod:`kikuhelpers.runs.provenance`) in a temporary
folder, where all other results are links: what is there is never written to. Of a ``run.json``
the notebooks that made the tables and figures beside it run, from results and archive.
"""

import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import yaml

from kikuhelpers.runs import fork_server
from kikuhelpers.runs.errors import UnusableError, usable
from kikuhelpers.runs.files import digest, load_json, temporary_name, tidy
from kikuhelpers.runs.results import OPENERS, Results, name_of
from kikuhelpers.study.layout import GATHERED, Layout
from kikuhelpers.study.load import PROJECT_ROOT, load_study, root_of
from kikuhelpers.study.stages import BASELINES, TRAINING, Job, jobs_of, plain

_READERS = OPENERS | {".h5": h5py.File, ".npz": np.load}
_NO_RESULT = re.compile("seconds|commit")
_BLOCK_VALUES = 1 << 22  # that are compared at once
_REMEDY = "name results/<study>/runs/<job>.json or figures/<study>/run.json, of present notebooks"
_COMMAND = ". Make it with: "  # which is not for the temporary folder


def again(path: str = "") -> int:
    """Rerun the jobs of a record and print what differs; return 1 if a value does, else 0."""
    place = root_of("results") / "again"
    tidy(place)
    folder = temporary_name(place / "run.tmp")
    try:
        with usable(f"The record {path}", _REMEDY):
            rerun = _Rerun(Path(path).absolute(), folder)
        return max([rerun.compare(job) for job in rerun.jobs])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Rerun:
    """A folder in which the ``jobs`` of a record run again, each with what is known of it."""

    def __init__(self, path: Path, folder: Path):
        record, home, figures = load_json(path), path.parents[1], path.parents[1] / "figures"
        study, roots = record["study"], {kind: root_of(kind) for kind in ("results", "figures")}
        file, self._gathered = record.get("study_file", study["name"]), "runs" in record
        self._today = plain(load_study(file, record.get("overrides")))
        folder.mkdir(parents=True)
        self._study = folder / "study.yaml"
        self._study.write_text(yaml.safe_dump(study, sort_keys=False), "utf-8")
        os.environ |= {f"KIKUHELPERS_{kind.upper()}": str(folder / kind) for kind in roots}
        self._layout = layout = Layout(load_study(self._study))
        runs = {".".join([record.get("notebook", ""), *record.get("parts", [])]): {}}
        if self._gathered:
            home, figures, runs = roots["results"] / layout.study.name, path.parent, record["runs"]
        elif not figures.exists():  # a link, which not every system makes
            figures = roots["figures"] / layout.study.name
        known = {str(job): job for job in jobs_of(layout.study)}
        names = [name for name in runs if "." not in name] or runs  # of tables and figures
        self.jobs = {known[name]: record | runs[name] for name in names}
        original = home.with_name(home.name.split("-with-")[0])  # has what overrides left alone
        trees = (original, layout.folder), (home, layout.folder), (figures, layout.figures)
        for place, to in trees:
            for file in place.rglob("*"):
                if file.is_file() and "checkpoint" not in file.name:
                    link = to / file.relative_to(place)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.unlink(missing_ok=True)
                    link.symlink_to(file)

    def compare(self, job: Job) -> int:
        """Run a job; print what differs of its files and surroundings; 1 if a value does."""
        then, layout, results = self.jobs[job], self._layout, Results(self._layout.study)
        needs = [] if self._gathered else layout.dependencies.needs(job)
        for why in filter(None, map(results.lacks, needs)):
            raise UnusableError(f"{job} cannot run again as it did: {why.split(_COMMAND)[0]}.")
        records = {other: layout.record(other.stage, *other.parts) for other in (job, *needs)}
        for other in needs:  # whose fingerprint alone the record knows
            if records[other].stat().st_mtime > records[job].stat().st_mtime:
                print(f"{other} has run since, and may have made other files.")
        why = "" if self._gathered else results.lacks(job).split(_COMMAND)[0]
        print(f"{job} runs again; it took {then['seconds']:.0f} s. {why}".strip(), flush=True)
        made = [file for file in layout.outputs(job) if file.name not in GATHERED]
        before = {file: file.readlink() for file in made if file.is_symlink()}
        made = [*before] if self._gathered else made  # git holds no PDF
        for file in (records[job], *before):
            file.unlink(missing_ok=True)
        self._run(job)
        now = Results(layout.study).record(job) | {"settings": self._today}
        then = {"settings": plain(layout.study), "outputs": {}} | then
        for key in ("commit", "versions", "hardware", "threads", "settings"):
            old, new = (dict(_leaves(facts.get(key, {}), key)) for facts in (then, now))
            for name in sorted({*old, *new} if key in then else ()):
                if old.get(name) != new.get(name):
                    print(f"{name} was {old.get(name)}, is {new.get(name)}")
        differing = 0
        for file in made:
            name = name_of(layout, job, file)
            said = _difference(before.get(file), file, then["outputs"].get(name))
            differing += said.startswith("differs")
            print(f"{name}: {said}")
        print(f"{len(made) - differing} of {len(made)} files match.")
        return int(differing > 0)

    def _run(self, job: Job) -> None:
        """Run a job's notebook; it dies with this process."""
        notebook = PROJECT_ROOT / "notebooks" / f"{job.stage}.ipynb"
        one = {TRAINING: "model", BASELINES: "baseline"}.get(job.stage, "scan")
        names = ("model", "scan") if len(job.parts) == 2 else (one,)
        given = {"study_name": self._study} | dict(zip(names, job.parts, strict=False))
        written = self._study.with_suffix(".ipynb")
        command = [sys.executable, fork_server.__file__, notebook, written]
        command += [word for name, value in given.items() for word in ("-r", name, value)]
        command += ["-p", "use_archive", "True"] if self._gathered else []
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            why = (ran.stderr.strip().splitlines() or ["it was killed"])[-1].split("Error: ")[-1]
            raise UnusableError(f"{job} fails today: {why.split(_COMMAND)[0]}.")


def _difference(before: Path | None, now: Path, recorded: str | None) -> str:
    """How a file is other than before, of which the record may know a digest."""
    if not now.is_file():
        return "differs: it is not made today"
    there = before and recorded in (None, digest(before))
    if filecmp.cmp(before, now, shallow=False) if there else digest(now) == recorded:
        return "identical"
    if not there:
        return "differs; by how much is unknown, for the file on disk is not the record's"
    if now.suffix not in _READERS:
        return "differs"
    old, new = (dict(_leaves(_READERS[now.suffix](file))) for file in (before, now))
    if {n: np.shape(v) for n, v in old.items()} != {n: np.shape(v) for n, v in new.items()}:
        return "differs in names or shapes"
    total, number, most = 0, 0, np.zeros(2)
    for name in (name for name in old if not _NO_RESULT.search(name)):
        blocks = 1 + np.size(old[name]) // _BLOCK_VALUES
        pair = (np.array_split(np.atleast_1d(of[name]), blocks) for of in (old, new))
        for a, b in zip(*pair, strict=True):
            other = (a != b) & ((a == a) | (b == b))  # NaN stays NaN
            total, number = total + other.size, number + np.count_nonzero(other)
            if {a.dtype.kind, b.dtype.kind} <= {*"iuf"}:
                gaps = np.abs(a[other] - b[other].astype(float))
                gaps = gaps, gaps / np.maximum(np.abs(a[other]), np.abs(b[other]))
                most = np.fmax(most, [np.fmax.reduce(gap, initial=0) for gap in gaps])
    by = f", by up to {most[0]:.2g} (relative {most[1]:.2g})" if most[0] else ""
    said = f"differs in {number:,} of {total:,} values{by}"
    return said if number else "other bytes, the same values (times and commits left out)"


def _leaves(value, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield arrays and values of nested settings, tables, lists and HDF5, by dotted names."""
    if getattr(getattr(value, "dtype", None), "names", None):
        value = {field: value[field] for field in value.dtype.names}
    value = dict(enumerate(value)) if isinstance(value, list | tuple) else value
    if hasattr(value, "items"):
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}")
    else:
        yield name, value
