"""A training killed at any moment ends in the same weights; a damaged checkpoint is found."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.runs.files import tidy
from kikuhelpers.runs.provenance import Record
from kikuhelpers.runs.results import Results
from kikuhelpers.study.layout import Layout, ModelFiles
from kikuhelpers.study.stages import PREPROCESSING, Job
from kikuhelpers.training.checkpoints import load_checkpoint, remove_checkpoints, save_checkpoint
from kikuhelpers.training.loop import Trainer, train
from tests.conftest import make_study, write_scan
from tests.test_training import give_sample

KILLS = 3
TRAINING = {
    "presentations": 160,
    "batch_size": 4,
    "warmup_steps": 2,
    "history_steps": 7,
    "checkpoint_seconds": 1e-9,  # after every step
}
PROGRAM = """
import sys
from kikuhelpers.study import load_study
from kikuhelpers.runs.results import Results
from kikuhelpers.study.layout import Layout
from kikuhelpers.training.checkpoints import remove_checkpoints
from kikuhelpers.training.loop import train
study = load_study(sys.argv[1])
train(Results(study), "vae-16")
remove_checkpoints(Layout(study).model("vae-16"))
"""


def start(path: Path) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path], env=environment, stderr=subprocess.DEVNULL
    )


def state_of(path: Path):
    """What tells one checkpoint file from the next."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.is_file() else None


def test_sigkill_at_random_moments_leaves_the_weights_the_same(tmp_path, monkeypatch):
    rng, weights = random.Random(0), {}
    study = make_study(training=TRAINING)
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(study.model_dump(mode="json")))
    for folder, kills in (("whole", 0), ("killed", KILLS)):
        monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path / folder))
        give_sample(study)
        files = Layout(study).model("vae-16")
        for _ in range(kills):
            before, run = state_of(files.checkpoint), start(file)
            while state_of(files.checkpoint) == before and run.poll() is None:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.15))  # in a step, or in the writing of a checkpoint
            run.send_signal(signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL, "the run ended before it was killed"
        assert start(file).wait() == 0
        tidy(files.weights.parent)
        assert not list(files.weights.parent.glob("*checkpoint*"))
        weights[folder] = load_file(files.weights)
    for name, values in weights["whole"].items():
        assert torch.equal(values, weights["killed"][name]), name


def interrupt(study, monkeypatch, after: int) -> ModelFiles:
    """Train and stop after so many steps, with a checkpoint at each."""
    whole = Trainer.take_step

    def dies(trainer):
        if trainer.step == after:
            raise KeyboardInterrupt
        whole(trainer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "take_step", dies)
        train(Results(study), "vae-16")
    return Layout(study).model("vae-16")


@pytest.mark.parametrize("loss", ["vae", "contrastive"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, monkeypatch, capsys, loss):
    model = {"vae-16": {"latent_dim": 16, "loss": loss}}
    study = make_study(training=TRAINING | {"presentations": 32}, models=model)
    results = []
    for folder in ("whole", "damaged"):
        monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path / folder))
        give_sample(study)
        if folder == "damaged":
            files = interrupt(study, monkeypatch, after=5)
            content = bytearray(files.checkpoint.read_bytes())
            content[len(content) // 2] ^= 1
            files.checkpoint.write_bytes(content)
            assert load_checkpoint(files)["progress"]["step"] == 4
            assert "checkpoint.pt cannot be read (" in capsys.readouterr().out
        history = train(Results(study), "vae-16")
        results.append((load_file(Layout(study).model("vae-16").weights), history))
    (whole, history), (resumed, again) = results
    assert all(torch.equal(values, resumed[name]) for name, values in whole.items())
    assert history.drop(columns="seconds").equals(again.drop(columns="seconds"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:70],
        lambda content: b"",
        lambda content: content + b"\0",
        lambda content: content.replace(b"number 2", b"number 3"),
    ],
    ids=["truncated", "head only", "empty", "longer", "edited"],
)
def test_every_damage_is_seen(tmp_path, damage, capsys):
    files = ModelFiles(lambda stage: tmp_path)
    for step in (1, 2):
        save_checkpoint(files, {"step": f"number {step}", "a": torch.arange(step)})
    state = load_checkpoint(files)
    assert state["step"] == "number 2" and state["a"].tolist() == [0, 1]
    assert not capsys.readouterr().out
    files.checkpoint.write_bytes(damage(files.checkpoint.read_bytes()))
    assert load_checkpoint(files)["step"] == "number 1"
    assert "checkpoint.pt cannot be read (" in capsys.readouterr().out
    files.checkpoint_before.write_bytes(b"")
    assert load_checkpoint(files) is None
    remove_checkpoints(files)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", ["settings", "sample"])
def test_a_checkpoint_of_another_training_is_not_used(monkeypatch, changed):
    study = make_study(training=TRAINING | {"presentations": 16})
    give_sample(study)
    interrupt(study, monkeypatch, after=2)
    if changed == "settings":
        study = make_study(training=TRAINING | {"presentations": 16, "learning_rate": 1e-4})
    else:
        patterns = open_patterns(Layout(study).scan("wrought").preprocessed)
        write_scan(Layout(study).scan("wrought").preprocessed, 65535 - patterns)
        Record(Results(study), Job(PREPROCESSING, ("wrought",))).close()
    steps, whole = [], Trainer.take_step
    monkeypatch.setattr(
        Trainer, "take_step", lambda trainer: (steps.append(trainer.step), whole(trainer))
    )
    train(Results(study), "vae-16")
    assert steps == [0, 1, 2, 3]


@pytest.mark.parametrize("loss", ["vae", "contrastive"])
def test_a_finished_training_is_never_trained_again(monkeypatch, loss):
    model = {"vae-16": {"latent_dim": 16, "loss": loss}}
    study = make_study(training=TRAINING | {"presentations": 16}, models=model)
    give_sample(study)
    history, files = train(Results(study), "vae-16"), Layout(study).model("vae-16")
    made = (files.weights, files.card, files.history)
    before = [path.read_bytes() for path in made]
    for path in made:  # as Snakemake does where the notebook fails after its training
        path.unlink()
    steps, whole = [], Trainer.take_step
    monkeypatch.setattr(
        Trainer, "take_step", lambda trainer: (steps.append(trainer.step), whole(trainer))
    )
    assert train(Results(study), "vae-16").equals(history)
    assert steps == []
    assert [path.read_bytes() for path in made] == before
    remove_checkpoints(files)
    assert not list(files.weights.parent.glob("*checkpoint*"))
    train(Results(study), "vae-16")
    assert steps == [0, 1, 2, 3]
