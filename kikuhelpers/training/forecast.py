"""Before a training starts: what it will cost, and which latent dimensions will collapse."""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from torch.utils.flop_counter import FlopCounterMode

from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import NETWORK_INPUT_PX, Model, Study, Training
from kikuhelpers.training.loop import Run, training_steps
from kikuhelpers.training.sample import TrainingSet, load_training_set
from kikuhelpers.training.vae import KikuchiVAE

COLLAPSE_PATTERNS = 2000  # the first eigenvalues need no more
_CPU_BATCH = 32  # patterns of a timed step on a CPU, where larger batches are no faster
_FIRST_STEPS, _TIMED_STEPS = 1, 3  # the first ones compile and allocate
_BACKWARD_AND_FORWARD = 3  # operations of a training step per operation forwards
_BYTES_PER_WEIGHT = 16  # float32 weight, gradient and Adam's two moments

# A GPU to estimate for: bfloat16 with float32 sums, dense, as rated in NVIDIA's "Ada GPU
# architecture" white paper (2023), appendix A. What part of it convolutions of few
# channels reach was not measured: an assumption.
GPU = "RTX 4090"
GPU_FLOPS = 165.2e12
GPU_UTILISATION = 0.25
PAPER_HOURS = {"vae": 6.0, "contrastive": 40.0}  # on that GPU (paper, Methods)
PAPER_PRESENTATIONS = 250 * 96_000


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


def forecast_collapse(study: Study, name: str) -> Collapse:
    """Compare the eigenvalues of the training sample with beta.

    Parameters
    ----------
    study
        A study whose training sample has been drawn.
    name
        The model's name in it.

    Returns
    -------
    Collapse
        As many eigenvalues as the model has latent dimensions, or as the sample gives.
    """
    model, data = study.model(name), load_training_set(study, name)
    rng = np.random.default_rng(study.seed)
    count = min(COLLAPSE_PATTERNS, len(data))
    points = np.sort(rng.choice(len(data), count, replace=False))
    pixels = data.gather(points)[:, data.mask].astype(np.float32)
    components = min(model.latent_dim, *pixels.shape)
    pca = PCA(components, svd_solver="randomized", random_state=study.seed).fit(pixels)
    return Collapse(pca.explained_variance_, model.beta, model.latent_dim)


def estimate_cost(study: Study, name: str) -> pd.DataFrame:
    """Estimate time and memory of a training from a few steps of a throwaway network.

    Parameters
    ----------
    study
        The study; if its training sample is not there yet, random patterns are timed.
    name
        The model's name in it.

    Returns
    -------
    pandas.DataFrame
        Columns ``estimate``, ``value``, ``unit`` and ``basis``. The random state is left
        as it was, so that a training after it is the same as one without.
    """
    model, settings = study.model(name), study.training_of(name)
    data, basis = _sample(study, settings)
    patterns = sum(scan.training_patterns for scan in study.scans.values())
    patterns = len(data) if basis.startswith("measured") else patterns
    steps, batch = training_steps(settings, patterns)
    rate = _patterns_per_second(model, settings, data, batch)
    operations = training_operations(model)
    sustained = GPU_FLOPS * GPU_UTILISATION
    views = 2 if model.loss == "contrastive" else 1
    kept = activation_bytes(model.latent_dim, settings.precision) * batch * views
    weights = sum(p.numel() for p in _on_meta(model.latent_dim).parameters())
    sample = patterns * NETWORK_INPUT_PX**2 * np.dtype(np.float16).itemsize
    gpu = f"ESTIMATE: at {GPU_UTILISATION:.0%} of its rated {GPU_FLOPS / 1e12:g} TFLOP/s"
    paper = "as the paper prints it, whatever the latent dimension"
    as_the_paper = operations * PAPER_PRESENTATIONS / sustained / 3600
    rows = [
        ("training speed", rate, "patterns/s", basis),
        ("training time", steps * batch / rate / 3600, "h", basis),
        ("operations", operations / 1e9, "GFLOP per pattern", "counted, forwards times 3"),
        ("arithmetic speed", operations * rate / 1e9, "GFLOP/s", basis),
        ("weights and Adam", weights * _BYTES_PER_WEIGHT / 1e9, "GB", "counted"),
        ("activations of a batch", kept / 1e9, "GB", "measured on one pattern"),
        ("sample", sample / 1e9, "GB", "counted"),
        (f"training time, {GPU}", operations * steps * batch / sustained / 3600, "h", gpu),
        (f"paper's training, {GPU}", as_the_paper, "h", gpu),
        ("paper's training, its own time", PAPER_HOURS[model.loss], "h", paper),
    ]
    return pd.DataFrame(rows, columns=["estimate", "value", "unit", "basis"])


def training_operations(model: Model) -> float:
    """Count the floating-point operations of one training pattern from the layers' shapes."""
    network = _on_meta(model.latent_dim)
    pattern = torch.empty(1, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX, device="meta")
    with FlopCounterMode(display=False) as counter:
        network(pattern)
    views = 2 if model.loss == "contrastive" else 1
    return counter.get_total_flops() * _BACKWARD_AND_FORWARD * views


def activation_bytes(latent_dim: int, precision: str) -> int:
    """Measure what the network keeps of one pattern between forward and backward."""
    with torch.random.fork_rng():
        network = KikuchiVAE(latent_dim).to(device(), memory_format=torch.channels_last)
        patterns = torch.zeros(2, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX, device=device())
        # What does not grow with the batch, such as copies of the weights, cancels.
        one, two = (_kept_bytes(network, patterns[:n], precision) for n in (1, 2))
    return two - one


def _kept_bytes(network: KikuchiVAE, patterns: torch.Tensor, precision: str) -> int:
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with hooks, arithmetic(precision):
        outputs = network(patterns)
    del outputs  # only now may a storage's address be used again
    return sum(kept.values())


def _on_meta(latent_dim: int) -> KikuchiVAE:
    """The network's shapes without its values."""
    with torch.device("meta"):
        return KikuchiVAE(latent_dim)


def _sample(study: Study, settings: Training) -> tuple[TrainingSet, str]:
    """The training sample, or random patterns in its place, and what a time then rests on."""
    layout = Layout(study)
    scans = [layout.scan(name) for name, s in study.scans.items() if s.training_patterns]
    if all(scan.sample.is_file() and scan.mask.is_file() for scan in scans):
        return load_training_set(study), f"measured here, on {device()}"
    shape = (settings.batch_size, NETWORK_INPUT_PX, NETWORK_INPUT_PX)
    patterns = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float16)
    basis = f"ESTIMATE: timed here, on {device()}, with random patterns (no sample yet)"
    everything = np.arange(len(patterns))
    return TrainingSet([patterns], np.ones(shape[1:], bool), everything), basis


def _patterns_per_second(model: Model, settings: Training, data: TrainingSet, batch: int) -> float:
    batch = min(batch, _CPU_BATCH) if device().type == "cpu" else batch
    short = {"batch_size": batch, "epochs": None, "presentations": batch * _TIMED_STEPS}
    with torch.random.fork_rng():
        run = Run(model, settings.model_copy(update=short), data)
        for _ in range(_FIRST_STEPS):
            run.update()
        run.history.fault()  # waits for the device
        start = time.perf_counter()
        for _ in range(_TIMED_STEPS):
            run.update()
        run.history.fault()
        return _TIMED_STEPS * run.batch / (time.perf_counter() - start)
