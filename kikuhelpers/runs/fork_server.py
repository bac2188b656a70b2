"""Run a notebook by papermill in a process that has imported everything: in 1 second, not in 7.

``python -m kikuhelpers`` starts one process (:func:`serve`) that imports what the notebooks
import, and then forks itself for each job. This file, run as a script, asks that process for a job
and waits for its end. Where no such process listens (on a cluster's node, on Windows), papermill
starts as ever. A job dies with whoever asked for it, and all jobs die with the server, which dies
with the command; each holds the study's lock until it is dead (:func:`hand_down`). A job that needs
a GPU (first argument: ``--gpu``) takes the first of several that no other job holds.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADDRESS = "KIKUHELPERS_FORK_SERVER"  # in the environment: the path of the server's socket
_MESSAGE_BYTES = 1 << 20
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl(2)
_GPUS = "CUDA_VISIBLE_DEVICES"
_WAIT_SECONDS = 0.2  # for one GPU, before the next is tried


def _ask(arguments: list[str]) -> int:
    """Have papermill run with some arguments, in a fork of the server if there is one."""
    die_with_parent()
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ[_ADDRESS])
    except (AttributeError, KeyError, OSError):
        given = arguments[arguments[0] == "--gpu" :]  # a cluster shows a job its own GPU only
        os.execv(sys.executable, [sys.executable, "-m", "papermill", *given])
    job = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    socket.send_fds(connection, [json.dumps(job).encode()], [1, 2])
    return int(connection.recv(_MESSAGE_BYTES) or 1)  # nothing: the job was killed


@contextmanager
def running(notebooks: Path) -> Iterator[None]:
    """Let a server run during a ``with`` statement, known to all processes that start in it."""
    if sys.platform != "linux":
        yield
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as early:
        os.environ[_ADDRESS] = f"{folder}/socket"
        early.bind(os.environ[_ADDRESS])
        early.listen(os.cpu_count() * 4)  # whoever asks before the server accepts waits
        early.set_inheritable(True)
        server = [sys.executable, "-m", __name__, "--serve", str(early.fileno()), str(notebooks)]
        with subprocess.Popen(server, **AS_OUR_OWN) as process:
            early.close()
            try:
                yield
            finally:
                os.environ.pop(_ADDRESS, None)
                process.kill()


def serve(listening: int, notebooks: Path) -> None:
    """Import what the notebooks of a folder import; then fork a process for each job, for ever.

    Jobs are asked for through a socket that listens, given by its file descriptor.
    """
    with socket.socket(fileno=listening) as server:
        _import_all(notebooks)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a job knows what to do with it
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                os._exit(_run(connection))
            connection.close()


def _import_all(notebooks: Path) -> None:
    import ast

    import ipykernel.kernelapp  # noqa: F401
    import papermill.cli  # noqa: F401

    from kikuhelpers.runs.compilation import compiling_lock

    with compiling_lock():  # the import of orix compiles
        for path in sorted(notebooks.glob("*.ipynb")):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
            kinds = ast.Import | ast.ImportFrom
            imports = [node for node in ast.parse(code).body if isinstance(node, kinds)]
            exec(compile(ast.Module(imports, []), path.name, "exec"), {})


def _run(connection: socket.socket) -> int:
    """Run one job in this fork of the server; return its exit code, and tell it who asked."""
    import multiprocessing
    import threading

    from jupyter_client.provisioning import local_provisioner
    from papermill.cli import papermill

    die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, *_ = socket.recv_fds(connection, _MESSAGE_BYTES, 2)
    job = json.loads(message)
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    if on_gpu := job["arguments"][0] == "--gpu":
        job["lock"] = _own_gpu()  # held as long as this process lives
    # The kernel is forked before papermill starts threads, and waits for its address.
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    kernel = fork.Process(target=_kernel, args=(there,))
    kernel.start()
    there.close()  # the pipe's end is the kernel's alone, and ends with it

    def launch_kernel(command, **_):
        here.recv()
        here.send(command[command.index("-f") + 1])
        process = kernel._popen
        process.stdin = process.stdout = process.stderr = None
        return process

    def watch():
        connection.recv(1)  # returns when whoever asked is gone
        os._exit(1)  # and the kernel with it

    local_provisioner.launch_kernel = launch_kernel  # in place of a new process
    threading.Thread(target=watch, daemon=True).start()
    try:
        code = papermill.main(job["arguments"][on_gpu:], standalone_mode=False) or 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    sys.stderr.flush()
    connection.send(str(code).encode())
    return code


def _kernel(pipe) -> None:
    """Become a kernel, once the path of its connection file comes through a pipe."""
    import torch
    from ipykernel.kernelapp import IPKernelApp
    from threadpoolctl import threadpool_limits

    os.setsid()
    die_with_parent()
    # Libraries read the number of threads when the server imported them.
    if threads := int(os.environ.get("OMP_NUM_THREADS", 0)):
        threadpool_limits(threads)
        torch.set_num_threads(threads)
    pipe.send("ready")
    IPKernelApp.launch_instance(argv=["-f", pipe.recv()])


def die_with_parent() -> None:
    """Have Linux kill this process when its parent ends, in whatever way."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


# How to start a process that dies with this one, and holds the locks handed down to it.
AS_OUR_OWN = {"preexec_fn": die_with_parent if os.name == "posix" else None, "close_fds": False}


def hand_down(lock: int) -> None:
    """Have a lock, given by its file descriptor, held by what this process starts, too."""
    os.set_inheritable(os.dup(lock), True)  # filelock closes its own one in every fork


def visible_gpus() -> list[str]:
    """Return the names by which CUDA knows the GPUs that this process may use."""
    import shutil

    if _GPUS in os.environ:
        return [name.strip() for name in os.environ[_GPUS].split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return [str(n) for n, _ in enumerate(listed.stdout.splitlines())]


def _own_gpu():
    """Show this process the first GPU that no other holds; return the lock, which dies with it."""
    from getpass import getuser
    from itertools import cycle

    from filelock import FileLock, Timeout

    gpus = visible_gpus()
    for gpu in cycle(gpus if len(gpus) > 1 else []):
        lock = FileLock(Path(tempfile.gettempdir()) / f"gpu-{gpu}.{getuser()}.lock")
        try:
            lock.acquire(timeout=_WAIT_SECONDS)
        except Timeout:
            continue
        os.environ[_GPUS] = gpu
        return lock


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    sys.exit(_ask(sys.argv[1:]))
