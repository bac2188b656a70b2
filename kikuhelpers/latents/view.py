"""A scan, or a region of it, as tables and figures see it: maps, latents and patterns by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuhelpers.indexing import orientation_maps
from kikuhelpers.patterns.up2 import HALF_RANGE, to_counts, to_intensity
from kikuhelpers.preprocessing.camera_scale import MAPS
from kikuhelpers.runs.results import Results, with_rows_and_columns
from kikuhelpers.study import PREPROCESSED
from kikuhelpers.study.specimen import PHASES

# Properties of rescaled patterns that belong on the camera's scale, by their names there, and the
# half of the range that they count with.
_ON_CAMERA = {"iq_counts": ("pq", HALF_RANGE), "noise_counts": ("noise", 1.0)}
_ALLOYS = {"am": "AM alloy", "wrought": "wrought alloy"}


@dataclass(frozen=True)
class View:
    """A box of one scan; ``rows`` and ``columns`` are (first, one past the last)."""

    results: Results
    scan: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    @classmethod
    def whole(cls, results: Results, scan: str) -> "View":
        """View of a whole scan."""
        rows, columns = results.scan(scan).card["map_shape"]
        return cls(results, scan, (0, rows), (0, columns))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the box."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def step_um(self) -> float:
        return self.results.step_um(self.scan)

    @property
    def is_virtual(self) -> bool:
        """Whether the scan is of a virtual specimen, whose truth is known."""
        return self.results.study.is_virtual(self.scan)

    @property
    def label(self) -> str:
        """The scan as a title names it: "wrought alloy", "virtual AM alloy", or its own name."""
        alloy = _ALLOYS.get(self.results.study.scan(self.scan).figures.role, self.scan)
        return f"virtual {alloy}" if self.is_virtual else alloy

    def crop(self, values: np.ndarray) -> np.ndarray:
        """Cut this box out of an array whose first two axes are those of the scan."""
        return values[slice(*self.rows), slice(*self.columns)]

    @cached_property
    def mask(self) -> np.ndarray:
        """(h, w) bool, True inside the screen."""
        return self.results.scan(self.scan).mask

    @cached_property
    def _open(self) -> Callable:
        """Opens a result of the whole scan by its path, once."""
        return cache(self.results.open)

    def orientations(self, kind: str = PREPROCESSED) -> CrystalMap:
        """Orientations of the whole scan, from its preprocessed or a model's patterns."""
        return self._open(self.results.layout.orientations(kind, self.scan))

    def property_map(self, name: str, kind: str = PREPROCESSED) -> np.ndarray:
        """A property of the orientation map, for example "pq", (rows, columns) float.

        Of the preprocessed patterns also those on the camera's scale, :data:`camera_scale.MAPS
        <kikuhelpers.preprocessing.camera_scale.MAPS>`, ``iq_counts`` and ``noise_counts``;
        ``iq_per_noise``, which has no scale; and ``rotation_deg``, see
        :func:`~kikuhelpers.indexing.orientation_maps.principal_rotation_deg`.
        """
        if name in _ON_CAMERA:
            rescaled, half = _ON_CAMERA[name]
            return self.property_map(rescaled) * self.property_map("half_range") / half
        if name in MAPS:
            maps = self._open(self.results.layout.scan(self.scan).camera_scale)
            return self.crop(maps[name].astype(float))
        if name == "iq_per_noise":
            return self.property_map("pq") / (HALF_RANGE * self.property_map("noise"))
        if name == "rotation_deg":
            grains = self.orientations().get_map_data("grain")
            turn = orientation_maps.principal_rotation_deg(self.rotation_vectors, grains)
            return self.crop(turn)
        return self.crop(self.orientations(kind).get_map_data(name).astype(float))

    def truth(self, name: str) -> np.ndarray:
        """A field of the truth that a virtual scan was written with, (rows, columns, ...)."""
        return self.crop(self._open(self.results.layout.scan(self.scan).truth)[name])

    def true_orientations(self) -> CrystalMap:
        """True orientations of a whole virtual scan; points of second phases are not indexed."""
        hough, truth = self.orientations(), self._open(self.results.layout.scan(self.scan).truth)
        matrix = truth["phase"].ravel() == PHASES.index("Ni")
        true, phase_id = Rotation(truth["rotation"].reshape(-1, 4)), np.where(matrix, 0, -1)
        return with_rows_and_columns(CrystalMap(true, phase_id, hough.x, hough.y, hough.phases))

    def indexed(self, kind: str = PREPROCESSED) -> np.ndarray:
        """(rows, columns) bool."""
        return self.crop(self.orientations(kind).get_map_data("is_indexed"))

    def grains(self) -> np.ndarray:
        """(rows, columns) int, -1 where there is no grain."""
        return self.property_map("grain").astype(int)

    def crystals(self) -> np.ndarray:
        """(rows, columns) labels: true grains and lamellae, or the grains of a measured scan."""
        if not self.is_virtual:
            return self.grains()
        labels = np.unique(self.truth("grain") + 1j * self.truth("twin"), return_inverse=True)[1]
        return np.where(self.truth("phase") == PHASES.index("Ni"), labels, -1)

    @cached_property
    def rotation_vectors(self) -> np.ndarray:
        """Rotation from the grain's mean, whole scan, (rows, columns, 3) degrees, sample frame."""
        xmap = self.orientations()
        return orientation_maps.rotation_vectors_deg(xmap, xmap.get_map_data("grain"))

    def ipf_x(self, kind: str = PREPROCESSED) -> np.ndarray:
        """IPF-X colours, (rows, columns, 3), black where not indexed."""
        return self.crop(orientation_maps.ipf_colours(self.orientations(kind)))

    def latents(self, model: str) -> np.ndarray:
        """Latent means of the box, (rows, columns, D), mapped from file."""
        return self.crop(self._open(self.results.layout.model_scan(model, self.scan).latents))

    def features(self, model: str) -> pd.DataFrame:
        """Measures of every latent feature on the whole scan; row i is feature i."""
        return self._open(self.results.layout.model_scan(model, self.scan).features)

    def losses(self, kind: str) -> np.ndarray:
        """Loss of every pattern of the box, (rows, columns)."""
        return self.crop(self.results.model_scan(kind, self.scan).pattern_loss)

    def pattern(self, row: int, column: int, kind: str = PREPROCESSED) -> np.ndarray:
        """One pattern (h, w) in [-1, 1], by its row and column in the box."""
        place = self.rows[0] + row, self.columns[0] + column
        return to_intensity(self.results.pattern(kind, self.scan, *place))

    def index(self, patterns: np.ndarray) -> CrystalMap:
        """Index patterns (n, h, w) in [-1, 1] as if the camera had taken them on this scan."""
        from kikuhelpers.indexing.hough import index_patterns  # kikuchipy takes seconds
        from kikuhelpers.indexing.pattern_centre import detector_of

        study, files = self.results.study, self.results.scan(self.scan)
        card, middle = files.card, tuple(files.pattern_centre["pattern_centre"])
        detector, _ = detector_of(study.scan(self.scan), card)
        detector = replace(detector, pattern_centre=middle, screen_um=np.inf)
        indexing = study.indexing_of(self.scan, card.get("file", {}).get("phases"))
        return index_patterns(to_counts(patterns)[np.newaxis], self.mask, detector, indexing, 1.0)

    def typical_point(self, model: str) -> tuple[int, int]:
        """Point (row, column) whose loss is the median of the indexed points."""
        losses = np.where(self.indexed(), self.losses(model), np.nan)
        return highest_point(-np.abs(losses - np.nanmedian(losses)))


def highest_point(values: np.ndarray) -> tuple[int, int]:
    """Return row and column of the highest value of a map, of several the first; NaN left out."""
    return tuple(int(i) for i in np.unravel_index(np.nanargmax(values), values.shape))


def names(views: list[View]) -> str:
    """Name the scans of some views in a title, each once."""
    return " and ".join(dict.fromkeys(view.label for view in views))
