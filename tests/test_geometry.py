"""Patterns of any size: weights, masks and centres in closed form, and orientations that agree."""

import kikuchipy as kp
import numpy as np
import pytest
from orix.quaternion import Rotation
from orix.quaternion.symmetry import Oh
from scipy.ndimage import map_coordinates

from kikuhelpers.indexing.hough import Detector, index_patterns
from kikuhelpers.latents.coding import encode, load_model
from kikuhelpers.patterns.geometry import Geometry, geometry_of
from kikuhelpers.patterns.masking import round_mask
from kikuhelpers.patterns.up2 import PatternFileError, open_patterns
from kikuhelpers.preprocessing.kernels import onto_network
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.runs.results import Results
from kikuhelpers.scans.virtual.microscope import VirtualMicroscope
from kikuhelpers.scans.virtual.specimen import Components
from kikuhelpers.study import load_study
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.study import NICKEL, Indexing, Preprocessing, ScreenMask
from tests.conftest import scan_files, virtual_scan, write_scan
from tests.test_virtual_microscope import lattices

ROWS, COLUMNS = 10, 20  # of simulated orientations
CENTRE = (0.48, 0.31, 0.62)  # Bruker's, of the square that all cameras hold


def geometry(height: int, width: int, **settings) -> Geometry:
    return geometry_of((height, width), ScanPreprocessing(**settings))


SHAPES = [(60, 60), (128, 156), (156, 128), (480, 480), (480, 640), (100, 333), (240, 120)]


@pytest.mark.parametrize("square", ["crop", "pad"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_plane_stays_a_plane(shape, square):
    """A network pixel has the plane's value at its middle, on average; a pixel is one square."""
    own = geometry(*shape, square=square)
    row, column = np.indices(shape)
    plane = (1000 + 9 * row + 5 * column).astype(np.uint16)
    values, pixels = onto_network(plane[np.newaxis], own)
    step, (top, left) = own.side / 120, own.corner
    middle = (np.arange(120) + 0.5) * step - 0.5
    # Beyond the middles of the outermost pixels, where there is nothing between, theirs go on.
    ends = [
        (max(0, n), min(n + own.side, size) - 1) for n, size in zip(own.corner, shape, strict=True)
    ]
    rows = np.clip(top + middle, *ends[0])[:, np.newaxis]
    wanted = 1000 + 9 * rows + 5 * np.clip(left + middle, *ends[1])
    on = own.on_camera
    # Averages over squares see a place up to 1/8 of a camera's pixel off its middle.
    np.testing.assert_allclose(values[0][on] / pixels, wanted[on], atol=(9 + 5) / 8)
    assert values[0][on].mean() / pixels == pytest.approx(wanted[on].mean(), abs=0.2)
    assert on.all() == (square == "crop" or shape[0] == shape[1])
    share = on.mean() * own.side**2 / np.prod(shape)  # of the camera
    assert square == "crop" or share == pytest.approx(1, abs=0.05)


def test_enlarged_is_scipys_linear_interpolation():
    pattern = np.random.default_rng(0).integers(0, 65536, (60, 60), np.uint16)
    places = np.clip((np.indices((120, 120)) + 0.5) / 2 - 0.5, 0, 59)
    wanted = map_coordinates(pattern.astype(float), places, order=1)
    values, pixels = onto_network(pattern[np.newaxis], geometry(60, 60))
    np.testing.assert_allclose(values[0] / pixels, wanted, rtol=1e-5)


def test_fine_detail_is_averaged_away():
    """Stripes of one pixel become grey: nothing is sampled between them."""
    stripes = np.zeros((1, 300, 300), np.uint16)
    stripes[:, ::2] = 1000
    values, pixels = onto_network(stripes, geometry(300, 300))
    np.testing.assert_allclose(values / pixels, 500, atol=101)  # of 2.5 pixels one is half


@pytest.mark.parametrize("binning", [1, 2, 4])
def test_whole_blocks_are_sums_whatever_the_binning(binning):
    patterns = np.random.default_rng(0).integers(0, 65536, (2, 480, 500), np.uint16)
    values, pixels = onto_network(patterns, geometry(480, 500, binning=binning))
    blocks = patterns[:, :, 10:490] if binning < 4 else patterns[:, :, 8:488]
    wanted = blocks.reshape(2, 120, 4, 120, 4).sum(axis=(2, 4), dtype=np.uint32)
    assert pixels == 16 and values.dtype == np.uint32
    np.testing.assert_array_equal(values, wanted)
    own = geometry(480, 500, binning=binning)
    means = own.weights @ patterns[:, *own.window].reshape(2, -1).T
    np.testing.assert_allclose(means.T.reshape(wanted.shape), wanted / 16, rtol=1e-5)


def test_binning_comes_first():
    patterns = np.random.default_rng(0).integers(0, 65536, (2, 300, 360), np.uint16)
    binned = patterns.reshape(2, 150, 2, 180, 2).mean(axis=(2, 4))
    found, _ = onto_network(patterns, geometry(300, 360, binning=2))
    np.testing.assert_allclose(found, onto_network(binned, geometry(150, 180))[0], rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_centre_comes_back(shape):
    for square in ("crop", "pad"):
        own = geometry(*shape, square=square)
        np.testing.assert_allclose(own.to_camera(own.to_square((0.4, 0.3, 0.7))), (0.4, 0.3, 0.7))
    assert geometry(480, 480, binning=4).to_square(CENTRE) == CENTRE, "to the last digit"


@pytest.mark.parametrize(
    ("shape", "binning", "sentence"),
    [
        ((120, 122), 4, "cannot be used with binning 4: it must divide both sides"),
        ((80, 80), 5, "leave 20 px of each"),
        ((60, 300), 1, "over 4 times"),
    ],
)
def test_what_cannot_be_is_said(shape, binning, sentence):
    with pytest.raises(PatternFileError, match=sentence):
        geometry(*shape, binning=binning)


def indexed(shape: tuple[int, int], square: str, rotations: Rotation, folder) -> Rotation:
    """Orientations of patterns that kikuchipy simulates for a camera, through the stages."""
    camera, scan = CAMERAS_CENTRE[shape], ScanPreprocessing(square=square)
    detector = kp.detectors.EBSDDetector(shape=shape, pc=camera, sample_tilt=70)
    master = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", energy=20)
    simulated = master.get_patterns(rotations, detector, compute=True, show_progressbar=False).data
    scaled = 20000 + 20000 * (simulated - simulated.min()) / np.ptp(simulated)
    files = scan_files(folder)
    write_scan(files.raw, scaled.astype(np.uint16))
    preprocess(open_patterns(files.raw), scan, Preprocessing(mask="none"), files, step_um=1.0)
    patterns, mask = open_patterns(files.preprocessed), np.load(files.mask)
    detector = Detector(geometry_of(shape, scan).to_square(camera))
    return index_patterns(patterns, mask, detector, Indexing(phase=NICKEL), 1.0).rotations


# One square by several cameras: the centre of each, computed by hand from the square's.
CAMERAS_CENTRE = {
    (120, 120): CENTRE,
    (60, 60): CENTRE,
    (480, 480): CENTRE,
    (128, 156): ((CENTRE[0] * 128 + 14) / 156, *CENTRE[1:]),
    (156, 128): (CENTRE[0], (CENTRE[1] * 128 + 14) / 156, CENTRE[2] * 128 / 156),
}


ROTATIONS_OF_CUBE = Rotation(Oh.data[~Oh.improper])


def test_orientations_do_not_depend_on_the_camera(tmp_path):
    rotations = Rotation.random((ROWS, COLUMNS))
    reference = indexed((120, 120), "crop", rotations, tmp_path)
    cases = [
        *((shape, "crop", 0.7 if shape == (60, 60) else 0.3) for shape in CAMERAS_CENTRE),
        ((128, 156), "pad", 0.3),
    ]
    for shape, square, limit_deg in cases[1:]:
        found = indexed(shape, square, rotations, tmp_path)
        # In the sample's frame, where a shifted pattern would turn all orientations alike.
        turns = ((~reference).outer(ROTATIONS_OF_CUBE) * found[:, np.newaxis]).data
        turns = turns[np.arange(len(turns)), np.abs(turns[..., 0]).argmax(axis=1)]
        turns *= np.sign(turns[:, :1])
        angles = np.degrees(2 * np.arccos(np.minimum(turns[:, 0], 1)))
        right = angles < 5  # a handful is indexed wrongly now and then, whatever the camera
        offset = Rotation(turns[right].mean(axis=0))
        assert right.mean() > 0.98 and np.median(angles) < limit_deg
        assert np.degrees(offset.angle) < 0.1


SCREEN = ScreenMask(centre=(59.5, 59.5), radius=56)


def of_microscope(shape: tuple[int, int], seen: Components, seed: int, folder) -> np.ndarray:
    """Lattices seen by a virtual camera with as many electrons, as stage 02 leaves the patterns."""
    side = min(shape)
    scan = virtual_scan(map_shape=(ROWS, COLUMNS), microscope={"pixels": side})
    microscope = VirtualMicroscope(scan)
    signal = microscope.signal(seen, np.zeros((ROWS * COLUMNS, 2), int))
    square = microscope.expose(signal, np.random.default_rng(seed))
    margins = [((n - side) // 2,) * 2 for n in shape]
    raw = np.pad(square.reshape(ROWS, COLUMNS, side, side), [(0, 0), (0, 0), *margins], "edge")
    files = scan_files(folder)
    preprocess(raw, ScanPreprocessing(), Preprocessing(mask=SCREEN), files, step_um=1.0)
    return np.array(open_patterns(files.preprocessed))


def test_latents_do_not_depend_on_the_camera(tmp_path, monkeypatch):
    """Cameras of 120 px and more agree as two draws of noise do, coarser ones but for contrast.

    To agree is to have a median distance between the quartiles of the two draws'. 60 px lie at the
    upper quartile or beyond it.
    """
    monkeypatch.delenv("KIKUHELPERS_ARCHIVE")
    network = load_model(Results(load_study("virtual"), archive=True), "vae-16")
    rotations = np.random.default_rng(0).standard_normal((ROWS * COLUMNS, 4))
    seen = lattices(rotations / np.linalg.norm(rotations, axis=1, keepdims=True))
    shapes = {"first": (120, 120), "second": (120, 120), "60": (60, 60), "480": (480, 480)}
    shapes["156"] = (156, 128)
    patterns = {
        name: of_microscope(shape, seen, seed, tmp_path)
        for seed, (name, shape) in enumerate(shapes.items())
    }
    # Smoother patterns have smaller extremes, so rescaling to these leaves them more contrast.
    inside = round_mask((120, 120), SCREEN.centre, SCREEN.radius)
    values = {name: found[..., inside].astype(float) for name, found in patterns.items()}
    contrast = {name: found.std(axis=-1).mean() for name, found in values.items()}
    assert 1.05 < contrast["60"] / contrast["first"] < 1.15
    alike = patterns["60"].copy()
    less = (values["60"] - values["60"].mean()) * contrast["first"] / contrast["60"]
    alike[..., inside] = np.clip(less + values["first"].mean(), 0, 65535)
    codes = {name: encode(network, found, "float32") for name, found in patterns.items()}
    codes["60, contrast of 120"] = encode(network, alike, "float32")

    def off(name):
        return np.linalg.norm(codes[name] - codes["first"], axis=-1)

    low, high = np.quantile(off("second"), (0.25, 0.75))
    agree = {name for name in codes if low < np.median(off(name)) < high}
    assert agree - {"60"} == {"second", "480", "156", "60, contrast of 120"}
    assert np.median(off("60")) < 1.25 * high
    other = np.linalg.norm(codes["first"] - np.roll(codes["first"], 1, axis=1), axis=-1)
    assert np.median(off("60")) < np.median(other) / 2
