"""The study file: every parameter of a study, validated once, in one place.

A study is a YAML file in ``studies/``. It is read into the settings below, where
an unknown key, a wrong type or an impossible value ends in one clear sentence.
A single value can be changed for one run by its dotted name, for example
``{"training.batch_size": 128}``.

Defaults are the paper's values (Calvat et al., npj Comput. Mater. 2025,
doi:10.1038/s41524-025-01770-8) unless a comment says "departure".
"""

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from kikuhelpers.study.baselines import Baseline, check_baselines
from kikuhelpers.study.figures import Figures
from kikuhelpers.study.microscope import Microscope
from kikuhelpers.study.specimen import Specimen
from kikuhelpers.study.values import Count, Fraction, Name, NonNegative, Positive, Settings

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
STUDIES_FOLDER = PROJECT_ROOT / "studies"
LATENT_DIMENSIONS = (16, 32, 64, 128, 256)  # the paper's Table 2
NETWORK_INPUT_PX = 120  # the paper's Table 2: 480 px binned by 4


class StudyError(ValueError):
    """A study that cannot be run; the message is one sentence for its user."""


# --------------------------------------------------------------------- scans


class _Scan(Settings):
    alloy: Literal["wrought", "am", "other"] = "other"  # which of the paper's figures it fills
    step_um: Positive = 1.0
    binning: Count = 1  # the paper bins 480 x 480 px by 4
    # Scan whose mean pattern is subtracted in place of the own one; departure: in a window of
    # one or two grains the mean holds their bands.
    background_of: Name | None = None
    training_patterns: Annotated[int, Field(ge=0)] = 16000  # drawn at random from this scan
    # How far the models take it: "training" patterns only, latent "maps" too, or "all": decoded
    # patterns and their orientations as well, in Table 1. Not among the settings that results
    # are compared by, since none depends on it.
    serves: Literal["training", "maps", "all"] = Field("all", exclude=True)
    # First guess of the pattern centre (Bruker convention, fractions of the detector),
    # calibrated by Hough indexing.
    pattern_centre: tuple[float, float, float] = (0.5, 0.3, 0.6)
    sample_tilt_deg: float = 70.0
    detector_tilt_deg: float = 0.0


class FileScan(_Scan):
    """A scan that kikuchipy reads, or an EDAX UP1/UP2 file."""

    source: Literal["file"] = "file"
    path: str
    # (rows, columns), for files that do not say (UP2 version 1)
    map_shape: tuple[Count, Count] | None = None


class ArrayScan(_Scan):
    """Bare patterns: .npy, .h5, .mat or flat binary, map rows x columns x pattern."""

    source: Literal["array"]
    path: str
    map_shape: tuple[Count, Count]
    pattern_shape: tuple[Count, Count]
    dtype: Literal["uint8", "uint16", "float32"] = "uint16"  # of flat binary only
    dataset: str | None = None  # name inside .h5 or .mat


class PublicScan(_Scan):
    """A public scan by name, from the registry in :mod:`kikuhelpers.scans.public`."""

    source: Literal["public"]
    name: str
    rows: tuple[int, int] | None = None  # first and one past the last map row to use


class VirtualScan(_Scan):
    """A window of a virtual specimen; two scans of one specimen give the same settings and seed."""

    source: Literal["virtual"]
    map_shape: tuple[Count, Count]
    origin_um: tuple[float, float] = (0.0, 0.0)  # first point in the specimen: x (rows), y
    seed: int = 1
    specimen: Specimen
    microscope: Microscope = Microscope()
    # Quality of lossy 8-bit WebP, as the measured crop was published; None: counts as they are.
    webp_quality: Annotated[int, Field(ge=0, le=100)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _figures_of_the_alloy(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("specimen"), dict):
            alloy = given["specimen"].get("alloy")
            return {"alloy": alloy if alloy in ("wrought", "am") else "other"} | given
        return given


Scan = Annotated[FileScan | ArrayScan | PublicScan | VirtualScan, Field(discriminator="source")]

# ------------------------------------------------- preprocessing and models


class ScreenMask(Settings):
    """A round screen, in pixels of the binned pattern."""

    centre: tuple[float, float]  # row, column
    radius: Positive


class Preprocessing(Settings):
    background: Literal["map mean", "none"] = "map mean"
    rescale: Literal["pattern", "map"] = "pattern"  # the paper does not say which
    mask: ScreenMask | Literal["find", "none"] = "find"


class Training(Settings):
    """How a model is trained. Give either ``epochs`` or ``presentations``."""

    epochs: Count | None = None
    presentations: Count | None = None  # patterns shown in all; departure: for short runs
    batch_size: Count = 256
    learning_rate: Positive = 1e-3
    gradient_decay: Fraction = 0.9  # Adam's first beta
    squared_gradient_decay: Fraction = 0.999  # Adam's second beta
    # Departures, each against a failure seen while planning: 64-D blew up at step 100
    # without warm-up, 128-D ran into NaN where the log-variance was free. The paper's way
    # is warmup_steps 0, gradient_clip and log_variance_bounds null, precision float32.
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    gradient_clip: Positive | None = 100.0  # norm; None: off
    log_variance_bounds: tuple[float, float] | None = (-10.0, 3.0)  # None: free
    # Departure where above 0: beta grows from 0 over so many steps. Off, for it helped
    # little, and 64-D ran into NaN with it and a free log-variance.
    kl_warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay: Literal["none", "cosine"] = "none"  # departure: "cosine" for short runs
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    compile: bool = False  # torch.compile, on CUDA only: minutes at the start, faster after
    history_steps: Count = 50  # one line of the loss history per so many steps
    checkpoint_seconds: Positive = 60.0
    tensorboard: bool = False  # the history for TensorBoard as well

    @model_validator(mode="after")
    def _one_length(self):
        if self.epochs is not None and self.presentations is not None:
            raise ValueError("give epochs or presentations, not both")
        low, high = self.log_variance_bounds or (-math.inf, math.inf)
        if low >= high:
            raise ValueError("the lower bound of log_variance_bounds must be below the upper")
        return self


class Augmentation(Settings):
    """Strengths of the contrastive views; the paper names the kinds, not the strengths."""

    salt_and_pepper: Fraction = 0.02  # largest fraction of pixels
    gaussian: NonNegative = 0.2  # largest standard deviation, in units of the [-1, 1] scale
    gamma: tuple[Positive, Positive] = (0.7, 1.4)
    probability: Fraction = 0.5  # of each kind, drawn alone, so that kinds superimpose


class Contrastive(Settings):
    """NT-Xent on a projection head; values not in the paper."""

    temperature: Positive = 0.5
    weight: NonNegative = 10.0
    head_width: Count = 128
    projection_dim: Count = 64
    augmentation: Augmentation = Augmentation()


class HoldOut(Settings):
    """Grains that a model does not see: a twin pair and all points of its orientations."""

    scan: Name
    # Of the indexed points that may be held out; departure: the paper holds out nothing.
    largest_share: Fraction = 0.3


class Model(Settings):
    latent_dim: int
    loss: Literal["vae", "contrastive"] = "vae"
    beta: NonNegative = 1.0
    seed: int = 1
    contrastive: Contrastive = Contrastive()
    training: Training | None = None  # in place of the study's
    hold_out: HoldOut | None = None

    @model_validator(mode="after")
    def _latent_dim_of_table2(self):
        if self.latent_dim not in LATENT_DIMENSIONS:
            raise ValueError(f"latent_dim must be one of {LATENT_DIMENSIONS}")
        return self


# ---------------------------------------------------- indexing and the study


class Phase(Settings):
    name: str = "Ni"
    space_group: Annotated[int, Field(ge=1, le=230)] = 225
    lattice_nm: Positive = 0.36  # cubic a; fits the measured IN718 crop


class Indexing(Settings):
    """Hough indexing; names of the paper's settings where it has them."""

    phase: Phase = Phase()
    theta_step_deg: Positive = 1.0
    rho_fraction: Fraction = 0.85
    rho_bins: Count = 90
    bands: Annotated[int, Field(ge=3)] = 9
    calibration_patterns: Count = 500  # drawn at random to calibrate the pattern centre
    minimum_matched_bands: Annotated[int, Field(ge=3)] = 3
    wrong_deg: Positive = 15.0  # indexed but further off counts as wrong
    grain_deg: Positive = 5.0  # boundary threshold of grains, for GROD
    kam_order: Count = 1
    kam_limit_deg: Positive = 5.0  # neighbours further off belong to another grain


class Comparison(Settings):
    """A measured and a virtual scan whose statistics notebook 09 compares."""

    measured: Name
    virtual: Name


class Study(Settings):
    name: Name
    title: str
    scans: Annotated[dict[Name, Scan], Field(min_length=1)]
    models: dict[Name, Model] = Field(default_factory=dict)  # none, where scans are compared
    baselines: dict[Name, Baseline] = Field(default_factory=dict)  # beside the models, Table 1
    comparison: Comparison | None = None
    preprocessing: Preprocessing = Preprocessing()
    training: Training = Training(epochs=250)
    indexing: Indexing = Indexing()
    figures: Figures = Figures()
    seed: int = 1

    @model_validator(mode="after")
    def _names_agree(self):
        if not self.models and not self.comparison:
            raise ValueError("models are missing: name at least one")
        if "preprocessed" in self.models:
            raise ValueError("'preprocessed' is not a model's name: it stands for the input")
        boxes = [*self.figures.regions.items(), ("path_4c", self.figures.path_4c)]
        for panel, box in boxes:
            if box is not None and box.scan not in self.scans:
                raise ValueError(f"figures: {panel} names scan '{box.scan}', which is not listed")
        named = self.comparison.model_dump() if self.comparison else {}
        named |= {f"hold_out of {k}": m.hold_out.scan for k, m in self.models.items() if m.hold_out}
        named |= {f"background_of of {k}": s.background_of for k, s in self.scans.items()}
        for where, scan in named.items():
            if scan is not None and scan not in self.scans:
                raise ValueError(f"{where}: scan '{scan}' is not listed")
        for name, scan in self.scans.items():
            if scan.background_of and self.scans[scan.background_of].background_of:
                raise ValueError(f"background_of of {name}: that scan has no own background")
        if self.models and not self.decoded_scans:
            raise ValueError("no scan serves for all, so Table 1 would be empty")
        if self.models and not any(scan.training_patterns for scan in self.scans.values()):
            raise ValueError("the training sample is empty: no scan gives training_patterns")
        sample = sum(scan.training_patterns for scan in self.scans.values())
        check_baselines(self.baselines, self.models, sample)
        for name in self.models:
            training = self.training_of(name)
            if training.epochs is None and training.presentations is None:
                raise ValueError(f"model '{name}' needs epochs or presentations")
        return self

    def scan(self, name: str) -> Scan:
        """Return the settings of one scan by its name."""
        return _pick(self.scans, name, "scan", self.name)

    def model(self, name: str) -> Model:
        """Return the settings of one model by its name."""
        return _pick(self.models, name, "model", self.name)

    def baseline(self, name: str) -> Baseline:
        """Return the settings of one baseline by its name."""
        return _pick(self.baselines, name, "baseline", self.name)

    def training_of(self, name: str) -> Training:
        """Return the training settings of a model: its own, or the study's."""
        return self.model(name).training or self.training

    @property
    def mapped_scans(self) -> list[str]:
        """Names of the scans of which latent maps are made."""
        return [name for name, scan in self.scans.items() if scan.serves != "training"]

    @property
    def decoded_scans(self) -> list[str]:
        """Names of the scans whose patterns are decoded and indexed again."""
        return [name for name, scan in self.scans.items() if scan.serves == "all"]

    def is_virtual(self, scan: str) -> bool:
        """Tell whether a scan is of a virtual specimen, which every figure must say."""
        return self.scan(scan).source == "virtual"


def load_study(study: str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Read and validate a study file.

    Parameters
    ----------
    study
        Name of a file in ``studies/`` without its ending, or a path to a YAML file.
    overrides
        Values to replace, by dotted name: ``{"models.vae-64.beta": 15}``.

    Raises
    ------
    StudyError
        In one sentence: no such file, not YAML, unknown key, wrong type or value.
    """
    path = study_path(study)
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise StudyError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise StudyError(
            f"{path.name} must be a list of 'key: value' lines; see studies/quick.yaml."
        )
    content.setdefault("name", path.stem)
    for scan in (content.get("scans") or {}).values():
        if isinstance(scan, dict):
            scan.setdefault("source", "file")
            if "path" in scan:  # relative to the study file, wherever the run starts
                scan["path"] = str(path.parent / Path(str(scan["path"])).expanduser())
    for key, value in (overrides or {}).items():
        _override(content, key, value)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError(f"{path.name}: {_one_sentence(error)}") from None


def study_path(study: str | Path) -> Path:
    """Return the path of a study given by name or by path."""
    path = Path(study)
    if path.suffix not in {".yaml", ".yml"}:
        path = STUDIES_FOLDER / f"{study}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in STUDIES_FOLDER.glob("*.yaml")))
        raise StudyError(
            f"There is no study '{study}'; known are {known}, or give a path to a .yaml."
        )
    return path


def results_root() -> Path:
    """Folder of all results: ``KIKUHELPERS_RESULTS`` or ``results/`` in the project."""
    return Path(os.environ.get("KIKUHELPERS_RESULTS") or PROJECT_ROOT / "results").resolve()


def figures_root() -> Path:
    """Folder of the figures and tables: ``KIKUHELPERS_FIGURES`` or ``figures/``."""
    return Path(os.environ.get("KIKUHELPERS_FIGURES") or PROJECT_ROOT / "figures").resolve()


def _pick(items: dict, name: str, kind: str, study: str):
    if name not in items:
        raise StudyError(f"Study '{study}' has no {kind} '{name}'; it has {', '.join(items)}.")
    return items[name]


def _override(content: dict, key: str, value: Any) -> None:
    # A model's name may hold dots, so the longest known key wins at each level.
    node, rest = content, key
    while "." in rest:
        heads = [k for k in node if rest.startswith(f"{k}.")] or [rest.split(".", 1)[0]]
        head = max(heads, key=len)
        node = node.setdefault(head, {})
        rest = rest[len(head) + 1 :]
        if not isinstance(node, dict):
            raise StudyError(f"Override '{key}': '{head}' holds a value, not settings.")
    node[rest] = value


def _one_sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the study"
    what = {
        "extra_forbidden": "is not a known setting",
        "missing": "is missing",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {what}{more}."
