"""What a run leaves about itself."""

import json

import pytest

from kikuhelpers.runs.files import save_json
from kikuhelpers.runs.provenance import Record, collect, git_commit
from kikuhelpers.study.layout import Layout
from tests.conftest import make_study

MODELS = {"a": {"latent_dim": 16}, "b": {"latent_dim": 16}}


def test_a_record_says_what_made_a_result(tmp_path):
    study = make_study(models=MODELS)
    layout = Layout(study)
    layout.folder.mkdir(parents=True)
    source = layout.folder / "input.txt"
    source.write_text("abc")
    for part in ("a", "b", "no longer in the study"):
        Record(layout, "03_training", part).close(source)
    run = collect(layout)
    assert set(run["runs"]) == {"03_training.a", "03_training.b"}
    # SHA-256 of "abc", FIPS 180-2, appendix B.1
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert run["runs"]["03_training.a"]["inputs"] == {"input.txt": abc}
    assert run["study"] == json.loads(study.model_dump_json())
    assert run["peak_memory_mb"] > 10
    assert run["versions"]["torch"].startswith("2.13.0")
    assert str(tmp_path) not in json.dumps(run), "no machine's folders"


def test_all_parts_of_a_training_count():
    """Its record holds what ran since it was last taken up, its card the whole."""
    layout = Layout(make_study(models=MODELS))
    for name, seconds in (("a", 5000.0), ("b", 0.0)):
        save_json(layout.model(name).card, {"seconds": seconds})
        Record(layout, "03_training", name).close()
    run = collect(layout)
    resumed, straight = (run["runs"][f"03_training.{name}"]["seconds"] for name in "ab")
    assert resumed == 5000 and straight < 5
    assert run["wall_seconds_sum"] == pytest.approx(resumed + straight)


def test_the_commit_is_a_commit():
    assert len(git_commit().removesuffix("+changes")) in (40, len("no git commit"))
