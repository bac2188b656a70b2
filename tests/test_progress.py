"""What a running study says of its jobs."""

import os
import time

from kikuhelpers.runs.progress import Progress
from kikuhelpers.study import load_study
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import INDEXING, TRAINING, Job


def test_jobs_are_named_as_they_begin_go_on_and_end(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path))
    monkeypatch.setattr("kikuhelpers.runs.progress._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("kikuhelpers.runs.progress._SPEAK_SECONDS", 0.05)
    layout = Layout(load_study("smoke"))
    indexing, training = Job(INDEXING, ("wrought",)), Job(TRAINING, ("vae-16",))
    (layout.folder / "logs").mkdir(parents=True)
    old = layout.record(TRAINING, "vae-16")
    old.parent.mkdir()
    old.write_text("{}")
    os.utime(old, (0, 0))  # of an earlier run: no end of this one
    with Progress(layout, [indexing, training]):
        bar = "\rtraining:  40%|####      | 4/10 [00:20<00:30,  5.0pattern/s, loss=9]"
        (layout.folder / "logs" / f"{training}.log").write_text(bar.replace("40", "20") + bar)
        (layout.folder / "logs" / f"{indexing}.log").write_text("no bar")
        time.sleep(0.3)
        layout.record(INDEXING, "wrought").write_text("{}")
    said = capsys.readouterr().out
    assert said.count("04_training.vae-16 begins") == said.count("wrought begins") == 1
    assert "04_training.vae-16: training 40%, 00:30 left" in said
    assert "03_indexing.wrought took 0 s: 1 of 2 jobs" in said
    assert "vae-16 took" not in said
