"""A study: its scans, models and baselines, and the settings that all of them share.

Settings are nested by the stage that reads them (:mod:`kikuhelpers.study.stages`). An unknown
key, a wrong type or an impossible value ends in one clear sentence. Defaults are the paper's
values (Calvat et al., npj Comput. Mater. 2025, doi:10.1038/s41524-025-01770-8) unless a comment
says "departure".
"""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PrivateAttr, ValidationError, model_validator

from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.study.models import Baseline, Model, Training
from kikuhelpers.study.phases import NICKEL, Phase, Phases
from kikuhelpers.study.scans import FILE, Scan
from kikuhelpers.study.values import Count, Fraction, Name, Positive, Seed, Settings

PREPROCESSED = "preprocessed"  # the "model" that leaves patterns as they are
_PLACED = Literal["4B", "4D", "4E", "5A", "5B", "5C", "6A", "6B", "7", "7C"]
_LETTERS = {2: "AB", 4: "ABDE", 5: "ABC", 6: "AB", 7: "ABCD"}
_PANELS = Literal[*(f"{number}{at}" for number, of in _LETTERS.items() for at in of)]
_OF_FEATURES = "4A", "4B", "4D", "4E", "5A.1", "5B.1", "5C.1", "6A.1", "6A.2", "6B.1", "6B.2"
# Equal steps of these look equal, to the colour-blind, too, and in print without colours.
_EVEN = "viridis", "cividis", "magma", "inferno", "plasma", "gray"
_COLOURS = Literal[*_EVEN, *(f"{name}_r" for name in _EVEN)]
# Sources and public scans whose phase is known.
_OF_NICKEL = {"virtual", "in718_rx", "nickel_ebsd_small", "nickel_ebsd_large", "ni_gain"}


class StudyError(SentenceError):
    """A study that cannot be run."""


class ScreenMask(Settings):
    """A round screen, in pixels of the network's pattern of 120 x 120 px, whatever the camera's."""

    centre: tuple[float, float]  # row, column
    radius: Positive


class Preprocessing(Settings):
    background: Literal["map mean", "none"] = "map mean"
    # What becomes [-1, 1], which the paper does not say. Of each pattern: its lowest to highest
    # value, its percentiles 0.5 to 99.5, or three standard deviations about its mean. Or three
    # standard deviations of the map about its mean: one scale for all patterns.
    rescale: Literal["pattern", "percentiles", "z-score", "map"] = "pattern"
    mask: ScreenMask | Literal["find", "none"] = "find"


class Indexing(Settings):
    """Hough indexing; names of the paper's settings where it has them."""

    # None: nickel where the data are known to be, else what the scan's file says, else an error.
    phase: Phases | None = None
    theta_step_deg: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    rho_fraction: Fraction = 0.85
    rho_bins: Annotated[int, Field(ge=10, le=1000)] = 90
    bands: Annotated[int, Field(ge=3, le=50)] = 9
    calibration_patterns: Count = 500  # drawn at random to calibrate the pattern centre
    minimum_matched_bands: Annotated[int, Field(ge=3)] = 3
    grain_deg: Positive = 5.0  # boundary threshold of grains, for GROD
    kam_order: Annotated[int, Field(ge=1, le=10)] = 1
    kam_limit_deg: Positive = 5.0  # neighbours further off belong to another grain

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that indexing looks for."""
        return self.phase if isinstance(self.phase, tuple) else (self.phase,) * bool(self.phase)


Statistic = Literal["PCA eigenvalue", "power", "noise", "pq", "fit", "KAM", "sharpness"]


class Comparison(Settings):
    """A measured and a virtual scan whose statistics notebook 10 compares."""

    came_later: ClassVar = {"rows": None, "fitted": ()}
    measured: Name
    virtual: Name
    rows: tuple[int, int] | None = None  # of both scans: first and one past the last; None: all
    # Kinds of statistics that the virtual scan's settings were fitted to. What they agree in is no
    # evidence; see kikuhelpers/tables/realism.py.
    fitted: tuple[Statistic, ...] = ()


class Region(Settings):
    """A box of the map in points: given by hand, or only its size, and chosen by a measure.

    With ``size`` the box is the one with most structure inside the grains, or the ``rank``-th that
    does not overlap; 4B is around a thin twin. See :mod:`kikuhelpers.figures.panels`.
    """

    scan: Name
    rows: tuple[int, int] | None = None  # first and one past the last
    columns: tuple[int, int] | None = None
    size: tuple[Count, Count] | None = None  # (rows, columns); the whole map where it is smaller
    rank: Count = 1  # of the boxes with a size

    @model_validator(mode="after")
    def _box_or_size(self):
        given = self.rows is not None and self.columns is not None
        if given == (self.size is not None) or (self.rows is None) != (self.columns is None):
            raise ValueError("a region needs either rows and columns or a size")
        if given and self.rank > 1:
            raise ValueError("a region of given rows and columns has no rank")
        for first, last in (self.rows, self.columns) if given else ():
            if not 0 <= first < last:
                raise ValueError(f"a region needs 0 <= first < last, not {first}, {last}")
        return self


class Path4C(Settings):
    """The path of Fig. 4C: across a wall, by the truth of a virtual scan or inside a grain.

    Which wall, a measure says: see :func:`kikuhelpers.figures.panels.path_view`.
    """

    gone: ClassVar = {"start": None, "stop": None}
    scan: Name
    length: Annotated[int, Field(ge=3)]  # points


class Figures(Settings):
    """Width and colours of the figures, and what they show, by the paper's panel."""

    came_later: ClassVar = {"width_mm": 183, "colours": {}, "features": {}, "panels": ()}
    width_mm: Literal[89, 183] = 183  # of a journal's column or page
    colours: dict[_COLOURS, _COLOURS] = Field(default_factory=dict)  # in place of a colour map
    regions: dict[_PLACED, Region] = Field(default_factory=dict)
    path_4c: Path4C | None = None
    # Latent features by number, where no measure is to choose; those of 7A go for its zoom, too.
    features: dict[Literal[*_OF_FEATURES, "7A.1", "7A.2", "7A.3"], NonNegativeInt] = Field({})
    panels: tuple[_PANELS, ...] = ()  # of a figure these alone are drawn; none named: all


class Origin(NamedTuple):
    """How a study came about."""

    source: str  # its name in ``studies/``, or the path of its file
    study: "Study | None" = None  # before the overrides; None without any
    overrides: dict[str, Any] | None = None  # values changed for this run, by dotted name


class Study(Settings):
    """All settings of a study; see :func:`kikuhelpers.study.load.load_study`."""

    gone: ClassVar = {"tables": {"wrong_deg": 15.0}}
    name: Name
    title: str
    seed: Seed = 1  # of every draw that is not a model's or a virtual specimen's own
    scans: Annotated[dict[Name, Scan], Field(min_length=1)]
    preprocessing: Preprocessing = Preprocessing()
    indexing: Indexing = Indexing()
    training: Training = Training(epochs=250)
    models: dict[Name, Model] = Field(default_factory=dict)  # none, where scans are compared
    baselines: dict[Name, Baseline] = Field(default_factory=dict)  # beside the models, Table 1
    comparison: Comparison | None = None
    figures: Figures = Figures()
    _origin: Origin | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _names_agree(self):
        if not self.models and not self.comparison:
            raise ValueError("models are missing: name at least one model")
        if PREPROCESSED in self.models:
            raise ValueError("'preprocessed' is not a model's name: it stands for the input")
        for panel, box in [*self.figures.regions.items(), ("path_4c", self.figures.path_4c)]:
            if box and box.scan not in self.scans:
                raise ValueError(f"figures: {panel} names scan '{box.scan}', which is not listed")
        for panel, box in self.figures.regions.items():
            data = self.scans[box.scan].data
            if box.rows and (shape := getattr(data, "map_shape", None)):
                first, last = getattr(data, "rows", None) or (0, shape[0])
                if box.rows[1] > last - first or box.columns[1] > shape[1]:
                    size = f"{last - first} x {shape[1]} points"
                    raise ValueError(f"figures: {panel} ends outside of its map of {size}")
        models = self.models.values()  # figures show the largest conventional VAE, if there is one
        plain = [m.latent_dim for m in models if m.loss == "vae" and m.beta == 1]
        largest = max(plain or [m.latent_dim for m in models], default=0)
        for panel, index in self.figures.features.items():
            if index >= largest:
                raise ValueError(
                    f"figures: {panel} names feature {index}, the last is {largest - 1}"
                )
        background_of = {n: scan.preprocessing.background_of for n, scan in self.scans.items()}
        others = {n: o for n, o in background_of.items() if o != FILE or self.is_virtual(n)}
        pair = self.comparison and self.comparison.model_dump(include={"measured", "virtual"})
        named = pair or {}
        named |= {f"hold_out of {k}": m.hold_out.scan for k, m in self.models.items() if m.hold_out}
        named |= {f"background_of of {k}": other for k, other in others.items()}
        for where, scan in named.items():
            if scan is not None and scan not in self.scans:
                raise ValueError(f"{where}: scan '{scan}' is not listed")
        for name, other in others.items():
            if others.get(other):
                raise ValueError(f"background_of of {name}: that scan has no own background")
        if self.models and not self.decoded_scans:
            raise ValueError("no scan serves for all, so Table 1 would be empty")
        trained = [name for name, model in self.models.items() if not model.weights]
        if (trained or self.baselines) and not self.training_scans:
            raise ValueError("the training sample is empty: no scan gives training patterns")
        sample = sum(scan.training.patterns for scan in self.scans.values())
        if self.baselines and not self.models:
            raise ValueError("baselines stand beside models in Table 1: name at least one model")
        for name, baseline in self.baselines.items():
            if name in (*self.models, PREPROCESSED):
                raise ValueError(f"baseline '{name}': that name is taken, choose another")
            if (components := getattr(baseline, "components", 0)) > sample:
                raise ValueError(
                    f"baseline '{name}': {components} components are more than the {sample} "
                    "patterns of the training sample"
                )
        for name in trained:
            training = self.training_of(name)
            if training.epochs is None and training.presentations is None:
                raise ValueError(f"model '{name}' needs epochs or presentations")
            if training.grown_from:
                self._check_growth(name, training.grown_from)
        return self

    def _check_growth(self, name: str, small: str):
        if small not in self.models:
            raise ValueError(f"grown_from of {name}: model '{small}' is not listed")
        grown, before = self.models[name], self.models[small]
        if before.latent_dim >= grown.latent_dim or before.hold_out != grown.hold_out:
            raise ValueError(
                f"grown_from of {name}: '{small}' must have fewer latent dimensions and hold out "
                "the same"
            )

    def scan(self, name: str) -> Scan:
        """Return the settings of one scan by its name."""
        return self._pick(self.scans, name, "scan")

    def model(self, name: str) -> Model:
        """Return the settings of one model by its name."""
        return self._pick(self.models, name, "model")

    def baseline(self, name: str) -> Baseline:
        """Return the settings of one baseline by its name."""
        return self._pick(self.baselines, name, "baseline")

    def training_of(self, name: str) -> Training:
        """Return the training settings of a model: its own, or the study's."""
        return self.model(name).training or self.training

    def indexing_of(self, scan: str, of_file: list[dict] | None = None) -> Indexing:
        """Return the settings of a scan's indexing; ``of_file`` are phases that its file names.

        They count where the study names none; StudyError where they cannot be used.
        """
        phase, data = self.indexing.phase, self.scan(scan).data
        if phase is None:
            phase = NICKEL if getattr(data, "name", data.source) in _OF_NICKEL else of_file or None
        try:
            return Indexing.model_validate(dict(self.indexing) | {"phase": phase})
        except ValidationError as error:
            first, names = error.errors()[0], ", ".join(phase["name"] for phase in of_file)
            what = f"names {names}, but not well ({first['loc'][-1]}: {first['msg']})"
            raise StudyError(f"The file of scan '{scan}' {what}: give indexing.phase.") from None

    @property
    def origin(self) -> Origin:
        """How the study came about: its file, and the values changed for this run."""
        return self._origin or Origin(self.name)

    def with_origin(self, origin: Origin) -> "Study":
        """Note how the study came about; return it."""
        self._origin = origin
        return self

    @property
    def training_scans(self) -> list[str]:
        """Names of the scans that give patterns to the training sample."""
        return [name for name, scan in self.scans.items() if scan.training.patterns]

    @property
    def mapped_scans(self) -> list[str]:
        """Names of the scans of which latent maps are made."""
        return [name for name, scan in self.scans.items() if scan.serves != "training"]

    @property
    def decoded_scans(self) -> list[str]:
        """Names of the scans whose patterns are decoded and indexed again."""
        return [name for name, scan in self.scans.items() if scan.serves == "all"]

    @property
    def virtual_scans(self) -> list[str]:
        """Names of the scans of virtual specimens."""
        return [name for name in self.scans if self.is_virtual(name)]

    @property
    def decoders(self) -> dict[str, Model | Baseline]:
        """All that decode maps of patterns: models, then baselines."""
        return self.models | self.baselines

    @property
    def largest_pca(self) -> str | None:
        """Name of the PCA with most components, the first of equals; None without one."""
        components = {n: b.components for n, b in self.baselines.items() if b.method == "pca"}
        return max(components, key=components.get, default=None)

    @property
    def components_wanted(self) -> int:
        """Number of principal components that the PCAs and the table linear.csv need."""
        largest = [self.baseline(self.largest_pca).components] if self.largest_pca else []
        return max([model.latent_dim for model in self.models.values()] + largest)

    def is_virtual(self, scan: str) -> bool:
        """Tell whether a scan is of a virtual specimen, which every figure must say."""
        return self.scan(scan).data.source == "virtual"

    def _pick(self, items: dict, name: str, kind: str):
        if name not in items:
            known = ", ".join(items)
            raise StudyError(f"Study '{self.name}' has no {kind} '{name}'; it has {known}.")
        return items[name]
