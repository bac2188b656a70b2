"""What a running study says: which job began, how far it is, how long it took."""

import re
import threading
import time
from collections.abc import Collection
from pathlib import Path

from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import Job

_LOOK_SECONDS = 1.0
_SPEAK_SECONDS = 30.0  # between two lines on jobs that go on
_TAIL_BYTES = 2000  # of a log: more than its last bar
# A bar of tqdm: "training:  41%|####      | 410/1000 [01:20<02:03, 5.1batch/s]"
_BAR = re.compile(r"([\w -]+): +(\d+%)\|[^|]*\|[^\[\r\n]*\[[\d:]+<([\d:]+)")


class Progress(threading.Thread):
    """Print a line when a job begins and ends, and now and then how far the running ones are.

    Each of the ``jobs`` that are to be done has a log, and leaves a record at its end.
    """

    def __init__(self, layout: Layout, jobs: Collection[Job]):
        super().__init__(daemon=True)
        self._start, self._jobs, self._ended = time.time(), list(jobs), threading.Event()
        self._logs = {job: layout.folder / "logs" / f"{job}.log" for job in jobs}
        self._records = {job: layout.record(job.stage, *job.parts) for job in jobs}
        self._running: dict[Job, float] = {}
        self._done: set[Job] = set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()
        self._look()

    def run(self) -> None:
        """Look at logs and records until the study ends."""
        spoken = time.time()
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()
            if time.time() - spoken > _SPEAK_SECONDS:
                spoken = time.time()
                if bars := [text for job in self._running if (text := self._bar(job))]:
                    _say("; ".join(bars))

    def _look(self) -> None:
        for job in self._jobs:
            if job not in self._running and job not in self._done and self._is_new(self._logs[job]):
                self._running[job] = time.time()
                _say(f"{job} begins")
            if job in self._running and self._is_new(self._records[job]):
                seconds = time.time() - self._running.pop(job)
                self._done.add(job)
                _say(f"{job} took {seconds:.0f} s: {len(self._done)} of {len(self._jobs)} jobs")

    def _is_new(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_mtime >= self._start

    def _bar(self, job: Job) -> str:
        """How far a job is, from the last progress bar in its log; "" before there is one."""
        with self._logs[job].open("rb") as log:
            log.seek(max(0, self._logs[job].stat().st_size - _TAIL_BYTES))
            bars = _BAR.findall(log.read().decode(errors="replace"))
        if not bars:
            return ""
        what, share, left = bars[-1]
        return f"{job}: {what.strip()} {share}, {left} left"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
