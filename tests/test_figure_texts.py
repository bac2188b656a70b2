"""What the figures write can be read: not too small, not cut, not one on another."""

import shutil
from functools import lru_cache
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from kikuhelpers.figures import detection, learning, style
from kikuhelpers.figures.drawing import label_log_axis
from kikuhelpers.figures.figure_set import FIGURES, FigureSet
from kikuhelpers.figures.virtual_specimens import truth_figure
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import PROJECT_ROOT, load_study

SMALLEST_PT = 6.0
HIGHEST_MM = 247.0  # a journal's page
TOUCH_PX = 1.0  # by which boxes of texts may overlap, or leave the canvas
PAGE, COLUMN = {}, {"figures.width_mm": 89, "figures.panels": ("7A", "7B")}
# Fig. 6 is drawn as Fig. 5 is; the maps of Fig. 4 are not square in the second study.
READ = [("virtual", number, PAGE) for number in FIGURES if number != 6] + [("in718_rx", 4, PAGE)]
# Figs. 5, 6 and 9 are folded as Fig. 7 is.
READ += [("virtual", number, COLUMN) for number in (1, 3, 4, 7, 8, 10, 11)]
READ += [("in718_rx", 2, COLUMN)]
COUNTS = np.random.default_rng(0).integers(0, 65536, (120, 120), np.uint16)


def faults(figure) -> list[tuple]:
    """Draw a figure; return its texts that are too small, cut, powers, or on top of another."""
    found, draw = {}, Text.draw

    def noted(text, renderer):
        if text.get_visible() and text.get_text().strip():
            found[id(text)] = text
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        style.print_style(FigureCanvasAgg(figure).draw)()
    texts, canvas = list(found.values()), figure.bbox.padded(TOUCH_PX)
    boxes = [text.get_window_extent() for text in texts]
    wrong = [("small", t.get_text()) for t in texts if t.get_fontsize() < SMALLEST_PT]
    wrong += [("power", t.get_text()) for t in texts if "mathdefault{10^" in t.get_text()]
    for text, box in zip(texts, boxes, strict=True):
        if not all(canvas.contains(*corner) for corner in box.corners()):
            wrong.append(("cut", text.get_text()))
    for (one, a), (two, b) in combinations(zip(texts, boxes, strict=True), 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if width > TOUCH_PX and height > TOUCH_PX:
            wrong.append(("overlap", one.get_text(), two.get_text()))
    return wrong


@style.print_style
def test_the_check_finds_what_is_wrong():
    figure = style.new_figure(60, "all is well", style.COLUMN_MM)
    ax = figure.subplots()
    assert faults(figure) == []
    ax.set(yscale="log", ylim=(1, 1e3))
    assert ("power", "$\\mathdefault{10^{2}}$") in faults(figure)
    label_log_axis(ax.yaxis)
    figure.text(0.5, 0.5, "tiny", fontsize=5)
    figure.text(0.99, 0.3, "beyond the edge")
    figure.text(0.5, 0.7, "first")
    figure.text(0.51, 0.7, "second")
    wrong = [("small", "tiny"), ("cut", "beyond the edge"), ("overlap", "first", "second")]
    assert faults(figure) == wrong


@pytest.fixture
def archived(monkeypatch):
    """Return the archived results of a study; a pattern that is not archived is noise."""
    monkeypatch.delenv("KIKUHELPERS_ARCHIVE")
    monkeypatch.setattr(Results, "pattern", lambda *_: COUNTS)
    return results_of


def results_of(name: str, changed: dict = PAGE) -> Results:
    return _results_of(name, tuple(changed.items()))


@lru_cache
def _results_of(name: str, changed: tuple) -> Results:
    return Results(load_study(name, dict(changed)), archive=True).complete()


@pytest.mark.parametrize(("name", "number", "changed"), READ)
def test_the_figures_can_be_read(archived, name, number, changed):
    figures = FigureSet(archived(name, changed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kikuhelpers.figures.figure_set.save_figure", lambda *_: ())
        figure = figures.make(number)
    if not figure.axes:
        pytest.skip(figure.missing[0])
    assert faults(figure) == []
    width_mm, height_mm = figure.get_size_inches() / style.INCH_PER_MM
    assert width_mm == pytest.approx(style.COLUMN_MM if changed else style.PAGE_MM)
    # All panels of both alloys take more than a page: docs/figures.md says to choose.
    assert height_mm <= HIGHEST_MM or number == 5


@pytest.mark.parametrize("name", ["virtual", "in718_rx"])
def test_plots_of_the_tables_can_be_read(archived, name):
    results, table = archived(name), "orientation_shares.csv"
    results.layout.figures.mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "figures" / name / table, results.layout.figures)
    try:
        curves = learning.learning_curves(results), learning.learned_orientations(results)
    except MissingResultError as missing:
        pytest.skip(missing.what)
    for figure, width_mm in zip(curves, (style.PAGE_MM, style.COLUMN_MM), strict=True):
        assert faults(figure) == []
        assert figure.get_figwidth() == pytest.approx(width_mm * style.INCH_PER_MM)


@pytest.mark.parametrize("scan", ["wrought", "am", "am_fine"])
def test_the_truth_can_be_read(archived, scan):
    try:
        figure = truth_figure(archived("virtual"), scan)
    except MissingResultError as missing:
        pytest.skip(missing.what)
    assert faults(figure) == []


@pytest.mark.parametrize("scans", [["am"], ["am", "am_fine", "wrought"]])
def test_detection_limits_can_be_read(monkeypatch, scans):
    """At a column's width and at the page's; each method is a line with its own label."""
    view = SimpleNamespace(label="virtual AM alloy", step_um=0.1)
    monkeypatch.setattr(detection.View, "whole", lambda results, scan: view)
    study = SimpleNamespace(model=lambda name: SimpleNamespace(latent_dim=int(name[4:])))
    study.baselines = {"pca-64": None}
    monkeypatch.setattr(detection.roles, "mapped_in_figures", lambda study: {*scans})
    readouts = [("IQ / noise", ""), (detection.PHYSICAL["pq"], ""), ("ridge probe", "")]
    readouts += [(detection.PHYSICAL["sharpness"], "")]
    readouts += [("best feature, told by the truth", f"vae-{n}") for n in (16, 64, 128)]
    readouts += [("ridge probe", "vae-128"), ("gradient", "pca-64")]
    common = {"effect": "walls", "smoothing_points": 0, "measure": "AUC"}
    common |= {"score": 0.9, "unit": "dislocation density over the interior's", "detected": 0.5}
    rows = [
        {"scan": scan, "readout": name, "model": model, "strength": strength} | common
        for scan in scans
        for name, model in [(detection.IDEAL, ""), *readouts]
        for strength in (1.2, 30.0)
    ]
    table = pd.DataFrame(rows)
    scores = table[table["readout"] != detection.IDEAL].drop_duplicates(
        ["scan", "readout", "model"]
    )
    results = SimpleNamespace(study=study)
    figure = detection.detection_figure(results, "walls", scores, table)
    assert faults(figure) == []
    assert [len(ax.lines) for ax in figure.axes[: len(scans)]] == [10] * len(scans)
    assert all(len(line.get_xdata()) == 2 for line in figure.axes[0].lines)
    nothing = detection.detection_figure(results, "twins", scores, table)
    assert nothing.missing == ["No scan of this study shows enough twins."]
