"""The virtual microscope: from the lattices that a beam sees to the counts of a pattern.

The signal is S = contrast * bands + brightness, relative to the background B. A pixel collects
dose * B * (1 + S) electrons, with shot noise (normal, as thousands of electrons are) and read
noise, and turns them into counts.

Frames
------
Rotations turn sample vectors into crystal vectors (lab2crystal), in the EDAX TSL sample frame
of kikuchipy: x down the map's rows, y along its columns, z out of the surface. The pattern
centre (Bruker) moves with the beam as in kikuchipy's ``EBSDDetector.extrapolate_pc``
(Singh et al. 2017, 10.1016/j.ultramic.2017.05.012, appendix A).
"""

import kikuchipy as kp
import numpy as np
from orix.quaternion import Rotation

from kikuhelpers.patterns.masking import round_mask
from kikuhelpers.scans.virtual import illumination
from kikuhelpers.scans.virtual.interaction import Components
from kikuhelpers.scans.virtual.master_patterns import LATTICE_DERIVATIVE, blurred_stack, rungs
from kikuhelpers.scans.virtual.projection import add_projections
from kikuhelpers.study import NETWORK_INPUT_PX
from kikuhelpers.study.scans import VirtualData
from kikuhelpers.study.specimen import PHASES

SCREEN_RADIUS_PX = 57.5  # of a 120 px pattern, as on the measured IN718 crop
HIGHEST_COUNT = 65535


class VirtualMicroscope:
    """A microscope set up for one scan; read-only, so that threads can share it.

    Parameters
    ----------
    scan
        Settings of the virtual scan.
    """

    def __init__(self, scan: VirtualData):
        self.scan, self.settings = scan, scan.microscope
        size = self.settings.pixels
        self.screen = screen_mask(size)
        self.background = illumination.background(self.settings, size, scan.seed)[self.screen]
        self._terms = illumination.brightness_terms(self.settings, self.screen)
        row, column = np.nonzero(self.screen)
        self._plane = ((column + 0.5) / size).astype("f4"), (-(row + 0.5) / size).astype("f4")
        self._to_sample = detector_of(scan).sample_to_detector.to_matrix()[0].T

    def signal(self, seen: Components, points: np.ndarray) -> np.ndarray:
        """Return the noise-free signal of some map points.

        Parameters
        ----------
        seen
            The lattices that their beams see.
        points
            (n, 2) rows and columns of the map.

        Returns
        -------
        numpy.ndarray
            (n, pixels of the screen) float32, relative to the background.
        """
        matrices = Rotation(seen.rotation).to_matrix()
        weights = illumination.brightness_weights(matrices) * seen.share[:, np.newaxis]
        sums = [np.bincount(seen.point, column, len(points)) for column in weights.T]
        signal = np.stack(sums, axis=1).astype(np.float32) @ self._terms
        level, above = rungs(np.hypot(seen.spread_deg, self.settings.point_spread_deg))
        turn = (matrices @ self._to_sample).astype(np.float32)
        centres = pattern_centres(self.scan, points).astype(np.float32)
        # From the beam's point to the top left corner of the screen, in detector widths.
        corner = (centres * np.float32([-1, 1, 1]))[seen.point]
        offset = np.einsum("nij,nj->ni", turn, corner)
        weight = np.float32(self.settings.contrast) * seen.share
        layers = [(name, phase, weight) for phase, name in enumerate(PHASES)]
        layers.append((LATTICE_DERIVATIVE, 0, weight * seen.strain.astype(np.float32)))
        for name, phase, share in layers:
            of = np.flatnonzero((seen.phase == phase) & (share != 0))
            if len(of):
                add_projections(
                    signal,
                    seen.point[of],
                    share[of],
                    np.ascontiguousarray(turn[of, :, :2]),
                    offset[of],
                    *self._plane,
                    blurred_stack(name),
                    level[of],
                    above[of],
                )
        return signal

    def expose(self, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return patterns of a signal, as the camera writes them.

        Parameters
        ----------
        signal
            (n, pixels of the screen), relative to the background; overwritten.
        rng
            Source of flicker and noise.

        Returns
        -------
        numpy.ndarray
            (n, height, width) uint16, 0 outside the screen.
        """
        settings = self.settings
        parts = (settings.pixels // NETWORK_INPUT_PX) ** 2  # pixels in one of a 120 px pattern
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


def screen_mask(pixels: int = NETWORK_INPUT_PX) -> np.ndarray:
    """Return the round screen, (pixels, pixels) bool, true inside."""
    middle, radius = (pixels - 1) / 2, SCREEN_RADIUS_PX * pixels / NETWORK_INPUT_PX
    return round_mask((pixels, pixels), (middle, middle), radius)


def detector_of(scan: VirtualData) -> kp.detectors.EBSDDetector:
    """Return the virtual detector, with the pattern centre (Bruker) of the map's middle."""
    settings = scan.microscope
    return kp.detectors.EBSDDetector(
        shape=(settings.pixels, settings.pixels),
        pc=settings.pattern_centre,
        sample_tilt=settings.sample_tilt_deg,
        tilt=settings.detector_tilt_deg,
        convention="bruker",
    )


def pattern_centres(scan: VirtualData, points: np.ndarray) -> np.ndarray:
    """Return the pattern centre (n, 3), Bruker, of map points (n, 2): rows and columns."""
    settings = scan.microscope
    middle = (np.array(scan.map_shape) - 1) / 2
    back, left = ((middle - points) * scan.step_um / settings.screen_width_um).T
    slope = np.radians(90 - settings.sample_tilt_deg + settings.detector_tilt_deg)
    shift = np.stack([left, back * np.cos(slope), -back * np.sin(slope)], axis=1)
    return np.array(settings.pattern_centre) + shift
