"""The training loop: every pattern is shown, a killed run goes on the same, faults stop it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kikuhelpers import training
from kikuhelpers.layout import Layout
from kikuhelpers.study import Training
from kikuhelpers.training import TrainingError, batch_points, learning_rate_factor, train
from tests.conftest import make_study, screen


def give_sample(study, patterns=40, scan="wrought"):
    files = Layout(study).scan(scan)
    files.folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    bands = np.sin(np.linspace(0, 20, 120)) * rng.uniform(0.2, 0.8, (patterns, 1, 1))
    sample = np.where(screen(), bands + rng.normal(0, 0.05, (patterns, 120, 120)), -1)
    np.save(files.sample, sample.astype(np.float16))
    np.save(files.mask, screen())


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 9))
def test_every_epoch_shows_every_pattern_once(batch, patterns, seed):
    steps = 3 * patterns  # of size batch: batch * 3 whole epochs
    points = np.concatenate([batch_points(i, batch, patterns, seed) for i in range(steps)])
    epochs = points.reshape(-1, patterns)
    assert (np.sort(epochs, axis=1) == np.arange(patterns)).all()


def test_learning_rate_warms_up_and_decays():
    settings = Training(epochs=1, warmup_steps=10, decay="cosine")
    factors = [learning_rate_factor(i, 110, settings) for i in range(110)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1
    assert factors[60] == pytest.approx(0.5)
    assert factors[-1] < 0.001
    assert learning_rate_factor(99, 110, Training(epochs=1, warmup_steps=0)) == 1


@pytest.mark.parametrize("loss", ["vae", "contrastive"])
def test_it_learns_and_leaves_a_card(loss):
    length = {"presentations": 320, "batch_size": 8, "warmup_steps": 5, "history_steps": 5}
    study = make_study(models={"m": {"latent_dim": 16, "loss": loss}}, training=length)
    give_sample(study)
    history = train(study, "m")
    assert history["reconstruction"].iloc[-1] < 0.7 * history["reconstruction"].iloc[0]
    assert (history["best"] <= history["reconstruction"]).all()
    assert (history["worst"] >= history["reconstruction"]).all()
    assert (history["contrastive"] > 0).all() == (loss == "contrastive")
    files = Layout(study).model("m")
    card = json.loads(files.card.read_text())
    assert card["presentations"] == 320
    assert not files.checkpoint.exists()
    network = training.load_model(study, "m")
    assert not network.training


def test_a_killed_run_ends_in_the_same_weights(tmp_path, monkeypatch):
    def weights(folder, kill_after):
        monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path / folder))
        changes = {"presentations": 64, "batch_size": 8, "warmup_steps": 2, "history_steps": 3}
        study = make_study(training=changes | {"checkpoint_seconds": 1e-9})
        give_sample(study)
        if kill_after:
            whole = training._Run._update

            def dies(run):
                if run.step == kill_after:
                    raise KeyboardInterrupt
                return whole(run)

            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(training._Run, "_update", dies)
                train(study, "vae-16")
        history = train(study, "vae-16")
        return training.load_file(Layout(study).model("vae-16").weights), history

    (whole, history), (resumed, again) = weights("a", 0), weights("b", 5)
    for name, values in whole.items():
        assert torch.equal(values, resumed[name]), name
    assert history.drop(columns="seconds").equals(again.drop(columns="seconds"))


def test_a_loss_that_explodes_stops_with_one_sentence(monkeypatch):
    study = make_study()
    give_sample(study)
    monkeypatch.setattr(
        training, "kl_divergence", lambda mean, log_variance: mean * torch.tensor(float("nan"))
    )
    with pytest.raises(TrainingError, match="no longer finite at step 0"):
        train(study, "vae-16")
    assert not Layout(study).model("vae-16").weights.exists()


def test_missing_or_empty_samples_get_one_sentence(study):
    with pytest.raises(FileNotFoundError, match="run notebook 02_preprocessing first"):
        train(study, "vae-16")
    give_sample(study, patterns=0)
    with pytest.raises(TrainingError, match="training sample is empty"):
        train(study, "vae-16")


def test_the_loss_sees_only_what_all_screens_share():
    scan = make_study().scans["wrought"].model_dump()
    study = make_study(scans={"wrought": scan, "am": scan})
    give_sample(study)
    give_sample(study, scan="am")
    np.save(Layout(study).scan("am").mask, screen(30))
    assert (training.load_training_set(study).mask == screen(30)).all()
    np.save(Layout(study).scan("am").mask, ~screen())
    with pytest.raises(TrainingError, match="No pixel lies inside"):
        training.load_training_set(study)
