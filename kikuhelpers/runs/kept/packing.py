"""Results made small, and large again: one way for each kind of file.

======================  =========================================================
orientations.h5         unit quaternions int16 (within 0.004 degrees), properties
                        float16 (a relative error of 0.0005), labels exactly
truth.h5                rotations int16, labels exactly, all others float16
latents.npy             active features, 256 levels between each one's lowest and
                        highest value; inactive features come back as 0
pattern_loss.npy        exactly, for the figures choose patterns by it
mask.npy, held_out.npy  exactly
sample_points.npy       exactly
generated.npy           16-bit counts, as the patterns' own files have
weights.safetensors     float16
scan.json               without the folders of the machine it was made on
all others              as they are
======================  =========================================================
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from diffpy.structure import Lattice, Structure
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from safetensors.torch import load_file, save_file

from kikuhelpers.indexing.hough import load_map, save_map
from kikuhelpers.patterns.up2 import to_counts, to_intensity
from kikuhelpers.runs.files import load_json, save_array, save_json, written_aside
from kikuhelpers.runs.kept.agreement import without_folders
from kikuhelpers.scans.virtual.truth import Truth, create_truth, load_truth
from kikuhelpers.training.loop import ACTIVE_VARIANCE

LARGEST_INT16 = np.iinfo(np.int16).max
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
LEVELS = np.iinfo(np.uint8).max
_NOT_INDEXED = -1  # phase of orix


@dataclass(frozen=True)
class Packing:
    """How one kind of file is kept: ``pack(result, kept)`` and ``unpack(kept, result)``."""

    ending: str  # of the kept file
    pack: Callable[[Path, Path], None]
    unpack: Callable[[Path, Path], None]


def packing_of(result: Path) -> Packing:
    """Return how a result of this name is kept."""
    as_it_is = Packing(result.suffix, _copy, _copy)
    return _PACKINGS.get(result.name, as_it_is)


# --------------------------------------------------------------- orientations


def packed_map(xmap: CrystalMap) -> dict[str, np.ndarray]:
    """Return a map on a square grid as a few small arrays.

    Parameters
    ----------
    xmap
        (rows, columns), at least 2 x 2, its first point at (0, 0).

    Returns
    -------
    dict of str to numpy.ndarray
        ``header`` (JSON: shape, step in the map's unit, phases, types of the
        properties), ``rotations`` (n, 4) int16, ``phase_id`` (n,) and ``prop.<name>`` (n,).
    """
    x, y = (np.reshape(axis, xmap.shape) for axis in (xmap.x, xmap.y))
    header = {
        "shape": xmap.shape,
        "step": [float(x[0, 1]), float(y[1, 0])],
        "unit": xmap.scan_unit,
        "phases": {int(i): _phase_card(phase) for i, phase in xmap.phases if i != _NOT_INDEXED},
        "types": {name: values.dtype.name for name, values in xmap.prop.items()},
    }
    rotations = np.round(xmap.rotations.data * LARGEST_INT16).astype(np.int16)
    arrays = {"header": np.array(json.dumps(header)), "rotations": rotations}
    arrays["phase_id"] = _small(xmap.phase_id)
    return arrays | {f"prop.{name}": _small(values) for name, values in xmap.prop.items()}


def unpacked_map(arrays: dict[str, np.ndarray]) -> CrystalMap:
    """Return the map that :func:`packed_map` made small."""
    header = json.loads(str(arrays["header"]))
    row, column = np.indices(header["shape"])
    right, down = header["step"]
    phases = {int(i): _phase(card) for i, card in header["phases"].items()}
    rotations = arrays["rotations"].astype(float)
    return CrystalMap(
        rotations=Rotation(rotations / np.linalg.norm(rotations, axis=1, keepdims=True)),
        phase_id=arrays["phase_id"].astype(int),
        x=right * column.ravel(),
        y=down * row.ravel(),
        phase_list=PhaseList(phases) if phases else None,
        prop={name: arrays[f"prop.{name}"].astype(t) for name, t in header["types"].items()},
        scan_unit=header["unit"],
    )


def _phase_card(phase: Phase) -> dict:
    return {
        "name": phase.name,
        "space_group": phase.space_group.number,
        "lattice": phase.structure.lattice.abcABG(),
    }


def _phase(card: dict) -> Phase:
    structure = Structure(lattice=Lattice(*card["lattice"]))
    return Phase(card["name"], space_group=card["space_group"], structure=structure)


def _small(values: np.ndarray) -> np.ndarray:
    """Labels in the smallest type that holds them all; others as float16 if that holds them."""
    if np.issubdtype(values.dtype, np.floating):
        finite = np.abs(values[np.isfinite(values)])
        fits = finite.max(initial=0) <= LARGEST_FLOAT16
        return values.astype(np.float16 if fits else np.float32)
    ends = (np.min_scalar_type(end) for end in (values.min(), values.max()))
    return values.astype(np.result_type(*ends))


def _pack_map(result: Path, kept: Path) -> None:
    _save(kept, **packed_map(load_map(result)))


def _unpack_map(kept: Path, result: Path) -> None:
    save_map(result, unpacked_map(_load(kept)))


# ---------------------------------------------------------------------- truth


def _pack_truth(result: Path, kept: Path) -> None:
    truth = vars(load_truth(result))
    turns = np.round(truth.pop("rotation") * LARGEST_INT16).astype(np.int16)
    _save(kept, rotation=turns, **{name: _small(values) for name, values in truth.items()})


def _unpack_truth(kept: Path, result: Path) -> None:
    arrays = _load(kept)
    turns = arrays.pop("rotation").astype(float)
    shape = turns.shape[:2]
    truth = {"rotation": turns / np.linalg.norm(turns, axis=-1, keepdims=True)}
    for name, values in arrays.items():
        truth[name] = values.astype(np.float32 if values.dtype.kind == "f" else np.int32)
    flat = Truth(**{name: v.reshape(-1, *v.shape[2:]) for name, v in truth.items()})
    with written_aside(result) as temporary, h5py.File(temporary, "w") as file:
        create_truth(file, shape, flat)
        for name, values in vars(flat).items():
            file[name][:] = values


# ------------------------------------------------------ latents and patterns


def _pack_latents(result: Path, kept: Path) -> None:
    latents = np.load(result, mmap_mode="r")
    active, limits, levels = [], [], []
    for feature in range(latents.shape[-1]):  # one at a time: memory holds no whole map of all
        values = np.array(latents[..., feature])
        if values.var() > ACTIVE_VARIANCE:
            low, high = values.min(), values.max()
            active.append(feature)
            limits.append((low, high))
            levels.append(np.round((values - low) / (high - low) * LEVELS).astype(np.uint8))
    _save(
        kept,
        shape=np.array(latents.shape),
        active=np.array(active, int),
        limits=np.array(limits, np.float32).reshape(-1, 2),
        levels=np.array(levels, np.uint8).reshape(-1, *latents.shape[:2]),
    )


def _unpack_latents(kept: Path, result: Path) -> None:
    arrays = _load(kept)
    latents = np.zeros(arrays["shape"], np.float32)
    for feature, (low, high), levels in zip(
        arrays["active"], arrays["limits"], arrays["levels"], strict=True
    ):
        latents[..., feature] = low + (high - low) * (levels / np.float32(LEVELS))
    save_array(result, latents)


def _pack_exactly(result: Path, kept: Path) -> None:
    _save(kept, values=np.load(result))


def _unpack_exactly(kept: Path, result: Path) -> None:
    save_array(result, _load(kept)["values"])


def _pack_patterns(result: Path, kept: Path) -> None:
    _save(kept, counts=to_counts(np.load(result)))


def _unpack_patterns(kept: Path, result: Path) -> None:
    save_array(result, to_intensity(_load(kept)["counts"]))


# ---------------------------------------------------------- weights and text


def _pack_weights(result: Path, kept: Path) -> None:
    _save_weights(kept, load_file(result), torch.float16)


def _unpack_weights(kept: Path, result: Path) -> None:
    _save_weights(result, load_file(kept), torch.float32)


def _save_weights(path: Path, weights: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    weights = {name: w.to(dtype) if w.is_floating_point() else w for name, w in weights.items()}
    with written_aside(path) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})


def _pack_scan_card(result: Path, kept: Path) -> None:
    card = load_json(result)
    save_json(kept, card | {"source": without_folders(card["source"])})


def _copy(source: Path, target: Path) -> None:
    with written_aside(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def _save(path: Path, **arrays: np.ndarray) -> None:
    with written_aside(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


_PACKINGS = {
    "orientations.h5": Packing(".npz", _pack_map, _unpack_map),
    "truth.h5": Packing(".npz", _pack_truth, _unpack_truth),
    "latents.npy": Packing(".npz", _pack_latents, _unpack_latents),
    "pattern_loss.npy": Packing(".npz", _pack_exactly, _unpack_exactly),
    "mask.npy": Packing(".npz", _pack_exactly, _unpack_exactly),
    "held_out.npy": Packing(".npz", _pack_exactly, _unpack_exactly),
    "sample_points.npy": Packing(".npz", _pack_exactly, _unpack_exactly),
    "generated.npy": Packing(".npz", _pack_patterns, _unpack_patterns),
    "weights.safetensors": Packing(".safetensors", _pack_weights, _unpack_weights),
    "scan.json": Packing(".json", _pack_scan_card, _copy),
}
