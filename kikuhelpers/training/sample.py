"""The training sample: the shares of all scans, memory-mapped or on the device."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kikuhelpers.runs.devices import device, free_memory_bytes
from kikuhelpers.runs.files import require
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study

# The sample moves to an accelerator if it takes no more of the free memory than this; the
# rest is for the network's activations (the paper's 96,000 patterns: 2.8 GB as float16).
DEVICE_SHARE = 0.5
DIGEST_PATTERNS = 256  # of each share; to tell one sample from another, not to find damage
_PREPROCESSING = "notebook 02_preprocessing"


class TrainingError(RuntimeError):
    """A training that cannot start or go on; the message is one sentence for its user."""


@dataclass(frozen=True)
class TrainingSet:
    """The training sample of a study and the screen that all its scans share."""

    shares: list[np.ndarray]  # one per scan: (n, height, width) float16 in [-1, 1], mapped
    mask: np.ndarray  # (height, width) bool
    numbers: np.ndarray  # (m,) of the patterns to train on, counted through all shares

    def __len__(self) -> int:
        return len(self.numbers)

    def digest(self) -> str:
        """Return a hash of the mask and of patterns from all over the sample."""
        hashed = hashlib.sha256(self.mask.tobytes())
        hashed.update(self.numbers.tobytes())
        for share in self.shares:
            hashed.update(str(share.shape).encode())
            hashed.update(share[:: max(1, len(share) // DIGEST_PATTERNS)].tobytes())
        return hashed.hexdigest()

    def gather(self, points: np.ndarray) -> np.ndarray:
        """Read patterns by their place in ``numbers``: (n, height, width) float16."""
        patterns = np.empty((len(points), *self.mask.shape), self.shares[0].dtype)
        numbers, first = self.numbers[points], 0
        for share in self.shares:
            here = (numbers >= first) & (numbers < first + len(share))
            patterns[here] = share[numbers[here] - first]
            first += len(share)
        return patterns


def load_training_set(study: Study, model: str | None = None) -> TrainingSet:
    """Map the shares of all scans; the loss sees the pixels inside every screen.

    Parameters
    ----------
    study
        The study.
    model
        Where given, the points that this model holds out are left out.
    """
    layout = Layout(study)
    names = [name for name, scan in study.scans.items() if scan.training_patterns]
    scans = [layout.scan(name) for name in names]
    shares = [np.load(require(scan.sample, _PREPROCESSING), mmap_mode="r") for scan in scans]
    used = [np.ones(len(share), bool) for share in shares]
    if model and (hold_out := study.model(model).hold_out) and hold_out.scan in names:
        held_out = np.load(require(layout.model(model).held_out, "notebook 03_training"))
        place = names.index(hold_out.scan)
        used[place] = ~held_out.ravel()[np.load(scans[place].sample_points)]
    numbers = np.flatnonzero(np.concatenate(used))
    if not len(numbers):
        raise TrainingError("The training sample is empty: give a scan more training_patterns.")
    mask = np.logical_and.reduce([np.load(require(scan.mask, _PREPROCESSING)) for scan in scans])
    if not mask.any():
        raise TrainingError("No pixel lies inside the screens of all scans; check their masks.")
    return TrainingSet(shares, mask, numbers)


class Batches:
    """Batches of a training set on the device, gathered by number.

    On an accelerator the sample is copied there once, if it fits. Else each batch is read
    from the mapped files; since nothing in a step waits for the device, it reads the next
    batch while the device computes the last one.
    """

    def __init__(self, data: TrainingSet, seed: int):
        self._data, self._seed, self._resident = data, seed, None
        size = sum(share.nbytes for share in data.shares)
        if device().type != "cpu" and size <= DEVICE_SHARE * free_memory_bytes():
            self._resident = torch.cat([torch.tensor(s, device=device()) for s in data.shares])

    def __call__(self, step: int, batch: int) -> Tensor:
        """Return the batch of a step: (batch, 1, height, width) float32, channels last."""
        points = batch_points(step, batch, len(self._data), self._seed)
        if self._resident is not None:
            numbers = torch.from_numpy(self._data.numbers[points])
            patterns = self._resident[numbers.to(device())]
        else:
            patterns = torch.from_numpy(self._data.gather(points))
            if device().type == "cuda":
                patterns = patterns.pin_memory()
            patterns = patterns.to(device(), non_blocking=True)
        patterns = patterns.unsqueeze(1).to(torch.float32)
        return patterns.contiguous(memory_format=torch.channels_last)


def batch_points(step: int, batch: int, patterns: int, seed: int) -> np.ndarray:
    """Return the sample points of a batch: each epoch shows every pattern once.

    A pure function of the step, so that a resumed run needs no saved order.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs = positions // patterns
    points = np.empty(batch, np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        points[here] = _order(seed, int(epoch), patterns)[positions[here] % patterns]
    return points


@lru_cache(maxsize=2)  # a batch can span two epochs
def _order(seed: int, epoch: int, patterns: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(patterns)
