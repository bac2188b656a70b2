"""Tables and figures alone, from results that are there or were kept.

Snakemake would first make what these came from, hours of training among it. So their notebooks
are run directly.
"""

import subprocess
import sys

from kikuhelpers.runs.kept.store import restore
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import PROJECT_ROOT

_TABLES_AND_FIGURES = ("07_table1", "08_figures")
_VIRTUAL_SPECIMENS = "09_virtual_specimens"


def make_figures(layout: Layout, study: str) -> int:
    """Restore what is missing and kept, then run the notebooks of the tables and figures.

    Parameters
    ----------
    layout
        Files of the study.
    study
        Its name or the path of its file.

    Returns
    -------
    int
        0, or the exit code of the notebook that failed; those after it are not run, so that
        they do not remove older figures.
    """
    restore(layout.study)
    notebooks = list(_TABLES_AND_FIGURES) if layout.study.models else []
    if _has_truth(layout):
        notebooks.append(_VIRTUAL_SPECIMENS)
    codes = (_run(layout, study, notebook) for notebook in notebooks)
    return next((code for code in codes if code), 0)


def _has_truth(layout: Layout) -> bool:
    """Tell whether all that notebook 09 reads is there; its patterns are too large to keep."""
    study = layout.study
    virtual = [layout.scan(name) for name in study.scans if study.is_virtual(name)]
    compared = study.comparison.model_dump().values() if study.comparison else ()
    needed = [path for s in virtual for path in (s.raw, s.truth, s.preprocessed, s.orientations)]
    for scan in map(layout.scan, compared):
        needed += [scan.preprocessed, scan.orientations]
    return bool(virtual) and all(path.is_file() for path in needed)


def _run(layout: Layout, study: str, notebook: str) -> int:
    print(f"Running notebook {notebook}", flush=True)
    log = layout.folder / "logs" / f"{notebook}.log"
    source = PROJECT_ROOT / "notebooks" / f"{notebook}.ipynb"
    executed = layout.notebooks / source.name
    for path in (log, executed):  # papermill does not make them
        path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-output"]
    with log.open("w") as file:
        return subprocess.call(
            [*command, str(source), str(executed), "-p", "study", study],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
