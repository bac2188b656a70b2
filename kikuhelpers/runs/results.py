"""Every result of a study by name: found, checked to be of the study's settings, and opened.

A job leaves a record beside its results (:mod:`kikuhelpers.runs.provenance`): the fingerprint
of all settings that they depend on, the SHA-256 of the scans that they come from, and a digest
of each file. A result that is missing, damaged, of other settings, or of another model is never
read: a sentence says which command makes it. Nothing in a file can run: no pickle is read, no link
of HDF5 followed to another file.
"""

import shlex
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.runs.archive import Archive
from kikuhelpers.runs.errors import UnusableError, usable
from kikuhelpers.runs.files import (
    digest,
    hdf5_data,
    load_json,
    readable_json,
    whole_digest,
    written_aside,
)
from kikuhelpers.study import Study
from kikuhelpers.study.layout import GATHERED, RECORD, Layout, check
from kikuhelpers.study.stages import DATA, TRAINING, Job, jobs_of


class MissingResultError(UnusableError):
    """A result that is not there, or not of the study's settings.

    ``what`` is wrong, without the command; ``jobs`` make the result.
    """

    def __init__(self, what: str, study: Study, *jobs: Job):
        self.what, self.jobs = what, jobs
        super().__init__(f"{what.removesuffix('.')}. Make it with: {make_command(study, *jobs)}")


def make_command(study: Study, *jobs: Job) -> str:
    """Return the command that runs jobs of a study, and what they need.

    Values changed by overrides have no graph: the notebooks that they change are then run with
    the same overrides.
    """
    layout = Layout(study)
    changed = [job for job in jobs if study.origin.study and layout.folder_of(job) == layout.folder]
    ran = " and ".join(f"notebook {job.stage} on {', '.join(job.parts)}" for job in changed)
    others = [str(job) for job in jobs if job not in changed]
    command = shlex.join(("python", "-m", "kikuhelpers", study.origin.source, *others))
    of_both = [command] * bool(others) + [f"{ran}, with the same overrides"] * bool(changed)
    return ", then ".join(of_both)


def name_of(layout: Layout, job: Job, path: Path) -> str:
    """Return the name of a job's result in its record: its path below the study's folder."""
    folder = layout.folder_of(job)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


class Results:
    """The results of a study, opened by name.

    Parameters
    ----------
    archive
        Whether a result that is not in the results folder may come from the archive, as
        rounded there (:mod:`kikuhelpers.runs.archive`).

    Attributes
    ----------
    study : Study
        The study, or what :meth:`complete` left of it.
    layout : Layout
        Files of the whole study.
    left_out : list of str
        One sentence for each model or baseline that :meth:`complete` left out.
    shown : dict
        Patterns (h, w) uint16 that :meth:`pattern` returned, by "kind/scan/row/column".

    Examples
    --------
    >>> from kikuhelpers.study import load_study
    >>> results = Results(load_study("smoke", {"scans.wrought.data.seed": 7}))
    >>> results.layout.scan("wrought").orientations.name
    'orientations.h5'
    >>> results.orientations("preprocessed", "wrought")
    Traceback (most recent call last):
    kikuhelpers.runs.results.MissingResultError: scans/wrought/orientations.h5 of study
    'smoke-with-...' is not there yet. Make it with: notebook 03_indexing on wrought, with the same
    overrides
    """

    def __init__(self, study: Study, archive: bool = False):
        self.study, self.layout = study, Layout(study)
        self.left_out: list[str] = []
        self.shown: dict[str, np.ndarray] = {}
        self._archive = Archive(self.layout) if archive else None
        self._records: dict[Job, dict] = {}

    def complete(self) -> "Results":
        """Return the results of those models and baselines alone that have all of Table 1's.

        Unchanged if no model is left, so that whoever needs the first missing file says so.
        """
        study = self.study
        names = [name for name in study.decoders if self._has_table_row(name)]
        if not any(name in study.models for name in names):
            return self
        kept = {
            part: {name: value for name, value in getattr(study, part).items() if name in names}
            for part in ("models", "baselines")
        }
        other = Results(study.model_copy(update=kept))
        other.layout, other._archive, other._records = self.layout, self._archive, self._records
        other.shown = self.shown
        gone = [name for name in study.decoders if name not in names]
        other.left_out = [f"{name} has no results yet: left out." for name in gone]
        return other

    def scan(self, name: str) -> "Opened":
        """The results of a scan, by the names of :class:`~kikuhelpers.study.layout.ScanFiles`."""
        return Opened(self, self.layout.scan(name))

    def model(self, name: str) -> "Opened":
        """The results of a training, see :class:`~kikuhelpers.study.layout.ModelFiles`."""
        return Opened(self, self.layout.model(name))

    def model_scan(self, name: str, scan: str) -> "Opened":
        """Of a scan through a model or baseline, see ``ModelScanFiles`` in the same module."""
        return Opened(self, self.layout.model_scan(name, scan))

    @property
    def sample(self) -> "Opened":
        """What a PCA found of the sample, see ``SampleFiles`` in the same module."""
        return Opened(self, self.layout.sample)

    def step_um(self, scan: str) -> float:
        """The step of a scan: the study's, or what notebook 01 found in the scan's file."""
        return self.study.scan(scan).data.step_um or self.scan(scan).card["step_um"]

    def patterns(self, kind: str, scan: str) -> np.ndarray:
        """Preprocessed patterns, or a model's or baseline's, uint16 counts, mapped from file."""
        return self.open(self.layout.patterns(kind, scan))

    def orientations(self, kind: str, scan: str):
        """The orix CrystalMap of the preprocessed, a model's or a baseline's patterns."""
        return self.open(self.layout.orientations(kind, scan))

    def pattern(self, kind: str, scan: str, row: int, column: int) -> np.ndarray:
        """One pattern, (height, width) uint16 counts; it is remembered in ``shown``."""
        name = f"{kind}/{scan}/{row}/{column}"
        if name not in self.shown:
            try:
                self.shown[name] = np.array(self.patterns(kind, scan)[row, column])
            except MissingResultError:
                made = self.layout.maker(self.layout.patterns(kind, scan))
                there = self._archive and self._archive.record(made)
                archived = self._archive.shown_patterns() if there else {}
                if name not in archived:
                    raise
                self.shown[name] = archived[name]
        return self.shown[name]

    def path(self, path: Path) -> Path:
        """Return the path of a result that is there and of the study's settings.

        Otherwise a MissingResultError names the command that makes the result.
        """
        job = self.layout.maker(path)
        name, study = name_of(self.layout, job, path), self.layout.study
        if not path.is_file():
            raise MissingResultError(f"{name} of study '{study.name}' is not there yet", study, job)
        record = self.record(job)
        found = digest(path) if "schema" in record else digest(path, blocks=2)
        if path.name not in GATHERED and record["outputs"].get(name) != found:
            what = f"{name} of study '{study.name}' is not the file that {job} made"
            raise MissingResultError(what, study, job)
        return path

    def record(self, job: Job) -> dict:
        """Return the record of a job, checked like a result (:meth:`path`)."""
        if job in self._records:
            return self._records[job]
        path, study = self.layout.record(job.stage, *job.parts), self.layout.study
        if not path.is_file():
            raise MissingResultError(f"{job} has not run yet", study, job)
        with self._usable(f"The record {path.name}", job):
            record = check(load_json(path), RECORD)
        if record["fingerprint"] != self.layout.dependencies.fingerprint(job):
            what = f"The results of {job} were made with other settings than the study's"
            raise MissingResultError(what, study, job)
        for scan, sha256 in record["scans"].items() if job.stage != DATA else ():
            if readable_json(self.layout.scan(scan).card).get("sha256") != sha256:
                what = f"The results of {job} are of another scan than the present '{scan}'"
                raise MissingResultError(what, study, Job(DATA, (scan,)), job)
        return self._records.setdefault(job, record)

    def all_records(self) -> dict[Job, dict]:
        """Return the records of all jobs that have run, of archived jobs where that is allowed."""
        found = {}
        for job in jobs_of(self.layout.study):
            try:
                found[job] = self.record(job)
            except MissingResultError:
                if self._archive and (record := self._archive.record(job)):
                    found[job] = record
        return found

    def lacks(self, job: Job) -> str:
        """Return why a job's results cannot be used, in one sentence; "" where they can."""
        try:
            self.record(job)
            for path in self.layout.outputs(job):
                self.path(path)
        except MissingResultError as error:
            return str(error)
        return ""

    def fault(self, path: Path) -> str:
        """Return what is wrong with a result, opened and read whole; "" if nothing is."""
        job = self.layout.maker(path)
        name = name_of(self.layout, job, path)
        try:
            with self._usable(name, job):
                self.open(path) if path.suffix in OPENERS else self.path(path)
                whole = whole_digest(path)
                if whole and whole != self.record(job).get("sha256", {}).get(name, whole):
                    raise ValueError("its SHA-256 is not that of its record")
        except UnusableError as error:
            return str(error)
        return ""

    def save_shown(self) -> None:
        """Write the patterns that were shown, so that the archive can keep them."""
        if self.shown:
            with written_aside(self.layout.shown_patterns) as temporary:
                np.savez_compressed(temporary, **self.shown)

    def open(self, path: Path):
        """Open a result by its path, checked as by :meth:`path`, or from the archive if allowed."""
        opener, job = OPENERS.get(path.name) or OPENERS[path.suffix], self.layout.maker(path)
        with self._usable(name_of(self.layout, job, path), job):
            try:
                found, name = opener(self.path(path)), path.name
            except MissingResultError:
                found = self._archive.find(path) if self._archive else None
                if found is None:
                    raise
                name = path.name.removesuffix(".h5")  # of which not all properties are archived
            found = with_rows_and_columns(found) if path.name == "orientations.h5" else found
            return check(found, name, self._sizes(job, path))

    def _usable(self, what: str, job: Job):
        """Whatever is wrong with a job's file becomes a MissingResultError."""
        study = self.layout.study
        what = f"{what} of study '{study.name}'"
        return usable(what, error=lambda said: MissingResultError(said, study, job))

    def _sizes(self, job: Job, path: Path) -> dict[str, int]:
        """The sizes by which :func:`~kikuhelpers.study.layout.check` knows a result's shape."""
        study, scan = self.layout.study, path.parent.name
        model = study.models.get(job.parts[0]) if job.parts else None
        scan = model.hold_out.scan if job.stage == TRAINING and model.hold_out else scan
        sizes = {"D": model.latent_dim} if model else {}
        if scan in study.scans and path != (card := self.layout.scan(scan).card) and self.has(card):
            sizes["rows"], sizes["columns"] = self.open(card)["map_shape"]
        return sizes

    def has(self, path: Path) -> bool:
        """Tell whether a result can be opened."""
        try:
            return bool(self.path(path))
        except MissingResultError:
            return self._archive is not None and self._archive.holds(path)

    def _has_table_row(self, name: str) -> bool:
        needed = [self.layout.model(name).card] if name in self.study.models else []
        for files in (self.layout.model_scan(name, scan) for scan in self.study.decoded_scans):
            needed += [files.orientations, files.pattern_loss]
        return all(map(self.has, needed))


class Opened:
    """Results of one place: an attribute opens the file of that name in the layout."""

    def __init__(self, results: Results, files):
        self._results, self._files = results, files

    def __getattr__(self, name: str):
        return self._results.open(getattr(self._files, name))


def with_rows_and_columns(xmap):
    """Give a CrystalMap back the axis of one point that orix leaves out, in place; return it."""
    if len(xmap.shape) < 2:
        shape = tuple(len(np.unique(places)) for places in (xmap._y, xmap._x))
        xmap._shape = xmap._original_shape = shape
    return xmap


def _whole(path: Path) -> Path:
    """Refuse HDF5 that leads to other files, or unpacks to over twice its size and 64 MB."""
    if hdf5_data(path) > 2 * path.stat().st_size + 64_000_000:
        raise ValueError("it unpacks to far more than its size")
    return path


def _open_truth(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(_whole(path)) as file:
        shape = tuple(file.attrs["map_shape"])
        return {name: v[()].reshape(*shape, *v.shape[1:]) for name, v in file.items()}


# orix and torch take seconds to import: only whoever opens a file of theirs waits for them.
OPENERS = {
    "truth.h5": _open_truth,
    ".h5": lambda path: import_module("orix.io").load(str(_whole(path))),
    ".up2": open_patterns,
    # Mapped first, so that no more is read than the file holds: no pickle, and no archive.
    "latents.npy": lambda path: np.lib.format.open_memmap(path, mode="r"),
    ".npy": lambda path: np.array(np.lib.format.open_memmap(path, mode="r")),
    ".json": load_json,
    ".csv": pd.read_csv,
    ".safetensors": lambda path: import_module("safetensors.torch").load_file(path),
}
