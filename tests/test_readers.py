"""Any source becomes the same UP2."""

import contextlib
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import kikuchipy
import numpy as np
import pytest
import scipy.io

from kikuhelpers.patterns import streaming
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import PatternFileError, Up2Writer, open_patterns
from kikuhelpers.runs.files import digest
from kikuhelpers.scans import public as public_scans
from kikuhelpers.scans.readers import convert_scan
from kikuhelpers.study.scans import ArrayData, FileData, PublicData, Scan
from tests.conftest import PIXELS, load_truth, scan_files, virtual_scan, write_scan

SHAPE = (2, 3, PIXELS, PIXELS)


@pytest.fixture
def patterns():
    return np.random.default_rng(0).integers(0, 65536, SHAPE, np.uint16)


@pytest.fixture
def files(tmp_path):
    return scan_files(tmp_path / "result")


def array_scan(path, **changes):
    settings = {"source": "array", "map_shape": SHAPE[:2], "pattern_shape": SHAPE[2:]}
    return ArrayData(path=str(path), **(settings | changes))


def convert(data, files):
    return convert_scan(Scan(data=data), files, "mine")


@pytest.mark.parametrize("kind", ["npy", "flat", "h5", "mat", "up2", "kikuchipy"])
def test_all_sources_give_the_same_scan(tmp_path, files, patterns, kind):
    path = tmp_path / f"scan.{ {'flat': 'raw', 'kikuchipy': 'h5'}.get(kind, kind) }"
    scan = array_scan(path, dataset="scan1" if kind in {"h5", "mat"} else None)
    if kind == "npy":
        np.save(path, patterns)
    elif kind == "flat":
        patterns.tofile(path)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["scan1"] = patterns.reshape(6, PIXELS, PIXELS)
    elif kind == "mat":
        scipy.io.savemat(path, {"scan1": patterns})
    elif kind == "up2":
        write_scan(path, patterns)
        scan = FileData(path=str(path))
    else:
        kikuchipy.signals.EBSD(patterns).save(path)
        scan = FileData(path=str(path))
    card, overview = convert(scan, files)
    np.testing.assert_array_equal(open_patterns(files.raw), patterns)
    assert card["map_shape"] == SHAPE[:2]
    assert card["sha256"] == hashlib.sha256(files.raw.read_bytes()).hexdigest()
    np.testing.assert_allclose(overview.mean_pattern, patterns.mean((0, 1)))
    np.testing.assert_allclose(overview.brightness, patterns.mean((2, 3)))


def test_floats_fill_16_bit(tmp_path, files, patterns):
    path = tmp_path / "scan.npy"
    np.save(path, patterns.astype(np.float32) / 65535 - 0.5)
    convert(array_scan(path), files)
    written = open_patterns(files.raw)
    assert written.min() == 0
    assert written.max() == 65535
    wanted = np.interp(patterns, (patterns.min(), patterns.max()), (0, 65535))
    np.testing.assert_allclose(written, wanted, atol=1)


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (FileData(path="nowhere.up2"), "There is no pattern file"),
        (FileData(path="nowhere.h5"), "There is no scan file"),
        (array_scan("nowhere.npy"), "There is no scan file"),
        (PublicData(source="public", name="moon"), "no public scan 'moon'; known are in718_rx"),
        (PublicData(source="public", name="in718_rx", rows=(0, 30)), "tile's edge"),
    ],
)
def test_what_is_not_there_gets_one_sentence(files, scan, words):
    with pytest.raises(ValueError, match=words):
        convert(scan, files)
    assert list(files.raw.parent.iterdir()) == []


def test_wrong_sizes_get_one_sentence(tmp_path, files, patterns):
    path = tmp_path / "scan.raw"
    patterns.tofile(path)
    with pytest.raises(PatternFileError, match="correct map_shape, pattern_shape or dtype"):
        convert(array_scan(path, map_shape=(2, 4)), files)
    small = tmp_path / "small.up2"
    write_scan(small, patterns[..., :10, :10])
    with pytest.raises(PatternFileError, match="10 x 10 px cannot be used with binning 1"):
        convert(FileData(path=str(small)), files)
    assert not files.raw.exists(), "what cannot be used is not converted"
    wide = tmp_path / "data.h5"
    with h5py.File(wide, "w") as file:
        file["patterns"] = patterns
    with pytest.raises(PatternFileError, match="set dataset to one of: patterns"):
        convert(array_scan(wide, dataset="pattern"), files)


@pytest.mark.parametrize("linked", [True, False])
def test_a_scan_is_read_once(tmp_path, files, patterns, monkeypatch, linked):
    """Its hash, its mean pattern and its brightness come from one reading of the UP2 file."""
    path = tmp_path / "scan.up2"
    if linked:
        write_scan(path, patterns)
        data = FileData(path=str(path))
    else:
        path = path.with_suffix(".npy")
        np.save(path, patterns)
        data = array_scan(path)
    calls = []

    def counted(stage, *arrays, **more):
        calls.append(stage)
        return chunks(stage, *arrays, **more)

    monkeypatch.setattr("kikuhelpers.scans.readers.chunks", counted)
    monkeypatch.setattr("pooch.file_hash", None)
    card, _ = convert(data, files)
    assert calls == (["reading"] if linked else ["converting", "reading"])
    assert card["sha256"] == hashlib.sha256(files.raw.read_bytes()).hexdigest()
    assert files.raw.is_symlink() == linked
    assert json.loads(files.card.read_text())["sha256"] == card["sha256"]
    assert str(tmp_path) not in files.card.read_text(), "no folder of this machine"


def test_a_wide_map_is_copied_some_patterns_at_a_time(tmp_path, files, monkeypatch):
    counts = np.arange(3 * 50 * 400, dtype=np.uint16).reshape(3, 50, 20, 20)
    write_scan(path := tmp_path / "wide.up2", counts)
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 8 * 400 * 2)  # 8 patterns, of 50 in a row
    taken, append = [], Up2Writer.append
    monkeypatch.setattr(Up2Writer, "append", lambda s, x: taken.append(len(x)) or append(s, x))
    convert_scan(Scan(data=FileData(path=str(path), rows=(1, 3))), files, "wide")
    assert (max(taken), sum(taken)) == (8, 100)
    np.testing.assert_array_equal(open_patterns(files.raw), counts[1:])


def test_a_record_hashes_no_large_file(files, monkeypatch):
    """Records tell large files apart by their size and 64 MiB spread over them."""
    large = files.raw.with_name("large.bin")
    large.parent.mkdir(parents=True)
    with large.open("wb") as file:
        file.truncate(1 << 30)  # a hole: no disk is written
    read, whole_open = [], Path.open

    def counted(path, *arguments):
        file = whole_open(path, *arguments)
        part = file.read
        file = SimpleNamespace(
            read=lambda *n: read.append(part(*n)) or read[-1], seek=file.seek, close=file.close
        )
        return contextlib.closing(file)

    monkeypatch.setattr(Path, "open", counted)
    first = digest(large)
    assert sum(map(len, read)) <= 64 << 20
    monkeypatch.undo()
    with large.open("r+b") as file:
        file.truncate((1 << 30) + 1)
    assert digest(large) != first


def test_a_virtual_scan_brings_its_truth(files):
    convert(virtual_scan(), files)
    assert open_patterns(files.raw).shape == (4, 5, PIXELS, PIXELS)
    assert load_truth(files.truth).grain.shape == (4, 5)


def test_the_measured_crop(measured_crop, files):
    data = PublicData(source="public", name="in718_rx", rows=(0, 20))
    convert(data, files)
    patterns = open_patterns(files.raw)
    assert patterns.shape == (20, 200, PIXELS, PIXELS)
    # The source states 16-bit counts from 7,674 to 61,183 for the whole crop.
    inside = patterns[..., 60, 60]
    assert 7674 <= inside.min() <= inside.max() <= 61183


def test_a_damaged_tile_is_refused(tmp_path, monkeypatch):
    tiles = tmp_path / "in718_rx" / "tiles"
    tiles.mkdir(parents=True)
    (tiles / "tile_0_0.webp").write_bytes(b"not a picture")
    monkeypatch.setenv("KIKUHELPERS_DATA", str(tmp_path))
    with pytest.raises(PatternFileError, match="SHA-256 differs"):
        next(public_scans.in718_rows((0, 20)))
