"""Run a whole study: ``python -m kikuhelpers quick``.

The command starts Snakemake on the study's graph, one run per study at a time. A run that was
stopped or killed at any point goes on with the same command: the lock is the operating
system's and dies with its process, and incomplete outputs are made again. Jobs named behind
the study (``04_training.vae-16``) are run alone, with what they need.

``python -m kikuhelpers new my_scan.up2`` looks at a scan and writes ``my_scan.yaml``.
``python -m kikuhelpers verify quick`` reads every file of a study and says which are damaged.
``python -m kikuhelpers again results/quick/runs/<job>.json`` reruns what a record describes and
says whether today's numbers match, and by how much not.
``python -m kikuhelpers export quick am`` writes a scan for other programs (docs/interchange.md).
``python -m kikuhelpers in718_rx --figures`` makes only the tables and figures, from the
study's results and, where these are missing, from ``data/archive/``; ``--figure 5`` draws this
one, ``--archive`` writes the study's results there. Further options go to Snakemake.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from urllib.parse import quote

import yaml
from filelock import FileLock, Timeout

from kikuhelpers.runs import fork_server
from kikuhelpers.runs.again import again
from kikuhelpers.runs.archive import Archive
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import tidy
from kikuhelpers.runs.fork_server import visible_gpus
from kikuhelpers.runs.progress import Progress
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PROJECT_ROOT, StudyError, load_study, roles, stages
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.load import ROOTS, root_of, study_path
from kikuhelpers.study.stages import Job, jobs_of
from kikuhelpers.training.checkpoints import remove_checkpoints

_LAST_LINE_OF_ERROR = re.compile(r"[\w.]*(Error|Interrupt|Exception): (?P<message>.*)")
_KILLED = "it was killed (no memory, a file cut short, by hand); the same command goes on from here"
_JOB = re.compile(r"\d\d_[a-z]")
# A finished job runs again if its inputs or its settings changed, not when code did.
_RERUN_TRIGGERS = ("mtime", "params", "input")
# Arguments that say where jobs run: this machine's GPUs are then not what bounds them.
_ELSEWHERE = ("--executor", "-e", "--profile", "--workflow-profile", "--resources", "--res")


def main(arguments: list[str] | None = None) -> int:
    """Run the study named on the command line; further options go to Snakemake."""
    parser = argparse.ArgumentParser(prog="python -m kikuhelpers", description=__doc__)
    parser.add_argument("study", nargs="?", default="quick", help="name or path of a study file")
    parser.add_argument("jobs", nargs="*", help="jobs to run alone, such as 04_training.vae-16")
    parser.add_argument(
        "--figures",
        action="store_true",
        help="only tables and figures, from results and the archive; nothing is trained",
    )
    parser.add_argument("--figure", type=int, help="only this figure, by the paper's number")
    parser.add_argument("--archive", action="store_true", help="archive the study's results")
    parser.add_argument("--to", type=Path, help="folder of an export (default: in the results)")
    parser.add_argument("--cores", default="all", help="processor cores to use (default: all)")
    arguments, for_snakemake = parser.parse_known_args(arguments)
    try:
        verbs = {"new": _look, "export": partial(_export, arguments.to), "verify": _verify}
        if verb := (verbs | {"again": again}).get(arguments.study):
            return verb(*arguments.jobs)
        results = Results(load_study(arguments.study))
        if arguments.figure is not None:
            return _draw(results.study, arguments.figure)
        more = [name for name in for_snakemake if _JOB.match(name)]  # behind an option
        for_snakemake = [name for name in for_snakemake if name not in more]
        jobs = [_job(results.study, name) for name in (*arguments.jobs, *more)]
    except SentenceError as error:
        print(error, file=sys.stderr)
        return 2
    layout = results.layout
    print(f"Results: {layout.folder}\nFigures and tables: {layout.figures}", flush=True)
    if not layout.warm.is_file() and not arguments.figures and not arguments.archive:
        print("PyEBSDIndex compiles once on a machine: if it has not yet, 2-3 minutes more.")
    try:
        layout.folder.mkdir(parents=True, exist_ok=True)
        lock = layout.folder / "running.lock"
        with FileLock(lock, blocking=False, on_acquired=fork_server.hand_down):
            if arguments.archive:
                Archive(layout).write(results)
                return 0
            tidy(layout.folder)
            tidy(layout.figures)
            start = time.time()
            plan = bool({"-n", "--dry-run", "--dryrun"} & {*for_snakemake})
            if arguments.figures:
                jobs = anew = to_do = _tables_and_figures(results)
            else:
                needed = _with_needs(results, jobs)
                wanted = [job for job in jobs_of(results.study) if not jobs or job in needed]
                anew, to_do = _stale(results, wanted), _to_do(results, wanted)
                if not to_do and not plan:
                    print("Nothing to be done: all results are there.")
            quiet = ("host", "reason", "rules") if plan else ("all",)  # it speaks of a plan alone
            for_snakemake = ["--quiet", *quiet, *for_snakemake]
            command = _snakemake(arguments, layout.folder, jobs, anew, for_snakemake)
            with Progress(layout, to_do), fork_server.running(PROJECT_ROOT / "notebooks"):
                failed = subprocess.call(command, **fork_server.AS_OUR_OWN)
            results = Results(results.study)  # read anew
            if failed:
                print(*_complaints(layout, start), sep="\n", file=sys.stderr)
            if not plan:
                print(*_last_words(results), sep="\n")
            for name in results.study.models:  # whose trainings are known to have ended
                if not results.lacks(Job(stages.TRAINING, (name,))):
                    remove_checkpoints(layout.model(name))
            return failed
    except Timeout:
        print(f"Study '{arguments.study}' is already running in {layout.folder}.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}: correct that, or name other folders (docs/running.md).", file=sys.stderr)
        return 1


def _look(path: str = "", *settings: str) -> int:
    """Write a study of a scan's file and a picture of it; settings are ``name=value``."""
    try:
        given = {n: yaml.safe_load(value) for n, value in (text.split("=", 1) for text in settings)}
    except (ValueError, yaml.YAMLError):
        raise StudyError(f"Write settings as map_shape=[9,10], not {' '.join(settings)}.") from None
    if not path or "path" in given:
        raise StudyError("Give a scan's file: python -m kikuhelpers new scan.up2 map_shape=[9,10].")
    from kikuhelpers.figures.first_look import new_study  # imports what a run of a study does not

    study, picture = new_study(path, **given)
    print(f"Look at {picture} and correct {study}, then: python -m kikuhelpers {study}")
    return 0


def _draw(study, number: int) -> int:
    """Draw one figure, from results and the archive, and say what it lacks."""
    from kikuhelpers.figures.figure_set import FIGURES, FigureSet  # imports what a run does not

    if number not in FIGURES:
        there = ", ".join(map(str, FIGURES))
        raise StudyError(f"There is no figure {number}: name one of {there}.")
    figures = FigureSet(Results(study, archive=True))
    figure = figures.make(number)
    files = (figures.folder / name for name in figures.card[FIGURES[number]]["files"])
    print(*figure.missing, *files, sep="\n")
    return 0 if figure.axes else 1


def _export(to: Path | None, name: str = "quick", *scans: str) -> int:
    from kikuhelpers.tables.interchange import export  # imports what a run of a study does not

    results = Results(load_study(name))
    for scan in scans or results.study.mapped_scans:
        export(results, scan, folder := to / scan if to else results.layout.export(scan))
        print(f"Exported: {folder}")
    return 0


def _verify(name: str = "quick") -> int:
    """Print which files of the jobs that have run are damaged; 1 if one is."""
    results, faults = Results(load_study(name)), []
    for job in jobs_of(results.study):
        ran = results.layout.record(job.stage, *job.parts).is_file()
        for path in results.layout.outputs(job) if ran else ():
            faults.append(results.fault(path))
            print("faulty  " + faults[-1] if faults[-1] else f"ok      {path}")
    faulty = sum(map(bool, faults))
    older = sum("schema" not in record for record in results.all_records().values())
    print(f"{len(faults)} files, {faulty} faulty; of {older} older jobs both ends of files count.")
    return int(faulty > 0)


def _job(study, name: str) -> Job:
    known = {str(job): job for job in jobs_of(study)}
    if name not in known:
        of_stage = [other for other in known if other.startswith(name[:2])]
        some = ", ".join((of_stage or list(known))[:8])
        raise StudyError(f"Study '{study.name}' has no job '{name}'; it has {some} ...")
    return known[name]


def _snakemake(
    arguments: argparse.Namespace, folder: Path, jobs: list[Job], anew: list[Job], more: list[str]
) -> list[str]:
    gpus, elsewhere = visible_gpus(), any(word.split("=")[0] in _ELSEWHERE for word in more)
    as_many_as_gpus = ["--resources", f"gpu={len(gpus)}"] if gpus and not elsewhere else []
    # Snakemake reads a value as Python or YAML, on a cluster in a shell too: a path, spelt as in a
    # URL, is the same text in all of them. A job on a cluster knows no other folders.
    config = [f"study={quote(str(study_path(arguments.study).resolve()))}"]
    config += [f"{kind}={quote(str(root_of(kind)))}" for kind in ROOTS]
    config += ["from_archive=true"] if arguments.figures else []
    return [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(PROJECT_ROOT / "Snakefile")),
        *("--directory", str(folder)),
        *("--cores", arguments.cores),
        *("--rerun-triggers", *_RERUN_TRIGGERS),
        *(("--forcerun", *map(_record, anew)) if anew else ()),
        *("--nolock", "--rerun-incomplete", "--keep-going"),
        *as_many_as_gpus,
        *("--config", *config),
        *more,
        *(("--", *map(_record, jobs)) if jobs else ()),
    ]


def _record(job: Job | str) -> str:
    """A job's record, by which Snakemake knows the job: its path in the results folder."""
    return f"runs/{job}.json"


def _stale(results: Results, jobs: list[Job]) -> list[Job]:
    """Jobs that have run, and whose results or record are gone, changed, or of other settings."""
    layout = results.layout

    def ran(job: Job) -> bool:
        left = layout.outputs(job) if job.parts else []  # tables lie in a fresh clone, too
        return any(p.is_file() for p in (layout.record(job.stage, *job.parts), *left))

    return [job for job in jobs if ran(job) and results.lacks(job)]


def _with_needs(results: Results, jobs: Collection[Job]) -> set[Job]:
    """Jobs and all that they need, through other jobs too."""
    needs = {other for job in jobs for other in results.layout.dependencies.needs(job)}
    return {*jobs, *(_with_needs(results, needs) if needs else ())}


def _tables_and_figures(results: Results) -> list[Job]:
    """The last notebooks; of virtual specimens only where all that it scores is there."""
    study, found = results.study, Results(results.study, archive=True)
    jobs = [Job(stages.TABLE1), Job(stages.FIGURES)] if study.models else []
    scored = [found.layout.scan(scan) for scan in roles.scored_scans(study)]
    there = all(found.has(path) for files in scored for path in (files.truth, files.camera_scale))
    jobs += [Job(stages.VIRTUAL_SPECIMENS)] if scored and there else []
    judged = study.models and (not study.virtual_scans or (scored and there))
    return [*jobs, Job(stages.CLAIMS)] if judged else jobs


def _to_do(results: Results, jobs: list[Job]) -> list[Job]:
    """Jobs that lack results, and what follows from them."""
    needs, to_do = results.layout.dependencies.needs, []
    for job in jobs:
        if results.lacks(job) or any(other in to_do for other in needs(job)):
            to_do.append(job)
    return to_do


def _last_words(results: Results) -> list[str]:
    """Say what the results warn of, and where to look."""
    layout, study = results.layout, results.study
    warnings = [
        f"Look at {job}: {warning}"
        for job, record in results.all_records().items()
        for warning in record.get("warnings", ())
    ]
    table, maps = layout.figures / "table1.md", layout.folder / "notebooks"
    where = [f"Figures: {layout.figures}"] if any(layout.figures.glob("*")) else []
    where += [f"Table 1: {table}"] if study.models and table.is_file() else []
    where += [f"Latent maps: {maps}/05_*.ipynb"] if any(maps.glob("05_*.ipynb")) else []
    of = {"study_name": study.origin.source}
    if study.models:
        of |= {"model": next(iter(study.models)), "scan": study.mapped_scans[0]}
    notebook = "13_explorer" if study.models else "10_virtual_specimens"
    look = f"To look into it: make lab in {PROJECT_ROOT}, then {notebook}.ipynb with "
    look += ", ".join(f'{name} = "{value}"' for name, value in of.items())
    return [*warnings, *where, look]


def _complaints(layout: Layout, start: float) -> list[str]:
    """Return what each notebook that failed since ``start`` said last, and where."""
    complaints = []
    for log in sorted((layout.folder / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").strip().splitlines() or [""]
        error = _LAST_LINE_OF_ERROR.match(lines[-1])
        killed = _JOB.match(log.stem) and not (layout.folder / _record(log.stem)).is_file()
        if (error or killed) and log.stat().st_mtime >= start:
            said = error["message"] if error else _KILLED
            complaints.append(f"{log.stem}: {said}\n  (all of it: {log})")
    return complaints or ["Snakemake failed or was killed: the same command goes on from here."]


if __name__ == "__main__":
    sys.exit(main())
