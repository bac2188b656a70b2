"""Where the time of a whole study went, by stage: the quick study as it last ran on this machine.

Snakemake notes when each job began and ended, and the job's record how long its notebook worked.
The rest of a job is its start, and pictures drawn after the record; that of the cores is waiting.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.settings import Sizes
from kikuhelpers.runs.files import readable_json
from kikuhelpers.study import load_study
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.load import root_of

_PAUSE_SECONDS = 60.0  # without a job: the study was started anew


def study_time(_: Sizes) -> Iterator[dict]:
    """Read the seconds of every stage, and draw them beside the bench's tables."""
    folder = Layout(load_study("quick")).folder
    found = {}  # by job: its first and last second, the seconds of its work, and its stage
    for path in (folder / ".snakemake" / "metadata").glob("*"):
        made = readable_json(path)
        if not (made.get("starttime") and made.get("log")):
            continue  # damaged
        start, end, job = made["starttime"], made["endtime"], Path(made["log"][0]).stem
        seconds = readable_json(folder / "runs" / f"{job}.json").get("seconds", end - start)
        found[job] = start, end, seconds, job.split(".")[0]
    if not found:
        return  # the study has not run here
    jobs = pd.DataFrame(sorted(found.values()), columns=["start", "end", "work", "stage"])
    runs = (jobs["start"] - jobs["end"].cummax().shift() > _PAUSE_SECONDS).cumsum()
    jobs = jobs[runs == runs.max()]
    jobs["start and rest"] = jobs["end"] - jobs["start"] - jobs["work"]
    stages = jobs.assign(jobs=1).groupby("stage")[["jobs", "work", "start and rest"]].sum()
    wall, spent = jobs["end"].max() - jobs["start"].min(), (jobs["end"] - jobs["start"]).sum()
    stages.loc["no stage", "waiting"] = os.cpu_count() * wall - spent
    for stage, seconds in stages.fillna(0).iterrows():
        yield {"part": "quick study", "case": stage, **seconds}
    seconds, colours = stages.drop(columns="jobs")[::-1], ["#4477aa", "#ccbb44", "#bbbbbb"]
    ax = seconds.plot.barh(stacked=True, color=colours, width=0.8, figsize=(5.2, 3.2))
    ax.set(xlabel=f"seconds, of {os.cpu_count()} cores over {wall:.0f} s", ylabel="")
    ax.set_title("Where the time of the quick study went")
    ax.figure.savefig(root_of("results") / "bench/study_time.png", dpi=200, bbox_inches="tight")
