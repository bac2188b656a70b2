"""Results that are damaged, foreign or of another version: one sentence each, and never used."""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from kikuhelpers.baselines.methods import principal_components
from kikuhelpers.latents.coding import load_model
from kikuhelpers.runs.archive import Archive
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import digest, load_json, save_json, temporary_name, whole_digest
from kikuhelpers.runs.provenance import Record, collect
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.layout import (
    BaselineScanFiles,
    Layout,
    ModelFiles,
    ModelScanFiles,
    SampleFiles,
    ScanFiles,
)
from kikuhelpers.study.stages import FIGURES, TABLE1, TRAINING, Job, jobs_of
from kikuhelpers.training.checkpoints import load_checkpoint

SCAN, MODEL, SEEN = "scans/wrought", "models/vae-16", "models/vae-16/wrought"
EVERY_KIND = [
    *(f"{SCAN}/{name}" for name in ("scan.up2", "scan.json", "truth.h5", "background.npy")),
    *(f"{SCAN}/{name}" for name in ("mask.npy", "preprocessed.up2", "camera_scale.npy")),
    *(f"{SCAN}/{name}" for name in ("pattern_centre.json", "orientations.h5")),
    *(f"{MODEL}/{name}" for name in ("weights.safetensors", "card.json", "history.csv")),
    *(f"{SEEN}/{name}" for name in ("latents.npy", "features.csv", "decoded.up2", "residual.json")),
    *(f"{SEEN}/{name}" for name in ("pattern_loss.npy", "generated.npy", "orientations.h5")),
    "baselines/spectrum.json",
]


class Finished:
    """A finished smoke study, of which one file may be damaged at a time."""

    def __init__(self, folder):
        self.layout = Layout(load_study("smoke"))
        self.root, self.kept = folder, {}

    def path(self, name):
        return self.layout.folder / name

    def damage(self, name, content, record_fits=False):
        """Write bytes in place of a file, None to remove it; let its record say that they fit."""
        path = self.path(name)
        self.keep(path)
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        if record_fits:
            job = self.layout.maker(path)
            record = self.layout.record(job.stage, *job.parts)
            self.keep(record)
            of_job = load_json(record)
            of_job["outputs"][name] = digest(path)
            save_json(record, of_job | {"schema": 2})

    def keep(self, path):
        self.kept.setdefault(path, path.read_bytes())

    def restore(self):
        for path, content in self.kept.items():
            path.write_bytes(content)
        self.kept = {}

    def open(self, name):
        return Results(self.layout.study).open(self.path(name))

    def said(self, read):
        """What reading says: a sentence, and no other error."""
        with pytest.raises(SentenceError) as error:
            read()
        sentence = str(error.value)
        assert "\n" not in sentence and len(sentence) < 600
        return sentence


@pytest.fixture(scope="module")
def copy(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for name in ("results", "figures"):
        shutil.copytree(smoke / name / "smoke", folder / name / "smoke", symlinks=True)
    return folder


@pytest.fixture
def study(copy, monkeypatch):
    for name in ("results", "figures", "archive"):
        monkeypatch.setenv(f"KIKUHELPERS_{name.upper()}", str(copy / name))
    finished = Finished(copy)
    yield finished
    finished.restore()


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def turned(content: bytes) -> bytes:
    """One bit in the middle is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("name", EVERY_KIND)
def test_what_is_not_the_file_of_its_record_is_not_read(study, name):
    """Whatever happened to the file: it is opened whole, and in no other case."""
    study.open(name)
    whole = study.path(name).read_bytes()
    other = study.path(f"{SCAN}/mask.npy" if "mask" not in name else f"{MODEL}/card.json")
    for content in (cut(whole), turned(whole), whole + b"\0", b"", other.read_bytes()):
        study.damage(name, content)
        sentence = study.said(lambda: study.open(name))
        assert f"{name} of study 'smoke' is not the file that" in sentence
        assert "Make it with: python -m kikuhelpers smoke 0" in sentence
    study.path(name).unlink()
    assert f"{name} of study 'smoke' is not there yet" in study.said(lambda: study.open(name))


# ------------------------------------------------------------- with a record that says it fits


def npy(array, **more) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **more)
    return file.getvalue()


def h5(write) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        write(content)
    return file.getvalue()


def link_outside(file):
    file.attrs["map_shape"] = (16, 16)
    file["phase"] = h5py.ExternalLink("/etc/passwd", "/")


def unpacks(file):
    file.attrs["map_shape"] = (16, 16)
    file.create_dataset("phase", (1 << 30,), "u1", chunks=True, compression="gzip")


class Runs:
    """What a pickle could do."""

    def __reduce__(self):
        return os.mkdir, ("/tmp/a-pickle-ran",)


UP2 = np.array((3, 120, 120, 42), "<u4").tobytes() + b"\0" + np.array((16, 16), "<u4").tobytes()
UP2 += b"\0" + np.array((1.0, 1.0)).tobytes()
SMALL_UP2 = np.array((3, 60, 60, 42), "<u4").tobytes() + UP2[16:] + bytes(256 * 60 * 60 * 2)
HEAD = "step,epoch,presentations,loss,reconstruction,kl,contrastive,active_units,gradient_norm,"
HEAD += "learning_rate,best,worst,seconds\n"
FITTING = [
    (f"{SCAN}/scan.json", b"", "Expecting value"),
    (f"{SCAN}/scan.json", b"null", "NoneType"),
    (f"{SCAN}/scan.json", b"[]", "it lacks sha256"),
    (f"{SCAN}/scan.json", b"[" * 100_000, "nested too deep"),
    (f"{SCAN}/scan.json", b"\xff\xfe\x00", "decode"),
    (f"{SCAN}/scan.json", b'{"sha256": "0", "pattern_shape": [1, 2]}', "it lacks map_shape"),
    (f"{SCAN}/pattern_centre.json", b"null", "NoneType"),
    (f"{SCAN}/pattern_centre.json", b'{"pattern_centre": null}', "no|argument"),
    (f"{SCAN}/pattern_centre.json", b'{"pattern_centre": [NaN, 0, 1]}', "no 3 numbers as pattern_"),
    (f"{SCAN}/pattern_centre.json", b'{"pattern_centre": [0.5, 0.5]}', "no 3 numbers as pattern_"),
    (f"{SCAN}/pattern_centre.json", b'{"pattern_centre": {"x": 1}}', "it lacks pattern_centre"),
    (f"{SCAN}/truth.h5", b"junk", "signature"),
    (f"{SCAN}/truth.h5", h5(lambda file: None), "map_shape"),
    (f"{SCAN}/truth.h5", h5(link_outside), "lie in another file"),
    (f"{SCAN}/truth.h5", h5(unpacks), "unpacks to far more than its size"),
    (f"{SCAN}/mask.npy", b"", "EOF"),
    (f"{SCAN}/mask.npy", npy(np.ones((120, 120), bool))[:400], "mmap length"),
    (f"{SCAN}/mask.npy", npy(np.ones((120, 120))), "it lacks bool"),
    (f"{SCAN}/mask.npy", npy(np.ones((60, 60), bool)), r"its shape is \(60, 60\), not \(120, 120"),
    (f"{SCAN}/mask.npy", npy(np.array([Runs()]), allow_pickle=True), "Python objects"),
    (f"{SCAN}/mask.npy", pickle.dumps(Runs()), "magic string"),
    (f"{SCAN}/camera_scale.npy", npy(np.ones((16, 16), np.float32)), "it lacks half_range"),
    (f"{SCAN}/preprocessed.up2", UP2, "patterns missing"),
    (f"{SCAN}/preprocessed.up2", UP2[:20], "ends inside its header"),
    (f"{SCAN}/preprocessed.up2", SMALL_UP2, r"its shape is \(16, 16, 60, 60\), not \(16, 16, 120"),
    (f"{SCAN}/orientations.h5", b"", "signature"),
    (f"{SCAN}/orientations.h5", h5(lambda file: file.create_group("a")), "cannot be read"),
    (f"{SCAN}/orientations.h5", h5(link_outside), "lie in another file"),
    (f"{MODEL}/card.json", b"{}", "it lacks presentations"),
    (f"{MODEL}/history.csv", b"", "No columns"),
    (f"{MODEL}/history.csv", HEAD.encode(), "it holds no line"),
    (f"{MODEL}/history.csv", b"step,loss\n1,2\n", "it lacks presentations"),
    (f"{MODEL}/history.csv", (HEAD + ",".join("abcdefghijklm")).encode(), "to float"),
    (f"{MODEL}/history.csv", bytes(range(256)), "tokenizing"),
    (f"{MODEL}/weights.safetensors", b"", "[Hh]eader"),
    (f"{MODEL}/weights.safetensors", b"\xff" * 100, "[Hh]eader"),
    (f"{MODEL}/weights.safetensors", pickle.dumps(Runs()), "[Hh]eader"),
    (f"{SEEN}/latents.npy", npy(np.zeros((16, 16, 16), np.float32))[:-1], "mmap length"),
    (f"{SEEN}/latents.npy", npy(np.zeros((16, 16, 8), np.float32)), r"not \(16, 16, 16\)"),
    (f"{SEEN}/latents.npy", npy(np.zeros((16, 15, 16), np.float32)), r"not \(16, 16, 16\)"),
    (f"{SEEN}/latents.npy", npy(np.zeros((16, 16, 16), complex)), "it lacks float32"),
    (f"{SEEN}/features.csv", b"feature,variance,active,moran_i\n0,1,True,0.5\n", r"not \(16\)"),
    (f"{SEEN}/features.csv", b"feature\n", "it lacks variance"),
    (f"{SEEN}/residual.json", b'{"mae_counts": Infinity}', "no numbers as mae_counts"),
    (f"{SEEN}/pattern_loss.npy", npy(np.zeros(256, np.float32)), r"not \(16, 16\)"),
    (f"{SEEN}/generated.npy", npy(np.zeros((4, 60, 60), np.float32)), r"not \(n, 120, 120\)"),
    ("baselines/spectrum.json", b'{"eigenvalues": [1], "total": null}', "no numbers as total"),
]


@pytest.mark.parametrize(("name", "content", "fault"), FITTING)
def test_a_foreign_file_with_a_record_that_fits_is_not_used(study, name, content, fault):
    study.damage(name, content, record_fits=True)
    sentence = study.said(lambda: study.open(name))
    assert re.search(fault, sentence)
    assert f"{name} of study 'smoke' cannot be read (" in sentence
    assert "): remove it. Make it with: python -m kikuhelpers smoke 0" in sentence
    assert not os.path.exists("/tmp/a-pickle-ran")


def test_weights_of_another_network_are_not_used(study):
    weights = {"decoder.project.weight": np.zeros((2, 2), np.float32)}
    path = study.layout.folder / "other.safetensors"
    save_file(weights, path)
    study.damage(f"{MODEL}/weights.safetensors", path.read_bytes(), record_fits=True)
    sentence = study.said(lambda: load_model(Results(study.layout.study), "vae-16"))
    assert "weights.safetensors" in sentence and "remove it" in sentence


@pytest.mark.parametrize(
    "content", [b"", b"junk", pickle.dumps({"mean": Runs()}), npy(np.zeros(3)), b"PK\3\4junk"]
)
def test_damaged_components_are_not_used(study, content):
    study.damage("baselines/pca.npz", content)
    sentence = study.said(lambda: principal_components(Results(study.layout.study)))
    assert "pca.npz cannot be read (" in sentence and sentence.endswith("): remove it.")


def test_components_that_are_none_are_fitted_anew(study):
    """A file of numbers, of the right sample: but not orthonormal."""
    path = study.path("baselines/pca.npz")
    study.keep(path)
    study.keep(study.path("baselines/spectrum.json"))
    with np.load(path) as stored:
        known = dict(stored)
    np.savez(path, **known | {"components": np.ones_like(known["components"])})
    found = principal_components(Results(study.layout.study))
    np.testing.assert_allclose(found.eigenvalues, known["eigenvalues"], rtol=1e-3)


# ------------------------------------------------------------------------------ records

RECORDS = [
    (None, "has not run yet"),
    (b"", "Expecting value"),
    (b"null", "NoneType"),
    (b"[1]", "it lacks fingerprint"),
    (b"\xff", "decode"),
    (b"[" * 100_000, "nested too deep"),
    ("hardware", "it lacks hardware"),
    ("seconds", "it lacks seconds"),
    ("outputs", "it lacks outputs"),
    ({"fingerprint": "0"}, "made with other settings"),
    ({"scans": [1]}, "it lacks scans"),
    ({"scans": {"wrought": "0"}}, "of another scan"),
    ({"scans": {"ghost": "0"}}, "has no scan 'ghost'"),
    ({"outputs": []}, "it lacks outputs"),
    ({"seconds": "12"}, "it lacks seconds"),
    ({"seconds": None}, "no numbers as seconds"),
    ({"commit": {}}, "it lacks commit"),
    ({"schema": 3}, "another version of kikuhelpers wrote it, of schema 3"),
]


@pytest.mark.parametrize(("change", "fault"), RECORDS)
def test_a_damaged_record_is_not_used(study, change, fault):
    """Neither are the results of its job, which counts as not run."""
    job = Job(TRAINING, ("vae-16",))
    path = study.layout.record(job.stage, *job.parts)
    study.keep(path)
    record = load_json(path)
    if isinstance(change, str):
        del record[change]
    content = json.dumps(record | change if isinstance(change, dict) else record).encode()
    path.write_bytes(change if isinstance(change, bytes) else content)
    if change is None:
        path.unlink()
    sentence = study.said(lambda: study.open(f"{MODEL}/card.json"))
    assert re.search(fault, sentence), sentence
    assert "Make it with: python -m kikuhelpers smoke 0" in sentence
    assert sentence.endswith(" 04_training.vae-16")
    assert Results(study.layout.study).lacks(job) == sentence
    assert "04_training.vae-16" not in collect(Results(study.layout.study))["runs"]


def test_results_of_the_first_schema_are_read(study):
    """Whose records have a digest of both ends alone."""
    record = study.layout.record(TRAINING, "vae-16")
    study.keep(record)
    content = load_json(record)
    for name in content["outputs"]:
        content["outputs"][name] = digest(study.path(name), blocks=2)
    save_json(record, {n: v for n, v in content.items() if n not in ("schema", "sha256")})
    assert not Results(study.layout.study).lacks(Job(TRAINING, ("vae-16",)))
    assert len(study.open(f"{MODEL}/history.csv")) > 1


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'{"a": null}', b'{"a": {"files": 1}}'])
def test_a_damaged_list_of_figures_is_drawn_anew(study, content):
    path = study.layout.figures / "figures.json"
    study.keep(path)
    path.write_bytes(content)
    assert "figures.json" in Results(study.layout.study).lacks(Job(FIGURES))
    assert not Results(study.layout.study).lacks(Job(TABLE1))


# ------------------------------------------------------------------------------ archive


def read_all(archive):
    archive.shown_patterns()
    for job in jobs_of(archive.layout.study):
        for path in archive.layout.outputs(job) if job.parts else ():
            archive.find(path)


@pytest.mark.parametrize("file", ["scan.wrought.npz", "model.vae-16.npz", "shown_patterns.npz"])
def test_a_damaged_archive_is_not_used(study, file):
    archive = Archive(study.layout)
    shutil.rmtree(study.layout.archive, ignore_errors=True)
    archive.write(Results(study.layout.study))
    path = study.layout.archive / file
    for content in (b"", cut(path.read_bytes()), pickle.dumps(Runs()), turned(path.read_bytes())):
        path.write_bytes(content)
        sentence = study.said(lambda: read_all(archive))
        assert str(path) in sentence
        assert sentence.endswith("check it out again, or remove it.")


# ------------------------------------------------------------------------------ verify


def test_verify_reads_every_file(study, monkeypatch, capsys):
    from kikuhelpers.__main__ import main

    assert main(["verify", "smoke"]) == 0
    said = capsys.readouterr().out
    files = [path for job in jobs_of(study.layout.study) for path in study.layout.outputs(job)]
    assert said.count("\nok ") + said.startswith("ok ") == len(files)
    assert said.endswith(
        f"{len(files)} files, 0 faulty; of 0 older jobs both ends of files count.\n"
    )
    study.damage(f"{SEEN}/decoded.up2", turned(study.path(f"{SEEN}/decoded.up2").read_bytes()))
    assert main(["verify", "smoke"]) == 1
    said = capsys.readouterr().out
    assert f"faulty  {SEEN}/decoded.up2 of study 'smoke' is not the file that 06_recon" in said
    assert said.endswith(
        f"{len(files)} files, 1 faulty; of 0 older jobs both ends of files count.\n"
    )
    assert main(["verify", "smoke", "04_training.vae-16"]) == 0
    assert capsys.readouterr().out.count("ok ") == 3, "weights, card and history"
    assert main(["verify", "smoke", "vae-16"]) == 2
    assert "Study 'smoke' has no job 'vae-16'; it has 01_" in capsys.readouterr().err


def test_a_checkpoint_that_is_whole_but_no_checkpoint_is_left_aside(study, capsys):
    """Its SHA-256 is right: of a pickle, which is not run."""
    files = study.layout.model("vae-16")
    body = pickle.dumps(Runs(), protocol=2)  # which torch reads
    files.checkpoint.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert load_checkpoint(files) is None
    files.checkpoint.unlink()
    assert "checkpoint.pt cannot be read (" in capsys.readouterr().out
    assert not os.path.exists("/tmp/a-pickle-ran")


def test_what_a_result_holds_is_declared():
    kinds = (ScanFiles, ModelFiles, ModelScanFiles, BaselineScanFiles, SampleFiles)
    silent = {result.name for kind in kinds for result in kind.results() if not result.holds}
    # A network knows the shapes of its weights; the background is what a user's file brings.
    assert silent == {"weights.safetensors", "brought.npy"}


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (3 << 20) - 1, 3 << 20])
def test_of_a_small_file_every_byte_counts(tmp_path, size):
    path, content = tmp_path / "a", bytearray(size)
    path.write_bytes(content)
    found = {digest(path)}
    for place in {0, size // 3, size // 2, size - 1} if size else ():
        content[place] ^= 1
        path.write_bytes(content)
        found.add(digest(path))
        content[place] ^= 1
    assert len(found) == 1 + len({0, size // 3, size // 2, size - 1} if size else ())
    assert not whole_digest(path)


def test_of_a_large_file_a_part_counts_and_verify_reads_all(tmp_path):
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(200 << 20)  # sparse: it takes no room
    before, whole = digest(path), whole_digest(path)
    with path.open("r+b") as file:
        file.seek(100 << 20)
        file.write(b"1" * (4 << 20))
    assert digest(path) != before, "4 MiB in the middle cannot be missed"
    assert whole and whole_digest(path) != whole


# ------------------------------------------------------------------------------ again


@pytest.fixture
def again(study, monkeypatch, capsys):
    """Rerun a record in the command's way: its status, and what it says."""
    from kikuhelpers.__main__ import main

    def times():
        paths = (p for n in ("results/smoke", "figures") for p in (study.root / n).rglob("*"))
        return {path: path.lstat().st_mtime_ns for path in paths}

    def run(path):
        before, place = times(), study.root / "results" / "again"
        status, said = main(["again", str(study.root / path)]), capsys.readouterr()
        assert times() == before and not [*place.iterdir()], "it writes in its own folder alone"
        return status, said.out + said.err

    return run


@pytest.fixture
def as_before(study, monkeypatch):
    """In place of notebooks: their results as they were, some changed by name."""
    before, changes = study.layout, {}
    made = {job: before.outputs(job) for job in jobs_of(before.study)}

    def run(rerun, job):
        now = rerun._layout
        for path in filter(Path.is_file, made[job]):
            of = path.parent == before.figures
            to = now.figures / path.name if of else now.folder / path.relative_to(before.folder)
            to.unlink(missing_ok=True)
            to.write_bytes(changes.get(path.name, bytes)(path.read_bytes()))
        Record(Results(now.study), job).close()

    monkeypatch.setattr("kikuhelpers.runs.again._Rerun._run", run)
    return changes


def record_of(job):
    return f"results/smoke/runs/{job}.json"


def test_a_notebook_runs_again_and_says_how_its_numbers_differ(study, again):
    mask = np.load(study.path(f"{SCAN}/mask.npy"))
    mask[:2, :3] ^= True
    study.damage(f"{SCAN}/mask.npy", npy(mask), record_fits=True)
    status, said = again(record_of("02_preprocessing.wrought"))
    assert status == 1 and f"{SCAN}/mask.npy: differs in 6 of 14,400 values\n" in said
    assert said.count(": identical\n") == 3 and said.endswith("3 of 4 files match.\n")


def of_array(change):
    def changed(content):
        array = np.load(io.BytesIO(content))
        change(array)
        return npy(array)

    return changed


DIFFERENT = {
    ("02_preprocessing.wrought", "background.npy"): (
        of_array(lambda a: a.__setitem__((0, slice(3)), a[0, :3] * 2 + 1)),
        "differs in 3 of 14,400 values, by up to ",
    ),
    ("02_preprocessing.wrought", "camera_scale.npy"): (
        of_array(lambda a: a["half_range"].__setitem__((0, 0), np.nan)),
        "differs in 1 of 1,024 values",
    ),
    ("03_indexing.wrought", "pattern_centre.json"): (
        lambda content: content.replace(b"0.", b"1.", 1),
        "differs in 1 of ",
    ),
    ("05_latent_maps.vae-16.wrought", "features.csv"): (
        lambda content: content.replace(b"\n0,", b"\n64,", 1),
        "differs in 1 of ",
    ),
    ("05_latent_maps.vae-16.wrought", "latents.npy"): (
        lambda content: npy(np.zeros((2, 2, 16), np.float32)),
        "differs in names or shapes",
    ),
    ("04_training.vae-16", "card.json"): (
        lambda content: re.sub(rb'"seconds": \d+', b'"seconds": 7', content),
        "other bytes, the same values (times and commits left out)",
    ),
    ("06_reconstruction.vae-16.wrought", "decoded.up2"): (
        turned,
        "differs in 1 of 3,686,400 values",
    ),
    ("09_table1", "learning_curves.png"): (turned, "differs"),
    ("12_claims", "claims.csv"): (
        lambda content: re.sub(rb",\w+\n", b",another\n", content).replace(
            b"another", b"commit", 1
        ),
        "other bytes, the same values (times and commits left out)",
    ),
}


@pytest.mark.parametrize(("job", "name"), DIFFERENT)
def test_what_differs_is_counted(again, as_before, job, name):
    as_before[name], said = DIFFERENT[job, name]
    status, lines = again(record_of(job))
    (line,) = (line for line in lines.splitlines() if line.partition(": ")[0].endswith(name))
    assert said in line and status == ("differs" in said)
    assert "other settings" not in lines, "models and scans are in the order of the record"
    assert lines.count(": identical\n") == lines.count(": ") - 1


def test_what_differs_of_settings_and_surroundings_is_said(study, again, as_before, tmp_path):
    text = (PROJECT_ROOT / "studies" / "smoke.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text + "seed: 2\n")
    path = study.path("runs/05_latent_maps.vae-16.wrought.json")
    study.keep(path)
    record = load_json(path)
    record["versions"]["numpy"] = "1.0"
    save_json(path, record | {"study_file": str(tmp_path / "other.yaml")})
    status, said = again(record_of(path.stem))
    assert status == 0 and f"versions.numpy was 1.0, is {np.__version__}\n" in said
    assert "settings.seed was 1, is 2\n" in said


def test_an_input_that_was_made_since_is_said(study, again, as_before):
    record = study.path("runs/02_preprocessing.wrought.json")
    at = record.stat()
    os.utime(record)
    status, said = again(record_of("03_indexing.wrought"))
    assert status == 0 and "02_preprocessing.wrought has run since, and may have" in said
    os.utime(record, ns=(at.st_atime_ns, at.st_mtime_ns))


def test_an_output_that_is_not_the_record_s_is_not_compared_with(study, again, as_before):
    study.damage(f"{SCAN}/mask.npy", turned(study.path(f"{SCAN}/mask.npy").read_bytes()))
    status, said = again(record_of("02_preprocessing.wrought"))
    assert status == 1 and f"{SCAN}/mask.npy of study 'smoke' is not the file that 02_prep" in said
    assert f"{SCAN}/mask.npy: differs; by how much is unknown, for the file on disk is not" in said


def test_tables_and_figures_are_made_again_of_the_record_beside_them(study, again, as_before):
    not_in_git = study.root / "figures/smoke/learning_curves.pdf"
    study.keep(not_in_git)
    not_in_git.unlink()
    status, said = again("figures/smoke/run.json")
    assert status == 0 and "11_figures runs again" in said and "differs" not in said
    assert "learning_curves.png: identical" in said and not_in_git.name not in said


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (record_of("05_latent_maps.vae-16.wrought"), "wrought cannot run again as it did: "
         f"{SCAN}/preprocessed.up2 of study 'smoke' is not the file that 02_prepro"),
        ("results/smoke/said.txt", "said.txt cannot be read ("),
        ("figures/smoke/figures.json", "figures.json cannot be read ('study'): name results/<st"),
        ("figures/smoke/old/run.json", "run.json cannot be read ('07_table1'): name results/"),
    ],
)  # fmt: skip
def test_what_cannot_run_again_is_said_in_one_sentence(study, again, path, sentence):
    study.damage(
        f"{SCAN}/preprocessed.up2", turned(study.path(f"{SCAN}/preprocessed.up2").read_bytes())
    )
    old = load_json(study.root / "figures/smoke/run.json")
    save_json(study.root / "figures/smoke/old/run.json", old | {"runs": {"07_table1": {}}})
    status, said = again(path)
    assert status == 2 and sentence in said and said.count("\n") == 1
    shutil.rmtree(study.root / "figures/smoke/old")


def test_what_a_killed_rerun_left_goes_at_the_next_start(study, again):
    left = temporary_name(study.root / "results" / "again" / "run.tmp")
    left = left.with_name(left.name.replace(f"{os.getpid()}", "99999999"))
    left.mkdir(parents=True)
    (left / "link").symlink_to(study.path(f"{SCAN}/mask.npy"))
    assert again("nothing")[0] == 2 and study.path(f"{SCAN}/mask.npy").is_file()
