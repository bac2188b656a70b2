"""The check of a GPU: here it compares the CPU with itself, and must notice what is wrong."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

from benchmarks import gpu_check, gpu_step, gpu_train
from benchmarks.gpu_sample import SAMPLE, load_sample
from benchmarks.settings import QUICK
from kikuhelpers.study import PROJECT_ROOT
from kikuhelpers.study.models import Model, Training
from kikuhelpers.training.loop import Trainer
from kikuhelpers.training.sample import TrainingSet

MOST_BYTES = 4_000_000  # of the committed sample
HEAVY = ["pydantic", "yaml", "pandas", "safetensors", "psutil", "tqdm", "scipy", "sklearn", "h5py"]
HEAVY += ["kikuchipy", "orix", "hyperspy", "pyebsdindex"]
BARE = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({HEAVY}))  # None: not to be found
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other make small networks slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_bare(module, *arguments):
    """Run a module where packages other than torch and numpy cannot be imported."""
    command = [sys.executable, "-c", BARE, module, *map(str, arguments)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, env=one_thread)


def test_the_sample_is_small_and_whole():
    assert SAMPLE.stat().st_size < MOST_BYTES
    patterns, mask = load_sample()
    assert patterns.shape == (512, 120, 120) and patterns.dtype == np.float32
    assert mask.dtype == bool and (patterns[:, ~mask] == -1).all()
    inside = patterns[:, mask]
    assert (inside.min(axis=1) == -1).all() and (inside.max(axis=1) == 1).all()


def test_a_bare_machine_checks_and_says_what_it_ran_on(tmp_path):
    path = tmp_path / "check.json"
    ran = run_bare("benchmarks.gpu_check", "--quick", "--out", path)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(path.read_text())
    assert {"device", "gpu", "seed", "commit", "seconds", "bounds", "batch"} <= set(found)
    assert {"python", "torch", "numpy", "cuda"} == set(found["versions"])
    assert found["within_bounds"] and found["best_multiply_gflop_per_s"] > 0
    cases = [(row["loss"], row["optimiser"], row["precision"]) for row in found["compared"]]
    assert cases == [(*case, p) for case in gpu_check.CASES for p in gpu_check.BOUNDS]
    for row in found["compared"]:
        bounds = found["bounds"][row["precision"]]
        assert row["errors"].keys() == bounds.keys()
        assert all(0 <= row["errors"][name] <= bound for name, bound in bounds.items())
        assert row["errors"]["encoding"] > 0, "the reference was compared with itself"
    for row in found["timed"]:
        assert row["patterns_per_s"] > 0 and row["paper_hours"] > 0
        assert row["share_of_best_multiply"] > 0 and "peak_gib" in row
    if not torch.accelerator.is_available():
        assert not found["gpu"] and "This was not run on a GPU." in ran.stdout
    lines = [line for line in ran.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(found["compared"]) + len(found["timed"]) + 1


def test_a_broken_decoder_is_noticed(monkeypatch):
    whole = gpu_step.on_device

    def broken(network):
        with torch.no_grad():  # one bias of one layer
            network.decoder.layers[-5].bias[0] += 0.1
        return whole(network)

    monkeypatch.setattr(gpu_step, "on_device", broken)
    for row in gpu_check.compare(QUICK, 16, "vae", "adam"):
        bounds = gpu_check.BOUNDS[row["precision"]]
        assert not row["within"]
        assert row["errors"]["encoding"] <= bounds["encoding"]
        assert row["errors"]["decoding"] > bounds["decoding"]
    failed = {"dimension": 16, "mode": "as it is", "failed": "no memory"}
    monkeypatch.setattr(gpu_check, "compare", lambda *_: [row])
    monkeypatch.setattr(gpu_check, "measure", lambda *_: failed)
    assert gpu_check.main(["--quick", "--out", os.devnull]) == 1


def test_nan_is_no_small_error():
    assert gpu_check._error(torch.tensor([1.0, torch.nan]), torch.ones(2)) == np.inf
    assert gpu_check._error(torch.zeros(2), torch.zeros(2)) == 0


def test_what_cannot_be_measured_is_said(monkeypatch):
    monkeypatch.setitem(gpu_check.MODES, "as it is", {"compiled": "no such mode"})
    row = gpu_check.measure(QUICK, 16, "as it is", 1.0)
    assert row["failed"].startswith("RuntimeError") and "patterns_per_s" not in row


@pytest.mark.parametrize("module", [gpu_check, gpu_train])
def test_an_old_torch_is_refused_in_one_sentence(module, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1+cu128"))
    with pytest.raises(SystemExit, match=r"^torch 2\.9\.1.* is too old: install 2\.11 or later\.$"):
        module.main(["--quick"] if module is gpu_check else [])


@pytest.mark.parametrize(("loss", "optimiser"), gpu_check.CASES)
def test_the_step_is_the_trainers(loss, optimiser):
    """To the bit, with the values of study/models.py."""
    patterns, mask = load_sample()
    data = TrainingSet(patterns[:8].astype(np.float16), mask)
    settings = Training(epochs=2, batch_size=4, optimiser=optimiser)
    trainer = Trainer(Model(latent_dim=16, loss=loss), settings, data)
    stepper = gpu_step.Stepper(16, loss, mask, optimiser=optimiser)
    for step in range(3):
        torch.manual_seed(step)
        rate = Training().learning_rate * (step + 1) / gpu_step.TRAINING.warmup_steps
        stepper.take(trainer.batches(4 * step, 4), rate)
        torch.manual_seed(step)
        trainer.take_step()
    for ours, theirs in zip(stepper.parts.parameters(), trainer.parts.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_values_are_the_studys():
    model, training = Model(latent_dim=16).model_dump(), Training().model_dump()
    assert (gpu_step.TRAINING.__dict__ | gpu_step._DECAYS).items() <= training.items()
    ours = dict(gpu_step.MODEL.__dict__)
    ours["contrastive"] = dict(ours["contrastive"].__dict__)
    ours["contrastive"]["augmentation"] = ours["contrastive"]["augmentation"].__dict__
    assert ours.items() <= model.items()


def test_a_training_in_pieces_is_that_of_one_piece(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_train, "_DIMENSION", 16)
    monkeypatch.setattr(gpu_train, "_LINE_STEPS", 1)
    monkeypatch.setattr(gpu_train, "load_sample", lambda: [load_sample()[0][:6], load_sample()[1]])
    common = ["--committed", "--batch", "4", "--presentations", "12", "--checkpoint"]
    gpu_train.main([*common, str(tmp_path / "whole.pt")])
    assert "This is the end." in capsys.readouterr().out
    for piece in range(3):  # no time: each takes one step
        gpu_train.main([*common, str(tmp_path / "pieces.pt"), "--minutes", "0"])
        assert f"Step {piece + 1} of 3" in capsys.readouterr().out
    whole, pieces = (torch.load(tmp_path / name) for name in ("whole.pt", "pieces.pt"))
    assert pieces["losses"] == whole["losses"] and len(whole["losses"]) == 3
    for name, weights in whole["parts"].items():
        assert torch.equal(weights, pieces["parts"][name]), name
    with pytest.raises(SystemExit, match="is of other patterns or batches: move it away"):
        gpu_train.main([*common, str(tmp_path / "whole.pt"), "--batch", "2"])


def test_a_bare_machine_trains_on_the_committed_sample(tmp_path):
    options = ["--batch", 1, "--presentations", 1, "--checkpoint", tmp_path / "bare.pt"]
    ran = run_bare("benchmarks.gpu_train", *options)
    assert ran.returncode == 0, ran.stderr
    assert "is missing: the patterns are those of the committed sample." in ran.stdout
