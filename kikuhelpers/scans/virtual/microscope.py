"""The virtual microscope: from the lattices that a beam sees to the counts of a pattern.

A lattice gives Y * (1 + S) of the background B, with S = contrast * bands + brightness. The yield
Y is that of the phase; dislocations raise it a little and take contrast from the bands. A pixel
collects dose * B * Y * (1 + S) electrons, summed over the lattices, with shot noise (normal, as
thousands of electrons are) and read noise, and turns them into counts.

Channelling makes the brightness of a pattern depend on the orientation of the crystal. The
brightness is smooth over the screen and over the orientations. In a measured map this is the
largest part of the variance: the first principal component of the IN718 crop holds 31 %.
"""

import numpy as np
from orix.quaternion import Rotation
from scipy.special import eval_legendre

from kikuhelpers.patterns.geometry import Detector
from kikuhelpers.patterns.masking import round_mask
from kikuhelpers.scans.virtual import master_patterns
from kikuhelpers.scans.virtual.specimen import Components
from kikuhelpers.study import NETWORK_INPUT_PX
from kikuhelpers.study.scans import Microscope, VirtualData
from kikuhelpers.study.specimen import ATOMIC_NUMBERS, PHASES

SCREEN_RADIUS_PX = 57.5  # of a 120 px pattern, as on the measured IN718 crop
DUST_RANGE = (0.2, 0.8)  # rows and columns that hold dust, fractions of the pattern
HIGHEST_COUNT = 65535

# Terms of the brightness over the screen: 1, x, y, x^2, xy, ... y^4.
DEGREES = 5  # even to quartic across the screen
TERMS = DEGREES * (DEGREES + 1) // 2
LOW_TERMS = 6  # constant to quadratic terms, which follow the lowest cubic harmonic


class VirtualMicroscope:
    """A microscope set up for one scan; read-only, so that threads can share it."""

    def __init__(self, scan: VirtualData):
        self.scan, self.settings = scan, scan.microscope
        size = self.settings.pixels
        self.screen = screen_mask(size)
        self.background = _background(scan)[self.screen]
        self._terms = _brightness_terms(self.settings, self.screen)
        row, column = np.nonzero(self.screen)
        self._plane = ((column + 0.5) / size).astype("f4"), (-(row + 0.5) / size).astype("f4")
        self._yields = phase_yields(self.settings)
        detector, shape = detector_of(self.settings), self.screen.shape
        self._to_sample = detector.camera(shape).sample_to_detector.to_matrix()[0].T
        centres = detector.centres(shape, scan.map_shape, scan.step_um)
        self._centres = centres.reshape(*scan.map_shape, 3).astype(np.float32)

    def signal(self, seen: Components, points: np.ndarray) -> np.ndarray:
        """Return the noise-free signal of what beams see at map points (n, 2): rows and columns.

        (n, pixels of the screen) float32: how far it is off the background, relative to it.
        """
        matrices = Rotation(seen.rotation).to_matrix()
        dechannelled = -np.expm1(-self.settings.dechannelling * seen.density)
        own = self._yields[seen.phase] * (1 + self.settings.dechannelled_yield * dechannelled)
        given = (seen.share * own).astype(np.float32)
        weights = _brightness_weights(matrices) * given[:, np.newaxis]
        sums = [np.bincount(seen.point, column, len(points)) for column in weights.T]
        signal = np.stack(sums, axis=1).astype(np.float32) @ self._terms
        more = np.bincount(seen.point, seen.share * (own - 1), len(points))
        signal += more[:, np.newaxis].astype(np.float32)
        spread_deg = np.hypot(seen.spread_deg, self.settings.point_spread_deg)
        turn = (matrices @ self._to_sample).astype(np.float32)
        # From the beam's point to the top left corner of the screen, in detector widths.
        corner = (self._centres[tuple(points.T)] * np.float32([-1, 1, 1]))[seen.point]
        offset = np.einsum("nij,nj->ni", turn, corner)
        weight = np.float32(self.settings.contrast) * given * (1 - dechannelled).astype(np.float32)
        strained = weight * seen.strain.astype(np.float32)
        layers = [(name, phase, weight) for phase, name in enumerate(PHASES)]
        for name, phase, share in (*layers, (master_patterns.LATTICE_DERIVATIVE, 0, strained)):
            of = np.flatnonzero((seen.phase == phase) & (share != 0))
            if len(of):
                place = np.ascontiguousarray(turn[of, :, :2]), offset[of], *self._plane
                bands = name, spread_deg[of], share[of]
                master_patterns.add_projections(signal, seen.point[of], *bands, *place)
        return signal

    def expose(self, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return patterns of a signal as the camera writes them, with flicker and noise.

        (n, height, width) uint16, 0 outside the screen. The signal is overwritten.
        """
        settings = self.settings
        parts = (settings.pixels / NETWORK_INPUT_PX) ** 2  # pixels in one of a 120 px pattern
        flicker = settings.flicker * rng.standard_normal((len(signal), len(self._terms)), "f4")
        scale = np.sqrt((self._terms**2).sum(0).mean())
        if scale:
            signal += flicker @ (self._terms / scale)
        signal += 1
        signal *= self.background * np.float32(settings.dose / parts)
        noise = rng.standard_normal(signal.shape, np.float32)
        noise *= np.sqrt(np.maximum(signal, 0) + np.float32(settings.read_noise**2 / parts))
        signal += noise
        signal *= np.float32(settings.gain * parts)
        np.clip(np.rint(signal, out=signal), 0, HIGHEST_COUNT, out=signal)
        patterns = np.zeros((len(signal), *self.screen.shape), np.uint16)
        patterns[:, self.screen] = signal
        return patterns


def phase_yields(settings: Microscope) -> np.ndarray:
    """Return the backscatter yield of each phase, (phases,), relative to the matrix.

    Arnal's formula: at a tilt t the coefficient is (1 + cos t)^(-9 / sqrt Z). Untilted specimens
    have more contrast between the phases: NbC gives 1.21 of the matrix by Reuter's polynomial,
    where a tilt of 70 degrees leaves 1.07.
    """
    if not settings.yield_by_phase:
        return np.ones(len(PHASES))
    base = 1 + np.cos(np.radians(settings.sample_tilt_deg))
    coefficients = base ** (-9 / np.sqrt(ATOMIC_NUMBERS))
    return coefficients / coefficients[0]


def screen_mask(pixels: int = NETWORK_INPUT_PX) -> np.ndarray:
    """Return the round screen, (pixels, pixels) bool, true inside."""
    middle, radius = (pixels - 1) / 2, SCREEN_RADIUS_PX * pixels / NETWORK_INPUT_PX
    return round_mask((pixels, pixels), (middle, middle), radius)


def detector_of(settings: Microscope) -> Detector:
    """Return the virtual detector; its pattern centre moves with the beam."""
    tilts = settings.sample_tilt_deg, settings.detector_tilt_deg
    return Detector(settings.pattern_centre, *tilts, settings.screen_width_um)


def _brightness_terms(settings: Microscope, screen: np.ndarray) -> np.ndarray:
    """Orthogonal terms of the brightness on the screen, (15, pixels of the screen) float32.

    With weights of unit standard deviation they have the deviations of the settings; the terms
    of one degree share theirs equally.
    """
    y, x = np.nonzero(screen)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    powers = [x ** (degree - i) * y**i for degree in range(DEGREES) for i in range(degree + 1)]
    terms, factors = np.linalg.qr(np.stack(powers, axis=1))
    terms = (terms * np.sign(np.diag(factors))).T * np.sqrt(len(x))  # QR leaves the signs open
    count = np.arange(DEGREES) + 1  # terms of a degree
    shares = np.repeat(np.array(settings.brightness) / np.sqrt(count), count)
    return (terms * shares[:, np.newaxis]).astype(np.float32)


def _brightness_weights(matrices: np.ndarray) -> np.ndarray:
    """Weights (n, 15) float32 of the brightness terms for rotations (n, 3, 3), sample to crystal.

    Cubic harmonics of sample directions seen from the crystal, uncorrelated and of unit deviation
    over random orientations; the lowest degree, then the next (each has 2 l + 1 independent ones).
    """
    parts = [_uncorrelated(matrices, LOW_TERMS, 4), _uncorrelated(matrices, TERMS - LOW_TERMS, 6)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _background(scan):
    """Mean intensity of the screen, (size, size) float32, highest value about 1."""
    settings = scan.microscope
    y, x = (np.indices((settings.pixels, settings.pixels)) + 0.5) / settings.pixels
    row, column = settings.background_centre
    bump = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * settings.background_sigma**2))
    image = settings.background_floor + (1 - settings.background_floor) * bump
    dust = np.random.default_rng(scan.seed).uniform(*DUST_RANGE, (settings.dust_spots, 2))
    for row, column in dust:
        spot = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * settings.dust_radius**2))
        image *= 1 - settings.dust_shade * spot
    return image.astype(np.float32)


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
