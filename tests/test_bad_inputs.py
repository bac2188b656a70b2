"""What a user or a stranger may hand in ends in one sentence, and no more memory than it should."""

import tracemalloc
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import scipy.io
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from docs.bad_inputs import TABLE, shown
from kikuhelpers.patterns.up2 import _HEAD, open_patterns
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.scans import readers
from kikuhelpers.scans.public import in718_downloads
from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.scans import ArrayData
from tests.bad_inputs import CASES, DATASET, NAMES_THAT_WORK, STUDY, sentence_of, unpacking

FEWEST, FEWEST_OF_GROUP = 150, 15
SLACK = 64 * 2**20  # bytes, beyond twice a file's size
COMMITTED = pd.read_csv(TABLE, keep_default_na=False)


@pytest.mark.filterwarnings("ignore")  # libraries warn of what they then refuse
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: shown(CASES[n])[1])
def test_a_bad_input_ends_in_the_sentence_of_the_table(number):
    sentence = sentence_of(CASES[number])
    assert sentence.endswith(".")
    assert sentence.isprintable()
    row = COMMITTED.iloc[number]
    assert [row["group"], row["case"]] == shown(CASES[number]), "run python -m docs.bad_inputs"
    assert row["sentence"] == sentence, "run python -m docs.bad_inputs"


def test_the_table_has_many_cases_in_every_group():
    groups = Counter(case.group for case in CASES)
    assert len(COMMITTED) == len(CASES) >= FEWEST
    assert min(groups.values()) >= FEWEST_OF_GROUP
    assert max(Counter(map(tuple, map(shown, CASES))).values()) == 1


@pytest.mark.parametrize("name", NAMES_THAT_WORK)
def test_a_name_that_looks_like_something_else_is_a_name(tmp_path, name):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"scans": {name: {"data": {"path": "a.up2"}}}}))
    assert list(load_study(path).scans) == [name]


def test_a_mat_file_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    unpacking(tmp_path / "a.mat")
    monkeypatch.setattr(scipy.io, "loadmat", None)
    shapes = {"map_shape": (2, 3), "pattern_shape": (60, 80)}
    data = ArrayData(source="array", path=str(tmp_path / "a.mat"), **shapes, **DATASET)
    with pytest.raises(SentenceError, match="holds an array of"):
        readers.open_data(data)


def test_one_hot_pixel_leaves_the_grey_levels_to_the_others(capsys):
    patterns = np.random.default_rng(0).random((2, 3, 60, 60), np.float32)
    patterns[0, 1, 5, 5] = 1e4
    counts = readers.scaling(patterns)(patterns)
    assert len(np.unique(counts)) > 10_000
    assert counts[0, 1, 5, 5] == 65535
    assert "cut to" in capsys.readouterr().out


def tried(attempt, path) -> None:
    """Try what must end well or in a sentence, within the memory that the file's size allows."""
    tracemalloc.start()
    try:
        attempt(path)
    except SentenceError as error:
        assert str(error).endswith(".")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= 2 * path.stat().st_size + SLACK


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".up1", ".up2"]))
def test_any_bytes_as_an_up_file(tmp_path_factory, content, ending):
    path = tmp_path_factory.getbasetemp() / f"bytes{ending}"
    for head in (b"", np.array((3, 4, 4, 42, 0, 2, 2, 0, 1, 1), _HEAD).tobytes()):
        path.write_bytes(head + content)
        tried(open_patterns, path)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
NODES = st.recursive(
    PLAIN,
    lambda node: st.lists(node, max_size=3) | st.dictionaries(PLAIN, node, max_size=3),
    max_leaves=9,
)
PARTS = ("title", "scans", "models", "indexing", "training", "figures", "baselines", "based_on")
TEXTS = st.text("[]{}&*!<>:-,#|'\"%@` \n\tab01", max_size=60).map(str.encode)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.sampled_from(PARTS), NODES, max_size=3), TEXTS | st.binary(max_size=60))
def test_any_study_file(tmp_path_factory, changes, junk):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    for content in (yaml.safe_dump(STUDY | changes).encode(), junk):
        path.write_bytes(content)
        tried(load_study, path)


def test_downloads_are_of_https_and_have_a_sha256():
    downloads = in718_downloads()
    assert downloads.base_url.startswith("https://")
    assert downloads.registry
    assert all(len(hashed.removeprefix("sha256:")) == 64 for hashed in downloads.registry.values())


def test_no_text_of_a_scan_becomes_html():
    """Pages are filled by ``textContent`` and an escaping template; tables escape by themselves."""
    page, maker = (PROJECT_ROOT / "docs" / f"click_page.{e}" for e in ("html", "py"))
    assert "Environment(autoescape=True)" in maker.read_text()
    assert "|safe" not in page.read_text().replace(" ", "")
    sources = [page, PROJECT_ROOT / "kikuhelpers/figures/explorer.js"]
    sources += [*PROJECT_ROOT.glob("kikuhelpers/**/*.py"), *PROJECT_ROOT.glob("notebooks/*.ipynb")]
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "escape=False")
    ways += ("HTML(", "Markdown(", "_repr_html_")
    found = {path.name: [way for way in ways if way in path.read_text()] for path in sources}
    assert not any(found.values()), found
    script = "<script>alert(1)</script>"
    assert script not in pd.DataFrame({script: [script]}, index=[script])._repr_html_()


def test_nothing_unpickles():
    loose = ("allow_pickle=True", "import pickle", "yaml.UnsafeLoader", "yaml.FullLoader")
    loose += ("weights_only=False", "eval(", "shell=True")
    for path in PROJECT_ROOT.glob("kikuhelpers/**/*.py"):
        text = path.read_text().replace(".eval()", "")
        assert not [way for way in loose if way in text], path
