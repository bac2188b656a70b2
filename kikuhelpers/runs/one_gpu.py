"""Run a command with a GPU of its own: ``python -m kikuhelpers.runs.one_gpu command ...``.

Of a machine's several GPUs each job takes the first that no other job holds. With one GPU or
none, and on a cluster, which shows a job its own only, nothing is changed.
"""

import getpass
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from filelock import FileLock, Timeout

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_WAIT_SECONDS = 0.2  # for one GPU, before the next is tried


def visible_gpus() -> list[str]:
    """Return the names by which CUDA knows the GPUs that this process may use."""
    if _VISIBLE in os.environ:
        return [name.strip() for name in os.environ[_VISIBLE].split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return [str(n) for n, _ in enumerate(listed.stdout.splitlines())]


def run(command: list[str]) -> int:
    """Run a command on the first free GPU, waiting for one; return its exit code."""
    gpus = visible_gpus()
    if len(gpus) < 2:
        return subprocess.call(command)
    for gpu in cycle(gpus):
        # The lock is the operating system's and dies with this process.
        lock = FileLock(Path(tempfile.gettempdir()) / f"gpu-{gpu}.{getpass.getuser()}.lock")
        with suppress(Timeout), lock.acquire(timeout=_WAIT_SECONDS):
            return subprocess.call(command, env=os.environ | {_VISIBLE: gpu})


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
