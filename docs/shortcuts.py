"""Do shortcuts speed up the training? python -m docs.shortcuts.

    python -m kikuhelpers in718_rx 02_preprocessing.rx
    python -m docs.shortcuts            # trains what is missing, then the line of the claim

The 32-D VAE of study `in718_rx` on its measured patterns, with its settings but for a constant
rate: a checkpoint inside a decaying schedule is no finished training. Three kinds of network, each
from three seeds, 60,000 presentations each: with shortcuts around the activation, as the package
has them; with shortcuts before the activation, which the paper's words allow, too; without. One
seed has the same batches, the same noise and the same weights at the start in all three.

The loss is a mean over 4,000 presentations. Value: how many times fewer presentations a network
with shortcuts needs for the last loss of the one without; where it never gets there, how many times
fewer the one without needs for its last loss, upside down. Baseline: the same for shortcuts before
the activation. Interval: Student's t over the logarithms of three seeds. All of this was written
before the first network was trained. One line goes to docs/shortcuts_claim.csv, the last losses
and the seconds to docs/shortcuts.csv.
"""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t
from torch.nn.functional import leaky_relu

from kikuhelpers.patterns.streaming import progress_bar
from kikuhelpers.runs.devices import keep_freed_memory
from kikuhelpers.runs.files import save_csv
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.runs.results import Results
from kikuhelpers.study import load_study
from kikuhelpers.study.layout import root_of
from kikuhelpers.tables.evidence import Found
from kikuhelpers.training.loop import Trainer
from kikuhelpers.training.sample import load_training_set
from kikuhelpers.training.vae import LEAK, ShortcutConv

_STUDY, _MODEL, _SCAN, _CLAIM = "in718_rx", "vae-32", "rx", "shortcuts_speed_up"
_PRESENTATIONS, _MEAN_OF, _SEEDS = 60_000, 4_000, (1, 2, 3)
_WITHOUT, _AFTER, _BEFORE = "without", "after the activation", "before the activation"
_FORWARD = {
    _WITHOUT: lambda layer, x: leaky_relu(layer.conv(x), LEAK),
    _AFTER: ShortcutConv.forward,
    _BEFORE: lambda layer, x: leaky_relu(layer.conv(x) + x, LEAK),
}


def speed_up(losses: np.ndarray, plain: np.ndarray, window: int = 1) -> float:
    """Return how many times fewer steps one training needs for the last loss of a plain one.

    Both are means (n,) over a window of steps, the first of which ends at step ``window``.
    """
    steps = len(plain) - 1 + window
    if losses[-1] <= plain[-1]:
        return steps / (np.argmax(losses <= plain[-1]) + window)
    return (np.argmax(plain <= losses[-1]) + window) / steps


def with_interval(ratios: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of some ratios and its 95 % interval."""
    logarithms = np.log(ratios)
    error = logarithms.std(ddof=1) / np.sqrt(len(ratios))
    ends = logarithms.mean() + np.array([0, -1, 1]) * t.ppf(0.975, len(ratios) - 1) * error
    return tuple(np.exp(ends))


def trained(kind: str, seed: int) -> pd.DataFrame:
    """Train a network, unless it has been; return its loss of every step, and the seconds."""
    path = root_of("results") / "shortcuts" / f"{kind.split()[0]}-{seed}.csv"
    if path.is_file():
        return pd.read_csv(path)
    results = Results(load_study(_STUDY))
    changed = {"decay": "none", "presentations": _PRESENTATIONS}
    settings = results.study.training_of(_MODEL).model_copy(update=changed)
    model = results.study.model(_MODEL).model_copy(update={"seed": seed})
    forward, ShortcutConv.forward = ShortcutConv.forward, _FORWARD[kind]
    try:
        trainer, losses = Trainer(model, settings, load_training_set(results, _MODEL)), []
        trainer._note = lambda terms, *_: losses.append(terms["loss"].detach())
        with progress_bar(trainer.steps, f"{kind}, seed {seed}") as bar:
            while trainer.step < trainer.steps:
                trainer.take_step()
                bar.update()
            seconds = bar.format_dict["elapsed"]
    finally:
        ShortcutConv.forward = forward
    window = np.ones(_MEAN_OF // trainer.batch) / (_MEAN_OF // trainer.batch)
    smooth = np.convolve(torch.stack(losses).cpu(), window, "valid")
    table = pd.DataFrame({"loss": smooth, "seconds": seconds, "window": len(window)})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_csv(table, path, digits=3)
    return table


def main() -> None:
    """Train nine networks and say what the shortcuts do."""
    keep_freed_memory()
    runs = {(kind, seed): trained(kind, seed) for seed, kind in product(_SEEDS, _FORWARD)}
    losses = {key: run["loss"].to_numpy() for key, run in runs.items()}
    window = runs[_WITHOUT, _SEEDS[0]]["window"].iloc[0]
    ratios = {
        kind: [speed_up(losses[kind, seed], losses[_WITHOUT, seed], window) for seed in _SEEDS]
        for kind in (_AFTER, _BEFORE)
    }
    (value, *ends), (other, *_) = map(with_interval, ratios.values())
    lead = np.subtract(ratios[_AFTER], ratios[_BEFORE])
    half = t.ppf(0.975, len(lead) - 1) * lead.std(ddof=1) / np.sqrt(len(lead))
    row = [_CLAIM, value, *ends, other, lead.mean() - half, lead.mean() + half]
    row += [f"{len(_SEEDS)} seeds", _SCAN, git_commit()]
    columns = ["claim", *Found._fields, "commit"]
    here = Path(__file__).parent
    save_csv(pd.DataFrame([row], columns=columns), here / "shortcuts_claim.csv", digits=4)
    said = [
        {"shortcuts": kind, "seed": seed, "last loss": run["loss"].iloc[-1]}
        | {
            "speed-up": dict(zip(_SEEDS, ratios[kind], strict=True))[seed]
            if kind in ratios
            else 1.0
        }
        | {"seconds": run["seconds"].iloc[0]}
        for (kind, seed), run in runs.items()
    ]
    save_csv(pd.DataFrame(said), here / "shortcuts.csv", digits=4)


if __name__ == "__main__":
    main()
