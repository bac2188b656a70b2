"""Where every file of a study lies, and which notebook makes it: nothing else builds paths.

::

    <results>/<study>/scans/<scan>/            scan.up2, preprocessed.up2, ...
    <results>/<study>/models/<model>/          weights.safetensors, history.csv, ...
    <results>/<study>/models/<model>/<scan>/   latents.npy, decoded.up2, ...
    <results>/<study>/baselines/               pca.npz
    <results>/<study>/baselines/<baseline>/<scan>/   decoded.up2, ...
    <results>/<study>/notebooks/               the executed notebooks
    <results>/<study>/runs/                    the record of each job: <notebook>.<parts>.json
    <results>/<study>/export/<scan>/           the scan in other programs' formats, if asked for
    <results>/<study>/explorer/<model>/<scan>/ maps that the explorer made once
    <figures>/<study>/                         tables and figures
    <archive>/<study>/                         small copies of results, see kikuhelpers.runs.archive
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kikuhelpers.runs.files import readable_json
from kikuhelpers.study import roles
from kikuhelpers.study.load import root_of
from kikuhelpers.study.scans import FILE
from kikuhelpers.study.stages import (
    BASELINES,
    CLAIMS,
    DATA,
    FIGURES,
    INDEXING,
    LATENT_MAPS,
    PREPROCESSING,
    RECONSTRUCTION,
    REINDEXING,
    TABLE1,
    TRAINING,
    VIRTUAL_SPECIMENS,
    Dependencies,
    Job,
    jobs_of,
)
from kikuhelpers.study.study import PREPROCESSED, Study, StudyError

FolderOf = Callable[[str], Path]  # the folder of the files that a stage makes

# Text of results that are alike.
_COUNTS = "Counts = (p + 1) * 32767.5: (rows, columns, 120, 120) uint16"
_MAP = "CrystalMap of the patterns: (rows, columns) pq, cm, ci, sharpness"
_LOSS = "Masked half-sum-of-squares: (rows, columns) float32"
_FEATURES = "Measures of each feature: (D) feature, variance, active, moran_i"
_LATENTS = "Latent means, or scores: (rows, columns, D) float32"
_SCALE = "On the camera's scale: (rows, columns) half_range, mean_counts, sharpness_map, std_counts"


class made_by:
    """A file that a stage makes: its path, as an attribute of the files of a scan or model.

    What the file holds stands behind the colon of ``text``, and is checked by :func:`check`.
    """

    def __init__(self, stage: str, name: str, text: str, only_where: str = ""):
        self.stage, self.name, self.only_where = stage, name, only_where
        self.holds = text.partition(": ")[2]
        self.__doc__ = f"{text}. Made by notebook {stage}."

    def __get__(self, files, owner=None):
        return self if files is None else files.folder_of(self.stage) / self.name


@dataclass(frozen=True)
class _Files:
    folder_of: FolderOf

    @classmethod
    def results(cls) -> Iterator[made_by]:
        """Yield what stages make here, ``path`` by ``path`` of its ``stage``."""
        yield from (value for value in vars(cls).values() if isinstance(value, made_by))


class ScanFiles(_Files):
    """Files of one scan."""

    raw = made_by(DATA, "scan.up2", "The scan as measured, UP2 version 3: (rows, columns, h, w)")
    card = made_by(DATA, "scan.json", "The scan: sha256'', map_shape[2], pattern_shape[2], step_um")
    truth = made_by(DATA, "truth.h5", "Truth: (rows, columns) rotation, phase", "virtual")
    brought = made_by(DATA, "brought.npy", "Background that the scan's file brings", FILE)
    background = made_by(PREPROCESSING, "background.npy", "Mean in counts: (120, 120) float32")
    mask = made_by(PREPROCESSING, "mask.npy", "True inside the screen: (120, 120) bool")
    preprocessed = made_by(PREPROCESSING, "preprocessed.up2", _COUNTS)
    camera_scale = made_by(PREPROCESSING, "camera_scale.npy", _SCALE)
    pattern_centre = made_by(INDEXING, "pattern_centre.json", "Calibrated: pattern_centre[3]")
    orientations = made_by(INDEXING, "orientations.h5", _MAP)


class ModelFiles(_Files):
    """Files of one trained model."""

    weights = made_by(TRAINING, "weights.safetensors", "Weights of the network")
    card = made_by(TRAINING, "card.json", "Of the training: presentations, seconds, last{}")
    history = made_by(TRAINING, "history.csv", "Losses: presentations, loss, reconstruction, kl")
    held_out = made_by(TRAINING, "held_out.npy", "Not seen: (rows, columns) bool", "hold_out")

    @property
    def checkpoint(self) -> Path:
        """State to go on from; no output of the graph, so that the state outlives a kill."""
        return self.folder_of(TRAINING) / "checkpoint.pt"

    @property
    def checkpoint_before(self) -> Path:
        """The checkpoint before the last one, for the case that the last one is damaged."""
        return self.folder_of(TRAINING) / "checkpoint_before.pt"


class ModelScanFiles(_Files):
    """Files of one scan seen through one model."""

    latents = made_by(LATENT_MAPS, "latents.npy", _LATENTS)
    features = made_by(LATENT_MAPS, "features.csv", _FEATURES)
    decoded = made_by(RECONSTRUCTION, "decoded.up2", _COUNTS)
    pattern_loss = made_by(RECONSTRUCTION, "pattern_loss.npy", _LOSS)
    residual = made_by(RECONSTRUCTION, "residual.json", "Errors: mae_counts, mae_camera")
    generated = made_by(RECONSTRUCTION, "generated.npy", "From noise: (n, 120, 120) float32")
    orientations = made_by(REINDEXING, "orientations.h5", _MAP)


class BaselineScanFiles(_Files):
    """Files of one scan seen through a baseline; the largest PCA stands beside the latents."""

    latents = made_by(BASELINES, "latents.npy", _LATENTS, "scored")
    features = made_by(BASELINES, "features.csv", _FEATURES, "scored")
    decoded = made_by(BASELINES, "decoded.up2", _COUNTS)
    pattern_loss = made_by(BASELINES, "pattern_loss.npy", _LOSS)
    orientations = made_by(REINDEXING, "orientations.h5", _MAP)


class SampleFiles(_Files):
    """What is found once of a study's training sample, by its largest PCA."""

    principal_components = made_by(BASELINES, "pca.npz", "PCA: eigenvalues, mean, components")
    spectrum = made_by(BASELINES, "spectrum.json", "The variances alone: eigenvalues, total")


_KINDS = (ScanFiles, ModelFiles, ModelScanFiles, BaselineScanFiles, SampleFiles)
_HOLDS = {result.name: result.holds for kind in _KINDS for result in kind.results()}
RECORD, SCHEMAS = "record", (1, 2)  # of a job; records of the first schema do not say it
_HOLDS[RECORD] = "fingerprint'', scans{}, outputs{}, inputs{}, commit'', versions{}, hardware{}, "
_HOLDS[RECORD] += "seconds, peak_memory_mb"


def check(value, name: str, sizes: dict[str, int] | None = None):
    """Return what a file of a name held; ValueError if that is not what it must hold.

    The text of :class:`made_by` says what: a shape, by numbers and by names of ``sizes``, and names
    of columns, fields or properties, or the type of an array.
    """
    shape, names = re.fullmatch(r"(?:\((.*)\) ?)?(.*)", _HOLDS.get(name, "")).groups()
    known, mapping, table = value, isinstance(value, dict), hasattr(value, "columns")
    if isinstance(value, np.ndarray):
        known = value.dtype.names or (value.dtype.name,)
    for part, count, inner in re.findall(r"(\w+)(?:\[(\d)\]|(\{\}|''))?", names):
        kind = {dict: "{}", str: "''"}.get(type(value.get(part)), "") if mapping else inner
        if part not in getattr(known, "prop", known) or inner != kind:
            raise ValueError(f"it lacks {part}")
        if table or count or (mapping and not inner):
            numbers = np.asarray(value[part], float)
            if not (table or np.isfinite(numbers).all()) or (count and len(numbers) != int(count)):
                raise ValueError(f"it holds no {count} numbers as {part}".replace("  ", " "))
    if mapping and value.get("schema", 1) not in SCHEMAS:
        raise ValueError(f"another version of kikuhelpers wrote it, of schema {value['schema']}")
    if table and names and value.empty:
        raise ValueError("it holds no line")
    axes = [str((sizes or {}).get(axis, axis)) for axis in shape.split(", ")] if shape else []
    for part in (value.values() if mapping else [value]) if axes else ():
        found = part.shape[: len(axes) if table or mapping else None]
        seen = [str(n) if axis.isdigit() else axis for n, axis in zip(found, axes, strict=False)]
        if len(found) != len(axes) or seen != axes:
            raise ValueError(f"its shape is {found}, not ({', '.join(axes)})")
    return value


# Files in the folder of tables and figures, by the notebook that makes them.
_TABLES = ("table1.csv", "table1.md", "table1.tex", "table1_by_scan.csv", "table1_intervals.csv")
_TABLES += ("table1_differences.csv", "table2.csv", "residuals.csv", "orientation_shares.csv")
_CURVES = ("learning_curves", "learned_orientations")
PICTURES = (".png", ".pdf")
CLAIM_GROUPS = ("wrought", "am", "dimension", "generation", "table1", "method")
GATHERED = ("run.json", "virtual_specimens.json")  # from records, so written after them


@dataclass(frozen=True)
class Layout:
    """All files of a study.

    Of a study with overrides, what the overrides do not change is found among the results of
    the study before them.
    """

    study: Study

    @cached_property
    def folder(self) -> Path:
        return root_of("results") / self.study.name

    @cached_property
    def figures(self) -> Path:
        return root_of("figures") / self.study.name

    @cached_property
    def archive(self) -> Path:
        """Small copies of results that git holds, see :mod:`kikuhelpers.runs.archive`."""
        return root_of("archive") / (self.study.origin.study or self.study).name

    @property
    def shown_patterns(self) -> Path:
        """The patterns that the figures show (.npz); the archive holds them too."""
        return self.folder / "shown_patterns.npz"

    def export(self, scan: str) -> Path:
        """Folder of a scan in other programs' formats; no output of the graph."""
        return self.folder / "export" / scan

    def explorer(self, model: str, scan: str) -> Path:
        """Folder of the maps that the explorer made once; no output of the graph."""
        return self.folder / "explorer" / model / scan

    @property
    def warm(self) -> Path:
        """Mark that the libraries' code has been compiled."""
        return self.folder / "warm_up.txt"

    @cached_property
    def dependencies(self) -> Dependencies:
        """What each job of the study depends on."""
        return Dependencies(self.study)

    @cached_property
    def _original(self) -> "Layout | None":
        return Layout(self.study.origin.study) if self.study.origin.study else None

    def folder_of(self, job: Job) -> Path:
        """Return the results folder that holds a job's files."""
        if self._original and job.parts:  # tables and figures have a folder of their own anyway
            before, now = self._original.dependencies, self.dependencies
            try:
                # A fingerprint holds the bare name of a scan's file: here the whole path counts.
                data = [
                    [d.study.scan(s).data for s in now.scans_behind(job)] for d in (before, now)
                ]
                if before.fingerprint(job) == now.fingerprint(job) and data[0] == data[1]:
                    return self._original.folder
            except ValueError:  # a scan or a model that only the overrides bring in
                pass
        return self.folder

    def record(self, stage: str, *parts: str) -> Path:
        """JSON: provenance of a job, see :mod:`kikuhelpers.runs.provenance`."""
        job = Job(stage, parts)
        return self.folder_of(job) / "runs" / f"{job}.json"

    def scan(self, name: str) -> ScanFiles:
        self.study.scan(name)
        return ScanFiles(self._folders("scans", name, parts=(name,)))

    def model(self, name: str) -> ModelFiles:
        self.study.model(name)
        return ModelFiles(self._folders("models", name, parts=(name,)))

    def model_scan(self, model: str, scan: str) -> ModelScanFiles | BaselineScanFiles:
        """Files of a scan seen through a model or a baseline, whose names differ."""
        self.study.scan(scan)
        if model in self.study.baselines:
            return BaselineScanFiles(self._folders("baselines", model, scan, parts=(model, scan)))
        self.study.model(model)
        return ModelScanFiles(self._folders("models", model, scan, parts=(model, scan)))

    @property
    def sample(self) -> SampleFiles:
        """Files of the training sample; of a study with a PCA among its baselines."""
        largest = self.study.largest_pca or ""
        return SampleFiles(self._folders("baselines", parts=(largest,)))

    def orientations(self, kind: str, scan: str) -> Path:
        """Orientations of a scan's preprocessed patterns, or of a model's or baseline's."""
        files = self.scan(scan) if kind == PREPROCESSED else self.model_scan(kind, scan)
        return files.orientations

    def patterns(self, kind: str, scan: str) -> Path:
        """UP2 file of a scan's preprocessed patterns, or of a model's or baseline's."""
        if kind == PREPROCESSED:
            return self.scan(scan).preprocessed
        return self.model_scan(kind, scan).decoded

    def outputs(self, job: Job) -> list[Path]:
        """Return the files that a job makes, its record not among them.

        Which figures a study can fill is known only when they are drawn, and stands in
        ``figures.json``: before that the figures notebook makes what every study has.
        """
        stage, parts, study, files = job.stage, job.parts, self.study, []
        if not parts:
            return [self.figures / name for name in self._figure_files(stage)]
        if stage == BASELINES:
            places = [self.model_scan(*parts, scan) for scan in study.decoded_scans]
            if parts[0] == study.largest_pca:
                places.append(self.sample)
                scored = [self.model_scan(*parts, scan) for scan in roles.scored_scans(study)]
                files = [path for place in scored for path in (place.latents, place.features)]
        elif stage == TRAINING:
            places = [self.model(*parts)]
        else:
            places = [self.scan(*parts) if len(parts) == 1 else self.model_scan(*parts)]
        return files + [
            place.folder_of(stage) / result.name
            for place in places
            for result in place.results()
            if result.stage == stage and self._has(result.only_where, parts)
        ]

    def maker(self, path: Path) -> Job:
        """Return the job that makes a result."""
        if path in self._makers:
            return self._makers[path]
        if path.is_relative_to(self.figures):
            return Job(FIGURES)  # which alone makes files that it names itself
        raise StudyError(f"Study '{self.study.name}' makes no {path.name} of {path.parent.name}.")

    @cached_property
    def _makers(self) -> dict[Path, Job]:
        return {path: job for job in jobs_of(self.study) for path in self.outputs(job)}

    def _folders(self, *names: str, parts: tuple[str, ...]) -> FolderOf:
        def folder(stage: str) -> Path:
            of_job = parts[:1] if stage == BASELINES else parts  # a baseline's job is of all scans
            return self.folder_of(Job(stage, of_job)).joinpath(*names)

        return folder

    def _has(self, only_where: str, parts: tuple[str, ...]) -> bool:
        """Tell whether a result is made of this scan or model, where only some have it."""
        if only_where == "virtual":
            return self.study.is_virtual(*parts)
        if only_where == FILE:
            return self.study.scan(*parts).preprocessing.background_of == FILE
        if only_where == "scored":  # by some baselines of some scans: see above
            return False
        return only_where != "hold_out" or self.study.model(*parts).hold_out is not None

    def _figure_files(self, stage: str) -> list[str]:
        study = self.study
        if stage == TABLE1:
            names = [*_TABLES, *(curve + ending for curve in _CURVES for ending in PICTURES)]
            names += ["linear.csv"] if study.largest_pca else []
            holds_out = any(model.hold_out for model in study.models.values())
            return names + (["held_out.csv"] if holds_out else [])
        if stage == VIRTUAL_SPECIMENS:
            stems = [f"truth_{name}" for name in study.virtual_scans]
            stems += ["realism"] if study.comparison else []
            stems += [f"detection_{effect}" for effect in roles.scored_effects(study)]
            names = [stem + ending for stem in stems for ending in PICTURES]
            names += ["realism.csv"] if study.comparison else []
            tables = ["truth_scores.csv", "detection.csv", "cells.md"]
            names += tables if roles.scored_scans(study) else []
            return [*names, "virtual_specimens.json"]
        if stage == CLAIMS:
            names = [f"claims_{group}{end}" for group in CLAIM_GROUPS for end in PICTURES]
            limits = [f"detection_limits{end}" for end in PICTURES]
            names += limits if roles.scored_effects(study) else []
            return ["claims.csv", "claims.md", *names]
        drawn = self.figures / "figures.json"
        entries = [entry for entry in readable_json(drawn).values() if isinstance(entry, dict)]
        files = [entry["files"] for entry in entries if isinstance(entry.get("files"), list)]
        pictures = [str(name) for names in files for name in names]
        return [*pictures, drawn.name, "run.json"]
