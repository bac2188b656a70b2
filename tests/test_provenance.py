"""What a run leaves about itself."""

import json

import pytest

from kikuhelpers.runs import provenance
from kikuhelpers.runs.files import digest, load_json, save_json
from kikuhelpers.runs.provenance import Record, collect, git_commit
from kikuhelpers.runs.results import Results
from kikuhelpers.study import load_study
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import DATA, PREPROCESSING, TRAINING, Job
from tests.conftest import MODEL_CARD, make_study, stamp, stand_in

MODELS = {"a": {"latent_dim": 16}, "b": {"latent_dim": 16}}


@pytest.fixture
def trained():
    """A study with stand-ins of a scan and of two trainings."""
    study = make_study(models=MODELS)
    stand_in(study, DATA, "wrought")
    stand_in(study, PREPROCESSING, "wrought")
    for name, seconds in (("a", 5000.0), ("b", 0.0)):
        save_json(Layout(study).model(name).card, MODEL_CARD | {"seconds": seconds})
        stand_in(study, TRAINING, name)
    return study


def test_a_record_says_what_made_a_result(trained):
    layout = Layout(trained)
    record, fingerprint = load_json(layout.record(TRAINING, "a")), layout.dependencies.fingerprint
    assert (record["notebook"], record["parts"]) == ("04_training", ["a"])
    assert record["fingerprint"] == fingerprint(Job(TRAINING, ("a",)))
    before = {"02_preprocessing.wrought": fingerprint(Job(PREPROCESSING, ("wrought",)))}
    assert record["inputs"] == before
    assert record["scans"] == {"wrought": "0"}, "the SHA-256 of its card"
    assert set(record["outputs"]) == {
        f"models/a/{name}" for name in ("weights.safetensors", "card.json", "history.csv")
    }
    assert record["outputs"]["models/a/card.json"] == digest(layout.model("a").card)
    assert record["study"] == json.loads(trained.model_dump_json())
    assert record["overrides"] == {}
    assert record["versions"]["torch"].startswith("2.13.0")
    assert record["peak_memory_mb"] > 10


def test_run_json_gathers_the_records_of_the_study(trained, tmp_path):
    layout = Layout(trained)
    save_json(layout.record(TRAINING, "no longer in the study"), {})
    run = collect(Results(trained))
    trainings = {name for name in run["runs"] if name.startswith("04")}
    assert trainings == {"04_training.a", "04_training.b"}
    assert json.loads(json.dumps(run["study"])) == json.loads(trained.model_dump_json())
    assert run["overrides"] == {}
    assert run["runs"]["04_training.a"]["scans"] == {"wrought": "0"}
    assert "versions" not in run["runs"]["04_training.a"], "told once"
    assert str(tmp_path) not in json.dumps(run), "no machine's folders"


def test_records_of_other_settings_are_not_gathered(trained):
    other = make_study(models=MODELS | {"b": {"latent_dim": 16, "beta": 2}})
    assert "04_training.b" not in collect(Results(other))["runs"]


def test_a_job_of_another_machine_brings_its_own_facts(trained, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(provenance, "hardware", lambda: {"system": "elsewhere"})
        stamp(trained, TRAINING, "b")
    runs = collect(Results(trained))["runs"]
    assert runs["04_training.b"]["hardware"] == {"system": "elsewhere"}
    assert "hardware" not in runs["04_training.a"]


def test_all_parts_of_a_training_count(trained):
    """Its record holds what ran since it was last taken up, its card the whole."""
    run = collect(Results(trained))
    resumed, straight = (run["runs"][f"04_training.{name}"]["seconds"] for name in "ab")
    assert resumed == 5000 and straight < 5
    total = sum(job["seconds"] for job in run["runs"].values())
    assert run["wall_seconds_sum"] == pytest.approx(total)


def test_a_run_with_changed_values_says_so():
    overrides = {"title": "Another", "training.batch_size": 8}
    study = load_study("smoke", overrides)
    stand_in(study, DATA, "wrought")
    run = collect(Results(study))
    assert run["overrides"] == overrides
    assert run["study"]["title"] == "Another"


def test_a_record_knows_how_long_its_job_took(study):
    record = Record(Results(study), Job(TRAINING, ("vae-16",)))
    assert record.close() == load_json(Layout(study).record(TRAINING, "vae-16"))["seconds"]


def test_the_commit_is_a_commit():
    assert len(git_commit().removesuffix("+changes")) in (40, len("no git commit"))
