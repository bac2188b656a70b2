"""Run a whole study: ``python -m kikuhelpers quick``.

Starts Snakemake on the study's graph, one run per study at a time. A run that was
stopped or killed at any point goes on with the same command: the lock is the operating
system's and dies with its process, and incomplete outputs are made again.

``python -m kikuhelpers in718_rx --figures`` makes only the tables and figures, from the
study's results and from those that ``data/kept/`` holds of it.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from kikuhelpers.runs.one_gpu import visible_gpus
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import PROJECT_ROOT, StudyError, load_study

_LAST_LINE_OF_ERROR = re.compile(r"[\w.]*(Error|Interrupt|Exception): (?P<message>.*)")
# A finished stage runs again if its inputs or its settings changed, not when code did.
_RERUN_TRIGGERS = ("mtime", "params", "input")
# Arguments that say where jobs run: this machine's GPUs are then not what bounds them.
_ELSEWHERE = ("--executor", "-e", "--profile", "--workflow-profile", "--resources", "--res")


def main(arguments: list[str] | None = None) -> int:
    """Run the study named on the command line; further arguments go to Snakemake."""
    parser = argparse.ArgumentParser(prog="python -m kikuhelpers", description=__doc__)
    parser.add_argument("study", nargs="?", default="quick", help="name or path of a study file")
    parser.add_argument(
        "--figures",
        action="store_true",
        help="only tables and figures, from results and kept files; nothing else runs",
    )
    parser.add_argument("--cores", default="all", help="processor cores to use (default: all)")
    arguments, for_snakemake = parser.parse_known_args(arguments)
    try:
        layout = Layout(load_study(arguments.study))
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    if Path(arguments.study).suffix:  # Snakemake runs in another folder
        arguments.study = str(Path(arguments.study).resolve())
    layout.folder.mkdir(parents=True, exist_ok=True)
    print(f"Results: {layout.folder}\nFigures and tables: {layout.figures}")
    if not layout.warm.is_file() and not arguments.figures:
        print("PyEBSDIndex compiles once on a machine: if it has not yet, 2-3 minutes more.")
    try:
        with FileLock(layout.folder / "running.lock", blocking=False):
            start = time.time()
            if arguments.figures:
                from kikuhelpers.runs.final_notebooks import make_figures  # loads torch: seconds

                failed = make_figures(layout, arguments.study)
            else:
                failed = subprocess.call(_snakemake(arguments, layout, for_snakemake))
            if failed:
                print(*_complaints(layout, start), sep="\n", file=sys.stderr)
            return failed
    except Timeout:
        print(f"Study '{arguments.study}' is already running in {layout.folder}.", file=sys.stderr)
        return 1


def _snakemake(arguments: argparse.Namespace, layout: Layout, more: list[str]) -> list[str]:
    gpus = visible_gpus()
    elsewhere = any(argument.split("=")[0] in _ELSEWHERE for argument in more)
    as_many_as_gpus = ["--resources", f"gpu={len(gpus)}"] if gpus and not elsewhere else []
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(PROJECT_ROOT / "Snakefile")),
        *("--directory", str(layout.folder)),
        *("--cores", arguments.cores),
        *("--rerun-triggers", *_RERUN_TRIGGERS),
        *("--nolock", "--rerun-incomplete", "--keep-going"),
        *("--quiet", "host", "reason", "rules"),
        *as_many_as_gpus,
        *("--config", f"study={arguments.study}", *more),
    ]


def _complaints(layout: Layout, start: float) -> list[str]:
    """Return what each notebook that failed since ``start`` said last, and where."""
    complaints = []
    for log in sorted((layout.folder / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").strip().splitlines() or [""]
        error = _LAST_LINE_OF_ERROR.match(lines[-1])
        if error and log.stat().st_mtime >= start:
            complaints.append(f"{log.stem}: {error['message']}\n  (all of it: {log})")
    return complaints


if __name__ == "__main__":
    sys.exit(main())
