"""A training step as ``kikuhelpers.training.loop.Trainer`` takes it, of torch and numpy alone."""

import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace as Values

import numpy as np
import torch
from torch import Tensor, nn

from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.losses import projection_head, training_loss
from kikuhelpers.training.optimiser import Optimiser
from kikuhelpers.training.vae import KikuchiVAE

_ROOT = Path(__file__).resolve().parent.parent
BENCH = _ROOT / "results" / "bench"
PAPER_PRESENTATIONS = 24e6  # 250 epochs of 96,000 patterns
_OLDEST_TORCH = "2.11"
# The defaults of study/models.py, which needs pydantic; a test holds the two together.
_NOISE = Values(salt_and_pepper=0.02, gaussian=0.2, gamma=(0.7, 1.4), probability=0.5)
_HEAD = Values(temperature=0.5, weight=10.0, head_width=128, projection_dim=64, augmentation=_NOISE)
MODEL = Values(beta=1.0, seed=1, contrastive=_HEAD)
TRAINING = Values(batch_size=256, learning_rate=1e-3, warmup_steps=200, gradient_clip=100.0)
_DECAYS = {"gradient_decay": 0.9, "squared_gradient_decay": 0.999}


class Stepper:
    """Networks and optimiser of one training.

    Parameters
    ----------
    latent_dim, loss
        As of a study's models.
    mask
        (height, width), True inside the screen.
    precision
        "auto", "bfloat16" or "float32"; None: plain float32 on the CPU, the reference.
    optimiser
        "adam" or "muon".
    compiled
        torch.compile's mode for the network; None: it is not compiled.
    """

    def __init__(self, latent_dim, loss, mask, precision="auto", optimiser="adam", compiled=None):
        torch.manual_seed(MODEL.seed)
        place, network = device() if precision else torch.device("cpu"), KikuchiVAE(latent_dim)
        network = network.to(memory_format=torch.channels_last)  # Muon needs it
        self.network, self.head = on_device(network) if precision else network, None
        self.precision, self.compiled = precision or "float32", compiled
        if loss == "contrastive":
            self.head = projection_head(latent_dim, MODEL.contrastive).to(place)
        if compiled:
            torch.compiler.reset()  # it compiles the same code for a few networks only
            self.network.compile(mode=compiled)
        self.mask = torch.from_numpy(mask).to(place, torch.float32)
        self.parts = nn.ModuleList([self.network, self.head])
        self.optimiser = Optimiser(self.parts.parameters(), Values(optimiser=optimiser, **_DECAYS))

    def take(self, patterns: Tensor, rate: float = TRAINING.learning_rate) -> dict[str, Tensor]:
        """Take a step on a batch, see :meth:`batch`; return terms of the loss, and gradients."""
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()
        with arithmetic(self.precision):
            terms = training_loss(self.network, self.head, patterns, self.mask, MODEL, MODEL.beta)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(self.parts.parameters(), TRAINING.gradient_clip)
        gradients = [weight.grad for weight in self.parts.parameters()]
        self.optimiser.step(rate)
        return terms | {"gradients": gradients}

    def batch(self, patterns: np.ndarray) -> Tensor:
        """Return patterns (n, height, width) where the network is, as it takes them."""
        patterns = torch.from_numpy(patterns).unsqueeze(1).to(self.mask.device)
        return patterns.contiguous(memory_format=torch.channels_last)


def facts() -> dict:
    """Return what all numbers depend on; end the program where torch is too old."""
    if torch.__version__ < _OLDEST_TORCH:
        raise SystemExit(f"torch {torch.__version__} is too old: install {_OLDEST_TORCH} or later.")
    failed, commit = subprocess.getstatusoutput(f'git -C "{_ROOT}" rev-parse HEAD')
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {
        "device": torch.cuda.get_device_name() if device().type == "cuda" else device().type,
        "gpu": device().type != "cpu",
        "seed": MODEL.seed,
        "commit": "no git commit" if failed else commit,
        "versions": versions | {"numpy": np.__version__, "cuda": torch.version.cuda},
    }
