"""Targets are the truth as the beam sees it; every map of a scan is scored against them alike."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kikuhelpers.figures.panels import _boundary_lines
from kikuhelpers.latents.features import band_share, local_outliers, morans_i, smoothed_in_grains
from kikuhelpers.scans.virtual.specimen import VirtualSpecimen
from kikuhelpers.tables import truth_scores
from kikuhelpers.tables.scores import Judge, Target
from kikuhelpers.tables.targets import FALSE_ALARMS, ideal_detection, targets_of
from kikuhelpers.tables.truth_scores import BLIND, ON_OTHERS, TOLD, physical_maps
from tests.conftest import virtual_scan

SHAPE = (40, 40)
POINT_BEAM = {"interaction_um": (0, 0), "pixels": 30}


def view_of(**changes) -> SimpleNamespace:
    """A view of a virtual scan, its truth and no results."""
    data = virtual_scan(**changes)
    places = data.step_um * np.stack(np.indices(data.map_shape), -1).reshape(-1, 2)
    state = VirtualSpecimen(data.specimen, data.seed).at(places)
    study = SimpleNamespace(scan=lambda name: SimpleNamespace(data=data))
    return SimpleNamespace(
        results=SimpleNamespace(study=study),
        scan="am",
        shape=data.map_shape,
        step_um=data.step_um,
        truth=lambda name: getattr(state, name).reshape(data.map_shape),
    )


AM = {
    "alloy": "am",
    "size_um": [20, 20],
    "particles": {"per_1000_um2": 100, "radius_um": [0.4, 0.8]},
}


def test_the_strength_of_a_wall_is_its_density_over_the_same_place_without_it():
    view = view_of(map_shape=SHAPE, step_um=0.5, specimen=AM, microscope=POINT_BEAM)
    walls, domains, *_ = targets_of(view)
    bare = AM | {"cells": {"wall_density_ratio": [1, 1]}}
    interior = view_of(map_shape=SHAPE, step_um=0.5, specimen=bare).truth("density")
    inside = walls.crystals >= 0
    ratio = view.truth("density") / interior
    np.testing.assert_allclose(walls.strength[inside], ratio[inside], rtol=1e-5)
    assert (walls.marked == (inside & (ratio >= 3))).all()
    assert not (walls.marked & walls.plain).any()
    assert len(np.unique(domains.domains)) == len(np.unique(view.truth("domain")))


def test_a_wide_beam_sees_less_of_a_wall_and_more_of_particles():
    common = {"map_shape": SHAPE, "step_um": 0.5, "specimen": AM}
    sharp = {t.name: t for t in targets_of(view_of(**common, microscope=POINT_BEAM))}
    wide = {t.name: t for t in targets_of(view_of(**common))}
    assert wide["walls"].strength.max() < sharp["walls"].strength.max()
    assert set(np.unique(sharp["particles"].amount)) == {0, 1}
    assert wide["particles"].plain.sum() < sharp["particles"].plain.sum()


def test_only_lamellae_thinner_than_two_steps_are_thin_twins():
    view = view_of(map_shape=(60, 60), step_um=3.0, seed=3, microscope=POINT_BEAM)
    twins = next(t for t in targets_of(view) if t.name == "twins")
    there = view.truth("twin") > 0
    assert (twins.strength[twins.marked] < 2).all() and there[twins.marked].all()
    assert not there[twins.plain].any() and (there & ~twins.marked).any()


def test_an_ideal_observer_needs_electrons_and_an_effect():
    plain = {"alloy": "wrought", "size_um": [20, 20], "elastic_strain": 0, "particles": None}
    found = []
    for dose in (1e-3, 1e7):
        optics = POINT_BEAM | {"dose": dose}
        view = view_of(map_shape=SHAPE, step_um=0.5, specimen=plain, microscope=optics)
        scratches = targets_of(view)[0]
        points = [np.argwhere(part)[:3] for part in (scratches.marked, scratches.strength == 1)]
        found.append([ideal_detection(view, "scratches", some) for some in points])
    (dark, nothing), (bright, none) = found
    assert bright == pytest.approx(1) and dark == pytest.approx(FALSE_ALARMS, rel=0.01)
    assert [*none, *nothing] == pytest.approx([FALSE_ALARMS] * 6)


@pytest.fixture
def planted():
    """Six grains; feature 2 shows walls of opposite sign through noise, 0 domains, others noise."""
    rows, columns = np.indices(SHAPE)
    grain = 3 * (rows // 20) + columns // 14
    wall = np.exp(-(((rows + columns) % 6 - 3.0) ** 2))
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((*SHAPE, 4))
    latents[..., 0] += 4 * np.sin(rows / 12) * np.sin(columns / 7)
    latents[..., 2] -= 3 * wall
    prop = {"pq": 50 - 5 * wall + rng.standard_normal(SHAPE), "grod_deg": np.full(SHAPE, np.nan)}
    models = {"vae-16": SimpleNamespace(latent_dim=16, loss="vae", beta=1)}
    data = {"am": virtual_scan(seed=1), "fine": virtual_scan(seed=1), "other": virtual_scan(seed=2)}
    study = SimpleNamespace(models=models, scan=lambda name: SimpleNamespace(data=data[name]))

    def view(scan):
        return SimpleNamespace(
            scan=scan,
            shape=SHAPE,
            results=SimpleNamespace(study=study),
            property_map=lambda name: prop.get(name, np.zeros(SHAPE)),
            rotation_vectors=np.zeros((*SHAPE, 3)),
            crop=lambda values: values,
            grains=lambda: grain,
            latents=lambda model: latents,
            features=lambda model: pd.DataFrame({"active": [True, True, True, False]}),
        )

    target = Target("walls", grain, grain, wall > 0.6, wall < 0.1, wall, 1 + 9 * wall, "ratio")
    return view, target


def aucs(views, targets, model, points=0):
    """AUC by scan and readout."""
    found = {}
    for scan, at, name, values in truth_scores._readouts(views, targets, model):
        if at == points:
            judge = Judge(targets[scan])
            found[scan, name] = judge.scores(judge.oriented(values))["AUC"].value
    return found


def test_readouts_find_the_planted_walls_and_leave_out_what_is_not_there(planted):
    view, target = planted
    physics = aucs({"am": view("am")}, {"am": target}, "")
    assert {name for _, name in physics} == {*physical_maps(view("am")), "ridge probe"}
    assert physics["am", "GROD"] == pytest.approx(0.5, abs=0.05)
    latent = aucs({"am": view("am")}, {"am": target}, "vae-16", points=1)
    assert latent["am", TOLD] == latent["am", BLIND] > 0.9
    assert latent["am", "ridge probe"] > 0.9 and ("am", "trees probe") in latent


def test_features_are_chosen_and_probes_fitted_on_other_specimens(planted):
    """The window of the same specimen tells nothing; the other specimen has its walls elsewhere."""
    view, target = planted
    views = {name: view(name) for name in ("am", "fine", "other")}
    noise = replace(target, amount=target.amount[::-1], marked=target.marked[::-1])
    latent = aucs(views, {"am": target, "fine": target, "other": noise}, "vae-16")
    assert latent["am", TOLD] > 0.9 and latent["other", ON_OTHERS] < 0.7
    assert ("am", "ridge probe") not in latent
    same = aucs(views, {"am": target, "fine": target, "other": target}, "vae-16")
    assert same["am", ON_OTHERS] > 0.9 and same["am", "ridge probe, other specimens"] > 0.9


def test_rows_compare_with_the_best_physical_map_and_curves_rise_with_strength(planted):
    view, target = planted
    judge = Judge(target)
    maps = {("IQ", ""): -target.amount, ("noise", ""): np.random.default_rng(1).random(SHAPE)}
    maps[BLIND, "vae-16"] = view("am").latents("vae-16")[..., 1]
    keys = [("am", "walls", *names, 0) for names in maps]
    maps = [judge.oriented(values) for values in maps.values()]
    table = pd.DataFrame(
        truth_scores._compared(keys, [judge.scores(values) for values in maps], target)
    )
    auc = table[table["measure"] == "AUC"].set_index("readout")
    assert (auc["against"] == "IQ").all() and auc.loc["IQ", "difference"] == 0
    assert auc.loc[BLIND, "verdict"] == "worse" and auc.loc["noise", "verdict"] == ""
    curve = pd.DataFrame(truth_scores._curve(view("am"), target, keys[0], maps[0]))
    assert curve["detected"].is_monotonic_increasing and curve["detected"].iloc[-1] == 1


def test_smoothing_stays_inside_its_grain_and_ignores_nan():
    values = np.zeros((*SHAPE, 1))
    grains = np.zeros(SHAPE, int)
    grains[:, 20:], values[:, 20:] = 1, 9
    values[3, 3], grains[0, 0] = np.nan, -1
    smooth = smoothed_in_grains(values, grains, 2)[..., 0]
    np.testing.assert_allclose(smooth[:, 20:], 9, rtol=1e-6)
    assert np.isnan(smooth[0, 0]) and smooth[3, 3] == 0
    np.testing.assert_array_equal(np.isnan(smoothed_in_grains(values, grains, 0)[3, 3]), [True])


def test_lines_and_spots_are_told_from_smooth_domains():
    """What Moran's I cannot do."""
    rows, columns = np.indices(SHAPE)
    noise = np.random.default_rng(0).standard_normal((*SHAPE, 3))
    noise[..., 0] += 2.0 * ((rows + columns) % 6 < 2)
    noise[..., 1] += 2.0 * (rows > 20)
    grains = np.zeros(SHAPE, int)
    assert band_share(noise, grains).argmax() == 0 and morans_i(noise).argmax() == 1
    noise[10, 10, 1] -= 30
    away = local_outliers(noise, grains)[..., 1]
    assert np.unravel_index(away.argmax(), SHAPE) == (10, 10)
    assert np.median(away[18:24]) < 2 * np.median(away[:18]), "a step of a domain is no outlier"


def test_boundaries_run_between_the_points():
    lines = _boundary_lines(np.array([[1, 1, 2], [1, -1, 2]]))
    assert lines.tolist() == [[[1.5, -0.5], [1.5, 0.5]]]
    assert len(_boundary_lines(np.eye(3))) == 8
