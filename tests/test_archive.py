"""Archived results: small, near to what they were, and read only where that is asked for."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from safetensors.torch import load_file, save_file

from kikuhelpers.figures.figure_set import FigureSet
from kikuhelpers.indexing.hough import save_map
from kikuhelpers.indexing.orientation_maps import misorientation_map
from kikuhelpers.latents.coding import load_model
from kikuhelpers.preprocessing.camera_scale import MAPS
from kikuhelpers.runs.archive import Archive
from kikuhelpers.runs.files import save_array, save_csv, save_json
from kikuhelpers.runs.provenance import begin, collect
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.scans.readers import convert_scan
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.study import PREPROCESSED, load_study
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.scans import ArrayData, Scan
from kikuhelpers.study.stages import (
    DATA,
    INDEXING,
    LATENT_MAPS,
    PREPROCESSING,
    RECONSTRUCTION,
    REINDEXING,
    TRAINING,
    Job,
    jobs_of,
)
from kikuhelpers.training.loop import train
from tests.conftest import MODEL_CARD, make_study, stamp, stand_in, virtual_scan, write_scan
from tests.test_training import give_sample

FLOAT16_ERROR = 2.0**-11  # relative
MOST_DEG = 0.01
PROPERTIES = ("pq", "grain", "grod_deg", "kam_deg", "sharpness", "cm", "ci", "fit", "noise")


def archived(study, *paths):
    """Archive a study, remove files, and return the results that are left."""
    Archive(Layout(study)).write(Results(study))
    for path in paths:
        path.unlink()
    return Results(study, archive=True)


def random_map(phase_id, shape=(3, 4)) -> CrystalMap:
    """12 points, step 0.5 um."""
    rng = np.random.default_rng(0)
    row, column = (axis.ravel() for axis in np.indices(shape))
    prop = {name: rng.uniform(0, 1, 12).astype(np.float32) for name in PROPERTIES}
    prop |= {
        "pq": rng.uniform(1e2, 1e5, 12),  # beyond the largest float16
        "fit": np.where(phase_id < 0, 180.0, 0.7),
        "kam_deg": np.where(phase_id < 0, np.nan, rng.uniform(0, 5, 12)),
        "grain": np.where(phase_id < 0, -1, 70_000 + row),
    }
    return CrystalMap(
        rotations=Rotation.random(12),
        phase_id=phase_id,
        x=0.5 * column,
        y=0.5 * row,
        phase_list=PhaseList(Phase("Ni", space_group=225)),
        prop=prop,
        scan_unit="um",
    )


@pytest.mark.parametrize("shape", [(3, 4), (1, 12), (12, 1)])
@pytest.mark.parametrize("indexed", [12, 7, 0])
@pytest.mark.parametrize("kind", [PREPROCESSED, "vae-16"])
def test_a_map_comes_back(study, kind, indexed, shape):
    path = Layout(study).orientations(kind, "wrought")
    path.parent.mkdir(parents=True)
    save_map(path, random_map(np.where(np.arange(12) < indexed, 0, -1), shape), (0.5, 0.3, 0.6))
    if kind == PREPROCESSED:
        save_json(Layout(study).scan("wrought").pattern_centre, {"pattern_centre": [0.5, 0.3, 0.6]})
        stamp(study, INDEXING, "wrought")
    else:
        stamp(study, REINDEXING, kind, "wrought")
    before = Results(study).orientations(kind, "wrought")
    after = archived(study, path).orientations(kind, "wrought")
    assert after.shape == before.shape == shape and after.scan_unit == "um"
    for axis in ("_x", "_y"):  # orix hides that of one point
        np.testing.assert_allclose(getattr(after, axis), getattr(before, axis))
    assert [(i, p.name, p.point_group) for i, p in after.phases] == [
        (i, p.name, p.point_group) for i, p in before.phases
    ]
    angles = misorientation_map(before, after)[before.is_indexed.reshape(before.shape)]
    assert np.all(angles < MOST_DEG)
    wanted = set(PROPERTIES) if kind == PREPROCESSED else {"pq", "cm", "ci", "sharpness"}
    assert set(after.prop) == wanted
    for name, values in after.prop.items():
        assert values.dtype == before.prop[name].dtype
        np.testing.assert_allclose(values, before.prop[name], rtol=FLOAT16_ERROR)
    if kind == PREPROCESSED:
        np.testing.assert_array_equal(after.prop["grain"], before.prop["grain"])


def test_the_cameras_scale_comes_back(study):
    path = Layout(study).scan("wrought").camera_scale
    maps = np.zeros((3, 4), [(name, np.float32) for name in MAPS])
    for name in MAPS:
        maps[name] = np.random.default_rng(0).uniform(0, 6e4, (3, 4))
    maps["std_counts"][0, 0] = np.nan
    save_array(path, maps)
    save_array(Layout(study).scan("wrought").mask, np.ones((120, 120), bool))
    stand_in(study, PREPROCESSING, "wrought")
    after = archived(study, path).scan("wrought").camera_scale
    assert after.dtype == maps.dtype
    for name in MAPS:
        np.testing.assert_allclose(after[name], maps[name], rtol=FLOAT16_ERROR)


def test_a_truth_comes_back():
    scans = {"am": {"data": virtual_scan(specimen={"alloy": "am"}).model_dump()}}
    study = make_study(scans=scans)
    files = Layout(study).scan("am")
    files.raw.parent.mkdir(parents=True)
    simulate(study.scan("am").data, files.raw, files.truth)
    stand_in(study, DATA, "am")
    before = Results(study).scan("am").truth
    after = archived(study, files.truth).scan("am").truth
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert after[name].shape == values.shape
        if values.dtype.kind == "f":
            np.testing.assert_allclose(after[name], values, rtol=FLOAT16_ERROR, atol=1e-4)
        else:
            np.testing.assert_array_equal(after[name], values)


def give_latents(study, latents, structure):
    """Write latent maps and their features' Moran's I."""
    files = Layout(study).model_scan("vae-16", "wrought")
    more = 16 - latents.shape[-1]  # the others of the network: constant, without structure
    save_array(files.latents, np.pad(latents, ((0, 0), (0, 0), (0, more))))
    table = {"feature": range(16), "variance": 1.0, "active": True}
    save_csv(pd.DataFrame(table | {"moran_i": [*structure, *[0.0] * more]}), files.features)
    stamp(study, LATENT_MAPS, "vae-16", "wrought")
    return files


def test_active_latents_come_back_and_inactive_ones_are_zero(study):
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(5, 6, 3)).astype(np.float32)
    latents[..., 1] *= 1e-3
    files = give_latents(study, latents, [0.1, 0.9, 0.5])
    again = archived(study, files.latents).model_scan("vae-16", "wrought").latents
    assert again.dtype == np.float32 and not again[..., 1].any()
    half_a_level = np.ptp(latents, axis=(0, 1)) / 255 / 2
    for feature in (0, 2):
        off = np.abs(again[..., feature] - latents[..., feature])
        assert off.max() <= half_a_level[feature] * 1.001


def test_the_features_of_most_structure_are_archived(study, monkeypatch):
    monkeypatch.setattr("kikuhelpers.runs.archive.MOST_ARCHIVED_FEATURES", 2)
    latents = np.random.default_rng(0).normal(size=(5, 6, 4)).astype(np.float32)
    files = give_latents(study, latents, [0.1, 0.9, 0.5, 0.7])
    again = archived(study, files.latents).model_scan("vae-16", "wrought").latents
    assert again.any(axis=(0, 1)).tolist()[:4] == [False, True, False, True]


def test_tables_and_cards_come_back_exactly(study):
    files = Layout(study).model_scan("vae-16", "wrought")
    losses = np.random.default_rng(0).random((4, 5), np.float32)
    save_array(files.pattern_loss, losses)
    save_json(files.residual, {"mae_counts": 1 / 3, "mae_camera": 0.0})
    save_array(files.generated, np.linspace(-1, 1, 28_800, dtype=np.float32).reshape(2, 120, 120))
    write_scan(files.decoded, np.zeros((4, 5, 120, 120), np.uint16))
    stamp(study, RECONSTRUCTION, "vae-16", "wrought")
    generated = np.array(Results(study).model_scan("vae-16", "wrought").generated)
    gone = (files.pattern_loss, files.residual, files.generated, files.decoded)
    results = archived(study, *gone)
    np.testing.assert_array_equal(results.model_scan("vae-16", "wrought").pattern_loss, losses)
    assert results.model_scan("vae-16", "wrought").residual["mae_counts"] == 1 / 3
    np.testing.assert_allclose(
        results.model_scan("vae-16", "wrought").generated, generated, atol=2e-5
    )
    with pytest.raises(MissingResultError, match=r"decoded\.up2"):
        results.patterns("vae-16", "wrought")


def test_a_shown_pattern_outlives_its_file(study):
    files = Layout(study).scan("wrought")
    patterns = np.random.default_rng(0).integers(0, 2**16, (4, 5, 120, 120), np.uint16)
    write_scan(files.preprocessed, patterns)
    save_array(files.mask, np.ones((120, 120), bool))
    save_array(files.camera_scale, np.zeros((4, 5), [(name, np.float32) for name in MAPS]))
    stand_in(study, PREPROCESSING, "wrought")
    results = Results(study)
    results.pattern(PREPROCESSED, "wrought", 2, 3)
    results.save_shown()
    again = archived(study, files.preprocessed, Layout(study).shown_patterns)
    shown = again.pattern(PREPROCESSED, "wrought", 2, 3)
    np.testing.assert_array_equal(shown, patterns[2, 3])
    with pytest.raises(MissingResultError, match=r"preprocessed\.up2 of .* is not there yet"):
        again.pattern(PREPROCESSED, "wrought", 0, 0)
    with pytest.raises(MissingResultError):
        Results(study).pattern(PREPROCESSED, "wrought", 2, 3)
    again.save_shown()
    assert list(np.load(Layout(study).shown_patterns)) == ["preprocessed/wrought/2/3"]


def test_a_figure_without_its_results_is_dropped_and_named(study):
    figures = FigureSet(Results(study, archive=True))
    assert not figures.make(2).axes
    [sentence] = figures.close()
    assert sentence.startswith("Fig. 2: ") and "not" in sentence


@pytest.fixture
def trained(study):
    """A trained network, archived."""
    give_sample(study)
    train(Results(study), "vae-16")
    stamp(study, TRAINING, "vae-16")
    Archive(Layout(study)).write(Results(study))
    return study


def test_an_unchanged_study_writes_the_same_bytes(trained, capsys):
    folder = Layout(trained).archive
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"model.vae-16.npz", "model.vae-16.safetensors"}
    Archive(Layout(trained)).write(Results(trained))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    said = capsys.readouterr().out
    assert "lacks    03_indexing.wrought has not run yet" in said
    assert "archived model.vae-16.npz" in said


def test_archived_weights_are_read_where_asked_for_and_nowhere_else(trained):
    layout = Layout(trained)
    files = layout.model("vae-16")
    whole = load_file(files.weights)
    for path in (files.weights, files.card, files.history):
        path.unlink()
    layout.record(TRAINING, "vae-16").unlink()
    with pytest.raises(MissingResultError, match=r"04_training\.vae-16"):
        _ = Results(trained).model("vae-16").weights
    with pytest.raises(MissingResultError):
        begin(trained, LATENT_MAPS, "vae-16", "wrought")
    results = begin(trained, "11_figures", archive=True).results
    assert results.model("vae-16").card["presentations"] == 64
    assert results.model("vae-16").history["presentations"].iloc[-1] == 64
    network = load_model(results, "vae-16").cpu()
    for name, weights in network.state_dict().items():
        assert weights.dtype == torch.float32
        error = FLOAT16_ERROR * whole[name].abs() + 1e-7  # of subnormal float16
        assert torch.all((weights - whole[name]).abs() <= error)


def test_archived_weights_never_replace_a_training(trained):
    """What a study trains are its own weights, in full precision."""
    files = Layout(trained).model("vae-16")
    whole = load_file(files.weights)
    for path in (files.weights, files.card, files.history):
        path.unlink()
    Layout(trained).record(TRAINING, "vae-16").unlink()
    history = train(Results(trained), "vae-16")
    assert history["presentations"].iloc[-1] == 64
    for name, weights in load_file(files.weights).items():
        torch.testing.assert_close(weights, whole[name], rtol=0, atol=0)


TRAINING_SETTINGS = make_study().training.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    "change",
    [
        {"training": TRAINING_SETTINGS | {"learning_rate": 0.5}},
        {"models": {"vae-16": {"latent_dim": 16, "seed": 2}}},
        {"preprocessing": {"rescale": "map"}},
        {"seed": 2},
    ],
)
def test_what_is_of_other_settings_is_not_read(trained, change):
    other = make_study(**change)
    archive, files = Archive(Layout(other)), Layout(other).model("vae-16")
    assert not archive.holds(files.weights) and archive.find(files.card) is None
    with pytest.raises(MissingResultError, match="with other settings"):
        _ = Results(other, archive=True).model("vae-16").weights


def test_what_does_not_touch_the_training_does_not_matter(trained):
    models = {"vae-16": {"latent_dim": 16}, "vae-32": {"latent_dim": 32}}
    other = Layout(make_study(models=models, title="Another", indexing={"bands": 8}))
    assert Archive(other).holds(other.model("vae-16").weights)
    assert not Archive(other).holds(other.model("vae-32").weights)


def test_nothing_is_archived_of_a_network_in_training(study, capsys):
    """Its history is written from the first checkpoint on."""
    give_sample(study)
    train(Results(study), "vae-16")
    Archive(Layout(study)).write(Results(study))
    assert "lacks    04_training.vae-16 has not run yet" in capsys.readouterr().out
    assert not Layout(study).archive.exists()


def test_large_weights_are_not_archived():
    study = make_study(models={"large": {"latent_dim": 128}})
    files = Layout(study).model("large")
    files.card.parent.mkdir(parents=True)
    save_file({"w": torch.ones(2)}, files.weights)
    stand_in(study, TRAINING, "large")
    results = archived(study, files.weights, files.card)
    assert results.model("large").card["name"] == "card.json"
    with pytest.raises(MissingResultError):
        _ = results.model("large").weights


def test_records_hold_no_folder_and_lose_nothing(tmp_path):
    """Of a job of another machine the archive knows what run.json tells."""
    deep = tmp_path / "deep"
    deep.mkdir()
    np.save(deep / "s.npy", np.ones((2, 2, 120, 120), np.uint16))
    data = ArrayData(
        source="array", path=str(deep / "s.npy"), map_shape=(2, 2), pattern_shape=(120, 120)
    )
    study = make_study(scans={"s": {"data": data.model_dump()}})
    layout = Layout(study)
    convert_scan(Scan(data=data), layout.scan("s"), "s")
    stamp(study, DATA, "s")
    give_sample(study, scan="s")
    save_json(layout.model("vae-16").card, MODEL_CARD | {"seconds": 5000.0})
    save_file({"w": torch.ones(2)}, layout.model("vae-16").weights)
    stand_in(study, TRAINING, "vae-16")
    before = collect(Results(study))["runs"]
    results = archived(study, layout.record(DATA, "s"), layout.record(TRAINING, "vae-16"))
    assert collect(Results(study))["runs"].keys() == {"02_preprocessing.s"}
    assert collect(results)["runs"].keys() == before.keys()
    for name, run in collect(results)["runs"].items():
        assert {key: run[key] for key in before[name]} == before[name]
    for path in layout.archive.glob("*.npz"):
        with np.load(path) as file:
            texts = [file[name].tobytes() for name in file.files if name.endswith("text")]
        assert texts and str(tmp_path).encode() not in b"".join(texts)


def test_what_another_machine_archived_stays(study):
    """A second archiving, where one of the model's jobs has no results, loses none."""
    layout = Layout(study)
    model, files = layout.model("vae-16"), layout.model_scan("vae-16", "wrought")
    save_json(model.card, MODEL_CARD | {"of": "a training"})
    save_file({"w": torch.ones(2)}, model.weights)
    stand_in(study, TRAINING, "vae-16")
    save_array(files.generated, np.zeros((1, 120, 120), np.float32))
    save_array(files.pattern_loss, np.ones((4, 5), np.float32))
    stand_in(study, RECONSTRUCTION, "vae-16", "wrought")
    Archive(layout).write(Results(study))
    before = {path.name: path.read_bytes() for path in layout.archive.iterdir()}
    results = archived(study, layout.record(TRAINING, "vae-16"), model.card, model.weights)
    Archive(layout).write(Results(study))
    assert {path.name: path.read_bytes() for path in layout.archive.iterdir()} == before
    assert results.model("vae-16").card["of"] == "a training"
    assert (results.model("vae-16").weights["w"] == 1).all()


def test_the_archive_of_a_study_is_read_without_its_results(study, tmp_path, monkeypatch):
    """As in a fresh clone: the results folder is not even there."""
    save_json(Layout(study).model("vae-16").card, MODEL_CARD | {"of": "a training"})
    stand_in(study, TRAINING, "vae-16")
    save_file({"w": torch.ones(2)}, Layout(study).model("vae-16").weights)
    stamp(study, TRAINING, "vae-16")
    Archive(Layout(study)).write(Results(study))
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path / "fresh"))
    results = Results(make_study(), archive=True)
    assert results.model("vae-16").card["of"] == "a training"
    assert results.all_records().keys() == {Job(TRAINING, ("vae-16",))}
    assert json.dumps(results.all_records()[Job(TRAINING, ("vae-16",))])
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize("name", ["in718_rx", "virtual"])
def test_what_git_holds_is_of_the_studies_as_they_are(name, monkeypatch):
    """A new setting must not make hours of training stale: see ``came_later`` of its class."""
    monkeypatch.delenv("KIKUHELPERS_ARCHIVE", raising=False)
    archive = Archive(Layout(load_study(name)))
    jobs = [job for job in jobs_of(archive.layout.study) if job.parts]
    assert [str(job) for job in jobs if archive.record(job) is None] == []
