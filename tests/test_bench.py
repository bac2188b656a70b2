"""The benchmark runs end to end and says what it measured; no test of speed."""

import json
import os

import pytest

from benchmarks.__main__ import PARTS, main
from benchmarks.settings import QUICK
from benchmarks.study_time import study_time
from kikuhelpers.runs.files import save_json
from kikuhelpers.study.load import root_of


def test_every_part_is_measured_and_written(capsys):
    assert main(["--quick"]) == 0
    (path,) = (root_of("results") / "bench").glob("*.json")
    content = json.loads(path.read_text())
    assert {"commit", "versions", "hardware", "load_average"} <= set(content)
    assert content["hardware"]["cores"] >= 1 and content["hardware"]["processor"]
    rows = content["measurements"]
    assert len({row["part"] for row in rows}) >= len(PARTS)
    for row in rows:
        for name in ("ours", "plain", "reading", "copying"):
            if name in row:
                assert row[name]["patterns_per_s"] > 0
                assert row[name]["patterns_per_s"] == max(row[name]["rounds"])
    (profile,) = (row for row in rows if row["part"] == "profile")
    assert sum(profile["shares"].values()) == pytest.approx(1)
    assert all(share > 0 for share in profile["shares"].values())
    growth = [row for row in rows if row["part"] == "growth"]
    assert [row["case"] for row in growth] == ["preprocessing", "encoding", "noise level"]
    for row in growth:
        assert [point["patterns"] for point in row["points"]] == [8, 16]
        assert all(point["peak_mib"] > 50 for point in row["points"])
    printed = capsys.readouterr().out
    assert path.with_suffix(".md").read_text() in printed
    assert len(path.with_suffix(".md").read_text().splitlines()) == len(rows) + 2


def test_the_time_of_a_study_is_told_by_stage():
    folder = root_of("results") / "quick"
    for number, (job, start, end) in enumerate(
        [
            ("04_training.old", -200, -100),
            ("04_training.a", 10, 20),
            ("04_training.b", 12, 24),
            ("09_table1", 24, 30),
        ]
    ):
        made = {"log": [f"logs/{job}.log"], "starttime": start, "endtime": end}
        save_json(folder / ".snakemake" / "metadata" / str(number), made)
        save_json(folder / "runs" / f"{job}.json", {"seconds": end - start - 1})
    (folder / ".snakemake" / "metadata" / "damaged").write_text("{")
    (root_of("results") / "bench").mkdir()
    training, table, rest = study_time(QUICK)
    assert (training["case"], training["jobs"], training["work"]) == ("04_training", 2, 20)
    assert (training["start and rest"], table["work"]) == (2, 5)
    assert rest["waiting"] == os.cpu_count() * 20 - 28
    assert (root_of("results") / "bench" / "study_time.png").stat().st_size > 1000
