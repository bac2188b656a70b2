"""One training loop for all losses: batch, forward, backward, clip, step, log, checkpoint.

Adam as in the paper (learning rate 0.001, decays 0.9 and 0.999, batches of 256, 250
epochs). Departures are named in the study's ``training`` settings: warm-up, clipping, a
bounded log-variance, a decaying rate, bfloat16. A run can be killed at any moment and
goes on from its last checkpoint, with the same batches and the same noise.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kikuhelpers.augmentation import augment
from kikuhelpers.files import require, save_json, written_aside
from kikuhelpers.layout import Layout, ModelFiles
from kikuhelpers.losses import ProjectionHead, kl_divergence, nt_xent, reconstruction_loss
from kikuhelpers.progress import progress_bar
from kikuhelpers.study import Model, Study, Training
from kikuhelpers.vae import KikuchiVAE, count_parameters, start_glorot

ACTIVE_VARIANCE = 0.01  # of a latent mean over patterns; Burda et al. 2015, 1509.00519
_PREPROCESSING = "notebook 02_preprocessing"


class TrainingError(RuntimeError):
    """A training that cannot start or go on; the message is one sentence for its user."""


@dataclass(frozen=True)
class TrainingSet:
    """The training sample of a study and the screen that all its scans share."""

    patterns: Tensor  # (n, 1, height, width) float16 in [-1, 1]
    mask: np.ndarray  # (height, width) bool


def load_training_set(study: Study) -> TrainingSet:
    """Gather the shares of all scans; the loss sees the pixels inside every screen."""
    layout = Layout(study)
    scans = [layout.scan(name) for name, s in study.scans.items() if s.training_patterns]
    shares = [np.load(require(scan.sample, _PREPROCESSING), mmap_mode="r") for scan in scans]
    if not sum(map(len, shares)):
        raise TrainingError("The training sample is empty: give a scan more training_patterns.")
    mask = np.logical_and.reduce([np.load(require(scan.mask, _PREPROCESSING)) for scan in scans])
    if not mask.any():
        raise TrainingError("No pixel lies inside the screens of all scans; check their masks.")
    patterns = torch.from_numpy(np.concatenate(shares)).unsqueeze(1)
    return TrainingSet(patterns, mask)


def train(study: Study, name: str) -> pd.DataFrame:
    """Train one model of a study, or go on with it, and write its weights.

    Parameters
    ----------
    study
        The study.
    name
        The model's name in it.

    Returns
    -------
    pandas.DataFrame
        The loss history, one row per ``history_steps`` steps; means over these steps,
        ``best`` and ``worst`` the lowest and highest reconstruction loss of a pattern.

    Raises
    ------
    TrainingError
        Empty sample; a loss that is no longer finite.
    """
    files, model = Layout(study).model(name), study.model(name)
    settings, data = study.training_of(name), load_training_set(study)
    run = _Run(model, settings, data)
    run.resume(files)
    run.go(files)
    _save_model(files, run, name)
    files.checkpoint.unlink(missing_ok=True)
    return pd.DataFrame(run.history)


def load_model(study: Study, name: str) -> KikuchiVAE:
    """Return a trained model on the device at hand, ready to encode and decode."""
    files = Layout(study).model(name)
    bounds = study.training_of(name).log_variance_bounds
    model = KikuchiVAE(study.model(name).latent_dim, bounds)
    model.load_state_dict(load_file(require(files.weights, "notebook 03_training")))
    return model.to(device(), memory_format=torch.channels_last).eval()


def device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")


def arithmetic(precision: str) -> torch.autocast:
    """Return the autocast context of a precision; "auto" is bfloat16 where it is fast."""
    where = device().type
    fast = torch.cuda.is_bf16_supported() if where == "cuda" else False
    if where == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported()
    enabled = precision == "bfloat16" or (precision == "auto" and fast)
    return torch.autocast(where, torch.bfloat16, enabled=enabled)


def training_steps(settings: Training, patterns: int) -> tuple[int, int]:
    """Return (steps, batch size) for a sample of so many patterns."""
    batch = min(settings.batch_size, patterns)
    presentations = settings.presentations or settings.epochs * patterns
    return max(1, math.ceil(presentations / batch)), batch


def learning_rate_factor(step: int, steps: int, settings: Training) -> float:
    """Return the learning rate at a step as a fraction of the full one."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.decay == "none":
        return 1.0
    done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def batch_points(step: int, batch: int, patterns: int, seed: int) -> np.ndarray:
    """Return the sample points of a batch: each epoch shows every pattern once.

    A pure function of the step, so that a resumed run needs no saved order.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs = positions // patterns
    points = np.empty(batch, np.int64)
    for epoch in np.unique(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(patterns)
        points[epochs == epoch] = order[positions[epochs == epoch] % patterns]
    return points


class _Run:
    """The state of one training."""

    def __init__(self, model: Model, settings: Training, data: TrainingSet):
        torch.manual_seed(model.seed)
        self.model, self.settings, self.data = model, settings, data
        self.steps, self.batch = training_steps(settings, len(data.patterns))
        self.step, self.seconds = 0, 0.0
        self.history, self.window = [], []  # lines so far; terms of the steps since the last
        self.network = KikuchiVAE(model.latent_dim, settings.log_variance_bounds)
        parts = nn.ModuleDict({"vae": self.network})
        if model.loss == "contrastive":
            head = model.contrastive
            parts["head"] = ProjectionHead(model.latent_dim, head.head_width, head.projection_dim)
            parts["head"].apply(start_glorot)
        self.parts = parts.to(device(), memory_format=torch.channels_last)
        self.mask = torch.from_numpy(data.mask).to(device(), torch.float32)
        self.optimiser = torch.optim.Adam(
            self.parts.parameters(),
            lr=settings.learning_rate,
            betas=(settings.gradient_decay, settings.squared_gradient_decay),
        )

    def go(self, files: ModelFiles) -> None:
        """Train to the end, with a checkpoint every ``checkpoint_seconds``."""
        saved = time.monotonic()
        start = saved - self.seconds
        bar = progress_bar(self.steps, "training", "step", self.step)
        while self.step < self.steps:
            self.window.append(self._update())
            self.step += 1
            self.seconds = time.monotonic() - start
            bar.update()
            if self.step % self.settings.history_steps == 0 or self.step == self.steps:
                self.history.append(self._summary())
                self.window = []
                bar.set_postfix(loss=f"{self.history[-1]['loss']:.1f}", refresh=False)
            if time.monotonic() - saved > self.settings.checkpoint_seconds:
                self._checkpoint(files)
                saved = time.monotonic()
        bar.close()

    def _update(self) -> dict[str, float]:
        """Take one step; return its loss terms."""
        points = batch_points(self.step, self.batch, len(self.data.patterns), self.model.seed)
        batch = self.data.patterns[torch.from_numpy(points)].to(device(), torch.float32)
        batch = batch.contiguous(memory_format=torch.channels_last)
        rate = self.settings.learning_rate
        rate *= learning_rate_factor(self.step, self.steps, self.settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with arithmetic(self.settings.precision):
            terms = self._losses(batch)
        if not torch.isfinite(terms["loss"]):
            raise TrainingError(
                f"The loss is no longer finite at step {self.step} of {self.steps}: lower the "
                "learning_rate or gradient_clip, or lengthen warmup_steps."
            )
        self.optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(self.parts.parameters(), self.settings.gradient_clip)
        self.optimiser.step()
        return {key: float(value.detach()) for key, value in terms.items()} | {
            "learning_rate": rate
        }

    def _losses(self, batch: Tensor) -> dict[str, Tensor]:
        """Loss terms of one batch; both contrastive views go through in one pass."""
        contrastive, views, target = torch.zeros(()), batch, batch
        if "head" in self.parts:
            kinds = self.model.contrastive.augmentation
            views = torch.cat([augment(batch, kinds), augment(batch, kinds)])
            target = torch.cat([batch, batch])
        decoded, mean, log_variance = self.network(views)
        reconstruction = reconstruction_loss(decoded, target, self.mask)
        kl = kl_divergence(mean, log_variance).sum(dim=1).mean()
        loss = reconstruction.mean() + self.model.beta * kl
        if "head" in self.parts:
            first, second = self.parts["head"](mean).chunk(2)
            contrastive = nt_xent(first, second, self.model.contrastive.temperature)
            loss = loss + self.model.contrastive.weight * contrastive
        return {
            "loss": loss,
            "reconstruction": reconstruction.mean(),
            "kl": kl,
            "contrastive": contrastive,
            "best": reconstruction.min(),
            "worst": reconstruction.max(),
            "active_units": (mean.var(dim=0) > ACTIVE_VARIANCE).sum(),
        }

    def _summary(self) -> dict:
        """One line of the history from the terms of the last steps."""
        terms = pd.DataFrame(self.window)
        presentations = self.step * self.batch
        line = {
            "step": self.step,
            "epoch": presentations / len(self.data.patterns),
            "presentations": presentations,
        }
        line |= terms.mean().to_dict()
        line |= {"best": float(terms["best"].min()), "worst": float(terms["worst"].max())}
        return line | {"seconds": self.seconds}

    def _checkpoint(self, files: ModelFiles) -> None:
        files.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "settings": self._fingerprint(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "window": self.window,
            "parts": self.parts.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
        }
        with written_aside(files.checkpoint) as temporary:
            torch.save(state, temporary)

    def resume(self, files: ModelFiles) -> None:
        """Take up the last checkpoint, if there is one of the same settings."""
        if not files.checkpoint.is_file():
            return
        state = torch.load(files.checkpoint, map_location=device(), weights_only=True)
        if state["settings"] != self._fingerprint():
            return
        self.parts.load_state_dict(state["parts"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        self.step, self.seconds = state["step"], state["seconds"]
        self.history, self.window = state["history"], state["window"]

    def _fingerprint(self) -> str:
        """What must be the same for a checkpoint to be of use."""
        sample = len(self.data.patterns)
        model = self.model.model_dump_json(exclude={"training"})
        return f"{model}{self.settings.model_dump_json()}{sample}"


def _save_model(files: ModelFiles, run: _Run, name: str) -> None:
    files.folder.mkdir(parents=True, exist_ok=True)
    with written_aside(files.history) as temporary:
        pd.DataFrame(run.history).to_csv(temporary, index=False)
    weights = {key: value.cpu().contiguous() for key, value in run.network.state_dict().items()}
    card = {
        "model": name,
        "settings": run.model.model_dump(),
        "training": run.settings.model_dump(),
        "patterns": len(run.data.patterns),
        "presentations": run.step * run.batch,
        "parameters": {
            "encoder": count_parameters(run.network.encoder),
            "decoder": count_parameters(run.network.decoder),
        },
        "device": str(device()),
        "seconds": run.seconds,
        "last": run.history[-1],
    }
    save_json(files.card, card)
    with written_aside(files.weights) as temporary:
        save_file(weights, temporary, metadata={"model": name, "format": "pt"})
