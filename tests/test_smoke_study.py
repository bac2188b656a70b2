"""The whole study, smallest size: every notebook runs, and what runs once runs no more."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pandas as pd
import pytest

from kikuhelpers.__main__ import main
from kikuhelpers.study import PROJECT_ROOT
from kikuhelpers.study.load import root_of
from tests.conftest import run_study

# What archiving may change in the table: float16 ratios, int16 quaternions.
ARCHIVED_RATIO, ARCHIVED_DEG = 2e-3, 5e-3


@pytest.fixture(scope="module")
def rebuilt(smoke):
    """Folder of tables and figures made from archived results alone."""
    folder = smoke / "elsewhere"
    folder.mkdir()
    archived = run_study("smoke", smoke, "--archive")
    assert archived.returncode == 0, archived.stdout + archived.stderr
    assert "lacks" not in archived.stdout, archived.stdout
    (smoke / "archive").rename(folder / "archive")
    done = run_study("smoke", folder, "--figures")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def test_every_notebook_ran(smoke):
    executed = {p.name.split(".")[0] for p in (smoke / "results/smoke/notebooks").iterdir()}
    stages = {p.stem for p in (PROJECT_ROOT / "notebooks").glob("*.ipynb")} - {"13_explorer"}
    assert executed == stages
    for path in (smoke / "results/smoke/notebooks").iterdir():
        for cell in nbformat.read(path, as_version=4).cells:
            errors = [o for o in cell.get("outputs", []) if o.output_type == "error"]
            assert not errors, f"{path.name}: {errors}"


def test_every_notebook_says_first_what_it_needs(smoke):
    for path in (smoke / "results/smoke/notebooks").iterdir():
        cells = nbformat.read(path, as_version=4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        said = outputs[0].get("text", "")
        stem = path.name.removesuffix(".ipynb")
        assert said.startswith(f"{stem} of study 'smoke': results go to "), path.name
        first = stem.startswith("01_")
        several = r"(1 earlier result|(?!1 )\d+ earlier results); there: \d"
        known = r"no earlier result\." if first else several
        assert re.search(f"It needs {known}", said), said


def test_the_run_says_how_far_it_is_what_to_doubt_and_where_to_look(smoke):
    said = (smoke / "said.txt").read_text()
    assert re.search(r"03_indexing.wrought took \d+ s: \d+ of 17 jobs", said)
    assert "jobid" not in said
    assert re.search(
        r"Look at 04_training.vae-16: the loss .* fell by \d+% .*: train it longer", said
    )
    assert "Look at 08_reindexing.vae-16.wrought: The " in said  # it has learned next to nothing
    assert "Look at 03_indexing.wrought" not in said
    last = r"Table 1: .*table1.md\nLatent maps: .*/05_\*.ipynb\n"
    last += r"To look into it: make lab in .*, then 13_explorer.ipynb with study_name = "
    assert re.search(last, said)
    runs = json.loads((smoke / "figures/smoke/run.json").read_text())["runs"]
    assert runs["03_indexing.wrought"]["verdict"]["kind"] == "sound"


def test_one_figure_is_drawn_alone(smoke, capsys, monkeypatch):
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(smoke / "results"))
    assert main(["smoke", "--figure", "8"]) == 0
    (path,) = root_of("figures").rglob("*.png")
    assert path.name.startswith("fig08") and str(path) in capsys.readouterr().out
    assert main(["smoke", "--figure", "12"]) == 2
    assert "There is no figure 12: name one of 1, 2, " in capsys.readouterr().err


def test_no_checkpoint_outlives_a_finished_study(smoke):
    assert not list((smoke / "results").rglob("checkpoint*"))


def test_the_table_is_complete(smoke):
    table = pd.read_csv(smoke / "figures/smoke/table1.csv").set_index("model")
    assert list(table.index) == ["vae-16", "contrastive-16", "pca-4"]
    assert (table["n"] == 256).all()
    assert table.loc["vae-16", "paper_indexed_pct"] == 95.3
    for quantity in ("ci_ratio", "cm_ratio", "iq_ratio", "misorientation_deg", "sharpness_ratio"):
        quantiles = table[[f"{quantity}_{q}" for q in ("q10", "q50", "q90")]]
        assert (quantiles.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    linear = pd.read_csv(smoke / "figures/smoke/linear.csv").set_index("model")
    assert list(linear.index) == ["vae-16"]
    assert (linear["pca_residual_latent"] < table.loc["pca-4", "residual_mean"]).all()


def test_figures_and_provenance(smoke):
    folder = smoke / "figures/smoke"
    names = {path.stem for path in folder.glob("fig*.png")}
    assert names == {path.stem for path in folder.glob("fig*.pdf")}
    assert len(names) >= 6
    run = json.loads((folder / "run.json").read_text())
    assert len(run["runs"]) == 2 + 1 + 2 * 4 + 2 + 3
    assert str(smoke) not in json.dumps(run)


def test_a_finished_study_does_not_run_again(smoke):
    again = run_study("smoke", smoke)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_changed_value_runs_only_what_follows(smoke, tmp_path):
    study = (PROJECT_ROOT / "studies" / "smoke.yaml").read_text()
    changed = study.replace("contrastive-16: {latent_dim: 16,", "contrastive-16: {latent_dim: 32,")
    (tmp_path / "smoke.yaml").write_text(changed)
    plan = run_study(str(tmp_path / "smoke.yaml"), smoke, "--dry-run")
    counts = dict(line.split()[:2] for line in plan.stdout.splitlines() if len(line.split()) == 2)
    assert counts["training"] == "1", plan.stdout
    assert not {"diffraction_data", "preprocessing", "indexing"} & set(counts)


def test_archived_results_rebuild_the_table(smoke, rebuilt):
    before, after = (pd.read_csv(f / "figures/smoke/table1.csv") for f in (smoke, rebuilt))
    pd.testing.assert_frame_equal(before, after, rtol=ARCHIVED_RATIO, atol=ARCHIVED_DEG)


def test_archived_results_rebuild_every_figure_without_a_pattern_file(smoke, rebuilt):
    assert not list(rebuilt.rglob("*.up2"))
    cards = [json.loads((f / "figures/smoke/figures.json").read_text()) for f in (smoke, rebuilt)]
    for name, card in cards[0].items():
        assert {k: cards[1][name][k] for k in ("files", "missing")} == {
            k: card[k] for k in ("files", "missing")
        }
    runs = [
        json.loads((f / "figures/smoke/run.json").read_text())["runs"] for f in (smoke, rebuilt)
    ]
    for name in (name for name in runs[0] if name[:2] < "09"):
        for fact in ("commit", "inputs", "seconds"):
            assert runs[1][name][fact] == runs[0][name][fact]


def test_archived_results_do_not_stand_for_results(rebuilt):
    plan = run_study("smoke", rebuilt, "--dry-run")
    counts = dict(line.split() for line in plan.stdout.splitlines() if len(line.split()) == 2)
    rules = ("training", "latent_maps", "reindexing", "reindexing_baseline")
    assert [counts[rule] for rule in rules] == ["2", "2", "2", "1"]


def test_a_wrong_study_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "mine.yaml").write_text("title: x\nscans: {a: {data: {path: a.up2}}}\nmodel: {}\n")
    refused = run_study("mine.yaml", tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_map_to_click_on_is_made_of_it(smoke):
    roots = {f"KIKUHELPERS_{n.upper()}": str(smoke / n) for n in ("results", "figures", "archive")}
    command = [sys.executable, "-m", "docs.click_page", "smoke", "--model", "vae-16"]
    made = subprocess.run(
        command, env=os.environ | roots, cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    page = (smoke / "results/smoke/click_page.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert data["shape"] == [16, 16] and len(data["rows"]) == len(data["columns"]) == 5
    points = 25
    assert all(len(n["values"]) == len(n["percentiles"]) == points for n in data["numbers"])
    assert len(data["euler"]) == points and 0 <= data["starts"][0]["point"] < points
    titles = [shown["title"] for shown in data["maps"]]
    assert titles[0].startswith("IPF-X") and any("vae-16, feature" in t for t in titles)
    assert "a virtual Kikuchi pattern" in " ".join(page.split())
    assert re.search("<h1>.*virtual specimens.*</h1>", page)
