"""Table 1 from two maps, Table 2 from the networks."""

import numpy as np
import pandas as pd
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuhelpers.tables import compare_maps, printed_table1, summarise, table2


def crystal_map(turn_deg, phase_id=0, **prop):
    """Four points turned about [001] by so many degrees."""
    n = 4
    x, y = np.tile([0.0, 1.0], 2), np.repeat([0.0, 1.0], 2)
    rotations = Rotation.from_axes_angles([0, 0, 1], np.broadcast_to(turn_deg, n), degrees=True)
    defaults = {"ci": 0.5, "cm": 0.5, "pq": 100.0, "sharpness": 0.4}
    values = {k: np.broadcast_to(np.float64(v), n).copy() for k, v in (defaults | prop).items()}
    phases = PhaseList(Phase("Ni", space_group=225))
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
    row = summarise(points, wrong_deg=15)
    assert (row["n"], row["n_both"], row["indexed_pct"], row["wrong_pct"]) == (4, 2, 75, 25)
    assert row["iq_ratio_q50"] == 0.5
    assert row["misorientation_rad_q90"] == pytest.approx(np.radians(row["misorientation_deg_q90"]))


def test_a_ratio_to_zero_is_left_out():
    points = compare_maps(crystal_map(0, ci=[0, 1, 1, 1]), crystal_map(0))
    assert np.isnan(points["ci_ratio"][0])
    assert points["ci_ratio"][1:].notna().all()


def test_the_printed_table_shows_the_paper_below():
    row = {"model": "vae-64", "paper_indexed_pct": 99.9, "paper_iq_ratio_q10": 0.8}
    row |= summarise(compare_maps(crystal_map(0), crystal_map(2)), 15)
    row |= {"paper_iq_ratio_q50": 0.95, "paper_iq_ratio_q90": 1.03}
    printed = printed_table1(pd.DataFrame([row]))
    assert printed["model"].tolist() == ["vae-64", "  (paper)"]
    assert printed["IQ ratio"].tolist() == ["1.00 / 1.00 / 1.00", "0.80 / 0.95 / 1.03"]
    assert printed["misorientation (°)"].tolist() == ["2.00 / 2.00 / 2.00", ""]


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
