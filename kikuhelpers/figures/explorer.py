"""Point at a map and see its patterns: a scan through a model, asked point by point.

What is at this point, what does this latent vector decode to, which clusters are there: answered
from the results of a study, without a browser (:mod:`kikuhelpers.figures.explorer_widget`).

Maps are made once, kept in the results folder, and mapped: memory does not grow with their number.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from orix.quaternion import Rotation
from skimage.draw import line
from threadpoolctl import ThreadpoolController

from kikuhelpers.figures import drawing
from kikuhelpers.indexing import orientation_maps
from kikuhelpers.latents.coding import decode, load_model
from kikuhelpers.latents.features import structured_features
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import release, to_intensity
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import save_array
from kikuhelpers.runs.results import MissingResultError, Results
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.training.held_out import twins_joined

Point = tuple[int, int]  # row and column
Method = Literal["k-means", "HDBSCAN"]

RGB, IPF, RESIDUAL, AWAY = "latent PCA", "IPF-X", "residual", "misorientation_deg"
GRAINS, TWINS, CLUSTERS, DETECTOR = "grain", "twins", "clusters", "detector"
KEY, ANGLES, PHASES = "IPF key", "angles", "phases"  # kept beside the maps
LABEL_COLOURS = "tab20"  # of labels, which have no order; -1 is black
# Title and colours of all maps but those of latent features.
_TITLES = {
    **drawing.MAPS,
    RESIDUAL: ("residual (½Σ²)", "magma"),
    GRAINS: ("grains", LABEL_COLOURS),
    TWINS: ("grains, twins joined (Σ3)", LABEL_COLOURS),
    CLUSTERS: ("clusters of the latent vector", LABEL_COLOURS),
    DETECTOR: ("virtual detector: mean of its pixels, −1 to 1", drawing.QUALITY_COLOURS),
    RGB: ("first three principal components of the latent vector", ""),
}
_KEPT = (*_TITLES.keys() - {CLUSTERS, DETECTOR, RGB}, KEY, ANGLES, PHASES)
_SCHEMA = 1  # of what is kept; another one after a change of how a map is made
_SAMPLE = 5_000  # points that clusters and principal components are found from
_CLUSTERED_COMPONENTS = 8  # principal components in which HDBSCAN measures density
_FEWEST, _SMALLEST = 20, 0.01  # points of a cluster of HDBSCAN, and their share of the sample
_MOST_READ = 60_000  # patterns that a virtual detector reads: of a larger map every n-th point
_STOPS = 16  # colours of a colour bar, between which the front end interpolates


class Explorer:
    """A scan seen through a model: maps, points, decoded patterns, paths, regions, clusters.

    The scan's preprocessed patterns must be there, all else may be archived. StudyError or
    MissingResultError where the study has no such scan or model, or a result is not there.

    ``maps`` are scalar maps (rows, columns) float32 that the results hold, by name, NaN for no
    value; ``ranked`` the active latent features, most spatial structure first
    (:func:`~kikuhelpers.latents.features.structured_features`); ``key`` the colours of IPF-X as a
    small picture (h, w, 3), empty without orientations.
    """

    def __init__(self, results: Results, scan: str, model: str):
        self.results, self.scan, self.model = results, scan, model
        self.patterns = results.patterns(PREPROCESSED, scan)
        self.network, self._threads = load_model(results, model), ThreadpoolController()
        self.view = View.whole(results, scan)
        self.mask, self.latents = self.view.mask, self.view.latents(model)
        active = int(self.view.features(model)["active"].sum()) or self.latents.shape[-1]
        choices = structured_features(self.view, model, active)
        self.ranked = [choice.index for choice in choices]
        self._features = {choice.name: choice for choice in choices}
        self._folder = self._folder_of_maps()
        source = View.whole(results, scan)  # holds what maps are made of until all are made
        kept = {name: self._kept(name, partial(self._made_of, source, name)) for name in _KEPT}
        self.key, self._ipf = kept.pop(KEY), kept.pop(IPF)
        self._angles, self._phases = kept.pop(ANGLES), kept.pop(PHASES)
        self.maps = {name: kept[name] for name in _TITLES if name in kept and kept[name].ndim == 2}
        self._sorted = {
            name: self._kept(f"{name} sorted", lambda v=values: np.sort(v[np.isfinite(v)]))
            for name, values in self.maps.items()
        }
        self._made: dict[str, np.ndarray] = {}  # maps that the reader asked for

    @property
    def titles(self) -> dict[str, str]:
        """Title of each map by name, in the order of a menu."""
        names = [RGB, *[IPF] * bool(self._ipf.size), *self.maps, *self._made]
        features = {name: f"{name}: {choice.reason}" for name, choice in self._features.items()}
        return features | {name: " ".join(_TITLES[name][0].split()) for name in names}

    def map(self, name: str) -> np.ndarray:
        """A map by its name in ``titles``: (rows, columns), or (rows, columns, 3) of colours."""
        if name in self._features:
            index = self._features[name].index
            feature = partial(np.take, indices=self.ranked.index(index), axis=1)
            return self._kept(f"feature {index}", lambda: self._of_points(feature, np.nan))
        if name == RGB:
            return self._kept(RGB, self._principal_colours)
        if name == IPF and self._ipf.size:
            return self._ipf
        if name in self.maps or name in self._made:
            return (self.maps | self._made)[name]
        raise SentenceError(f"There is no map '{name}' of {self.model} on {self.scan}.")

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
        release(values)
        return np.where(known[..., np.newaxis], rgb, np.uint8(0)), bar

    def _folder_of_maps(self) -> Path:
        """Folder of the maps of the present results; those of earlier ones are removed."""
        records, names = self.results.all_records().items(), {self.scan, self.model}
        made_by = {str(job): record for job, record in records if names >= {*job.parts} > set()}
        key = hashlib.sha256(json.dumps([_SCHEMA, made_by]).encode()).hexdigest()[:16]
        folder = self.results.layout.explorer(self.model, self.scan)
        for before in folder.glob("*"):
            if before.name != key:
                shutil.rmtree(before, ignore_errors=True)
        return folder / key

    def _kept(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What ``make`` returned once, mapped from its file."""
        path = self._folder / f"{name}.npy"
        try:
            return np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError):  # not made yet, or damaged
            made = make()
        with suppress(OSError, SentenceError):  # a folder that others own, or a full disk
            save_array(path, made)
            made = np.lib.format.open_memmap(path, mode="r")
        return made

    def _made_of(self, source: View, name: str) -> np.ndarray:
        """A map, or what is kept beside them; empty where the results, or orix's map, lack it."""
        xmap, decoded = source.orientations, partial(self.results.orientations, self.model)
        makers = {
            RESIDUAL: lambda: source.losses(self.model),
            AWAY: lambda: orientation_maps.misorientation_map(xmap(), decoded(self.scan)),
            IPF: source.ipf_x,
            KEY: lambda: drawing.ipf_key(xmap()),
            TWINS: lambda: twins_joined(xmap()),
            ANGLES: lambda: xmap().rotations.to_euler(degrees=True).reshape(*xmap().shape, 3),
            PHASES: lambda: xmap().get_map_data("phase_id"),
        }
        try:
            return makers.get(name, lambda: source.property_map(name))().astype(np.float32)
        except (MissingResultError, AttributeError):
            return np.empty(0, np.float32)

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

    def _principal_colours(self) -> np.ndarray:
        from sklearn.decomposition import PCA  # seconds: a click does not wait for it

        sample = self._sample()
        pca = PCA(min(3, *sample.shape)).fit(sample)
        low, high = np.percentile(pca.transform(sample), drawing.CLIP_PERCENT, axis=0)
        scale = np.maximum(high - low, np.finfo(np.float32).tiny)
        colours = self._of_points(lambda flat: (pca.transform(flat) - low) / scale, 0)
        missing = ((0, 0), (0, 0), (0, 3 - colours.shape[-1]))
        return np.pad(np.clip(colours, 0, 1), missing).astype(np.float32)

    def at(self, row: int, column: int) -> dict:
        """What is at a point.

        ``measured`` and ``decoded`` pattern (h, w) in [-1, 1]; ``latents`` (D,); ``euler``, Bunge's
        angles in degrees, or None; ``numbers``: the value of each of ``maps`` and its percentile
        in the map, or None.
        """
        self._check((row, column))
        latents = self.latents[row, column].astype(np.float32)
        numbers = dict.fromkeys(self.maps)
        for name, values in self.maps.items():
            if np.isfinite(value := values[row, column]):
                known = self._sorted[name]
                below = np.searchsorted(known, value, side="right")
                numbers[name] = (float(value), 100 * float(below / len(known)))
        there = self._phases.size and self._phases[row, column] != orientation_maps.NOT_INDEXED
        euler = self._angles[row, column].tolist() if there else None
        found = {"measured": to_intensity(self.patterns[row, column]), "latents": latents}
        for mapped in (self.patterns, self.latents, *self.maps.values(), *self._sorted.values()):
            release(mapped)
        return found | {"decoded": self.decode(latents)[0], "euler": euler, "numbers": numbers}

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Decode latents (D,) or (n, D): (n, h, w) in [-1, 1], black outside the screen.

        In float32 and by one thread: on busy cores two took 3 to 10 times as long for one
        pattern of a 64-D model, and bfloat16 2 to 4 times.
        """
        latents, dimensions = np.atleast_2d(latents).astype(np.float32), self.latents.shape[-1]
        if latents.shape[-1] != dimensions:
            raise SentenceError(f"{self.model} decodes {dimensions} numbers, not {latents.size}.")
        known = np.nan_to_num(latents)  # of an empty point nothing is known: the mean pattern
        with self._threads.limit(limits=1):
            return decode(self.network, known, self.mask, "float32")

    def path(self, start: Point, stop: Point, count: int) -> tuple[np.ndarray, dict]:
        """Decode the straight way between the latents of two points, and index what is decoded.

        Patterns (count, h, w), first and last those of the points; and ``fit``, ``ci``, and
        ``from_start``, ``from_stop``, degrees away from the points' measured orientations, each
        (count,), NaN without a solution. {} where the scan has no orientations.
        """
        self._check(start, stop)
        share = np.linspace(0, 1, count, dtype=np.float32)[:, np.newaxis]
        latents = (1 - share) * self.latents[start] + share * self.latents[stop]
        patterns = self.decode(latents)
        if not self._phases.size:
            return patterns, {}
        found = self.view.index(patterns)
        numbers = {n: np.where(found.is_indexed, found.prop[n], np.nan) for n in ("fit", "ci")}
        ends = {"from_start": start, "from_stop": stop}
        return patterns, numbers | {name: self._away_deg(found, p) for name, p in ends.items()}

    def _away_deg(self, found, point: Point) -> np.ndarray:
        phase, away = int(self._phases[point]), np.full(found.size, np.nan)
        of = found.phase_id == phase
        if group := orientation_maps.point_groups(found).get(phase):
            own = Rotation.from_euler(np.tile(self._angles[point], (of.sum(), 1)), degrees=True)
            away[of] = orientation_maps.disorientation_deg(found.rotations[of], own, group)
        return away

    def line(self, start: Point, stop: Point, names: list[str]) -> dict:
        """The ``points`` (n, 2) of a line, ``um`` from its start, ``profiles`` of scalar maps."""
        self._check(start, stop)
        points = np.stack(line(*start, *stop), axis=1)
        um = np.hypot(*(points - points[0]).T) * self.view.step_um
        maps = {name: found for name in names if (found := self.map(name)).ndim == 2}
        profiles = {name: values[tuple(points.T)] for name, values in maps.items()}
        return {"points": points, "um": um, "profiles": profiles}

    def detector(self, pixels: np.ndarray) -> np.ndarray:
        """Mean intensity (rows, columns) of the pixels (h, w) bool of each pattern on the screen.

        Of more than 60,000 points every n-th row and column is read, and stands for the next ones.
        """
        pixels = pixels & self.mask
        if not pixels.any():
            raise SentenceError("The region holds no pixel of the screen: draw it on the pattern.")
        rows, columns = self.patterns.shape[:2]
        every = math.ceil(math.sqrt(rows * columns / _MOST_READ))
        read = chunks("detector", self.patterns[::every])
        means = [counts[:, ::every, pixels].mean(axis=-1) for _, counts in read]
        means = to_intensity(np.concatenate(means))
        self._made[DETECTOR] = np.kron(means, np.ones((every, every), np.float32))[:rows, :columns]
        return self._made[DETECTOR]

    def clusters(self, method: Method, count: int) -> tuple[np.ndarray, float | None]:
        """Cluster the active latents: labels (rows, columns) int from 0, -1 for none.

        k-means makes ``count`` clusters. HDBSCAN finds their number in eight principal components
        (a cluster has 20 points and 1 % of them at least) and calls what lies between none. Both
        learn from 5,000 points; HDBSCAN gives any other point the label of its nearest. With the
        labels comes their adjusted Rand index with the grains, of points in both.
        """
        from sklearn import cluster, decomposition, metrics, neighbors, pipeline

        sample = self._sample()
        if method == "k-means":
            count, seed = min(count, len(sample)), self.results.study.seed
            found = cluster.KMeans(count, n_init=4, random_state=seed).fit(sample).predict
        else:
            pca = decomposition.PCA(min(_CLUSTERED_COMPONENTS, *sample.shape)).fit(sample)
            near, share = pca.transform(sample), round(_SMALLEST * len(sample))
            smallest = min(max(_FEWEST, share), len(sample))
            labels = cluster.HDBSCAN(smallest, copy=True).fit_predict(near)
            nearest = neighbors.KNeighborsClassifier(1).fit(near, labels)
            found = pipeline.make_pipeline(pca, nearest).predict
        labels = self._made[CLUSTERS] = self._of_points(found, -1).astype(int)
        grains = self.maps.get(GRAINS, np.full(labels.shape, -1))
        both = (grains >= 0) & (labels >= 0)
        pair = grains[both], labels[both]
        return labels, metrics.adjusted_rand_score(*pair) if both.any() else None

    def _check(self, *points: Point) -> None:
        shape = self.latents.shape[:2]
        for point in points:
            if not all(0 <= n < size for n, size in zip(point, shape, strict=True)):
                where, size = "row {}, column {}".format(*point), "{} x {}".format(*shape)
                raise SentenceError(f"There is no {where} in a map of {size} points.")
