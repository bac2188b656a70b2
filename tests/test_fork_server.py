"""Jobs in forks of one process: as in a process of their own, and none outlives its parents."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from filelock import FileLock

from kikuhelpers.runs import fork_server

ASK = [sys.executable, "-SE", fork_server.__file__]
COMMAND = [*ASK, "--no-progress-bar", "--log-output"]


def write_notebook(path: Path, source: str) -> Path:
    given = nbformat.v4.new_code_cell("name = None", metadata={"tags": ["parameters"]})
    cells = [given, nbformat.v4.new_code_cell(source)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def run(folder: Path, source: str, **environment) -> subprocess.CompletedProcess:
    notebook = write_notebook(folder / "job.ipynb", source)
    command = [*COMMAND, notebook, folder / "done.ipynb", "-r", "name", "007"]
    environment = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(folder / "imports.ipynb", "import statistics\nfrom decimal import Decimal")
    with fork_server.running(folder):
        yield


def test_a_job_runs_where_all_is_imported(server, tmp_path):
    said = "import os, sys\nprint(name, os.getcwd(), 'statistics' in sys.modules)"
    done = run(tmp_path, said)
    assert done.returncode == 0, done.stderr
    assert f"007 {tmp_path} True" in done.stdout + done.stderr
    outputs = nbformat.read(tmp_path / "done.ipynb", 4).cells[-1].outputs
    assert outputs[0].text == f"007 {tmp_path} True\n"


def test_a_job_has_the_threads_that_it_was_given(server, tmp_path):
    told = "import os, torch\nprint('threads', torch.get_num_threads(), os.environ['OF_JOB'])"
    done = run(tmp_path, told, OMP_NUM_THREADS="1", OF_JOB="mine")
    assert "threads 1 mine" in done.stdout + done.stderr


def test_a_job_that_fails_says_why_and_others_go_on(server, tmp_path):
    failed = run(tmp_path, "raise ValueError('no such scan')")
    assert failed.returncode == 1
    assert failed.stderr.strip().endswith("ValueError: no such scan")
    assert run(tmp_path, "print('fine')").returncode == 0


def test_a_job_ends_when_its_kernel_dies_before_it_is_ready(tmp_path):
    """The moment that `make soak` found: the job waited for ever."""
    notebook = write_notebook(tmp_path / "job.ipynb", "print(name)")
    job = {"arguments": [str(notebook), str(tmp_path / "done.ipynb")], "folder": str(tmp_path)}
    job["environment"] = dict(os.environ)
    program = f"""
import json, os, socket
from kikuhelpers.runs import fork_server
fork_server._kernel = lambda pipe: os._exit(9)
here, there = socket.socketpair()
socket.send_fds(here, [json.dumps({job!r}).encode()], [1, 2])
os._exit(fork_server._run(there))"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, b"EOFError" in done.stderr) == (1, True)


def test_without_a_server_papermill_starts_as_ever(tmp_path, monkeypatch):
    monkeypatch.delenv(fork_server._ADDRESS, raising=False)
    done = run(tmp_path, "import sys\nprint(name, 'statistics' in sys.modules)")
    assert done.returncode == 0, done.stderr
    assert "007" in done.stdout + done.stderr


def test_jobs_side_by_side_take_a_gpu_each(server, tmp_path):
    """Two GPUs, three jobs: the third waits for one that is given back."""
    told = f"""
import os, pathlib, time
gpu = os.environ["CUDA_VISIBLE_DEVICES"]
mark = pathlib.Path({str(tmp_path)!r}, "held-" + gpu)
mark.touch(exist_ok=False)
time.sleep(0.5)
mark.unlink()
pathlib.Path({str(tmp_path)!r}, f"took-{{gpu}}-{{os.getpid()}}").touch()
"""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "3,7", "TMPDIR": str(tmp_path)}
    notebook = write_notebook(tmp_path / "job.ipynb", told)
    command = [*ASK, "--gpu", "--no-progress-bar", notebook]
    jobs = [
        subprocess.Popen([*command, tmp_path / f"{n}.ipynb"], env=environment) for n in range(3)
    ]
    assert [job.wait() for job in jobs] == [0, 0, 0], "a job found its GPU held by another"
    took = [path.name.split("-")[1] for path in tmp_path.glob("took-*")]
    assert set(took) == {"3", "7"} and len(took) == 3


def start_long_job(folder: Path) -> tuple[subprocess.Popen, psutil.Process]:
    """A job that never ends: the process that asked for it, and its kernel."""
    source = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    notebook = write_notebook(folder / "job.ipynb", source + "time.sleep(600)")
    asked = subprocess.Popen([*COMMAND, notebook, folder / "done.ipynb"], cwd=folder)
    pid = folder / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.01)
    return asked, psutil.Process(int(pid.read_text()))


def test_a_job_ends_with_whoever_asked_for_it(server, tmp_path):
    asked, kernel = start_long_job(tmp_path)
    asked.send_signal(signal.SIGKILL)
    kernel.wait(timeout=20)
    asked.wait()


# As kikuhelpers/__main__.py runs Snakemake, and that runs a job.
COMMAND_ITSELF = """
import subprocess, sys
from pathlib import Path
from filelock import FileLock
from kikuhelpers.runs import fork_server
lock, notebooks, *job = sys.argv[1:]
with FileLock(lock, blocking=False, on_acquired=fork_server.hand_down):
    with fork_server.running(Path(notebooks)):
        graph = "import subprocess, sys; subprocess.call(sys.argv[1:])"
        subprocess.call([sys.executable, "-c", graph, *job], **fork_server.AS_OUR_OWN)
"""


def processes_of(command: subprocess.Popen, folder: Path) -> dict[str, psutil.Process]:
    """All processes of a running job, by what each is."""
    pid = folder / "pid"
    while not (pid.exists() and pid.read_text()):
        assert command.poll() is None
        time.sleep(0.01)
    top, kernel = psutil.Process(command.pid), psutil.Process(int(pid.read_text()))
    [graph] = [child for child in top.children() if "-c" in child.cmdline()]
    [server] = [child for child in top.children() if child != graph]
    [asked] = graph.children()
    return {"command": top, "graph": graph, "server": server, "asked": asked, "kernel": kernel}


@pytest.mark.parametrize("killed", ["command", "graph", "server", "kernel"])
def test_whatever_is_killed_nothing_works_on_without_the_lock(tmp_path, killed):
    source = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    notebook = write_notebook(tmp_path / "job.ipynb", source + "time.sleep(600)")
    job = [*COMMAND, notebook, tmp_path / "done.ipynb"]
    (tmp_path / "none").mkdir()
    lock = tmp_path / "running.lock"
    command = [sys.executable, "-c", COMMAND_ITSELF, lock, tmp_path / "none", *job]
    with subprocess.Popen(command, cwd=tmp_path) as started:
        processes = processes_of(started, tmp_path)
        for name in set(processes) - {"asked"}:
            files = Path(f"/proc/{processes[name].pid}/fd").iterdir()
            assert lock in [file.resolve() for file in files], f"{name} does not hold the lock"
        processes[killed].kill()
        psutil.wait_procs(processes.values(), timeout=20)
        assert not any(p.is_running() and p.status() != "zombie" for p in processes.values())
    FileLock(lock).acquire(blocking=False).lock.release()
