"""Disks that fail or fill, clocks that jump: nothing half-written is ever taken for whole."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from kikuhelpers.__main__ import _complaints, main
from kikuhelpers.figures.style import save_figure
from kikuhelpers.latents.coding import encode
from kikuhelpers.patterns.up2 import open_patterns
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import (
    mapped_array,
    save_array,
    save_csv,
    save_json,
    temporary_name,
    tidy,
    written_aside,
)
from kikuhelpers.runs.provenance import Record
from kikuhelpers.runs.results import Results
from kikuhelpers.scans.virtual.scanning import simulate
from kikuhelpers.study import load_study
from kikuhelpers.study.layout import Layout, ModelFiles
from kikuhelpers.study.scans import ScanPreprocessing
from kikuhelpers.study.stages import DATA, Job
from kikuhelpers.study.study import Preprocessing
from kikuhelpers.training.checkpoints import load_checkpoint, save_checkpoint
from kikuhelpers.training.vae import KikuchiVAE
from tests.conftest import make_study, scan_files, virtual_scan, write_scan
from tests.faulty import REMEDY, failing_disk

PATTERNS = np.random.default_rng(0).integers(0, 65536, (2, 3, 120, 120), np.uint16)


def simulated(folder: Path) -> None:
    simulate(virtual_scan(map_shape=(1, 2)), folder / "scan.up2", folder / "truth.h5")


def preprocessed(folder: Path) -> None:
    files = scan_files(folder)
    preprocess(PATTERNS, ScanPreprocessing(), Preprocessing(mask="none"), files, step_um=1.0)


def encoded(folder: Path) -> None:
    torch.manual_seed(0)
    encode(KikuchiVAE(latent_dim=16), PATTERNS, "float32", folder / "latents.npy")


def drawn(folder: Path) -> None:
    figure, axes = plt.subplots(figsize=(1, 1))
    axes.plot([0, 1])
    save_figure(figure, folder, "fig")
    plt.close(figure)


def weights(folder: Path) -> None:
    with written_aside(folder / "weights.safetensors") as temporary:
        save_file({"w": torch.zeros(40_000)}, temporary)


def components(folder: Path) -> None:
    with written_aside(folder / "pca.npz") as temporary:
        np.savez(temporary, w=np.zeros(40_000))


def mapped(folder: Path) -> None:
    with written_aside(folder / "latents.npy") as temporary:
        mapped_array(temporary, (40_000,), np.float32)


WRITERS = {
    "json": lambda folder: save_json(folder / "card.json", {"long": "x" * 100_000}),
    "array": lambda folder: save_array(folder / "mask.npy", np.zeros(40_000)),
    "csv": lambda folder: save_csv(pd.DataFrame({"x": np.arange(4_000)}), folder / "table.csv"),
    "patterns": lambda folder: write_scan(folder / "scan.up2", PATTERNS),
    "simulated": simulated,
    "preprocessed": preprocessed,
    "weights": weights,
    "components": components,
    "drawn": drawn,
    "mapped": mapped,
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What libraries write by themselves, and what takes seconds to draw, make soak lets fail.
@pytest.mark.parametrize("name", ["json", "array", "csv", "patterns", "preprocessed", "encoded"])
def test_every_operation_fails_once_and_nothing_is_half_there(tmp_path, name):
    write, folder, fails = (WRITERS | {"encoded": encoded})[name], tmp_path / "failing", 0
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        fails += 1
        with failing_disk(folder, fails) as disk:
            try:
                write(folder)
            except OSError as error:
                assert REMEDY in str(error)
        there = contents(folder)
        assert {n: whole[n] == content for n, content in there.items()} == dict.fromkeys(
            there, True
        )
        if disk.done < fails:
            break
    assert fails > 3 and there.keys() == whole.keys()


def test_a_checkpoint_is_there_after_every_operation_that_fails(tmp_path):
    files = ModelFiles(lambda stage: tmp_path)
    steps = []
    for fails in range(1, 99):
        save_checkpoint(files, {"step": 1})
        with failing_disk(tmp_path, fails) as disk:
            try:
                save_checkpoint(files, {"step": 2})
            except OSError as error:
                assert REMEDY in str(error)
        steps.append(load_checkpoint(files)["step"])
        if disk.done < fails:
            break
    assert steps == sorted(steps) and set(steps) == {1, 2}


def test_a_job_counts_as_done_only_with_a_whole_record(tmp_path):
    study, job = make_study(), Job(DATA, ("wrought",))
    layout = Layout(study)
    for path in layout.outputs(job):
        save_json(path, {"sha256": "0"})
    for fails in range(1, 99):
        with failing_disk(tmp_path, fails) as disk:
            try:
                Record(Results(study), job).close()
            except OSError as error:
                assert REMEDY in str(error)
        done = disk.done < fails
        assert bool(Results(study).lacks(job)) != done
        if done:
            break
    assert fails > 3


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of 1 MB; it goes with the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here: that takes root's rights")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_sentence_and_stays_no_fuller(disk, write):
    free = shutil.disk_usage(disk).free
    (disk / "others").write_bytes(bytes(free - 8192))
    with pytest.raises(
        SentenceError, match=r"No space left on the disk for .*: free some, then start"
    ):
        write(disk)
    assert [path.name for path in disk.iterdir()] == ["others"]
    assert shutil.disk_usage(disk).free == 8192


def test_a_read_only_folder_is_one_sentence(disk, monkeypatch, capsys):
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(disk / "results"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert main(["smoke", "--dry-run"]) == 1
    said = capsys.readouterr().err.strip()
    assert f"Read-only file system: '{disk}/results" in said and "\n" not in said


def test_a_study_runs_once_at_a_time(capsys):
    folder = Layout(load_study("smoke")).folder
    folder.mkdir(parents=True)
    with FileLock(folder / "running.lock"):
        assert main(["smoke", "--dry-run"]) == 1
    assert capsys.readouterr().err == f"Study 'smoke' is already running in {folder}.\n"


def test_what_dead_processes_left_goes_and_no_result_lies_in_the_future(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    own = temporary_name(tmp_path / "a" / "scan.up2")
    of_dead = own.with_name(own.name.replace(str(os.getpid()), str(dead.pid)))
    own.parent.mkdir()
    early, late = tmp_path / "a" / "scan.up2", tmp_path / "mask.npy"
    for path in (own, of_dead, early, late):
        path.touch()
    os.utime(early, (1e9, 1e9))
    os.utime(late, (4e9, 4e9))
    tidy(tmp_path)
    assert {path.name for path in tmp_path.rglob("*.*")} == {own.name, early.name, late.name}
    assert early.stat().st_mtime == 1e9 and late.stat().st_mtime <= time.time()


def test_what_is_another_ones_stays(tmp_path):
    """A user's own dotfiles, what links lead to, and what another machine may be writing."""
    folder, elsewhere = tmp_path / "study", tmp_path / "late.txt"
    ours = temporary_name(folder / "scan.up2").name
    abroad = re.sub("-.*-", "-other_machine-", ours)
    mine = {".notes.2024.md", ".a b.999999999.npy", abroad}
    folder.mkdir()
    for path in (elsewhere, *(folder / name for name in mine), folder / f".old{abroad}"):
        path.touch()
    os.utime(folder / f".old{abroad}", (1e9, 1e9))
    os.utime(elsewhere, (4e9, 4e9))
    (folder / "link").symlink_to(elsewhere)
    tidy(folder)
    assert {path.name for path in folder.iterdir()} == {*mine, "link"}
    assert elsewhere.stat().st_mtime == 4e9


def test_a_job_that_was_killed_is_named():
    """Also by the system: for want of memory, or as a file that it reads is cut short."""
    layout = Layout(load_study("smoke"))
    start = time.time() - 1
    assert "Snakemake failed or was killed" in "".join(_complaints(layout, start))
    for job in ("01_diffraction_data.wrought", "warm_up"):
        save_json(layout.folder / "logs" / f"{job}.log", "reading 7 %")
    [said] = _complaints(layout, start)
    assert said.startswith("01_diffraction_data.wrought: it was killed (")
    save_json(layout.record(DATA, "wrought"), {})
    assert "01_" not in "".join(_complaints(layout, start))


def test_patterns_may_be_replaced_while_they_are_read(tmp_path):
    """A new file of the name is another file: what was opened stays whole."""
    path = tmp_path / "scan.up2"
    write_scan(path, PATTERNS)
    opened = open_patterns(path)
    write_scan(path, PATTERNS[:1])
    np.testing.assert_array_equal(opened, PATTERNS)
