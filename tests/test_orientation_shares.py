"""Each grain's share of the training counts like orientations wherever they lie."""

import numpy as np
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

from kikuhelpers.figures import learning
from kikuhelpers.figures.learning import learned_orientations
from kikuhelpers.indexing.hough import Detector, save_map
from kikuhelpers.indexing.orientation_maps import grod_deg, label_grains
from kikuhelpers.runs.files import save_array, save_json
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import INDEXING, RECONSTRUCTION, REINDEXING, TRAINING
from kikuhelpers.tables import orientation_shares
from kikuhelpers.tables.orientation_shares import _share_table, save_share_table
from tests.conftest import MODEL_CARD, make_study, stamp

COMMON, RARE, ALONE = 0, 20, 40  # degrees about [001]
TURNS = np.repeat([COMMON, RARE, ALONE, COMMON], 5)  # columns of a map of 4 rows


def strips(turn_deg=0.0) -> CrystalMap:
    """Four strips 4 x 5, each turned further by so many degrees: a number or one per column."""
    angles = np.tile(TURNS + turn_deg, 4)
    coordinates, _ = create_coordinate_arrays((4, 20), (1, 1))
    properties = {name: np.ones(80) for name in ("ci", "cm", "pq", "sharpness")}
    xmap = CrystalMap(
        rotations=Rotation.from_axes_angles([0, 0, 1], angles, degrees=True),
        phase_list=PhaseList(Phase("Ni", space_group=225)),
        prop=properties,
        **coordinates,
    )
    grains = label_grains(xmap, 5)
    xmap.prop["grain"], xmap.prop["grod_deg"] = grains.ravel(), grod_deg(xmap, grains).ravel()
    return xmap


@pytest.fixture
def finished(monkeypatch):
    """A model that loses the strip "alone"; 8 of 10 training patterns are of the common lattice."""
    study = make_study()
    drawn = np.array([0, 1, 2, 3, 4, 15, 16, 17, 5, 10])
    monkeypatch.setattr(orientation_shares, "sample_points", lambda *_: drawn)
    decoded = strips(np.where(TURNS == ALONE, 30.0, 1.0))
    for kind, xmap in ((PREPROCESSED, strips()), ("vae-16", decoded)):
        path = Layout(study).orientations(kind, "wrought")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_map(path, xmap, Detector().pattern_centre)
    stamp(study, INDEXING, "wrought")
    stamp(study, REINDEXING, "vae-16", "wrought")
    return study


def test_like_orientations_share(finished):
    table = _share_table(Results(finished)).sort_values("grain")
    assert table["points"].tolist() == [20] * 4
    assert table["share_pct"].tolist() == pytest.approx([80, 10, 10, 80])
    off = table["misorientation_deg_q50"].tolist()
    assert off == pytest.approx([1, 1, 30, 1], abs=1e-3)
    assert table["wrong_pct"].tolist() == [0, 0, 100, 0]


def test_the_lost_grain_is_counted(finished):
    row = save_share_table(Results(finished)).loc["vae-16"]
    assert row.to_dict() == {
        "grains": 4,
        "lost_pct": 25,
        "share_of_kept_pct": pytest.approx(80),
        "share_of_lost_pct": pytest.approx(10),
    }


@pytest.fixture
def complete(finished):
    """The same with all files by which a model counts as finished, after 1000 presentations."""
    files = Layout(finished).model("vae-16")
    save_json(files.card, MODEL_CARD)
    files.history.write_text("presentations,loss,reconstruction,kl\n500,3,2,1\n1000,3,2,1\n")
    losses = Layout(finished).model_scan("vae-16", "wrought").pattern_loss
    save_array(losses, np.zeros((4, 20), np.float32))
    stamp(finished, TRAINING, "vae-16")
    stamp(finished, RECONSTRUCTION, "vae-16", "wrought")
    return Results(finished)


def test_the_table_is_written_when_a_model_has_results(complete):
    assert save_share_table(complete)["grains"].tolist() == [4]
    assert len((complete.layout.figures / "orientation_shares.csv").read_text().splitlines()) == 5


def test_wrong_points_by_how_often_their_orientation_was_shown(complete):
    save_share_table(complete)
    (drawn,) = learned_orientations(complete).axes[0].containers
    line, _, (bars,) = drawn
    shown, wrong = line.get_data()
    # 100 patterns of "rare" and of "alone", 800 of "common", in bins of a factor of two.
    assert np.floor(np.log2(shown)).tolist() == [6, 9]
    assert wrong.tolist() == [50, 0]
    # One of two grains, none of two, as Wilson's formula has it.
    low, high = np.array([bar[:, 1] for bar in bars.get_segments()]).T
    assert low.tolist() == pytest.approx([wilson(1, 2, -1), 0], abs=1e-6)
    assert high.tolist() == pytest.approx([wilson(1, 2, 1), wilson(0, 2, 1)])


def wilson(wrong: int, count: int, side: int) -> float:
    """An end of the 95 % interval in per cent, doi:10.1080/01621459.1927.10502953."""
    share, square = wrong / count, 1.959964**2 / count
    half = np.sqrt(square * (share * (1 - share) + square / 4))
    return 100 * (share + square / 2 + side * half) / (1 + square)


def test_a_model_looks_alike_in_both_plots_and_only_seeds_share_a_look():
    longer = {"training": {"presentations": 128}}
    models = {"a": {}, "a-2": {"seed": 2}, "a-long": longer, "b": {"beta": 15}}
    study = make_study(models={name: {"latent_dim": 16} | more for name, more in models.items()})
    looks = {name: look | {"label": None} for name, look in learning._looks(study)}
    assert list(looks) == list(models)
    assert looks["a"] == looks["a-2"]
    assert looks["a"]["marker"] != looks["a-long"]["marker"]
    assert looks["a"]["ls"] != looks["b"]["ls"]
    assert [look["label"] for _, look in learning._looks(study)] == ["a", None, "a-long", "b"]


def test_without_a_grain_the_table_and_the_picture_are_empty(complete, monkeypatch):
    monkeypatch.setattr(orientation_shares, "_SMALLEST_GRAIN", 21)
    assert save_share_table(complete).empty
    figure = learned_orientations(complete)
    assert not figure.axes
    assert figure.missing == [figure.texts[0].get_text()]
    assert "no grain" in figure.missing[0]
