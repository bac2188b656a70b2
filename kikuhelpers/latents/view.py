"""A scan, or a region of it, as the figures see it: maps, latents and patterns by name."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap

from kikuhelpers.figures.shown import counts_at
from kikuhelpers.indexing.hough import load_map
from kikuhelpers.indexing.orientation_maps import ipf_colours
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.runs.files import load_json, require
from kikuhelpers.scans.virtual.truth import load_truth
from kikuhelpers.study.layout import PREPROCESSED, Layout
from kikuhelpers.study.study import Study


@dataclass(frozen=True)
class View:
    """A box of one scan; ``rows`` and ``columns`` are (first, one past the last)."""

    study: Study
    scan: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the box."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def step_um(self) -> float:
        return self.study.scan(self.scan).step_um

    @property
    def label(self) -> str:
        """The alloy as a title names it; says "virtual" where that is so."""
        return scan_label(self.study, self.scan)

    @cached_property
    def mask(self) -> np.ndarray:
        """(h, w) bool, True inside the screen."""
        path = Layout(self.study).scan(self.scan).mask
        return np.load(require(path, "notebook 02")).astype(bool)

    @cached_property
    def _orientations(self) -> dict[str, CrystalMap]:
        return {}

    def orientations(self, model: str = PREPROCESSED) -> CrystalMap:
        """Orientations of the whole scan, from its preprocessed or a model's patterns."""
        if model not in self._orientations:
            path = Layout(self.study).orientations(model, self.scan)
            self._orientations[model] = load_map(require(path, "notebook 06"))
        return self._orientations[model]

    def crop(self, values: np.ndarray) -> np.ndarray:
        """Cut this box out of an array whose first two axes are those of the scan."""
        return values[slice(*self.rows), slice(*self.columns)]

    def property_map(self, name: str, model: str = PREPROCESSED) -> np.ndarray:
        """A property of the orientation map, for example "pq", (rows, columns) float."""
        xmap = self.orientations(model)
        return self.crop(np.asarray(xmap.prop[name], float).reshape(xmap.shape))

    def truth(self, name: str) -> np.ndarray:
        """A field of :class:`~kikuhelpers.scans.virtual.truth.Truth`, (rows, columns, ...)."""
        path = Layout(self.study).scan(self.scan).truth
        return self.crop(getattr(load_truth(require(path, "notebook 01")), name))

    def indexed(self, model: str = PREPROCESSED) -> np.ndarray:
        """(rows, columns) bool."""
        xmap = self.orientations(model)
        return self.crop(xmap.is_indexed.reshape(xmap.shape))

    def grains(self) -> np.ndarray:
        """(rows, columns) int, -1 where there is no grain."""
        return self.property_map("grain").astype(int)

    def ipf_x(self, model: str = PREPROCESSED) -> np.ndarray:
        """IPF-X colours, (rows, columns, 3), black where not indexed."""
        colours = self.crop(ipf_colours(self.orientations(model), direction="x"))
        return np.where(self.indexed(model)[..., None], colours, 0.0)

    def latents(self, model: str) -> np.ndarray:
        """Latent means of the box, (rows, columns, D), mapped from file."""
        path = Layout(self.study).model_scan(model, self.scan).latents
        return self.crop(np.load(require(path, "notebook 04"), mmap_mode="r"))

    def features(self, model: str) -> pd.DataFrame:
        """Measures of every latent feature on the whole scan; row i is feature i + 1."""
        path = Layout(self.study).model_scan(model, self.scan).features
        return pd.read_csv(require(path, "notebook 04"))

    def losses(self, model: str) -> np.ndarray:
        """Loss of every pattern of the box, (rows, columns)."""
        path = Layout(self.study).model_scan(model, self.scan).pattern_loss
        return self.crop(np.load(require(path, "notebook 05")))

    def pattern(self, row: int, column: int, model: str = PREPROCESSED) -> np.ndarray:
        """One pattern (h, w) in [-1, 1], by its row and column in the box."""
        place = self.rows[0] + row, self.columns[0] + column
        return to_intensity(counts_at(self.study, model, self.scan, *place))


def whole(study: Study, scan: str) -> View:
    """View of a whole scan."""
    card = load_json(require(Layout(study).scan(scan).card, "notebook 01"))
    rows, columns = card["map_shape"]
    return View(study, scan, (0, rows), (0, columns))


def path_points(start: tuple[int, int], stop: tuple[int, int]) -> np.ndarray:
    """Return the points (n, 2) of a straight path, both ends included, one per step."""
    count = max(abs(stop[0] - start[0]), abs(stop[1] - start[1])) + 1
    return np.round(np.linspace(start, stop, count)).astype(int)


def scan_label(study: Study, scan: str) -> str:
    """Name a scan in a title: "wrought alloy", "virtual AM alloy", or its own name."""
    names = {"am": "AM alloy", "wrought": "wrought alloy"}
    alloy = names.get(study.scan(scan).alloy, scan)
    return f"virtual {alloy}" if study.is_virtual(scan) else alloy
