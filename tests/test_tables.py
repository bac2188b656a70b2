"""Table 1 from two maps, Table 2 from the networks."""

import re
import shutil
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuhelpers.baselines.methods import principal_components
from kikuhelpers.indexing.hough import Detector, save_map
from kikuhelpers.runs.files import load_json, save_array, save_json
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import PREPROCESSED, PROJECT_ROOT
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import (
    BASELINES,
    DATA,
    INDEXING,
    RECONSTRUCTION,
    REINDEXING,
    TRAINING,
)
from kikuhelpers.tables.residuals import linear_table
from kikuhelpers.tables.table1 import (
    RESIDUAL,
    compare_maps,
    in_latex,
    printed_table1,
    save_table1,
    summarise,
    table1,
)
from kikuhelpers.tables.table2 import table2
from tests.conftest import (
    MODEL_CARD,
    SCAN_CARD,
    make_study,
    stamp,
    stand_in,
    with_training_patterns,
)
from tests.test_intervals import strips
from tests.test_training import give_sample


def crystal_map(turn_deg, phase_id=0, **prop):
    """Four points turned about [001] by so many degrees."""
    n = 4
    x, y = np.tile([0.0, 1.0], 2), np.repeat([0.0, 1.0], 2)
    rotations = Rotation.from_axes_angles([0, 0, 1], np.broadcast_to(turn_deg, n), degrees=True)
    defaults = {"ci": 0.5, "cm": 0.5, "pq": 100.0, "sharpness": 0.4, "grod_deg": 0.0}
    values = {k: np.broadcast_to(np.float64(v), n).copy() for k, v in (defaults | prop).items()}
    values["grain"] = np.zeros(n, int)
    phases = PhaseList([Phase("Ni", space_group=225), Phase("Fe", space_group=229)])
    ids = np.broadcast_to(phase_id, n).copy()
    return CrystalMap(rotations, phase_id=ids, x=x, y=y, phase_list=phases, prop=values)


def test_each_quantity_has_its_population():
    before = crystal_map(0, phase_id=[0, 0, 0, -1], ci=[0.5, 0.5, 0, 0.5])
    after = crystal_map([1, 50, 3, 4], phase_id=[0, 0, -1, 0], ci=1.0, pq=[50, 50, 50, 200])
    points = compare_maps(before, after)
    assert points["indexed"].tolist() == [True, True, False, True]
    assert points["both"].tolist() == [True, True, False, False]
    # 50 degrees about [001] are 40 in a cubic crystal.
    np.testing.assert_allclose(points["misorientation_deg"], [1, 40, np.nan, np.nan], atol=1e-5)
    np.testing.assert_allclose(points["ci_ratio"], [2, 2, np.nan, np.nan])
    np.testing.assert_allclose(points["iq_ratio"], [0.5, 0.5, 0.5, 2])
    row = summarise(points)
    assert (row["n"], row["n_both"], row["indexed_pct"], row["wrong_pct"]) == (4, 2, 75, 25)
    assert row["iq_ratio_q50"] == 0.5
    assert row["misorientation_rad_q90"] == pytest.approx(np.radians(row["misorientation_deg_q90"]))


def test_a_point_of_another_phase_than_before_is_wrong():
    before = crystal_map(0, phase_id=[0, 1, 0, -1])
    points = compare_maps(before, crystal_map([1, 1, 1, 1], phase_id=[0, 1, 1, 1]))
    np.testing.assert_allclose(points["misorientation_deg"], [1, 1, np.nan, np.nan], atol=1e-5)
    row = summarise(points)
    assert (row["wrong_pct"], row["n_both"]) == (25, 3)
    assert row["misorientation_deg_q90"] == pytest.approx(1)


def test_lost_points_are_wrong_or_not_indexed_in_pores_and_outside():
    ci = [0.5, 0.05, 0.5, 0.0999]  # the last as float16 has it, which is no pore
    before, after = crystal_map(0, ci=ci), crystal_map([1, 20, 20, 0], phase_id=[0, -1, 0, 0])
    row = summarise(compare_maps(before, after))
    assert (row["indexed_pct"], row["wrong_pct"], row["lost_pct"]) == (75, 25, 50)
    assert (row["pores_pct"], row["lost_pct_in_pores"]) == (25, 100)
    assert row["lost_pct_outside_pores"] == pytest.approx(100 / 3)
    # What the original lacks and the decoded map has is not lost.
    row = summarise(compare_maps(crystal_map(0, phase_id=-1), crystal_map(0)))
    assert (row["lost_pct"], row["indexed_pct"]) == (0, 100)


def test_the_error_to_the_truth_is_that_of_indexed_matrix_points():
    true = crystal_map(5, phase_id=[0, 0, 0, -1])
    points = compare_maps(crystal_map([4, 4, 5, 5]), crystal_map([7, 7, 7, 7], [0, -1, 0, 0]), true)
    np.testing.assert_allclose(points["truth_error_deg"], [2, np.nan, 2, np.nan], atol=1e-5)
    own = points["preprocessed_truth_error_deg"]
    np.testing.assert_allclose(own, [1, 1, 0, np.nan], atol=1e-5)


def test_a_ratio_to_zero_is_left_out():
    points = compare_maps(crystal_map(0, ci=[0, 1, 1, 1]), crystal_map(0))
    assert np.isnan(points["ci_ratio"][0])
    assert points["ci_ratio"][1:].notna().all()


def test_the_printed_table_shows_the_paper_below():
    row = {"model": "vae-64", "paper_indexed_pct": 99.9, "paper_iq_ratio_q10": 0.8}
    row |= summarise(compare_maps(crystal_map(0), crystal_map(2)))
    row |= {"paper_iq_ratio_q50": 0.95, "paper_iq_ratio_q90": 1.03}
    printed = printed_table1(pd.DataFrame([row, row | {"model": "another seed"}]))
    assert printed["model"].tolist() == ["vae-64", "  (paper)", "another seed"]
    assert printed["IQ ratio"].tolist()[:2] == ["1.00 / 1.00 / 1.00", "0.80 / 0.95 / 1.03"]
    assert printed["misorientation (°)"].tolist()[:2] == ["2.00 / 2.00 / 2.00", ""]


@pytest.fixture
def finished():
    """A study whose results are four points, turned by 2 degrees and with losses 10 to 40."""
    study = make_study(
        title="<img onerror=x>",
        models={"vae-16": {"latent_dim": 16}, "beta50-16": {"latent_dim": 16, "beta": 50}},
        baselines={"pca-2": {"method": "pca", "components": 2}, "nlpar": {"method": "nlpar"}},
        scans=with_training_patterns(200),
    )
    give_sample(study, 200)
    layout = Layout(study)
    for name in (PREPROCESSED, *study.models, *study.baselines):
        path = layout.orientations(name, "wrought")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_map(
            path, crystal_map(0 if name == PREPROCESSED else 2, fit=0.5), Detector().pattern_centre
        )
        if name != PREPROCESSED:
            losses = np.array([[10, 20], [30, 40]], np.float32)
            save_array(layout.model_scan(name, "wrought").pattern_loss, losses)
    last = {"loss": 30.0, "reconstruction": 28.0, "kl": 2.0, "active_units": 0.6}
    for name in study.models:
        card = {"settings": study.model(name).model_dump(), "last": last}
        save_json(layout.model(name).card, MODEL_CARD | card)
        falling = {"loss": 100.0 - np.arange(20), "presentations": np.arange(20)}
        falling |= {"reconstruction": 90.0 - np.arange(20), "kl": 10.0}
        pd.DataFrame(falling | {"learning_rate": 0.001}).to_csv(layout.model(name).history)
    give_truth(layout)
    give_records(study)
    return study


def give_truth(layout):
    """The truth of the four points: turned by half a degree, the last one a particle."""
    card, path = layout.scan("wrought").card, layout.scan("wrought").truth
    save_json(card, SCAN_CARD | {"map_shape": [2, 2]})
    with h5py.File(path, "w") as file:
        file.attrs["map_shape"] = (2, 2)
        file["rotation"] = Rotation.from_axes_angles([0, 0, 1], [0.5] * 4, degrees=True).data
        file["phase"] = [0, 0, 0, 1]


def give_records(study):
    """Write the records of all jobs of Table 1."""
    stand_in(study, DATA, "wrought")
    stamp(study, INDEXING, "wrought")
    for name in study.models:
        stamp(study, TRAINING, name)
        stamp(study, RECONSTRUCTION, name, "wrought")
    for name in study.baselines:
        stamp(study, BASELINES, name)
    for name in study.decoders:
        stamp(study, REINDEXING, name, "wrought")


def test_points_without_a_pattern_do_not_count(finished):
    layout, missing = Layout(finished), [0, 0, -1, -1]
    quality = {"pq": [100, 50, np.nan, np.nan], "fit": 0.5}
    for name in (PREPROCESSED, *finished.decoders):
        turn = 0 if name == PREPROCESSED else 2
        xmap = crystal_map(turn, missing, **quality)
        save_map(layout.orientations(name, "wrought"), xmap, (0.5, 0.3, 0.6))
        if name != PREPROCESSED:
            losses = np.array([[10, 20], [np.nan, np.nan]], np.float32)
            save_array(layout.model_scan(name, "wrought").pattern_loss, losses)
    give_records(finished)
    table, by_scan, *_ = table1(Results(finished))
    for of in (table, by_scan):
        assert (of["n"] == 2).all() and (of["indexed_pct"] == 100).all()
        assert (of["residual_mean"] == 15).all()


def test_baselines_stand_below_the_models(finished):
    results = Results(finished)
    table, by_scan, intervals, differences = table1(results)
    table = table.set_index("model")
    assert list(table.index) == ["vae-16", "beta50-16", "pca-2", "nlpar"]
    assert table["loss"].tolist() == ["vae", "vae", "pca", "nlpar"]
    assert table["latent_dim"].fillna(-1).tolist() == [16, 16, 2, -1]
    assert table.loc["pca-2":, ["beta", "seed", "presentations", "final_kl"]].isna().all(axis=None)
    assert (table["residual_mean"] == 25).all() and (table["residual_q50"] == 25).all()
    assert table["misorientation_deg_q50"].tolist() == pytest.approx([2] * 4, abs=1e-4)
    assert table.loc["vae-16", "paper_indexed_pct"] == 95.3
    assert len(by_scan) == 4
    assert set(intervals["number"]) < set(table.columns)
    assert (table["lattices"] == 1).all()
    assert intervals[["low", "high"]].isna().all(axis=None)  # of one lattice
    assert (table["truth_error_deg_q50"] - 1.5).abs().max() < 1e-4
    assert (table["preprocessed_truth_error_deg_q50"] - 0.5).abs().max() < 1e-4
    assert table.loc[:"beta50-16", "loss_fall_pct"].between(5, 6).all()
    assert table["flat_at_schedule_end"].tolist()[:2] == [False, False]
    pairs = differences[["model", "reference"]].drop_duplicates().to_numpy().tolist()
    of_largest = [[name, "vae-16"] for name in ("beta50-16", "pca-2", "nlpar")]
    assert pairs == of_largest + [[name, PREPROCESSED] for name in table.index]
    by_number = differences.groupby("number")["difference"]
    assert by_number.max()["truth_error_deg_q50"] == pytest.approx(1, abs=1e-3)
    assert by_number.max()["lost_pct"] == by_number.min()["lost_pct"] == 0
    printed = save_table1(results)
    assert printed["model"].tolist() == ["vae-16", "  (paper)", "beta50-16", "pca-2", "nlpar"]
    assert printed[RESIDUAL].tolist() == ["25.0", "", "25.0", "25.0", "25.0"]
    written = (results.layout.figures / "table1.csv").read_text().splitlines()
    assert written[4].startswith("nlpar,nlpar,,,,,")
    page = (results.layout.figures / "table1.md").read_text()
    assert page.startswith("&lt;img onerror=x&gt; (virtual specimens): decoded against")


def test_beta_and_dimension_are_those_of_the_training(finished):
    """The card says what was trained, whatever a study file says now."""
    path = Layout(finished).model("vae-16").card
    card = load_json(path)
    card["settings"] |= {"beta": 7.0, "latent_dim": 64}
    save_json(path, card)
    give_records(finished)
    table, by_scan, *_ = table1(Results(finished))
    for rows in (table, by_scan):
        assert rows.set_index("model").loc["vae-16", ["beta", "latent_dim"]].tolist() == [7, 64]
    assert table["beta"].tolist()[:2] == [7, 50]


def test_the_linear_table_says_who_wins(finished):
    # Without its card a scan has no shape: here the sample has another than the maps.
    card = Layout(finished).record(DATA, "wrought")
    card.unlink()
    with pytest.raises(MissingResultError, match=r"spectrum\.json .* 07_baselines\.pca-2"):
        linear_table(Results(finished))
    principal_components(Results(finished))
    give_records(finished)
    card.unlink()
    table = linear_table(Results(finished)).set_index("model")
    assert list(table.index) == ["vae-16", "beta50-16"]
    assert (table["active_units"] == 1).all()
    # The sample is one waveform of random height, and noise of 0.05 in 10,379 pixels.
    pixels = np.load(Layout(finished).scan("wrought").mask).sum()
    np.testing.assert_allclose(table["pca_residual_active"], 0.5 * 0.05**2 * pixels, rtol=0.05)
    assert (table["pca_residual_latent"] < table["pca_residual_active"]).all()
    assert (table["winner"] == "PCA").all()
    for losses in (1.0, 100.0):
        path = Layout(finished).model_scan("vae-16", "wrought").pattern_loss
        save_array(path, np.full((2, 2), losses, np.float32))
        give_records(finished)
        card.unlink()
        winner, _ = linear_table(Results(finished))["winner"]
        assert winner == ("VAE" if losses == 1 else "PCA")


def test_table2_is_the_papers():
    table = table2()
    encoder = table[(table["part"] == "encoder") & (table["kernel"] != "")]
    assert encoder["output px"].str.split().str[0].tolist() == [
        "56",
        "56",
        "24",
        "24",
        "8",
        "8",
        "1",
    ]
    assert encoder["128"].tolist() == [32, 32, 64, 64, 128, 128, 256]
    decoder = table[(table["part"] == "decoder") & (table["kernel"] != "")]
    sizes = decoder["output px"].str.split().str[0].tolist()
    assert sizes == ["11", "11", "27", "27", "61", "61", "120", "120", "120"]
    assert decoder["64"].tolist() == [64, 64, 32, 32, 16, 16, 8, 8, 1]
    ours, printed = (table[table["layer"].str.startswith("parameters")].iloc[i::2] for i in (0, 1))
    thousands = ours[["32", "64", "128", "256"]].astype(float).div(1000).round()
    assert (thousands.to_numpy() == printed[["32", "64", "128", "256"]].to_numpy()).all()
    # The paper prints the 16-D counts in each other's place.
    assert ours["16"].astype(float).div(1000).round().tolist() == [74, 66]
    assert printed["16"].tolist() == [66, 74]


def test_differences_are_paired_by_lattice(finished):
    """Six strips are six lattices: a model that is worse by as much in each is surely worse."""
    layout, turns = Layout(finished), np.array([0, 20, 40, 10, 30, 55])
    save_json(layout.scan("wrought").card, SCAN_CARD | {"map_shape": [4, 30]})
    layout.scan("wrought").truth.unlink()
    with h5py.File(layout.scan("wrought").truth, "w") as file:
        file.attrs["map_shape"] = (4, 30)
        file["rotation"], file["phase"] = strips(*turns).rotations.data, np.zeros(120, int)
    off = {PREPROCESSED: 0.0, "vae-16": 0.5, "beta50-16": 1.5, "pca-2": 0.5, "nlpar": 0.5}
    spread = np.array([0, 1, 2, 3, 4, 5])  # hard lattices are hard for all models
    for name, angle in off.items():
        turned = turns + angle * (spread + 1) if name != PREPROCESSED else turns
        quality = {key: np.ones(120) for key in ("ci", "cm", "pq", "sharpness", "fit")}
        xmap = strips(*turned)
        xmap.prop.update(quality)
        save_map(layout.orientations(name, "wrought"), xmap, (0.5, 0.3, 0.6))
        if name != PREPROCESSED:
            losses = np.tile(np.repeat(100.0 * spread + 10 * angle, 5), (4, 1)).astype(np.float32)
            save_array(layout.model_scan(name, "wrought").pattern_loss, losses)
    give_records(finished)
    table, _, intervals, differences = table1(Results(finished))
    assert (table["lattices"] == 6).all()
    residual = intervals[intervals["number"] == "residual_mean"].set_index("model")
    assert residual.loc["vae-16", "high"] > residual.loc["beta50-16", "low"]  # unpaired: no verdict
    found = differences.set_index(["model", "reference", "number"])
    assert found.loc[("beta50-16", "vae-16", "residual_mean")].tolist() == pytest.approx([10] * 3)
    median = found.loc[("beta50-16", PREPROCESSED, "truth_error_deg_q50")]
    assert 1.49 < median["low"] < median["difference"] < median["high"] < 9.01
    assert found.loc[("pca-2", "vae-16", "lost_pct")].tolist() == [0, 0, 0]


# ---------------------------------------------------------------------- LaTeX

HOSTILE = r"R&D of a_b: 10 % of {x} \alpha ~ ^ #5 $"
PAPER = r"""\documentclass{article}
\usepackage[a4paper,textwidth=17cm,textheight=24cm]{geometry}
\usepackage{booktabs,longtable}
\begin{document}
\input{table1}
\end{document}
"""


def printed(study: str) -> pd.DataFrame:
    return printed_table1(pd.read_csv(PROJECT_ROOT / "figures" / study / "table1.csv"))


def test_signs_of_latex_in_a_title_are_text():
    text = in_latex(printed("virtual"), HOSTILE)
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption{"))
    assert r"R\&D of a\_b: 10 \% of \{x\} \textbackslash{}alpha" in caption
    assert not set(text) & {"½", "Σ", "²", "°"}, "pdflatex stops at these"
    assert text.count(r"\toprule") == 4 and text.count("vae-16 &") == 2  # both halves


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex here")
@pytest.mark.parametrize("study", ["virtual", "in718_rx"])
def test_pdflatex_sets_table_1_within_its_page(study, tmp_path):
    (tmp_path / "table1.tex").write_text(in_latex(printed(study), HOSTILE), "utf-8")
    (tmp_path / "paper.tex").write_text(PAPER)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # a longtable finds its widths in the second run
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-1000:]
    wide = [float(x) for x in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert max(wide, default=0) < 2
