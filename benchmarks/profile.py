"""Where the time of a training step goes: why few latent dimensions run at fewer GFLOP/s.

A network of fewer channels does less arithmetic per pixel that is read, activated, copied and
written. Only the convolutions profit from the matrix units of the processor.
"""

from collections.abc import Iterator

from torch.profiler import ProfilerActivity, profile

from benchmarks.arithmetic import GIGA, training_operations
from benchmarks.networks import training_run
from benchmarks.settings import Sizes
from kikuhelpers.study.models import Model

_STEPS = 10
_MICRO = 1e-6
# What an operation of torch is, by words in its name; the first that fits counts.
_KINDS = {
    "convolutions": ("convolution",),
    "matrix products": ("mm", "linear"),
    "optimiser": ("adam", "foreach", "Optimizer"),
    "copies": ("copy", "cat", "pad", "fill", "zero", "repeat", "Blocks"),
    "element-wise": ("aten::",),
}
_REST = "Python and autograd"


def training_profile(sizes: Sizes) -> Iterator[dict]:
    """Measure the share of each kind of operation in training steps of every dimension."""
    for dimension in sizes.dimensions:
        trainer = training_run(Model(latent_dim=dimension), sizes)
        trainer.take_step()  # the first allocates and prepares
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for _ in range(_STEPS):
                trainer.take_step()
        seconds = dict.fromkeys([*_KINDS, _REST], 0.0)
        for operation in profiled.key_averages():
            seconds[_kind(operation.key)] += operation.self_cpu_time_total * _MICRO
        total = sum(seconds.values())
        operations = training_operations(dimension, "vae") * trainer.batch * _STEPS
        yield {
            "part": "profile",
            "case": f"vae {dimension}-D",
            "shares": {kind: part / total for kind, part in seconds.items()},
            "convolution_gflop_per_s": operations / seconds["convolutions"] / GIGA,
        }


def _kind(name: str) -> str:
    return next((kind for kind, words in _KINDS.items() if any(w in name for w in words)), _REST)
