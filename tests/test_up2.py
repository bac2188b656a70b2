"""UP1/UP2 files against PyEBSDIndex and kikuchipy, and everything that can be wrong."""

import struct
from pathlib import Path

import kikuchipy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyebsdindex.ebsd_pattern import UPFile

from kikuhelpers.patterns.up2 import (
    _HEAD,
    PatternFileError,
    Up2Writer,
    open_patterns,
    read_header,
    to_counts,
    to_intensity,
)
from kikuhelpers.study import load_study
from tests.conftest import write_scan

DEPOSIT_BYTES = 25_974_748_816  # of the file at doi:10.5061/dryad.zcrjdfnr9
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
    with pytest.raises(
        PatternFileError, match=r"3 patterns missing .it holds 6, a map of 3 x 3 points has 9"
    ):
        open_patterns(path, (3, 3))
    np.testing.assert_array_equal(
        open_patterns(path, (3, 3), rows=(1, 2)), patterns.reshape(6, 4, 5)[None, 3:]
    )


def test_bad_files_get_one_sentence(tmp_path):
    whole = tmp_path / "whole.up2"
    write_scan(whole, np.ones((2, 2, 4, 4), np.uint16))
    content = bytearray(whole.read_bytes())
    cases = {
        "truncated": (
            content[:-1],
            "1 patterns missing .it holds 3, a map of 2 x 2 .* rows: .0, 1.",
        ),
        "headless": (content[:10], "ends inside its header"),
        "short": (content[:30], "ends inside its header"),
        "hexagonal": (changed(content + b"1", hexagonal=1), r"1 bytes left over \S.*, or copy it"),
        "strange": (b"\xff" * 80, "no UP file this reader knows"),
        "longer": (content + b"12345", r"5 bytes left over .* rows: \[0, 2\]"),
        "more": (content + bytes(64), r"2 patterns left over .* \[rows, columns\] with 6 points"),
        "pointless": (
            changed(content, columns=0, rows=0),
            r"a map of 0 x 0 .* set map_shape: \[rows, columns\] with 4 points",
        ),
        "no row": (changed(content, columns=11, rows=0), "a map of 0 x 11 points"),
    }
    for offset in (0, 10, 16, 41):
        cases[f"begins at {offset}"] = (changed(content, offset=offset), "set offset: 42")
    cases["elsewhere"] = (changed(content, offset=43), "from byte 43 on.* set offset: 42")
    cases["much later"] = (changed(content, offset=42 + 32), "set offset: 42")
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


def changed(content: bytes, **fields) -> bytes:
    """A file of version 3 whose header says something else."""
    head = np.frombuffer(content[: _HEAD.itemsize], _HEAD).copy()
    for name, value in fields.items():
        head[name] = value
    return head.tobytes() + bytes(content[_HEAD.itemsize :])


numbers = st.sampled_from([0, 1, 2, 3, 4, 6, 16, 41, 42, 43, 58, 2**31, 2**32 - 1])
NAMES = ("version", "width", "height", "offset", "columns", "rows")
LIES = st.fixed_dictionaries(
    {},
    optional={name: numbers for name in NAMES}
    | {"hexagonal": st.integers(0, 255), "x_step_um": st.floats()},
)


@settings(max_examples=400)
@given(st.tuples(sides, sides, sides, sides), LIES, st.integers(-3, 3), st.booleans())
def test_any_header_opens_what_was_written_or_ends_in_a_sentence(
    tmp_path_factory, shape, lies, more_bytes, is_up1
):
    """Opened are the bytes behind the header, all of them, in the shape that it states."""
    ending, pixel = (".up1", np.uint8) if is_up1 else (".up2", np.uint16)
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    patterns = np.arange(1, np.prod(shape) + 1).astype(pixel).reshape(shape)
    true = dict(zip(("rows", "columns", "height", "width"), shape, strict=True))
    true |= {"version": 3, "offset": _HEAD.itemsize}
    whole = changed(bytes(_HEAD.itemsize) + patterns.tobytes() + b"\xff" * 3, **true | lies)
    path.write_bytes(whole[: len(whole) - 3 + more_bytes])
    head = true | lies
    try:
        opened = open_patterns(path)
    except PatternFileError as error:
        assert lies or more_bytes, "what was written without a lie opens"
        assert str(error).count(path.name) == 1 and str(error).endswith(".")
        return
    assert head["version"] >= 3 and head["offset"] >= 42
    rows, columns = (
        (1, len(opened[0])) if head.get("hexagonal") else (head["rows"], head["columns"])
    )
    assert opened.shape == (rows, columns, head["height"], head["width"])
    assert opened.tobytes() == path.read_bytes()[head["offset"] :]


def deposit(path: Path, patterns: np.ndarray) -> np.ndarray:
    """Write patterns (n, height, width) as the paper's deposit: its head is that of version 1."""
    height, width = patterns.shape[1:]
    path.write_bytes(struct.pack("<4I", 4, width, height, 58) + patterns.tobytes())
    return patterns


def test_the_layout_of_the_deposit(tmp_path):
    """What stands where a header of version 3 has columns, rows and steps is pattern data."""
    path, rng = tmp_path / "deposit.up2", np.random.default_rng(0)
    patterns = deposit(path, rng.integers(0, 65536, (15, 20, 20), np.uint16))
    words = r"from byte 58 on, as it states: set offset: 16 and map_shape: .* with 15 points"
    with pytest.raises(PatternFileError, match=words):
        open_patterns(path)
    with pytest.raises(PatternFileError, match=words):
        open_patterns(path, (4, 5), rows=(0, 2))
    with pytest.raises(PatternFileError, match="set offset: 16\\."):
        open_patterns(path, (3, 5))
    opened = open_patterns(path, (3, 5), 16)
    np.testing.assert_array_equal(opened.reshape(15, 20, 20), patterns)
    with pytest.raises(PatternFileError, match="1 patterns left over"):
        open_patterns(path, (2, 7), 16)


def test_a_file_of_the_deposits_size_opens_at_once(tmp_path):
    """Sparse: no disk is written. Its first and last patterns lie where the file's ends are."""
    path, pattern = tmp_path / "718RX_1um_120x120.up2", 120 * 120 * 2
    data = load_study("deposit").scan("rx").data
    with path.open("wb") as file:
        file.write(struct.pack("<4I", 4, 120, 120, 58) + b"\1" * pattern)
        file.truncate(DEPOSIT_BYTES)
        file.seek(DEPOSIT_BYTES - pattern)
        file.write(b"\2" * pattern)
    assert Path(data.path).name == path.name
    with pytest.raises(PatternFileError, match=r"offset: 16 and map_shape: .* with 901,901 points"):
        open_patterns(path)
    patterns = open_patterns(path, data.map_shape, data.offset)
    assert patterns.shape == (901, 1001, 120, 120)
    assert (patterns[0, 0] == 0x0101).all() and (patterns[-1, -1] == 0x0202).all()
    assert not patterns[0, 1].any() and not patterns[-1, -2].any()


def test_an_aborted_map_opens_by_its_whole_rows(tmp_path):
    path, patterns = tmp_path / "aborted.up2", np.arange(5 * 4 * 400, dtype=np.uint16)
    patterns = patterns.reshape(5, 4, 20, 20)
    write_scan(path, patterns)
    path.write_bytes(path.read_bytes()[:-3300])  # 4 patterns and a piece of one
    with pytest.raises(PatternFileError, match=r"holds 15, a map of 5 x 4 .*rows: \[0, 3\]"):
        open_patterns(path)
    np.testing.assert_array_equal(open_patterns(path, rows=(1, 3)), patterns[1:3])
    for rows in ((0, 4), (2, 2), (-1, 2)):
        with pytest.raises(PatternFileError, match=r"rows: .0, 3. to use whole rows alone"):
            open_patterns(path, rows=rows)


def test_version_1_with_patterns_left_over(tmp_path):
    """Opened as 9 x 10, every row of a 9 x 11 map would be sheared."""
    path = tmp_path / "sheared.up2"
    path.write_bytes(struct.pack("<4I", 1, 2, 2, 16) + bytes(99 * 8))
    with pytest.raises(
        PatternFileError, match=r"9 patterns left over .it holds 99, a map of 9 x 10"
    ):
        open_patterns(path, (9, 10))
    assert open_patterns(path, (9, 11)).shape == (9, 11, 2, 2)


@given(st.floats(-1, 1))
def test_counts_hold_intensity_to_half_a_count(value):
    back = to_intensity(to_counts(np.array([value])))
    assert abs(back[0] - value) <= 0.51 / 32767.5


def test_rows_that_a_map_does_not_have_are_named(tmp_path):
    write_scan(tmp_path / "scan.up2", np.zeros((3, 4, 6, 5), np.uint16))
    for rows in ((0, 20), (2, 1), (-1, 2)):
        with pytest.raises(PatternFileError, match=rf"has 3 map rows: correct rows: \[{rows[0]}, "):
            open_patterns(tmp_path / "scan.up2", rows=rows)


def test_whole_rows_are_no_help_against_a_wrong_offset(tmp_path):
    write_scan(tmp_path / "scan.up2", np.zeros((3, 4, 6, 5), np.uint16))
    with pytest.raises(PatternFileError, match="26 bytes left over") as error:
        open_patterns(tmp_path / "scan.up2", (3, 4), offset=16)
    assert "rows: [0" not in str(error.value)
