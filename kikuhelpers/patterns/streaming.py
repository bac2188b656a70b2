"""Patterns of a map a few at a time: memory does not grow with the map.

Every loop over patterns is one of the two here, and one rule says how many are held at a time.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from kikuhelpers.patterns.up2 import release

# Of patterns held at a time (by each thread): they stay in the processor's cache.
CHUNK_BYTES = 8 << 20
_MOST_THREADS = 4  # reading from the disk bounds the work: more gain nothing
_REDRAW_SECONDS = 1.0  # every redraw of a progress bar stays in an executed notebook


def chunks(stage: str, *arrays: np.ndarray, pattern_bytes: int | None = None) -> Iterator[tuple]:
    """Yield arrays some patterns at a time, with a progress bar.

    Parameters
    ----------
    stage
        Name for the progress bar.
    *arrays
        Of one length, cut along the first axis: patterns (n, height, width), whole rows of a
        map (rows, columns, height, width), anything with a value for each. What was read of a
        memory map is released.
    pattern_bytes
        Bytes that an element of the first array stands for, where these are not its own.

    Yields
    ------
    tuple
        The slice of the first axis, and that part of each array. The chunks depend on the size of
        an element of the first array alone, and so does a sum over them.
    """
    first = arrays[0]
    own_bytes = int(np.prod(first.shape[1:])) * first.dtype.itemsize
    size = max(1, CHUNK_BYTES // (pattern_bytes or own_bytes))
    with progress_bar(len(first), stage) as bar:
        for start in range(0, len(first), size):
            here = slice(start, min(start + size, len(first)))
            parts = [array[here] for array in arrays]
            yield here, *parts
            for part in parts:
                release(part)
            bar.update(len(parts[0]))


def in_order(patterns: np.ndarray, work: Callable, stage: str, pattern_bytes: int = 0) -> Iterator:
    """Yield ``work`` of each chunk of patterns (n, height, width), in their order, from threads.

    Threads do run side by side where ``work`` is a numba kernel without the interpreter's lock.
    Chunks are as of :func:`chunks`; ``pattern_bytes`` count where ``work`` makes of a pattern more
    than its own.
    """
    size = max(1, CHUNK_BYTES // max(pattern_bytes, patterns[0].nbytes))
    parts = (patterns[first : first + size] for first in range(0, len(patterns), size))
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with progress_bar(len(patterns), stage) as bar:
        for chunk, result in side_by_side(work, parts, threads):
            release(chunk)
            bar.update(len(chunk))
            yield result


def progress_bar(total: int, stage: str, done: int = 0) -> tqdm:
    """Return a text bar to ``update(n)``; use it in a ``with`` statement."""
    return tqdm(desc=stage, total=total, initial=done, unit="pattern", mininterval=_REDRAW_SECONDS)


def side_by_side(work: Callable, items: Iterable, threads: int) -> Iterator[tuple]:
    """Yield (item, ``work(item)``) of each item in order; only a few results wait at a time."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > threads:
                done, result = waiting.popleft()
                yield done, result.result()
        for done, result in waiting:
            yield done, result.result()
