"""Settings of the virtual microscope; the defaults are those of the measured IN718 crop."""

from pydantic import field_validator

from kikuhelpers.study.models import NETWORK_INPUT_PX
from kikuhelpers.study.values import Count, Fraction, NonNegative, Positive, Settings


class Microscope(Settings):
    """What stands between the specimen and the pattern file.

    The signal is the sum of bands and brightness, relative to the background. Values marked
    "crop" are fitted to the measured IN718 crop; notebook 10 shows the comparison.
    """

    # Pattern centre of the map's middle, in Bruker's convention: fractions of the detector.
    pattern_centre: tuple[float, float, float] = (0.5, 0.3, 0.6)
    sample_tilt_deg: float = 70.0
    detector_tilt_deg: float = 0.0
    pixels: Count = NETWORK_INPUT_PX  # width and height of a pattern
    # Full widths at half maximum of the interaction volume on the surface, down the slope (x)
    # and along it (y). It measures 0.1 to 0.2 um at 20 kV in Ni. Down the slope it is longer
    # by 1 / cos 70°.
    interaction_um: tuple[NonNegative, NonNegative] = (0.5, 0.2)
    # Width of the whole pattern on the detector. It sets how far the pattern centre moves
    # with the beam.
    screen_width_um: Positive = 30_000.0
    point_spread_deg: NonNegative = 0.47  # phosphor and lens, standard deviation; crop
    contrast: NonNegative = 0.0335  # standard deviation of the bands; crop
    # Standard deviations of the brightness that varies with the orientation: constant, linear,
    # quadratic, cubic and quartic across the screen; crop.
    brightness: tuple[NonNegative, NonNegative, NonNegative, NonNegative, NonNegative] = (
        *(0.014, 0.0078, 0.007),
        *(0.0085, 0.008),
    )
    flicker: NonNegative = 0.003  # brightness that varies from point to point, all terms; crop
    background_centre: tuple[Fraction, Fraction] = (0.66, 0.48)  # brightest row, column; crop
    background_sigma: Positive = 0.33  # of a Gaussian on a floor, fraction of the pattern; crop
    background_floor: Fraction = 0.3  # crop
    dose: Positive = 6500.0  # electrons per pixel of 120 x 120, where brightest; crop
    read_noise: NonNegative = 10.0  # electrons per pixel of 120 x 120
    gain: Positive = 7.5  # counts per electron of 120 x 120
    dust_spots: int = 5
    dust_radius: Positive = 0.012  # fraction of the pattern
    dust_shade: Fraction = 0.15  # of the background, at the middle of a spot

    @field_validator("pixels")
    @classmethod
    def _whole_blocks(cls, pixels: int) -> int:
        if pixels % NETWORK_INPUT_PX:
            raise ValueError(
                f"pixels must be a multiple of {NETWORK_INPUT_PX}, the width of the network's "
                f"input, not {pixels}"
            )
        return pixels
