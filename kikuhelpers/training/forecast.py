"""Before a training starts: what it will cost, and which latent dimensions will collapse."""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.runs.results import Results
from kikuhelpers.study.models import NETWORK_INPUT_PX, Model
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.loop import Trainer, training_steps
from kikuhelpers.training.sample import load_training_set
from kikuhelpers.training.vae import KikuchiVAE, count_parameters

COLLAPSE_PATTERNS = 2000  # the first eigenvalues need no more
_CPU_BATCH = 32  # patterns of a timed step on a CPU, where larger batches are no faster
_FIRST_STEPS, _TIMED_STEPS = 1, 3  # the first ones compile and allocate
_BACKWARD_AND_FORWARD = 3  # operations of a training step per operation forwards
_VIEWS = {"vae": 1, "contrastive": 2}  # of a pattern that go through the network
_BYTES_PER_WEIGHT = 16  # float32 weight, gradient and Adam's two moments


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
        return (
            f"Linear theory keeps {self.kept} of {self.latent_dim} latent dimensions at "
            f"beta = {self.beta:g}."
        )


def forecast_collapse(results: Results, name: str) -> Collapse:
    """Compare the eigenvalues of the training sample with beta.

    Parameters
    ----------
    results
        Of a study whose scans have been preprocessed.
    name
        The model's name in it.

    Returns
    -------
    Collapse
        As many eigenvalues as the model has latent dimensions, or as the sample gives.
    """
    study, data = results.study, load_training_set(results, name)
    model, rng = study.model(name), np.random.default_rng(study.seed)
    count = min(COLLAPSE_PATTERNS, len(data))
    points = np.sort(rng.choice(len(data), count, replace=False))
    pixels = data.patterns[points][:, data.mask].astype(np.float32)
    components = min(model.latent_dim, *pixels.shape)
    pca = PCA(components, svd_solver="randomized", random_state=study.seed).fit(pixels)
    return Collapse(pca.explained_variance_, model.beta, model.latent_dim)


def estimate_cost(results: Results, name: str) -> pd.DataFrame:
    """Estimate time and memory of a training from a few steps of a throwaway network.

    Parameters
    ----------
    results
        Of a study whose scans have been preprocessed.
    name
        The model's name in it.

    Returns
    -------
    pandas.DataFrame
        Columns ``estimate``, ``value``, ``unit`` and ``basis``. The random state is left
        as it was, so that a training after it is the same as one without.
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
    activations = activation_bytes(model.latent_dim, settings.precision) * _VIEWS[model.loss]
    operations = training_operations(model)
    weights = count_parameters(trainer.parts) * _BYTES_PER_WEIGHT
    here = f"measured here, on {device()}"
    rows = [
        ("training speed", rate, "patterns/s", here),
        ("training time", steps * batch / rate / 3600, "h", here),
        ("operations", operations / 1e9, "GFLOP per pattern", "counted, forwards times 3"),
        ("weights and Adam", weights / 1e9, "GB", "counted"),
        ("activations of a batch", activations * batch / 1e9, "GB", "measured on one pattern"),
        ("sample", data.patterns.nbytes / 1e9, "GB", "counted"),
    ]
    return pd.DataFrame(rows, columns=["estimate", "value", "unit", "basis"])


def training_operations(model: Model) -> float:
    """Count the floating-point operations of one training pattern from the layers' shapes."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        KikuchiVAE(model.latent_dim)(torch.empty(1, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX))
    return counter.get_total_flops() * _BACKWARD_AND_FORWARD * _VIEWS[model.loss]


def activation_bytes(latent_dim: int, precision: str) -> int:
    """Measure what the network keeps of one pattern between forward and backward."""

    def kept_bytes(patterns: int) -> int:
        kept = []
        with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda _: _):
            network(zeros[:patterns])
        storages = [tensor.untyped_storage() for tensor in kept]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    with torch.random.fork_rng(), arithmetic(precision):
        network = on_device(KikuchiVAE(latent_dim))
        zeros = torch.zeros(2, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX, device=device())
        # What does not grow with the batch, such as copies of the weights, cancels.
        return kept_bytes(2) - kept_bytes(1)
