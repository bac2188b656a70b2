"""Pages and widgets in a real browser: Debian's chromium without a screen, by Playwright."""

import importlib.util
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest

from docs.click_page import filled, tiles_of
from kikuhelpers.study import PROJECT_ROOT
from tests.conftest import keep_times

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PHONE = {"width": 390, "height": 844}
HOSTILE = "</script><script>document.body.dataset.hit = 1</script><img src=x onerror='alert(1)'>"
PATTERNS = ("measured", "decoded", "difference")
ANSWERED = "[data-testid=ms][data-count]"
EXPLORER = PROJECT_ROOT / "notebooks" / "13_explorer.ipynb"

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no {CHROMIUM}: apt-get install chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None,
        reason="no playwright: pip install .[browser]",
    ),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens a page in a window of its own, in which an error of the page fails the test."""
    contexts, errors = [], []

    def open_(address: str, **how):
        contexts.append(browser.new_context(**how))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address, wait_until="domcontentloaded")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors


# ------------------------------------------------------------------ the map to click on


def small_page(title: str = "A small map") -> str:
    """The page of a map of 6 x 8 points, of which every second row and column has patterns."""
    rng, (rows, columns, pixels) = np.random.default_rng(1), (3, 4, 20)
    inside = np.hypot(*(np.indices((pixels, pixels)) - 9.5)) < 9.5
    tiles = {}
    for name in ("measured", "decoded"):
        patterns = rng.uniform(-1, 1, (rows * columns, pixels, pixels))
        tiles[name], worst = tiles_of(patterns, (rows, columns), (-1.0, 1.0), inside)
    values = list(range(rows * columns))
    number = {"title": title, "digits": 1, "values": values, "percentiles": values}
    maps = [{"title": f"{title} {i}", "note": title, "image": tiles["measured"]} for i in range(3)]
    maps[1] |= {"limits": [0.0, 1.0], "stops": ["#000000", "#ffffff"]}
    data = {
        "shape": (6, 8),
        "step_um": 1.0,
        "rows": [1, 3, 5],
        "columns": [1, 3, 5, 7],
        "pixels": pixels,
        "limits": [-1.0, 1.0],
        "inside": "".join("01"[int(i)] for i in inside.ravel()),
        "tiles": tiles,
        "maps": maps,
        "numbers": [number, number | {"values": [None] * len(values)}],
        "euler": [[1.0, 2.0, 3.0], *[None] * (len(values) - 1)],
        "latents": {"most": 2.0, "bytes": "AP+A" * (len(values) * 4 // 3)},
        "features": [3, 1, 0, 2],
        "starts": [{"title": title, "point": 5}],
    }
    shapes = {"pattern_shape": (20, 20), "map_shape": (6, 8), "step_um": 1.0, "worst": worst}
    said = dict.fromkeys(("title", "study", "scan", "model", "loss", "commit"), title)
    said |= {"dimensions": 4, "seed": 1, "presentations": 9, "trained_on": 3, "every": 2}
    made = {"patterns": "a", "training": "b"}
    return filled(data, said | shapes | {"made": made, "pixels": pixels, "archived": True})


@pytest.fixture
def small(tmp_path):
    (tmp_path / "page.html").write_text(small_page())
    return (tmp_path / "page.html").as_uri()


def ready(page):
    page.wait_for_selector("body[data-ready]", timeout=20_000)
    return page


def shown(page) -> list[str]:
    """The pixels of the three patterns."""
    pixels = "canvas => canvas.toDataURL()"
    return [page.get_by_test_id(name).evaluate(pixels) for name in PATTERNS]


def click_at(page, across: float, down: float) -> None:
    box = page.get_by_test_id("map").bounding_box()
    page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def test_a_click_shows_the_patterns_of_that_point(opened, small):
    page = ready(opened(small))
    seen = [shown(page)]
    for across, down, where in ((0.1, 0.1, (1, 1)), (0.9, 0.1, (1, 7)), (0.1, 0.9, (5, 1))):
        click_at(page, across, down)
        assert page.get_by_test_id("where").inner_text() == "row {}, column {}".format(*where)
        seen.append(shown(page))
    for patterns in zip(*seen, strict=True):
        assert len(set(patterns)) == 4


def test_a_drag_moves_the_point(opened, small):
    page = ready(opened(small))
    click_at(page, 0.1, 0.1)
    before, box = shown(page), page.get_by_test_id("map").bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"], steps=4)
    page.mouse.up()
    assert page.get_by_test_id("where").inner_text() == "row 5, column 7"
    assert shown(page) != before


def test_arrow_keys_move_the_point_and_stop_at_the_edge(opened, small):
    page = ready(opened(small))
    click_at(page, 0.1, 0.1)
    where, before = page.get_by_test_id("where"), shown(page)
    page.keyboard.press("ArrowRight")
    assert where.inner_text() == "row 1, column 3"
    assert all(a != b for a, b in zip(before, shown(page), strict=True))
    page.keyboard.press("Shift+ArrowDown")
    assert where.inner_text() == "row 5, column 3"
    page.keyboard.press("ArrowDown")
    assert where.inner_text() == "row 5, column 3"


def test_the_difference_is_decoded_less_measured(opened, small):
    page = ready(opened(small))
    click_at(page, 0.6, 0.6)
    grey = """canvas => [...canvas.getContext('2d').getImageData(0, 0, 20, 20).data]"""
    read = [np.array(page.get_by_test_id(name).evaluate(grey)) for name in PATTERNS]
    measured, decoded, difference = (pixels.reshape(20, 20, 4).astype(float) for pixels in read)
    inside = measured[..., 3] > 0
    assert 0.5 < inside.mean() < 0.9
    wanted = np.clip(127.5 + decoded - measured, 0, 255)
    assert np.abs(difference - wanted)[inside, :3].max() <= 1


def test_the_address_names_point_and_map(opened, small):
    page = ready(opened(f"{small}#5,7,1"))
    assert page.get_by_test_id("where").inner_text() == "row 5, column 7"
    assert page.locator("[role=radio][aria-checked=true]").inner_text() == "A small map 1"
    page.locator("[role=radio]").nth(2).click()
    assert page.url.endswith("#5,7,2")


def test_a_phone_needs_no_sideways_scroll(opened, small):
    page = ready(opened(small, viewport=PHONE, has_touch=True, is_mobile=True))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = page.get_by_test_id("map").bounding_box()
    page.touchscreen.tap(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
    assert page.get_by_test_id("where").inner_text() == "row 5, column 1"


def test_it_follows_dark_and_light(opened, small):
    colours = {}
    for scheme in ("dark", "light"):
        page = ready(opened(small, color_scheme=scheme))
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colours[scheme] = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert colours["dark"] < 60 < 200 < colours["light"]


def test_a_hostile_title_stays_text_and_nothing_is_asked_of_an_address(browser, tmp_path):
    (tmp_path / "page.html").write_text(text := small_page(HOSTILE))
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail("its code ran"))
    page.goto((tmp_path / "page.html").as_uri())
    ready(page)
    assert page.locator("h1").inner_text() == HOSTILE
    assert not page.evaluate("document.body.dataset.hit")
    assert page.locator("img[src=x]").count() == 0
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.close()


# ------------------------------------------------------------------ the explorer in JupyterLab


@pytest.fixture
def lab(smoke, tmp_path):
    """A JupyterLab on a copy of the explorer's notebook, set to the smoke study: its address."""
    if not EXPLORER.is_file():
        pytest.skip("no notebooks/13_explorer.ipynb")
    notebook = nbformat.read(EXPLORER, as_version=4)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    given = {"study_name": "smoke", "scan": "wrought", "model": "vae-16", "overrides": {}}
    parameters.source = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    # A notebook that names no kernel asks for one when it is run.
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(notebook, tmp_path / "explorer.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    roots = {f"KIKUHELPERS_{name.upper()}": str(smoke / name) for name in ("results", "figures")}
    options = {"port": port, "ip": "127.0.0.1", "root_dir": tmp_path, "allow_root": True}
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        f"--IdentityProvider.token={token}",
    ]
    command += [f"--ServerApp.{name}={value}" for name, value in options.items()]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | own | roots, stdout=log, stderr=log)
        try:
            _wait_for(
                f"http://127.0.0.1:{port}/api/status?token={token}", server, tmp_path / "lab.log"
            )
            yield f"http://127.0.0.1:{port}/lab/tree/explorer.ipynb?token={token}"
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            return urllib.request.urlopen(address).close()
        except urllib.error.URLError:
            time.sleep(0.5)
    pytest.fail(log.read_text())


class Explorer:
    """The explorer's widget in an open notebook, by the hooks that explorer.js names."""

    def __init__(self, page):
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=120_000)
        page.get_by_text("| Idle").wait_for(timeout=120_000)
        page.evaluate("window.acts = 0; addEventListener('pointerdown', () => acts++, true)")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_selector(ANSWERED, state="attached", timeout=180_000)
        self.page, self.root = page, page.locator("[data-row]").first
        self.part = self.root.get_by_test_id

    def answer(self, act) -> float:
        """Act, wait for the answer to be drawn, and return its milliseconds."""
        before = int(self.part("ms").get_attribute("data-count"))
        act()
        drawn = "n => Number(document.querySelector('[data-testid=ms]').dataset.count) > n"
        self.page.wait_for_function(drawn, arg=before, timeout=60_000)
        return float(re.match(r"[\d.]+", self.part("ms").inner_text())[0])

    def click(self, across: float, down: float) -> float:
        box = self.part("map-a").bounding_box()
        at = {"x": across * box["width"], "y": down * box["height"]}
        return self.answer(lambda: self.part("map-a").click(position=at))

    def pattern(self, name: str) -> str:
        return self.part(f"pattern-{name}").evaluate("canvas => canvas.toDataURL()")


def test_the_explorer_answers_in_a_real_notebook(opened, lab):
    explorer = Explorer(opened(lab, viewport={"width": 1500, "height": 1900}))
    seen, places, acts = set(), set(), []
    for across, down in ((0.2, 0.2), (0.8, 0.3), (0.4, 0.8)):
        explorer.click(across, down)
        acts.append(explorer.page.evaluate("acts"))
        seen.add(explorer.pattern("measured"))
        places.add(
            (explorer.root.get_attribute("data-row"), explorer.root.get_attribute("data-column"))
        )
    assert len(seen) == len(places) == 3
    assert acts[0] <= 3, "from the opened notebook to a pattern: Run, Run All Cells, a click"

    column = int(explorer.root.get_attribute("data-column"))
    explorer.answer(lambda: explorer.page.keyboard.press("ArrowLeft"))
    assert int(explorer.root.get_attribute("data-column")) == column - 1
    box = explorer.part("map-a").bounding_box()
    explorer.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    explorer.page.mouse.down()
    far = box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"]
    explorer.answer(lambda: explorer.page.mouse.move(*far, steps=3))
    explorer.page.mouse.up()
    assert explorer.part("specimen").inner_text() == "virtual wrought alloy"
    assert explorer.part("key-b").is_visible(), "IPF-X has its key beside it"

    before = explorer.pattern("decoded")
    moved = "slider => { slider.value = 3; slider.dispatchEvent(new Event('input')) }"
    explorer.answer(lambda: explorer.part("slider-0").evaluate(moved))
    assert explorer.pattern("decoded") != before

    box = explorer.part("map-b").bounding_box()
    far = {"x": 0.9 * box["width"], "y": 0.9 * box["height"]}
    explorer.answer(lambda: explorer.part("map-b").click(position=far, modifiers=["Shift"]))
    before = explorer.pattern("decoded")
    explorer.answer(lambda: explorer.part("play-path").click())
    explorer.page.wait_for_timeout(1_500)
    assert explorer.pattern("decoded") != before

    rng = np.random.default_rng(1)
    ms = [explorer.click(*place) for place in rng.uniform(0.05, 0.95, (40, 2))]
    keep_times("explorer_clicks", ms, "smoke")
