"""One training loop for all losses: batch, forward, backward, clip, step, log, checkpoint.

Adam as in the paper (learning rate 0.001, decays 0.9 and 0.999, batches of 256, 250
epochs). Departures are named in the study's ``training`` settings: warm-up, clipping, a
bounded log-variance, a decaying rate, bfloat16. A run can be killed at any moment and
goes on from its last checkpoint, with the same batches and the same noise.
"""

import math
import time

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kikuhelpers.runs.devices import arithmetic, device, keep_freed_memory
from kikuhelpers.runs.files import require, save_json, written_aside
from kikuhelpers.runs.progress import progress_bar
from kikuhelpers.study.layout import Layout, ModelFiles
from kikuhelpers.study.study import Model, Study, Training
from kikuhelpers.training.augmentation import augment
from kikuhelpers.training.checkpoints import (
    load_checkpoint,
    remove_checkpoints,
    remove_leftovers,
    save_checkpoint,
)
from kikuhelpers.training.history import History
from kikuhelpers.training.losses import ProjectionHead, kl_divergence, nt_xent, reconstruction_loss
from kikuhelpers.training.sample import Batches, TrainingError, TrainingSet, load_training_set
from kikuhelpers.training.vae import KikuchiVAE, count_parameters, start_glorot


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
        Empty sample; a loss that is no longer finite; TensorBoard asked for, not there.
    """
    keep_freed_memory()
    files, model = Layout(study).model(name), study.model(name)
    run = Run(model, study.training_of(name), load_training_set(study, name))
    run.resume(files)
    run.go(files)
    _save_model(files, run, name)
    remove_checkpoints(files)
    return run.history.table()


def load_model(study: Study, name: str) -> KikuchiVAE:
    """Return a trained model on the device at hand, ready to encode and decode."""
    files = Layout(study).model(name)
    bounds = study.training_of(name).log_variance_bounds
    model = KikuchiVAE(study.model(name).latent_dim, bounds)
    model.load_state_dict(load_file(require(files.weights, "notebook 03_training")))
    return model.to(device(), memory_format=torch.channels_last).eval()


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


def kl_factor(step: int, settings: Training) -> float:
    """Return the weight of the KL term at a step as a fraction of beta."""
    if step < settings.kl_warmup_steps:
        return (step + 1) / settings.kl_warmup_steps
    return 1.0


class Run:
    """The state of one training."""

    def __init__(self, model: Model, settings: Training, data: TrainingSet):
        torch.manual_seed(model.seed)
        self.model, self.settings, self.patterns = model, settings, len(data)
        self.batches, self._sample = Batches(data, model.seed), data.digest()
        self.steps, self.batch = training_steps(settings, len(data))
        self.step, self.seconds = 0, 0.0
        self.saved_step: int | None = None  # of the last checkpoint
        self.history = History(model.latent_dim, device())
        self.network = KikuchiVAE(model.latent_dim, settings.log_variance_bounds)
        parts = nn.ModuleDict({"vae": self.network})
        if model.loss == "contrastive":
            head = model.contrastive
            parts["head"] = ProjectionHead(model.latent_dim, head.head_width, head.projection_dim)
            parts["head"].apply(start_glorot)
        self.parts = parts.to(device(), memory_format=torch.channels_last)
        if settings.compile and device().type == "cuda":
            self.network.compile()
        self.mask = torch.from_numpy(data.mask).to(device(), torch.float32)
        self.optimiser = torch.optim.Adam(
            self.parts.parameters(),
            lr=settings.learning_rate,
            betas=(settings.gradient_decay, settings.squared_gradient_decay),
            fused=True,  # one pass over the weights
        )

    def go(self, files: ModelFiles) -> None:
        """Train to the end, with a checkpoint every ``checkpoint_seconds``."""
        board = _tensorboard(files, self.step) if self.settings.tensorboard else None
        saved = time.monotonic()
        start = saved - self.seconds
        done = self.step * self.batch
        with progress_bar(self.steps * self.batch, "training", done=done) as bar:
            while self.step < self.steps:
                self.update()
                self.seconds = time.monotonic() - start
                bar.update(self.batch)
                if self.step % self.settings.history_steps == 0 or self.step == self.steps:
                    line = self._close_line(files)
                    bar.set_postfix(loss=f"{line['loss']:.1f}", refresh=False)
                    for name, value in line.items() if board else ():
                        board.add_scalar(name, value, self.step)
                if time.monotonic() - saved > self.settings.checkpoint_seconds:
                    self._checkpoint(files)
                    saved = time.monotonic()
        if board:
            board.close()

    def update(self) -> None:
        """Take one step; nothing in it waits for the device."""
        batch = self.batches(self.step, self.batch)
        rate = self.settings.learning_rate
        rate *= learning_rate_factor(self.step, self.steps, self.settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with arithmetic(self.settings.precision):
            terms = self._losses(batch)
        self.optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        limit = self.settings.gradient_clip or math.inf
        terms["gradient_norm"] = nn.utils.clip_grad_norm_(self.parts.parameters(), limit)
        self.optimiser.step()
        terms["learning_rate"] = torch.full((), rate, device=device())
        self.history.add(self.step, terms)
        self.step += 1

    def _losses(self, batch: Tensor) -> dict[str, Tensor]:
        """Loss terms of one batch; both contrastive views go through in one pass."""
        contrastive, views, target = torch.zeros((), device=device()), batch, batch
        if "head" in self.parts:
            views = augment(torch.cat([batch, batch]), self.model.contrastive.augmentation)
            target = torch.cat([batch, batch])
        decoded, mean, log_variance = self.network(views)
        reconstruction = reconstruction_loss(decoded, target, self.mask)
        kl_dimensions = kl_divergence(mean, log_variance).mean(dim=0)
        kl = kl_dimensions.sum()
        beta = self.model.beta * kl_factor(self.step, self.settings)
        loss = reconstruction.mean() + beta * kl
        if "head" in self.parts:
            first, second = self.parts["head"](mean).chunk(2)
            contrastive = nt_xent(first, second, self.model.contrastive.temperature)
            loss = loss + self.model.contrastive.weight * contrastive
        return {
            "loss": loss,
            "reconstruction": reconstruction.mean(),
            "kl": kl,
            "kl_dimensions": kl_dimensions,
            "contrastive": contrastive,
            "best": reconstruction.min(),
            "worst": reconstruction.max(),
            "active_units": (mean.var(dim=0) > ACTIVE_VARIANCE).sum(),
        }

    def _close_line(self, files: ModelFiles) -> dict:
        """Close a line of the history: the one place where a step waits for the device."""
        self._check_finite(files)
        presentations = self.step * self.batch
        return self.history.close_line(
            {
                "step": self.step,
                "epoch": presentations / self.patterns,
                "presentations": presentations,
                "seconds": self.seconds,
            }
        )

    def _check_finite(self, files: ModelFiles) -> None:
        step = self.history.fault()
        if step is None:
            return
        kept = "there is no checkpoint yet"
        if self.saved_step is not None:
            kept = f"the last good checkpoint is that of step {self.saved_step}, {files.checkpoint}"
        raise TrainingError(
            f"The loss is no longer finite at step {step} of {self.steps} ({kept}): lower the "
            "learning_rate or gradient_clip, or lengthen warmup_steps."
        )

    def _checkpoint(self, files: ModelFiles) -> None:
        self._check_finite(files)  # so that a broken state never replaces a good one
        history, window = self.history.state()
        state = {
            "settings": self._fingerprint(),
            "step": self.step,
            "seconds": self.seconds,
            "history": history,
        }
        tensors = {"random.cpu": torch.get_rng_state()}
        if device().type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        tensors |= {f"history.{name}": value for name, value in window.items()}
        tensors |= {f"parts.{name}": value for name, value in self.parts.state_dict().items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": value for name, value in values.items()}
        save_checkpoint(files, state, tensors)
        self.saved_step = self.step
        self.history.write(files)

    def resume(self, files: ModelFiles) -> None:
        """Take up the last checkpoint, if there is one of the same settings."""
        remove_leftovers(files)
        state, tensors = load_checkpoint(files) or ({}, {})
        if state.get("settings") != self._fingerprint():
            return
        self.step, self.seconds = state["step"], state["seconds"]
        self.saved_step = self.step
        self.history.restore(state["history"], _under(tensors, "history"))
        self.parts.load_state_dict(_under(tensors, "parts"))
        for index, weight in enumerate(self.parts.parameters()):
            # Fused Adam takes moments of the weight's own memory format only.
            moments = _under(tensors, f"adam.{index}")
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = torch.empty_like(weight).copy_(moments[name])
            moments["step"] = moments["step"].to(weight.device)
            self.optimiser.state[weight] = moments
        torch.set_rng_state(tensors["random.cpu"])
        if device().type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"])

    def _fingerprint(self) -> str:
        """What must be the same for a checkpoint to be of use."""
        model = self.model.model_dump_json(exclude={"training"})
        return f"{model}{self.settings.model_dump_json()}{self._sample}{device().type}"

    def card(self, name: str) -> dict:
        """Return what is to be known of the trained model."""
        return {
            "model": name,
            "settings": self.model.model_dump(),
            "training": self.settings.model_dump(),
            "patterns": self.patterns,
            "presentations": self.step * self.batch,
            "parameters": {
                "encoder": count_parameters(self.network.encoder),
                "decoder": count_parameters(self.network.decoder),
            },
            "device": str(device()),
            "seconds": self.seconds,
            "last": self.history.lines[-1],
        }


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix and a dot, without it."""
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _tensorboard(files: ModelFiles, step: int):
    """A writer of TensorBoard files; what a killed run wrote after ``step`` is dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "training.tensorboard needs the package tensorboard: pip install tensorboard, or "
            "set it to false."
        ) from None
    return SummaryWriter(files.tensorboard, purge_step=step or None)


def _save_model(files: ModelFiles, run: Run, name: str) -> None:
    run.history.write(files)
    weights = {key: value.cpu().contiguous() for key, value in run.network.state_dict().items()}
    save_json(files.card, run.card(name))
    with written_aside(files.weights) as temporary:
        save_file(weights, temporary, metadata={"model": name, "format": "pt"})
