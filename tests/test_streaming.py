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


def test_chunks_cut_all_arrays_alike(scan, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 5 * scan[0].nbytes)
    numbers = np.arange(64)
    seen = list(streaming.chunks("test", scan, numbers))
    assert [here.start for here, _, _ in seen] == list(range(0, 64, 5))
    assert all((part[:, 0, 0] == own).all() for _, part, own in seen)
    assert sum(len(part) for _, part, _ in seen) == 64
    few = list(streaming.chunks("test", numbers, pattern_bytes=scan[0].nbytes))
    assert [len(part) for _, part in few] == [5] * 12 + [4]


def test_a_pattern_larger_than_a_chunk_comes_alone(scan, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1)
    assert [len(part) for _, part in streaming.chunks("test", scan)] == [1] * 64


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
    for _, part in streaming.chunks("test", scan):
        assert (part == part[:, :1, :1]).all()
    assert mapped_mib() - before < 16
    assert int(scan.sum()) == total
    release(scan[3:60])
    assert mapped_mib() - before < 16
    assert (scan[5] == 5).all(), "released, not lost"
    release(np.ones(3))  # without effect on an array of its own
