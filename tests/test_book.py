"""The book: links of its pages lead somewhere, and its site asks nothing of another."""

import importlib.util
import subprocess
import sys

import pytest

from docs.book.links import broken_links
from kikuhelpers.study import PROJECT_ROOT


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
