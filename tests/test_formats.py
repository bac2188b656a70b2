"""Files of every vendor through one door: patterns, and what the file says.

Those in kikuchipy's data folder that a vendor's software wrote are EDAX's and EMsoft's HDF5 and
NORDIF's; others are written here or by kikuchipy's own makers of test files.
"""

import shutil
import struct
from pathlib import Path

import dask.array as da
import h5py
import imageio.v3 as iio
import kikuchipy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kikuchipy.data._dummy_files import bruker_h5ebsd, oxford_h5ebsd

from kikuhelpers.patterns.up2 import PatternFileError, open_patterns
from kikuhelpers.scans import readers
from kikuhelpers.scans.formats import plausible_step
from kikuhelpers.scans.readers import convert_scan, open_scan
from kikuhelpers.study.scans import ArrayData, FileData, PublicData, Scan
from tests.conftest import PIXELS, scan_files, write_scan

VENDORS = Path(kikuchipy.data.__file__).parent
NICKEL = kikuchipy.data.nickel_ebsd_small().data  # the patterns of most of these files
BACKGROUND = kikuchipy.data.nickel_ebsd_small().static_background
NI = {"space_group": 225, "lattice_nm": [0.356] * 3, "angles_deg": [90.0] * 3}
MATCHED = {"name": "Nickel", **NI}
MADE = {
    "bruker.h5": bruker_h5ebsd.create_dummy_bruker_h5ebsd_file,
    "bruker_roi.h5": bruker_h5ebsd.create_dummy_bruker_h5ebsd_roi_file,
    "bruker_hole.h5": bruker_h5ebsd.create_dummy_bruker_h5ebsd_nonrectangular_roi_file,
    "oxford.h5oina": oxford_h5ebsd.create_dummy_oxford_h5ebsd_file,
}


@pytest.fixture
def any_size(monkeypatch):
    """Patterns of a few pixels, which the network would refuse, are quick to read."""
    monkeypatch.setattr(readers, "geometry_of", lambda *_: None)


@pytest.fixture
def files(tmp_path):
    return scan_files(tmp_path / "result")


def opened(path, **settings):
    """The patterns, read whole, and what the file says, but for a background."""
    patterns, said = readers.open_data(FileData(path=str(path), **settings))
    said.pop("background", None)
    return np.asarray(patterns), said


def made(folder: Path, name: str) -> Path:
    MADE[name](folder / name)
    return folder / name


def numbered(shape=(3, 4), side=20, dtype=np.uint16) -> np.ndarray:
    """Patterns that all differ; none is all zeros."""
    count = shape[0] * shape[1]
    first = np.arange(1, count + 1)[:, None, None] * 50
    patterns = first + np.arange(side * side).reshape(side, side) % 47
    return patterns.reshape(*shape, side, side).astype(dtype)


def background_of(path, **settings):
    return readers.open_data(FileData(path=str(path), **settings))[1].get("background")


# ------------------------------------------------------------- what vendors' files say


@pytest.mark.parametrize(
    ("name", "said"),
    [
        # y* and z* of this file are 0: its pattern centre was never set.
        (
            "edax_h5ebsd/patterns.h5",
            {
                "step_um": 1.5,
                "sample_tilt_deg": 75.7,
                "phases": [MATCHED | {"space_group": None}],
            },
        ),
        (
            "kikuchipy_h5ebsd/patterns.h5",
            {
                "step_um": 1.5,
                "pattern_centre": [0.42415, 0.21369, 0.50069],
                "phases": [{"name": "ni", **NI, "lattice_nm": [0.35236] * 3}],
            },
        ),
        (
            "nordif/Pattern.dat",
            {"step_um": 1.5},
        ),
        ("oxford_binary/patterns.ebsp", {"step_um": 1.5}),
        # kikuchipy says a sample tilt of 0 of these. Their pattern centre is (1, 1, 1).
        (
            "bruker.h5",
            {
                "step_um": 1.5,
                "phases": [MATCHED],
            },
        ),
        (
            "oxford.h5oina",
            {"step_um": 1.5, "sample_tilt_deg": 69.9, "detector_tilt_deg": 1.5},
        ),
    ],
)
def test_patterns_and_word_of_vendors_files(tmp_path, name, said):
    path = made(tmp_path, name) if name in MADE else VENDORS / name
    patterns, found = opened(path)
    if name != "oxford.h5oina":  # whose processed patterns have no background
        np.testing.assert_array_equal(patterns, NICKEL)
    assert patterns.shape == NICKEL.shape
    assert found == said


@pytest.mark.parametrize(
    "name", ["nordif/Pattern.dat", "kikuchipy_h5ebsd/patterns.h5", "bruker.h5", "bruker_roi.h5"]
)
def test_the_background_that_a_file_brings(tmp_path, name):
    path = made(tmp_path, name) if name in MADE else VENDORS / name
    np.testing.assert_array_equal(background_of(path), BACKGROUND)


@pytest.mark.parametrize("name", ["edax_h5ebsd/patterns.h5", "oxford_binary/patterns.ebsp"])
def test_a_file_without_a_background(name):
    assert background_of(VENDORS / name) is None


def test_processed_patterns_have_lost_their_background(tmp_path):
    path = made(tmp_path, "oxford.h5oina")
    assert background_of(path) is None
    np.testing.assert_array_equal(background_of(path, processed=False), BACKGROUND)


@pytest.mark.parametrize("wrong", [np.zeros((60, 60)), np.ones((30, 60)), np.full((60, 60), 7)])
def test_a_background_that_cannot_be_is_none(tmp_path, wrong):
    shutil.copy(VENDORS / "kikuchipy_h5ebsd" / "patterns.h5", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        header = file["Scan 1/EBSD/Header"]
        del header["static_background"]
        header["static_background"] = wrong.astype(np.uint8)
    assert background_of(tmp_path / "a.h5") is None


def test_a_background_of_patterns_that_are_scaled_is_none(tmp_path):
    signal = kikuchipy.signals.EBSD(NICKEL.astype(np.float32), static_background=BACKGROUND)
    signal.save(tmp_path / "a.h5")
    assert background_of(tmp_path / "a.h5") is None


@pytest.mark.parametrize("flip", [False, True])
def test_stage_01_writes_the_background_where_it_is_asked_for(files, any_size, flip):
    data = FileData(path=str(VENDORS / "nordif" / "Pattern.dat"), flip=flip)
    card, _ = convert_scan(Scan(data=data), files, "mine")
    assert "background" not in card["file"] and not files.brought.exists()
    convert_scan(Scan(data=data, preprocessing={"background_of": "its file"}), files, "mine")
    np.testing.assert_array_equal(np.load(files.brought), BACKGROUND[:: -1 if flip else 1])


@pytest.mark.parametrize("kind", ["h5", "up2", "npy"])
def test_stage_01_refuses_a_background_that_is_not_there(tmp_path, files, any_size, kind):
    path = VENDORS / "edax_h5ebsd" / "patterns.h5"
    data = FileData(path=str(path if kind == "h5" else up2(tmp_path / "scan.up2")))
    if kind == "npy":
        np.save(tmp_path / "scan.npy", NICKEL)
        shapes = {"map_shape": (3, 3), "pattern_shape": (60, 60)}
        data = ArrayData(source="array", path=str(tmp_path / "scan.npy"), **shapes)
    scan = Scan(data=data, preprocessing={"background_of": "its file"})
    with pytest.raises(PatternFileError, match="file of scan 'mine' brings no background"):
        convert_scan(scan, files, "mine")
    assert not list(files.raw.parent.iterdir())


def test_simulated_patterns_of_emsoft():
    path = VENDORS / "emsoft_ebsd"
    with pytest.raises(PatternFileError, match=r"holds 10 patterns.* set map_shape"):
        opened(path / "simulated_ebsd.h5")
    patterns, said = opened(path / "simulated_ebsd.h5", map_shape=(2, 5))
    with h5py.File(path / "simulated_ebsd.h5") as file:
        np.testing.assert_array_equal(
            patterns.reshape(10, 10, 10), file["EMData/EBSD/EBSDPatterns"]
        )
    (phase,) = said["phases"]
    assert (phase["space_group"], phase["lattice_nm"]) == (140, [0.5949, 0.5949, 0.5821])
    patterns, said = opened(path / "EBSD_TEST_Ni.h5", map_shape=(1, 1))
    assert patterns.shape == (1, 1, 480, 640)
    assert said["detector_tilt_deg"] == 10.0
    # EMsoft's (20 px, 20 px, 15,000 um at 50 um) in Bruker's convention
    assert said["pattern_centre"] == pytest.approx(
        [0.5 - 20 / 640, 0.5 - 20 / 480, 300 / 480], abs=1e-5
    )


def test_oxford_phases_are_in_angstrom_and_radians(tmp_path):
    path = made(tmp_path, "oxford.h5oina")
    with h5py.File(path, "r+") as file:
        phase = file.create_group("1/EBSD/Header/Phases/1")
        phase["Phase Name"], phase["Space Group"] = [b"Titanium"], np.array([194])
        phase["Lattice Dimensions"] = np.array([[2.95, 2.95, 4.68]], np.float32)
        phase["Lattice Angles"] = np.deg2rad(np.array([[90, 90, 120]], np.float32))
        for name, value in {"Pattern Center X": 0.52, "Pattern Center Y": 0.6}.items():
            file[f"1/EBSD/Data/{name}"][:] = value
        file["1/EBSD/Data/Detector Distance"][:] = 0.7
        file["1/EBSD/Data/Pattern Center X"][4] = np.nan  # a point outside the acquisition
    _, said = opened(path)
    assert said["phases"] == [
        {
            "name": "Titanium",
            "space_group": 194,
            "lattice_nm": pytest.approx([0.295, 0.295, 0.468]),
            "angles_deg": pytest.approx([90, 90, 120]),
        }
    ]
    assert said["pattern_centre"] == pytest.approx([0.52, 1 - 0.6, 0.7], abs=1e-5)


def test_processed_or_unprocessed_patterns_by_choice(tmp_path):
    path = made(tmp_path, "oxford.h5oina")
    processed, raw = opened(path)[0], opened(path, processed=False)[0]
    np.testing.assert_array_equal(raw, processed + 1)  # as kikuchipy's maker writes them
    only_raw = shutil.copy(path, tmp_path / "raw.h5oina")
    with h5py.File(only_raw, "r+") as file:
        del file["1/EBSD/Data/Processed Patterns"]
    np.testing.assert_array_equal(opened(only_raw, processed=False)[0], raw)
    with pytest.raises(PatternFileError, match="EBSD/Data/Processed Patterns"):
        opened(only_raw)


def test_edax_files_by_another_ending(tmp_path):
    shutil.copy(VENDORS / "edax_h5ebsd" / "patterns.h5", tmp_path / "scan.oh5")
    patterns, said = opened(tmp_path / "scan.oh5")
    np.testing.assert_array_equal(patterns, NICKEL)
    assert said["step_um"] == 1.5
    dataset = {"dataset": "Scan 1/EBSD/Data/Pattern"}
    array = ArrayData(
        source="array",
        path=str(tmp_path / "scan.oh5"),
        map_shape=(3, 3),
        pattern_shape=(60, 60),
        **dataset,
    )
    np.testing.assert_array_equal(readers.open_data(array)[0], NICKEL)


def test_a_rectangle_of_a_bruker_map(tmp_path):
    """Its patterns lie in another order than its points."""
    path = made(tmp_path, "bruker_roi.h5")
    patterns, _ = opened(path)
    with h5py.File(path) as file:
        scan = file["Scan 0/EBSD"]
        stored, row, column = (scan[n][()] for n in ("Data/RawPatterns", "SEM/IY", "SEM/IX"))
    assert patterns.shape == (3, 2, 60, 60)
    np.testing.assert_array_equal(patterns[row - row.min(), column - column.min()], stored)
    with pytest.raises(PatternFileError, match="Only a rectangular region of interest"):
        opened(made(tmp_path, "bruker_hole.h5"))


@given(st.lists(st.floats(), max_size=2))
def test_a_step_is_one_plausible_number(steps):
    step = plausible_step(steps)
    if step is not None:
        assert 0 < step <= 1000
        assert max(steps) <= 1.01 * min(steps)
    assert plausible_step([0.25, 0.25]) == 0.25


# ------------------------------------------------------------------ maps with holes


def ebsp(path: Path, patterns: np.ndarray, missing=(), version=2, beam=True) -> Path:
    """Write Oxford's binary as its reader in kikuchipy describes it, the last pattern first."""
    rows, columns, height, width = patterns.shape
    points = [p for p in reversed(range(rows * columns)) if p not in missing]
    first = (8 if version < 4 else 9) + 8 * rows * columns
    size = 16 + patterns[0, 0].nbytes + 18 * beam
    starts = np.zeros(rows * columns, np.int64)
    starts[points] = first + size * np.arange(len(points))
    with path.open("wb") as file:
        file.write(struct.pack("<q", -version) + b"\0" * (version >= 4) + starts.tobytes())
        for point in points:
            row, column = divmod(point, columns)
            file.write(struct.pack("<4i", 0, height, width, patterns[0, 0].nbytes))
            file.write(patterns[row, column].tobytes())
            file.write(struct.pack("<?d?d", True, 0.2 * column, True, 0.2 * row) if beam else b"")
    return path


@pytest.mark.parametrize("missing", [(), (5,), (0, 7), (1, 4, 6, 11)])
@pytest.mark.parametrize("version", [2, 4])
def test_points_that_an_ebsp_file_leaves_out_are_zeros(tmp_path, missing, version):
    patterns = numbered(side=50)
    found, said = opened(ebsp(tmp_path / "scan.ebsp", patterns, missing, version))
    wanted = patterns.copy().reshape(12, 50, 50)
    wanted[list(missing)] = 0
    np.testing.assert_array_equal(found, wanted.reshape(patterns.shape))
    assert said == {"step_um": 0.2}


def test_a_large_ebsp_file_with_points_left_out(tmp_path):
    """Sparse, 80 MB: kikuchipy takes a gap in its list of places for the end of the list."""
    path, shape, pixels = tmp_path / "large.ebsp", (4, 500), (200, 200)
    first, size = 8 + 8 * 2_000, 16 + 40_000 + 18
    present = np.setdiff1d(np.arange(2_000), [0, 1_600, 1_601, 1_999])
    places = np.zeros(2_000, np.int64)
    places[present] = first + size * np.arange(len(present))
    with path.open("wb") as file:
        file.write(struct.pack("<q", -2) + places.tobytes())
        for point in (1, 1_599, 1_602):
            file.seek(places[point])
            file.write(struct.pack("<4i", 0, *pixels, 40_000) + bytes([point % 256]) * 40_000)
            file.write(struct.pack("<?d?d", True, 0.0, True, 0.0))
        file.truncate(first + size * len(present))
    with pytest.raises((NotImplementedError, ZeroDivisionError)):
        kikuchipy.load(path, lazy=True)
    patterns, _ = readers.open_data(FileData(path=str(path), map_shape=shape))
    for point in (1, 1_599, 1_602):
        assert (np.asarray(patterns[divmod(point, 500)]) == point % 256).all()
    assert not np.asarray(patterns[3, 100:102]).any()


def test_an_ebsp_file_whose_points_cannot_be_placed(tmp_path):
    patterns, missing = numbered(side=50), (0, 4, 8)  # the whole first column
    path = ebsp(tmp_path / "scan.ebsp", patterns, missing)
    with pytest.raises(PatternFileError, match=r"set map_shape: .* of 12 points or more"):
        opened(path)
    found, _ = opened(path, map_shape=(3, 4))
    assert not found[:, 0].any()
    np.testing.assert_array_equal(found[:, 1:], patterns[:, 1:])


def images(folder: Path, patterns: np.ndarray, name: str, missing=()) -> Path:
    folder.mkdir()
    for row, column in np.ndindex(patterns.shape[:2]):
        if (row, column) not in missing:
            place = {"row": row, "column": column, "n": row * patterns.shape[1] + column}
            iio.imwrite(folder / name.format(**place), patterns[row, column])
    return folder


@pytest.mark.parametrize("ending", ["tif", "png", "bmp"])
@pytest.mark.parametrize("name", ["scan_x{column}y{row}", "scan-{column}-{row}"])
def test_images_by_column_and_row(tmp_path, ending, name):
    dtype = np.uint8 if ending == "bmp" else np.uint16
    patterns = numbered((11, 12), 8, np.uint16).astype(dtype)
    folder = images(tmp_path / "images", patterns, f"{name}.{ending}")
    np.testing.assert_array_equal(opened(folder)[0], patterns)
    np.testing.assert_array_equal(opened(folder / f"*.{ending}", rows=(2, 4))[0], patterns[2:4])
    theirs = kikuchipy.load(folder / f"*.{ending}").data
    np.testing.assert_array_equal(theirs, patterns)


def test_images_without_a_place_come_in_the_order_of_their_numbers(tmp_path):
    patterns = numbered((3, 4), 8)
    folder = images(tmp_path / "images", patterns, "pattern{n}.tif")  # 10 comes before 2
    (folder / "notes.txt").write_text("not an image")
    with pytest.raises(PatternFileError, match=r"12 patterns.* no stated shape: set map_shape"):
        opened(folder)
    with pytest.raises(PatternFileError, match=r"map is of \(3, 5\)"):
        opened(folder, map_shape=(3, 5))
    found, said = opened(folder, map_shape=(3, 4))
    np.testing.assert_array_equal(found, patterns)
    assert said == {}


def test_images_that_are_no_map(tmp_path, files, any_size):
    grey = numbered((2, 3), 8).astype(np.uint8)
    folder = images(tmp_path / "images", grey, "a_x{column}y{row}.png", {(1, 1)})
    with pytest.raises(PatternFileError, match=r"5 patterns, .* set map_shape"):
        opened(folder)
    iio.imwrite(folder / "a_x1y1.png", np.zeros((8, 9), np.uint8))
    with pytest.raises(PatternFileError, match="images cannot be read"):
        convert_scan(Scan(data=FileData(path=str(folder))), files, "mine")
    iio.imwrite(folder / "a_x9y9.bmp", np.zeros((8, 9), np.uint8))
    with pytest.raises(
        PatternFileError, match=r"images holds \.bmp, \.png: name images, as images/"
    ):
        opened(folder)
    with pytest.raises(PatternFileError, match="No filename matches"):
        opened(folder / "*.tif")
    with pytest.raises(PatternFileError, match="holds no images"):
        opened(tmp_path)
    colours = images(tmp_path / "colours", np.stack([grey] * 3, -1), "a_x{column}y{row}.png")
    with pytest.raises(PatternFileError, match="in colour: save them in grey"):
        opened(colours)
    (colours / "a_x1y1.png").unlink()
    with pytest.raises(PatternFileError, match="in colour: save them in grey"):
        opened(colours, map_shape=(1, 5))


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("kind", ["h5", "up2", "npy", "png"])
def test_a_line_of_points_is_a_map(tmp_path, shape, kind):
    patterns = numbered(shape, 16)
    path = tmp_path / f"line.{kind}"
    if kind == "up2":
        write_scan(path, patterns)
    elif kind == "npy":
        np.save(path, patterns)
    elif kind == "png":
        path = images(tmp_path / "line", patterns, "x_x{column}y{row}.png")
    else:
        kikuchipy.signals.EBSD(patterns).save(path)
    data = FileData(path=str(path))
    if kind == "npy":
        data = ArrayData(source="array", path=str(path), map_shape=shape, pattern_shape=(16, 16))
    np.testing.assert_array_equal(readers.open_data(data)[0], patterns)


# --------------------------------------------------- maps that ended early, and junk


def test_an_aborted_nordif_map(tmp_path):
    folder = tmp_path / "nordif"
    shutil.copytree(VENDORS / "nordif", folder)
    whole = (folder / "Pattern.dat").read_bytes()
    (folder / "Pattern.dat").write_bytes(whole[: 7 * 3600 + 5])
    patterns, said = opened(folder / "Pattern.dat")
    np.testing.assert_array_equal(patterns.reshape(9, 60, 60)[:7], NICKEL.reshape(9, 60, 60)[:7])
    assert not patterns[2, 1:].any()
    assert said["step_um"] == 1.5


def test_an_aborted_vendor_map_has_points_of_zeros(tmp_path):
    """kikuchipy fills up what an HDF5 lacks."""
    path = tmp_path / "aborted.h5"
    shutil.copy(VENDORS / "edax_h5ebsd" / "patterns.h5", path)
    with h5py.File(path, "r+") as file:
        data = file["Scan 1/EBSD/Data"]
        seven = data["Pattern"][:7]
        del data["Pattern"]
        data["Pattern"] = seven
    with pytest.warns(UserWarning, match="zero padding"):
        patterns, _ = opened(path)
    np.testing.assert_array_equal(patterns.reshape(9, 60, 60)[:7], seven)
    assert not patterns[2, 1:].any()


JUNK = ("scan.h5", "scan.hdf5", "scan.h5oina", "scan.oh5", "scan.ebsp", "Pattern.dat")
JUNK += ("Setting.txt", "scan.npz", "scan.png", "scan.tif", "scan.up1", "scan.up2", "scan.xyz")


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\x89HDF\r\n\x1a\n" + b"\0" * 500, b"\x07" * 5000]
)
@pytest.mark.parametrize("name", JUNK)
def test_junk_ends_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PatternFileError, match=name):
        opened(tmp_path / name)


@pytest.mark.parametrize("name", ["scan.npy", "scan.mat", "scan.h5", "scan.oh5", "scan.raw"])
@pytest.mark.parametrize(
    "content", [b"", b"junk", b"\x89HDF\r\n\x1a\n" + b"\0" * 500, b"\x07" * 5000]
)
def test_junk_arrays_end_in_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    shapes = {"map_shape": (2, 2), "pattern_shape": (8, 8)}
    data = ArrayData(source="array", path=str(tmp_path / name), dataset="scan", **shapes)
    with pytest.raises(PatternFileError, match=name):
        np.asarray(readers.open_data(data)[0])


def test_a_settings_file_of_nordif_with_holes(tmp_path):
    shutil.copytree(VENDORS / "nordif", tmp_path / "nordif")
    setting = tmp_path / "nordif" / "Setting.txt"
    lines = setting.read_text("latin-1").splitlines(keepends=True)
    for name in ("Step size", "Tilt angle", "Number of samples", "Elevation"):
        rest = [line for line in lines if not line.startswith(name)]
        assert len(rest) == len(lines) - 1
        setting.write_text("".join(rest), "latin-1")
        with pytest.raises(PatternFileError, match=r"Pattern\.dat cannot be read"):
            opened(tmp_path / "nordif" / "Pattern.dat")
    setting.unlink()
    with pytest.raises(PatternFileError, match="No setting file found"):
        opened(tmp_path / "nordif" / "Pattern.dat")


def test_what_is_no_map_of_patterns():
    for name in ("nordif/Setting.txt", "emsoft_ebsd_master_pattern/master_patterns.h5"):
        with pytest.raises(PatternFileError, match="no map of patterns"):
            opened(VENDORS / name)
    up1 = VENDORS / "edax_binary" / "edax_binary.up1"
    np.testing.assert_array_equal(opened(up1, map_shape=(3, 3))[0], NICKEL)


# --------------------------------------------------------------- hexagonal grids


def hexagonal(path: Path, rows: int, columns: int, shorter: bool, more: int = 0) -> np.ndarray:
    """Write a scan as EDAX does, step 0.5 um, and return its points (x, y) in steps.

    All pixels of a pattern are its number, from 1 on. ``more`` patterns follow.
    """
    places = [
        (column + row % 2 / 2, row * 3**0.5 / 2)
        for row in range(rows)
        for column in range(columns - shorter * (row % 2))
    ]
    number = np.arange(1, len(places) + more + 1, dtype=np.uint16)
    patterns = np.broadcast_to(number[:, None, None], (len(number), 20, 20))
    if path.suffix == ".up2":
        head = struct.pack("<4IB2IB2d", 3, 20, 20, 42, 0, columns, rows, 1, 0.5, 0.4330127)
        path.write_bytes(head + patterns.tobytes())
        return np.array(places)
    shutil.copy(VENDORS / "edax_h5ebsd" / "patterns.h5", path)
    said = {"Grid Type": b"HexGrid", "nRows": rows, "nColumns": columns, "Step X": 0.5}
    said |= {"Step Y": 0.4330127, "Pattern Height": 20, "Pattern Width": 20}
    with h5py.File(path, "r+") as file:
        for name, value in said.items():
            file[f"Scan 1/EBSD/Header/{name}"][0] = value
        del file["Scan 1/EBSD/Data/Pattern"]
        file["Scan 1/EBSD/Data/Pattern"] = patterns
    return np.array(places)


@pytest.mark.parametrize("ending", ["up2", "h5", "oh5"])
@pytest.mark.parametrize(
    ("grid", "square"), [((9, 7), (7, 7)), ((10, 6), (8, 6)), ((1, 5), (1, 5)), ((4, 2), (3, 2))]
)
@pytest.mark.parametrize("shorter", [False, True])
def test_a_hexagonal_grid_becomes_a_square_one(tmp_path, capsys, ending, grid, square, shorter):
    """Each point takes its nearest pattern, within half a step, and none comes twice."""
    path = tmp_path / f"hex.{ending}"
    places = hexagonal(path, *grid, shorter)
    patterns, said = opened(path)
    rows, columns = square[0], square[1] - (shorter and grid[0] > 1)
    assert patterns.shape == (rows, columns, 20, 20)
    assert said["step_um"] == 0.5
    number = patterns[..., 3, 4].astype(int) - 1
    assert len(np.unique(number)) == number.size
    points = np.stack(np.meshgrid(np.arange(columns) + 0.25, np.arange(rows)), -1)
    distance = np.linalg.norm(places - points[:, :, None], axis=-1)
    taken = np.take_along_axis(distance, number[..., None], -1)[..., 0]
    np.testing.assert_allclose(taken, distance.min(-1))
    assert taken.max() <= 0.5
    words = f"becomes a square one of {rows} x {columns}; {number.size} of {len(places)} patterns"
    assert f"{path.name}: its hexagonal grid {words} are used." in capsys.readouterr().out


def test_a_square_grid_in_place_of_a_hexagonal_one(tmp_path, capsys, files, any_size):
    path = tmp_path / "hex.up2"
    hexagonal(path, 9, 7, shorter=True)
    whole = opened(path)[0]
    np.testing.assert_array_equal(opened(path, rows=(2, 5))[0], whole[2:5])
    with pytest.raises(PatternFileError, match=r"hex\.up2 has 7 map rows: correct \[2, 8\]"):
        opened(path, rows=(2, 8))
    card, _ = convert_scan(Scan(data=FileData(path=str(path))), files, "mine")
    np.testing.assert_array_equal(open_patterns(files.raw), whole)
    assert not files.raw.is_symlink() and card["map_shape"] == (7, 6)
    capsys.readouterr()
    assert opened(path, map_shape=(1, 59))[0].shape == (1, 59, 20, 20)
    assert "map_shape (1, 59) as the study says; the file says (9, 7)" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["up2", "h5"])
def test_patterns_that_no_hexagonal_grid_has(tmp_path, ending):
    hexagonal(tmp_path / f"hex.{ending}", 9, 7, shorter=True, more=1)
    with pytest.raises(PatternFileError, match=r"holds 60 patterns .* 9 x 7 points, or 4 less"):
        opened(tmp_path / f"hex.{ending}")
    with pytest.raises(PatternFileError, match=r"holds 10 patterns .* 3 x 3 points, or 1 less"):
        opened(VENDORS / "edax_binary" / "edax_binary.up2")


# ------------------------------------------------------------------------- arrays


def test_an_hdf5_array_is_not_read_whole(tmp_path):
    """Of a map of 3 GB a row is read in less memory than it takes."""
    path, shape = tmp_path / "large.h5", (1000, 1000, 40, 40)
    with h5py.File(path, "w") as file:  # holes: no disk is written
        file.create_dataset("flat", (shape[0] * shape[1], *shape[2:]), np.uint16)
        file.create_dataset("map", shape, np.uint16)
        file["flat"][5001] = 7
        file["map"][5, 1] = 7
    for dataset in ("flat", "map"):
        data = ArrayData(
            source="array",
            path=str(path),
            map_shape=shape[:2],
            pattern_shape=shape[2:],
            dataset=dataset,
            rows=(5, 7),
        )
        patterns, _ = readers.open_data(data)
        assert isinstance(patterns, da.Array)
        assert patterns.shape == (2, *shape[1:])
        row = np.asarray(patterns[:1])
        assert (row[0, 1] == 7).all()
        assert row.sum() == 7 * 1600


def test_axes_in_another_order_are_refused(tmp_path):
    patterns = numbered((3, 4), 20)
    shapes = {"map_shape": (3, 4), "pattern_shape": (20, 20)}
    np.save(tmp_path / "matlab.npy", patterns.T)
    with pytest.raises(PatternFileError, match=r"array of \(20, 20, 4, 3\), not \(3, 4, 20, 20\)"):
        readers.open_data(ArrayData(source="array", path=str(tmp_path / "matlab.npy"), **shapes))
    np.save(tmp_path / "flat.npy", patterns.reshape(12, 20, 20))
    data = ArrayData(source="array", path=str(tmp_path / "flat.npy"), **shapes)
    np.testing.assert_array_equal(readers.open_data(data)[0], patterns)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8", "u4", ">u2", ">f4"])
def test_numbers_of_any_type_become_counts(tmp_path, files, any_size, dtype):
    patterns = numbered((2, 3), 8).astype(dtype)
    np.save(tmp_path / "scan.npy", patterns)
    shapes = {"map_shape": (2, 3), "pattern_shape": (8, 8)}
    data = ArrayData(source="array", path=str(tmp_path / "scan.npy"), **shapes)
    convert_scan(Scan(data=data), files, "mine")
    low, high = float(patterns.min()), float(patterns.max())
    wanted = patterns.astype(float)
    wanted = wanted if dtype == ">u2" else (wanted - low) / (high - low) * 65535
    np.testing.assert_allclose(open_patterns(files.raw), wanted, atol=1)


@pytest.mark.parametrize("dtype", ["c8", "?", "S3"])
def test_what_is_no_number_is_refused(tmp_path, files, any_size, dtype):
    np.save(tmp_path / "scan.npy", np.zeros((2, 3, 8, 8), dtype))
    shapes = {"map_shape": (2, 3), "pattern_shape": (8, 8)}
    data = ArrayData(source="array", path=str(tmp_path / "scan.npy"), **shapes)
    with pytest.raises(PatternFileError, match="no number"):
        convert_scan(Scan(data=data), files, "mine")
    assert not list(files.raw.parent.iterdir())


# ------------------------------------------------------------- step, flip, rows, the card


def up2(path: Path, step_um: float | tuple = 0.25, patterns=None) -> Path:
    patterns = numbered((3, 4), PIXELS) if patterns is None else patterns
    write_scan(path, patterns)
    content = bytearray(path.read_bytes())
    content[26:42] = struct.pack("<2d", *np.broadcast_to(step_um, 2))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("files_step", "mine", "step", "line"),
    [
        (0.25, None, 0.25, ""),
        (0.25, 0.25, 0.25, ""),
        (0.25, 0.252, 0.252, ""),  # within 1 %
        (0.25, 3.0, 3.0, "step 3 um as the study says, not 0.25 as the file does"),
        (float("nan"), 3.0, 3.0, "states a step of (nan, nan) um; the study says 3 um"),
    ],
)
def test_whose_step_counts(tmp_path, files, capsys, files_step, mine, step, line):
    data = FileData(path=str(up2(tmp_path / "scan.up2", files_step)), step_um=mine)
    card, _ = convert_scan(Scan(data=data), files, "mine")
    assert card["step_um"] == step
    assert card["file"] == ({"step_um": 0.25} if files_step == 0.25 else {})
    out = capsys.readouterr().out
    assert line in out
    assert bool(line) == bool(out)
    assert files.raw.is_symlink(), "a ready file is used where it lies"


@pytest.mark.parametrize("step", [0, -1.0, float("nan"), float("inf"), 1001.0, (0.5, 1.0)])
def test_a_header_without_a_step_asks_for_one(tmp_path, files, step):
    path = up2(tmp_path / "scan.up2", step)
    with pytest.raises(PatternFileError, match=r"states a step of .* set step_um"):
        convert_scan(Scan(data=FileData(path=str(path))), files, "mine")


def test_a_step_that_nobody_states(tmp_path, files, capsys):
    np.save(tmp_path / "scan.npy", numbered((2, 3), PIXELS))
    shapes = {"map_shape": (2, 3), "pattern_shape": (PIXELS, PIXELS)}
    data = ArrayData(source="array", path=str(tmp_path / "scan.npy"), **shapes)
    card, _ = convert_scan(Scan(data=data), files, "mine")
    assert card["step_um"] == 1.0
    assert "'mine': neither study nor file states a step; 1 um is taken" in capsys.readouterr().out


def test_the_step_of_a_public_scan_is_its_files(files, any_size):
    data = PublicData(source="public", name="nickel_ebsd_small", rows=(1, 3))
    card, _ = convert_scan(Scan(data=data), files, "mine")
    np.testing.assert_array_equal(open_patterns(files.raw), NICKEL[1:3])
    assert card["step_um"] == 1.5
    assert card["file"]["pattern_centre"] == [0.42415, 0.21369, 0.50069]


def test_what_the_study_says_against_the_file_is_said(tmp_path, files, capsys):
    path = up2(tmp_path / "scan.up2")
    data = FileData(path=str(path), map_shape=(4, 3), flip=True)
    convert_scan(Scan(data=data), files, "mine")
    assert "map_shape (4, 3) as the study says; the file says (3, 4)" in capsys.readouterr().out
    wanted = numbered((3, 4), PIXELS).reshape(4, 3, PIXELS, PIXELS)[..., ::-1, :]
    np.testing.assert_array_equal(open_patterns(files.raw), wanted)
    assert not files.raw.is_symlink()


@pytest.mark.parametrize("rows", [(0, 4), (2, 2), (-1, 2)])
def test_rows_that_are_not_there(tmp_path, rows):
    np.save(tmp_path / "scan.npy", numbered((3, 4), 8))
    shapes = {"map_shape": (3, 4), "pattern_shape": (8, 8)}
    data = ArrayData(source="array", path=str(tmp_path / "scan.npy"), rows=rows, **shapes)
    with pytest.raises(PatternFileError, match="has 3 map rows"):
        readers.open_data(data)


def test_points_never_measured_are_counted(tmp_path, files, capsys):
    patterns = numbered((3, 4), PIXELS)
    patterns[1, :2] = 0
    convert_scan(Scan(data=FileData(path=str(up2(tmp_path / "a.up2", 1, patterns)))), files, "mine")
    assert "2 of 12 points hold zeros: never measured" in capsys.readouterr().out


def test_an_offset_is_of_up_files_alone():
    with pytest.raises(PatternFileError, match=r"patterns\.h5 is no UP file: leave offset out"):
        opened(VENDORS / "edax_h5ebsd" / "patterns.h5", offset=16)


def test_open_scan_takes_the_settings_of_a_file(tmp_path):
    patterns = numbered((3, 4), 20)
    path = tmp_path / "scan.up2"
    path.write_bytes(struct.pack("<4I", 4, 20, 20, 58) + patterns.tobytes())
    found = open_scan(path, (3, 4), offset=16, rows=(1, 2))
    np.testing.assert_array_equal(found, patterns[1:2])
