"""Settings of a scan: where its patterns come from, and what each stage needs to know of it.

They are nested by the stage that reads them, so that a changed value redoes that stage and
what follows it, and nothing else: see :mod:`kikuhelpers.study.stages`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kikuhelpers.study.microscope import Microscope
from kikuhelpers.study.specimen import Specimen
from kikuhelpers.study.values import Count, Name, Positive, Settings

FIRST_GUESS = (0.5, 0.3, 0.6)  # of a pattern centre that nobody gave


class FileData(Settings):
    """A scan that kikuchipy reads, or an EDAX UP1/UP2 file."""

    source: Literal["file"] = "file"
    path: str
    step_um: Positive = 1.0
    # (rows, columns), for files that do not say (UP2 version 1)
    map_shape: tuple[Count, Count] | None = None


class ArrayData(Settings):
    """Bare patterns: .npy, .h5, .mat or flat binary, map rows x columns x pattern."""

    source: Literal["array"]
    path: str
    step_um: Positive = 1.0
    map_shape: tuple[Count, Count]
    pattern_shape: tuple[Count, Count]
    dtype: Literal["uint8", "uint16", "float32"] = "uint16"  # of flat binary only
    dataset: str | None = None  # name inside .h5 or .mat


class PublicData(Settings):
    """A public scan by name, from the registry in :mod:`kikuhelpers.scans.public`."""

    source: Literal["public"]
    name: str
    step_um: Positive = 1.0
    rows: tuple[int, int] | None = None  # first and one past the last map row to use


class VirtualData(Settings):
    """A window of a virtual specimen; two scans of one specimen give the same settings and seed."""

    source: Literal["virtual"]
    map_shape: tuple[Count, Count]
    step_um: Positive = 1.0
    origin_um: tuple[float, float] = (0.0, 0.0)  # first point in the specimen: x (rows), y
    seed: int = 1
    specimen: Specimen
    microscope: Microscope = Microscope()
    # Quality of lossy 8-bit WebP, as the measured crop was published; None: counts as they are.
    webp_quality: Annotated[int, Field(ge=0, le=100)] | None = None


Data = Annotated[FileData | ArrayData | PublicData | VirtualData, Field(discriminator="source")]


class ScanPreprocessing(Settings):
    """What preprocessing needs to know of a scan."""

    binning: Count = 1  # the paper bins 480 x 480 px by 4
    # Scan whose mean pattern is subtracted in place of this scan's; departure: in a window of
    # one or two grains the mean pattern holds the bands of these grains.
    background_of: Name | None = None


class ScanTraining(Settings):
    """What training takes from a scan."""

    patterns: Annotated[int, Field(ge=0)] = 16000  # drawn at random; the paper's number


class ScanIndexing(Settings):
    """Geometry of the detector. The pattern centre is a first guess: indexing calibrates it."""

    # Bruker's convention, fractions of the detector.
    pattern_centre: tuple[float, float, float] = FIRST_GUESS
    sample_tilt_deg: float = 70.0
    detector_tilt_deg: float = 0.0


class ScanFigures(Settings):
    """Which of the paper's figures a scan fills."""

    role: Literal["wrought", "am", "other"] = "other"


class Scan(Settings):
    """One scan of a study."""

    data: Data
    preprocessing: ScanPreprocessing = ScanPreprocessing()
    training: ScanTraining = ScanTraining()
    indexing: ScanIndexing = ScanIndexing()
    figures: ScanFigures = ScanFigures()
    # How far the models take it: "training" patterns only, latent "maps" too, or "all": decoded
    # patterns and their orientations as well, in Table 1.
    serves: Literal["training", "maps", "all"] = "all"

    @model_validator(mode="before")
    @classmethod
    def _a_virtual_scan_says_more(cls, given: Any) -> Any:
        """The data are of a file unless they say so; a virtual scan knows its role and geometry."""
        if not isinstance(given, dict) or not isinstance(given.get("data"), dict):
            return given
        data = {"source": "file"} | given["data"]
        whole = given | {"data": data}
        if data["source"] != "virtual" or not isinstance(data.get("specimen"), dict):
            return whole
        alloy = data["specimen"].get("alloy")
        known = {"figures": {"role": alloy if alloy in ("wrought", "am") else "other"}}
        microscope = data.get("microscope")
        if isinstance(microscope, dict):
            geometry = set(ScanIndexing.model_fields) & set(microscope)
            known["indexing"] = {name: microscope[name] for name in geometry}
        for stage, values in known.items():
            if isinstance(given.get(stage, {}), dict):
                whole[stage] = values | given.get(stage, {})
        return whole
