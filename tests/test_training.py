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

from kikuhelpers.latents.coding import load_model
from kikuhelpers.patterns.up2 import open_patterns, to_counts, to_intensity
from kikuhelpers.runs.devices import computed_precision
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_array
from kikuhelpers.runs.provenance import Record
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.models import Training
from kikuhelpers.study.stages import PREPROCESSING, TRAINING, Dependencies, Job
from kikuhelpers.training import held_out, losses
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.checkpoints import load_checkpoint
from kikuhelpers.training.growth import grow
from kikuhelpers.training.loop import Trainer, kl_factor, learning_rate_factor, train
from kikuhelpers.training.sample import _batch_points, load_training_set
from kikuhelpers.training.vae import KikuchiVAE
from tests.conftest import make_study, screen, write_scan


def give_sample(study, patterns=20, scan="wrought", mask=None):
    """Write a preprocessed scan of so many patterns, in two rows, all of them wanted."""
    mask = screen() if mask is None else mask
    files = Layout(study).scan(scan)
    rng = np.random.default_rng(0)
    bands = np.sin(np.linspace(0, 20, 120)) * rng.uniform(0.2, 0.8, (patterns, 1, 1))
    bands = np.where(screen(), bands + rng.normal(0, 0.05, (patterns, 120, 120)), -1)
    write_scan(files.preprocessed, to_counts(bands).reshape(2, -1, 120, 120))
    save_array(files.mask, mask)
    Record(Results(study), Job(PREPROCESSING, (scan,))).close()


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 9))
def test_every_epoch_shows_every_pattern_once(batch, patterns, seed):
    steps = 3 * patterns  # of size batch: batch * 3 whole epochs
    points = np.concatenate([_batch_points(i * batch, batch, patterns, seed) for i in range(steps)])
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
    linear = Training(epochs=1, warmup_steps=10, decay="linear")
    assert [learning_rate_factor(i, 110, linear) for i in (10, 60, 85)] == [1, 0.5, 0.25]


@pytest.mark.parametrize("loss", ["vae", "contrastive"])
def test_it_learns_and_leaves_a_card(loss):
    length = {"presentations": 320, "batch_size": 8, "warmup_steps": 5, "history_steps": 5}
    study = make_study(models={"m": {"latent_dim": 16, "loss": loss}}, training=length)
    give_sample(study)
    history = train(Results(study), "m")
    assert history["reconstruction"].iloc[-1] < 0.7 * history["reconstruction"].iloc[0]
    assert (history["best"] <= history["reconstruction"]).all()
    assert (history["worst"] >= history["reconstruction"]).all()
    assert (history["contrastive"] > 0).all() == (loss == "contrastive")
    files = Layout(study).model("m")
    card = json.loads(files.card.read_text())
    assert card["presentations"] == 320
    assert card["training"]["precision"] == computed_precision("auto")
    assert card["training"]["precision"] in ("bfloat16", "float32")
    Record(Results(study), Job(TRAINING, ("m",))).close()
    with safe_open(files.weights, "pt") as weights:
        assert weights.metadata() == {
            "fingerprint": Dependencies(study).fingerprint(Job(TRAINING, ("m",)))
        }
    assert not load_model(Results(study), "m").training


@pytest.mark.parametrize("dimension", [32, 64])
def test_a_grown_network_first_does_what_the_small_one_does(dimension):
    torch.manual_seed(0)
    small, large = KikuchiVAE(16), on_device(KikuchiVAE(dimension))
    for values in small.parameters():
        values.data += 0.01 * torch.randn_like(values)  # biases, too
    patterns = torch.rand(3, 1, 120, 120)
    before, _ = large.encode(patterns)
    grow(large, small.state_dict())
    codes = [network.encode(patterns) for network in (small, large)]
    for small_code, large_code in zip(*codes, strict=True):
        torch.testing.assert_close(large_code[:, :16], small_code, atol=1e-4, rtol=1e-4)
    assert codes[1][0][:, 16:].std() > 0.1 * before.std()  # new features are not dead
    latents = torch.cat([codes[0][0], torch.randn(3, dimension - 16)], dim=1)
    decoded = [small.decoder(latents[:, :16]), large.decoder(latents)]
    torch.testing.assert_close(*decoded, atol=1e-4, rtol=1e-4)


def test_a_model_grows_from_another_and_counts_what_that_one_saw():
    grown = {"presentations": 16, "batch_size": 8, "grown_from": "small", "history_steps": 1}
    models = {"small": {"latent_dim": 16}, "large": {"latent_dim": 32, "training": grown}}
    study = make_study(models=models, training={"presentations": 48, "batch_size": 8})
    give_sample(study)
    with pytest.raises(MissingResultError, match="models/small"):
        train(Results(study), "large")
    train(Results(study), "small")
    Record(Results(study), Job(TRAINING, ("small",))).close()
    history = train(Results(study), "large")
    assert list(history["presentations"]) == [56, 64]
    train(Results(study), "large")  # the same training: it has ended
    with pytest.MonkeyPatch.context() as other:  # another small network of the same settings
        other.setattr("kikuhelpers.training.loop.digest", lambda path: "other")
        other.setattr(Trainer, "take_step", lambda self: pytest.fail("not gone on with"))
        with pytest.raises(pytest.fail.Exception, match="not gone on with"):
            train(Results(study), "large")
    assert json.loads(Layout(study).model("large").card.read_text())["presentations"] == 64
    longer = make_study(models=models, training={"presentations": 56, "batch_size": 8})
    prints = [Dependencies(s).fingerprint(Job(TRAINING, ("large",))) for s in (study, longer)]
    assert prints[0] != prints[1]


def test_a_grown_network_is_shown_the_patterns_that_come_next(monkeypatch):
    grown = {"presentations": 12, "batch_size": 4, "grown_from": "small"}
    models = {"small": {"latent_dim": 16}, "large": {"latent_dim": 32, "training": grown}}
    study = make_study(models=models, training={"presentations": 8, "batch_size": 8})
    give_sample(study)
    points, found = _batch_points, []

    def watched(*given):
        found.append(points(*given))
        return found[-1]

    monkeypatch.setattr("kikuhelpers.training.sample._batch_points", watched)
    train(Results(study), "small")
    Record(Results(study), Job(TRAINING, ("small",))).close()
    train(Results(study), "large")
    assert sorted(np.concatenate(found)) == list(range(20)), "8 and 12 are all 20 patterns"


def test_the_history_can_be_watched():
    changes = {"presentations": 48, "batch_size": 8, "history_steps": 2}
    study = make_study(training=changes)
    give_sample(study)
    history = train(Results(study), "vae-16")
    files = Layout(study).model("vae-16")
    written = pd.read_csv(files.history)
    assert list(written["step"]) == [2, 4, 6]
    assert list(written["presentations"]) == [16, 32, 48]
    np.testing.assert_allclose(written["loss"], history["loss"])


def test_a_loss_that_explodes_stops_and_keeps_the_last_good_checkpoint(monkeypatch):
    changes = {"presentations": 64, "batch_size": 8, "history_steps": 100}
    study = make_study(training=changes | {"checkpoint_seconds": 1e-9})
    give_sample(study)
    files, whole = Layout(study).model("vae-16"), losses.reconstruction_loss
    calls = itertools.count()

    def explodes(*patterns):
        return whole(*patterns) * (float("nan") if next(calls) >= 3 else 1)

    monkeypatch.setattr(losses, "reconstruction_loss", explodes)
    with pytest.raises(SentenceError, match=r"at step 3 of 8 .*checkpoint is that of step 3"):
        train(Results(study), "vae-16")
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
    with pytest.raises(SentenceError, match=r"finite at step 0 of 8 .there is no checkpoint yet"):
        train(Results(study), "vae-16")
    assert not Layout(study).model("vae-16").weights.exists()


def test_departures_can_be_switched_off():
    paper = {"warmup_steps": 0, "gradient_clip": None, "log_variance_bounds": None}
    settings = make_study(training={"presentations": 24, "precision": "float32"} | paper)
    give_sample(settings)
    assert np.isfinite(train(Results(settings), "vae-16")["loss"]).all()
    network = KikuchiVAE(16, None)
    with torch.no_grad():
        network.encoder.head.bias += 50
    assert network.encode(torch.zeros(1, 1, 120, 120))[1].max() == 50


def test_kl_warm_up():
    settings = Training(epochs=1, kl_warmup_steps=10)
    assert [kl_factor(i, settings) for i in (0, 4, 9, 99)] == [0.1, 0.5, 1, 1]
    assert kl_factor(0, Training(epochs=1)) == 1


def two_scans():
    scan = make_study().scans["wrought"].model_dump()
    return make_study(scans={"wrought": scan, "am": scan})


def test_missing_or_empty_samples_get_one_sentence(monkeypatch):
    study = make_study(models={"blind": {"latent_dim": 16, "hold_out": {"scan": "wrought"}}})
    with pytest.raises(MissingResultError, match=r"not there yet\. Make it with: .*02_pre"):
        train(Results(study), "blind")
    give_sample(study)
    monkeypatch.setattr(held_out, "held_out_points", lambda *_: np.ones((2, 10), bool))
    with pytest.raises(SentenceError, match="training sample is empty"):
        train(Results(study), "blind")


def test_the_sample_is_of_all_scans():
    study = two_scans()
    give_sample(study, patterns=6)
    give_sample(study, patterns=4, scan="am")
    maps = (open_patterns(Layout(study).scan(name).preprocessed) for name in study.scans)
    together = np.concatenate([to_intensity(m.reshape(-1, 120, 120)) for m in maps])
    data = load_training_set(Results(study))
    np.testing.assert_array_equal(data.patterns, together.astype(np.float16))


def test_the_loss_sees_only_what_all_screens_share():
    study = two_scans()
    give_sample(study)
    give_sample(study, scan="am", mask=screen(30))
    assert (load_training_set(Results(study)).mask == screen(30)).all()
    give_sample(study, scan="am", mask=~screen())
    with pytest.raises(SentenceError, match="No pixel lies inside"):
        load_training_set(Results(study))


def test_held_out_points_are_never_drawn(monkeypatch):
    model = {"latent_dim": 16, "hold_out": {"scan": "wrought"}}
    study = make_study(models={"vae-16": {"latent_dim": 16}, "blind": model})
    give_sample(study, patterns=6)
    points = np.array([[True, False, False], [True, False, True]])
    monkeypatch.setattr(held_out, "held_out_points", lambda *_: points)
    results = Results(study)
    seen, everything = load_training_set(results, "blind"), load_training_set(results)
    assert len(everything) == 6
    np.testing.assert_array_equal(seen.patterns, everything.patterns[[1, 2, 4]])
    assert seen.digest() != everything.digest()
