"""Speeds of several ways to do the same work, measured in turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass
class Speed:
    """Patterns per second of each round."""

    rounds: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0  # of all cores and rounds
    patterns: int = 0

    @property
    def best(self) -> float:
        """The fastest round: the one that other work on the machine disturbed least."""
        return max(self.rounds)

    def as_dict(self) -> dict:
        return {
            "patterns_per_s": self.best,
            "rounds": self.rounds,
            "cpu_seconds_per_pattern": self.cpu_seconds / self.patterns,
        }


def in_turns(
    jobs: dict[str, Callable[[], int]],
    rounds: int,
    seconds: float,
    prepare: Callable[[], None] = lambda: None,
) -> dict[str, Speed]:
    """Measure jobs in turns.

    Parameters
    ----------
    jobs
        By name; each call does some work and returns the number of patterns it did.
    rounds
        How often each job has its turn, after a first call that is not counted.
    seconds
        Shortest length of a turn; a job is called at least once.
    prepare
        Called before every turn; its time does not count.
    """
    speeds = {name: Speed() for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(rounds):
        for name, job in jobs.items():
            prepare()
            _wait_for_device()
            start, cpu, patterns = time.perf_counter(), time.process_time(), 0
            while not patterns or time.perf_counter() - start < seconds:
                patterns += job()
            _wait_for_device()
            speeds[name].rounds.append(patterns / (time.perf_counter() - start))
            speeds[name].cpu_seconds += time.process_time() - cpu
            speeds[name].patterns += patterns
    return speeds


def counted(job: Callable[[], object], patterns: int) -> Callable[[], int]:
    """Return a job that also returns how many patterns it does, as :func:`in_turns` counts."""

    def call() -> int:
        job()
        return patterns

    return call


def compare(
    jobs: dict[str, Callable[[], object]],
    patterns: int,
    rounds: int,
    seconds: float,
    prepare: Callable[[], None] = lambda: None,
) -> dict[str, dict]:
    """Measure, as :func:`in_turns`, jobs of ``patterns`` patterns each; return their columns."""
    counting = {name: counted(job, patterns) for name, job in jobs.items()}
    speeds = in_turns(counting, rounds, seconds, prepare)
    return {name: speed.as_dict() for name, speed in speeds.items()}


def _wait_for_device() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
