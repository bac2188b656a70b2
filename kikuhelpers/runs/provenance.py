"""What made a result: parameters, seed, versions, commit, inputs, hardware, time, memory.

Every notebook opens a record, closes it at its end, and so leaves one small JSON file.
``collect`` gathers those of a study into the ``run.json`` beside its tables and figures.
"""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

from kikuhelpers.runs.files import load_json, save_json, sha256
from kikuhelpers.study.layout import PREPROCESSED, Layout
from kikuhelpers.study.study import PROJECT_ROOT

PACKAGES = (
    "kikuchipy", "orix", "hyperspy", "pyebsdindex", "torch", "numpy", "scipy",
    "scikit-learn", "pandas", "matplotlib", "papermill", "snakemake",
)  # fmt: skip


class Record:
    """The provenance of one notebook's run.

    Parameters
    ----------
    layout
        Files of the study.
    notebook
        Name of the notebook, for example "03_training".
    parts
        What it ran on: the model's and the scan's names.
    """

    def __init__(self, layout: Layout, notebook: str, *parts: str):
        self.layout, self.notebook, self.parts = layout, notebook, parts
        self._start = time.monotonic()

    def close(self, *inputs: Path) -> dict:
        """Write and return the record; ``inputs`` are the files the notebook read."""
        record = {
            "notebook": self.notebook,
            "parts": self.parts,
            "study": self.layout.study.model_dump(),
            "seed": self.layout.study.seed,
            "commit": git_commit(),
            "inputs": {_short(p, self.layout.folder): sha256(p) for p in inputs},
            "versions": versions(),
            "hardware": hardware(),
            "seconds": round(time.monotonic() - self._start, 1),
            "peak_memory_mb": round(peak_memory_bytes() / 2**20),
        }
        save_json(self.layout.record(self.notebook, *self.parts), record)
        return record


def collect(layout: Layout) -> dict:
    """Gather the records of a study: what all share once, the rest per notebook.

    A run on another machine, whose results were kept, brings its own versions and hardware.
    Runs of a scan or a model that the study no longer has are left out.
    """
    study = layout.study
    names = {PREPROCESSED, *study.scans, *study.models, *study.baselines}
    found = (load_json(path) for path in sorted(layout.runs.glob("*.json")))
    records = [_in_whole(record, layout) for record in found if names.issuperset(record["parts"])]
    shared = {key: records[-1][key] for key in ("study", "seed", "versions", "hardware")}
    runs = {}
    for record in records:
        own = ["commit", "inputs", "seconds", "peak_memory_mb"]
        own += [key for key in ("versions", "hardware") if record[key] != shared[key]]
        name = ".".join((record["notebook"], *record["parts"]))
        runs[name] = {key: record[key] for key in own}
    return shared | {
        "commit": git_commit(),
        "wall_seconds_sum": round(sum(r["seconds"] for r in records), 1),
        "peak_memory_mb": max(r["peak_memory_mb"] for r in records),
        "runs": runs,
    }


def git_commit() -> str:
    """Return the commit of the code, "+changes" appended where files differ from it."""
    command = ["git", "-C", str(PROJECT_ROOT)]
    try:
        commit = subprocess.check_output([*command, "rev-parse", "HEAD"], text=True, stderr=-3)
        changes = subprocess.check_output(
            [*command, "status", "--porcelain", "--", "kikuhelpers", "notebooks", "studies"],
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "no git commit"
    return commit.strip() + ("+changes" if changes.strip() else "")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that make results."""
    installed = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **installed}


def hardware() -> dict:
    """Return processor, cores, memory and accelerator."""
    facts = {
        "system": platform.system(),
        "processor": _processor(),
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
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage on Linux counts the process that started this one, too
        peak_kb = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.M)
        return int(peak_kb.group(1)) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def _in_whole(record: dict, layout: Layout) -> dict:
    """Count all of a training that was killed and taken up: its card does, its record not."""
    if record["notebook"] != "03_training":
        return record
    card = layout.model(*record["parts"]).card
    trained = load_json(card)["seconds"] if card.is_file() else 0
    return record | {"seconds": max(record["seconds"], round(trained, 1))}


def _short(path: Path, folder: Path) -> str:
    """Name a file without the machine's folders."""
    path = Path(path)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
