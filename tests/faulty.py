"""A disk that fails: the N-th opening, write or rename of a file in a folder raises.

Files that Python opens to write are counted, and what Python's own objects write to them; what
libraries write by themselves (HDF5, safetensors) meets a full disk in tests/test_faults.py.
"""

import builtins
import io
import os
from contextlib import contextmanager
from pathlib import Path

REMEDY = "the N-th operation fails"


class Disk:
    """Counts the operations on files below a folder, and lets the one numbered ``fails`` fail."""

    def __init__(self, folder: Path, fails: int):
        self.folder, self.fails, self.done = Path(folder).absolute(), fails, 0

    def holds(self, path) -> bool:
        """Tell whether a path lies in the folder."""
        return isinstance(path, str | os.PathLike) and Path(path).absolute().is_relative_to(
            self.folder
        )

    def count(self) -> bool:
        """Count an operation; tell whether it is the one to fail."""
        self.done += 1
        return self.done == self.fails

    def operate(self) -> None:
        """Count an operation that fails as a whole."""
        if self.count():
            raise OSError(5, REMEDY)


class FailingFile(io.FileIO):
    """A file of a failing disk: what fails writes one half before."""

    def __init__(self, disk: Disk, path, mode: str):
        super().__init__(path, mode)
        self.disk = disk

    def write(self, data) -> int:
        """Write, or write one half and raise."""
        if self.disk.count():
            super().write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
            raise OSError(5, REMEDY)
        return super().write(data)


@contextmanager
def failing_disk(folder: Path, fails: int):
    """Let the operation numbered ``fails`` (from 1) on files below a folder fail."""
    disk, plain_open, plain_replace = Disk(folder, fails), builtins.open, os.replace

    def failing_open(
        file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *more, **named
    ):
        if more or named or not set(mode) & set("wxa+") or not disk.holds(file):
            return plain_open(file, mode, buffering, encoding, errors, newline, *more, **named)
        disk.operate()
        raw = FailingFile(disk, file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def failing_replace(source, target, **more):
        if disk.holds(target):
            disk.operate()
        return plain_replace(source, target, **more)

    builtins.open = io.open = failing_open
    os.replace = failing_replace
    try:
        yield disk
    finally:
        builtins.open = io.open = plain_open
        os.replace = plain_replace
