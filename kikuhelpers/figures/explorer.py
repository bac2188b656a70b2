"""Point at a map and see its patterns: a scan through a model, explored in a notebook.

:class:`Explorer` answers questions on the results of a study (what is at this point, what does
this latent vector decode to) and knows no browser. :class:`ExplorerWidget` carries questions and
answers to and from ``explorer.js`` by anywidget (https://anywidget.dev): pictures as bytes, all
else as JSON. It is the one module that knows of either.
"""

import math
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

import anywidget
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from pydantic import Field, ValidationError, validate_call
from skimage.draw import line
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier

from kikuhelpers.figures import drawing
from kikuhelpers.figures.panels import PHYSICAL_MAPS
from kikuhelpers.indexing.orientation_maps import (
    disorientation_deg,
    misorientation_map,
    point_groups,
)
from kikuhelpers.latents.coding import decode, generate, load_model
from kikuhelpers.latents.features import structured_features
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import PREPROCESSED, PROJECT_ROOT, load_study
from kikuhelpers.study.load import root_of

Point = tuple[int, int]  # row and column
Box = tuple[int, int, int, int]  # first row and column of pixels, one past the last of each

RGB, IPF, RESIDUAL, AWAY = "latent PCA", "IPF-X", "residual", "misorientation_deg"
GRAINS, CLUSTERS, DETECTOR = "grain", "clusters", "detector"
LABEL_COLOURS = "tab20"  # of labels, which have no order; -1 is black
# Title and colours of the maps that no figure of the paper shows.
_TITLES = PHYSICAL_MAPS | {
    "fit": ("fit of the bands (°)", drawing.ANGLE_COLOURS),
    "ci": ("CI", drawing.QUALITY_COLOURS),
    "noise": ("noise (share of the half range)", drawing.QUALITY_COLOURS),
    "noise_counts": ("noise (counts), camera's scale", drawing.QUALITY_COLOURS),
    RESIDUAL: ("residual (½Σ²)", "magma"),
    AWAY: ("misorientation, decoded to measured (°)", drawing.ANGLE_COLOURS),
    GRAINS: ("grains", LABEL_COLOURS),
    CLUSTERS: ("clusters of the latent vector", LABEL_COLOURS),
    DETECTOR: ("mean of the chosen pixels, −1 to 1", drawing.QUALITY_COLOURS),
    RGB: ("first three principal components of the latent vector", ""),
    IPF: (drawing.IPF_X, ""),
}
_SAMPLE = 5_000  # points that clusters and principal components are found from
_CLUSTERED_COMPONENTS = 8  # principal components in which HDBSCAN measures density
_SMALLEST_CLUSTER = 0.01  # share of the sample
_MOST_READ = 60_000  # patterns that a virtual detector reads: of a larger map every n-th point
_MOST_FRAMES = 101  # of a path
_STOPS = 16  # colours of a colour bar, between which the front end interpolates


class ExplorerError(SentenceError):
    """A question that the explorer cannot answer."""


class Explorer:
    """A scan seen through a model: maps, points, decoded patterns, paths, regions, clusters.

    Parameters
    ----------
    results
        Of a study; with ``archive=True`` latents, weights and orientations may be archived ones.
    scan, model
        Names in the study. The scan's preprocessed patterns must be there.

    Attributes
    ----------
    maps : dict
        Scalar maps (rows, columns) float32 that the results hold, by name; NaN for no value.
    ranked : list of int
        Active latent features, most spatial structure first
        (:func:`~kikuhelpers.latents.features.structured_features`).

    Raises
    ------
    StudyError, MissingResultError
        The study has no such scan or model, or a result is not there: the sentence says which
        command makes it.
    """

    def __init__(self, results: Results, scan: str, model: str):
        self.results, self.scan, self.model = results, scan, model
        self.patterns = results.patterns(PREPROCESSED, scan)
        self.network = load_model(results, model)
        self.view = View.whole(results, scan)
        self.mask, self.latents = self.view.mask, self.view.latents(model)
        active = int(self.view.features(model)["active"].sum()) or self.latents.shape[-1]
        choices = structured_features(self.view, model, active)
        self.ranked = [choice.index for choice in choices]
        self._features = {choice.name: choice for choice in choices}
        self.maps = {name: found for name in _TITLES if (found := self._scalar(name)) is not None}
        self._made: dict[str, np.ndarray] = {}  # maps that the reader asked for

    # ------------------------------------------------------------------ maps

    @property
    def titles(self) -> dict[str, str]:
        """Title of each map by name, in the order of a menu."""
        names = [RGB, *([IPF] if self._xmap is not None else []), *self.maps, *self._made]
        features = {name: f"{one.name}: {one.reason}" for name, one in self._features.items()}
        return features | {name: " ".join(_TITLES[name][0].split()) for name in names}

    def map(self, name: str) -> np.ndarray:
        """A map by its name in ``titles``: (rows, columns), or (rows, columns, 3) of colours."""
        if name in self._features:
            return self._feature(self._features[name].index)
        if name == RGB:
            return self._principal_colours
        if name == IPF and self._xmap is not None:
            return self.view.ipf_x()
        if name in self.maps or name in self._made:
            return (self.maps | self._made)[name]
        raise ExplorerError(f"There is no map '{name}'; there are {', '.join(self.titles)}.")

    def image(self, name: str) -> tuple[np.ndarray, dict]:
        """A map as colours (rows, columns, 3) uint8, and the colour bar's ``limits``, ``stops``."""
        values = self.map(name)
        if values.ndim == 3:
            return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8), {}
        _, look = _TITLES.get(name, ("", drawing.LATENT_COLOURS))
        colours, known = colormaps[look], np.isfinite(values)
        if look == LABEL_COLOURS:
            known, bar = values >= 0, {}
            scaled = np.where(known, values, 0).astype(int) % colours.N
        else:
            low, high = drawing.clip_limits(values)
            if look == drawing.DIFFERENCE_COLOURS:
                low, high = -max(-low, high), max(-low, high)
            stops = [to_hex(colour) for colour in colours(np.linspace(0, 1, _STOPS))]
            scaled, bar = (values - low) / (high - low), {"limits": [low, high], "stops": stops}
        rgb = colours(np.where(known, scaled, 0), bytes=True)[..., :3]
        return np.where(known[..., np.newaxis], rgb, np.uint8(0)), bar

    def _scalar(self, name: str) -> np.ndarray | None:
        """A map of numbers, or None where the results do not hold it."""
        try:
            if name == RESIDUAL:
                return self.view.losses(self.model)
            if name == AWAY:
                pair = (self.view.orientations(kind) for kind in (PREPROCESSED, self.model))
                return misorientation_map(*pair).astype(np.float32)
            return self.view.property_map(name).astype(np.float32)
        except (MissingResultError, KeyError, AttributeError, TypeError):
            return None

    @cached_property
    def _xmap(self):
        """Orientations of the measured patterns; None without any."""
        try:
            return self.view.orientations()
        except MissingResultError:
            return None

    def _feature(self, index: int) -> np.ndarray:
        parts = (np.array(part[..., index]) for _, part in chunks("latents", self.latents))
        return np.concatenate(list(parts))

    def _sample(self) -> np.ndarray:
        """Active latents (n, features) of points spread evenly over the map."""
        size = self.latents.shape[0] * self.latents.shape[1]
        places = np.linspace(0, size - 1, min(size, _SAMPLE)).astype(int)
        found = self.latents[np.unravel_index(places, self.latents.shape[:2])][:, self.ranked]
        return found[np.isfinite(found[:, 0])]

    def _of_points(self, work, nothing) -> np.ndarray:
        """``work`` of the active latents (n, features) of all points, ``nothing`` of empty ones."""
        found = []
        for _, part in chunks("latents", self.latents):
            flat = np.array(part).reshape(-1, part.shape[-1])[:, self.ranked]
            there = np.isfinite(flat[:, 0])
            known = work(np.where(there[:, np.newaxis], flat, 0))
            there = there.reshape(-1, *(1,) * (known.ndim - 1))
            found.append(np.where(there, known, nothing))
        whole = np.concatenate(found)
        return whole.reshape(*self.latents.shape[:2], *whole.shape[1:])

    @cached_property
    def _principal_colours(self) -> np.ndarray:
        sample = self._sample()
        pca = PCA(min(3, *sample.shape)).fit(sample)
        low, high = np.percentile(pca.transform(sample), drawing.CLIP_PERCENT, axis=0)
        scale = np.maximum(high - low, np.finfo(np.float32).tiny)
        colours = self._of_points(lambda flat: (pca.transform(flat) - low) / scale, 0)
        missing = ((0, 0), (0, 0), (0, 3 - colours.shape[-1]))
        return np.pad(np.clip(colours, 0, 1), missing).astype(np.float32)

    # ---------------------------------------------------------------- points

    def at(self, row: int, column: int) -> dict:
        """What is at a point.

        Returns
        -------
        dict
            ``measured`` and ``decoded`` pattern (h, w) in [-1, 1]; ``latents`` (D,); ``euler``,
            Bunge's angles in degrees, or None; ``numbers``: of each of ``maps`` the value and its
            percentile in the map, or None.
        """
        self._check(row, column)
        latents = self.latents[row, column].astype(np.float32)
        numbers = {}
        for name, values in self.maps.items():
            value = values[row, column]
            below, known = (values <= value).sum(), np.isfinite(values).sum()
            here = (float(value), 100 * float(below / known))
            numbers[name] = here if np.isfinite(value) else None
        euler, place = None, row * self.latents.shape[1] + column
        if self._xmap is not None and self._xmap.is_indexed[place]:
            euler = self._xmap.rotations[place].to_euler(degrees=True).ravel().tolist()
        measured, decoded = to_intensity(self.patterns[row, column]), self.decode(latents)[0]
        found = {"measured": measured, "decoded": decoded, "latents": latents}
        return found | {"euler": euler, "numbers": numbers}

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Decode latents (D,) or (n, D): (n, h, w) in [-1, 1], black outside the screen."""
        latents, dimensions = np.atleast_2d(latents).astype(np.float32), self.latents.shape[-1]
        if latents.shape[-1] != dimensions:
            raise ExplorerError(f"{self.model} decodes {dimensions} numbers, not {latents.shape}.")
        known = np.nan_to_num(latents)  # of an empty point nothing is known: the mean pattern
        with _one_thread():
            return decode(self.network, known, self.mask, "float32")

    def random(self, seed: int) -> np.ndarray:
        """Decode latents drawn from N(0, 1), (h, w)."""
        with _one_thread():
            return generate(self.network, 1, self.mask, seed, "float32")[0]

    def path(self, start: Point, stop: Point, count: int) -> tuple[np.ndarray, dict]:
        """Decode the straight way between the latents of two points, and index what is decoded.

        Returns
        -------
        patterns : numpy.ndarray
            (count, h, w); the first and the last are those of the two points.
        numbers : dict
            ``fit``, ``ci``, and ``from_start``, ``from_stop``: degrees away from the measured
            orientations of the points; each (count,), NaN without a solution. {} where the scan
            has no orientations.
        """
        self._check(*start)
        self._check(*stop)
        share = np.linspace(0, 1, count, dtype=np.float32)[:, np.newaxis]
        latents = (1 - share) * self.latents[start] + share * self.latents[stop]
        patterns = self.decode(latents)
        if self._xmap is None:
            return patterns, {}
        found = self.view.index(patterns)
        numbers = {n: np.where(found.is_indexed, found.prop[n], np.nan) for n in ("fit", "ci")}
        ends = {"from_start": start, "from_stop": stop}
        return patterns, numbers | {name: self._away_deg(found, p) for name, p in ends.items()}

    def _away_deg(self, found, point: Point) -> np.ndarray:
        place = point[0] * self.latents.shape[1] + point[1]
        phase, away = self._xmap.phase_id[place], np.full(found.size, np.nan)
        of = found.phase_id == phase
        if group := point_groups(self._xmap).get(int(phase)):
            own = self._xmap.rotations[np.full(of.sum(), place)]
            away[of] = disorientation_deg(found.rotations[of], own, group)
        return away

    def line(self, start: Point, stop: Point, names: list[str]) -> dict[str, list]:
        """Profiles of maps along a line: its ``points``, ``um`` from the start, values by name."""
        self._check(*start)
        self._check(*stop)
        points = np.stack(line(*start, *stop), axis=1)
        away = np.hypot(*(points - points[0]).T) * self.view.step_um
        maps = {name: self.map(name) for name in names}
        profiles = {n: m[tuple(points.T)].tolist() for n, m in maps.items() if m.ndim == 2}
        return {"points": points.tolist(), "um": away.tolist(), "profiles": profiles}

    # ---------------------------------------------------------------- regions and clusters

    def detector(self, pixels: np.ndarray) -> np.ndarray:
        """Mean intensity of the pixels (h, w) bool of each pattern, those on the screen alone.

        (rows, columns) float32; of a map of more than 60,000 points every n-th row and column is
        read and stands for those after it.
        """
        pixels = pixels & self.mask
        if not pixels.any():
            raise ExplorerError("The region holds no pixel of the screen: draw it on the pattern.")
        rows, columns = self.patterns.shape[:2]
        every = math.ceil(math.sqrt(rows * columns / _MOST_READ))
        means = [
            counts[:, ::every, pixels].mean(axis=-1)
            for _, counts in chunks("detector", self.patterns[::every])
        ]
        means = to_intensity(np.concatenate(means))
        self._made[DETECTOR] = np.kron(means, np.ones((every, every), np.float32))[:rows, :columns]
        return self._made[DETECTOR]

    def clusters(self, method: Literal["k-means", "HDBSCAN"], count: int) -> np.ndarray:
        """Cluster the active latents; labels (rows, columns) int from 0, -1 for none.

        k-means makes ``count`` clusters. HDBSCAN finds their number in eight principal components
        (a cluster has 1 % of the points at least), and calls what lies between them none. Both
        learn from 5,000 points; HDBSCAN gives any other point the label of its nearest.
        """
        sample = self._sample()
        if method == "k-means":
            count, seed = min(count, len(sample)), self.results.study.seed
            found = KMeans(count, n_init=4, random_state=seed).fit(sample).predict
        else:
            pca = PCA(min(_CLUSTERED_COMPONENTS, *sample.shape)).fit(sample)
            smallest = max(2, round(_SMALLEST_CLUSTER * len(sample)))
            near = pca.transform(sample)
            labels = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(near)
            nearest = KNeighborsClassifier(1).fit(near, labels)

            def found(flat):
                return nearest.predict(pca.transform(flat))

        self._made[CLUSTERS] = self._of_points(found, -1).astype(int)
        return self._made[CLUSTERS]

    def agreement(self) -> float | None:
        """Adjusted Rand index of the clusters and the grains, of points in both; None without."""
        if GRAINS not in self.maps or CLUSTERS not in self._made:
            return None
        grains, clusters = self.maps[GRAINS], self._made[CLUSTERS]
        both = (grains >= 0) & (clusters >= 0)
        return float(adjusted_rand_score(grains[both], clusters[both])) if both.any() else None

    def _check(self, row: int, column: int) -> None:
        rows, columns = self.latents.shape[:2]
        if not (0 <= row < rows and 0 <= column < columns):
            where = f"row {row}, column {column}"
            raise ExplorerError(f"There is no {where} in a map of {rows} x {columns} points.")


class ExplorerWidget(anywidget.AnyWidget):
    """The explorer in a notebook; ``explorer.js`` says what its front end asks and draws.

    Parameters are those of :class:`Explorer`. A question is ``{"ask": name, "id": any, ...}``, its
    values those of the method ``_name`` here; the answer holds the same ``id``, the milliseconds
    ``ms`` that it took, and either what was asked for or an ``error`` of one sentence.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    def __init__(self, results: Results, scan: str, model: str):
        super().__init__()
        self.explorer = Explorer(results, scan, model)
        self.on_msg(lambda _, question, __: self.send(*self.answer(question)))

    def answer(self, question: dict) -> tuple[dict, list[bytes]]:
        """Answer a question of the front end: what goes as JSON, and pictures as bytes."""
        begin = perf_counter()
        values = dict(question) if isinstance(question, dict) else {}
        known = {"ask": values.pop("ask", None), "id": values.pop("id", None)}
        try:
            if known["ask"] not in _QUESTIONS:
                asked = ", ".join(_QUESTIONS)
                raise ExplorerError(f"There is no question '{known['ask']}'; there are {asked}.")
            found, pictures = getattr(self, f"_{known['ask']}")(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            found, pictures = {"error": f"{known['ask']}: {where}: {first['msg']}."}, []
        except SentenceError as error:
            found, pictures = {"error": str(error)}, []
        found |= known | {"ms": 1000 * (perf_counter() - begin)}
        return found, [np.ascontiguousarray(picture).tobytes() for picture in pictures]

    @validate_call
    def _open(self, study: str = "", scan: str = "", model: str = ""):
        """The whole state, after a change of the study, the scan or the model."""
        now, results = self.explorer, self.explorer.results
        if study and study != results.study.origin.source:
            results = Results(load_study(study), archive=True)
            scan, model = "", ""
        if study or scan or model:
            scan = scan or next(iter(results.study.mapped_scans), "")
            model = model or next(iter(_seen(results, scan)), next(iter(results.study.models), ""))
            now = self.explorer = Explorer(results, scan, model)
        source, here = results.study.origin.source, root_of("results")
        files = sorted(path.stem for path in (PROJECT_ROOT / "studies").glob("*.yaml"))
        state = {
            "study": source,
            "scan": now.scan,
            "model": now.model,
            "studies": [source, *(n for n in files if n != source and (here / n).is_dir())],
            "scans": results.study.mapped_scans,
            "models": _seen(results, now.scan),
            "title": f"{now.view.label}, {now.model}",
            "shape": now.latents.shape[:2],
            "step_um": now.view.step_um,
            "pixels": now.mask.shape,
            "ranked": now.ranked,
            "dimensions": now.latents.shape[-1],
            "maps": now.titles,
        }
        return state, [now.mask.astype(np.uint8)]

    @validate_call
    def _map(self, name: str):
        colours, bar = self.explorer.image(name)
        return {"name": name, "title": self.explorer.titles[name], **bar}, [colours]

    @validate_call
    def _point(self, row: int, column: int):
        found = self.explorer.at(row, column)
        self._measured, decoded = found.pop("measured"), found.pop("decoded")
        found["latents"] = _plain(found["latents"])
        said, greys = self._compared(decoded)
        measured = _grey(self._measured, *said["limits"])
        return {"row": row, "column": column, **found, **said}, [measured, *greys]

    @validate_call
    def _decode(self, latents: list[float]):
        return self._compared(self.explorer.decode(np.array(latents))[0])

    @validate_call
    def _random(self, seed: int):
        return self._compared(self.explorer.random(seed))

    @validate_call
    def _path(self, start: Point, stop: Point, count: Annotated[int, Field(ge=2, le=_MOST_FRAMES)]):
        patterns, numbers = self.explorer.path(start, stop, count)
        said, greys = self._compared(patterns)
        return said | {"numbers": {n: _plain(v) for n, v in numbers.items()}}, greys

    @validate_call
    def _line(self, start: Point, stop: Point, names: list[str]):
        found = self.explorer.line(start, stop, names)
        found["profiles"] = {n: _plain(np.array(v)) for n, v in found["profiles"].items()}
        return found, []

    @validate_call
    def _detector(self, box: Box):
        pixels = np.zeros(self.explorer.mask.shape, bool)
        top, left, bottom, right = np.maximum(box, 0)
        pixels[top:bottom, left:right] = True
        self.explorer.detector(pixels)
        return {"maps": self.explorer.titles}, []

    @validate_call
    def _clusters(self, method: Literal["k-means", "HDBSCAN"], count: Annotated[int, Field(ge=2)]):
        labels = self.explorer.clusters(method, count)
        said = {"found": int(labels.max()) + 1, "agreement": self.explorer.agreement()}
        return said | {"maps": self.explorer.titles}, [labels.astype(np.int16)]

    def _compared(self, decoded: np.ndarray):
        """Greys of decoded patterns (..., h, w) and of their differences from the measured one.

        One scale holds for all: ``limits`` of the measured pattern, and as wide about 0 for the
        differences. ``left`` is the half sum of squares on the screen.
        """
        mask, apart = self.explorer.mask, decoded - self._measured
        low, high = drawing.pattern_limits(self._measured, mask)
        half, left = (high - low) / 2, 0.5 * (apart[..., mask] ** 2).sum(axis=-1)
        greys = [_grey(decoded, low, high), _grey(apart, -half, half)]
        return {"limits": [low, high], "left": left.tolist()}, greys


@contextmanager
def _one_thread():
    """Let torch use one thread: for a pattern or two others only wait for each other.

    On two cores that are busy, one pattern of a 64-D decoder takes 0.07 s so, and 0.2 to 2 s with
    two threads; in float32, which is faster than bfloat16 where there is one pattern to decode.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_QUESTIONS = ("open", "map", "point", "decode", "random", "path", "line", "detector", "clusters")


def _grey(patterns: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.round(np.clip((patterns - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _plain(values: np.ndarray) -> list:
    """Numbers as JSON has them: None for NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]


def _seen(results: Results, scan: str) -> list[str]:
    """Models whose weights and whose latents of a scan are there."""
    layout = results.layout
    there = [name for name in results.study.models if results.has(layout.model(name).weights)]
    return [name for name in there if results.has(layout.model_scan(name, scan).latents)]
