"""Bad inputs: what a user or a stranger may hand in, and that each ends in one sentence.

``CASES`` is the one list: group, name, and what is done with the bad input, in a folder of its own.
A test tries each; ``python -m docs.bad_inputs`` writes the sentences to ``docs/bad_inputs.csv``.
More groups are added by appending to the list, here or in another module that is imported there.
"""

import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import h5py
import numpy as np
import scipy.io
import yaml

from kikuhelpers.patterns.up2 import _HEAD, open_patterns
from kikuhelpers.preprocessing.preprocess import preprocess
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.scans import readers
from kikuhelpers.study import load_study
from kikuhelpers.study.scans import ArrayData, FileData, Scan, ScanPreprocessing
from kikuhelpers.study.study import Preprocessing
from tests.conftest import scan_files, write_scan


class Case(NamedTuple):
    group: str
    name: str
    attempt: Callable[[Path], object]  # takes a folder of its own; ends in a SentenceError


CASES: list[Case] = []


def sentence_of(case: Case) -> str:
    """Try a case in a fresh folder; return its sentence without that folder's name.

    What is no SentenceError passes through; "" where nothing was wrong.
    """
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "case"
        folder.mkdir()
        try:
            case.attempt(folder)
        except SentenceError as error:
            return str(error).replace(str(folder), "<folder>")
    return ""


def add(group: str, cases: dict[str, Callable[[Path], object]]) -> None:
    """Append cases of one group, by their names."""
    CASES.extend(Case(group, name, attempt) for name, attempt in cases.items())


# Study files.

STUDY = {
    "title": "A test",
    "scans": {"mine": {"data": {"path": "scan.up2"}}},
    "models": {"vae-16": {"latent_dim": 16}},
}
REST = yaml.safe_dump({key: value for key, value in STUDY.items() if key != "title"})
LAUGHS = "".join(f"l{n + 1}: &l{n + 1} [{', '.join([f'*l{n}'] * 9)}]\n" for n in range(12))
MERGES = "".join(f"m{n + 1}: &m{n + 1} {{<<: [{', '.join([f'*m{n}'] * 9)}]}}\n" for n in range(12))


def of_text(text: str | bytes, overrides: dict | None = None) -> Callable:
    """Load a study file of this content."""

    def attempt(folder: Path):
        path = folder / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_study(path, overrides)

    return attempt


def of_study(**changes) -> Callable:
    """Load a study that is good but for these settings; ``None`` takes one away."""
    content = {key: value for key, value in (STUDY | changes).items() if value is not None}
    return of_text(yaml.safe_dump(content))


def overriding(overrides) -> Callable:
    return of_text(yaml.safe_dump(STUDY), overrides)


def of_folder(folder: Path):
    (folder / "mine.yaml").mkdir()
    return load_study(folder / "mine.yaml")


def unreadable(folder: Path):
    (folder / "mine.yaml").symlink_to(folder / "mine.yaml")
    return load_study(folder / "mine.yaml")


add(
    "study files",
    {
        "not there": lambda folder: load_study(folder / "mine.yaml"),
        "a folder in place of a file": of_folder,
        "a link to itself": unreadable,
        "empty": of_text(""),
        "a list": of_text("[1, 2]"),
        "a line of text": of_text("hello"),
        "a number": of_text("7"),
        "not YAML": of_text("models: ["),
        "a tab": of_text("models:\n\t- 1"),
        "control characters": of_text("title: \0"),
        "not UTF-8": of_text("title: Prüfung".encode("latin-1")),
        "UTF-16 cut off": of_text(b"\xff\xfet\0i"),
        "random bytes": of_text(bytes(range(256))),
        "two documents": of_text("title: a\n---\ntitle: b\n"),
        "a Python object": of_text("title: !!python/object/apply:os.system ['echo no']"),
        "an unknown tag": of_text("title: !secret a"),
        "an alias to nothing": of_text("title: *nowhere"),
        "an alias to itself": of_text("title: &t [*t]\n" + REST),
        "a merge with itself": of_text("title: &t {<<: *t}\n" + REST),
        "aliases that multiply": of_text("l0: &l0 [a, b]\n" + LAUGHS),
        "merges that multiply": of_text("m0: &m0 {a: 1}\n" + MERGES),
        "5,000 lists deep": of_text("title: " + "\n" + "- " * 5000 + "a"),
        "5,000 mappings deep": of_text("{a: " * 5000 + "1" + "}" * 5000),
        "a key given twice": of_text("title: a\ntitle: b\n" + REST),
        "a scan given twice": of_text("scans: {a: {data: {path: b}}, a: {data: {path: c}}}"),
        "a list as a key": of_text("[1, 2]: a\n" + REST),
        "a number as a key": of_text("1: a\n" + yaml.safe_dump(STUDY)),
        "a date as the title": of_study(title=yaml.safe_load("2020-01-01")),
        "an impossible date": of_text("title: 2020-99-99\n" + REST),
        "scans are a list": of_study(scans=[1, 2]),
        "scans are text": of_study(scans="mine"),
        "scans are missing": of_study(scans=None),
        "scans are none": of_study(scans={}),
        "a scan is a number": of_study(scans={"mine": 7}),
        "a scan's data are a list": of_study(scans={"mine": {"data": [1]}}),
        "a scan's path is a list": of_study(scans={"mine": {"data": {"path": [1]}}}),
        "a scan's path is empty": of_study(scans={"mine": {"data": {"path": None}}}),
        "a scan of an unknown user": of_study(scans={"mine": {"data": {"path": "~nouser/a.up2"}}}),
        "weights of an unknown user": of_study(
            models={"m": {"latent_dim": 16, "weights": "~nouser/a.safetensors"}}
        ),
        "models are text": of_study(models="vae"),
        "models are missing": of_study(models=None),
        "an unknown setting": of_study(sceed=1),
        "based on a list": of_study(based_on=[1]),
        "based on nothing there": of_study(based_on="nowhere"),
        "based on itself": of_study(based_on="mine.yaml"),
        "overrides are a list": overriding([1]),
        "overrides are text": overriding("seed"),
        "an override of a number": overriding({1: 2}),
        "an override within a value": overriding({"title.a": 1}),
        "an override of nothing known": overriding({"a.b.c": 1}),
        "an override that is no JSON": overriding({"seed": {1, 2}}),
        "an override with an empty name": overriding({"": 1}),
        "an override into a list": overriding({"figures": [1], "figures.a": 1}),
    },
)

# Names of scans and models. Those of NAMES_THAT_WORK are tried in tests/test_bad_inputs.py.

NAMES_THAT_WORK = ["718", "007", "1e5", "None", "nan", "true", "a.b", "a-b_c", "0"]


def named(name) -> Callable:
    return of_study(scans={name: {"data": {"path": "scan.up2"}}})


add(
    "names",
    {
        f"a scan '{name}'": named(name)
        for name in (
            "",
            " ",
            "a b",
            "a/b",
            "../a",
            "..",
            ".hidden",
            "-a",
            "a\nb",
            "a\0b".replace("\0", "\x01"),
            "$(touch x)",
            "`x`",
            "a;b",
            "a'b",
            'a"b',
            "{a}",
            "a#b",
            "a: b",
            "a*",
            "a\\b",
            "<script>",
            "ü",
            "名",
            "a\u202eb",
            "a" * 300,
        )
    }
    | {
        "a scan named by a number": named(718),
        "a scan named by octal digits": of_text("scans: {007: {data: {path: a}}}"),
        "a scan named by a fraction": named(1.5),
        "a scan named by nothing": named(None),
        "a scan named yes": of_text("scans: {yes: {data: {path: a}}}"),
        "a model named $(x)": of_study(models={"$(x)": {"latent_dim": 16}}),
        "a study named a b": of_study(name="a b"),
        "a study named by a number": of_study(name=7),
        "a study named ../up": of_study(name="../up"),
    },
)

# Settings.

INF, NAN = float("inf"), float("nan")


def mine(**settings) -> Callable:
    return of_study(scans={"mine": {"data": {"path": "a.up2", "map_shape": [9, 9]}} | settings})


def region(**box) -> Callable:
    content = {"figures": {"regions": {"4B": {"scan": "mine"} | box}}}
    scans = {"mine": {"data": {"path": "a.up2", "map_shape": [9, 9]}}}
    return of_study(scans=scans, **content)


def model(**settings) -> Callable:
    return of_study(models={"m": {"latent_dim": 16} | settings})


add(
    "settings",
    {
        "bands: 1000": of_study(indexing={"bands": 1000}),
        "bands: 2": of_study(indexing={"bands": 2}),
        "kam_order: 1000": of_study(indexing={"kam_order": 1000}),
        "kam_order: 0": of_study(indexing={"kam_order": 0}),
        "kam_limit_deg: .inf": of_study(indexing={"kam_limit_deg": INF}),
        "grain_deg: .nan": of_study(indexing={"grain_deg": NAN}),
        "grain_deg: -1": of_study(indexing={"grain_deg": -1}),
        "theta_step_deg: 1e-9": of_study(indexing={"theta_step_deg": 1e-9}),
        "theta_step_deg: 1000": of_study(indexing={"theta_step_deg": 1000}),
        "rho_bins: 10000000": of_study(indexing={"rho_bins": 10**7}),
        "rho_fraction: 2": of_study(indexing={"rho_fraction": 2}),
        "phase: Ni": of_study(indexing={"phase": "Ni"}),
        "space_group: 231": of_study(
            indexing={"phase": {"name": "x", "space_group": 231, "lattice_nm": 0.3}}
        ),
        "lattice_nm: .inf": of_study(
            indexing={"phase": {"name": "x", "space_group": 225, "lattice_nm": INF}}
        ),
        "learning_rate: .inf": of_study(training={"epochs": 1, "learning_rate": INF}),
        "learning_rate: .nan": of_study(training={"epochs": 1, "learning_rate": NAN}),
        "batch_size: 0": of_study(training={"epochs": 1, "batch_size": 0}),
        "epochs: 1.5": of_study(training={"epochs": 1.5}),
        "log_variance_bounds: [-.inf, 3]": of_study(
            training={"epochs": 1, "log_variance_bounds": [-INF, 3]}
        ),
        "latent_dim: 17": model(latent_dim=17),
        "beta: .inf": model(beta=INF),
        "beta: -1": model(beta=-1),
        "a model's seed: -1": model(seed=-1),
        "seed: -1": of_study(seed=-1),
        "seed: 2**70": of_study(seed=2**70),
        "search_radius: 1000000": of_study(
            baselines={"n": {"method": "nlpar", "search_radius": 10**6}}
        ),
        "components: 1000000": of_study(baselines={"p": {"method": "pca", "components": 10**6}}),
        "step_um: .inf": mine(data={"path": "a.up2", "step_um": INF}),
        "step_um: 0": mine(data={"path": "a.up2", "step_um": 0}),
        "map_shape: [0, 11]": mine(data={"path": "a.up2", "map_shape": [0, 11]}),
        "map_shape: [3]": mine(data={"path": "a.up2", "map_shape": [3]}),
        "offset: 0": mine(data={"path": "a.up2", "offset": 0}),
        "binning: 0": mine(preprocessing={"binning": 0}),
        "a pattern centre that is no number": mine(indexing={"pattern_centre": [NAN, 0.5, 0.5]}),
        "a pattern centre in per cent": mine(indexing={"pattern_centre": [50, 50, 60]}),
        "an EMsoft centre that is no number": mine(
            indexing={"pattern_centre": {"emsoft": [NAN, 0, 1e4], "pixel_um": 50}}
        ),
        "sample_tilt_deg: .nan": mine(indexing={"sample_tilt_deg": NAN}),
        "screen_um: 1": mine(indexing={"screen_um": 1}),
        "a mask without extent": of_study(
            preprocessing={"mask": {"centre": [60, 60], "radius": 0}}
        ),
        "a mask at .nan": of_study(preprocessing={"mask": {"centre": [NAN, 60], "radius": 9}}),
        "a region outside the map": region(rows=[0, 99], columns=[0, 9]),
        "a region from -1": region(rows=[-1, 5], columns=[0, 5]),
        "a region without extent": region(rows=[5, 5], columns=[0, 5]),
        "a region of no scan": region(scan="x", rows=[0, 5], columns=[0, 5]),
        "grain_deg: .inf": of_study(indexing={"grain_deg": INF}),
    },
)

# UP files.

UP_SHAPE = (2, 3, 8, 8)
FIELDS = {"version": 3, "width": 8, "height": 8, "offset": 42, "columns": 3, "rows": 2}
FIELDS |= {"x_step_um": 1.0, "y_step_um": 1.0}


def up(ending: str = ".up2", more: bytes = b"", cut: int = 0, pixel="u2", **fields) -> Callable:
    """Open and survey a file of version 3 whose head says something else, or that is cut off."""

    def attempt(folder: Path):
        head = np.zeros(1, _HEAD)
        for name, value in (FIELDS | fields).items():
            head[name] = value
        patterns = np.arange(np.prod(UP_SHAPE)).astype(pixel)
        content = head.tobytes() + patterns.tobytes() + more
        path = folder / f"scan{ending}"
        path.write_bytes(content[: len(content) - cut])
        return readers.open_data(FileData(path=str(path)))

    return attempt


def up_bytes(content: bytes, ending: str = ".up2", **settings) -> Callable:
    def attempt(folder: Path):
        (folder / f"scan{ending}").write_bytes(content)
        return readers.open_data(FileData(path=str(folder / f"scan{ending}"), **settings))

    return attempt


PATTERN = bytes(8 * 8 * 2)
V1 = struct.pack("<4I", 1, 8, 8, 16)
add(
    "UP files",
    {f"patterns stated to begin at byte {n}": up(offset=n) for n in (0, 10, 16, 41, 43, 2**32 - 1)}
    | {
        "a map of 0 x 0": up(rows=0, columns=0),
        "a map of 0 x 11": up(rows=0, columns=11),
        "a map of 4 billion squared": up(rows=2**32 - 1, columns=2**32 - 1),
        "patterns without width": up(width=0),
        "patterns of 4 billion px squared": up(width=2**32 - 1, height=2**32 - 1),
        "version 0": up(version=0),
        "version 2": up(version=2),
        "version 1,000": up(version=1000),
        "3 bytes too many": up(more=b"abc"),
        "a whole pattern too many": up(more=PATTERN),
        "a byte too few": up(cut=1),
        "a pattern too few": up(cut=len(PATTERN)),
        "no pattern": up(cut=6 * len(PATTERN)),
        "cut off in its head": up(cut=6 * len(PATTERN) + 20),
        "16-bit patterns named .up1": up(".up1"),
        "8-bit patterns named .up2": up(pixel="u1"),
        "a hexagonal grid that it does not hold": up(hexagonal=1, rows=9, columns=9),
        "empty": up_bytes(b""),
        "10 bytes": up_bytes(b"0123456789"),
        "text": up_bytes(b"This is no pattern file at all, but a long line of text. " * 9),
        "version 1 without map_shape": up_bytes(V1 + PATTERN * 6),
        "version 1 with a wrong map_shape": up_bytes(V1 + PATTERN * 6, map_shape=(2, 2)),
        "rows that are not there": up_bytes(V1 + PATTERN * 6, map_shape=(2, 3), rows=(1, 9)),
        "an offset beyond the end": up_bytes(V1 + PATTERN * 6, map_shape=(2, 3), offset=10**6),
    }
    | {
        f"a step of {step:g}": up(x_step_um=step, y_step_um=step)
        for step in (NAN, INF, -1.0, 0.0, 1e300)
    }
    | {"unequal steps": up(y_step_um=5.0)},
)

# Other formats of scans.


def junk(name: str, content: bytes = b"junk" * 300) -> Callable:
    def attempt(folder: Path):
        (folder / name).write_bytes(content)
        return readers.open_scan(folder / name)

    return attempt


def array(name: str, write: Callable[[Path], object], **settings) -> Callable:
    """Convert an array that ``write`` has written."""

    def attempt(folder: Path):
        write(folder / name)
        shapes = {"map_shape": (2, 3), "pattern_shape": (60, 80)}
        data = ArrayData(source="array", path=str(folder / name), **(shapes | settings))
        patterns, _ = readers.open_data(data)
        return [np.asarray(part) for part in readers._counts(data, patterns)]

    return attempt


def saved(values) -> Callable:
    return lambda path: np.save(path, values)


def zipped(path: Path):
    with ZipFile(path, "w") as file:
        file.writestr("arr_0.npy", b"junk")


def unpacking(path: Path):
    """Write a .mat file of some kB that states an array of another size, and 20 MB of zeros."""
    scipy.io.savemat(path, {"scan": np.zeros((20, 1000, 1000), np.uint8)}, do_compression=True)


def unpacking_elsewhere(path: Path):
    bomb = np.zeros((20, 1000, 1000), np.uint8)
    scipy.io.savemat(path, {"scan": {"a": bomb}}, do_compression=True)


def linking(kind: str) -> Callable:
    """Write HDF5 whose data lie in another file, by each of the ways that HDF5 has."""

    def write(path: Path):
        other = path.with_name("other.h5")
        with h5py.File(other, "w") as file:
            file["scan"] = np.arange(2 * 3 * 60 * 80, dtype=np.uint16).reshape(2, 3, 60, 80)
        with h5py.File(path, "w") as file:
            if kind == "external link":
                file["scan"] = h5py.ExternalLink(other.name, "scan")
            elif kind == "link in a group":
                file["a/b"] = h5py.ExternalLink(other.name, "/")
                file["scan"] = h5py.SoftLink("/a/b/scan")
            elif kind == "external storage":
                size = 2 * 3 * 60 * 80 * 2
                where = [(str(other), 0, size)]
                file.create_dataset("scan", (2, 3, 60, 80), np.uint16, external=where)
            else:
                layout = h5py.VirtualLayout((2, 3, 60, 80), np.uint16)
                layout[:] = h5py.VirtualSource(str(other), "scan", (2, 3, 60, 80))
                file.create_virtual_dataset("scan", layout)

    return write


def kikuchipy_linking(folder: Path):
    """Open a scan of kikuchipy's format whose patterns are a link to another file."""
    import kikuchipy

    path, other = folder / "scan.h5", folder / "other.h5"
    kikuchipy.signals.EBSD(np.ones((2, 3, 60, 60), np.uint8)).save(path)
    with h5py.File(path, "r+") as file, h5py.File(other, "w") as elsewhere:
        place = "Scan 1/EBSD/Data/patterns"
        elsewhere["patterns"] = file[place][()]
        del file[place]
        file[place] = h5py.ExternalLink(other.name, "patterns")
    return readers.open_scan(path)


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(500)
SCAN = np.arange(2 * 3 * 60 * 80, dtype=np.uint16).reshape(2, 3, 60, 80)
DATASET = {"dataset": "scan"}
add(
    "other formats",
    {f"junk named {n}": junk(n) for n in ("scan.ebsp", "scan.npz", "Setting.txt", "Pattern.dat")}
    | {f"junk named {n}": junk(n) for n in ("scan.h5", "scan.oh5", "scan.h5oina", "scan.xyz")}
    | {f"junk named {n}": junk(n) for n in ("scan.png", "scan.tif", "scan.bmp", "scan")}
    | {f"an empty {n}": junk(n, b"") for n in ("scan.ebsp", "scan.h5", "scan.tif", "scan.npz")}
    | {f"a broken HDF5 named {n}": junk(n, HDF5) for n in ("scan.h5", "scan.oh5", "scan.h5oina")}
    | {
        "a zip of junk named .npz": lambda folder: (
            zipped(folder / "a.npz"),
            readers.open_scan(folder / "a.npz"),
        )
    }
    | {"a zip named .npy": array("a.npy", zipped)}
    | {"a folder without images": readers.open_scan}
    | {"a scan that is not there": lambda folder: readers.open_scan(folder / "scan.h5")}
    | {
        "MATLAB's order of axes": array("a.npy", saved(SCAN.transpose(3, 2, 1, 0))),
        "columns before rows": array("a.npy", saved(SCAN.transpose(1, 0, 2, 3))),
        "patterns on their side": array("a.npy", saved(SCAN.swapaxes(2, 3))),
        "another shape of the right product": array("a.npy", saved(SCAN.reshape(6, 80, 60))),
        "all in one line": array("a.npy", saved(SCAN.ravel())),
        "an .npy with pickled objects": array(
            "a.npy", lambda path: np.save(path, np.array([print] * 3, object), allow_pickle=True)
        ),
        "an .npy cut off": array(
            "a.npy", lambda path: (np.save(path, SCAN), path.write_bytes(path.read_bytes()[:999]))
        ),
        "a flat file of another size": array("a.raw", lambda path: path.write_bytes(b"abc")),
        "a .mat that unpacks to 20 MB": array("a.mat", unpacking, **DATASET),
        "a .mat with 20 MB in a structure": array(
            "a.mat", unpacking_elsewhere, map_shape=(1, 1), pattern_shape=(1, 1), **DATASET
        ),
        "a .mat without the dataset": array(
            "a.mat", lambda path: scipy.io.savemat(path, {"a": SCAN}), **DATASET
        ),
        "a .mat of junk": array("a.mat", lambda path: path.write_bytes(b"junk" * 99), **DATASET),
        "an HDF5 without the dataset": array(
            "a.h5", lambda path: h5py.File(path, "w").close(), **DATASET
        ),
        "an HDF5 with a text": array(
            "a.h5", lambda path: h5py.File(path, "w").update({"scan": "text"}), **DATASET
        ),
        "a scan of kikuchipy linking to another file": kikuchipy_linking,
    }
    | {
        f"HDF5 with {kind}": array("a.h5", linking(kind), **DATASET)
        for kind in ("external link", "link in a group", "external storage", "virtual dataset")
    },
)

# What a scan holds.


def values(array_of, **settings) -> Callable:
    return array("a.npy", lambda path: np.save(path, array_of()), **settings)


def preprocessed(counts: np.ndarray, **settings) -> Callable:
    """Preprocess counts (rows, columns, 120, 120)."""

    def attempt(folder: Path):
        files = scan_files(folder)
        write_scan(files.raw, counts)
        scan, study = ScanPreprocessing(), Preprocessing(**settings)
        return preprocess(open_patterns(files.raw), scan, study, files, 1.0)

    return attempt


def converted(shape: tuple[int, ...], **settings) -> Callable:
    """Convert a UP2 file of patterns of this shape, with settings of its preprocessing."""

    def attempt(folder: Path):
        write_scan(folder / "a.up2", np.ones(shape, np.uint16))
        data = FileData(path=str(folder / "a.up2"))
        scan = Scan(data=data, preprocessing=ScanPreprocessing(**settings))
        return readers.convert_scan(scan, scan_files(folder / "result"), "mine")

    return attempt


def floats(value, dtype=np.float32) -> np.ndarray:
    found = np.linspace(0, 1, SCAN.size, dtype=dtype).reshape(SCAN.shape)
    found[0, 0, 3, 3] = value
    return found


SOME = np.random.default_rng(0).integers(0, 65536, (2, 3, 120, 120), np.uint16)
SQUARE = {"centre": (60, 60), "radius": 9}
add(
    "scan contents",
    {
        "floats with a NaN": values(partial(floats, NAN)),
        "floats with an infinite pixel": values(partial(floats, INF)),
        "floats with a pixel at -inf": values(partial(floats, -INF)),
        "float16 with a NaN": values(partial(floats, NAN, np.float16)),
        "doubles with a NaN": values(partial(floats, NAN, np.float64)),
        "floats all equal": values(lambda: np.ones(SCAN.shape, np.float32)),
        "floats all NaN": values(lambda: np.full(SCAN.shape, NAN, np.float32)),
        "complex numbers": values(lambda: SCAN.astype(np.complex64)),
        "text": values(lambda: SCAN.astype("U5")),
        "dates": values(lambda: SCAN.astype("datetime64[s]")),
        "true and false": values(lambda: SCAN > 9),
        "integers all equal": values(lambda: np.ones(SCAN.shape, np.int32)),
        "all zeros": preprocessed(0 * SOME),
        "all zeros without a mask": preprocessed(0 * SOME, mask="none"),
        "all zeros under a given mask": preprocessed(0 * SOME, mask=SQUARE),
        "every pattern of one level": preprocessed(0 * SOME + 700, mask="none"),
        "one pattern again and again": preprocessed(0 * SOME + SOME[0, 0]),
        "a mask outside the pattern": preprocessed(SOME, mask={"centre": (900, 900), "radius": 3}),
        "patterns of 10 x 10 px": converted((2, 3, 10, 10)),
        "patterns of 1 x 1 px": converted((2, 3, 1, 1)),
        "binning beyond the pattern": converted((2, 3, 120, 120), binning=7),
        "a background that the file does not bring": converted(
            (2, 3, 120, 120), background_of="its file"
        ),
    },
)
