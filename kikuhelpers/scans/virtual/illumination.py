"""What lies over the bands: background, dust, and brightness that varies with the grain.

Channelling makes the brightness of a pattern depend on how the crystal lies, smoothly over
the screen and over the orientations. In a measured map this is the largest part of the
variance (31 % of the IN718 crop's lies in its first principal component).
"""

import numpy as np
from scipy.special import eval_legendre

from kikuhelpers.study.microscope import Microscope

DEGREES = 5  # even to quartic across the screen
TERMS = DEGREES * (DEGREES + 1) // 2  # 1, x, y, x^2, xy, ... y^4
LOW_TERMS = 6  # taken from the lowest cubic harmonic: linear and quadratic ones
DUST_RANGE = (0.2, 0.8)  # rows and columns that hold dust, fractions of the pattern


def background(settings: Microscope, size: int, seed: int) -> np.ndarray:
    """Return the mean intensity of the screen, (size, size) float32, highest value about 1.

    The dust lies where ``seed`` puts it.
    """
    y, x = (np.indices((size, size)) + 0.5) / size
    row, column = settings.background_centre
    squared = (y - row) ** 2 + (x - column) ** 2
    bump = np.exp(-squared / (2 * settings.background_sigma**2))
    image = settings.background_floor + (1 - settings.background_floor) * bump
    rng = np.random.default_rng(seed)
    for row, column in rng.uniform(*DUST_RANGE, (settings.dust_spots, 2)):
        spot = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * settings.dust_radius**2))
        image *= 1 - settings.dust_shade * spot
    return image.astype(np.float32)


def brightness_terms(settings: Microscope, screen: np.ndarray) -> np.ndarray:
    """Return the terms of the brightness on the screen.

    Parameters
    ----------
    settings
        Their standard deviations.
    screen
        (size, size) bool.

    Returns
    -------
    numpy.ndarray
        (15, pixels of the screen) float32, orthogonal: the stated deviations for weights of
        unit deviation, shared by the terms of a degree.
    """
    y, x = np.nonzero(screen)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    powers = [x ** (degree - i) * y**i for degree in range(DEGREES) for i in range(degree + 1)]
    terms, factors = np.linalg.qr(np.stack(powers, axis=1))
    terms = (terms * np.sign(np.diag(factors))).T * np.sqrt(len(x))  # QR leaves the signs open
    count = np.arange(DEGREES) + 1  # terms of a degree
    shares = np.repeat(np.array(settings.brightness) / np.sqrt(count), count)
    return (terms * shares[:, np.newaxis]).astype(np.float32)


def brightness_weights(matrices: np.ndarray) -> np.ndarray:
    """Return the weights of the brightness terms for some orientations.

    Each is a cubic harmonic of a sample direction seen from the crystal, of the lowest degree
    for the first terms and of the next for the others (a degree l has 2 l + 1 independent
    ones); they are uncorrelated and of unit deviation over random orientations.

    Parameters
    ----------
    matrices
        (n, 3, 3) rotations, sample to crystal.

    Returns
    -------
    numpy.ndarray
        (n, 15) float32.
    """
    fourth = _uncorrelated(matrices, LOW_TERMS, 4, _fourth_harmonic)
    sixth = _uncorrelated(matrices, TERMS - LOW_TERMS, 6, _sixth_harmonic)
    return np.concatenate([fourth, sixth], axis=1, dtype=np.float32)


def _uncorrelated(matrices, count, degree, harmonic):
    """Harmonics (n, count) of directions on a golden spiral, whitened over the orientations."""
    index = np.arange(count)
    z = (index + 0.5) / count
    azimuth = index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z**2)
    directions = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1)
    # Two directions' harmonics correlate by the Legendre polynomial of their angle.
    correlation = eval_legendre(degree, directions @ directions.T)
    values = harmonic((matrices @ directions.T) ** 2)
    return np.linalg.solve(np.linalg.cholesky(correlation), values.T).T


def _fourth_harmonic(squares):
    """x^4 + y^4 + z^4 of squared directions (n, 3, m), mean 0 and deviation 1 on the sphere."""
    return ((squares**2).sum(axis=1) - 3 / 5) / np.sqrt(16 / 525)


def _sixth_harmonic(squares):
    """The cubic harmonic of degree 6, likewise."""
    fourth = (squares**2).sum(axis=1) - 3 / 5
    return (squares.prod(axis=1) + fourth / 22 - 1 / 105) / np.sqrt(32 / 693693)
