"""What a study hands to other programs: maps, orientations and patterns in their formats.

A folder holds all of one scan, and is an RO-Crate (Soiland-Reyes et al., Data Science 5 (2022) 97,
doi:10.3233/DS-210053). Which program opens which file, and what was tested: docs/interchange.md.
"""

import hashlib
import mimetypes
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import dask.array as da
import numpy as np
import pandas as pd
import tifffile
from hyperspy.signals import Signal1D
from kikuchipy.signals import LazyEBSD

from kikuhelpers.indexing.hough import save_map
from kikuhelpers.indexing.pattern_centre import detector_of
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.geometry import Detector
from kikuhelpers.patterns.up2 import open_patterns, read_header
from kikuhelpers.preprocessing.camera_scale import MAPS
from kikuhelpers.runs.files import save_json, written_aside
from kikuhelpers.runs.provenance import collect
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.study.stages import BASELINES, Job, jobs_of
from kikuhelpers.tables.ctf import save_ctf

_DERIVED = ("iq_counts", "noise_counts", "iq_per_noise", "rotation_deg")  # which a view makes
_PLANE_BYTES = 64 << 20  # of the planes of a picture that are held at a time
_RO_CRATE, _DESCRIPTOR = "https://w3id.org/ro/crate/1.1", "ro-crate-metadata.json"
_LICENCE = "Not stated: whoever owns the scan decides how this export may be used."


def export(results: Results, scan: str, folder: Path) -> None:
    """Write all of a scan into a folder; MissingResultError where the study lacks any of it.

    These are ``maps``, ``<model>.latents``, and ``<name>.orientations`` and ``<name>.patterns`` of
    the preprocessed patterns and of each model and baseline; ``run.json`` says what made them.
    """
    study, layout = results.study, results.layout
    decoders = list(study.decoders) if scan in study.decoded_scans else []
    jobs = [job for job in jobs_of(study) if scan in job.parts]
    jobs += [Job(BASELINES, (name,)) for name in study.baselines if decoders]
    if lacking := [job for job in jobs if results.lacks(job)]:
        what = f"'{scan}' cannot be exported: {len(lacking)} of {len(jobs)} results are missing"
        raise MissingResultError(what, study, *lacking)
    view, files = View.whole(results, scan), results.scan(scan)
    centre = tuple(files.pattern_centre["pattern_centre"])
    detector = replace(detector_of(study.scan(scan), files.card)[0], pattern_centre=centre)
    maps = _maps(view, decoders)
    values = np.stack(list(maps.values()), axis=-1).astype(np.float32)
    paths = save_grid(folder / "maps", list(maps), values, view.step_um)
    made = dict.fromkeys(paths, layout.orientations(PREPROCESSED, scan))
    for model in study.models if scan in study.mapped_scans else ():
        latents, source = view.latents(model), layout.model_scan(model, scan).latents
        names = [f"latent_{i}" for i in range(latents.shape[-1])]
        paths = save_grid(folder / f"{model}.latents", names, latents, view.step_um)
        made |= dict.fromkeys(paths, source)
    for kind in (PREPROCESSED, *decoders):
        h5, ang, ctf = (folder / f"{kind}.orientations{end}" for end in (".h5", ".ang", ".ctf"))
        save_map(h5, xmap := view.orientations(kind), centre)  # and the .ang file beside it
        save_ctf(ctf, xmap, f"{scan} {kind}", view.step_um, detector.sample_tilt_deg)
        made |= dict.fromkeys([h5, ang, ctf], layout.orientations(kind, scan))
        paths = _save_patterns(folder, view, kind, detector)
        made |= dict.fromkeys(paths, layout.patterns(kind, scan))
    save_json(folder / "run.json", run := collect(results))
    made = {path: str(layout.maker(source)) for path, source in made.items()}
    save_json(folder / _DESCRIPTOR, _crate(folder, f"{study.title}: {scan}", made, run))


def save_grid(stem: Path, names: list[str], values: np.ndarray, step_um: float) -> list[Path]:
    """Write maps (rows, columns, n) float32 as ``.hspy``, ``.ome.tif`` and ``.csv``; return these.

    In hyperspy the map is navigated and the n values are the signal; OME-TIFF has n channels; CSV
    has a line for each point, with x_um to the right and y_um down, and an empty field for NaN.
    """
    hspy, tiff, csv = (stem.with_name(stem.name + end) for end in (".hspy", ".ome.tif", ".csv"))
    rows, columns, count = values.shape
    signal = _on_the_map(Signal1D(values), step_um)
    signal.axes_manager.signal_axes[0].name = "map"
    signal.original_metadata.set_item("maps", names)
    with written_aside(hspy) as temporary:
        signal.save(temporary, overwrite=True)
    grid = {"axes": "CYX", "Channel": {"Name": names}}
    grid |= {f"PhysicalSize{axis}": step_um for axis in "XY"}
    grid |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    how = {"shape": (count, rows, columns), "dtype": np.float32, "photometric": "minisblack"}
    with written_aside(tiff) as temporary:
        tifffile.imwrite(temporary, _planes(values), ome=True, metadata=grid, **how)
    x_um, y_um = (np.round(step_um * np.arange(n), 6) for n in (columns, rows))
    with written_aside(csv) as temporary, temporary.open("w", newline="") as file:
        for row, y in zip(values, y_um, strict=True):
            table = pd.DataFrame({"x_um": x_um, "y_um": y} | dict(zip(names, row.T, strict=True)))
            table.to_csv(file, index=False, header=file.tell() == 0)
    return [hspy, tiff, csv]


def _planes(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (rows, columns) of each channel; several are read at once, as they lie in one file."""
    together = max(1, _PLANE_BYTES // values[..., 0].nbytes)
    for first in range(0, values.shape[-1], together):
        yield from np.ascontiguousarray(np.moveaxis(values[..., first : first + together], -1, 0))


def _on_the_map(signal, step_um: float):
    for axis, name in zip(signal.axes_manager.navigation_axes, "xy", strict=True):
        axis.name, axis.scale, axis.units = name, step_um, "um"
    return signal


def _maps(view: View, decoders: list[str]) -> dict[str, np.ndarray]:
    """Physical maps (rows, columns) by name, and loss and misorientation of each decoder."""
    xmap = view.orientations()
    maps = {"phase": xmap.get_map_data("phase_id")}
    maps |= {name: view.property_map(name) for name in (*xmap.prop, *MAPS, *_DERIVED)}
    for kind in decoders:
        maps[f"loss_{kind}"] = view.losses(kind)
        maps[f"misorientation_deg_{kind}"] = view.property_map("misorientation_deg", kind)
    return maps


def _save_patterns(folder: Path, view: View, kind: str, detector: Detector) -> list[Path]:
    """Copy the UP2 file, and write kikuchipy's HDF5 with map and detector, row by row."""
    up2, h5 = (folder / f"{kind}.patterns{end}" for end in (".up2", ".h5"))
    own = view.results.layout.patterns(kind, view.scan)
    with written_aside(up2) as temporary:
        shutil.copyfile(own, temporary)
    (rows, *rest), pixels = view.shape, read_header(own).pattern_shape
    whole = {"chunks": ((1,) * rows, *rest, *pixels), "meta": np.empty((0,) * 4, np.uint16)}
    signal = _on_the_map(LazyEBSD(da.map_blocks(_rows, path=own, **whole)), view.step_um)
    camera, centres = detector.camera(pixels), detector.centres(pixels, view.shape, view.step_um)
    camera.pc = centres.reshape(*view.shape, 3)
    camera.px_size = camera.px_size if np.isfinite(camera.px_size) else 1.0  # 1: not known
    signal.detector, signal.xmap = camera, view.orientations(kind)
    with written_aside(h5) as temporary:
        signal.save(temporary, overwrite=True)
    return [up2, h5]


def _rows(path: Path, block_info=None) -> np.ndarray:
    return np.array(open_patterns(path, rows=block_info[None]["array-location"][0]))


def _crate(folder: Path, title: str, made: dict[Path, str], run: dict) -> dict:
    """The RO-Crate of a folder: its files, and the software and the runs that made them."""
    software = [("kikuhelpers", run["commit"]), *run["versions"].items()]
    software = [_entity(f"#{n}", "SoftwareApplication", n, version=v) for n, v in software]
    software[0]["softwareRequirements"] = _references(software[1:])
    files = {path: _file(path) for path in (*made, folder / "run.json")}
    actions = []
    for job, record in run["runs"].items():
        own = _references(files[path] for path in made if made[path] == job)
        says = "{seconds} s, {peak_memory_mb} MB, commit {commit}".format(**record)
        action = {"instrument": {"@id": "#kikuhelpers"}, "result": own, "description": says}
        actions.append(_entity(f"#{job}", "CreateAction", job, **action))
    what = {"description": f"{title}, exported by kikuhelpers", "license": _LICENCE}
    what |= {"datePublished": datetime.now(UTC).date().isoformat()}
    what |= {"hasPart": _references(files.values()), "mentions": _references(actions)}
    entities = [_entity("./", "Dataset", title, **what), *files.values(), *software, *actions]
    what = {"conformsTo": {"@id": _RO_CRATE}, "about": {"@id": "./"}}
    entities.append(_entity(_DESCRIPTOR, "CreativeWork", "RO-Crate metadata", **what))
    context = [f"{_RO_CRATE}/context", {"sha256": "https://schema.org/sha256"}]
    return {"@context": context, "@graph": entities}


def _file(path: Path) -> dict:
    with path.open("rb") as file:
        what = {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    what |= {"contentSize": str(path.stat().st_size), "encodingFormat": kind}
    return _entity(quote(path.name), "File", path.name, **what)


def _entity(identifier: str, kind: str, name: str, **more) -> dict:
    return {"@id": identifier, "@type": kind, "name": name, **more}


def _references(entities: Iterable[dict]) -> list[dict]:
    return [{"@id": entity["@id"]} for entity in entities]
