"""docs/conventions.md says what kikuchipy does."""

import re

import numpy as np
import pytest

from docs.frames import _CENTRE, axes_on_screen
from kikuhelpers.patterns.geometry import Detector
from kikuhelpers.study import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "conventions.md").read_text("utf-8")
RIGHT, UP, TO_SCREEN = np.eye(3)


def test_x_points_down_the_slope_y_right_and_z_out_of_the_surface():
    axes = axes_on_screen()
    tilt = np.deg2rad(70)
    assert np.allclose(axes["X"], np.cos(tilt) * TO_SCREEN - np.sin(tilt) * UP)
    assert np.allclose(axes["Y"], RIGHT)
    assert np.allclose(axes["Z"], np.sin(tilt) * TO_SCREEN + np.cos(tilt) * UP)


def test_a_map_is_scanned_against_x_and_y():
    """Where the beam goes, the pattern centre goes: Bruker's x right, y down, z from the screen."""
    screen_um, step_um = 30_000.0, 1_000.0
    centres = Detector(_CENTRE, screen_um=screen_um).centres((120, 120), (3, 3), step_um)
    centres = centres.reshape(3, 3, 3) * screen_um / step_um * [1, -1, -1]  # right, up, to screen
    axes = axes_on_screen()
    assert np.allclose(centres[1, 1] - centres[0, 1], -axes["X"], atol=1e-6)
    assert np.allclose(centres[1, 1] - centres[1, 0], -axes["Y"], atol=1e-6)


@pytest.mark.parametrize(
    ("convention", "method"),
    [
        ("Bruker (here)", "pc_bruker"),
        ("EDAX", "pc_tsl"),
        ("Oxford", "pc_oxford"),
        ("EMsoft 5", "pc_emsoft"),
    ],
)
def test_the_table_of_pattern_centres_is_kikuchipys(convention, method):
    row = re.search(rf"^\| {re.escape(convention)} \|(.*)\|$", PAGE, re.M).group(1)
    detector = Detector(_CENTRE).camera((120, 120))
    detector.px_size = 1.0
    assert np.allclose([float(x) for x in row.split("|")], getattr(detector, method)()[0])
