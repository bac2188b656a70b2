"""What a real microscope shows, the virtual one shows: docs/positive_controls.py on small maps."""

import numpy as np
import pytest
from scipy.stats import norm

from docs import positive_controls as controls
from kikuhelpers.study import load_study
from kikuhelpers.study.scans import VirtualData


def wrought(**scratches) -> VirtualData:
    """40 x 100 points of the virtual twin of the measured crop, with its scratches or others."""
    data = load_study("realism").scan("virtual").data
    given = data.specimen.scratches.model_copy(update=scratches)
    specimen = data.specimen.model_copy(update={"scratches": given})
    return data.model_copy(update={"map_shape": (40, 100), "specimen": specimen})


def test_repeatable_lines_are_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    noise, one_grain = rng.normal(size=(60, 200)), np.zeros((60, 200), int)
    columns = np.zeros(200)
    columns[rng.choice(200, 20, replace=False)] = 1.0
    value, low, high = controls.repeatability(
        controls.lines_along_columns(noise + columns, one_grain)
    )
    assert 0.5 < low < value < high < 1
    value, low, high = controls.repeatability(controls.lines_along_columns(noise, one_grain))
    assert abs(value) < 0.25 and low < 0 < high
    # A step between two grains is no line: neither in the middle nor beside the boundary.
    grains = np.repeat([[0] * 100 + [1] * 100], 60, axis=0)
    assert not np.nan_to_num(controls.lines_along_columns(5.0 * grains, grains)).any()


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_the_share_of_the_other_grain_tells_the_width_of_the_beam(width):
    """Two flat grains and a boundary that runs evenly over all places between two points."""
    rng = np.random.default_rng(0)
    grains = np.repeat([[0] * 12 + [1] * 12], 40, axis=0)
    place = 11 + (np.arange(40) + 0.5)[:, np.newaxis] / 40
    second = norm.cdf((np.arange(24) - place) / (width / 2.3548))[..., np.newaxis, np.newaxis]
    one, other = rng.uniform(0, 60000, (2, 120, 120))
    mixed = (1 - second) * one + second * other
    share = controls.other_share(mixed, grains)
    assert share == pytest.approx(0.17 * width, abs=0.015)


def test_ranks_are_compared_inside_crystals():
    """A step from crystal to crystal counts neither for nor against."""
    rng = np.random.default_rng(0)
    crystal = np.repeat([0, 1], 500)
    truth, noise = rng.normal(size=(2, 1000))
    between = 9.0 * crystal
    assert controls.rank_correlation_inside(truth + between, truth - between, crystal) > 0.99
    assert abs(controls.rank_correlation_inside(noise + between, truth + between, crystal)) < 0.1


@pytest.mark.parametrize(("turn_deg", "shown"), [(None, True), (0.0, False)])
def test_scratches_show_in_grod_if_they_turn_the_lattice(turn_deg, shown):
    data = wrought() if turn_deg is None else wrought(turn_deg=turn_deg)
    patterns = controls.preprocessed(controls.scanned(data)[0])
    maps = controls.physical_maps(patterns, data.microscope.pattern_centre)
    lines = controls.lines_along_columns(maps["grod_deg"], maps["grain"])
    assert (controls.repeatability(lines)[0] > controls.LEAST_IN_A_SMALL_MAP) is shown


def test_sharpness_on_one_scale_sees_cells():
    quick = load_study("quick")
    fine, wide = (quick.scan(name).data for name in ("am_fine", "am"))
    seen = controls.cells_seen(
        fine.model_copy(update={"map_shape": (30, 60)}),
        wide.model_copy(update={"map_shape": (16, 16), "step_um": 3.0}),
    )
    assert seen > controls.LEAST_RANK_CORRELATION
