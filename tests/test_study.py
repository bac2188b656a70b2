"""The study file: what is accepted, and one clear sentence for what is not."""

import pytest
import yaml

from kikuhelpers.study import StudyError, load_study
from kikuhelpers.study.load import STUDIES_FOLDER


def study_file(folder, **changes):
    content = {
        "title": "A test",
        "scans": {"mine": {"data": {"path": "scan.up2"}}},
        "models": {"vae-16": {"latent_dim": 16}},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def with_mine(**stages):
    return {"scans": {"mine": {"data": {"path": "a.up2"}} | stages}}


REGION = {"figures": {"regions": {"4B": {"scan": "mine", "rows": [0, 6], "columns": [0, 9]}}}}
VIRTUAL = {"data": {"source": "virtual", "map_shape": [4, 5], "specimen": {"alloy": "am"}}}


@pytest.mark.parametrize("path", sorted(STUDIES_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_study_is_valid(path):
    study = load_study(path.stem)
    assert study.name == path.stem
    assert all(study.training_of(model) for model in study.models)


def test_five_lines_are_a_study(tmp_path):
    study = load_study(study_file(tmp_path))
    assert study.scan("mine").data.path == str(tmp_path / "scan.up2")
    assert study.training.epochs == 250, "the paper's value is the default"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"comparison": {"measured": "mine", "virtual": "x"}}, "scan 'x' is not listed"),
        (with_mine(preprocessing={"background_of": "x"}), "scan 'x' is not listed"),
        (with_mine(preprocessing={"background_of": "mine"}), "has no own background"),
        ({"sceed": 1}, "sceed: is not a known setting"),
        ({"models": {"vae": {"latent_dims": 16}}}, "models.vae.latent_dims: is not a known"),
        (
            {"models": {"vae": {"latent_dim": 17}}},
            "latent_dim: Input should be 16, 32, 64, 128 or 256",
        ),
        ({"models": {}}, "models"),
        ({"models": [1]}, "models"),
        ({"scans": "mine"}, "scans"),
        ({"models": {"preprocessed": {"latent_dim": 16}}}, "not a model's name"),
        ({"baselines": {"vae-16": {"method": "nlpar"}}}, "baseline 'vae-16': that name is taken"),
        ({"baselines": {"preprocessed": {"method": "nlpar"}}}, "that name is taken"),
        ({"baselines": {"b": {"method": "pca", "components": 16001}}}, "more than the 16000"),
        ({"baselines": {"b": {"method": "pca"}}}, "baselines.b.components: is missing"),
        ({"baselines": {"b": {"method": "nlpar", "components": 3}}}, "is not a known setting"),
        ({"baselines": {"b": {"method": "ica", "components": 3}}}, "baselines.b"),
        ({"training": {"epochs": 1, "presentations": 2}}, "epochs or presentations, not both"),
        ({"training": {"epochs": "many"}}, "training.epochs"),
        ({"training": {"epochs": 1, "grown_from": "x"}}, "model 'x' is not listed"),
        ({"training": {"epochs": 1, "grown_from": "vae-16"}}, "must have fewer latent dimensions"),
        (with_mine(training={"patterns": 0}), "sample is empty"),
        (with_mine(data={"source": "film"}), "scans.mine"),
        (with_mine(step_um=1.0), "step_um: is not a known setting"),
        ({"tables": {"wrong_deg": 5.0}}, "tables: is not a known setting"),
        (
            {"figures": {"regions": {"4B": {"scan": "x", "rows": [0, 1], "columns": [0, 1]}}}},
            "names scan 'x'",
        ),
        (
            {"figures": {"regions": {"4B": {"scan": "mine", "rows": [2, 2], "columns": [0, 1]}}}},
            "0 <= first < last",
        ),
        (
            {"figures": {"regions": {"4B": {"scan": "mine", "size": [2, 2], "rows": [0, 1]}}}},
            "either rows and columns or a size",
        ),
        (
            {"figures": {"regions": {"9Z": {"scan": "mine", "size": [2, 2]}}}},
            "figures.regions.9Z: Input should be '4B', '4D', '4E', '5A'",
        ),
        (
            with_mine(data={"path": "a.up2", "map_shape": [5, 9]}) | REGION,
            "figures: 4B ends outside of its map of 5 x 9 points",
        ),
        (
            with_mine(data={"path": "a.up2", "map_shape": [99, 99], "rows": [2, 4]}) | REGION,
            "figures: 4B ends outside of its map of 2 x 99 points",
        ),
        (
            {"figures": {"path_4c": {"scan": "x", "length": 5}}},
            "figures: path_4c names scan 'x', which is not listed",
        ),
        (
            {"figures": {"width_mm": 90}},
            "figures.width_mm: Input should be 89 or 183",
        ),
        (
            {"figures": {"colours": {"viridis": "jet"}}},
            "figures.colours.viridis: Input should be 'viridis', 'cividis', 'magma', 'inferno'",
        ),
        ({"figures": {"features": {"4C": 1}}}, "figures.features.4C: Input should be '4A', '4B'"),
        (
            {
                "models": {"a": {"latent_dim": 16}, "b": {"latent_dim": 32, "beta": 15}},
                "figures": {"features": {"4A": 16}},
            },
            "figures: 4A names feature 16, the last is 15",
        ),
        (
            {"figures": {"features": {"4A": 3, "5A.1": 99}}},
            "figures: 5A.1 names feature 99, the last is 15",
        ),
        ({"figures": {"panels": ["5A", "5D"]}}, "figures.panels.1: Input should be '2A', '2B'"),
        ({"indexing": {"phase": []}}, "indexing.phase: Tuple should have at least 1 item"),
        (
            {"scans": {"v": VIRTUAL | {"preprocessing": {"background_of": "its file"}}}},
            "background_of of v: scan 'its file' is not listed",
        ),
    ],
)
def test_a_wrong_study_gets_one_sentence(tmp_path, changes, words):
    with pytest.raises(StudyError) as error:
        load_study(study_file(tmp_path, **changes))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_setting_that_is_gone_may_have_the_value_that_holds_now(tmp_path):
    """As records say that were made before it went."""
    path = {"scan": "mine", "start": None, "stop": None, "length": 5}
    changes = {"tables": {"wrong_deg": 15.0}, "figures": {"path_4c": path}}
    assert load_study(study_file(tmp_path, **changes)).figures.path_4c.length == 5


def test_unknown_names_say_what_is_known(study):
    with pytest.raises(StudyError, match="no model 'vae-99'; it has vae-16"):
        study.model("vae-99")
    with pytest.raises(StudyError, match="no study 'nowhere'; known are"):
        load_study("nowhere")


def test_a_background_may_be_its_files(tmp_path):
    """And that of another scan whose own is its file's."""
    scans = with_mine(preprocessing={"background_of": "its file"})["scans"]
    scans["b"] = {"data": {"path": "b.up2"}, "preprocessing": {"background_of": "mine"}}
    study = load_study(study_file(tmp_path, scans=scans))
    assert study.scan("mine").preprocessing.background_of == "its file"


def test_a_region_within_its_map_is_accepted(tmp_path):
    map_shape = with_mine(data={"path": "a.up2", "map_shape": [6, 9]})
    assert load_study(study_file(tmp_path, **map_shape, **REGION)).figures.regions["4B"]


def test_not_yaml_is_one_sentence(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("models: [")
    with pytest.raises(StudyError, match=r"broken\.yaml cannot be read"):
        load_study(path)


def test_overrides_by_dotted_name():
    study = load_study("smoke", {"models.vae-16.beta": 15, "training.batch_size": 4})
    assert study.model("vae-16").beta == 15
    assert study.training.batch_size == 4
    with pytest.raises(StudyError, match="not a known setting"):
        load_study("smoke", {"training.bach_size": 4})


def test_a_study_based_on_another_differs_in_what_it_says(tmp_path):
    path = study_file(tmp_path, preprocessing={"mask": "none"})
    other = tmp_path / "other.yaml"
    other.write_text(f"based_on: {path}\ntitle: B\npreprocessing: {{rescale: map}}\n")
    found, base = load_study(other), load_study(path)
    assert (found.name, found.title, found.preprocessing.rescale) == ("other", "B", "map")
    assert found.preprocessing.mask == "none" and found.scans == base.scans
    third = tmp_path / "third.yaml"
    third.write_text(f"based_on: {other}\n")
    with pytest.raises(StudyError, match=r"other\.yaml is based on a study"):
        load_study(third)
    below = tmp_path / "below"
    below.mkdir()
    (below / "fourth.yaml").write_text("based_on: ../mine.yaml\n")
    assert load_study(below / "fourth.yaml").scan("mine").data == base.scan("mine").data
    for wrong in (["mine"], None, 3):
        with pytest.raises(StudyError, match="must be the name or path of one study"):
            load_study(study_file(tmp_path, based_on=wrong))
    with pytest.raises(StudyError, match="There is no study 'nowhere'"):
        load_study(study_file(tmp_path, based_on="nowhere"))
