"""Order and memory of work on a stream of patterns."""

import mmap
import sys
import time

import numpy as np
import psutil
import pytest

from kikuhelpers.patterns import streaming
from kikuhelpers.patterns.up2 import release


@pytest.fixture
def scan(tmp_path):
    """A memory map of 64 MiB of patterns whose pixels hold the pattern's number."""
    patterns = np.repeat(np.arange(64, dtype=np.uint16), 1 << 19).reshape(64, 512, 1024)
    patterns.tofile(tmp_path / "patterns.bin")
    return np.memmap(tmp_path / "patterns.bin", np.uint16, "r", shape=patterns.shape)


def test_results_come_in_order_whatever_takes_long(scan):
    def work(chunk):
        time.sleep(0.02 if chunk[0, 0, 0] % 16 == 0 else 0)  # some chunks finish late
        return chunk[:, 0, 0].tolist()

    chunks = list(streaming.in_order(scan, work, "test"))
    assert [pattern for chunk in chunks for pattern in chunk] == list(range(64))
    assert len(chunks) > 4


def test_an_error_in_a_thread_is_raised(scan):
    with pytest.raises(ZeroDivisionError):
        list(streaming.in_order(scan, lambda chunk: 1 / 0, "test"))


@pytest.mark.skipif(
    not (hasattr(mmap, "MADV_DONTNEED") and sys.platform == "linux"), reason="only Linux tells"
)
def test_what_was_read_leaves_the_memory(scan):
    def mapped_mib():
        return psutil.Process().memory_info().shared / 2**20

    before = mapped_mib()
    total = sum(int(chunk.sum()) for chunk in streaming.in_order(scan, np.copy, "test"))
    assert mapped_mib() - before < 16
    assert int(scan.sum()) == total
    assert mapped_mib() - before > 48, "the scan is in memory now"
    release(scan[3:60])
    assert mapped_mib() - before < 16
    assert (scan[5] == 5).all(), "released, not lost"
    release(np.ones(3))  # without effect on an array of its own
