"""What works on maps alone, on made-up maps of any size; and the memory of a process.

Of docs/scale.py.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuhelpers.figures.stages import map_row
from kikuhelpers.figures.style import save_figure
from kikuhelpers.indexing.hough import save_map
from kikuhelpers.indexing.orientation_maps import grod_deg, ipf_colours, kam_deg, label_grains
from kikuhelpers.indexing.phases import orix_phases
from kikuhelpers.latents import features
from kikuhelpers.runs.provenance import peak_memory_bytes
from kikuhelpers.study.study import NICKEL, Indexing
from kikuhelpers.tables.ctf import save_ctf
from kikuhelpers.tables.interchange import save_grid
from kikuhelpers.tables.intervals import Resamples, lattice_labels
from kikuhelpers.tables.table1 import QUANTILES, compare_maps, summarise

MIB, PEAK = 2**20, "peak_mib"
_FORKS = get_context("forkserver")  # each process begins with the imports and nothing else
_FORKS.set_forkserver_preload(["kikuhelpers", __name__])  # the package before orix
RANKED = "grain", "cell", "domain", "rotation", "spot"  # what a feature shows
_CENTRE = (0.51, 0.34, 0.63)


class Watch(threading.Thread):
    """Looks 10 times a second at the memory and the processor time of what this process started."""

    def __init__(self):
        super().__init__(daemon=True)
        self._seen, self._ended = [], threading.Event()  # a row for each process and look

    def run(self):
        me = psutil.Process()
        while not self._ended.wait(0.1):
            for child in me.children(recursive=True):
                with contextlib.suppress(OSError, KeyError, psutil.NoSuchProcess):  # it has ended
                    text = Path(f"/proc/{child.pid}/status").read_text()
                    lines = dict(line.split(":", 1) for line in text.splitlines())
                    memory = [int(lines[n].split()[0]) / 1024 for n in ("VmHWM", "RssAnon")]
                    cpu = sum(child.cpu_times()[:2])
                    self._seen.append((time.time(), child.pid, *memory, cpu))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()

    def between(self, start: float, end: float) -> dict[str, float]:
        """Processor seconds of all; the largest peak of one process, and its anonymous memory.

        The peak counts pages of mapped files, too. Both are in MiB.
        """
        seen = pd.DataFrame(self._seen, columns=["time", "pid", PEAK, "anonymous_mib", "cpu"])
        before = seen[seen["time"] < start].groupby("pid")["cpu"].max()
        here = seen[(seen["time"] >= start) & (seen["time"] < end)]
        cpu = here.groupby("pid")["cpu"].max()
        cpu -= before.reindex(cpu.index, fill_value=0)
        most = here[[PEAK, "anonymous_mib"]].max().round(1).to_dict()
        return {"cpu_seconds": round(cpu.sum(), 2)} | most


def measured(work: Callable, *given) -> dict:
    """What a function found in a process of its own, and the peak of that process."""
    with Watch() as watch, ProcessPoolExecutor(1, _FORKS) as own:
        found = own.submit(alone, work, *given).result()
    start, end = found.pop("start"), found.pop("end")
    return watch.between(start, end) | found


def alone(work: Callable, *given) -> dict:
    """What a function found in this process, when, and the peak of this process."""
    start = time.time()
    found = work(*given)
    peak = round(peak_memory_bytes() / MIB, 1)
    return {"start": start} | found | {"end": time.time(), "peak_mib": peak}


def maps(root: Path, sizes: list[tuple[int, int]], count: int, names=()) -> Iterator[dict]:
    """Yield what is made of maps of some sizes, (rows, columns), with so many features."""
    for rows, columns in sizes:
        write_features(root, (rows, columns), count)
        for name in names or MAP_WORK:
            row = {"case": name, "points": rows * columns}
            yield row | measured(made_up, name, rows, columns, str(root))


def made_up(name: str, rows: int, columns: int, root: str) -> dict:
    """Work on a made-up map of grains of 25 x 25 points, each of which turns by 4 degrees."""
    y, x = np.indices((rows, columns))
    grain = (y // 25 * (columns // 25 + 1) + x // 25).ravel()
    rng = np.random.default_rng(0)
    axes, turns = rng.normal(size=(grain.max() + 1, 3)), np.radians((x % 25 - 12).ravel() / 6)
    whole = Rotation(rng.normal(size=(grain.max() + 1, 4)))[grain]
    turned = Rotation.from_axes_angles(axes[grain], turns) * whole
    names = ("pq", "ci", "cm", "fit", "sharpness", "nmatch", "grod_deg", "kam_deg")
    wave = np.sin(x / 40).ravel()
    prop = {n: wave + 0.05 * rng.random(grain.size) for n in names} | {"grain": grain}
    where = {"x": x.ravel() * 1.0, "y": y.ravel() * 1.0, "phase_id": np.zeros(grain.size, int)}
    phases = orix_phases(Indexing(phase=NICKEL))
    xmap = CrystalMap(turned, phase_list=phases, prop=prop, **where)
    del y, x, wave, whole, turned, turns
    Path("/proc/self/clear_refs").write_text("5")  # what made the map does not count
    start, cpu = time.time(), time.process_time()
    MAP_WORK[name](xmap, Path(root) / "written")
    seconds, cpu = time.time() - start, time.process_time() - cpu
    return {"start": start, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)}


def _table(xmap: CrystalMap, _) -> None:
    points = compare_maps(xmap, xmap).assign(residual=xmap.prop["pq"])
    summarise(points, 15.0)
    resamples = Resamples(lattice_labels([xmap], 5.0), 0)
    resamples.ends(
        resamples.numbers(points[["indexed"]] * 1.0, points[["residual", "off_deg"]], QUANTILES)
    )


def _hyperspy(xmap: CrystalMap, stem: Path) -> None:
    values = np.stack([*map(xmap.get_map_data, xmap.prop)], axis=-1).astype(np.float32)
    save_grid(stem, [*xmap.prop], values, 1.0)


def _orientations(xmap: CrystalMap, stem: Path) -> None:
    save_map(stem.with_suffix(".h5"), xmap, _CENTRE)
    save_ctf(stem.with_suffix(".ctf"), xmap, "made up", 1.0, 70.0)


def _figure(xmap: CrystalMap, stem: Path) -> None:
    shown = {n: xmap.get_map_data(n) for n in ("pq", "ci", "grod_deg", "kam_deg")}
    figure = map_row({"IPF-X": ipf_colours(xmap)} | shown, 1.0, title="made up")
    save_figure(figure, stem.parent, stem.name)


def _features(xmap: CrystalMap, stem: Path, ranked=RANKED) -> None:
    """Measure, rank and draw the features of a file, in the notebooks' way."""
    latents = np.load(stem.with_suffix(".npy"), mmap_mode="r")
    known = {n: xmap.get_map_data(f"{n}_deg") for n in ("grod", "kam")}
    known |= {n: xmap.get_map_data(n) for n in ("pq", "sharpness")}
    grains = xmap.get_map_data("grain")
    measures = features.feature_measures(latents, known, grains)
    features.likeness(latents)
    view = SimpleNamespace(latents=lambda _: latents, features=lambda _: measures)
    view.grains, view.property_map = lambda: grains, xmap.get_map_data
    for kind in ranked:
        getattr(features, f"{kind}_feature")(view, "made up")
    best = measures[measures["active"]].nlargest(10, "moran_i")["feature"]
    figure = map_row({f"feature {n}": latents[..., n] for n in best}, 1.0, title="made up")
    save_figure(figure, stem.parent, stem.name)


MAP_WORK = {
    "grains": lambda xmap, _: label_grains(xmap, 5.0),
    "GROD": lambda xmap, _: grod_deg(xmap, xmap.get_map_data("grain")),
    "KAM": lambda xmap, _: kam_deg(xmap, 2, 5.0),
    "row of Table 1 with intervals": _table,
    "orientations for other programs": _orientations,
    "9 maps for hyperspy, as TIFF and CSV": _hyperspy,
    "figure of 5 maps": _figure,
    "features measured, drawn": partial(_features, ranked=("grain",)),
    "features measured, ranked, drawn": _features,
}


def write_features(root: Path, shape: tuple[int, int], count: int) -> None:
    """Write a made-up map of features, waves and noise, (rows, columns, count) float32."""
    whole = {"shape": (*shape, count), "dtype": np.float32, "mode": "w+"}
    out, rng = np.lib.format.open_memmap(root / "written.npy", **whole), np.random.default_rng(0)
    wave = np.sin(np.arange(shape[1])[:, np.newaxis] / (10 + np.arange(count)))
    for row in out:
        row[:] = wave + 0.3 * rng.standard_normal((shape[1], count), np.float32)
