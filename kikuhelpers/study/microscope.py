"""Settings of the virtual microscope; defaults are those of the measured IN718 crop."""

from kikuhelpers.study.values import Fraction, NonNegative, Positive, Settings


class Microscope(Settings):
    """What stands between the specimen and the pattern file.

    Signal means: bands and brightness, relative to the background. Values marked "crop" are
    fitted to the measured IN718 crop, as notebook 09 shows.
    """

    # Full widths at half maximum of the interaction volume on the surface, down the slope (x)
    # and along it (y): some 0.1 to 0.2 um at 20 kV in Ni, longer by 1 / cos 70° down the slope.
    interaction_um: tuple[NonNegative, NonNegative] = (0.5, 0.2)
    screen_width_um: Positive = 30_000.0  # of the whole pattern; moves the pattern centre
    point_spread_deg: NonNegative = 0.47  # of phosphor and lens, deviation as an angle; crop
    contrast: NonNegative = 0.0335  # standard deviation of the bands; crop
    # Standard deviations of the brightness that varies with the orientation: even, linear,
    # quadratic, cubic and quartic across the screen; crop.
    brightness: tuple[NonNegative, NonNegative, NonNegative, NonNegative, NonNegative] = (
        *(0.014, 0.0078, 0.007),
        *(0.0085, 0.008),
    )
    flicker: NonNegative = 0.003  # the same from point to point, of all terms together; crop
    background_centre: tuple[Fraction, Fraction] = (0.66, 0.48)  # brightest row, column; crop
    background_sigma: Positive = 0.33  # of a Gaussian on a floor, fraction of the pattern; crop
    background_floor: Fraction = 0.3  # crop
    dose: Positive = 6500.0  # electrons per pixel of 120 x 120, where brightest; crop
    read_noise: NonNegative = 10.0  # electrons per pixel of 120 x 120
    gain: Positive = 7.5  # counts per electron of 120 x 120
    dust_spots: int = 5
    dust_radius: Positive = 0.012  # fraction of the pattern
    dust_shade: Fraction = 0.15  # of the background, at the middle of a spot
