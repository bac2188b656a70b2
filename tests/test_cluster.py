"""A cluster stood in for: jobs are submitted, and run elsewhere and without an environment."""

import os

import numpy as np
import pytest
import yaml

from kikuhelpers.__main__ import main
from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.layout import Layout
from tests.conftest import PIXELS

# It has the name of the package that profiles/slurm asks for, and calls sbatch as that does.
PLUGIN = """
import subprocess
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    def run_job(self, job):
        call = f'sbatch -D {self.workflow.workdir_init} --wrap="{self.format_job_exec(job)}"'
        process = subprocess.Popen(call, shell=True)
        info = SubmittedJobInfo(job, external_jobid=str(process.pid), aux={"process": process})
        self.report_job_submission(info)

    async def check_active_jobs(self, active_jobs):
        for info in active_jobs:
            code = info.aux["process"].poll()
            if code is None:
                yield info
            elif code:
                self.report_job_error(info, msg=f"sbatch ended with {code}")
            else:
                self.report_job_success(info)

    def cancel_jobs(self, active_jobs):
        for info in active_jobs:
            info.aux["process"].kill()
"""
SBATCH = """#!/bin/sh
echo "$3" >> "$0.log"
cd "$2"
exec env -i /bin/bash -c "${3#--wrap=}"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A function that makes a study of a tiny scan in a folder, and the arguments that run it."""
    (tmp_path / "snakemake_executor_plugin_slurm").mkdir()
    (tmp_path / "snakemake_executor_plugin_slurm" / "__init__.py").write_text(PLUGIN)
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(
        SBATCH.replace(
            "env -i", f"env -i PATH=/usr/bin:/bin PYTHONPATH='{PROJECT_ROOT}:{tmp_path}'"
        )
    )
    sbatch.chmod(0o755)
    paths = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    monkeypatch.setenv("PYTHONPATH", paths)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)

    def in_folder(name):
        here = tmp_path / name
        for kind in ("results", "figures", "archive"):
            monkeypatch.setenv(f"KIKUHELPERS_{kind.upper()}", str(here / kind))
        here.mkdir()
        patterns = np.arange(4 * PIXELS**2, dtype=np.uint16).reshape(4, PIXELS, PIXELS)
        np.save(here / "scan.npy", patterns)
        data = {"source": "array", "path": "scan.npy", "map_shape": [2, 2]}
        scan = {"data": data | {"pattern_shape": [PIXELS, PIXELS]}}
        content = {"title": "x", "scans": {"s": scan}, "models": {"m": {"latent_dim": 16}}}
        (here / "mine.yaml").write_text(yaml.safe_dump(content))
        layout = Layout(load_study(here / "mine.yaml"))
        layout.warm.parent.mkdir(parents=True)
        layout.warm.touch()
        profile = PROJECT_ROOT / "profiles" / "slurm"
        job = [str(here / "mine.yaml"), "01_diffraction_data.s", "--profile", str(profile)]
        return layout, [*job, "--latency-wait", "1"]

    return in_folder


def test_a_job_needs_neither_the_environment_nor_the_folder_of_the_command(
    cluster, tmp_path, capfd, monkeypatch
):
    layout, command = cluster("here")
    monkeypatch.setenv("KIKUHELPERS_DATA", "measured")  # relative to the command's folder
    assert main(command) == 0, capfd.readouterr().err
    assert layout.scan("s").raw.is_file() and layout.record("01_diffraction_data", "s").is_file()
    submitted = (tmp_path / "sbatch.log").read_text()
    assert "diffraction_data:scan=s" in submitted
    assert f"data={tmp_path}/measured" in submitted


def test_a_folder_that_a_clusters_shell_would_read_is_refused(cluster, tmp_path, capfd):
    _, command = cluster("it's $(touch ran) `touch ran`")
    assert main(command) != 0
    assert "A cluster's shell would read " in capfd.readouterr().err
    assert not list(tmp_path.rglob("ran")) and not (tmp_path / "sbatch.log").exists()
