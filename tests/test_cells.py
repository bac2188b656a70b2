"""The page on dislocation cells says what its scores say."""

from types import SimpleNamespace

import pandas as pd
import pytest

from kikuhelpers.study import load_study
from kikuhelpers.tables.cells import cells_page
from kikuhelpers.tables.scores import verdict
from kikuhelpers.tables.truth_scores import BLIND, TOLD

STUDY = load_study("virtual")
AM = ["am", "am_large_cells", "am_all_cells", "am_fine", "am_low_dose", "am_grid"]
LONGEST = 80  # lines of a page
PHYSICS = 0.8


def scores(changes: dict, scans=("am",)) -> pd.DataFrame:
    """Scores of physical maps, two networks and a PCA; some readouts have another AUC."""
    aucs = {("sharpness", ""): PHYSICS, ("KAM", ""): 0.6, (TOLD, "vae-16"): 0.7}
    aucs |= {(BLIND, "vae-16"): 0.6, (BLIND, "vae-64"): 0.62, ("gradient", "vae-16"): 0.55}
    aucs |= {(BLIND, "pca-16"): 0.68, (TOLD, "pca-16"): 0.75}
    aucs |= {("ridge probe, other specimens", model): 0.58 for model in ("vae-16", "vae-64")}
    rows = []
    for scan in scans:
        for points in (0, 1, 2):
            for (readout, model), auc in aucs.items():
                score = changes.get((scan, readout, model, points), auc)
                row = {"scan": scan, "effect": "walls", "readout": readout, "model": model}
                row |= {"smoothing_points": points, "measure": "AUC", "score": score}
                lead = score - PHYSICS
                row |= {"difference": lead, "difference_low": lead - 0.03}
                row |= {"difference_high": lead + 0.03, "clusters": "grains"}
                word = verdict(lead, lead - 0.03, lead + 0.03) if model else ""
                rows.append(row | {"against": "sharpness", "verdict": word})
    others = pd.DataFrame(rows).assign(effect="particles", score=0.99, verdict="reveals")
    return pd.concat([pd.DataFrame(rows), others])


def page(changes: dict, scans=("am",)) -> str:
    """The page of such scores."""
    results = SimpleNamespace(study=STUDY, step_um=lambda scan: STUDY.scan(scan).data.step_um)
    return cells_page(results, scores(changes, scans))


def table_rows(text: str) -> list[list[str]]:
    """Cells of the first table's rows."""
    lines = text.split("\n\n")[2].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_worse_latents_show_nothing():
    text = page({})
    assert "misses? No: " in text and "Yes" not in text
    first, *others = table_rows(text)
    assert first[:7] == ["`am`", "2", "2 to 5", "1", "13000", "pattern", "0"]
    assert first[7:10] == ["sharpness: 0.80", f"pca-16, {BLIND}: 0.68", f"vae-64, {BLIND}: 0.62"]
    assert first[10:] == ["-0.18 [-0.21, -0.15], grains", "worse"]
    assert len(others) == 2 and "15 worse" in text


@pytest.mark.parametrize("auc, verdicts", [(0.9, "reveals"), (0.84, "equal"), (0.7, "worse")])
def test_one_readout_flips_the_answer_by_the_rule(auc, verdicts):
    text = page({("am", "gradient", "vae-16", 1): auc})
    assert [row[-1] for row in table_rows(text)] == ["worse", verdicts, "worse"]
    assert table_rows(text)[1][9] == f"vae-16, gradient: {auc:.2f}"
    yes = "misses? Yes, on `am` (cells of 2 to 5 µm) smoothed by 1 points."
    assert (yes in text) == (verdicts == "reveals")


def test_a_certain_lead_comes_before_a_larger_one():
    changes = {("am", "gradient", "vae-16", 1): 0.9, ("am", BLIND, "vae-64", 1): 0.95}
    table = scores(changes)
    of = (table["readout"] == BLIND) & (table["model"] == "vae-64") & (table["score"] == 0.95)
    table.loc[of, ["difference_low", "verdict"]] = -0.1, "unclear"
    results = SimpleNamespace(study=STUDY, step_um=lambda scan: 1.0)
    row = table_rows(cells_page(results, table))[1]
    assert row[9] == "vae-16, gradient: 0.90" and row[-1] == "reveals"


@pytest.mark.parametrize("readout, model", [(TOLD, "vae-16"), (BLIND, "pca-16")])
def test_what_the_truth_chose_and_a_pca_are_no_latents(readout, model):
    text = page({("am", readout, model, 0): 0.95})
    assert "misses? No: " in text and [row[-1] for row in table_rows(text)] == ["worse"] * 3
    assert f"{model}, 0: 0.95" in text, "in the table of readouts"


def test_all_scans_fit_a_page():
    text = page({("am_fine", BLIND, "vae-16", 2): 0.9}, AM)
    rows = table_rows(text)
    assert len(rows) == 3 * len(AM) and len(text.splitlines()) < LONGEST
    said = {row[0].strip("`"): row[1:5] for row in rows}
    assert said["am_large_cells"] == ["12", "5 to 20", "1", "13000"]
    assert said["am_low_dose"] == ["2", "2 to 5", "1", "2600"]
    assert said["am_fine"][2] == "0.1" and "Yes, on `am_fine`" in text


def test_a_study_without_cells_says_so():
    wrought = scores({}).assign(effect="scratches")
    assert "No latent map" in cells_page(SimpleNamespace(study=STUDY), wrought)
