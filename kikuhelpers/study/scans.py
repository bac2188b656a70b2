"""Settings of a scan: where its patterns come from, and what each stage needs to know of it.

They are nested by the stage that reads them, so that a changed value redoes that stage and
what follows it, and nothing else: see :mod:`kikuhelpers.study.stages`.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Tag, model_validator

from kikuhelpers.study.phases import LIST_OR_ONE
from kikuhelpers.study.sizes import NETWORK_INPUT_PX
from kikuhelpers.study.specimen import Specimen
from kikuhelpers.study.values import Count, Fraction, Name, NonNegative, Positive, Seed, Settings

FILE = "its file"  # in place of a scan's name, which has no spaces
_SHORTEST_UP_HEADER = 16  # bytes, of version 1
# Ranges of a pattern centre, in fractions of the camera. The beam's foot lies within a half
# pattern of the screen, and the camera is not nearer than a fifth of it, in any set-up known.
_FOOT, _DISTANCE = (-0.5, 1.5), (0.2, 3.0)
_SCREENS_UM = 5e3, 2e5  # width: a small chip's, and more than any phosphor's; not mm, not pixels


def plausible(
    centre: tuple[float, float, float], *, advice="per cent and pixels are to be divided first"
) -> tuple[float, float, float]:
    """Return a centre of the camera, in fractions of it; ValueError for one that cannot be."""
    for value, (low, high) in zip(centre, (_FOOT, _FOOT, _DISTANCE), strict=True):
        if not low <= value <= high:
            raise ValueError(
                f"{list(centre)} is no pattern centre in fractions of the pattern: {value:g} lies "
                f"outside {low:g} to {high:g}; {advice}"
            )
    return centre


ThreeFractions = Annotated[tuple[float, float, float], AfterValidator(plausible)]
FiveDeviations = Annotated[tuple[NonNegative, ...], Field(min_length=5, max_length=5)]


class FileData(Settings):
    """A scan that kikuchipy reads, an EDAX UP1/UP2 file, or a folder (or glob) of images."""

    came_later: ClassVar = {"rows": None, "offset": None, "processed": True, "flip": False}
    source: Literal["file"] = "file"
    path: str
    step_um: Positive | None = None  # None: the file's, else 1, see the scan's card
    # (rows, columns), for files that do not say (UP2 version 1)
    map_shape: tuple[Count, Count] | None = None
    rows: tuple[int, int] | None = None  # first and one past the last map row to use
    # Bytes before the first pattern of a UP file whose header is wrong
    offset: Annotated[int, Field(ge=_SHORTEST_UP_HEADER)] | None = None
    processed: bool = True  # of .h5oina, which may hold processed and unprocessed patterns
    flip: bool = False  # patterns are upside down: turn them


class ArrayData(Settings):
    """Bare patterns: .npy, HDF5, .mat or flat binary, map rows x columns x pattern."""

    came_later: ClassVar = {"rows": None, "flip": False}
    source: Literal["array"]
    path: str
    step_um: Positive | None = None
    map_shape: tuple[Count, Count]
    pattern_shape: tuple[Count, Count]
    dtype: Literal["uint8", "uint16", "float32"] = "uint16"  # of flat binary only
    dataset: str | None = None  # name inside HDF5 or .mat
    rows: tuple[int, int] | None = None
    flip: bool = False


class PublicData(Settings):
    """A public scan by name, from the registry in :mod:`kikuhelpers.scans.public`."""

    source: Literal["public"]
    name: str
    step_um: Positive | None = None
    rows: tuple[int, int] | None = None  # first and one past the last map row to use


class Microscope(Settings):
    """What stands between a virtual specimen and the pattern file.

    The signal is the sum of bands and brightness, relative to the background. Values marked
    "crop" are fitted to rows 0-59 of the measured IN718 crop; notebook 10 shows the comparison
    on rows 60-119.
    """

    came_later: ClassVar = {
        "dechannelling": 0.0,
        "dechannelled_yield": 0.0,
        "yield_by_phase": False,
    }
    # Pattern centre of the map's middle, in Bruker's convention: fractions of the detector.
    pattern_centre: tuple[float, float, float] = (0.5, 0.3, 0.6)
    sample_tilt_deg: float = 70.0
    detector_tilt_deg: float = 0.0
    pixels: Count = NETWORK_INPUT_PX  # width and height of a pattern
    # Full widths at half maximum of the interaction volume on the surface, down the slope (x)
    # and along it (y). Measured in Al at 20 kV and a tilt of 70°: 0.66 and 0.25 um (Hjelen & Nes,
    # Proc. XII Int. Congr. Electron Microsc. (1990) 404). Taken as inverse to the density,
    # 2.7 against 8.2 g/cm3 of alloy 718. The crop's boundaries say 1 um: studies/realism.yaml.
    interaction_um: tuple[NonNegative, NonNegative] = (0.22, 0.08)
    # Width of the whole pattern on the detector. It sets how far the pattern centre moves
    # with the beam.
    screen_width_um: Positive = 30_000.0
    point_spread_deg: NonNegative = 0.43  # phosphor and lens, standard deviation; crop
    contrast: NonNegative = 0.03  # standard deviation of the bands; crop
    # Dislocations scatter electrons out of the channels. The share lost per unit of density is
    # assumed: 1 - exp(-0.003 * 45) = 13 % in a strong wall of an AM specimen. What is lost from
    # the bands is diffuse and raises the yield, by this share if all were lost; assumed, of the
    # order of the contrast between the best and the worst channelling of a crystal.
    dechannelling: NonNegative = 0.003
    dechannelled_yield: NonNegative = 0.05
    yield_by_phase: bool = True  # backscatter coefficient by the phase's mean atomic number
    # Standard deviations of the brightness that varies with the orientation: constant, linear,
    # quadratic, cubic and quartic across the screen; crop.
    brightness: FiveDeviations = (0.014, 0.0078, 0.007, 0.0085, 0.008)
    flicker: NonNegative = 0.003  # brightness that varies from point to point, all terms; crop
    background_centre: tuple[Fraction, Fraction] = (0.66, 0.48)  # brightest row, column; crop
    background_sigma: Positive = 0.33  # of a Gaussian on a floor, fraction of the pattern; crop
    background_floor: Fraction = 0.3  # crop
    # Electrons per pixel of 120 x 120, where brightest. Crop: with the lossy coding of its tiles
    # at a quality of 91 both their noise and their size come out right.
    dose: Positive = 13_000.0
    read_noise: NonNegative = 10.0  # electrons per pixel of 120 x 120
    gain: Positive = 3.75  # counts per electron of 120 x 120
    dust_spots: int = 5
    dust_radius: Positive = 0.012  # fraction of the pattern
    dust_shade: Fraction = 0.15  # of the background, at the middle of a spot


class VirtualData(Settings):
    """A window of a virtual specimen; two scans of one specimen give the same settings and seed."""

    source: Literal["virtual"]
    map_shape: tuple[Count, Count]
    step_um: Positive = 1.0
    origin_um: tuple[float, float] = (0.0, 0.0)  # first point in the specimen: x (rows), y
    seed: Seed = 1
    specimen: Specimen
    microscope: Microscope = Microscope()
    # Quality of lossy 8-bit WebP, as the measured crop was published; None: counts as they are.
    webp_quality: Annotated[int, Field(ge=0, le=100)] | None = None


Data = Annotated[FileData | ArrayData | PublicData | VirtualData, Field(discriminator="source")]


class ScanPreprocessing(Settings):
    """What preprocessing needs to know of a scan."""

    came_later: ClassVar = {"square": "crop"}
    binning: Count = 1  # the paper bins 480 x 480 px by 4
    # What the network sees of patterns that are not square: kikuhelpers/patterns/geometry.py.
    square: Literal["crop", "pad"] = "crop"
    # Scan whose mean pattern is subtracted in place of this scan's, or the static background that
    # its file brings; departure: in a window of one or two grains the mean pattern holds the bands
    # of these grains.
    background_of: Name | Literal[FILE] | None = None


class ScanTraining(Settings):
    """What training takes from a scan."""

    patterns: Annotated[int, Field(ge=0)] = 16000  # drawn at random; the paper's number


class PatternCentre(Settings):
    """A pattern centre of the camera in one vendor's convention, as kikuchipy defines it.

    Fractions of the camera: Bruker's from the upper left corner, EDAX's and Oxford's from the
    lower left one. EMsoft's (5.0 and later) are the pixels from the middle to the right and up,
    and the distance in micrometres; they need the size of a pixel.
    """

    bruker: ThreeFractions | None = None
    edax: ThreeFractions | None = None
    oxford: ThreeFractions | None = None
    emsoft: tuple[float, float, Positive] | None = None
    pixel_um: Positive | None = None

    @model_validator(mode="after")
    def _one_convention(self):
        if len(self.given) != 1:
            raise ValueError("give one of bruker, edax, oxford, emsoft")
        if (self.emsoft is None) != (self.pixel_um is None):
            raise ValueError(
                "emsoft goes with pixel_um, the size of a pixel, and nothing else does"
            )
        return self

    @property
    def given(self) -> dict[str, tuple[float, float, float]]:
        """The three numbers, by the convention's name in kikuchipy."""
        return {name: value for name, value in self if value is not None and name != "pixel_um"}


# Three numbers are Bruker's convention, of the camera.
StatedCentre = Annotated[
    Annotated[ThreeFractions, Tag("list")] | Annotated[PatternCentre, Tag("one")], LIST_OR_ONE
]


class ScanIndexing(Settings):
    """Geometry of the detector; what is not said is taken from the scan's file, if it says it.

    The pattern centre is a first guess: indexing calibrates it.
    """

    came_later: ClassVar = {"screen_um": None}
    pattern_centre: StatedCentre | None = None
    sample_tilt_deg: float | None = None
    detector_tilt_deg: float | None = None
    # Width of what a whole pattern shows of the screen. The pattern centre then moves with the
    # beam; None: one for the map, which does for maps of less than 0.2 mm.
    screen_um: Annotated[float, Field(ge=_SCREENS_UM[0], le=_SCREENS_UM[1])] | None = None


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
            fields = Microscope.model_fields
            known["indexing"] = {
                name: microscope.get(name, fields[name].default)
                for name in ScanIndexing.model_fields.keys() & fields.keys()
            }
        for stage, values in known.items():
            if isinstance(given.get(stage, {}), dict):
                whole[stage] = values | given.get(stage, {})
        return whole
