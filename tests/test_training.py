"""The training loop: every pattern is shown, the history is told, faults stop it."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from kikuhelpers.runs.devices import computed_precision
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Training
from kikuhelpers.training import losses
from kikuhelpers.training.checkpoints import load_checkpoint
from kikuhelpers.training.loop import kl_factor, learning_rate_factor, load_model, train
from kikuhelpers.training.sample import TrainingError, batch_points, load_training_set
from kikuhelpers.training.vae import KikuchiVAE
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
    assert card["precision"] == card["training"]["precision"] == computed_precision("auto")
    assert card["precision"] in ("bfloat16", "float32")
    with safe_open(files.weights, "pt") as weights:
        assert weights.metadata()["fingerprint"]
    assert not load_model(study, "m").training


def test_the_history_can_be_watched_and_names_every_dimension():
    changes = {"presentations": 48, "batch_size": 8, "history_steps": 2}
    study = make_study(training=changes)
    give_sample(study)
    history = train(study, "vae-16")
    files = Layout(study).model("vae-16")
    written = pd.read_csv(files.history)
    assert list(written["step"]) == [2, 4, 6]
    assert list(written["presentations"]) == [16, 32, 48]
    np.testing.assert_allclose(written["loss"], history["loss"])
    kl = pd.read_csv(files.kl)
    assert list(kl["step"]) == [2, 4, 6]
    np.testing.assert_allclose(kl.drop(columns="step").sum(axis=1), history["kl"], rtol=1e-5)


def test_a_loss_that_explodes_stops_and_keeps_the_last_good_checkpoint(monkeypatch):
    changes = {"presentations": 64, "batch_size": 8, "history_steps": 100}
    study = make_study(training=changes | {"checkpoint_seconds": 1e-9})
    give_sample(study)
    files, whole = Layout(study).model("vae-16"), losses.reconstruction_loss
    calls = itertools.count()

    def explodes(*patterns):
        return whole(*patterns) * (float("nan") if next(calls) >= 3 else 1)

    monkeypatch.setattr(losses, "reconstruction_loss", explodes)
    with pytest.raises(TrainingError, match=r"at step 3 of 8 .*checkpoint is that of step 3"):
        train(study, "vae-16")
    assert not files.weights.exists()
    state = load_checkpoint(files)
    assert state["progress"]["step"] == 3
    assert all(value.isfinite().all() for value in state["parts"].values())


def test_a_fault_is_found_at_a_line_of_the_history(monkeypatch):
    study = make_study()
    give_sample(study)
    monkeypatch.setattr(
        losses, "kl_divergence", lambda mean, log_variance: mean * torch.tensor(float("nan"))
    )
    with pytest.raises(TrainingError, match=r"finite at step 0 of 8 .there is no checkpoint yet"):
        train(study, "vae-16")
    assert not Layout(study).model("vae-16").weights.exists()


def test_departures_can_be_switched_off():
    paper = {"warmup_steps": 0, "gradient_clip": None, "log_variance_bounds": None}
    settings = make_study(training={"presentations": 24, "precision": "float32"} | paper)
    give_sample(settings)
    assert np.isfinite(train(settings, "vae-16")["loss"]).all()
    network = KikuchiVAE(16, None)
    with torch.no_grad():
        network.encoder.head.bias += 50
    assert network.encode(torch.zeros(1, 1, 120, 120))[1].max() == 50


def test_kl_warm_up():
    settings = Training(epochs=1, kl_warmup_steps=10)
    assert [kl_factor(i, settings) for i in (0, 4, 9, 99)] == [0.1, 0.5, 1, 1]
    assert kl_factor(0, Training(epochs=1)) == 1


def test_missing_or_empty_samples_get_one_sentence(study):
    with pytest.raises(FileNotFoundError, match="run notebook 02_preprocessing first"):
        train(study, "vae-16")
    give_sample(study, patterns=0)
    with pytest.raises(TrainingError, match="training sample is empty"):
        train(study, "vae-16")


def test_batches_span_the_shares_of_all_scans():
    scan = make_study().scans["wrought"].model_dump()
    study = make_study(scans={"wrought": scan, "am": scan})
    give_sample(study, patterns=5)
    give_sample(study, patterns=3, scan="am")
    data = load_training_set(study)
    together = np.concatenate(data.shares)
    points = np.array([7, 0, 4, 5, 0])
    np.testing.assert_array_equal(data.gather(points), together[points])


def test_the_loss_sees_only_what_all_screens_share():
    scan = make_study().scans["wrought"].model_dump()
    study = make_study(scans={"wrought": scan, "am": scan})
    give_sample(study)
    give_sample(study, scan="am")
    np.save(Layout(study).scan("am").mask, screen(30))
    assert (load_training_set(study).mask == screen(30)).all()
    np.save(Layout(study).scan("am").mask, ~screen())
    with pytest.raises(TrainingError, match="No pixel lies inside"):
        load_training_set(study)


def test_held_out_points_are_never_drawn():
    model = {"latent_dim": 16, "hold_out": {"scan": "wrought"}}
    study = make_study(models={"vae-16": {"latent_dim": 16}, "blind": model})
    give_sample(study, patterns=6)
    layout = Layout(study)
    np.save(layout.scan("wrought").sample_points, np.array([0, 2, 3, 5, 6, 8]))
    layout.model("blind").folder.mkdir(parents=True)
    np.save(layout.model("blind").held_out, np.isin(np.arange(9), [0, 1, 5]).reshape(3, 3))
    seen, everything = load_training_set(study, "blind"), load_training_set(study)
    assert seen.numbers.tolist() == [1, 2, 4, 5] and len(everything) == 6
    np.testing.assert_array_equal(seen.gather(np.arange(4)), everything.gather(seen.numbers))
    assert seen.digest() != everything.digest()
