"""No text of a user runs in a shell, and names reach the notebooks as text."""

import os

import nbformat
import numpy as np
import pytest
import yaml

from kikuhelpers.__main__ import main
from kikuhelpers.runs.provenance import begin
from kikuhelpers.study import load_study
from kikuhelpers.study.layout import Layout
from tests.conftest import PIXELS

# Everything that a shell, YAML or Snakemake would read as more than a letter.
STRANGE = "a $(touch ran) `touch ran` {b} {{c}} 'd' \"e\" #f; touch ran & ü"
NUMBERS = ["718", "007", "1e5", "None", "nan", "0x1"]  # scans that look like something else


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """The file of a study of some tiny scans, all paths of which hold what a shell would run."""
    root = tmp_path / STRANGE
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(root / "results"))
    monkeypatch.setenv("KIKUHELPERS_FIGURES", str(root / "figures"))
    patterns = np.random.default_rng(0).integers(0, 65536, (2, 2, PIXELS, PIXELS), np.uint16)
    np.save(root / "scan #1.npy", patterns)
    data = {"source": "array", "path": "scan #1.npy", "map_shape": [2, 2]}
    scan = {"data": data | {"pattern_shape": [PIXELS, PIXELS]}}
    content = {"title": "x", "name": "718", "scans": dict.fromkeys(NUMBERS, scan)}
    path = root / f"study {STRANGE}.yaml"
    path.write_text(yaml.safe_dump(content | {"models": {"64": {"latent_dim": 16}}}))
    layout = Layout(load_study(path))
    layout.warm.parent.mkdir(parents=True)
    layout.warm.touch()  # nothing here needs compiled code
    yield path, layout
    assert not list(tmp_path.rglob("ran")), "a part of a path was run"


def test_a_plan_runs_nothing(strange, capfd):
    path, _ = strange
    assert main([str(path), "--dry-run", "--printshellcmds", "--quiet", "host"]) == 0
    said = capfd.readouterr().out
    assert said.count("Shell command: exec ") == said.count(" -r study_name "), (
        "no shell stays between"
    )
    for name in NUMBERS:
        assert f" -r scan {name} " in said, "raw text, which papermill does not read as a number"
    assert " -r model 64 " in said


def test_a_notebook_runs_under_any_path(strange, capfd):
    path, layout = strange
    ran = ["007", "None"]
    jobs = [f"01_diffraction_data.{name}" for name in ran]
    assert main([str(path), *jobs, "--cores", "2"]) == 0
    for name in ran:
        assert layout.scan(name).raw.is_file()
        executed = nbformat.read(
            layout.folder / "notebooks" / f"01_diffraction_data.{name}.ipynb", as_version=4
        )
        [given] = [c for c in executed.cells if "injected-parameters" in c.metadata.get("tags", [])]
        assert f'scan = "{name}"' in given.source
        assert layout.record("01_diffraction_data", name).is_file()
        begin(layout.study, "02_preprocessing", name)
    capfd.readouterr()
    assert main([str(path), jobs[0], "--dry-run"]) == 0
    assert "Nothing to be done" in capfd.readouterr().out
    os.utime(path.parent / "scan #1.npy")  # as after a new measurement
    assert main([str(path), jobs[0], "--dry-run"]) == 0
    assert "diffraction_data" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["007", "1e5", "None", "true"])
def test_a_study_whose_name_is_no_text_is_found(tmp_path, monkeypatch, name):
    """Snakemake would read such a name as a number, as nothing or as yes."""
    monkeypatch.chdir(tmp_path)
    text = "title: x\nscans: {s: {data: {path: s.up2}}}\nmodels: {v: {latent_dim: 16}}\n"
    (tmp_path / f"{name}.yaml").write_text(text)
    assert load_study(f"{name}.yaml").name == name
    assert main([f"{name}.yaml", "--dry-run"]) == 0
