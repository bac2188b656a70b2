"""Kept results: small, near to what they were, and taken only for the settings they are of."""

import json

import numpy as np
import pytest
import torch
from kikuhelpers.figures.shown import counts_at, forget_shown, load_shown, save_shown
from kikuhelpers.runs.available import with_results
from kikuhelpers.runs.kept.networks import kept_weights, take_kept_network
from kikuhelpers.runs.kept.packing import packing_of
from kikuhelpers.runs.kept.runs import keep_runs, load_runs
from kikuhelpers.runs.kept.store import keep, restore
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from safetensors.torch import load_file

from kikuhelpers.figures import FigureSet
from kikuhelpers.indexing.hough import load_map, save_map
from kikuhelpers.indexing.orientation_maps import misorientation_map
from kikuhelpers.runs.files import MissingResultError
from kikuhelpers.runs.provenance import Record
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.scans.virtual.truth import load_truth
from kikuhelpers.study.layout import Layout
from kikuhelpers.training.loop import load_model, train
from tests.conftest import make_study, virtual_scan, write_scan
from tests.test_training import give_sample

FLOAT16_ERROR = 2.0**-11  # relative
MOST_DEG = 0.01


def random_map(phase_id) -> CrystalMap:
    """3 x 4 points, step 0.5 um."""
    rng = np.random.default_rng(0)
    row, column = (axis.ravel() for axis in np.indices((3, 4)))
    prop = {
        "pq": rng.uniform(1e2, 1e5, 12),  # beyond the largest float16
        "ci": rng.uniform(0, 1, 12).astype(np.float32),
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


def packed_and_back(path, tmp_path):
    packing = packing_of(path)
    kept, again = tmp_path / f"kept{packing.ending}", tmp_path / "again" / path.name
    packing.pack(path, kept)
    packing.unpack(kept, again)
    return again


@pytest.mark.parametrize("indexed", [12, 7, 0])
def test_a_map_comes_back(tmp_path, indexed):
    xmap = random_map(np.where(np.arange(12) < indexed, 0, -1))
    save_map(tmp_path / "orientations.h5", xmap)
    before = load_map(tmp_path / "orientations.h5")
    after = load_map(packed_and_back(tmp_path / "orientations.h5", tmp_path))
    assert after.shape == before.shape and after.scan_unit == "um"
    for axis in ("x", "y", "phase_id"):
        np.testing.assert_array_equal(getattr(after, axis), getattr(before, axis))
    assert [(i, p.name, p.point_group) for i, p in after.phases] == [
        (i, p.name, p.point_group) for i, p in before.phases
    ]
    angles = misorientation_map(before, after)[before.is_indexed.reshape(before.shape)]
    assert np.all(angles < MOST_DEG)
    assert after.prop.keys() == before.prop.keys()
    for name, values in before.prop.items():
        assert after.prop[name].dtype == values.dtype
        np.testing.assert_allclose(after.prop[name], values, rtol=FLOAT16_ERROR)
    np.testing.assert_array_equal(after.prop["grain"], before.prop["grain"])


def test_a_truth_comes_back(tmp_path):
    path = tmp_path / "truth.h5"
    simulate(virtual_scan(specimen={"alloy": "am"}), tmp_path / "scan.up2", path)
    before, after = load_truth(path), load_truth(packed_and_back(path, tmp_path))
    for name, values in vars(before).items():
        again = getattr(after, name)
        assert again.shape == values.shape
        if values.dtype.kind == "f":
            np.testing.assert_allclose(again, values, rtol=FLOAT16_ERROR, atol=1e-4)
        else:
            np.testing.assert_array_equal(again, values)


def test_active_latents_come_back_and_inactive_ones_are_zero(tmp_path):
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(5, 6, 3)).astype(np.float32)
    latents[..., 1] *= 1e-3
    np.save(tmp_path / "latents.npy", latents)
    again = np.load(packed_and_back(tmp_path / "latents.npy", tmp_path))
    assert again.dtype == np.float32 and not again[..., 1].any()
    half_a_level = np.ptp(latents, axis=(0, 1)) / 255 / 2
    for feature in (0, 2):
        off = np.abs(again[..., feature] - latents[..., feature])
        assert off.max() <= half_a_level[feature] * 1.001


def test_a_shown_pattern_outlives_its_file(study):
    layout = Layout(study)
    files, path = layout.scan("wrought"), layout.shown_patterns
    patterns = np.random.default_rng(0).integers(0, 2**16, (4, 5, 6, 7), np.uint16)
    write_scan(files.preprocessed, patterns)
    counts_at(study, "preprocessed", "wrought", 2, 3)
    save_shown(path)
    forget_shown(path)
    files.preprocessed.unlink()
    shown = counts_at(study, "preprocessed", "wrought", 2, 3)
    np.testing.assert_array_equal(shown, patterns[2, 3])
    with pytest.raises(MissingResultError, match=r"preprocessed\.up2 is not there yet"):
        counts_at(study, "preprocessed", "wrought", 0, 0)
    save_shown(path)
    assert list(load_shown(path)) == [("preprocessed", "wrought", 2, 3)]


def test_a_figure_without_its_results_is_dropped_and_named(study):
    figures = FigureSet(study)
    assert not figures.make(2).axes
    assert figures.close() == ["Fig. 2: scans/wrought/scan.json is not there: run notebook 01."]


def test_a_model_without_results_is_left_out():
    study = make_study(models={name: {"latent_dim": 16} for name in ("a", "b")})
    assert with_results(study) == (study, []), "the first missing file is then asked for"
    layout = Layout(study)
    files = layout.model_scan("a", "wrought")
    for path in (layout.model("a").card, files.orientations, files.pattern_loss):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    left, sentences = with_results(study)
    assert list(left.models) == ["a"]
    assert sentences == ["b has no results yet: left out."]


@pytest.fixture
def kept_network(study):
    """A trained and kept network, whose results are then gone."""
    give_sample(study)
    train(study, "vae-16")
    Record(Layout(study), "03_training", "vae-16").close()
    keep(study)
    files = Layout(study).model("vae-16")
    trained = load_file(files.weights)
    for path in (files.weights, files.card, files.history, files.kl):
        path.unlink()
    return trained


def test_nothing_is_kept_of_a_network_in_training(study, capsys):
    """Its history is written from the first checkpoint on."""
    give_sample(study)
    train(study, "vae-16")
    files = Layout(study).model("vae-16")
    files.card.unlink()
    keep(study)
    assert "lacks     models/vae-16/history.csv" in capsys.readouterr().out
    assert not (Layout(study).kept / "models").exists()


def test_kept_weights_stand_in_for_a_training(study, kept_network, capsys):
    assert kept_weights(study, "vae-16")
    history = take_kept_network(study, "vae-16")
    assert history["presentations"].iloc[-1] == 64
    assert "Taken, not trained" in capsys.readouterr().out
    network = load_model(study, "vae-16").cpu()
    for name, weights in network.state_dict().items():
        assert weights.dtype == torch.float32
        error = FLOAT16_ERROR * kept_network[name].abs() + 1e-7  # of subnormal float16
        assert torch.all((weights - kept_network[name]).abs() <= error)


TRAINING = make_study().training.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    "change",
    [
        {"training": TRAINING | {"learning_rate": 0.5}},
        {"models": {"vae-16": {"latent_dim": 16, "seed": 2}}},
        {"preprocessing": {"rescale": "map"}},
        {"seed": 2},
    ],
)
def test_weights_of_other_settings_are_not_taken(kept_network, change, capsys):
    other = make_study(**change)
    assert kept_weights(other, "vae-16") is None
    assert "of other settings" in capsys.readouterr().out
    restore(other)
    assert not Layout(other).model("vae-16").weights.exists()


def test_what_does_not_touch_the_training_does_not_matter(kept_network):
    models = {"vae-16": {"latent_dim": 16}, "vae-32": {"latent_dim": 32}}
    other = make_study(models=models, title="Another", indexing={"bands": 8})
    assert kept_weights(other, "vae-16")
    assert kept_weights(other, "vae-32") is None


def test_records_keep_no_folder_and_lose_nothing(tmp_path):
    scans = {"s": {"source": "file", "path": str(tmp_path / "deep" / "s.up2")}}
    layout = Layout(make_study(scans=scans))
    layout.folder.mkdir(parents=True)
    for model in ("a", "b"):
        Record(layout, "03_training", model).close()
    keep_runs(layout)
    layout.record("03_training", "a").unlink()
    assert keep_runs(layout) == 2, "an older record stays"
    assert str(tmp_path) not in (layout.kept / "runs.json").read_text()
    original = json.loads(layout.record("03_training", "b").read_text())
    original["study"]["scans"]["s"]["path"] = "s.up2"
    assert load_runs(layout)["03_training.b"] == original
