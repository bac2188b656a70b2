"""Settings of the models (network, losses, training) and of the baselines they are measured by.

Defaults are the paper's values (Calvat et al., npj Comput. Mater. 2025,
doi:10.1038/s41524-025-01770-8) unless a comment says "departure".
"""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from kikuhelpers.study.sizes import LATENT_DIMENSIONS
from kikuhelpers.study.values import Count, Fraction, Name, NonNegative, Positive, Seed, Settings

WEIGHTS_ENDING = ".safetensors"
ACTIVE_VARIANCE = 0.01  # of a latent mean over patterns; Burda et al. 2015, 1509.00519


class Training(Settings):
    """How a model is trained. Give either ``epochs`` or ``presentations``."""

    came_later: ClassVar = {"optimiser": "adam", "grown_from": None}
    epochs: Count | None = None
    presentations: Count | None = None  # patterns shown in all; departure: for short runs
    batch_size: Count = 256
    # Departure: "muon" needs about a third of the presentations, and keeps fewer features active.
    optimiser: Literal["adam", "muon"] = "adam"
    # Departure: a model of fewer latent dimensions, whose weights this one starts from.
    grown_from: Name | None = None
    learning_rate: Positive = 1e-3
    gradient_decay: Fraction = 0.9  # Adam's first beta
    squared_gradient_decay: Fraction = 0.999  # Adam's second beta
    # Departures, each against a failure that was seen: 64-D diverged at step 100 without
    # warm-up, 128-D ran into NaN where the log-variance was free. The paper's way is
    # warmup_steps 0, gradient_clip and log_variance_bounds null, precision float32.
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    gradient_clip: Positive | None = 100.0  # norm; None: off
    log_variance_bounds: tuple[float, float] | None = (-10.0, 3.0)  # None: free
    # Departure where above 0: beta grows from 0 over so many steps. Off by default, since the
    # growth helped little, and 64-D ran into NaN with the growth and a free log-variance.
    kl_warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay: Literal["none", "cosine", "linear"] = "none"  # departure: to 0, for short runs
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    compile: bool = False  # torch.compile, on CUDA only: minutes at the start, faster after
    history_steps: Count = 50  # one line of the loss history per so many steps
    checkpoint_seconds: Positive = 60.0

    @model_validator(mode="after")
    def _one_length(self):
        if self.epochs is not None and self.presentations is not None:
            raise ValueError("give epochs or presentations, not both")
        low, high = self.log_variance_bounds or (-math.inf, math.inf)
        if low >= high:
            raise ValueError("the lower bound of log_variance_bounds must be below the upper")
        return self


class Augmentation(Settings):
    """Strengths of the contrastive views; the paper names the kinds, not the strengths."""

    salt_and_pepper: Fraction = 0.02  # largest fraction of pixels
    gaussian: NonNegative = 0.2  # largest standard deviation, in units of the [-1, 1] scale
    gamma: tuple[Positive, Positive] = (0.7, 1.4)
    probability: Fraction = 0.5  # of each kind, drawn alone, so that kinds superimpose


class Contrastive(Settings):
    """NT-Xent on a projection head; values not in the paper."""

    temperature: Positive = 0.5
    weight: NonNegative = 10.0
    head_width: Count = 128
    projection_dim: Count = 64
    augmentation: Augmentation = Augmentation()


class HoldOut(Settings):
    """Grains that a model does not see: a twin pair and all points of its orientations."""

    scan: Name
    # Of the indexed points that may be held out; departure: the paper holds out nothing.
    largest_share: Fraction = 0.3


class Model(Settings):
    came_later: ClassVar = {"weights": None}
    latent_dim: Literal[LATENT_DIMENSIONS]
    loss: Literal["vae", "contrastive"] = "vae"
    beta: NonNegative = 1.0
    seed: Seed = 1
    contrastive: Contrastive = Contrastive()
    training: Training | None = None  # in place of the study's
    hold_out: HoldOut | None = None
    # Of a model that was trained elsewhere: "<study>/<model>", from results or the archive, or a
    # .safetensors file. Nothing is trained then.
    weights: str | None = None

    @property
    def recipe(self) -> "Model":
        """The model, whichever one it grew from: models of one recipe are trained alike."""
        if not (self.training and self.training.grown_from):
            return self
        training = self.training.model_copy(update={"grown_from": "a smaller model"})
        return self.model_copy(update={"training": training})

    @property
    def trained_in(self) -> tuple[str, str] | None:
        """Study and model that the weights are of; None of a file, or where it is trained here."""
        if not self.weights or self.weights.endswith(WEIGHTS_ENDING):
            return None
        study, _, model = self.weights.rpartition("/")
        return study, model

    @model_validator(mode="after")
    def _trained_once(self):
        if self.weights and (self.training or self.hold_out):
            raise ValueError("a model with weights is not trained: leave training and hold_out out")
        return self


class Components(Settings):
    """Principal components of the training sample, or non-negative ones, of p + 1 in [0, 2]."""

    method: Literal["pca", "nmf"]
    components: Count


class Nlpar(Settings):
    """Non-local averaging of neighbours (Brewick et al. 2019, Ultramicroscopy 200, 50).

    Defaults are those of PyEBSDIndex.
    """

    method: Literal["nlpar"]
    # Points of the map; the window is 2 r + 1 points wide.
    search_radius: Annotated[int, Field(ge=1, le=20)] = 3
    # lambda of the paper, without unit: a neighbour weighs exp(-d / lambda^2), where d is its
    # squared distance beyond what noise gives, in standard deviations of the latter.
    weight_decay: Positive = 0.7


Baseline = Annotated[Components | Nlpar, Field(discriminator="method")]
