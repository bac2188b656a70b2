"""What a study exports, read back by the programs that it is for."""

import hashlib
import json
import tracemalloc

import hyperspy.api as hs
import kikuchipy
import numpy as np
import orix.io
import pandas as pd
import pytest
import tifffile
from diffpy.structure import Lattice, Structure
from kikuchipy.detectors import EBSDDetector
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from orix.vector import Vector3d
from pyebsdindex import ebsd_pattern

from kikuhelpers import __main__ as command
from kikuhelpers.indexing.hough import save_map
from kikuhelpers.preprocessing.camera_scale import MAPS
from kikuhelpers.runs.files import save_array, save_json
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import jobs_of
from kikuhelpers.tables import interchange
from tests.conftest import MODEL_CARD, SCAN_CARD, make_study, stand_in, write_scan

SHAPE, STEP_UM, PX = (4, 5), 0.3, 120
NOT_INDEXED, LAVES = [3, 17], [0, 8, 9]  # flat indices; all others are Ni
CENTRE = (0.51, 0.34, 0.63)
X, Y, Z = Vector3d.xvector(), Vector3d.yvector(), Vector3d.zvector()
KINDS = [PREPROCESSED, "vae-16", "pca-4"]
RNG = np.random.default_rng(0)


def crystal_map(shape=SHAPE) -> CrystalMap:
    """Random orientations of two phases, and points without a solution."""
    y, x = (STEP_UM * i.ravel() for i in np.indices(shape))
    phase_id = np.zeros(x.size, int)
    phase_id[LAVES], phase_id[NOT_INDEXED] = 1, -1
    hexagonal = Structure(lattice=Lattice(4.8, 4.8, 7.8, 90, 90, 120))
    cubic = Structure(lattice=Lattice(3.6, 3.6, 3.6, 90, 90, 90))
    phases = PhaseList(
        [Phase("Ni", 225, structure=cubic), Phase("Laves", 194, structure=hexagonal)]
    )
    names = ("pq", "ci", "cm", "fit", "sharpness", "grod_deg", "kam_deg", "noise")
    names += ("misorientation_deg",)
    prop = {name: RNG.random(x.size).astype(np.float32) for name in names}
    prop |= {"nmatch": RNG.integers(4, 10, x.size), "grain": np.zeros(x.size, int)}
    where = {"x": x, "y": y, "scan_unit": "um"}
    return CrystalMap(Rotation.random(x.size), phase_id, phase_list=phases, prop=prop, **where)


def made_up():
    """A study whose results are made up, of one scan, a model and a baseline."""
    scans = make_study().model_dump()["scans"]
    scans["wrought"]["data"] |= {"map_shape": SHAPE, "step_um": STEP_UM}
    baselines = {"pca-4": {"method": "pca", "components": 4}}
    study = make_study(scans=scans, baselines=baselines)
    layout, scan = Layout(study), Layout(study).scan("wrought")
    save_json(scan.card, SCAN_CARD | {"map_shape": SHAPE})
    save_json(layout.model("vae-16").card, MODEL_CARD)
    save_json(scan.pattern_centre, {"pattern_centre": CENTRE})
    camera_scale = np.zeros(SHAPE, [(name, "f4") for name in MAPS])
    for name in MAPS:
        camera_scale[name] = RNG.random(SHAPE)
    save_array(scan.camera_scale, camera_scale)
    latents = RNG.random((*SHAPE, 16)).astype("f4")
    save_array(layout.model_scan("vae-16", "wrought").latents, latents)
    for kind in KINDS:
        counts = RNG.integers(0, 65536, (*SHAPE, PX, PX), np.uint16)
        write_scan(layout.patterns(kind, "wrought"), counts, STEP_UM)
        path = layout.orientations(kind, "wrought")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_map(path, crystal_map(), CENTRE)
        if kind != PREPROCESSED:
            save_array(
                layout.model_scan(kind, "wrought").pattern_loss, RNG.random(SHAPE, np.float32)
            )
    for job in (job for job in jobs_of(study) if job.parts):
        stand_in(study, job.stage, *job.parts)
    return study


@pytest.fixture
def study():
    return made_up()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Exported results."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "FIGURES", "ARCHIVE"):
            patch.setenv(f"KIKUHELPERS_{name}", str(tmp_path_factory.mktemp(name)))
        results = Results(made_up())
        interchange.export(results, "wrought", results.layout.export("wrought"))
        return results


@pytest.fixture
def folder(results):
    return results.layout.export("wrought")


def in_mtex(xmap: CrystalMap, axis: Vector3d) -> Rotation:
    """What "convertEuler2SpatialReferenceFrame" makes of a map: a half turn of the sample."""
    return xmap.rotations * ~Rotation.from_axes_angles(axis, 180, degrees=True)


def assert_same(found: Rotation, expected: Rotation) -> None:
    assert np.max((found * ~expected).angle) < np.radians(0.001)


@pytest.mark.parametrize("ending", ["h5", "ang", "ctf"])
def test_orientations_are_read_back(results, folder, ending):
    for kind in KINDS:
        assert_read_back(results, folder, kind, ending)


def assert_read_back(results, folder, kind, ending):
    expected = results.orientations(kind, "wrought")
    found = orix.io.load(folder / f"{kind}.orientations.{ending}")
    there = expected.is_indexed
    assert np.flatnonzero(~found.is_indexed).tolist() == NOT_INDEXED
    for number in (0, 1):
        phase, again = expected.phases[number], found[found.phase_id != -1].phases
        of = there & (expected.phase_id == number)
        (own,) = np.unique(found.phase_id[of])
        assert again[own].name == phase.name
        assert again[own].structure.lattice.abcABG() == pytest.approx(
            phase.structure.lattice.abcABG(), abs=1e-3
        )
        assert again[own].point_group.laue.name == phase.point_group.laue.name
        turned = found.rotations[of]
        if ending == "ctf":  # from Oxford's frames
            hexagonal = 30 if phase.name == "Laves" else 0
            turned = turned * Rotation.from_axes_angles(Z, 90, degrees=True)
            turned = Rotation.from_axes_angles(Z, hexagonal, degrees=True) * turned
        assert_same(turned, expected.rotations[of])
    assert (found.dx, found.dy) == pytest.approx((STEP_UM, STEP_UM))
    for axis in "xy":
        assert getattr(found, axis) == pytest.approx(getattr(expected, axis), abs=1e-6)
    assert found.scan_unit == "um"
    if ending == "h5":
        assert set(found.prop) == set(expected.prop)
        for name, values in expected.prop.items():
            np.testing.assert_array_equal(found.prop[name], values)
    if ending == "ctf":
        np.testing.assert_allclose(found.prop["MAD"][there], expected.prop["fit"][there], atol=1e-4)
        np.testing.assert_array_equal(found.prop["bands"][there], expected.prop["nmatch"][there])
        np.testing.assert_array_equal(found.prop["error"], np.where(there, 0, 3))
        assert found.prop["BC"].max() <= 255
    if ending == "ang":
        np.testing.assert_allclose(found.prop["ci"][~there], -1)


def test_both_files_show_one_crystal_on_one_map(folder):
    """To the right of the map lies one crystal direction, in each format's own frame."""
    ang, ctf = (orix.io.load(folder / f"preprocessed.orientations.{e}") for e in ("ang", "ctf"))
    nickel = (ctf.phase_id == 1) & ctf.is_indexed
    laves = ctf.phase_id == 2
    for x, y in ((X, -Y), (Y, X), (Z, Z)):  # of the .ctf file's sample, and of the .ang file's
        np.testing.assert_allclose(
            (ctf.rotations[nickel] * x).data, (ang.rotations[nickel] * y).data, atol=1e-4
        )
    found, expected = in_mtex(ctf, X), in_mtex(ang, X - Y)
    assert_same(found[nickel], expected[nickel])
    # A hexagonal crystal's x is a in .ang files, and a* in .ctf files: 30 degrees from there.
    a_star = Vector3d([np.cos(np.pi / 6), 0.5, 0])
    there = (~found[laves] * X).data, (~expected[laves] * a_star).data
    np.testing.assert_allclose(*there, atol=1e-4)


def test_the_samples_x_runs_down_the_slope():
    """The frame of all orientations, as kikuchipy has it: of a virtual scan x runs down the map."""
    detector = EBSDDetector((PX, PX), sample_tilt=70)
    x, y, z = (detector.sample_to_detector * axis for axis in (X, Y, Z))
    down, forth = np.sin(np.radians(70)), np.cos(np.radians(70))  # forth: to the screen
    np.testing.assert_allclose(x.data, [[0, -down, forth]], atol=1e-9)
    np.testing.assert_allclose(y.data, [[1, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(z.data, [[0, forth, down]], atol=1e-9)


@pytest.mark.parametrize("stem", ["maps", "vae-16.latents"])
def test_maps_are_read_back(results, folder, stem):
    signal = hs.load(folder / f"{stem}.hspy")
    names, values = list(signal.original_metadata.maps), signal.data
    assert values.dtype == np.float32 and values.shape[:2] == SHAPE
    if stem == "maps":
        xmap = results.orientations(PREPROCESSED, "wrought")
        expected = {"pq": xmap.get_map_data("pq"), "phase": xmap.get_map_data("phase_id")}
        expected["mean_counts"] = results.scan("wrought").camera_scale["mean_counts"]
        expected["loss_vae-16"] = results.model_scan("vae-16", "wrought").pattern_loss
        for name, of in expected.items():
            np.testing.assert_array_equal(values[..., names.index(name)], of.astype("f4"))
        assert (values[..., 0] == -1).sum() == len(NOT_INDEXED)
    else:
        expected = results.model_scan("vae-16", "wrought").latents
        np.testing.assert_array_equal(values, expected)
    axes = signal.axes_manager
    assert [a.name for a in axes.navigation_axes] == ["x", "y"] and axes[2].name == "map"
    assert [(a.scale, a.units) for a in axes.navigation_axes] == [(STEP_UM, "um")] * 2
    with tifffile.TiffFile(folder / f"{stem}.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), np.moveaxis(values, -1, 0))
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [channel["Name"] for channel in pixels["Channel"]] == names
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (STEP_UM, "µm")
    assert pixels["PhysicalSizeY"] == STEP_UM
    table = pd.read_csv(folder / f"{stem}.csv")
    assert list(table.columns) == ["x_um", "y_um", *names]
    np.testing.assert_array_equal(table[names].to_numpy("f4"), values.reshape(-1, len(names)))
    y, x = np.indices(SHAPE)
    np.testing.assert_allclose(
        table[["x_um", "y_um"]], STEP_UM * np.stack([x, y], -1).reshape(-1, 2)
    )


def test_patterns_are_read_back(results, folder):
    for kind in KINDS:
        assert_patterns_read_back(results, folder, kind)


def assert_patterns_read_back(results, folder, kind):
    expected, xmap = (of(kind, "wrought") for of in (results.patterns, results.orientations))
    signal = kikuchipy.load(folder / f"{kind}.patterns.h5")
    np.testing.assert_array_equal(signal.data, expected)
    assert signal.data.dtype == np.uint16
    assert [a.scale for a in signal.axes_manager.navigation_axes] == [STEP_UM] * 2
    np.testing.assert_allclose(signal.detector.pc.reshape(-1, 3), [CENTRE] * 20)
    assert signal.detector.sample_tilt == 70
    assert_same(signal.xmap.rotations, xmap.rotations)
    assert np.flatnonzero(~signal.xmap.is_indexed).tolist() == NOT_INDEXED
    up2, h5 = (folder / f"{kind}.patterns.{ending}" for ending in ("up2", "h5"))
    np.testing.assert_array_equal(kikuchipy.load(up2).data, expected)
    readers = [ebsd_pattern.get_pattern_file_obj(str(up2))]
    readers.append(ebsd_pattern.HDF5PatFile([str(h5), "Scan 1/EBSD/Data/patterns"]))
    for reader in readers:
        reader.read_header()
        found, _ = reader.read_data(returnArrayOnly=True)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert (readers[0].nCols, readers[0].nRows) == SHAPE[::-1]
    assert readers[0].xStep == pytest.approx(STEP_UM)


def test_a_moving_pattern_centre_is_kept(results, tmp_path):
    view = interchange.View.whole(results, "wrought")
    detector = interchange.Detector(CENTRE, screen_um=100.0)
    interchange._save_patterns(tmp_path, view, PREPROCESSED, detector)
    found = kikuchipy.load(tmp_path / "preprocessed.patterns.h5").detector
    expected = detector.centres((PX, PX), SHAPE, STEP_UM)
    np.testing.assert_allclose(found.pc.reshape(-1, 3), expected)
    assert np.ptp(expected[:, 0]) > 0.01 and found.px_size == pytest.approx(100 / PX)


def test_the_memory_does_not_grow_with_the_map(results, monkeypatch, tmp_path):
    """Of 14 MB of patterns no more than half is ever held, other tables among it."""
    shape = (200, 10)
    write_scan(tmp_path / "large.up2", np.zeros((*shape, PX, PX), np.uint16), STEP_UM)
    monkeypatch.setattr(Layout, "patterns", lambda *_: tmp_path / "large.up2")
    monkeypatch.setattr(interchange.View, "orientations", lambda *_: crystal_map(shape))
    view = interchange.View(results, "wrought", (0, shape[0]), (0, shape[1]))
    tracemalloc.start()
    try:
        interchange._save_patterns(tmp_path, view, PREPROCESSED, interchange.Detector(CENTRE))
        assert tracemalloc.get_traced_memory()[1] < 7e6
    finally:
        tracemalloc.stop()


def test_the_folder_is_an_ro_crate(folder):
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    crate = json.loads((folder / "ro-crate-metadata.json").read_text("utf-8"))
    assert crate["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    about, root = entities["ro-crate-metadata.json"], entities["./"]
    assert about["@type"] == "CreativeWork" and about["about"] == {"@id": "./"}
    assert about["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset"
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))
    parts = {part["@id"] for part in root["hasPart"]}
    assert parts == {path.name for path in folder.iterdir()} - {"ro-crate-metadata.json"}
    for name in parts:
        content = (folder / name).read_bytes()
        assert entities[name]["contentSize"] == str(len(content))
        assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest()
    for entity in entities.values():  # every reference leads somewhere
        for value in entity.values():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and not item["@id"].startswith("https://"):
                    assert item["@id"] in entities
    made = entities["#05_latent_maps.vae-16.wrought"]
    assert made["@type"] == "CreateAction" and made["instrument"] == {"@id": "#kikuhelpers"}
    assert {"@id": "vae-16.latents.hspy"} in made["result"]
    by = [ref["@id"] for e in entities.values() for ref in e.get("result", ())]
    assert sorted(by) == sorted(parts - {"run.json"})
    assert (
        json.loads((folder / "run.json").read_text())["commit"]
        == entities["#kikuhelpers"]["version"]
    )


def test_the_command_exports_every_scan(study, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "load_study", lambda _: study)
    assert command.main(["export", "test", "--to", str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "wrought" / "maps.csv").is_file()
    assert command.main(["export", "test", "wrought"]) == 0
    there = Layout(study).folder / "export" / "wrought"
    assert (there / "maps.csv").is_file() and f"Exported: {there}" in capsys.readouterr().out
    assert command.main(["export", "test", "other"]) == 2
    assert "has no scan 'other'" in capsys.readouterr().err


def test_what_is_missing_is_one_sentence_with_the_command(study, monkeypatch, tmp_path, capsys):
    Layout(study).model_scan("vae-16", "wrought").latents.unlink()
    monkeypatch.setattr(command, "load_study", lambda _: study)
    assert command.main(["export", "test", "--to", str(tmp_path / "there")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("python -m kikuhelpers test 05_latent_maps.vae-16.wrought")
    assert "\n" not in said and not (tmp_path / "there").exists()
