"""A few measured patterns for machines without a scan: ``python -m benchmarks.gpu_sample`` draws
them anew from the preprocessed crop of the study ``in718_rx``."""

from pathlib import Path

import numpy as np

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "gpu_sample.npz"
_PATTERNS = 512
# Of intensity: they err by 1 of 255 on the mean, less than the crop's lossy tiles (1.6 of 255,
# data/README.md), and add 0.4 to a half sum of squares of 50.
_LEVELS = 64
_HALF_RANGE = np.float32((_LEVELS - 1) / 2)


def load_sample() -> tuple[np.ndarray, np.ndarray]:
    """Return patterns (n, 120, 120), float32 in [-1, 1], and their mask (120, 120)."""
    with np.load(SAMPLE) as file:
        return file["levels"] / _HALF_RANGE - 1, file["mask"]


def write_sample() -> None:
    """Draw the patterns by the study's seed; write them with the screen's mask."""
    from kikuhelpers.patterns.up2 import to_intensity
    from kikuhelpers.runs.results import Results
    from kikuhelpers.study import PREPROCESSED, load_study

    results = Results(load_study("in718_rx"))
    patterns = results.patterns(PREPROCESSED, "rx").reshape(-1, *results.scan("rx").mask.shape)
    rng = np.random.default_rng(results.study.seed)
    drawn = patterns[np.sort(rng.choice(len(patterns), _PATTERNS, replace=False))]
    levels = np.round((to_intensity(drawn) + 1) * _HALF_RANGE).astype(np.uint8)
    np.savez_compressed(SAMPLE, levels=levels, mask=results.scan("rx").mask)


if __name__ == "__main__":
    write_sample()
