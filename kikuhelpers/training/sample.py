"""The training sample: patterns drawn at random from the preprocessed maps, in memory.

The paper draws 16,000 patterns of each map. Which ones is a pure function of the map's shape, the
number wanted and the study's seed, so that no file need hold them.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kikuhelpers.patterns.masking import is_empty
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import release, to_intensity
from kikuhelpers.runs.devices import device, free_memory_bytes
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED, Study

# The sample moves to an accelerator if it takes no more of the free memory than this; the
# rest is for the network's activations (the paper's 96,000 patterns: 2.8 GB as float16).
_DEVICE_SHARE = 0.5


@dataclass(frozen=True)
class TrainingSet:
    """The training sample of a study and the screen that all its scans share."""

    patterns: np.ndarray  # (n, height, width) float16 in [-1, 1]
    mask: np.ndarray  # (height, width) bool

    def __len__(self) -> int:
        return len(self.patterns)

    def digest(self) -> str:
        """Return a hash of the mask and of all patterns."""
        hashed = hashlib.sha256(self.mask.tobytes())
        hashed.update(self.patterns.data)
        return hashed.hexdigest()


def sample_points(study: Study, scan: str, map_shape: tuple[int, int]) -> np.ndarray:
    """Draw a scan's random share of the training sample: (n,) flat indices of the map, ascending.

    A scan with fewer points than wanted gives all of them. Of those drawn, empty patterns are left
    out when they are read.
    """
    points, wanted = int(np.prod(map_shape)), study.scan(scan).training.patterns
    rng = np.random.default_rng(study.seed)
    return np.sort(rng.choice(points, min(wanted, points), replace=False))


def load_training_set(results: Results, model: str | None = None) -> TrainingSet:
    """Draw the sample from all scans; the loss sees the pixels inside every screen.

    Points that a ``model`` holds out are left out. SentenceError if no pattern, or no pixel inside
    all screens, is left.
    """
    study, parts = results.study, []
    hold_out = study.model(model).hold_out if model else None
    mask = np.logical_and.reduce([results.scan(name).mask for name in study.training_scans])
    if not mask.any():
        raise SentenceError("No pixel lies inside the screens of all scans; check their masks.")
    for name in study.training_scans:
        patterns = results.patterns(PREPROCESSED, name)
        flat = patterns.reshape(-1, *patterns.shape[2:])
        points = sample_points(study, name, patterns.shape[:2])
        if hold_out and hold_out.scan == name:
            from kikuhelpers.training.held_out import held_out_points  # with orix: seconds

            points = points[~held_out_points(results, model).ravel()[points]]
        for _, some in chunks("reading the sample", points, pattern_bytes=flat[0].nbytes):
            drawn = flat[some]
            parts.append(to_intensity(drawn[~is_empty(drawn)]).astype(np.float16))
            release(flat)
    if not any(map(len, parts)):
        raise SentenceError("The training sample is empty: give a scan more training patterns.")
    return TrainingSet(np.concatenate(parts), mask)


class Batches:
    """Batches of a training set on the device, gathered by number.

    On an accelerator the sample is copied there once, if it fits. Else, since nothing in a step
    waits for the device, the next batch is gathered while the device computes the last one.
    """

    def __init__(self, data: TrainingSet, seed: int):
        self._patterns, self._seed = torch.from_numpy(data.patterns), seed
        if device().type != "cpu" and data.patterns.nbytes <= _DEVICE_SHARE * free_memory_bytes():
            self._patterns = self._patterns.to(device())

    def __call__(self, shown: int, batch: int) -> Tensor:
        """Return the batch after so many patterns: (batch, 1, height, width) float32."""
        points = torch.from_numpy(_batch_points(shown, batch, len(self._patterns), self._seed))
        patterns = self._patterns.index_select(0, points.to(self._patterns.device))
        if patterns.is_cpu and device().type == "cuda":
            patterns = patterns.pin_memory()
        patterns = patterns.to(device(), non_blocking=True).unsqueeze(1).to(torch.float32)
        return patterns.contiguous(memory_format=torch.channels_last)


def _batch_points(shown: int, batch: int, patterns: int, seed: int) -> np.ndarray:
    """Numbers of the next patterns, without state: each epoch shows every pattern once."""
    epoch, start = divmod(shown, patterns)
    last = (shown + batch - 1) // patterns  # the batch may go on in the next epoch
    order = np.concatenate([_order(seed, e, patterns) for e in range(epoch, last + 1)])
    return order[start : start + batch]


@lru_cache(maxsize=2)  # a batch can span two epochs
def _order(seed: int, epoch: int, patterns: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(patterns)
