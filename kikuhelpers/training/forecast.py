"""Before a training starts: what it will cost, and which latent dimensions will collapse."""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from torch.utils.flop_counter import FlopCounterMode

from kikuhelpers.runs.devices import device
from kikuhelpers.runs.results import Results
from kikuhelpers.study.models import NETWORK_INPUT_PX, Model
from kikuhelpers.training.loop import Trainer, training_steps
from kikuhelpers.training.sample import load_training_set
from kikuhelpers.training.vae import KikuchiVAE

_COLLAPSE_PATTERNS = 2000  # the first eigenvalues need no more
_CPU_BATCH = 32  # patterns of a timed step on a CPU, where larger batches are no faster
_FIRST_STEPS, _TIMED_STEPS = 1, 3  # the first ones compile and allocate
_BACKWARD_AND_FORWARD = 3  # operations of a training step per operation forwards
_VIEWS = {"vae": 1, "contrastive": 2}  # of a pattern that go through the network


@dataclass(frozen=True)
class Collapse:
    """What linear theory says of the latent dimensions of a beta-VAE.

    A linear VAE with this project's loss keeps the principal components whose variance
    (eigenvalue) is above beta and lets the others collapse to the prior (Lucas et al. 2019,
    1911.02469, with unit noise variance).
    """

    eigenvalues: np.ndarray  # of the training sample inside the mask, largest first
    beta: float
    latent_dim: int

    @property
    def kept(self) -> int:
        """Number of latent dimensions that linear theory keeps."""
        return int((self.eigenvalues > self.beta).sum())

    def __str__(self) -> str:
        dimensions = f"{self.kept} of {self.latent_dim} latent dimensions"
        return f"Linear theory keeps {dimensions} at beta = {self.beta:g}."


def forecast_collapse(results: Results, name: str) -> Collapse:
    """Compare beta with as many eigenvalues of the training sample as a model has dimensions."""
    study, data = results.study, load_training_set(results, name)
    model, rng = study.model(name), np.random.default_rng(study.seed)
    count = min(_COLLAPSE_PATTERNS, len(data))
    points = np.sort(rng.choice(len(data), count, replace=False))
    pixels = data.patterns[points][:, data.mask].astype(np.float32)
    components = min(model.latent_dim, *pixels.shape)
    pca = PCA(components, svd_solver="randomized", random_state=study.seed).fit(pixels)
    return Collapse(pca.explained_variance_, model.beta, model.latent_dim)


def estimate_cost(results: Results, name: str) -> pd.DataFrame:
    """Estimate the time of a training from a few steps of a throwaway network.

    The random state is left as it was, so that a training after it is the same as one without.

    Returns
    -------
    pandas.DataFrame
        Columns ``estimate``, ``value``, ``unit`` and ``basis``: speed, time and operations.
    """
    model, settings = results.study.model(name), results.study.training_of(name)
    data = load_training_set(results, name)
    steps, batch = training_steps(settings, len(data))
    timed = min(batch, _CPU_BATCH) if device().type == "cpu" else batch
    with torch.random.fork_rng():
        trainer = Trainer(model, settings.model_copy(update={"batch_size": timed}), data)
        for taken in (_FIRST_STEPS, _TIMED_STEPS):
            start = time.perf_counter()
            for _ in range(taken):
                trainer.take_step()
            trainer.check_finite()  # waits for the device
    rate = _TIMED_STEPS * timed / (time.perf_counter() - start)
    operations, here = training_operations(model) / 1e9, f"measured here, on {device()}"
    rows = [
        ("training speed", rate, "patterns/s", here),
        ("training time", steps * batch / rate / 3600, "h", here),
        ("operations", operations, "GFLOP per pattern", "counted, forwards times 3"),
    ]
    return pd.DataFrame(rows, columns=["estimate", "value", "unit", "basis"])


def training_operations(model: Model) -> float:
    """Count the floating-point operations of one training pattern from the layers' shapes."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        KikuchiVAE(model.latent_dim)(torch.empty(1, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX))
    return counter.get_total_flops() * _BACKWARD_AND_FORWARD * _VIEWS[model.loss]
