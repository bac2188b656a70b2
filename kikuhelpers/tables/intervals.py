"""How sure the numbers of Table 1 are: bootstrap intervals over blocks of the map.

Neighbouring points are of one grain and share its errors, so points are not drawn one by
one, which would make the intervals too narrow, but in square blocks (a block bootstrap:
Lahiri, Resampling Methods for Dependent Data, 2003, doi:10.1007/978-1-4757-3803-2). What
they do not hold: another specimen, another training.
"""

import numpy as np
import pandas as pd

BLOCK_POINTS = 20  # side of a block: less than a grain, more than a scratch is wide
RESAMPLES = 1000
LEVEL = 0.95


def block_labels(shape: tuple[int, int], side: int = BLOCK_POINTS) -> np.ndarray:
    """Return the number of the square block that each point of a map lies in.

    Parameters
    ----------
    shape
        (rows, columns) of the map.
    side
        Of a block, in points; the last row and column of blocks may be smaller.

    Returns
    -------
    numpy.ndarray
        (rows * columns,) int, numbered from 0.
    """
    rows, columns = (np.arange(n) // side for n in shape)
    return (rows[:, np.newaxis] * (columns[-1] + 1) + columns).ravel()


def quantile_intervals(
    values: np.ndarray, blocks: np.ndarray, quantiles: list[float], seed: int
) -> np.ndarray:
    """Return the bootstrap interval of each quantile of some values.

    Parameters
    ----------
    values
        (n,), NaN for points outside the population.
    blocks
        (n,) block of each point; blocks are drawn with repetition.
    quantiles
        Between 0 and 1.
    seed
        Of the draws.

    Returns
    -------
    numpy.ndarray
        (quantiles, 2): lower and upper end, NaN without any value.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.full((len(quantiles), 2), np.nan)
    order, found = known[np.argsort(values[known])], []
    for weights in _draws(blocks, seed):
        total = np.cumsum(weights[blocks[order]])
        places = np.searchsorted(total, np.asarray(quantiles) * total[-1])
        found.append(values[order[np.minimum(places, len(order) - 1)]])
    return _ends(found)


def share_intervals(hits: np.ndarray, blocks: np.ndarray, seed: int) -> np.ndarray:
    """Return the bootstrap interval (2,) of a share, in percent; ``hits`` (n,) bool."""
    of_block, size = np.bincount(blocks, hits), np.bincount(blocks)
    return _ends([100 * (w @ of_block) / (w @ size) for w in _draws(blocks, seed)])


def table1_intervals(
    points: pd.DataFrame, blocks: np.ndarray, quantiles: dict[str, float], wrong_deg: float, seed
) -> pd.DataFrame:
    """Return the intervals of one row of Table 1.

    Parameters
    ----------
    points
        As :func:`~kikuhelpers.tables.table1.compare_maps` returns them.
    blocks
        (n,) from :func:`block_labels`, different for different scans.
    quantiles
        Fractions by label, for example ``{"q50": 0.5}``.
    wrong_deg
        Misorientation in degrees from which on a point is wrong.
    seed
        Of the draws.

    Returns
    -------
    pandas.DataFrame
        One row per number: ``number`` (its column in Table 1), ``low`` and ``high``.
    """
    hits = {
        "indexed_pct": points["indexed"].to_numpy(),
        "wrong_pct": points["misorientation_deg"].to_numpy() > wrong_deg,
    }
    rows = [(name, *share_intervals(hit, blocks, seed)) for name, hit in hits.items()]
    for name, values in points.drop(columns=["indexed", "both"]).items():
        ends = quantile_intervals(values.to_numpy(float), blocks, [*quantiles.values()], seed)
        rows += [(f"{name}_{label}", *pair) for label, pair in zip(quantiles, ends, strict=True)]
    return pd.DataFrame(rows, columns=["number", "low", "high"])


def _draws(blocks: np.ndarray, seed: int):
    """Yield how often each block is drawn, once per resample."""
    count = int(blocks.max()) + 1
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield np.bincount(rng.integers(0, count, count), minlength=count)


def _ends(found: list) -> np.ndarray:
    """Ends of the central interval of the numbers that each resample gave, (numbers, 2)."""
    tail = (1 - LEVEL) / 2
    return np.quantile(found, [tail, 1 - tail], axis=0).T
