"""A 64-D training in pieces of some minutes: ``python -m benchmarks.gpu_train``, again and again.

Each piece goes on from the last one's checkpoint, on any machine; on a CPU to the bit as in one
piece. Patterns are of a virtual specimen, or, where a package is missing, the committed sample.
"""

import argparse
import hashlib
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_sample import load_sample
from benchmarks.gpu_step import BENCH, MODEL, PAPER_PRESENTATIONS, TRAINING, Stepper, facts

_DIMENSION = 64
_MINUTE_S = 60.0
_LINE_STEPS = 200  # the loss is noted, and must be finite, once per so many steps
_SIMULATED = 4096  # patterns
_SHOWN = 10  # losses


def simulated_sample() -> tuple[np.ndarray, np.ndarray]:
    """Return preprocessed patterns (n, 120, 120) of a virtual scan, and their mask."""
    from benchmarks.scans import files_in
    from benchmarks.simulation import virtual_scan
    from kikuhelpers.patterns.up2 import open_patterns, to_intensity
    from kikuhelpers.preprocessing.preprocess import preprocess
    from kikuhelpers.scans.virtual.scanning import simulate
    from kikuhelpers.study import scans, study

    with tempfile.TemporaryDirectory() as folder:
        files, scan = files_in(folder), virtual_scan(_SIMULATED)
        simulate(scan, files.raw, files.truth)
        own = scans.ScanPreprocessing(), study.Preprocessing(), files, scan.step_um
        preprocess(open_patterns(files.raw), *own)
        mask = np.load(files.mask)
        return to_intensity(open_patterns(files.preprocessed).reshape(-1, *mask.shape)), mask


def take_step(stepper: Stepper, sample: Tensor, step: int, batch: int) -> float | None:
    """Take a step on the batch that its number says; return a loss where it is noted."""
    epoch, place = divmod(step * batch, len(sample) - len(sample) % batch)
    order = np.random.default_rng([MODEL.seed, epoch]).permutation(len(sample))
    points = torch.from_numpy(order[place : place + batch]).to(sample.device)
    patterns = sample[points].contiguous(memory_format=torch.channels_last)
    rate = TRAINING.learning_rate * min(1.0, (step + 1) / TRAINING.warmup_steps)
    loss = stepper.take(patterns, rate)["loss"]
    return loss.item() if (step + 1) % _LINE_STEPS == 0 else None


def main(arguments: list[str] | None = None) -> None:
    """Train for some minutes, or to the end, and write the checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_train", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=BENCH / "gpu_train.pt")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this piece")
    parser.add_argument("--presentations", type=float, default=PAPER_PRESENTATIONS)
    parser.add_argument("--batch", type=int, default=TRAINING.batch_size)
    parser.add_argument("--committed", action="store_true", help="train on the committed sample")
    asked, found, start = parser.parse_args(arguments), facts(), time.monotonic()
    try:
        patterns, mask = load_sample() if asked.committed else simulated_sample()
    except ImportError as error:
        print(f"{error.name} is missing: the patterns are those of the committed sample.")
        patterns, mask = load_sample()
    stepper = Stepper(_DIMENSION, "vae", mask)
    random = torch.cuda if torch.cuda.is_available() else torch
    identity = [hashlib.sha256(patterns.data).hexdigest(), asked.batch]
    state, path = {"identity": identity, "step": 0, "losses": []}, asked.checkpoint
    if path.is_file():
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != identity:
            raise SystemExit(f"{path} is of other patterns or batches: move it away.")
        stepper.parts.load_state_dict(state["parts"])
        stepper.optimiser.load_state_dict(state["optimiser"])
        random.set_rng_state(state["random"])
    sample, steps = stepper.batch(patterns), math.ceil(asked.presentations / asked.batch)
    first, begun, late = state["step"], time.monotonic(), False
    while state["step"] < steps and not late:
        loss = take_step(stepper, sample, state["step"], asked.batch)
        state["step"] += 1
        state["losses"] += [loss] if loss is not None else []
        if not math.isfinite(loss or 0):
            raise SystemExit(f"The loss is not finite at step {state['step']}; {path} is older.")
        late = time.monotonic() - start > _MINUTE_S * asked.minutes
    state |= {"parts": stepper.parts.state_dict(), "optimiser": stepper.optimiser.state_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state | {"random": random.get_rng_state()}, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)  # whole, or as it was
    speed = (state["step"] - first) * asked.batch / (time.monotonic() - begun)
    losses = ", ".join(f"{loss:.1f}" for loss in state["losses"][-_SHOWN:])
    print(f"Step {state['step']} of {steps}, {speed:.0f} patterns/s on {found['device']}.")
    print(f"Losses of every {_LINE_STEPS}th step, the last ones: {losses or 'none yet'}.")
    print("This is the end." if state["step"] == steps else "Run it again to go on.")


if __name__ == "__main__":
    main()
