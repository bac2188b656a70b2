"""One training loop for all losses: batch, forward, backward, clip, step, log, checkpoint.

The paper's values and the departures from them stand in the study's ``training`` settings. A run
can be killed at any moment and goes on from its last checkpoint, with the same batches and the
same noise.
"""

import math
import time

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kikuhelpers.patterns.streaming import progress_bar
from kikuhelpers.runs.devices import arithmetic, computed_precision, device, keep_freed_memory
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import digest, save_array, save_json, written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.study.layout import ModelFiles
from kikuhelpers.study.models import ACTIVE_VARIANCE, Model, Training
from kikuhelpers.study.stages import TRAINING, Job
from kikuhelpers.training.adoption import adopt
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.checkpoints import load_checkpoint, save_checkpoint
from kikuhelpers.training.growth import grow
from kikuhelpers.training.losses import projection_head, training_loss
from kikuhelpers.training.optimiser import Optimiser
from kikuhelpers.training.sample import Batches, TrainingSet, load_training_set
from kikuhelpers.training.vae import KikuchiVAE, count_parameters

# Columns of the history: means over the steps of a line, and at last the extremes of a pattern.
_TERMS = ["loss", "reconstruction", "kl", "contrastive", "active_units", "gradient_norm"]
_TERMS += ["learning_rate", "best", "worst"]
_BEST, _WORST = _TERMS.index("best"), _TERMS.index("worst")
_PROGRESS = ("step", "seconds", "_lines", "_rows", "_last_good")  # of a training, in a checkpoint


def train(results: Results, name: str) -> pd.DataFrame:
    """Train one model of a study, or go on with it, and write its weights.

    A model with weights from elsewhere is not trained.
    A training that has ended is not trained again: its files are written from its last
    checkpoint, until :func:`kikuhelpers.training.checkpoints.remove_checkpoints` is called.

    Parameters
    ----------
    results
        Of a study whose scans have been preprocessed.
    name
        The model's name in it.

    Returns
    -------
    pandas.DataFrame
        The loss history, one row per ``history_steps`` steps; means over these steps,
        ``best`` and ``worst`` the lowest and highest reconstruction loss of a pattern.

    Raises
    ------
    SentenceError
        Empty sample; a loss that is no longer finite.
    MissingResultError
        A scan has not been preprocessed, or a smaller model not trained, as the study says.

    Examples
    --------
    >>> from kikuhelpers.study import load_study
    >>> train(Results(load_study("smoke", {"preprocessing.rescale": "map"})), "vae-16")
    Traceback (most recent call last):
    kikuhelpers.runs.results.MissingResultError: scans/wrought/mask.npy ... is not there yet. ...
    """
    if results.study.model(name).weights:
        return adopt(results, name)
    keep_freed_memory()
    study, files = results.study, results.layout.model(name)
    settings, data = study.training_of(name), load_training_set(results, name)
    trainer = Trainer(study.model(name), settings, data)
    of_settings = results.layout.dependencies.fingerprint(Job(TRAINING, (name,)))
    identity = [of_settings, data.digest(), device().type]
    if settings.grown_from:
        small = results.model(settings.grown_from)
        grow(trainer.network, small.weights)
        trainer.shown_before = small.card["presentations"]
        identity.append(digest(results.layout.model(settings.grown_from).weights))
    trainer.resume(files, identity)
    saved = time.monotonic()
    start = saved - trainer.seconds
    total, done = trainer.steps * trainer.batch, trainer.step * trainer.batch
    with progress_bar(total, "training", done=done) as bar:
        while trainer.step < trainer.steps:
            trainer.take_step()
            trainer.seconds = time.monotonic() - start
            bar.update(trainer.batch)
            if trainer.step % settings.history_steps == 0 or trainer.step == trainer.steps:
                bar.set_postfix(loss=f"{trainer.close_line():.1f}", refresh=False)
            if time.monotonic() - saved > settings.checkpoint_seconds:
                trainer.save(files, identity)
                saved = time.monotonic()
    trainer.save(files, identity)
    save_json(files.card, {"model": name} | trainer.card())
    if trainer.model.hold_out:
        from kikuhelpers.training.held_out import held_out_points  # with orix: seconds

        save_array(files.held_out, held_out_points(results, name))
    weights = {key: value.cpu().contiguous() for key, value in trainer.network.state_dict().items()}
    with written_aside(files.weights) as temporary:
        save_file(weights, temporary, metadata={"fingerprint": of_settings})
    return trainer.history()


def learning_rate_factor(step: int, steps: int, settings: Training) -> float:
    """Return the learning rate at a step as a fraction of the full one."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.decay == "none":
        return 1.0
    done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return 1 - done if settings.decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def kl_factor(step: int, settings: Training) -> float:
    """Return the weight of the KL term at a step as a fraction of beta."""
    return min(1.0, (step + 1) / max(1, settings.kl_warmup_steps))


class Trainer:
    """The state of one training: networks, optimiser, and the history of the loss so far."""

    def __init__(self, model: Model, settings: Training, data: TrainingSet):
        torch.manual_seed(model.seed)
        self.model, self.settings, self.patterns = model, settings, len(data)
        self.batches = Batches(data, model.seed)
        self.mask = torch.from_numpy(data.mask).to(device(), torch.float32)
        self.batch = min(settings.batch_size, len(data))
        wanted = settings.presentations or settings.epochs * len(data)
        self.steps = math.ceil(wanted / self.batch)
        self.step, self.seconds = 0, 0.0
        self.shown_before = 0  # patterns that the network was shown before it grew
        self._random = torch.cuda if device().type == "cuda" else torch  # of all noise
        self._last_good = "there is no checkpoint yet"
        self._lines: list[list] = []  # of the history
        self._rows: list[Tensor] = []  # terms of the steps since the last line
        self.network = on_device(KikuchiVAE(model.latent_dim, settings.log_variance_bounds))
        if settings.compile and device().type == "cuda":
            self.network.compile()
        self.head = None
        if model.loss == "contrastive":
            self.head = projection_head(model.latent_dim, model.contrastive).to(device())
        self.parts = nn.ModuleList([self.network, self.head])  # None holds no weights
        self.optimiser = Optimiser(self.parts.parameters(), settings)

    @property
    def shown(self) -> int:
        """Patterns that the network was shown, those before it grew counted."""
        return self.shown_before + self.step * self.batch

    def take_step(self) -> None:
        """Take one step; nothing in it waits for the device."""
        settings = self.settings
        patterns = self.batches(self.shown, self.batch)
        rate = settings.learning_rate * learning_rate_factor(self.step, self.steps, settings)
        beta = self.model.beta * kl_factor(self.step, settings)
        with arithmetic(settings.precision):
            terms = training_loss(self.network, self.head, patterns, self.mask, self.model, beta)
        terms["loss"].backward()
        limit = settings.gradient_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.parts.parameters(), limit)
        self.optimiser.step(rate)
        self._note(terms, norm, rate)
        self.step += 1

    @torch.no_grad()
    def _note(self, terms: dict[str, Tensor], gradient_norm: Tensor, rate: float) -> None:
        """Keep the terms of a step on the device, so that no step waits for a number."""
        reconstruction, kl = terms["reconstruction"], terms["kl"]
        active_units = (terms["mean"].var(dim=0) > ACTIVE_VARIANCE).sum()
        row = [terms["loss"], reconstruction.mean(), kl.sum(), terms["contrastive"], active_units]
        row += [gradient_norm, kl.new_full((), rate), *reconstruction.aminmax()]
        self._rows.append(torch.stack(row))

    def close_line(self) -> float:
        """Add to the history a line on the steps since the last one; return its mean loss."""
        self.check_finite()
        rows = torch.stack(self._rows)
        values = sum(rows) / len(rows)  # summed in the order of steps
        values[_BEST], values[_WORST] = rows[:, _BEST].min(), rows[:, _WORST].max()
        shown, values = self.shown, values.tolist()
        self._lines.append([self.step, shown / self.patterns, shown, *values, self.seconds])
        self._rows = []
        return values[0]

    def check_finite(self) -> None:
        """Raise an error if a term since the last line is not finite; waits for the device."""
        finite = torch.stack(self._rows).isfinite().all(dim=1).tolist() if self._rows else []
        if not all(finite):
            step = self.step - len(finite) + finite.index(False)
            raise SentenceError(
                f"The loss is no longer finite at step {step} of {self.steps} ({self._last_good}): "
                "lower the learning_rate or gradient_clip, or lengthen warmup_steps."
            )

    def save(self, files: ModelFiles, identity: list[str]) -> None:
        """Write the history and, once it is sure that the state is a good one, a checkpoint."""
        self.check_finite()
        self._last_good = f"the last good checkpoint is that of step {self.step}"
        state = {
            "identity": identity,
            "progress": {name: getattr(self, name) for name in _PROGRESS},
            "parts": self.parts.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": self._random.get_rng_state(),
        }
        save_checkpoint(files, state)
        with written_aside(files.history) as temporary:
            self.history().to_csv(temporary, index=False)

    def resume(self, files: ModelFiles, identity: list[str]) -> None:
        """Go on from the last checkpoint, if there is one of the same training."""
        state = load_checkpoint(files)
        if not state or state["identity"] != identity:
            return
        vars(self).update(state["progress"])
        self._rows = [row.to(device()) for row in self._rows]
        self.parts.load_state_dict(state["parts"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._random.set_rng_state(state["random"])

    def history(self) -> pd.DataFrame:
        """Return the history of the loss, one row per line."""
        columns = ["step", "epoch", "presentations", *_TERMS, "seconds"]
        return pd.DataFrame(self._lines, columns=columns)

    def card(self) -> dict:
        """Return what is to be known of the trained model."""
        precision = computed_precision(self.settings.precision)
        parts = {"encoder": self.network.encoder, "decoder": self.network.decoder}
        return {
            "settings": self.model.model_dump(),
            "training": self.settings.model_dump() | {"precision": precision},
            "patterns": self.patterns,
            "presentations": self.shown,
            "parameters": {name: count_parameters(part) for name, part in parts.items()},
            "device": str(device()),
            "seconds": self.seconds,
            "last": self.history().to_dict("records")[-1],
        }
