"""Patterns of a map a few at a time, in threads, in order: memory does not grow with the map."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kikuhelpers.patterns.up2 import release
from kikuhelpers.runs.progress import progress_bar

_CHUNK_BYTES = 8 << 20  # of patterns in each thread: they stay in the processor's cache
_MOST_THREADS = 4  # reading from the disk bounds the work: more gain nothing


def in_order(patterns: np.ndarray, work: Callable, stage: str) -> Iterator:
    """Yield ``work`` of each chunk of patterns, in their order, computed in threads.

    Parameters
    ----------
    patterns
        (n, height, width), of a memory map: what was read is released.
    work
        Called with a chunk (some patterns, height, width); a numba kernel without the
        interpreter's lock, so that threads do run side by side.
    stage
        Name for the progress bar.

    Yields
    ------
    object
        What ``work`` returns, chunk by chunk. The chunks depend on the patterns' size alone,
        and so does a sum over them.
    """
    size = max(1, _CHUNK_BYTES // patterns[0].nbytes)
    chunks = (patterns[first : first + size] for first in range(0, len(patterns), size))
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with progress_bar(len(patterns), stage) as bar:
        for chunk, result in side_by_side(work, chunks, threads):
            release(chunk)
            bar.update(len(chunk))
            yield result


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
