"""Snakemake's plan: of the paper's study without its files, on a cluster, on several GPUs."""

import os
import subprocess
import sys

import pytest
import yaml

from kikuhelpers.__main__ import main
from kikuhelpers.runs.one_gpu import visible_gpus
from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.layout import Layout

PROFILE = PROJECT_ROOT / "profiles" / "slurm"
RULES = {"diffraction_data": 6, "preprocessing": 6, "training": 8, "latent_maps": 48, "tables": 1}


def jobs_in(plan: str) -> dict[str, str]:
    return dict(line.split() for line in plan.splitlines() if len(line.split()) == 2)


def test_the_papers_plan_needs_no_scan_file(capfd):
    assert main(["paper", "--dry-run"]) == 0
    jobs = jobs_in(capfd.readouterr().out)
    assert {rule: int(jobs[rule]) for rule in RULES} == RULES


def test_committed_figures_do_not_stand_for_results(capfd, monkeypatch, tmp_path):
    """A fresh clone has figures of the reference studies, and yet makes its own."""
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path))
    assert main(["realism", "--dry-run"]) == 0
    assert jobs_in(capfd.readouterr().out)["virtual_specimens"] == "1"


def test_scans_of_the_virtual_study_go_as_far_as_they_serve(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path))
    assert main(["virtual", "--dry-run"]) == 0
    jobs = jobs_in(capfd.readouterr().out)
    models, baselines = int(jobs["training"]), int(jobs["baseline"])
    assert int(jobs["indexing"]) == 8
    assert int(jobs["latent_maps"]) == 5 * models
    assert int(jobs["reindexing"]) == 2 * (models + baselines)


@pytest.fixture
def trained_smoke(monkeypatch, tmp_path):
    """The smoke study, as far as Snakemake sees, with all networks trained."""
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path))
    layout = Layout(load_study("smoke"))
    scan = layout.scan("wrought")
    done = [scan.raw, scan.card, scan.background, scan.preprocessed, scan.mask, scan.sample]
    for model in map(layout.model, layout.study.models):
        done += [model.weights, model.card, model.history]
    for path in [layout.warm, *done]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert main(["smoke", "--until", "training", "--touch", "--forceall"]) == 0
    return layout


def test_written_out_training_settings_are_no_new_ones(capfd, trained_smoke, tmp_path):
    """Those of the study repeated for a model do not throw away hours of its training."""
    planned = []
    for change in ({}, {"learning_rate": 0.5}):
        training = trained_smoke.study.training.model_dump(mode="json") | change
        content = yaml.safe_load((PROJECT_ROOT / "studies" / "smoke.yaml").read_text())
        content["models"]["vae-16"]["training"] = training
        (tmp_path / "smoke.yaml").write_text(yaml.safe_dump(content))
        capfd.readouterr()
        assert main([str(tmp_path / "smoke.yaml"), "--until", "training", "--dry-run"]) == 0
        planned.append(jobs_in(capfd.readouterr().out).get("training"))
    assert planned == [None, "1"]


def test_the_last_training_has_all_cores(capfd, trained_smoke):
    for model, threads in (("vae-16", 4), ("contrastive-16", 2)):
        trained_smoke.model(model).weights.unlink()
        capfd.readouterr()
        plan = ["smoke", "--until", "training", "--dry-run", "--cores", "4", "--quiet", "host"]
        assert main(plan) == 0
        assert f"threads: {threads}\n" in capfd.readouterr().out


def test_the_cluster_profile_is_one_that_snakemake_reads(capfd):
    """The Slurm executor is a package of its own: the plan is made without it."""
    assert main(["paper", "--dry-run", "--profile", str(PROFILE), "--executor", "dryrun"]) == 0
    assert int(jobs_in(capfd.readouterr().out)["training"]) == 8


def test_the_cluster_profile_names_rules_that_exist():
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    snakefile = (PROJECT_ROOT / "Snakefile").read_text()
    for rule in [*profile["set-threads"], *profile["set-resources"]]:
        assert f"\nrule {rule}:\n" in snakefile
    assert profile["executor"] == "slurm"


@pytest.mark.parametrize("given, gpus", [("", []), ("3", ["3"]), ("0, 2", ["0", "2"])])
def test_gpus_that_may_be_used(monkeypatch, given, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == gpus


def test_jobs_side_by_side_take_a_gpu_each(tmp_path):
    """Two GPUs, three jobs: the third waits for one that is given back."""
    told = f"""
import os, pathlib, time
gpu = os.environ["CUDA_VISIBLE_DEVICES"]
mark = pathlib.Path({str(tmp_path)!r}, "held-" + gpu)
mark.touch(exist_ok=False)
time.sleep(0.5)
mark.unlink()
print(gpu)
"""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "3,7", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "kikuhelpers.runs.one_gpu", sys.executable, "-c", told]
    jobs = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    took = sorted(job.communicate()[0].strip() for job in jobs)
    assert [job.returncode for job in jobs] == [0, 0, 0], "a job found its GPU held by another"
    assert set(took) == {"3", "7"} and len(took) == 3


def test_the_exit_code_of_the_command_is_kept():
    failing = [sys.executable, "-m", "kikuhelpers.runs.one_gpu", sys.executable, "-c", "exit(5)"]
    assert subprocess.call(failing) == 5
