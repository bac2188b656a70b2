"""The explorer: what it says of a point is what the files say, and what it decodes."""

import errno
import math
import shutil
import tracemalloc
from unittest.mock import Mock

import nbformat
import numpy as np
import papermill
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from safetensors.torch import save_file

from kikuhelpers.figures.explorer import Explorer
from kikuhelpers.figures.explorer_widget import ExplorerWidget
from kikuhelpers.indexing.hough import save_map
from kikuhelpers.latents.coding import decode
from kikuhelpers.latents.features import feature_measures
from kikuhelpers.patterns.up2 import Up2Writer, open_patterns, to_counts, to_intensity
from kikuhelpers.preprocessing.camera_scale import MAPS
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_array, save_csv, save_json
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.scans.readers import convert_scan
from kikuhelpers.study import PREPROCESSED, PROJECT_ROOT, StudyError
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.load import load_study
from kikuhelpers.study.scans import PublicData
from kikuhelpers.training.vae import KikuchiVAE
from tests.conftest import SCAN_CARD, keep_times, scan_files, screen, stamp, write_scan

SHAPE, STEP_UM, OFF_DEG = (16, 16), 6.0, 1.5
SCAN, MODEL = "wrought", "vae-16"


def orientation_map(turned_deg: float, shape=SHAPE) -> CrystalMap:
    """Two grains, the left one twice as sharp; one point is not indexed."""
    (rows, columns), size = np.indices(shape), shape[0] * shape[1]
    right = (columns >= 8).ravel()
    angles = np.where(right, 30, 0) + turned_deg
    euler = np.deg2rad(np.stack([angles, np.zeros(size), np.zeros(size)], axis=1))
    phase = np.where(np.arange(size) == size - 1, -1, 0)
    rng = np.random.default_rng(1)
    names = ("pq", "cm", "ci", "fit", "sharpness", "noise", "grod_deg", "kam_deg")
    prop = {name: rng.uniform(1, 2, size) * (2 - right) for name in names}
    prop["grain"] = np.where(phase < 0, -1, right)
    phases = PhaseList(Phase("nickel", space_group=225))
    x, y = (STEP_UM * places.ravel() for places in (columns, rows))
    return CrystalMap(Rotation.from_euler(euler), phase, x, y, phases, prop, scan_unit="um")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Results:
    """The smoke study as if notebooks 01 to 08 had run, with an untrained network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIKUHELPERS_RESULTS", str(tmp_path_factory.mktemp("results")))
        return make_results(load_study("smoke"))


@pytest.fixture
def results(made) -> Results:
    """The same in the test's own folder."""
    own = Results(load_study("smoke"))
    shutil.copytree(made.layout.folder, own.layout.folder)
    return own


def make_results(study, shape=SHAPE) -> Results:
    results, network, mask = Results(study), KikuchiVAE(16).eval(), screen()
    layout = results.layout
    assert layout.folder.name == "smoke"  # from now on it is this one, whatever the environment
    files, seen = layout.scan(SCAN), layout.model_scan(MODEL, SCAN)
    rng = np.random.default_rng(0)
    counts = to_counts(rng.uniform(-1, 1, (*shape, 120, 120)) * mask)
    save_json(files.card, SCAN_CARD | {"map_shape": shape})
    save_array(files.mask, mask)
    write_scan(files.preprocessed, counts, STEP_UM)
    scale = np.ones(shape, [(name, np.float32) for name in MAPS])
    for name in MAPS:
        scale[name] = rng.uniform(1, 100, shape)
    save_array(files.camera_scale, scale)
    save_json(files.pattern_centre, {"pattern_centre": [0.51, 0.34, 0.63]})
    save_map(files.orientations, orientation_map(0, shape), (0.51, 0.34, 0.63))
    layout.model(MODEL).weights.parent.mkdir(parents=True)
    save_file(network.state_dict(), layout.model(MODEL).weights)
    latents = (0.5 * rng.standard_normal((*shape, 16))).astype(np.float32)
    latents[:, 8:, 3] += 5  # the second grain
    save_array(seen.latents, latents)
    grains = orientation_map(0, shape).get_map_data("grain").astype(int)
    save_csv(feature_measures(latents, {}, grains), seen.features)
    save_array(seen.pattern_loss, rng.uniform(40, 60, shape).astype(np.float32))
    save_map(seen.orientations, orientation_map(OFF_DEG, shape), (0.51, 0.34, 0.63))
    for stage in ("01_diffraction_data", "02_preprocessing", "03_indexing"):
        stamp(study, stage, SCAN)
    stamp(study, "04_training", MODEL)
    for stage in ("05_latent_maps", "06_reconstruction", "08_reindexing"):
        stamp(study, stage, MODEL, SCAN)
    return results


@pytest.fixture
def explorer(made) -> Explorer:
    return Explorer(made, SCAN, MODEL)


@pytest.fixture
def widget(made) -> ExplorerWidget:
    return ExplorerWidget(made, SCAN, MODEL)


def test_numbers_at_a_point_are_those_of_the_files(made, explorer):
    found, seen = explorer.at(3, 9), made.model_scan(MODEL, SCAN)
    xmap = made.orientations(PREPROCESSED, SCAN)
    counts = made.patterns(PREPROCESSED, SCAN)[3, 9]
    np.testing.assert_array_equal(found["measured"], to_intensity(counts))
    np.testing.assert_array_equal(found["latents"], seen.latents[3, 9])
    for name in ("pq", "ci", "fit", "sharpness", "kam_deg"):
        values = xmap.get_map_data(name)
        assert found["numbers"][name][0] == pytest.approx(values[3, 9], rel=1e-6)
        assert found["numbers"][name][1] == pytest.approx(100 * (values <= values[3, 9]).mean())
    assert found["numbers"]["residual"][0] == pytest.approx(seen.pattern_loss[3, 9])
    assert found["numbers"]["misorientation_deg"][0] == pytest.approx(OFF_DEG, abs=1e-4)
    assert found["euler"][0] == pytest.approx(30, abs=1e-4)
    means = made.scan(SCAN).camera_scale["mean_counts"]
    assert found["numbers"]["mean_counts"][0] == pytest.approx(means[3, 9])


def test_a_point_that_is_not_indexed_has_no_orientation(explorer):
    found = explorer.at(15, 15)
    assert found["euler"] is None and found["numbers"]["misorientation_deg"] is None


def test_decoded_is_what_the_latents_decode_to(made, explorer):
    latents = made.model_scan(MODEL, SCAN).latents[5, 6][None].copy()
    own = decode(explorer.network, latents, explorer.mask, "float32")[0]
    np.testing.assert_allclose(explorer.at(5, 6)["decoded"], own, atol=1e-6)
    latents[0, 3] += 4
    changed = explorer.decode(latents[0])[0]
    assert np.abs(changed - own).max() > 1e-3
    assert (changed[~explorer.mask] == -1).all()


def test_a_path_ends_at_its_two_points_and_is_indexed(explorer):
    patterns, numbers = explorer.path((2, 3), (4, 12), 5)
    for i, point in ((0, (2, 3)), (-1, (4, 12))):
        np.testing.assert_allclose(patterns[i], explorer.at(*point)["decoded"], atol=1e-5)
    assert {len(values) for values in numbers.values()} == {5}
    assert set(numbers) == {"fit", "ci", "from_start", "from_stop"}


def test_a_line_holds_what_its_points_hold(explorer):
    found = explorer.line((2, 3), (2, 12), ["pq", "vae-16, feature 3", "IPF-X"])
    assert found["points"].tolist() == [[2, column] for column in range(3, 13)]
    np.testing.assert_allclose(found["um"], STEP_UM * np.arange(10))
    assert list(found["profiles"]) == ["pq", "vae-16, feature 3"], "a colour has no profile"
    np.testing.assert_allclose(found["profiles"]["pq"], explorer.maps["pq"][2, 3:13])


def test_the_detector_is_a_mean_over_pixels_of_the_screen(made, explorer, monkeypatch):
    pixels = np.zeros((120, 120), bool)
    pixels[:30, 40:70] = True
    wanted = to_intensity(made.patterns(PREPROCESSED, SCAN))[..., pixels & screen()].mean(axis=-1)
    np.testing.assert_allclose(explorer.detector(pixels), wanted, atol=1e-5)
    monkeypatch.setattr("kikuhelpers.figures.explorer._MOST_READ", 64)
    coarse = explorer.detector(pixels)
    assert coarse.shape == SHAPE
    np.testing.assert_allclose(coarse[1::2, 1::2], wanted[::2, ::2], atol=1e-5)


@pytest.mark.parametrize("method", ["k-means", "HDBSCAN"])
def test_clusters_find_the_two_grains(explorer, method):
    labels, agreement = explorer.clusters(method, 2)
    assert labels.shape == SHAPE and set(np.unique(labels)) <= {-1, 0, 1}
    assert agreement > 0.9
    np.testing.assert_array_equal(explorer.map("clusters"), labels)


def test_every_map_of_the_menu_is_a_picture(explorer):
    names = list(explorer.titles)
    assert names[0] == "vae-16, feature 3", "the most structured feature comes first"
    assert {"latent PCA", "IPF-X", "residual", "pq", "grod_deg", "iq_per_noise"} <= set(names)
    for name in names:
        colours, bar = explorer.image(name)
        assert colours.shape == (*SHAPE, 3) and colours.dtype == np.uint8
        assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 1, name
        assert set(bar) in (set(), {"limits", "stops"})


def test_maps_are_made_once_and_mapped(results, monkeypatch):
    first = Explorer(results, SCAN, MODEL)
    assert all(isinstance(values, np.memmap) for values in first.maps.values())
    pictures = {name: first.image(name)[0] for name in first.titles}
    stamp(results.study, "12_claims")  # which makes no map
    monkeypatch.setattr(Explorer, "_made_of", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(Explorer, "_of_points", lambda *_: pytest.fail("made again"))
    again = Explorer(Results(results.study), SCAN, MODEL)
    for name, picture in pictures.items():
        np.testing.assert_array_equal(again.image(name)[0], picture)


def test_maps_of_earlier_results_are_removed(results):
    before = Explorer(results, SCAN, MODEL)._folder
    path = Layout(results.study).model_scan(MODEL, SCAN).pattern_loss
    save_array(path, np.full(SHAPE, 7, np.float32))
    stamp(results.study, "06_reconstruction", MODEL, SCAN)
    explorer = Explorer(Results(results.study), SCAN, MODEL)
    assert (explorer.maps["residual"] == 7).all()
    assert not before.exists()


@pytest.mark.parametrize("damaged", [b"", b"\x93NUMPY", b"not an array", None])
def test_a_damaged_map_is_made_again(results, damaged):
    kept = Explorer(results, SCAN, MODEL)._folder / "pq.npy"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] if damaged is None else damaged)
    Explorer(Results(results.study), SCAN, MODEL)
    assert kept.read_bytes() == whole


def test_a_full_disk_is_no_hindrance(results, monkeypatch):
    shutil.rmtree(results.layout.explorer(MODEL, SCAN), ignore_errors=True)
    full = OSError(errno.ENOSPC, "no space")
    monkeypatch.setattr("kikuhelpers.runs.files.np.save", Mock(side_effect=full))
    assert Explorer(Results(results.study), SCAN, MODEL).maps["pq"].shape == SHAPE


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(results):
    folder = results.layout.explorer(MODEL, SCAN)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where the folder would be")
    assert Explorer(results, SCAN, MODEL).at(3, 9)["numbers"]["pq"][0] > 0


def test_memory_hardly_grows_with_the_map(tmp_path, monkeypatch):
    monkeypatch.setattr("kikuhelpers.indexing.orientation_maps._AT_A_TIME", 100)
    picture = np.zeros((2, 2, 3), np.uint8)
    monkeypatch.setattr("kikuhelpers.figures.drawing.ipf_key", lambda _: picture)
    points, first, again = [256, 1024], [], []
    for size in points:
        shape = math.isqrt(size), math.isqrt(size)
        monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path / str(size)))
        made = make_results(load_study("smoke"), shape)
        for peaks in (first, again):
            tracemalloc.start()
            explorer = Explorer(Results(made.study), SCAN, MODEL)
            explorer.at(5, 1)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    grown = [(large - small) / np.diff(points)[0] for small, large in (first, again)]
    assert grown[0] < 500 and grown[1] < 20, "bytes a point, when maps are made and afterwards"


def test_an_empty_pattern_has_no_latents_and_is_black(results):
    path = Layout(results.study).model_scan(MODEL, SCAN).latents
    latents = np.array(results.model_scan(MODEL, SCAN).latents)
    latents[0, 0] = np.nan
    save_array(path, latents)
    stamp(results.study, "05_latent_maps", MODEL, SCAN)
    widget = ExplorerWidget(Results(results.study), SCAN, MODEL)
    said, _ = widget.answer({"ask": "point", "row": 0, "column": 0})
    assert said["latents"] == [None] * 16
    colours, _ = widget.explorer.image("latent PCA")
    assert (colours[0, 0] == 0).all()
    assert widget.explorer.clusters("k-means", 2)[0][0, 0] == -1


def test_one_grey_scale_holds_for_all_three_patterns(explorer, widget):
    said, (measured, decoded, difference) = widget.answer({"ask": "point", "row": 3, "column": 4})
    found, (low, high) = explorer.at(3, 4), said["limits"]
    assert (low, high) == tuple(np.percentile(found["measured"][screen()], (0.5, 99.5)))
    apart = found["decoded"] - found["measured"]
    shown = {measured: found["measured"], decoded: found["decoded"], difference: apart}
    for grey, values in shown.items():
        middle = 0 if values is apart else (low + high) / 2
        wanted = np.clip((values - middle) / (high - low) + 0.5, 0, 1) * 255
        got = np.frombuffer(grey, np.uint8).reshape(120, 120)
        np.testing.assert_allclose(got, wanted, atol=0.51)
    assert said["left"] == pytest.approx((apart[screen()] ** 2).sum() / 2, rel=1e-4)
    assert said["ms"] > 0


def test_the_front_end_gets_what_it_opens_with(widget):
    said, [mask] = widget.answer({"ask": "open", "id": "a/1"})
    assert said["label"] == "virtual wrought alloy", "a virtual specimen is named so"
    assert (said["id"], said["scan"], said["model"]) == ("a/1", SCAN, MODEL)
    assert said["models"] == [MODEL], "the other one was not trained"
    assert said["shape"] == list(SHAPE) and said["step_um"] == STEP_UM
    assert np.frombuffer(mask, np.uint8).sum() == screen().sum()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({}, "There is no question 'None'; there are open, map, "),
        ("point", "There is no question 'None'"),
        ({"ask": "answer"}, "There is no question 'answer'"),
        ({"ask": "point", "row": 1}, "Question 'point': column: Missing"),
        ({"ask": "point", "row": "x", "column": 1}, "Question 'point': row: Input should be"),
        ({"ask": "point", "row": 1, "column": 1, "colour": 2}, "Question 'point': colour: Unexp"),
        ({"ask": "point", "row": 16, "column": 0}, "no row 16, column 0 in a map of 16 x 16"),
        ({"ask": "point", "row": -1, "column": 0}, "no row -1"),
        ({"ask": "decode", "latents": [1, 2]}, "vae-16 decodes 16 numbers, not 2"),
        ({"ask": "path", "start": [0, 0], "stop": [1, 1], "count": 10**6}, "less than or equal"),
        ({"ask": "map", "name": "x"}, "There is no map 'x'"),
        ({"ask": "detector", "top": 0, "left": 0, "bottom": 2, "right": 2}, "no pixel of the scr"),
        ({"ask": "clusters", "method": "magic", "count": 3}, "Question 'clusters': method"),
        ({"ask": "open", "model": "contrastive-16"}, "Make it with: python -m kikuhelpers smoke"),
        ({"ask": "open", "scan": "am"}, "Study 'smoke' has no scan 'am'"),
        ({"ask": "open", "study": "nothing"}, "There is no study 'nothing'"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(widget, question, words):
    said, pictures = widget.answer(question)
    assert words in said["error"] and not pictures
    assert len(said["error"].splitlines()) == 1
    assert not widget.answer({"ask": "point", "row": 0, "column": 0})[0].get("error")


def test_the_key_of_its_colours_stands_beside_ipf_x(widget):
    said, [colours, key] = widget.answer({"ask": "map", "name": "IPF-X"})
    [(height, width, _)] = said["keys"]
    assert len(colours) == 3 * 256 and len(key) == 3 * height * width
    assert len(np.unique(np.frombuffer(key, np.uint8).reshape(-1, 3), axis=0)) > 100
    assert widget.answer({"ask": "map", "name": "pq"})[0]["keys"] == []


def test_without_a_name_the_first_model_is_opened_that_can_be(results):
    layout = results.layout
    layout.model("contrastive-16").weights.parent.mkdir(parents=True, exist_ok=True)
    assert ExplorerWidget(results, "", "").explorer.model == MODEL


def test_the_measured_crop_opens_from_the_archive_and_answers(measured_crop, tmp_path, monkeypatch):
    monkeypatch.delenv("KIKUHELPERS_ARCHIVE")
    study, part, own = load_study("in718_rx"), (0, 20), scan_files(tmp_path / "part")
    scan = study.scan("rx")
    data = PublicData(source="public", name="in718_rx", rows=part)
    convert_scan(scan.model_copy(update={"data": data}), own, "rx")
    preprocess(open_patterns(own.raw), scan.preprocessing, study.preprocessing, own, 1.0)
    files, shape = Layout(study).scan("rx"), (120, 200)
    save_array(files.mask, np.load(own.mask))
    counts = open_patterns(own.preprocessed).reshape(-1, 120, 120)
    with Up2Writer(files.preprocessed, shape, (120, 120), 1.0) as whole:
        whole.append(counts)
        for _ in range(*part[1:], shape[0]):  # the other rows are empty
            whole.append(np.zeros((shape[1], 120, 120), np.uint16))
    stamp(study, "02_preprocessing", "rx")
    widget, alike, ms = ExplorerWidget(Results(study, archive=True), "rx", "vae-64"), [], []
    places = np.random.default_rng(1).integers(0, (part[1], shape[1]), (20, 2))
    for row, column in places.tolist():
        said, _ = widget.answer({"ask": "point", "row": row, "column": column})
        ms.append(said["ms"])
        found = widget.explorer.at(row, column)
        pair = [found[name][screen()] for name in ("measured", "decoded")]
        alike.append(np.corrcoef(*pair)[0, 1])
    keep_times("explorer_answers", ms, "in718_rx")
    assert np.median(alike) > 0.8, "the archived network knows the pattern of that point"
    assert said["numbers"]["pq"] and said["numbers"]["residual"] and said["euler"]


def test_what_is_not_there_is_refused(results):
    with pytest.raises(StudyError, match="has no scan 'am'"):
        Explorer(results, "am", MODEL)
    with pytest.raises(StudyError, match="has no model 'vae-2'"):
        Explorer(results, SCAN, "vae-2")
    with pytest.raises(MissingResultError, match=r"smoke 04_training.contrastive-16"):
        Explorer(results, SCAN, "contrastive-16")
    Layout(results.study).scan(SCAN).preprocessed.unlink()
    with pytest.raises(MissingResultError, match=r"smoke 02_preprocessing.wrought"):
        Explorer(Results(results.study), SCAN, MODEL)


def test_without_orientations_the_latents_are_still_there(results):
    layout = Layout(results.study)
    layout.record("03_indexing", SCAN).unlink()
    explorer = Explorer(Results(results.study), SCAN, MODEL)
    assert "IPF-X" not in explorer.titles and "pq" not in explorer.maps
    assert {"residual", "mean_counts", "latent PCA"} <= set(explorer.titles)
    assert explorer.at(0, 0)["euler"] is None
    assert explorer.path((0, 0), (1, 1), 3)[1] == {}
    assert explorer.clusters("k-means", 2)[1] is None
    with pytest.raises(SentenceError, match="no map 'IPF-X'"):
        explorer.map("IPF-X")


def test_the_notebook_runs_and_shows_the_widget(results, tmp_path):
    given = {"study_name": "smoke", "scan": SCAN, "model": MODEL}
    notebook, executed = PROJECT_ROOT / "notebooks" / "13_explorer.ipynb", tmp_path / "o.ipynb"
    papermill.execute_notebook(notebook, executed, given, progress_bar=False)
    cells = nbformat.read(executed, as_version=4).cells
    shown = [out.get("data", {}) for cell in cells for out in cell.get("outputs", [])]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
