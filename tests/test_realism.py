"""The table that sets a measured and a virtual scan side by side."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuhelpers.patterns.up2 import to_counts
from kikuhelpers.study.study import Comparison
from kikuhelpers.tables.realism import compare, scan_statistics

RNG = np.random.default_rng(0)


def statistics() -> dict[str, pd.Series]:
    """Made-up statistics."""
    usual = {
        "noise": RNG.normal(0.07, 0.01, 4000),
        "pq": RNG.normal(15000, 1000, 4000),
        "sharpness": RNG.normal(0.24, 0.03, 4000),
        "fit": RNG.normal(0.4, 0.05, 4000),
        "KAM": RNG.normal(0.3, 0.05, 4000),
    }
    numbers = {"PCA eigenvalue": pd.Series(np.geomspace(200, 0.5, 20), range(1, 21))}
    numbers |= {"power": pd.Series(np.geomspace(9, 0.03, 10), 0.0125 + 0.025 * np.arange(10))}
    return numbers | {name: pd.Series(values) for name, values in usual.items()}


def test_a_scan_is_like_itself():
    one = statistics()
    table = compare(one, one, ("noise", "power"))
    assert table["alike"].all() and (table["distance"] == 0).all()
    kinds = table.set_index("statistic")["fitted"]
    assert kinds["noise"] and not kinds["fit (°)"] and not kinds["PCA eigenvalue 3"]
    assert kinds[[name for name in kinds.index if name.startswith("power")]].all()


def test_a_distribution_of_the_same_median_may_differ():
    """The median alone would have called them alike."""
    one = statistics()
    wide = one | {"fit": 0.4 + 4 * (one["fit"] - 0.4)}
    row = compare(one, wide).set_index("statistic").loc["fit (°)"]
    assert row["virtual"] == pytest.approx(row["measured"], abs=0.01)
    # Of a normal distribution made wider by 3 times 0.05: the mean absolute deviation of that.
    assert row["distance"] == pytest.approx(0.15 * np.sqrt(2 / np.pi), rel=0.05)
    assert not row["alike"]


def test_the_distance_of_shifted_maps_is_the_shift():
    one = statistics()
    louder = one | {"noise": one["noise"] + 0.05, "power": 1.1 * one["power"]}
    table = compare(one, louder).set_index("statistic")
    assert table.loc["noise", "distance"] == pytest.approx(0.05)
    assert not table.loc["noise", "alike"]
    powers = table[table.index.str.startswith("power")]
    np.testing.assert_allclose(powers["distance"], np.log(1.1))
    assert powers["alike"].all()


def test_only_the_rows_of_the_comparison_count():
    """The others are louder and have other maps; 60 points are not indexed."""
    rows, columns = np.indices((30, 20))
    left_out = rows < 24
    patterns = RNG.uniform(-0.1, 0.1, (30, 20, 60, 60)) * np.where(left_out, 9, 1)[..., None, None]
    prop = {n: RNG.random(600) + 5 * left_out.ravel() for n in ("noise", "pq", "sharpness")}
    prop |= {n: RNG.random(600) + 5 * left_out.ravel() for n in ("fit", "kam_deg")}
    xmap = CrystalMap(
        rotations=Rotation.random(600),
        phase_id=np.where(columns.ravel() < 18, 0, -1),
        x=columns.ravel(),
        y=rows.ravel(),
        phase_list=PhaseList(Phase("Ni", space_group=225)),
        prop=prop,
    )
    results = SimpleNamespace(
        scan=lambda name: SimpleNamespace(mask=np.ones((60, 60), bool)),
        study=SimpleNamespace(
            seed=1, comparison=Comparison(measured="a", virtual="b", rows=(24, 30))
        ),
        patterns=lambda kind, name: to_counts(patterns.astype(np.float32)),
        orientations=lambda kind, name: xmap,
    )
    found = scan_statistics(results, "a")
    for name in ("noise", "pq", "sharpness", "fit", "KAM"):
        assert len(found[name]) == 6 * 18 and found[name].max() < 1
    # White noise: the mean power in a ring is the variance of a pixel.
    np.testing.assert_allclose(found["power"], 0.1**2 / 3, rtol=0.3)
    assert len(found["PCA eigenvalue"]) == 20
