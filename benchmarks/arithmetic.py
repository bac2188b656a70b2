"""The arithmetic that a training step needs, and the fastest that the machine at hand does it."""

from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import counted, in_turns
from kikuhelpers.runs.devices import device
from kikuhelpers.study.sizes import NETWORK_INPUT_PX
from kikuhelpers.training.vae import KikuchiVAE

GIGA = 1e9
_BACKWARD_AND_FORWARD = 3  # operations of a training step per operation forwards
_VIEWS = {"vae": 1, "contrastive": 2}  # of a pattern that go through the network


def best_multiply(
    precision: torch.dtype, sizes: tuple[int, ...], rounds: int, seconds: float
) -> float:
    """Measure the best square matrix multiplication of the device at hand, in GFLOP/s."""
    best = 0.0
    for n in sizes:
        a, b = (torch.randn(n, n, device=device()).to(precision) for _ in range(2))
        multiply = counted(partial(torch.mm, a, b), 1)
        best = max(best, in_turns({"mm": multiply}, rounds, seconds)["mm"].best * 2 * n**3 / GIGA)
    return best


def training_operations(latent_dim: int, loss: str) -> float:
    """Count the floating-point operations of one training pattern from the layers' shapes."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        KikuchiVAE(latent_dim)(torch.empty(1, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX))
    return counter.get_total_flops() * _BACKWARD_AND_FORWARD * _VIEWS[loss]
