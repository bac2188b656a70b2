"""The book: links of its pages lead somewhere, and its site asks nothing of another."""

import base64
import importlib.util
import io
import json
import re
import subprocess
import sys

import nbformat.v4 as nb
import numpy as np
import pytest
from PIL import Image

from docs.book.executed import MOST_BYTES, archive, without_the_machine
from docs.book.links import broken_links
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_json
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PROJECT_ROOT
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import DATA, jobs_of
from tests.conftest import stand_in

ARCHIVED = sorted((PROJECT_ROOT / "data" / "archive").glob("*/notebooks"))
INJECTED = "injected-parameters"


def site(folder, body: str):
    (folder / "deep").mkdir()
    (folder / "deep" / "other.html").write_text(
        '<h1 id="place">Other</h1><a href="../a.html">A</a>'
    )
    (folder / "picture.png").write_bytes(b"")
    (folder / "a.html").write_text(body)
    return folder


@pytest.mark.parametrize(
    "body",
    [
        '<a href="deep/other.html#place">x</a> <img src="picture.png">',
        '<a href="#here">x</a> <p id="here"></p>',
        '<a href="https://doi.org/10.1/x">elsewhere is not followed</a>',
        '<img src="data:image/png;base64,AA">',
    ],
)
def test_links_that_lead_somewhere(tmp_path, body):
    assert broken_links(site(tmp_path, body)) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="gone.html">x</a>', "links to gone.html, which is not there"),
        ('<img src="deep/gone.png">', "links to deep/gone.png, which is not there"),
        ('<a href="deep/other.html#gone">x</a>', "the page has no such place"),
        ('<script src="https://cdn.example/x.js"></script>', "which is not on this site"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "which is not on this site"),
    ],
)
def test_links_that_lead_to_nothing_are_named(tmp_path, body, said):
    [found] = broken_links(site(tmp_path, body))
    assert found.startswith("a.html ") and said in found


def words(notebook: dict) -> str:
    return re.sub(r'"image/png": "[^"]+"', "", json.dumps(notebook))


def picture(dpi: int) -> str:
    noise = np.random.default_rng(0).integers(0, 255, (300, 600, 3), np.uint8)
    Image.fromarray(noise).save(file := io.BytesIO(), "PNG", dpi=(dpi, dpi))
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def executed(tmp_path):
    """A notebook as papermill leaves it."""
    shown = [
        {"image/png": picture(150), "text/plain": "<Figure size 600x300>"},
        {"text/html": f"<td>a/b/c</td><td>{tmp_path}/x.csv</td>"},
        {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}},
    ]
    said = {
        "stdout": f"results go to {tmp_path}/quick, IQ/noise/sharpness, https://doi.org/10/x\n",
        "stderr": f"{tmp_path}/lib.py:3: Warning\r 10%|# | 3/30 [00:01<00:09]",
    }
    outputs = [nb.new_output("stream", name=name, text=text) for name, text in said.items()]
    outputs += [nb.new_output("display_data", data) for data in shown]
    cells = [
        nb.new_code_cell(f'study_name = "{tmp_path}/my.yaml"', metadata={"tags": [INJECTED]}),
        nb.new_code_cell("run", outputs=outputs),
    ]
    for cell in cells:
        cell.metadata["papermill"] = {"start_time": "2026-01-01T00:00:00"}
    return nb.new_notebook(cells=cells, metadata={"papermill": {"input_path": str(tmp_path)}})


def test_an_archived_notebook_says_nothing_of_the_machine(executed, tmp_path):
    text = json.dumps(without_the_machine(executed), ensure_ascii=False)
    for gone in (str(tmp_path), "papermill", "Warning", "10%", "2026", "widget", "<Figure"):
        assert gone not in text
    for stays in ("…/quick, IQ/noise/sharpness, https://doi.org/10/x", "…/my.yaml", "a/b/c<"):
        assert stays in text


def test_archived_pictures_have_100_dpi_and_a_palette(executed):
    [shown] = re.findall(r'"image/png": "([^"]+)"', json.dumps(without_the_machine(executed)))
    image = Image.open(io.BytesIO(base64.b64decode(shown)))
    assert image.size == (400, 200) and image.mode == "P"
    assert round(image.info["dpi"][0]) == 100


def test_of_each_stage_one_notebook_is_archived(executed, study):
    layout = Layout(study)
    for job in [j for j in jobs_of(study) if j.stage == DATA]:
        save_json(layout.folder / "notebooks" / f"{job}.ipynb", executed)
        stand_in(study, job.stage, *job.parts)
    with pytest.raises(SentenceError, match="no executed notebook"):
        archive(Results(study), ["04"])
    archive(Results(study), [])
    [path] = (layout.archive / "notebooks").iterdir()
    run = json.loads(path.read_text())["metadata"]["executed"]
    assert path.name == f"{DATA}.ipynb" and run["of"] == ["wrought"] and run["commit"]


@pytest.mark.parametrize("folder", ARCHIVED, ids=lambda folder: folder.parent.name)
def test_what_git_holds_is_small_and_of_no_machine(folder):
    paths = sorted(folder.glob("*.ipynb"))
    assert sum(path.stat().st_size for path in paths) <= MOST_BYTES
    for path in paths:
        notebook = json.loads(path.read_text())
        assert re.fullmatch(r"[0-9a-f]{40}", notebook["metadata"]["executed"]["commit"])
        assert words(without_the_machine(notebook)) == words(json.loads(path.read_text()))


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="no Sphinx: make book")
class TestSource:
    @pytest.fixture
    def source(self, tmp_path):
        from docs.book.build import Source

        return Source(tmp_path)

    def test_links_stay_in_the_book(self, source):
        docs = PROJECT_ROOT / "docs"
        turned = source.linked("[a](rescaling.md#x) [b](https://x.org)", docs, "docs/any_scan")
        assert turned == "[a](../docs/rescaling.md#x) [b](https://x.org)"
        shown = "![a](../figures/in718_rx/fig01_overview.png)"
        assert "_files/figures/in718_rx/" in source.linked(shown, docs, "docs/any_scan")
        assert (source.files / "figures/in718_rx/fig01_overview.png").is_file()

    def test_a_link_to_nothing_stops_the_book(self, source):
        with pytest.raises(SystemExit, match="leads to nothing"):
            source.linked("[a](gone.md)", PROJECT_ROOT / "docs", "docs/any_scan")


def test_the_lab_opens_copies(tmp_path):
    """What make would do: every notebook has a rule for its copy, and git's own stay unopened."""
    plan = subprocess.run(
        ["make", "-n", "lab", f"PYTHON={sys.executable}"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lab = next(line for line in plan.stdout.splitlines() if "jupyter lab" in line)
    assert (
        "results/notebooks" in lab and "ip=localhost" in lab and f'root_dir="{PROJECT_ROOT}"' in lab
    )
