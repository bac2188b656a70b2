"""A study of one's own from a scan's file alone."""

import numpy as np
import pytest
import yaml

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
    text = first_look._STUDY.split("    # {rows}")[0].format(file="x", name=name)
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
        (["missing.up2"], "There is no scan file missing.up2"),
        (["{scan}", "map_shape=[9]"], "map_shape of the scan"),
        (["{scan}", "colour=red"], "colour of the scan"),
        (["{scan}", "map_shape=[9,11]"], "9"),
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
