"""Results are opened by name, and never where they are of other settings or another model."""

import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import digest, load_json, save_array, save_json
from kikuhelpers.runs.provenance import begin
from kikuhelpers.runs.results import MissingResultError, Results, make_command
from kikuhelpers.study import PREPROCESSED, load_study
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import (
    DATA,
    INDEXING,
    LATENT_MAPS,
    PREPROCESSING,
    RECONSTRUCTION,
    TABLE1,
    TRAINING,
    Job,
)
from tests.conftest import (
    MODEL_CARD,
    SCAN_CARD,
    make_study,
    screen,
    stamp,
    stand_in,
    write_scan,
)

MODELS = {"a": {"latent_dim": 16}, "b": {"latent_dim": 16, "beta": 50}}
SHAPE = (4, 5)


@pytest.fixture
def study():
    """Two models with latents, as far as readers see; each file differs from the other's."""
    study = make_study(models=MODELS)
    give_scan(study)
    stand_in(study, PREPROCESSING, "wrought")
    stand_in(study, INDEXING, "wrought")
    for name in study.models:
        files = Layout(study).model_scan(name, "wrought")
        save_json(Layout(study).model(name).card, MODEL_CARD | {"name": name})
        stand_in(study, TRAINING, name)
        save_array(files.latents, np.full((*SHAPE, 16), ord(name), np.float32))
        save_array(files.pattern_loss, np.full(SHAPE, ord(name), np.float32))
        stamp(study, LATENT_MAPS, name, "wrought")
        stamp(study, RECONSTRUCTION, name, "wrought")
    return study


def give_scan(study, seed=0):
    """Write a scan, its card and its preprocessed patterns."""
    files = Layout(study).scan("wrought")
    patterns = np.random.default_rng(seed).integers(0, 65536, (*SHAPE, 120, 120), np.uint16)
    for path in (files.raw, files.preprocessed):
        write_scan(path, patterns)
    save_array(files.mask, screen())
    save_json(files.card, SCAN_CARD | {"sha256": f"scan {seed}"})
    stand_in(study, DATA, "wrought")


def test_what_is_the_studys_is_opened_by_name(study):
    results = Results(study)
    assert results.model("b").card["name"] == "b"
    assert results.scan("wrought").card["sha256"] == "scan 0"
    assert (results.model_scan("a", "wrought").latents == ord("a")).all()
    assert results.scan("wrought").raw.shape == (*SHAPE, 120, 120)
    pattern = results.pattern(PREPROCESSED, "wrought", 3, 4)
    np.testing.assert_array_equal(pattern, results.patterns(PREPROCESSED, "wrought")[3, 4])
    assert list(results.shown) == ["preprocessed/wrought/3/4"]


def test_a_missing_result_names_the_command(study):
    with pytest.raises(MissingResultError) as error:
        _ = Results(study).model_scan("a", "wrought").features
    sentence = str(error.value)
    assert "models/a/wrought/features.csv of study 'test' is not there yet" in sentence
    assert sentence.endswith("python -m kikuhelpers test 05_latent_maps.a.wrought")
    assert error.value.jobs == (Job(LATENT_MAPS, ("a", "wrought")),)
    assert isinstance(error.value, SentenceError) and "\n" not in sentence


@pytest.mark.parametrize(
    ("changes", "jobs"),
    [
        ({"models": MODELS | {"a": {"latent_dim": 16, "beta": 2}}}, "04_training.a"),
        ({"training": {"presentations": 128}}, "04_training.a"),
        ({"seed": 2}, "04_training.a"),
        ({"preprocessing": {"rescale": "map"}}, "04_training.a"),
    ],
)
def test_results_of_other_settings_are_not_read(study, changes, jobs):
    other = make_study(**({"models": MODELS} | changes))
    with pytest.raises(MissingResultError, match="with other settings") as error:
        _ = Results(other).model("a").card
    assert str(error.value).endswith(f"python -m kikuhelpers test {jobs}")


def test_settings_that_a_result_does_not_depend_on_may_change(study):
    other = make_study(models=MODELS, title="Another")
    results = Results(other)
    assert results.model("a").card["name"] == "a"
    assert (results.model_scan("b", "wrought").latents == ord("b")).all()


@pytest.mark.parametrize("name", ["latents", "pattern_loss"])
def test_another_models_file_in_place_is_not_read(study, name):
    files = [Layout(study).model_scan(model, "wrought") for model in "ab"]
    own, other = (getattr(of_model, name) for of_model in files)
    shutil.copy2(other, own)
    assert digest(own) == digest(other)
    with pytest.raises(MissingResultError, match=r"is not the file that 0[56]_.* made") as error:
        getattr(Results(study).model_scan("a", "wrought"), name)
    assert "python -m kikuhelpers test 0" in str(error.value)
    assert (getattr(Results(study).model_scan("b", "wrought"), name) == ord("b")).all()


def test_another_models_record_in_place_is_not_read(study):
    """Weights, card and record of a model of other settings, copied as a whole."""
    layout = Layout(study)
    shutil.copy2(layout.model("b").card, layout.model("a").card)
    shutil.copy2(layout.record(TRAINING, "b"), layout.record(TRAINING, "a"))
    with pytest.raises(MissingResultError, match=r"test 04_training\.a$"):
        _ = Results(study).model("a").card


def test_a_file_without_a_record_is_not_read(study):
    Layout(study).record(TRAINING, "a").unlink()
    with pytest.raises(MissingResultError, match=r"04_training\.a has not run yet"):
        _ = Results(study).model("a").card


def test_results_of_a_replaced_scan_are_not_read(study):
    give_scan(study, seed=1)
    with pytest.raises(MissingResultError, match="of another scan than the present") as error:
        _ = Results(study).model_scan("a", "wrought").latents
    sentence = str(error.value)
    assert sentence.endswith("test 01_diffraction_data.wrought 05_latent_maps.a.wrought")


def test_the_file_behind_a_link_may_not_change(tmp_path, study):
    """A user's UP2 file is linked: what lies there now must be what the card says."""
    raw = Layout(study).scan("wrought").raw
    patterns = np.zeros((*SHAPE, 120, 120), np.uint16)
    write_scan(tmp_path / "other.up2", patterns)
    raw.unlink()
    raw.symlink_to(tmp_path / "other.up2")
    with pytest.raises(MissingResultError, match=r"01_diffraction_data\.wrought"):
        _ = Results(study).scan("wrought").raw


def test_the_step_is_the_studys_or_the_cards(tmp_path):
    scan = {"data": {"path": str(tmp_path / "mine.up2")}, "training": {"patterns": 4}}
    study = make_study(scans={"mine": scan})
    with pytest.raises(MissingResultError, match=r"01_diffraction_data\.mine"):
        Results(study).step_um("mine")
    files = Layout(study).scan("mine")
    save_json(files.card, SCAN_CARD | {"step_um": 0.25})
    stand_in(study, DATA, "mine")
    assert Results(study).step_um("mine") == 0.25
    stated = make_study(scans={"mine": scan | {"data": scan["data"] | {"step_um": 3.0}}})
    assert Results(stated).step_um("mine") == 3.0


def test_models_without_results_are_left_out_with_a_sentence(study):
    assert Results(study).complete().study == study, "the first missing file is then asked for"
    files = Layout(study).model_scan("a", "wrought")
    files.orientations.touch()
    stamp(study, "08_reindexing", "a", "wrought")
    left = Results(study).complete()
    assert list(left.study.models) == ["a"]
    assert left.left_out == ["b has no results yet: left out."]


def test_a_notebook_says_first_what_it_needs(study, capsys):
    begin(study, LATENT_MAPS, "a", "wrought")
    said = capsys.readouterr().out
    assert "05_latent_maps.a.wrought of study 'test': results go to" in said
    assert "It needs 3 earlier results; there: 04_training.a, 02_preprocessing.wrought" in said


def test_a_notebook_says_what_it_lacks_and_the_single_command(study, capsys):
    Layout(study).model("b").card.write_text("{}")
    with pytest.raises(MissingResultError) as error:
        begin(study, TABLE1)
    assert "It needs" in capsys.readouterr().out
    sentence = str(error.value)
    assert sentence.count("Make it with: ") == 1 and "\n" not in sentence
    assert "models/b/card.json of study 'test' is not the file that 04_training.b made" in sentence
    assert "08_reindexing.a.wrought has not run yet" in sentence
    jobs = sentence.split("python -m kikuhelpers test ")[1].split()
    assert "04_training.b" in jobs and "04_training.a" not in jobs


def test_what_a_notebook_lacks_can_be_made_by_it(study, monkeypatch, capsys):
    commands, layout, really_run = [], Layout(study), subprocess.run
    layout.record(TRAINING, "a").unlink()

    def run(command, *arguments, **more):
        if command[0] != sys.executable:  # git, for the record
            return really_run(command, *arguments, **more)
        commands.append(command)
        stamp(study, TRAINING, "a")

    monkeypatch.setattr("kikuhelpers.runs.provenance.subprocess.run", run)
    begin(study, LATENT_MAPS, "a", "wrought", make_missing=True)
    assert [command[1:] for command in commands] == [["-m", "kikuhelpers", "test", "04_training.a"]]
    assert "Made now: 04_training.a." in capsys.readouterr().out


def test_what_cannot_be_made_is_told_once(study, monkeypatch):
    Layout(study).record(TRAINING, "a").unlink()
    monkeypatch.setattr("kikuhelpers.runs.provenance.subprocess.run", lambda *_, **__: None)
    with pytest.raises(MissingResultError, match=r"04_training\.a has not run yet"):
        begin(study, LATENT_MAPS, "a", "wrought", make_missing=True)


def test_the_command_can_be_pasted_whatever_the_path_holds(tmp_path):
    path = tmp_path / "my $(touch oops) study.yaml"
    content = {"name": "mine", "title": "x", "scans": {"s": {"data": {"path": "s.up2"}}}}
    path.write_text(yaml.safe_dump(content | {"models": {"v": {"latent_dim": 16}}}))
    command = make_command(load_study(path), Job(TRAINING, ("v",)))
    assert shlex.split(command) == ["python", "-m", "kikuhelpers", str(path), "04_training.v"]
    assert "'" in command, "quoted for a shell"


# ------------------------------------------------------------- with changed values


@pytest.fixture
def smoke():
    """The smoke study with a preprocessed scan and a trained model."""
    study = load_study("smoke")
    give_scan(study)
    stand_in(study, PREPROCESSING, "wrought")
    save_json(Layout(study).model("vae-16").card, MODEL_CARD | {"of": "the study"})
    stand_in(study, TRAINING, "vae-16")
    return study


def test_overridden_results_go_to_a_folder_of_their_own(smoke):
    before = {path: path.read_bytes() for path in Layout(smoke).folder.rglob("*.*")}
    overrides = {"training.batch_size": 4}
    changed = load_study("smoke", overrides)
    assert changed.name.startswith("smoke-with-") and changed.name != smoke.name
    layout = Layout(changed)
    assert layout.folder.name == layout.figures.name == changed.name
    results = Results(changed)
    assert results.patterns(PREPROCESSED, "wrought").shape == (*SHAPE, 120, 120), "the original's"
    with pytest.raises(MissingResultError, match="notebook 04_training on vae-16, with the same"):
        _ = results.model("vae-16").card
    with pytest.raises(MissingResultError, match=r"kikuhelpers smoke 03_indexing\.wrought$"):
        _ = results.scan("wrought").pattern_centre
    save_json(layout.model("vae-16").card, MODEL_CARD | {"of": "the override"})
    record = begin(changed, TRAINING, "vae-16")
    record.close()
    written = load_json(layout.record(TRAINING, "vae-16"))
    assert written["overrides"] == overrides
    assert written["study"]["training"]["batch_size"] == 4
    assert Results(changed).model("vae-16").card["of"] == "the override"
    assert Results(smoke).model("vae-16").card["of"] == "the study"
    after = {path: path.read_bytes() for path in Layout(smoke).folder.rglob("*.*")}
    assert before == after, "the study's own results are as they were"


def test_the_same_overrides_find_their_results_again():
    first = load_study("smoke", {"seed": 2, "title": "x"})
    again = load_study("smoke", {"title": "x", "seed": 2})
    assert first.name == again.name != load_study("smoke", {"seed": 3, "title": "x"}).name


def test_an_override_that_a_stage_does_not_read_changes_nothing_upstream(smoke):
    changed = Layout(load_study("smoke", {"scans.wrought.indexing.sample_tilt_deg": 69}))
    assert changed.scan("wrought").preprocessed == Layout(smoke).scan("wrought").preprocessed
    assert changed.scan("wrought").orientations != Layout(smoke).scan("wrought").orientations
    assert changed.model("vae-16").weights == Layout(smoke).model("vae-16").weights
