"""A study of one's own from a scan's file alone."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from kikuchipy.signals import EBSD
from scipy.ndimage import gaussian_filter

from kikuhelpers.__main__ import main
from kikuhelpers.figures import first_look
from kikuhelpers.patterns.up2 import Up2Writer, open_patterns
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.study import load_study
from kikuhelpers.study.scans import Scan

MAP = (9, 10)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A virtual scan as a microscope's file, step 2.5 um, one point never measured."""
    folder = tmp_path_factory.mktemp("camera")
    data = {"source": "virtual", "map_shape": MAP, "step_um": 2.5, "specimen": {"alloy": "am"}}
    simulate(Scan.model_validate({"data": data}).data, folder / "all.up2", folder / "truth.h5")
    patterns = np.array(open_patterns(folder / "all.up2"))
    patterns[4, 4] = 0
    with Up2Writer(folder / "my scan #1.up2", MAP, patterns.shape[2:], 2.5) as writer:
        writer.append(patterns.reshape(-1, *patterns.shape[2:]))
    return folder / "my scan #1.up2"


def test_a_scan_alone_becomes_a_study(monkeypatch, tmp_path, capsys, scan):
    monkeypatch.chdir(tmp_path)
    assert main(["new", str(scan)]) == 0
    assert "python -m kikuhelpers my_scan_1.yaml" in capsys.readouterr().out.splitlines()[-1]
    study = load_study("my_scan_1.yaml")
    own = study.scan("my_scan_1")
    assert (tmp_path / own.data.path).resolve() == scan
    assert own.data.step_um == 2.5
    assert study.indexing.phase is None  # the file does not say it
    text = (tmp_path / "my_scan_1.yaml").read_text()
    assert "example phase: {name: Ni, space_group: 225" in text
    assert "sample_tilt_deg: 70  # said by nobody" in text
    assert "# pattern_centre: [0.5, 0.3, 0.6]" in text  # the run searches
    assert (tmp_path / "my_scan_1.png").stat().st_size > 30_000
    assert main(["new", str(scan)]) == 2
    assert "my_scan_1.yaml is there and would be written over" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["20241103", "on", "1e3"])
def test_names_that_yaml_takes_for_something_else(name):
    text = first_look._STUDY.split("    # {map")[0].format(path=Path("x"), name=name)
    content = yaml.safe_load(text)
    assert content["title"] == name and list(content["scans"]) == [name]


def test_a_picture_of_ones_own_is_not_written_over(monkeypatch, tmp_path, capsys, scan):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_scan_1.png").write_text("mine")
    assert main(["new", str(scan)]) == 2
    assert "my_scan_1.png is there and would be written over" in capsys.readouterr().err
    assert (tmp_path / "my_scan_1.png").read_text() == "mine"


def test_the_lattice_and_a_wrong_centre_are_found(monkeypatch, scan):
    monkeypatch.setattr(first_look, "CANDIDATES", first_look.CANDIDATES[:2])
    look = first_look.FirstLook(first_look.FileData(path=str(scan), flip=True))
    assert look.phase.name == "Ni" and look.confidence > 0.2
    assert look.on_camera[1] == pytest.approx(0.7, abs=0.06)  # upside down
    assert "best of a grid" in look.centre_by
    assert look.fits[look.phase][0] > 2 * min(found[0] for found in look.fits.values())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give a scan's file"),
        (["missing.up2"], "There is no pattern file missing.up2; check its path."),
        (["missing.h5"], "There is no scan file missing.h5; check its path"),
        (["{scan}", "map_shape=[9]"], "map_shape of the scan"),
        (["{scan}", "colour=red"], "colour of the scan"),
        (["{scan}", "map_shape=[9,11]"], "9"),
        (["{scan}", "map_shape=[3"], "Write settings as map_shape=[9,10], not map_shape=[3."),
        (["{scan}", "rows"], "Write settings as map_shape=[9,10], not rows."),
        (["{scan}.h5", "offset=16"], "no UP file: leave offset out"),
    ],
)
def test_what_cannot_be_looked_at_is_one_sentence(
    monkeypatch, tmp_path, capsys, scan, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    assert main(["new", *(a.format(scan=scan) for a in arguments)]) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(monkeypatch, tmp_path, capsys, scan):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(first_look.os, "access", lambda *_: False)  # root may write anywhere
    assert main(["new", str(scan)]) == 2
    assert "This folder cannot be written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("width_um", "brings", "offered"), [(6, True, True), (6, False, False), (200, True, False)]
)
def test_a_files_background_is_offered_to_a_map_within_a_grain(
    monkeypatch, tmp_path, width_um, brings, offered
):
    """As kikuchipy's HDF5, which may bring a background."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(first_look.FirstLook, "seconds_of", lambda *_: 60.0)
    monkeypatch.setattr(first_look, "CANDIDATES", first_look.CANDIDATES[:1])
    specimen = {"alloy": "wrought", "size_um": [400, 400]}
    data = {"source": "virtual", "map_shape": [6, 6], "step_um": width_um / 6}
    data = Scan.model_validate({"data": data | {"specimen": specimen, "seed": 1}}).data
    simulate(data, tmp_path / "all.up2", tmp_path / "truth.h5")
    smooth = gaussian_filter(np.array(open_patterns(tmp_path / "all.up2")).mean((0, 1)), 9)
    more = {"static_background": smooth.astype(np.uint16)} if brings else {}
    EBSD(np.array(open_patterns(tmp_path / "all.up2")), **more).save(tmp_path / "mine.h5")
    study, _ = first_look.new_study("mine.h5")
    assert ("# preprocessing: {background_of: its file}" in study.read_text()) is offered
    text = study.read_text().replace("# preprocessing: {background", "preprocessing: {background")
    study.write_text(text)
    assert (load_study(study).scan("mine").preprocessing.background_of == "its file") is offered
