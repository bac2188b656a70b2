"""Small copies of results that git holds: tables and figures without hours of training.

``data/archive/<study>/`` holds one file per scan, model and baseline (.npz), so that an
unchanged one adds no bytes to the history of the repository; the weights of a model lie in a
file of their own beside it (.safetensors). Each kind of result is rounded as far as tables and
figures allow:

======================  =========================================================
orientations.h5         unit quaternions int16 (within 0.004 degrees), properties
                        float16 (a relative error of 0.0005), labels exactly
truth.h5                rotations int16, labels exactly, all others float16
latents.npy             active features, 256 levels between each one's lowest and
                        highest value; inactive features come back as 0
generated.npy           16-bit counts, as the patterns' own files have
weights.safetensors     float16
scan.json               without the folders of the machine it was made on
all others              exactly
======================  =========================================================

``python -m kikuhelpers in718_rx --archive`` archives a study; only ``make figures`` and readers
who ask for it (:class:`~kikuhelpers.runs.results.Results`) use what is there.
"""

import io
import json
import zipfile
from collections import defaultdict
from functools import lru_cache
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from kikuhelpers.patterns.up2 import to_counts, to_intensity
from kikuhelpers.runs.files import written_aside
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.models import ACTIVE_VARIANCE
from kikuhelpers.study.roles import largest_vae, vaes
from kikuhelpers.study.stages import TRAINING, Job, jobs_of

# Weights of more dimensions are not archived: in float16 64-D takes 4.5 MB, 128-D 18 MB and
# 256-D 72 MB of a repository that is cloned whole.
MOST_ARCHIVED_DIMENSIONS = 64
LARGEST_INT16 = np.iinfo(np.int16).max
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
LEVELS = np.iinfo(np.uint8).max
_NOT_INDEXED = -1  # phase of orix
# Properties of decoded maps that tables and figures read; of the preprocessed ones all are kept.
_OF_DECODED_MAPS = ("pq", "cm", "ci", "fit", "sharpness")
_ZIP_DATE = (2000, 1, 1, 0, 0, 0)  # the same bytes for the same content

Place = tuple[str, str, int, int]  # kind of pattern, scan, row and column
Arrays = dict[str, np.ndarray]


class Archive:
    """What the archive holds of a study; nothing of other settings is ever read from it.

    Parameters
    ----------
    layout
        Files of the study.
    """

    def __init__(self, layout: Layout):
        self.layout = layout

    def holds(self, path: Path) -> bool:
        """Tell whether a result is here, made with the study's present settings."""
        job = self.layout.maker(path)
        stored = self._stored(path, job)
        return stored is not None and self.record(job) is not None

    def find(self, path: Path):
        """Return a result as :class:`~kikuhelpers.runs.results.Results` opens it, or None."""
        if not self.holds(path):
            return None
        stored = self._stored(path, self.layout.maker(path))
        if isinstance(stored, Path):
            return _read_weights(stored)
        return (_UNPACK.get(path.name) or _UNPACK[path.suffix])(stored)

    def record(self, job: Job) -> dict | None:
        """Return the record of an archived job of the study's present settings, or None."""
        text = _read(self.file_of(job)).get(f"record/{job}")
        record = json.loads(text.tobytes()) if text is not None else None
        same = record and record["fingerprint"] == self.layout.dependencies.fingerprint(job)
        return record if same else None

    def shown_patterns(self) -> dict[Place, np.ndarray]:
        """Return the patterns that the figures show, (height, width) uint16 each."""
        found = {}
        for name, counts in _read(self.layout.archive / "shown_patterns.npz").items():
            kind, scan, row, column = name.split("/")
            found[kind, scan, int(row), int(column)] = counts
        return found

    def file_of(self, job: Job) -> Path:
        """Return the file of a job's results: that of its scan, model or baseline."""
        study = self.layout.study
        kind = "model" if job.parts[0] in study.models else "baseline"
        kind = "scan" if job.parts[0] in study.scans and len(job.parts) == 1 else kind
        return self.layout.archive / f"{kind}.{job.parts[0]}.npz"

    def _stored(self, path: Path, job: Job) -> Arrays | Path | None:
        if not job.parts:
            return None
        if path.suffix == ".safetensors":
            weights = self.file_of(job).with_suffix(path.suffix)
            return weights if weights.is_file() else None
        return _below(_read(self.file_of(job)), _member(self.layout, path)) or None


def archive(results) -> None:
    """Archive every result that is there; print a line for each file, and for what is lacking.

    Parameters
    ----------
    results : kikuhelpers.runs.results.Results
        Of the study; what is not of its settings counts as lacking.
    """
    layout = results.layout
    there, kept, size = Archive(layout), defaultdict(dict), 0
    for job in jobs_of(layout.study):
        paths = [path for path in layout.outputs(job) if _is_archived(layout, job, path)]
        if paths and (why := results.lacks(job)):
            print(f"lacks    {why}")
        elif paths:
            target = there.file_of(job)
            record = results.record(job) | {"study": None}
            kept[target] |= {f"record/{job}": _text(record), **_packed(results, job, paths)}
            for path in paths:
                if path.suffix == ".safetensors":
                    _write_weights(target.with_suffix(path.suffix), results.open(path))
    if layout.shown_patterns.is_file():
        kept[layout.archive / "shown_patterns.npz"] = _read(layout.shown_patterns)
    for path, arrays in kept.items():
        _write(path, arrays)
        size += path.stat().st_size
        print(f"archived {path.name} ({path.stat().st_size / 1000:,.0f} kB)")
    print(f"{len(kept)} files of arrays, {size / 1e6:.1f} MB, in {layout.archive}")


def _packed(results, job: Job, paths: list[Path]) -> Arrays:
    arrays = {}
    for path in paths:
        if pack := _PACK.get(path.name) or _PACK.get(path.suffix):
            for name, values in pack(results.open(path), job).items():
                arrays[f"{_member(results.layout, path)}/{name}"] = values
    return arrays


def _is_archived(layout: Layout, job: Job, path: Path) -> bool:
    """Tell whether tables, figures or an explorer read a result; patterns are too large."""
    study, name = layout.study, path.name
    if not job.parts or path.suffix == ".up2" or name in {"background.npy", "pca.npz"}:
        return False
    if job.stage == TRAINING:
        small = study.model(job.parts[0]).latent_dim <= MOST_ARCHIVED_DIMENSIONS
        archived = small and job.parts[0] in vaes(study)
        return archived if path.suffix == ".safetensors" else name != "kl_per_dimension.csv"
    if name == "latents.npy":  # the figures map the features of these alone
        return job.parts[0] in {*vaes(study), largest_vae(study)}
    return name != "truth.h5" or job.parts[0] in study.mapped_scans


def _member(layout: Layout, path: Path) -> str:
    """Name a result within the file of its scan, model or baseline."""
    scan = f"{path.parent.name}/" if path.parent.name in layout.study.scans else ""
    return scan + path.name


def _below(arrays: Arrays, name: str) -> Arrays:
    return {k.removeprefix(f"{name}/"): v for k, v in arrays.items() if k.startswith(f"{name}/")}


# ------------------------------------------------------------------ one kind each


def _pack_map(xmap, job: Job) -> Arrays:
    x, y = (np.reshape(axis, xmap.shape) for axis in (xmap.x, xmap.y))
    phases = {
        int(i): (p.name, p.space_group.number, p.structure.lattice.abcABG())
        for i, p in xmap.phases
        if i != _NOT_INDEXED
    }
    step = [float(x[0, 1]), float(y[1, 0])]
    names = [n for n in xmap.prop if len(job.parts) == 1 or n in _OF_DECODED_MAPS]
    header = {"shape": xmap.shape, "step": step, "unit": xmap.scan_unit, "phases": phases}
    header["types"] = {name: xmap.prop[name].dtype.name for name in names}
    rotations = np.round(xmap.rotations.data * LARGEST_INT16).astype(np.int16)
    packed = {"rotations": rotations, "phase_id": _small(xmap.phase_id), "header": _text(header)}
    return packed | {f"prop.{name}": _small(xmap.prop[name]) for name in names}


def _unpack_map(packed: Arrays):
    from diffpy.structure import Lattice, Structure
    from orix.crystal_map import CrystalMap, Phase, PhaseList
    from orix.quaternion import Rotation

    header = json.loads(packed["header"].tobytes())
    row, column = np.indices(header["shape"])
    right, down = header["step"]
    phases = {
        int(i): Phase(name, space_group=group, structure=Structure(lattice=Lattice(*lattice)))
        for i, (name, group, lattice) in header["phases"].items()
    }
    return CrystalMap(
        rotations=Rotation(_unit(packed["rotations"])),
        phase_id=packed["phase_id"].astype(int),
        x=right * column.ravel(),
        y=down * row.ravel(),
        phase_list=PhaseList(phases) if phases else None,
        prop={name: packed[f"prop.{name}"].astype(t) for name, t in header["types"].items()},
        scan_unit=header["unit"],
    )


def _unit(rotations: np.ndarray) -> np.ndarray:
    return rotations / np.linalg.norm(rotations.astype(float), axis=-1, keepdims=True)


def _small(values: np.ndarray) -> np.ndarray:
    """Labels in the smallest type that holds them all; others as float16 if that holds them."""
    if np.issubdtype(values.dtype, np.floating):
        finite = np.abs(values[np.isfinite(values)])
        fits = finite.max(initial=0) <= LARGEST_FLOAT16
        return values.astype(np.float16 if fits else np.float32)
    ends = (np.min_scalar_type(end) for end in (values.min(), values.max()))
    return values.astype(np.result_type(*ends))


def _pack_truth(truth: Arrays, _) -> Arrays:
    small = {name: _small(values) for name, values in truth.items()}
    turns = np.round(truth["rotation"] * LARGEST_INT16).astype(np.int16)
    return small | {"rotation": turns}


def _unpack_truth(packed: Arrays) -> Arrays:
    whole = {"f": np.float32, "i": np.int32, "u": np.int32}
    truth = {name: values.astype(whole[values.dtype.kind]) for name, values in packed.items()}
    return truth | {"rotation": _unit(packed["rotation"])}


def _pack_latents(latents: np.ndarray, _) -> Arrays:
    active, limits, levels = [], [], []
    for feature in range(latents.shape[-1]):  # one at a time: memory holds no whole map of all
        values = np.array(latents[..., feature])
        if values.var() > ACTIVE_VARIANCE:
            low, high = values.min(), values.max()
            active.append(feature)
            limits.append((low, high))
            levels.append(np.round((values - low) / (high - low) * LEVELS).astype(np.uint8))
    return {
        "shape": np.array(latents.shape),
        "active": np.array(active, int),
        "limits": np.array(limits, np.float32).reshape(-1, 2),
        "levels": np.array(levels, np.uint8).reshape(-1, *latents.shape[:2]),
    }


def _unpack_latents(packed: Arrays) -> np.ndarray:
    latents = np.zeros(packed["shape"], np.float32)
    parts = zip(packed["active"], packed["limits"], packed["levels"], strict=True)
    for feature, (low, high), levels in parts:
        latents[..., feature] = low + (high - low) * (levels / np.float32(LEVELS))
    return latents


def _write_weights(path: Path, weights: dict) -> None:
    from safetensors.torch import save_file

    small = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    with written_aside(path) as temporary:
        save_file(small, temporary, metadata={"format": "pt"})


def _read_weights(path: Path) -> dict:
    from safetensors.torch import load_file

    stored = load_file(path)
    return {name: w.float() if w.is_floating_point() else w for name, w in stored.items()}


def _pack_card(card: dict, _) -> Arrays:
    source = card["source"]
    bare = {"path": PurePath(source["path"]).name} if "path" in source else {}
    return {"text": _text(card | {"source": source | bare})}


def _text(content: dict) -> np.ndarray:
    return np.frombuffer(json.dumps(content).encode(), np.uint8)


_PACK = {
    "orientations.h5": _pack_map,
    "truth.h5": _pack_truth,
    "latents.npy": _pack_latents,
    "generated.npy": lambda patterns, _: {"counts": to_counts(patterns)},
    "scan.json": _pack_card,
    ".npy": lambda values, _: {"values": np.asarray(values)},
    ".json": lambda content, _: {"text": _text(content)},
    ".csv": lambda table, _: {"text": np.frombuffer(table.to_csv(index=False).encode(), np.uint8)},
}
_UNPACK = {
    "orientations.h5": _unpack_map,
    "truth.h5": _unpack_truth,
    "latents.npy": _unpack_latents,
    "generated.npy": lambda packed: to_intensity(packed["counts"]),
    ".npy": lambda packed: packed["values"],
    ".json": lambda packed: json.loads(packed["text"].tobytes()),
    ".csv": lambda packed: pd.read_csv(io.BytesIO(packed["text"].tobytes())),
}


def _write(path: Path, arrays: Arrays) -> None:
    """Write arrays as numpy reads them (.npz), in the zip method that makes them smallest."""
    with written_aside(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, values in sorted(arrays.items()):
            member = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            member.compress_type = zipfile.ZIP_LZMA
            data = io.BytesIO()
            np.lib.format.write_array(data, np.asarray(values), allow_pickle=False)
            file.writestr(member, data.getvalue())


@lru_cache(maxsize=4)
def _read_at(path: Path, changed: int) -> Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _read(path: Path) -> Arrays:
    return _read_at(path, path.stat().st_mtime_ns) if path.is_file() else {}
