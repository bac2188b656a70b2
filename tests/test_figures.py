"""Figures: choices by measure, files, scale bars, and panels that a study cannot fill."""

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import get_args

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from orix.crystal_map import CrystalMap, Phase, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation
from PIL import Image
from skimage.measure import regionprops

from kikuhelpers.figures import (
    fig07_fine_step,
    fig09_cells_by_dimension,
    panels,
    stages,
    style,
)
from kikuhelpers.figures.drawing import _bar_length_um, _draw_scale_bar, letter, show_map
from kikuhelpers.figures.fig03_network import drawn_layers, layer_text
from kikuhelpers.figures.fig11_reindexed import compared_models
from kikuhelpers.figures.figure_set import FIGURES, FigureSet
from kikuhelpers.figures.panels import (
    _most_structured_box,
    _path_across,
    _walls,
    slenderest_twin,
    twin_feature,
)
from kikuhelpers.figures.style import MAX_BYTES, new_figure, save_figure
from kikuhelpers.latents import features
from kikuhelpers.latents.features import Choice
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import Study, StudyError, roles
from kikuhelpers.study import study as study_module
from kikuhelpers.study.study import Figures
from kikuhelpers.training.vae import KikuchiVAE, count_parameters

GRAIN_WIDTH = 20  # columns of each of the two grains of the planted map


def virtual_scan(alloy: str, step_um: float = 1.0, **settings) -> dict:
    data = {"source": "virtual", "map_shape": [40, 40], "specimen": {"alloy": alloy}}
    return {"data": data | {"step_um": step_um}, **settings}


WROUGHT, AM = (virtual_scan(alloy) for alloy in ("wrought", "am"))


def make_study(scans=None, models=None) -> Study:
    return Study(
        name="check",
        title="check",
        scans=scans or {"w": WROUGHT},
        models=models or {"vae-16": {"latent_dim": 16}},
    )


@pytest.fixture
def planted():
    """A view of two grains: feature 0 tells them apart, 1 has cells, 2 a spot, 3 rotation."""
    rng = np.random.default_rng(0)
    shape = (40, 2 * GRAIN_WIDTH)
    rows, columns = np.indices(shape)
    grain = (columns >= GRAIN_WIDTH).astype(int)
    noise = rng.standard_normal((*shape, 5)) * 0.3
    noise[..., 0] += 5 * grain
    noise[..., 1] += np.sin(rows / 2) * np.sin(columns / 2)
    noise[20, 10, 2] += 30
    grod = np.abs(rng.standard_normal(shape))
    noise[..., 3] += 2 * grod
    noise[..., 4] = 1e-6 * np.sin(rows / 9)  # smoothest of all, and switched off
    table = pd.DataFrame(
        {
            "active": [True] * 4 + [False],
            "moran_i": [0.9, 0.6, 0.0, 0.0, 1.0],
            "rho_orientation": [0.9, 0.1, 0.0, 0.1, 1.0],
        }
    )
    return SimpleNamespace(
        latents=lambda model: noise,
        features=lambda model: table,
        grains=lambda: grain,
        property_map=lambda name: {"grod_deg": grod}[name],
    )


@pytest.mark.parametrize(
    ("choose", "index"),
    [
        (features.grain_feature, 0),
        (features.domain_feature, 1),
        (features.spot_feature, 2),
        (features.rotation_feature, 3),
    ],
)
def test_the_planted_feature_is_chosen(planted, choose, index):
    choice = choose(planted, "vae-16")
    assert choice.index == index
    assert choice.name == f"vae-16, feature {index}"
    assert f"{choice.value:.2f}" in choice.reason


def test_a_taken_or_inactive_feature_is_not_chosen(planted):
    assert features.cell_feature(planted, "vae-16", {1}).index not in (1, 4)
    chosen = [c.index for c in features.structured_features(planted, "vae-16", 3)]
    assert chosen == [0, 1, 2]


def test_structure_is_found_inside_grains_not_at_their_boundary(planted):
    latents = planted.latents("m")
    latents[..., 1] = np.random.default_rng(1).standard_normal(latents.shape[:2])
    latents[5:15, 22:38, 1] += 3 * np.sign(np.sin(np.arange(16) / 2))  # lines in one grain
    planted.shape = latents.shape[:2]
    structure = panels._structure_in_grains(planted, "m")
    assert _most_structured_box(structure, (10, 16)) == ((5, 15), (22, 38))
    planted.features = lambda model: pd.DataFrame({"active": [False] * 5})
    assert not panels._structure_in_grains(planted, "m").any()


def test_the_box_of_the_highest_mean_is_found():
    values = np.random.default_rng(0).standard_normal((9, 12))
    sums = {(r, c): values[r : r + 3, c : c + 4].sum() for r in range(9 - 2) for c in range(12 - 3)}
    row, column = max(sums, key=sums.get)
    assert _most_structured_box(values, (3, 4)) == ((row, row + 3), (column, column + 4))
    assert _most_structured_box(values, (30, 40)) == ((0, 9), (0, 12))
    second = {at: total for at, total in sums.items() if apart(at, (row, column), (3, 4))}
    at = max(second, key=second.get)
    assert _most_structured_box(values, (3, 4), 2) == ((at[0], at[0] + 3), (at[1], at[1] + 4))
    with pytest.raises(StudyError, match="no room for region 2"):
        _most_structured_box(values, (30, 40), 2)


def apart(one, other, size):
    return any(abs(a - b) >= n for a, b, n in zip(one, other, size, strict=True))


def test_the_path_crosses_a_ridge_and_not_a_step():
    values = np.random.default_rng(0).standard_normal((30, 40)) * 0.1
    grains = np.zeros((30, 40), int)
    grains[:, 20:] = 1
    values[:, 20:] += 9  # higher, but between grains
    values[:6, :20] += 5  # another domain
    values[16:18, 30] += 3  # a wall, to be crossed down a column
    values[16:18, 22:] += 2
    (top, left), (bottom, right) = _path_across(values, grains, 11)
    assert left == right == 30
    assert top + 5 in (16, 17) and bottom == top + 10
    with pytest.raises(StudyError, match="no grain of the map holds a path of 35 points"):
        _path_across(values, grains, 35)


@pytest.mark.parametrize("virtual", [True, False])
def test_the_path_of_fig_4c_crosses_the_wall_and_not_the_domain_boundary(virtual):
    """A feature steps at a domain boundary (row 20) and has a ridge at a wall (row 8)."""
    shape = (30, 12)
    domain, density = np.zeros(shape, int), np.full(shape, 2.0)
    domain[20:], density[20], density[8] = 1, 60, 40
    feature = 3.0 * domain + (np.arange(30)[:, None] == 8) * 1.5
    feature = feature + 0.01 * np.random.default_rng(0).standard_normal(shape)
    scan = SimpleNamespace(
        is_virtual=virtual,
        truth=lambda name: {"density": density, "domain": domain}[name],
        grains=lambda: np.zeros(shape, int),
        latents=lambda model: feature[..., None],
    )
    (top, left), (bottom, right) = _path_across(*_walls(scan, Choice("m", 0, "x", 1.0)), 9)
    assert (left, bottom - top) == (right, 8)
    assert top + 4 == 8


def lamellae(*columns: tuple[int, int]) -> np.ndarray:
    """Labels (30, 40) of upright lamellae, each given by its first column and its width."""
    labels = np.zeros((30, 40), int)
    for number, (first, width) in enumerate(columns, start=1):
        labels[:, first : first + width] = number
    return labels


def test_the_thinnest_of_long_twins_is_found_by_the_truth():
    twin = lamellae((3, 6), (20, 2), (30, 4))
    twin[::7, 36] = 4  # thinner than a step: only now and then a point
    twin[5, 12:20] = 5  # shorter
    view = SimpleNamespace(is_virtual=True, truth=lambda name: twin)
    found = slenderest_twin(view)
    assert found.area == 60 and set(found.coords[:, 1]) == {20, 21}
    view.shape = twin.shape
    assert set(panels._beside(found, view)[:, 1]) == {17, 18, 23, 24}
    assert slenderest_twin(SimpleNamespace(is_virtual=True, truth=lambda name: 0 * twin)) is None


@pytest.mark.parametrize(("angle", "first"), [(60.0, 20), (45.0, 5)])
def test_a_measured_lamella_counts_if_it_is_a_twin(angle, first):
    """The thinner lamella is turned by an angle about <111>, the thicker one is a twin."""
    labels = lamellae((5, 3), (20, 1))
    turns = np.array([0.0, 60.0, angle])[labels.ravel()]
    xmap = CrystalMap(
        rotations=Rotation.from_axes_angles([1, 1, 1], turns, degrees=True)
        * Rotation.from_axes_angles([1, 2, 3], 40, degrees=True),
        phase_list=PhaseList(Phase("Ni", space_group=225)),
        prop={"grain": labels.ravel()},
        **create_coordinate_arrays(labels.shape, (1, 1))[0],
    )
    view = SimpleNamespace(is_virtual=False, orientations=lambda: xmap, crop=lambda values: values)
    view.shape, view.grains = labels.shape, lambda: labels
    assert slenderest_twin(view).coords[:, 1].min() == first


def test_the_feature_of_the_twin_is_the_one_in_which_it_stands_out(planted):
    labels, latents = lamellae((12, 2)), planted.latents("m")[:30, :40].copy()
    latents[20, 10, 2] -= 30  # the spot
    latents[..., 2] += 2.0 * labels
    latents[..., 4] += 9.0 * labels  # switched off
    latents[3, 12] = np.nan  # an empty pattern
    view = SimpleNamespace(shape=labels.shape, latents=lambda m: latents, features=planted.features)
    choice = twin_feature(view, "m", regionprops(labels)[0])
    assert choice.index == 2
    assert 0.8 < choice.value <= 1


def test_the_zoom_of_fig_7_holds_the_largest_particle(monkeypatch):
    monkeypatch.setattr(panels, "region", lambda *_: None)
    phase = np.zeros((40, 60), int)
    phase[3, 3], phase[30:34, 50:54] = 2, 1  # of a point, of sixteen
    monkeypatch.setattr(View, "is_virtual", True)
    monkeypatch.setattr(View, "truth", lambda self, name: phase)
    field = View(SimpleNamespace(), "fine", (0, 40), (0, 60))
    zoom = fig07_fine_step._zoom(field, None)
    assert zoom.shape == (20, 30)
    assert zoom.rows == (20, 40) and zoom.columns == (30, 60)


def test_a_row_of_no_map_is_empty():
    figure = stages.map_row({}, 1.0, title="no active feature")
    assert not any(ax.get_visible() for ax in figure.axes)


def test_the_sign_and_scale_of_a_feature_do_not_matter(planted):
    flipped = SimpleNamespace(**vars(planted))
    flipped.latents = lambda model: -7 * planted.latents(model)
    for choose in (features.cell_feature, features.rotation_feature):
        assert choose(flipped, "m").index == choose(planted, "m").index


def test_grains_are_standardised_one_by_one(planted):
    grains = planted.grains().copy()
    grains[0] = -1
    standard = features.standardised_in_grains(planted.latents("m"), grains)
    for grain in (0, 1):
        inside = standard[grains == grain]
        np.testing.assert_allclose(inside.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(inside.std(axis=0), 1)
    assert not standard[grains < 0].any()


def test_models_by_role():
    study = make_study(
        models={
            "big": {"latent_dim": 64},
            "b50": {"latent_dim": 32, "beta": 50},
            "small": {"latent_dim": 16},
            "b15": {"latent_dim": 32, "beta": 15},
            "middle": {"latent_dim": 32},
            "views": {"latent_dim": 128, "loss": "contrastive"},
        }
    )
    assert roles.vaes(study) == ["small", "middle", "big"]
    assert roles.largest_vae(study) == "big"
    assert roles.beta_series(study) == ["middle", "b15", "b50"]
    assert compared_models(study) == ["small", "big", "b15", "b50", "views"]


def test_scans_by_role():
    scans = {"fine": virtual_scan("am", 0.2), "first": AM, "w": WROUGHT}
    study = make_study(scans={name: scans[name] for name in ("first", "fine", "w")})
    assert roles.scan_of(study, "am") == "first"
    assert roles.scan_of(study, "wrought") == "w"
    assert roles.fine_scan(study) == "fine"
    assert roles.fine_scan(make_study(scans={"first": scans["first"]})) is None
    nobody_says = {"data": {"path": "am.up2"}, "figures": {"role": "am"}}
    assert roles.fine_scan(make_study(scans=scans | {"unread": nobody_says})) is None
    assert roles.decoded_scan(study) == "w"


def test_scans_that_serve_less_are_left_alone():
    serve = {"t": "training", "m": "maps", "a": "all"}
    study = make_study(scans={name: {**WROUGHT, "serves": part} for name, part in serve.items()})
    assert (study.mapped_scans, study.decoded_scans) == (["m", "a"], ["a"])
    assert (roles.scan_of(study, "wrought"), roles.decoded_scan(study)) == ("m", "a")
    with pytest.raises(ValueError, match="Table 1 would be empty"):
        make_study(scans={"m": {**WROUGHT, "serves": "maps"}})


def test_a_measured_scan_of_another_alloy_counts_as_wrought():
    study = make_study(scans={"x": {"data": {"path": "x.up2"}}})
    assert roles.scan_of(study, "wrought") == "x"


@pytest.mark.parametrize(
    ("scans", "draw", "words"),
    [
        (None, fig07_fine_step.draw, ["Fig. 7", "no AM scan of a finer step"]),
        ({"a": AM}, fig07_fine_step.draw, ["Fig. 7", "no AM scan of a finer step"]),
        (None, fig09_cells_by_dimension.draw, ["Fig. 9", "no AM scan"]),
    ],
)
def test_a_figure_that_cannot_be_filled_says_why(scans, draw, words):
    figure = draw(Results(make_study(scans)))
    assert not figure.axes
    assert len(figure.missing) == 1
    assert all(word in figure.missing[0] for word in words)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_every_figure_of_the_paper_has_its_file():
    assert list(FIGURES) == list(range(1, 12))


def test_a_figure_without_its_results_is_dropped_and_accounted_for():
    figures = FigureSet(Results(make_study()))
    old = figures.folder / "fig01_overview.png"
    old.parent.mkdir(parents=True)
    old.touch()
    assert not figures.make(1).axes
    assert not old.exists(), "an older picture of other results does not stay"
    [sentence] = figures.close()
    assert sentence.startswith("Fig. 1: ") and "not" in sentence
    assert [path.name for path in figures.folder.iterdir()] == ["figures.json"]


def test_a_missing_role_is_one_sentence(monkeypatch):
    monkeypatch.setattr(View, "whole", classmethod(lambda cls, results, scan: scan))
    results = Results(make_study())
    views, missing = panels.panel_views(results, 5, {"A": "wrought", "B": "am", "C": "am"})
    assert views == {"A": "w"}
    assert missing == ["Fig. 5B, C: this study has no AM scan."]


def test_the_study_file_chooses_panel_feature_and_colours(monkeypatch):
    chosen = {"panels": ("5A", "5C"), "features": {"5A.1": 3}, "colours": {"viridis": "gray_r"}}
    study = make_study({"w": WROUGHT, "a": AM})
    study = study.model_copy(update={"figures": Figures(**chosen)})
    latents = np.random.default_rng(0).standard_normal((4, 5, 16))
    view = SimpleNamespace(results=SimpleNamespace(study=study), step_um=1.0)
    view.latents = lambda model: latents
    view.features = lambda model: pd.DataFrame({"active": np.arange(16) != 3})
    monkeypatch.setattr(View, "whole", classmethod(lambda cls, results, scan: view))
    roles_of = {"A": "wrought", "B": "am", "C": "am"}
    assert list(panels.panel_views(view.results, 5, roles_of)[0]) == ["A", "C"]
    assert list(panels.panel_views(view.results, 6, roles_of)[0]) == ["A", "B", "C"]

    measured = Choice("vae-16", 1, "Moran's I", 0.5)
    assert panels.selected(view, "5C.1", measured) is measured
    choice = panels.selected(view, "5A.1", measured)
    ax = new_figure(40).subplots()
    panels.draw_map(ax, "A.1", view, choice)
    [image] = ax.images
    np.testing.assert_array_equal(image.get_array(), latents[..., 3])
    assert image.cmap.name == "gray_r"
    assert ax.get_title("left").endswith("vae-16, feature 3\nnamed by the study file, switched off")


def test_colour_maps_to_choose_from_are_those_of_matplotlib():
    assert set(get_args(study_module._COLOURS)) <= set(matplotlib.colormaps)


@pytest.mark.parametrize("module", ["torch", "kikuchipy", "pyebsdindex", "orix"])
def test_plots_of_the_stages_load_nothing_heavy(module):
    code = f"import sys, kikuhelpers.figures.stages; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------- files


@pytest.fixture
def noisy_figure():
    """A figure that is too large as it is: noise does not compress."""
    figure = new_figure(height_mm=60, width_mm=89)
    image = np.random.default_rng(0).random((400, 600))
    figure.subplots().imshow(image, cmap="viridis")
    return figure


def test_files_are_whole_and_the_same_again(noisy_figure, tmp_path):
    first = [path.read_bytes() for path in save_figure(noisy_figure, tmp_path / "new", "f")]
    png, pdf = save_figure(noisy_figure, tmp_path / "new", "f")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["f.pdf", "f.png"]
    assert png.stat().st_size < MAX_BYTES
    assert [png.read_bytes(), pdf.read_bytes()] == first
    with Image.open(png) as image:
        image.verify()
    assert pdf.read_bytes().rstrip().endswith(b"%%EOF")
    assert b"CreationDate" not in pdf.read_bytes()


def test_a_pdf_is_for_print_however_large(noisy_figure, tmp_path):
    _, pdf = save_figure(noisy_figure, tmp_path, "f")
    content = pdf.read_bytes()
    [ax] = noisy_figure.axes
    inches = ax.get_window_extent().width / noisy_figure.dpi
    [width] = map(int, re.findall(rb"/Subtype /Image.*?/Width (\d+)", content, re.DOTALL))
    assert width == pytest.approx(300 * inches, abs=2)
    assert len(content) > MAX_BYTES
    assert b"/FontFile2" in content and b"/Type3" not in content, "embedded TrueType fonts"


def test_a_rare_colour_survives_in_a_figure_of_few_colours(noisy_figure, tmp_path):
    red = np.array([214, 39, 40])
    noisy_figure.axes[0].plot(300, 200, "s", ms=2, mew=0, color=red / 255)
    png, _ = save_figure(noisy_figure, tmp_path, "f")
    with Image.open(png) as image:
        assert image.mode == "P"
        off = np.abs(np.asarray(image.convert("RGB")).astype(int) - red).max(axis=-1)
    assert off.min() <= 16


def test_a_failed_rendering_leaves_the_old_files_alone(tmp_path, monkeypatch):
    figure = new_figure(height_mm=20)
    figure.subplots()
    old = save_figure(figure, tmp_path, "f")
    before = [path.read_bytes() for path in old]

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(style, "_pdf", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path, "f")
    assert [path.read_bytes() for path in old] == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_small_figure_keeps_the_finest_resolution(tmp_path):
    figure = new_figure(height_mm=40, width_mm=89)
    figure.subplots().plot([0, 1])
    png, _ = save_figure(figure, tmp_path, "f")
    with Image.open(png) as image:
        assert round(image.info["dpi"][0]) == style.PNG_STEPS[0][0]


def test_a_dollar_in_a_title_or_a_name_begins_no_formula(tmp_path):
    figure = new_figure(40, title := r"$\frac$ for $5")
    letter(figure.subplots(), "A", title)
    letter(figure.axes[0], "", title)
    figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("width_mm", [style.COLUMN_MM, style.PAGE_MM])
def test_files_are_as_wide_as_the_journal_prints_them(tmp_path, width_mm):
    figure = new_figure(40, "narrow", width_mm, layout="none")
    figure.add_axes((0.4, 0.4, 0.2, 0.2))
    png, pdf = save_figure(figure, tmp_path, "f")
    with Image.open(png) as image:
        assert image.width / image.info["dpi"][0] * 25.4 == pytest.approx(width_mm, abs=0.1)
    box = re.search(rb"MediaBox \[ 0 0 ([\d.]+)", pdf.read_bytes())
    assert float(box[1]) / 72 * 25.4 == pytest.approx(width_mm, abs=0.01)


def test_the_style_of_the_figures_stays_with_the_figures():
    before = dict(matplotlib.rcParams)
    fig07_fine_step.draw(Results(make_study()))
    assert dict(matplotlib.rcParams) == before


# ------------------------------------------------------------------- drawings


@pytest.mark.parametrize(
    ("width_um", "length_um"), [(100, 20), (200, 50), (12, 2), (1.5, 0.5), (1000, 200), (29, 10)]
)
def test_scale_bar_is_a_round_third_of_the_map(width_um, length_um):
    assert _bar_length_um(width_um) == pytest.approx(length_um)


@pytest.mark.parametrize("step_um", [0.1, 1.0, 2.5])
def test_scale_bar_has_the_length_it_states(step_um):
    ax = new_figure(40).subplots()
    ax.imshow(np.zeros((60, 80)))
    bar = _draw_scale_bar(ax, (60, 80), step_um)
    stated = float(ax.texts[0].get_text().removesuffix(" µm"))
    assert bar.get_width() * step_um == pytest.approx(stated)
    assert bar.get_x() >= 0 and bar.get_x() + bar.get_width() <= 80
    assert bar.get_y() + bar.get_height() <= 60


@pytest.mark.parametrize("shape", [(1, 60), (60, 1)])
def test_a_line_of_points_is_a_strip_in_a_figure_of_a_page(shape):
    line = SimpleNamespace(shape=shape)
    assert 0 < panels.row_mm(line, 4, 0) < style.PAGE_MM
    figure = stages.map_row({"IQ": np.arange(60.0).reshape(shape)}, 0.5)
    assert figure.axes[0].images[0].get_array().shape == shape


def test_a_region_outside_of_its_map_is_one_sentence():
    regions = {"4B": {"scan": "w", "rows": [0, 41], "columns": [0, 5]}}
    results = SimpleNamespace(
        study=SimpleNamespace(figures=Figures(regions=regions)),
        scan=lambda name: SimpleNamespace(card={"map_shape": (40, 40)}),
    )
    with pytest.raises(StudyError, match=r"figures: 4B ends outside of its map of \(40, 40\)"):
        panels.region(results, "4B", None)
    results.study.figures = Figures(regions={"4B": regions["4B"] | {"rows": [0, 40]}})
    assert panels.region(results, "4B", None).shape == (40, 5)


def test_a_point_without_a_value_is_black():
    values = np.arange(100.0).reshape(10, 10)
    values[3, 4] = np.nan
    image = show_map(new_figure(40).subplots(), values, 1.0)
    assert image.get_clim() == pytest.approx(np.nanpercentile(values, (1, 99)))
    assert image.cmap(image.get_array())[3, 4] == pytest.approx((0, 0, 0, 1))


@pytest.mark.parametrize("dimension", [16, 32])
def test_the_drawn_layers_are_those_of_the_network(dimension):
    with torch.device("meta"):
        model = KikuchiVAE(dimension)
    encoder, decoder = (drawn_layers(dimension, part)[1:] for part in ("encoder", "decoder"))
    assert [layer.px for layer in encoder] == [56, 56, 24, 24, 8, 8, 1, 1]
    assert [layer.px for layer in decoder] == [4, 11, 11, 27, 27, 61, 61, 120, 120, 120]
    assert [layer.shortcut for layer in encoder] == [False, True] * 3 + [False] * 2
    assert decoder[0].channels == dimension
    for part, layers in ((model.encoder, encoder), (model.decoder, decoder)):
        assert sum(layer.parameters for layer in layers) == count_parameters(part)
    assert layer_text(encoder[0]).startswith(f"{dimension // 4} × 56²\nconv 9×9 /2")


def test_a_box_in_a_field_lies_in_that_field():
    field = View(None, "am", (10, 30), (40, 60))
    box = panels.box_around(field, (10, 10), (5, 5))
    assert (box.rows, box.columns) == ((18, 23), (48, 53))
    corner = panels.box_around(field, (0, 19), (5, 5))
    assert (corner.rows, corner.columns) == ((10, 15), (55, 60))
