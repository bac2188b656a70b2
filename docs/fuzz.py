"""Have a coverage-guided fuzzer write files for every reader: ``make fuzz``.

Each target starts from valid files, and the fuzzer (atheris, Linux) changes their bytes towards
code that was not reached before. A reader opens the file or ends in one sentence. Anything else is
a finding, and so is memory beyond 64 MiB and twice the file's size; such a file is kept as
``crash-*`` in the present folder. ``docs/fuzz.csv`` has a line for each target.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import atheris
import h5py
import numpy as np
import pandas as pd
import psutil
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.io import save
from orix.quaternion import Rotation

with atheris.instrument_imports(include=["kikuhelpers", "yaml"]):
    from kikuhelpers.patterns.up2 import Up2Writer, open_patterns
    from kikuhelpers.runs.errors import SentenceError, usable
    from kikuhelpers.runs.files import save_csv, save_json
    from kikuhelpers.runs.provenance import git_commit
    from kikuhelpers.runs.results import OPENERS
    from kikuhelpers.study import PROJECT_ROOT, load_study
    from kikuhelpers.study.layout import check

TABLE = Path(__file__).with_suffix(".csv")
MEMORY_MIB, MOST_BYTES = 64, 1 << 16
TITLE = "title: T\nscans: {a: {data: {path: a.up2}}}\nmodels: {v: {latent_dim: 16}}\n"


def read_scan(path: Path) -> None:
    """Open an UP file; what it shows lies within the file."""
    patterns = open_patterns(path)
    assert patterns.nbytes <= path.stat().st_size, "more patterns than the file has bytes"
    np.array(patterns[-1:, -1:])


def read_result(path: Path) -> None:
    """Open a file of results and check what it holds, as a later stage does."""
    with usable(path.name):
        check((OPENERS.get(path.name) or OPENERS[path.suffix])(path), path.name)


def write_seeds(folder: Path) -> dict[str, tuple[str, Callable, list[Path]]]:
    """Write valid files; return for each target the file's name, its reader and the seeds."""
    seeds = {}

    def seed(target: str, name: str, reader: Callable) -> Path:
        place = folder / target
        place.mkdir(exist_ok=True)
        kept = seeds.setdefault(target, (name, reader, []))[2]
        kept.append(place / f"{len(kept)}-{name}")
        return kept[-1]

    with Up2Writer(up2 := seed("up2", "scan.up2", read_scan), (2, 3), (4, 4), step_um=1.0) as file:
        file.append(np.arange(96, dtype=np.uint16).reshape(6, 4, 4))
    head, counts = (content := up2.read_bytes())[:-192], content[-192:]
    seed("up1", "scan.up1", read_scan).write_bytes(head + counts[::2])
    for text in (TITLE, (PROJECT_ROOT / "studies" / "smoke.yaml").read_text()):
        seed("study", "study.yaml", load_study).write_text(text)
    array = partial(np.save, allow_pickle=False)
    array(seed("array", "mask.npy", read_result), np.ones((120, 120), bool))
    array(seed("latents", "latents.npy", read_result), np.ones((2, 3, 16), np.float32))
    said = {"sha256": "0", "map_shape": [2, 3], "pattern_shape": [4, 4], "step_um": 1.0}
    save_json(seed("json", "scan.json", read_result), said)
    columns = {"feature": [0], "variance": [1.0], "active": [True], "moran_i": [0.5]}
    save_csv(pd.DataFrame(columns), seed("table", "features.csv", read_result))
    with h5py.File(seed("truth", "truth.h5", read_result), "w") as file:
        file.attrs["map_shape"] = (2, 3)
        file["rotation"], file["phase"] = np.ones((6, 4)), np.zeros(6, np.int8)
    phases = PhaseList(Phase("ni", space_group=225))
    x, y = np.tile(np.arange(3), 2), np.repeat(np.arange(2), 3)
    prop = dict.fromkeys(("pq", "cm", "ci", "sharpness"), x * 0.1)
    xmap = CrystalMap(Rotation.identity((6,)), x=x, y=y, phase_list=phases, prop=prop)
    save(str(path := folder / "map.h5"), xmap)
    seed("orientations", "orientations.h5", read_result).write_bytes(path.read_bytes())
    return seeds


def fuzz(target: str, seconds: int, folder: Path) -> None:
    """Fuzz one target in this process, which ends with it."""
    name, reader, seeds = write_seeds(folder)[target]
    path = folder / name

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(SentenceError):
            reader(path)

    for seed in seeds:  # which are valid; what is imported late is there before memory is counted
        path.write_bytes(seed.read_bytes())
        reader(path)
    used = psutil.Process().memory_info().rss >> 20
    limits = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-print_final_stats=1"]
    limits += [f"-rss_limit_mb={used + MEMORY_MIB}", "-timeout=20"]
    atheris.Setup([sys.argv[0], *limits, str(seeds[0].parent)], attempt)
    atheris.Fuzz()


def main() -> None:
    """Fuzz every target in a process of its own and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--target", help="this one alone, in this process")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(
        dir="/dev/shm" if os.path.isdir("/dev/shm") else None
    ) as place:
        if given.target:
            fuzz(given.target, given.seconds, Path(place))
        rows = []
        for target in write_seeds(Path(place)):
            command = [sys.executable, "-m", "docs.fuzz", "--seconds", str(given.seconds)]
            done = subprocess.run([*command, "--target", target], capture_output=True, text=True)
            said = done.stderr
            found = re.search(r"=== Uncaught Python exception: ===\n(.*)|ERROR: (.*)", said)
            last = re.findall(r"#(\d+)\s.*?cov: (\d+).*?rss: (\d+)Mb", said)
            tries, reached, _ = last[-1] if last else (0, 0, 0)
            finding = (
                (found[1] or found[2] or "") if found else "" if done.returncode == 0 else said
            )
            rows.append((target, given.seconds, int(tries), int(reached), finding[-200:]))
            print(rows[-1], flush=True)
    columns = ["target", "seconds", "files tried", "places of code reached", "finding"]
    table = pd.DataFrame(rows, columns=columns)
    save_csv(table.assign(commit=git_commit()), TABLE)


if __name__ == "__main__":
    main()
