"""A model that was trained elsewhere takes part in a study like one that was trained there."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kikuhelpers.latents.coding import encode, load_model
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.results import Results
from kikuhelpers.study import StudyError, load_study
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import TRAINING, Job
from kikuhelpers.training.loop import train
from kikuhelpers.training.vae import KikuchiVAE
from tests.conftest import stamp


def study_with(weights: str, latent_dim: int = 16):
    return load_study("smoke", {"models.mine": {"latent_dim": latent_dim, "weights": weights}})


@pytest.fixture(autouse=True)
def results_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("KIKUHELPERS_ARCHIVE", raising=False)


def test_weights_of_another_studys_archive():
    study = study_with("in718_rx/vae-16")
    history = train(Results(study), "mine")
    assert history["presentations"].iloc[-1] == 60000
    stamp(study, TRAINING, "mine")
    results = Results(study)
    card = results.model("mine").card
    assert card["weights"] == "in718_rx/vae-16" and card["last"]["reconstruction"] < 100
    theirs = Results(load_study("in718_rx"), archive=True).model("vae-16").weights
    patterns = np.random.default_rng(0).integers(0, 2**16, (1, 2, 120, 120), np.uint16)
    found = encode(load_model(results, "mine"), patterns, "float32")
    network = KikuchiVAE(16)
    network.load_state_dict(theirs)
    np.testing.assert_allclose(found, encode(network.eval(), patterns, "float32"), atol=1e-5)


def test_weights_of_a_file(tmp_path):
    save_file(KikuchiVAE(16).state_dict(), tmp_path / "w.safetensors")
    study = study_with(str(tmp_path / "w.safetensors"))
    assert Layout(study).dependencies.needs(Job(TRAINING, ("mine",))) == []
    assert np.isnan(train(Results(study), "mine")["loss"].astype(float)).all()
    stamp(study, TRAINING, "mine")
    assert torch.is_tensor(next(iter(Results(study).model("mine").weights.values())))


def test_other_weights_are_other_settings(tmp_path):
    path, job = tmp_path / "w.safetensors", Job(TRAINING, ("mine",))
    found = set()
    for seed in range(2):
        torch.manual_seed(seed)
        save_file(KikuchiVAE(16).state_dict(), path)
        found.add(Layout(study_with(str(path))).dependencies.fingerprint(job))
    found.add(Layout(study_with("in718_rx/vae-16")).dependencies.fingerprint(job))
    found.add(Layout(study_with("in718_rx/vae-32")).dependencies.fingerprint(job))
    assert len(found) == 4


@pytest.mark.parametrize(
    ("weights", "latent_dim", "sentence"),
    [
        ("gone.safetensors", 16, r"There are no weights .*gone.safetensors of model 'mine'"),
        ("{folder}/gone.yaml/vae-16", 16, "There is no study '.*gone.yaml'"),
        ("in718_rx/vae-17", 16, "no model 'vae-17'"),
        ("in718_ry/vae-16", 16, "There is no study 'in718_ry'"),
        ("in718_rx/vae-16", 32, "are not of a network of 32 latent dimensions"),
        ("in718_rx/vae-256", 256, "is not there yet. Make it with: python -m kikuhelpers in718_rx"),
    ],
)
def test_weights_that_do_not_serve(tmp_path, weights, latent_dim, sentence):
    weights = weights.format(folder=tmp_path)
    with pytest.raises(SentenceError, match=sentence) as error:
        train(Results(study_with(weights, latent_dim)), "mine")
    assert "\n" not in str(error.value)


def test_a_model_is_trained_here_or_elsewhere():
    with pytest.raises(StudyError, match=r"models.mine.* with weights is not trained"):
        load_study(
            "smoke",
            {
                "models.mine": {
                    "latent_dim": 16,
                    "weights": "in718_rx/vae-16",
                    "training": {"epochs": 1},
                }
            },
        )
