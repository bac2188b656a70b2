"""What lies over the bands: background, dust, and brightness that varies with the grain.

Channelling makes the brightness of a pattern depend on the orientation of the crystal. The
brightness is smooth over the screen and over the orientations. In a measured map this is the
largest part of the variance: the first principal component of the IN718 crop holds 31 %.
"""

import numpy as np
from scipy.special import eval_legendre

from kikuhelpers.study.microscope import Microscope

DEGREES = 5  # even to quartic across the screen
TERMS = DEGREES * (DEGREES + 1) // 2  # 1, x, y, x^2, xy, ... y^4
LOW_TERMS = 6  # constant to quadratic terms, which follow the lowest cubic harmonic
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
        (15, pixels of the screen) float32, orthogonal. With weights of unit standard deviation
        they have the stated deviations; the terms of one degree share theirs equally.
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

    Each weight is a cubic harmonic of a sample direction seen from the crystal. The first terms
    take the lowest degree, the others the next (a degree l has 2 l + 1 independent harmonics).
    Over random orientations the weights are uncorrelated and of unit standard deviation.

    Parameters
    ----------
    matrices
        (n, 3, 3) rotations, sample to crystal.

    Returns
    -------
    numpy.ndarray
        (n, 15) float32.
    """
    parts = [_uncorrelated(matrices, LOW_TERMS, 4), _uncorrelated(matrices, TERMS - LOW_TERMS, 6)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _uncorrelated(matrices, count, degree):
    """Harmonics (n, count) of directions on a golden spiral, whitened over the orientations."""
    index = np.arange(count)
    z = (index + 0.5) / count
    azimuth = index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z**2)
    directions = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1)
    # Two directions' harmonics correlate by the Legendre polynomial of their angle.
    correlation = eval_legendre(degree, directions @ directions.T)
    # The cubic harmonics of degree 4 and 6, of mean 0 and standard deviation 1 on the sphere.
    squares = (matrices @ directions.T) ** 2
    values = (squares**2).sum(axis=1) - 3 / 5
    if degree == 4:
        values /= np.sqrt(16 / 525)
    else:
        values = (squares.prod(axis=1) + values / 22 - 1 / 105) / np.sqrt(32 / 693693)
    return np.linalg.solve(np.linalg.cholesky(correlation), values.T).T
