"""Small copies of results that git holds: tables and figures without hours of training.

``data/archive/<study>/`` holds one file per scan, model and baseline (.npz), so that an
unchanged one adds no bytes to the history of the repository; the weights of a model lie in a
file of their own beside it (.safetensors). Each kind of result is rounded as far as tables and
figures allow:

======================  =========================================================
orientations.h5         unit quaternions int16 (within 0.004 degrees), properties
                        float16 (a relative error of 0.0005), labels exactly
truth.h5                rotations int16, labels exactly, all others float16
camera_scale.npy        float32: float16 would round the mean intensity by 16 counts
latents.npy             the active features of most spatial structure, 256 levels
                        between each one's lowest and highest value; others are 0
generated.npy           16-bit counts, as the patterns' own files have
weights.safetensors     float16
all others              exactly
======================  =========================================================

``python -m kikuhelpers in718_rx --archive`` archives a study; only ``make figures`` and readers
who ask for it (:class:`~kikuhelpers.runs.results.Results`) use what is there.
"""

import io
import json
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from kikuhelpers.patterns.up2 import to_counts, to_intensity
from kikuhelpers.runs.errors import usable
from kikuhelpers.runs.files import written_aside
from kikuhelpers.study import roles
from kikuhelpers.study.layout import RECORD, Layout, check
from kikuhelpers.study.models import ACTIVE_VARIANCE
from kikuhelpers.study.stages import Job, jobs_of

# Weights of more dimensions are not archived: in float16 64-D takes 4.5 MB, 128-D 18 MB and
# 256-D 72 MB of a repository that is cloned whole.
MOST_ARCHIVED_DIMENSIONS = 64
# Of the latent features of a map those are archived that the figures may choose from: the 256-D
# VAE of the measured crop has 226 active ones, most of them noise.
MOST_ARCHIVED_FEATURES = 96
# Properties of orientation maps that tables and figures read, by how far a scan serves.
_OF_DECODED = ("pq", "cm", "ci", "sharpness")
_OF_MAPPED = (*_OF_DECODED, "grain", "grod_deg", "kam_deg", "fit", "noise")
_LEVELS = np.iinfo(np.uint8).max
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
_REMEDY = "check it out again, or remove it"
_ZIP_DATE = (2000, 1, 1, 0, 0, 0)  # the same bytes for the same content

Arrays = dict[str, np.ndarray]


class Archive:
    """What the archive holds of a study; nothing of other settings is ever read from it."""

    def __init__(self, layout: Layout):
        self.layout = layout

    def holds(self, path: Path) -> bool:
        """Tell whether a result is here, made with the study's present settings."""
        return bool(self._stored(path))

    def find(self, path: Path):
        """Return a result as :class:`~kikuhelpers.runs.results.Results` opens it, or None."""
        stored = self._stored(path)
        return (_UNPACK.get(path.name) or _UNPACK[path.suffix])(stored) if stored else None

    def record(self, job: Job) -> dict | None:
        """Return the record of an archived job of the study's present settings, or None."""
        path = self.file_of(job)
        if not (found := _members(path, f"record/{job}/")):
            return None
        with usable(f"The record of {job} in {path}", _REMEDY):
            record = check(json.loads(found["text"].tobytes()), RECORD)
        same = record["fingerprint"] == self.layout.dependencies.fingerprint(job)
        return record if same else None

    def shown_patterns(self) -> Arrays:
        """Return the patterns that the figures show, as ``shown`` of the results holds them."""
        return _members(self.layout.archive / "shown_patterns.npz")

    def file_of(self, job: Job) -> Path:
        """Return the file of a job's results: that of its scan, model or baseline."""
        (name, *_), study = job.parts or ("",), self.layout.study
        kind = "model" if name in study.models else "baseline"
        kind = "scan" if name in study.scans and len(job.parts) == 1 else kind
        return self.layout.archive / f"{kind}.{name}.npz"

    def write(self, results) -> None:
        """Archive every result that is there; print a line for each file, and what is lacking.

        Of the study's ``results`` those of other settings count as lacking.
        """
        files, layout = {}, self.layout
        for job in jobs_of(layout.study):
            paths = [path for path in layout.outputs(job) if self._is_wanted(job, path)]
            if paths and (why := results.lacks(job)):
                print(f"lacks    {why}")
            elif paths:
                record = results.record(job) | {"study": None, "study_file": None}
                record = json.dumps(record).encode()
                target = self.file_of(job)
                arrays = files.setdefault(target, _members(target))  # what lacks here stays
                arrays[f"record/{job}/text"] = np.frombuffer(record, np.uint8)
                for path in paths:
                    packed = self._packed(results, job, path)
                    arrays |= {f"{self._name(path)}/{name}": v for name, v in packed.items()}
        if shown := _members(layout.shown_patterns):
            files[layout.archive / "shown_patterns.npz"] = shown
        for path, arrays in files.items():
            _write(path, arrays)
            print(f"archived {path.name} ({path.stat().st_size / 1000:,.0f} kB)")
        size = sum(path.stat().st_size for path in layout.archive.glob("*"))
        print(f"{size / 1e6:.1f} MB in {layout.archive}")

    def _is_wanted(self, job: Job, path: Path) -> bool:
        """Tell whether tables, figures or an explorer read a result; patterns are too large."""
        study, name = self.layout.study, path.name
        model = job.parts[0] if job.parts and job.parts[0] in study.models else None
        if name == "weights.safetensors":
            small = study.model(model).latent_dim <= MOST_ARCHIVED_DIMENSIONS
            return small and model in roles.vaes(study)
        if name == "latents.npy" and model:
            scans = {*roles.mapped_in_figures(study), *roles.scored_scans(study)}
            shown = model in {*roles.vaes(study), roles.largest_vae(study)}
            return shown and job.parts[1] in scans
        if name == "generated.npy":
            return model in roles.beta_series(study)
        if name == "truth.h5":
            return job.parts[0] in study.mapped_scans
        large = {"brought.npy", "background.npy", "pca.npz"}
        return bool(job.parts) and path.suffix != ".up2" and name not in large

    def _packed(self, results, job: Job, path: Path) -> Arrays:
        if path.suffix in (".csv", ".json"):
            return {"text": np.frombuffer(path.read_bytes(), np.uint8)}
        value, study = results.open(path), self.layout.study
        if path.suffix == ".safetensors":
            half = {name: w.half() for name, w in value.items()}
            with written_aside(self.file_of(job).with_suffix(path.suffix)) as temporary:
                import_module("safetensors.torch").save_file(half, temporary, {"format": "pt"})
            return {}
        if path.name == "orientations.h5":
            if len(job.parts) > 1:
                return _pack_map(value, _OF_DECODED)
            mapped = study.scan(*job.parts).serves != "training"
            return _pack_map(value, _OF_MAPPED if mapped else ())
        if path.name == "latents.npy":
            structure = results.open(path.with_name("features.csv"))["moran_i"]
            return _pack_latents(value, structure.to_numpy())
        return _PACK.get(path.name, lambda values: {"values": values})(value)

    def _stored(self, path: Path) -> Arrays | Path | None:
        """Find a result of the present settings: its arrays, or the file of the weights."""
        job = self.layout.maker(path)
        if self.record(job) is None:
            return None
        weights = self.file_of(job).with_suffix(".safetensors")
        if path.suffix == weights.suffix:
            return weights if weights.is_file() else None
        return _members(self.file_of(job), f"{self._name(path)}/")

    def _name(self, path: Path) -> str:
        """Name a result within the file of its scan, model or baseline."""
        scan = f"{path.parent.name}/" if path.parent.name in self.layout.study.scans else ""
        return scan + path.name


def _pack_map(xmap, names: tuple[str, ...]) -> Arrays:
    of_points = ((int(i), phase) for i, phase in xmap.phases if i >= 0)  # -1: not indexed
    phases = {i: (p.name, p.space_group.number, p.structure.lattice.abcABG()) for i, p in of_points}
    step = [float(xmap.dx), float(xmap.dy)]
    header = {"shape": xmap.shape, "step": step, "unit": xmap.scan_unit, "phases": phases}
    header["types"] = {name: xmap.prop[name].dtype.name for name in names}
    packed = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    packed["rotations"] = _int16(xmap.rotations.data)
    packed["phase_id"] = _small(xmap.phase_id)
    return packed | {f"prop.{name}": _small(xmap.prop[name]) for name in names}


def _unpack_map(packed: Arrays):
    from diffpy.structure import Lattice, Structure
    from orix.crystal_map import CrystalMap, Phase, PhaseList
    from orix.quaternion import Rotation

    header = json.loads(packed["header"].tobytes())
    (row, column), (right, down) = np.indices(header["shape"]), header["step"]
    phases = {}
    for i, (name, group, lattice) in header["phases"].items():
        structure = Structure(lattice=Lattice(*lattice))
        phases[int(i)] = Phase(name, space_group=group, structure=structure)
    properties = {n: packed[f"prop.{n}"].astype(kind) for n, kind in header["types"].items()}
    rotations, phase_id = Rotation(_unit(packed["rotations"])), packed["phase_id"].astype(int)
    points = right * column.ravel(), down * row.ravel()
    named = PhaseList(phases) if phases else None
    return CrystalMap(rotations, phase_id, *points, named, properties, header["unit"])


def _int16(rotations: np.ndarray) -> np.ndarray:
    return np.round(rotations * np.iinfo(np.int16).max).astype(np.int16)


def _unit(rotations: np.ndarray) -> np.ndarray:
    return rotations / np.linalg.norm(rotations.astype(float), axis=-1, keepdims=True)


def _small(values: np.ndarray) -> np.ndarray:
    """Labels in the smallest type that holds them all; others as float16 if that holds them."""
    if np.issubdtype(values.dtype, np.floating):
        finite = np.abs(values[np.isfinite(values)])
        fits = finite.max(initial=0) <= _LARGEST_FLOAT16
        return values.astype(np.float16 if fits else np.float32)
    ends = (np.min_scalar_type(end) for end in (values.min(), values.max()))
    return values.astype(np.result_type(*ends))


def _unpack_truth(packed: Arrays) -> Arrays:
    whole = {"f": np.float32, "i": np.int32, "u": np.int32}
    truth = {name: values.astype(whole[values.dtype.kind]) for name, values in packed.items()}
    return truth | {"rotation": _unit(packed["rotation"])}


def _pack_latents(latents: np.ndarray, structure: np.ndarray) -> Arrays:
    active, limits, levels, there = [], [], [], np.isfinite(latents[..., 0])
    most = np.argsort(-structure, kind="stable")[:MOST_ARCHIVED_FEATURES]
    for feature in np.sort(most):  # one at a time: memory holds no whole map of all
        values = np.array(latents[..., feature])
        known = values[there]
        if known.var() > ACTIVE_VARIANCE:
            low, high = known.min(), known.max()
            values = np.where(there, values, low)
            active.append(feature)
            limits.append((low, high))
            levels.append(np.round((values - low) / (high - low) * _LEVELS).astype(np.uint8))
    packed = {"shape": np.array(latents.shape), "active": np.array(active, int)}
    packed |= {} if there.all() else {"empty": ~there}  # points without a pattern
    packed["limits"] = np.array(limits, np.float32).reshape(-1, 2)
    return packed | {"levels": np.array(levels, np.uint8).reshape(-1, *latents.shape[:2])}


def _unpack_latents(packed: Arrays) -> np.ndarray:
    latents = np.zeros(packed["shape"], np.float32)
    low, high = packed["limits"].T
    levels = np.moveaxis(packed["levels"], 0, -1) / np.float32(_LEVELS)
    latents[..., packed["active"]] = low + (high - low) * levels
    latents[packed.get("empty", np.zeros(latents.shape[:2], bool))] = np.nan
    return latents


_PACK = {
    "truth.h5": lambda truth: (
        {n: _small(values) for n, values in truth.items()} | {"rotation": _int16(truth["rotation"])}
    ),
    "camera_scale.npy": lambda maps: {n: maps[n].astype(np.float32) for n in maps.dtype.names},
    "generated.npy": lambda patterns: {"counts": to_counts(patterns)},
}
_UNPACK = {
    "orientations.h5": _unpack_map,
    "truth.h5": _unpack_truth,
    "camera_scale.npy": lambda packed: np.rec.fromarrays(
        packed.values(), [(name, np.float32) for name in packed]
    ).view(np.ndarray),
    "latents.npy": _unpack_latents,
    "generated.npy": lambda packed: to_intensity(packed["counts"]),
    ".npy": lambda packed: packed["values"],
    ".json": lambda packed: json.loads(packed["text"].tobytes()),
    ".csv": lambda packed: pd.read_csv(io.BytesIO(packed["text"].tobytes())),
    ".safetensors": lambda path: {
        name: w.float() for name, w in import_module("safetensors.torch").load_file(path).items()
    },
}


def _write(path: Path, arrays: Arrays) -> None:
    """Write arrays as numpy reads them (.npz), in the zip method that makes them smallest."""
    with written_aside(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, values in sorted(arrays.items()):
            data = io.BytesIO()
            np.save(data, values, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            file.writestr(member, data.getvalue(), zipfile.ZIP_LZMA)


def _members(path: Path, prefix: str = "") -> Arrays:
    """Read the arrays of a file whose names begin with a prefix, without that prefix."""
    if not path.is_file():
        return {}
    with usable(str(path), _REMEDY), np.load(path, allow_pickle=False) as file:
        names = [name for name in file.files if name.startswith(prefix)]
        return {name.removeprefix(prefix): file[name] for name in names}
