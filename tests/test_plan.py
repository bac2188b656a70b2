"""Snakemake's plan: of the paper's study without its files, on a cluster, on several GPUs."""

import json
import shutil

import pytest
import yaml

from kikuhelpers.__main__ import main
from kikuhelpers.runs.fork_server import visible_gpus
from kikuhelpers.study import PROJECT_ROOT, StudyError, load_study, stages
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.load import root_of
from kikuhelpers.study.stages import jobs_of
from tests.conftest import stand_in

PROFILE = PROJECT_ROOT / "profiles" / "slurm"
RULES = {"diffraction_data": 6, "preprocessing": 6, "training": 8, "latent_maps": 48, "table1": 1}


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
    models, baselines = int(jobs["training"]), int(jobs["baselines"])
    assert int(jobs["indexing"]) == 11
    assert int(jobs["latent_maps"]) == 8 * models
    assert int(jobs["reindexing"]) == 2 * models
    assert int(jobs["reindexing_baseline"]) == 2 * baselines


def test_a_grown_model_needs_the_smaller_ones(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("KIKUHELPERS_RESULTS", str(tmp_path))
    assert main(["rows", "04_training.vae-64", "--dry-run"]) == 0
    assert jobs_in(capfd.readouterr().out)["training"] == "3", "16-D, 32-D and itself"


def test_the_background_of_a_scans_own_file_is_no_other_scans_job(plan, monkeypatch, tmp_path):
    use(tmp_path, monkeypatch)
    scan = {"data": {"path": "a.h5"}, "preprocessing": {"background_of": "its file"}}
    study = {"title": "t", "scans": {"a": scan}, "models": {"vae-16": {"latent_dim": 16}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(study))
    jobs = plan(tmp_path / "mine.yaml", "02_preprocessing.a")
    assert (jobs["diffraction_data"], jobs["preprocessing"]) == (1, 1)


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory):
    """The smoke study as far as Snakemake and readers see: every file of it, each a stand-in."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(root, monkeypatch)
        study = load_study("smoke")
        layout = Layout(study)
        layout.warm.parent.mkdir(parents=True)
        layout.warm.touch()
        layout.figures.mkdir(parents=True)
        (layout.figures / "figures.json").write_text(json.dumps(FIGURES))
        for job in jobs_of(study):
            stand_in(study, job.stage, *job.parts)
        assert main(["smoke", "--touch", "--forceall"]) == 0
    return root


FIGURES = {"fig02": {"files": ["fig02.png", "fig02.pdf"], "missing": [], "choices": []}}


def use(root, monkeypatch):
    """Take results and figures from a folder."""
    for name in ("results", "figures"):
        monkeypatch.setenv(f"KIKUHELPERS_{name.upper()}", str(root / name))


@pytest.fixture
def finished(finished_once, tmp_path, monkeypatch):
    """Files of the finished study, which a test may change."""
    shutil.copytree(finished_once, tmp_path / "copy", symlinks=True)
    use(tmp_path / "copy", monkeypatch)
    return Layout(load_study("smoke"))


@pytest.fixture
def plan(capfd):
    """A function that returns the planned jobs of a study, a number by rule."""

    def planned(study="smoke", *more):
        capfd.readouterr()
        assert main([str(study), *more, "--dry-run"]) == 0
        said = capfd.readouterr().out
        jobs = {rule: int(n) for rule, n in jobs_in(said).items() if n.isdigit()}
        assert jobs or "Nothing to be done" in said
        return {rule: n for rule, n in jobs.items() if rule not in ("all", "total")}

    return planned


def changed_smoke(folder, changes):
    """The file of a study that is the smoke study but for some values."""
    content = yaml.safe_load((PROJECT_ROOT / "studies" / "smoke.yaml").read_text())
    for dotted, value in changes.items():
        *above, name = dotted.split(".")
        node = content
        for key in above:
            node = node.setdefault(key, {})
        node[name] = value
    path = folder / "smoke.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


LAST = {"table1": 1, "figures": 1, "claims": 1}
REINDEXED = {"reindexing": 2, "reindexing_baseline": 1}


@pytest.mark.parametrize(
    ("changes", "jobs"),
    [
        ({"training.checkpoint_seconds": 5.0}, {}),
        ({"title": "Another"}, {**LAST, "virtual_specimens": 1}),
        (
            {"scans.wrought.training.patterns": 100},
            {"training": 2, "latent_maps": 2, "reconstruction": 2, "baselines": 1}
            | {**REINDEXED, **LAST, "virtual_specimens": 1},
        ),
        (
            {"scans.wrought.indexing.sample_tilt_deg": 69.0},
            {"indexing": 1, "latent_maps": 2, "virtual_specimens": 1} | {**REINDEXED, **LAST},
        ),
    ],
    ids=lambda changes: ".".join(changes),
)
def test_a_changed_value_plans_just_what_it_redoes(finished, tmp_path, plan, changes, jobs):
    """As tests/test_stages.py states it of every value."""
    assert plan(changed_smoke(tmp_path, changes)) == jobs


def test_written_out_training_settings_are_no_new_ones(finished, tmp_path, plan):
    """Those of the study repeated for a model do not throw away hours of its training."""
    own = finished.study.training.model_dump(mode="json")
    assert plan(changed_smoke(tmp_path, {"models.vae-16.training": own})) == {}
    other = changed_smoke(tmp_path, {"models.vae-16.training": own | {"learning_rate": 0.5}})
    assert plan(other)["training"] == 1


def test_deleted_tables_and_figures_are_made_again(finished, plan):
    (finished.figures / "fig02.pdf").unlink()
    assert plan() == {"figures": 1}
    (finished.figures / "table1.csv").unlink()
    (finished.figures / "truth_wrought.png").unlink()
    assert plan() == {**LAST, "virtual_specimens": 1}


def test_a_new_figures_folder_is_filled(finished, plan, monkeypatch, tmp_path):
    monkeypatch.setenv("KIKUHELPERS_FIGURES", str(tmp_path / "new"))
    assert plan() == {**LAST, "virtual_specimens": 1}


def test_another_models_results_in_place_are_made_again(finished, plan):
    """Also where their time stamps say that nothing changed."""
    own, other = (finished.model(name).weights for name in ("vae-16", "contrastive-16"))
    shutil.copy2(other, own)
    jobs = plan()
    assert jobs["training"] == 1
    assert not {"diffraction_data", "preprocessing", "indexing"} & set(jobs)


def test_the_last_training_has_all_cores(capfd, finished):
    for model, threads in (("vae-16", 4), ("contrastive-16", 2)):
        finished.model(model).weights.unlink()
        capfd.readouterr()
        plan = ["smoke", "--until", "training", "--dry-run", "--cores", "4", "--quiet", "host"]
        assert main(plan) == 0
        assert f"threads: {threads}\n" in capfd.readouterr().out


def test_a_job_is_run_alone_with_what_it_needs(finished, plan):
    shutil.rmtree(finished.folder / "models" / "vae-16" / "wrought")
    assert plan("smoke", "08_reindexing.vae-16.wrought") == {
        "latent_maps": 1,
        "reconstruction": 1,
        "reindexing": 1,
    }


def test_an_unknown_job_is_one_sentence(capfd):
    assert main(["smoke", "04_training.vae-99"]) == 2
    said = capfd.readouterr().err.strip()
    assert "no job '04_training.vae-99'; it has 04_training.vae-16" in said
    assert "\n" not in said


def test_checkpoints_go_when_the_training_is_known_to_have_ended(finished):
    """Snakemake removes the weights of a notebook that dies behind its training."""
    ended, died = (finished.model(name) for name in ("vae-16", "contrastive-16"))
    for files in (ended, died):
        files.checkpoint.touch()
        files.checkpoint_before.touch()
    died.weights.unlink()
    finished.record(stages.TRAINING, "contrastive-16").unlink()
    assert main(["smoke", "--dry-run"]) == 0
    assert not ended.checkpoint.exists() and not ended.checkpoint_before.exists()
    assert died.checkpoint.exists() and died.checkpoint_before.exists()


def test_a_checkpoint_beside_results_of_other_settings_stays(finished, tmp_path):
    """Of a notebook that was run alone with new settings, and killed."""
    files = finished.model("vae-16")
    files.checkpoint.touch()
    changed = changed_smoke(tmp_path, {"training.presentations": 3200})
    assert main([str(changed), "--dry-run"]) == 0
    assert files.checkpoint.exists()


@pytest.mark.parametrize("link", [False, True])
def test_a_scan_among_the_studys_own_results_is_refused(tmp_path, capfd, link):
    """It would be written over: the file may be the only copy."""
    own = root_of("results") / "mine" / "scans" / "s" / "scan.up2"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the only copy")
    path = own
    if link:
        path = tmp_path / "link.up2"
        path.symlink_to(own)
    content = {"title": "x", "scans": {"s": {"data": {"path": str(path)}}}}
    content["models"] = {"vae-16": {"latent_dim": 16}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(StudyError, match="lies in the study's own results folder"):
        load_study(tmp_path / "mine.yaml")
    assert main([str(tmp_path / "mine.yaml")]) == 2
    said = capfd.readouterr().err.strip()
    assert "move that file elsewhere" in said and "\n" not in said
    assert own.read_bytes() == b"the only copy" and path.exists()
    assert not list(own.parents[2].glob("runs*")), "no graph was built"


def test_the_cluster_profile_is_one_that_snakemake_reads(capfd):
    """The Slurm executor is a package of its own: the plan is made without it."""
    assert main(["paper", "--dry-run", "--profile", str(PROFILE), "--executor", "dryrun"]) == 0
    assert int(jobs_in(capfd.readouterr().out)["training"]) == 8


def test_the_cluster_profile_names_rules_that_exist():
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    snakefile = (PROJECT_ROOT / "Snakefile").read_text()
    for rule in [*profile["set-threads"], *profile["set-resources"]]:
        assert f"\nrule {rule}:\n" in snakefile or f" as {rule} with:\n" in snakefile
    assert profile["executor"] == "slurm"


@pytest.mark.parametrize("given, gpus", [("", []), ("3", ["3"]), ("0, 2", ["0", "2"])])
def test_gpus_that_may_be_used(monkeypatch, given, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == gpus


def test_a_job_alone_leaves_what_it_does_not_need(finished, plan):
    """Stale results of other jobs are not made with it."""
    finished.model("vae-16").weights.unlink()
    assert plan("smoke", "03_indexing.wrought") == {}
    assert plan("smoke", "04_training.vae-16")["training"] == 1


def test_results_without_their_record_are_made_again(finished, plan):
    finished.record(stages.INDEXING, "wrought").unlink()
    assert plan("smoke")["indexing"] == 1


def test_a_broken_record_counts_as_other_settings(finished, plan):
    for text in ("", "{}", "[1]"):
        finished.record(stages.INDEXING, "wrought").write_text(text)
        assert plan("smoke")["indexing"] == 1


def test_an_override_of_a_scans_path_is_another_scan(tmp_path):
    """Files of one name in two folders are two scans, wherever their results lie."""
    content = {"title": "x", "scans": {"mine": {"data": {"path": "s.up2"}}}}
    content |= {"models": {"vae-16": {"latent_dim": 16}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    other = {"scans.mine.data.path": str(tmp_path / "elsewhere" / "s.up2")}
    changed = load_study(tmp_path / "own.yaml", other)
    assert Layout(changed).scan("mine").raw.is_relative_to(root_of("results") / changed.name)
    inside = {"scans.mine.data.path": str(root_of("results") / "own" / "scans" / "s.up2")}
    with pytest.raises(StudyError, match="lies in the study's own results folder"):
        load_study(tmp_path / "own.yaml", inside)
