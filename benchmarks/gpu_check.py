"""Is the GPU right, and how fast: ``python -m benchmarks.gpu_check``, in less than 8 minutes.

It needs torch and numpy alone. It compares encoding, decoding, losses and a training step with
plain float32 on the CPU, and times training steps. Without a GPU it does so with the CPU's own way.
"""

import argparse
import gc
import json
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.arithmetic import GIGA, best_multiply, training_operations
from benchmarks.gpu_sample import load_sample
from benchmarks.gpu_step import BENCH, MODEL, PAPER_PRESENTATIONS, TRAINING, Stepper, facts
from benchmarks.settings import QUICK, Sizes
from benchmarks.timing import in_turns
from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.study.sizes import LATENT_DIMENSIONS

# Largest ||ours - reference|| / ||reference||. float32 keeps 24 bits: sums in another order err by
# 1e-6 (in TF32, of 11 bits, by 5e-4). bfloat16 keeps 8: 4e-3. The KL of an untrained network, 3e-4
# per dimension, is a difference of numbers near 1. A gradient jumps where a LeakyReLU's input is
# next to 0 ("layer": the worst weight or bias). Adam's first update is the gradient's sign: a share
# p of turned signs gives 2 sqrt(p), no update gives 1, an unrelated one 1.4. On a CPU all errors
# were at most 0.6 of these bounds.
_ERRORS = ("encoding", "decoding", "losses", "gradient", "layer", "update")
BOUNDS = {
    "float32": dict(zip(_ERRORS, (1e-4, 1e-4, 1e-3, 5e-3, 2e-2, 0.2), strict=True)),
    "bfloat16": dict(zip(_ERRORS, (2e-2, 2e-2, 2e-2, 0.1, 0.5, 0.5), strict=True)),
}
CASES = (("vae", "adam"), ("contrastive", "adam"), ("vae", "muon"))
_COMPARED = 16  # patterns at most; the CPU takes seconds for them at 256-D
_MATRICES = (4096, 8192, 16384)  # large enough for the matrix units of any card
FULL = Sizes(LATENT_DIMENSIONS, TRAINING.batch_size, seconds=0.5, matrix_sizes=_MATRICES)
# Of training; the first is the package's own.
MODES = {"as it is": {}, "Muon": {"optimiser": "muon"}, "compiled": {"compiled": "default"}}
MODES["CUDA graphs"] = {"compiled": "reduce-overhead"}
_LAST_START_S = 360.0  # after the program's start: no case is begun later
_WARM_UP_STEPS = 3  # CUDA graphs are recorded in the second


class SameNoise(TorchFunctionMode):
    """Inside, every device takes its random numbers from the CPU's generator."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        drawn = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}.get(function)
        if drawn:
            return drawn(arguments[0].shape).to(arguments[0].device)
        if function is torch.rand:
            return torch.rand(*arguments).to(options["device"])
        return function(*arguments, **(options or {}))


def compare(sizes: Sizes, dimension: int, loss: str, optimiser: str) -> list[dict]:
    """Return the errors of one network in each precision, against plain float32 on the CPU."""
    (patterns, mask), rows, reference = load_sample(), [], {}
    for precision in (None, *BOUNDS):
        stepper = Stepper(dimension, loss, mask, precision, optimiser)
        weights = list(stepper.parts.parameters())
        before = [weight.detach().clone() for weight in weights]
        batch = stepper.batch(patterns[: min(sizes.batch, _COMPARED)])
        with torch.no_grad(), arithmetic(stepper.precision):
            mean, _ = stepper.network.encode(batch)
            latents = reference.get("encoding", [mean])[0].to(mean)
            decoded = stepper.network.decoder(latents)
        torch.manual_seed(MODEL.seed)
        with SameNoise():
            terms = stepper.take(batch)
        losses = [terms[name] for name in ("loss", "reconstruction", "kl", "contrastive")]
        update = [_joined([new - old for new, old in zip(weights, before, strict=True)])]
        gradients = terms["gradients"]
        values = ([mean], [decoded], losses, [_joined(gradients)], gradients, update)
        found = dict(zip(_ERRORS, values, strict=True))
        if not precision:
            reference = found
            continue
        errors = {name: max(map(_error, found[name], reference[name])) for name in _ERRORS}
        row = {"dimension": dimension, "loss": loss, "optimiser": optimiser, "errors": errors}
        within = all(errors[name] <= BOUNDS[precision][name] for name in _ERRORS)
        rows.append(row | {"precision": precision, "within": within})
    return rows


def measure(sizes: Sizes, dimension: int, mode: str, best: float) -> dict:
    """Measure training steps of one network against the best multiply, GFLOP/s."""
    (patterns, mask), on_cuda = load_sample(), device().type == "cuda"
    row, start = {"dimension": dimension, "mode": mode}, time.monotonic()
    if on_cuda:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        stepper = Stepper(dimension, "vae", mask, **MODES[mode])
        batch = stepper.batch(patterns[: sizes.batch])
        for _ in range(_WARM_UP_STEPS):
            stepper.take(batch)
        row["start_s"] = time.monotonic() - start
        steps = {"ours": lambda: stepper.take(batch) and sizes.batch}
        speed = in_turns(steps, sizes.rounds, sizes.seconds)["ours"].best
    except Exception as error:  # a card may lack the memory, a machine the compiler
        return row | {"failed": " ".join([type(error).__name__, *str(error).splitlines()[:1]])}
    return row | {
        "patterns_per_s": speed,
        "share_of_best_multiply": speed * training_operations(dimension, "vae") / GIGA / best,
        "paper_hours": PAPER_PRESENTATIONS / speed / 3600,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if on_cuda else None,
    }


def table(found: dict) -> str:
    """Return what was found as a Markdown table."""
    lines = ["| part | case | result | note |", "|:--|:--|:--|:--|"]
    for row in found["compared"]:
        bounds, verdict = BOUNDS[row["precision"]], "right" if row["within"] else "WRONG"
        note = ", ".join(f"{n} {e:.0e} of {bounds[n]:.0e}" for n, e in row["errors"].items())
        case = f"{row['dimension']}-D, {row['loss']}, {row['optimiser']}, {row['precision']}"
        lines.append(f"| against the CPU | {case} | {verdict} | {note} |")
    for row in found["timed"]:
        result, note = "failed", row.get("failed")
        if not note:
            result = f"{row['patterns_per_s']:.0f} patterns/s"
            note = f"{row['share_of_best_multiply']:.0%} of the best multiply, "
            note += f"{row['paper_hours']:.2g} h for the paper's 24 million presentations"
            note += f", {row['peak_gib']:.1f} GiB" if row["peak_gib"] else ""
        lines.append(f"| training step | {row['dimension']}-D, {row['mode']} | {result} | {note} |")
    best = f"{found['best_multiply_gflop_per_s'] / 1e3:.3g} TFLOP/s"
    return "\n".join([*lines, f"| multiply | bfloat16 | {best} | {found['device']} |"])


def main(arguments: list[str] | None = None) -> int:
    """Compare and measure; return 1 where an error is above its bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, default=BENCH / "gpu_check.json")
    asked = parser.parse_args(arguments)
    sizes, start, found = QUICK if asked.quick else FULL, time.monotonic(), facts()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    best = best_multiply(torch.bfloat16, sizes.matrix_sizes, sizes.rounds, sizes.seconds)
    found |= {"batch": sizes.batch, "bounds": BOUNDS, "best_multiply_gflop_per_s": best}
    found |= {"compared": [], "timed": []}
    for dimension in sizes.dimensions:
        for case in CASES:
            found["compared"] += compare(sizes, dimension, *case)
    found["within_bounds"] = all(row["within"] for row in found["compared"])
    for mode in MODES if device().type == "cuda" else list(MODES)[:1]:
        for dimension in sizes.dimensions:
            late = time.monotonic() - start > _LAST_START_S
            row = {"dimension": dimension, "mode": mode, "failed": "left out, the time is over"}
            found["timed"].append(row if late else measure(sizes, dimension, mode, best))
    found["seconds"] = time.monotonic() - start
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{table(found)}\n\nAll numbers: {asked.out}")
    print("Run on a GPU." if found["gpu"] else "This was not run on a GPU.")
    return 0 if found["within_bounds"] else 1


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _error(ours: Tensor, reference: Tensor) -> float:
    ours, reference = (values.detach().cpu().double() for values in (ours, reference))
    error = (ours - reference).norm() / reference.norm().clamp(min=torch.finfo(torch.float).tiny)
    return error.nan_to_num(math.inf).item()  # NaN would pass a maximum


if __name__ == "__main__":
    sys.exit(main())
