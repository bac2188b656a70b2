"""UP1/UP2 files against PyEBSDIndex and kikuchipy, and everything that can be wrong."""

import struct

import kikuchipy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyebsdindex.ebsd_pattern import UPFile

from kikuhelpers.patterns.up2 import (
    PatternFileError,
    Up2Writer,
    open_patterns,
    read_header,
    to_counts,
    to_intensity,
)
from tests.conftest import write_scan

sides = st.integers(1, 5)


@given(st.tuples(sides, sides, sides, sides), st.integers(0, 2**32 - 1), st.floats(0.01, 50))
def test_what_is_written_is_read(tmp_path_factory, shape, seed, step):
    path = tmp_path_factory.mktemp("up2") / "scan.up2"
    patterns = np.random.default_rng(seed).integers(0, 65536, shape, np.uint16)
    write_scan(path, patterns, step)
    np.testing.assert_array_equal(open_patterns(path), patterns)
    assert read_header(path).step_um == (step, step)


def test_other_readers_agree(tmp_path):
    patterns = np.random.default_rng(0).integers(0, 65536, (3, 4, 6, 5), np.uint16)
    path = tmp_path / "scan.up2"
    write_scan(path, patterns, 0.5)
    np.testing.assert_array_equal(kikuchipy.load(path).data, patterns)
    theirs = UPFile(str(path))
    theirs.read_header()
    np.testing.assert_array_equal(theirs.pat_reader(0, 12)[0], patterns.reshape(12, 6, 5))


@pytest.mark.parametrize(("ending", "pixel"), [(".up1", np.uint8), (".up2", np.uint16)])
def test_version_1_needs_the_map_shape(tmp_path, ending, pixel):
    patterns = np.arange(2 * 3 * 4 * 5).astype(pixel).reshape(2, 3, 4, 5)
    path = tmp_path / f"old{ending}"
    path.write_bytes(struct.pack("<4I", 1, 5, 4, 16) + patterns.tobytes())
    with pytest.raises(PatternFileError, match="map_shape"):
        open_patterns(path)
    np.testing.assert_array_equal(open_patterns(path, (2, 3)), patterns)
    with pytest.raises(PatternFileError, match="6 points"):
        open_patterns(path, (3, 3))


def test_bad_files_get_one_sentence(tmp_path):
    whole = tmp_path / "whole.up2"
    write_scan(whole, np.ones((2, 2, 4, 4), np.uint16))
    content = bytearray(whole.read_bytes())
    hexagonal = bytes(content[:25]) + b"\x01" + bytes(content[26:])
    cases = {
        "truncated": (content[:-1], "truncated: it holds 3 whole patterns, its header states 4"),
        "headless": (content[:10], "ends inside its header"),
        "short": (content[:30], "ends inside its header"),
        "hexagonal": (hexagonal, "hexagonal"),
        "strange": (b"\xff" * 80, "no UP file this reader knows"),
    }
    for name, (data, words) in cases.items():
        path = tmp_path / f"{name}.up2"
        path.write_bytes(data)
        with pytest.raises(PatternFileError, match=words):
            open_patterns(path)
    with pytest.raises(PatternFileError, match="There is no pattern file"):
        open_patterns(tmp_path / "none.up2")
    with pytest.raises(PatternFileError, match=r"not a \.up1 or \.up2"):
        open_patterns(tmp_path / "scan.tif")


def test_an_unfinished_file_leaves_nothing(tmp_path):
    path = tmp_path / "scan.up2"
    with (
        pytest.raises(PatternFileError, match="holds 3 of 4 patterns"),
        Up2Writer(path, (2, 2), (4, 4), 1.0) as writer,
    ):
        writer.append(np.zeros((3, 4, 4), np.uint16))
    with (
        pytest.raises(PatternFileError, match="holds 5 of 4 patterns"),
        Up2Writer(path, (2, 2), (4, 4), 1.0) as writer,
    ):
        writer.append(np.zeros((5, 4, 4), np.uint16))
    with (
        pytest.raises(PatternFileError, match="takes uint16"),
        Up2Writer(path, (1, 1), (4, 4), 1.0) as writer,
    ):
        writer.append(np.zeros((1, 4, 4), np.float32))
    assert list(tmp_path.iterdir()) == []


@given(st.floats(-1, 1))
def test_counts_hold_intensity_to_half_a_count(value):
    back = to_intensity(to_counts(np.array([value])))
    assert abs(back[0] - value) <= 0.51 / 32767.5
