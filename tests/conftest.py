"""Settings and small scans that several tests share."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from filelock import FileLock

from kikuhelpers.patterns.up2 import Up2Writer
from kikuhelpers.runs.provenance import Record
from kikuhelpers.runs.results import Results
from kikuhelpers.scans.public import in718_downloads
from kikuhelpers.study import PROJECT_ROOT, Study
from kikuhelpers.study.layout import Layout, ModelScanFiles, ScanFiles
from kikuhelpers.study.scans import VirtualData
from kikuhelpers.study.stages import Job

PIXELS = 120


def make_study(**changes) -> Study:
    """A valid study of one small virtual scan and one model."""
    content = {
        "name": "test",
        "title": "A test",
        "scans": {
            "wrought": {
                "data": {
                    "source": "virtual",
                    "specimen": {"alloy": "wrought"},
                    "map_shape": [4, 5],
                },
                "training": {"patterns": 20},
            }
        },
        "models": {"vae-16": {"latent_dim": 16}},
        "training": {"presentations": 64, "batch_size": 8, "warmup_steps": 2, "history_steps": 2},
    }
    return Study.model_validate(content | changes)


def with_training_patterns(count: int) -> dict:
    """The scans of :func:`make_study`, the one of which gives so many training patterns."""
    scans = make_study().model_dump()["scans"]
    scans["wrought"]["training"] = {"patterns": count}
    return scans


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Seed what draws without a generator (orix, torch), before any fixture of the test."""
    np.random.seed(0)  # noqa: NPY002 -- orix draws from it
    torch.manual_seed(0)


def pytest_configure(config):
    """Compile alone what is compiled once: processes that did it at once would crash."""
    if config.getoption("numprocesses", None):
        subprocess.run([sys.executable, "-m", "kikuhelpers.indexing.warm_up"], check=True)


def pytest_collection_modifyitems(items):
    """Begin with the modules that take longest, so that no core waits for them at the end."""
    longest = ("test_bench", "test_browser", "test_own_results", "test_smoke_study")
    items.sort(key=lambda item: item.path.stem not in longest)


@pytest.fixture
def study() -> Study:
    return make_study()


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Keep results, archive and figures of a test out of the project."""
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("KIKUHELPERS_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("KIKUHELPERS_ARCHIVE", str(tmp_path / "archive"))


@pytest.fixture
def measured_crop() -> None:
    """Skip unless the first tiles of the IN718 crop are in the data folder or the cache."""
    folders = (
        Path(os.environ.get("KIKUHELPERS_DATA", "")) / "in718_rx" / "tiles",
        in718_downloads().abspath,
    )
    if not any((folder / "tile_0_9.webp").is_file() for folder in folders):
        pytest.skip("no in718_rx in the folder KIKUHELPERS_DATA names, nor in the cache")


def screen(radius: float = 57.5) -> np.ndarray:
    """True inside a round screen in the middle of a pattern."""
    offset = np.arange(PIXELS) - (PIXELS - 1) / 2
    return offset[:, None] ** 2 + offset**2 <= radius**2


def write_scan(path: Path, patterns: np.ndarray, step_um: float = 1.0) -> None:
    """Write patterns (rows, columns, height, width) uint16 as UP2."""
    with Up2Writer(path, patterns.shape[:2], patterns.shape[2:], step_um) as writer:
        writer.append(patterns.reshape(-1, *patterns.shape[2:]))


# What the cards of a training and of a scan must hold, where a test asks for no more.
MODEL_CARD = {"presentations": 64, "seconds": 1.0, "last": {}}
SCAN_CARD = {"map_shape": (4, 5), "pattern_shape": (120, 120), "step_um": 1.0, "sha256": "0"}


def stamp(study: Study, stage: str, *parts: str) -> None:
    """Write the record of a job, so that its results, made by hand, count as the study's."""
    Record(Results(study), Job(stage, parts)).close()


def stand_in(study: Study, stage: str, *parts: str) -> None:
    """Write the record of a job, and something for each of its files that is not there."""
    for path in Layout(study).outputs(Job(stage, parts)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            card = SCAN_CARD | MODEL_CARD
            path.write_text(json.dumps(card | {"name": path.name, "of": [stage, *parts]}))
    stamp(study, stage, *parts)


def scan_files(folder: Path) -> ScanFiles:
    """Files of a scan, all in one folder."""
    return ScanFiles(lambda _: folder)


def model_scan_files(folder: Path) -> ModelScanFiles:
    """Files of a scan seen through a model, all in one folder."""
    return ModelScanFiles(lambda _: folder)


def load_truth(path: Path) -> SimpleNamespace:
    """The truth of a virtual scan as its file holds it: each array (rows, columns, ...)."""
    with h5py.File(path) as file:
        shape = tuple(file.attrs["map_shape"])
        fields = {name: v[()].reshape(*shape, *v.shape[1:]) for name, v in file.items()}
    return SimpleNamespace(**fields)


def virtual_scan(**changes) -> VirtualData:
    settings = {"source": "virtual", "specimen": {"alloy": "wrought"}, "map_shape": (4, 5)}
    return VirtualData.model_validate(settings | changes)


def run_study(study, folder, *more):
    """Run a study as its command does, with all that it writes in a folder."""
    roots = ("results", "figures", "archive")
    environment = os.environ | {f"KIKUHELPERS_{n.upper()}": str(folder / n) for n in roots}
    return subprocess.run(
        [sys.executable, "-m", "kikuhelpers", study, *more],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Folder of a finished smoke study: one process of the tests makes it, each has a copy."""
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke-as-made"
    made.mkdir(exist_ok=True)
    with FileLock(f"{made}.lock"):
        if not (made / "said.txt").is_file():
            done = run_study("smoke", made)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
            (made / "said.txt").write_text(done.stdout)
    return shutil.copytree(made, base / "smoke", symlinks=True)


def keep_times(name: str, ms: list[float], study: str) -> None:
    """Write what answers took beside the other benchmarks, in the project's results."""
    found = {"answers": len(ms), "median_ms": np.median(ms), "q95_ms": np.quantile(ms, 0.95)}
    text = {name: round(float(value), 1) for name, value in found.items()} | {"study": study}
    folder = PROJECT_ROOT / "results" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(text, indent=1))
