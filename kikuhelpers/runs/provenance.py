"""What made a result: settings, seed, versions, commit, inputs, hardware, time, memory.

Every notebook begins a job: it prints what the job needs, and which results are there. At the end
the notebook closes the job's record, one small JSON file that tells every later reader what made
the results. ``collect`` gathers the records of a study into the ``run.json`` beside its tables.
"""

import ast
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path, PurePath

import psutil

from kikuhelpers.runs.files import digest, readable_json, save_json, whole_digest
from kikuhelpers.runs.results import MissingResultError, Results, name_of
from kikuhelpers.study import Study, StudyError
from kikuhelpers.study.layout import GATHERED, SCHEMAS
from kikuhelpers.study.load import PROJECT_ROOT
from kikuhelpers.study.stages import CLAIMS, TRAINING, Job, plain

PACKAGES = ("kikuchipy", "orix", "hyperspy", "pyebsdindex", "torch", "numpy", "scipy")
PACKAGES += ("scikit-learn", "pandas", "matplotlib", "papermill", "snakemake")


class Record:
    """The provenance of one job, which reads ``results`` and writes by their ``layout``."""

    def __init__(self, results: Results, job: Job):
        self.results, self.layout, self.job = results, results.layout, job
        self._start, self._warnings = time.monotonic(), []

    def warn(self, sentence: str) -> None:
        """Print a warning, which the record keeps and a run of the study repeats at its end."""
        print(f"Warning: {sentence}")
        self._warnings.append(sentence)

    def close(self, **found) -> float:
        """Write the record, and what else was found; return the seconds since the job began."""
        layout, dependencies = self.layout, self.layout.dependencies
        _, needed = dependencies.of(self.job)
        made = [p for p in layout.outputs(self.job) if p.name not in GATHERED and p.is_file()]
        outputs = {name_of(layout, self.job, path): path for path in made}
        cards = {n: readable_json(layout.scan(n).card) for n in dependencies.scans_behind(self.job)}
        scans = {name: card["sha256"] for name, card in cards.items() if card.get("sha256")}
        whole = {layout.scan(name).raw: sha256 for name, sha256 in scans.items()}
        seconds = round(time.monotonic() - self._start, 1)
        record = {
            "schema": SCHEMAS[-1],
            "notebook": self.job.stage,
            "parts": self.job.parts,
            "fingerprint": dependencies.fingerprint(self.job),
            "inputs": {str(job): dependencies.fingerprint(job) for job in needed},
            "scans": scans,
            "outputs": {name: digest(path) for name, path in outputs.items()},
            "sha256": {n: s for n, p in outputs.items() if (s := whole.get(p) or whole_digest(p))},
            "study": self.layout.study.model_dump(),
            "study_file": self.layout.study.origin.source,
            "overrides": self.layout.study.origin.overrides or {},
            "seed": self.layout.study.seed,
            "commit": git_commit(),
            "versions": versions(),
            "hardware": hardware(),
            "threads": {n: v for n, v in os.environ.items() if n.endswith("_NUM_THREADS")},
            "seconds": seconds,
            "peak_memory_mb": round(peak_memory_bytes() / 2**20),
        }
        record |= ({"warnings": self._warnings} if self._warnings else {}) | found
        save_json(layout.record(self.job.stage, *self.job.parts), record)
        return seconds


def begin(
    study: Study, stage: str, *parts: str, make_missing: bool = False, archive: bool = False
) -> Record:
    """Begin a job: print which results it needs, and which of them are there.

    Parameters
    ----------
    study, stage, parts
        The study, the name of the notebook ("04_training"), and what the notebook runs on: names
        of a scan, a model or a baseline.
    make_missing
        Whether what is missing is made now, by the graph of the study.
    archive
        Whether the job reads the archive where results are missing; then it needs no result.

    Raises
    ------
    MissingResultError
        Something is missing; the message names the single command that makes it.
    StudyError
        papermill was given a parameter that the notebook does not have.

    Examples
    --------
    >>> from kikuhelpers.study import load_study
    >>> run = begin(load_study("smoke"), "01_diffraction_data", "wrought")
    01_diffraction_data.wrought of study 'smoke': results go to ...
    It needs no earlier result.
    >>> run.layout.scan("wrought").raw.name
    'scan.up2'
    """
    _check_parameters(stage)
    record = Record(Results(study, archive), Job(stage, parts))
    print(f"{record.job} of study '{study.name}': results go to {record.layout.folder}")
    if archive:
        print("It reads the results that are there, and the archive where they are not.")
        return record
    needs = record.layout.dependencies.needs(record.job)
    why = {job: record.results.lacks(job) for job in dict.fromkeys(needs)}
    lacking = [job for job in why if why[job]]
    there = [str(job) for job in why if not why[job]]
    several = "result" if len(why) == 1 else "results"
    known = f"{len(why)} earlier {several}; there: {', '.join(there) or 'none'}"
    print(f"It needs {known if why else 'no earlier result'}.")
    # What overrides change has no graph; what they leave alone the original study makes.
    folder = record.layout.folder
    of_graph = not study.origin.study or all(record.layout.folder_of(j) != folder for j in lacking)
    if lacking and make_missing and of_graph:
        print(f"Made now: {', '.join(map(str, lacking))}.", flush=True)
        command = [sys.executable, "-m", "kikuhelpers", study.origin.source]
        subprocess.run([*command, *map(str, lacking)])
        return begin(study, stage, *parts)
    if lacking:
        reasons = "; ".join(why[job].split(". Make it with: ")[0] for job in lacking)
        raise MissingResultError(reasons, study, *lacking)
    return record


def _check_parameters(stage: str) -> None:
    """Refuse what papermill set and the notebook does not know: papermill itself only warns."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    cells = shell.user_ns["In"] if shell else []
    if len(cells) < 3 or not cells[2].startswith("# Parameters\n"):
        return  # In[0] is empty; then come the notebook's own parameters, then papermill's
    known, given = (
        [line.targets[0].id for line in ast.parse(cell).body if isinstance(line, ast.Assign)]
        for cell in cells[1:3]
    )
    if unknown := [name for name in given if name not in known]:
        raise StudyError(
            f"{stage} has no parameter {', '.join(unknown)}; it has {', '.join(known)}."
        )


def collect(results: Results) -> dict:
    """Gather the records of a study: what all share once, the rest per notebook.

    A job on another machine, whose results were archived, brings its own versions and hardware.
    """
    study, runs = results.layout.study, {}
    shared = {"study": study.model_dump(), "overrides": study.origin.overrides or {}}
    shared |= {"seed": study.seed, "versions": versions(), "hardware": hardware()}
    for scan in shared["study"]["scans"].values():  # without its folder: this may be published
        scan["data"] |= {n: PurePath(v).name for n, v in scan["data"].items() if n == "path"}
    for name, model in study.models.items():
        shared["study"]["models"][name]["weights"] = plain(model).get("weights")
    for job, record in results.all_records().items():
        if job.stage == CLAIMS:  # judged beside the figures; its table names its own commit
            continue
        own = ["commit", "inputs", "scans", "seconds", "peak_memory_mb"]
        own += [key for key in ("versions", "hardware") if record[key] != shared[key]]
        own += [key for key in ("verdict", "warnings") if key in record]
        runs[str(job)] = {key: record[key] for key in own}
        if job.stage == TRAINING and results.has(results.layout.model(*job.parts).card):
            # Of a training that was killed and taken up the card counts all, its record not.
            trained = round(results.model(*job.parts).card["seconds"], 1)
            runs[str(job)]["seconds"] = max(record["seconds"], trained)
    return shared | {
        "commit": git_commit(),
        "wall_seconds_sum": round(sum(run["seconds"] for run in runs.values()), 1),
        "peak_memory_mb": max(run["peak_memory_mb"] for run in runs.values()),
        "runs": runs,
    }


def git_commit() -> str:
    """Return the commit of the code, "+changes" appended where files differ from it."""
    command = ["git", "-C", str(PROJECT_ROOT)]
    changed = ["status", "--porcelain", "--", "kikuhelpers", "notebooks", "studies"]
    try:
        commit = subprocess.check_output([*command, "rev-parse", "HEAD"], text=True, stderr=-3)
        changes = subprocess.check_output([*command, *changed], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "no git commit"
    return commit.strip() + ("+changes" if changes.strip() else "")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that make results."""
    installed = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **installed}


def hardware() -> dict:
    """Return processor, cores, memory and accelerator."""
    processor = _of_proc("cpuinfo", r"^model name\s*: (.*)")
    facts = {
        "system": platform.system(),
        "processor": processor or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
    }
    torch = sys.modules.get("torch")  # only a notebook that computes with torch has it
    if torch is not None and torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts


def peak_memory_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):  # Windows
        return info.peak_wset
    # getrusage on Linux counts the process that started this one, too
    if peak_kb := _of_proc("self/status", r"^VmHWM:\s+(\d+) kB"):
        return int(peak_kb) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def _of_proc(name: str, pattern: str) -> str:
    """What the group of a pattern finds in a file of Linux's /proc; "" where there is none."""
    file = Path("/proc") / name
    found = re.search(pattern, file.read_text(), re.M) if file.is_file() else None
    return found.group(1).strip() if found else ""
