"""The mathematics of a specimen: smooth random fields, and unit quaternions as bare arrays.

Quaternions are (..., 4), scalar first. The product is Hamilton's, as in orix: ``multiply(a, b)``
turns by ``b`` first. orix itself is not used because it costs several times as much per point.
"""

import numpy as np
from numpy.random import Generator

WAVES = 24  # of a random field: enough to look random over some ten correlation lengths


class RandomField:
    """Independent smooth fields of mean 0 and standard deviation 1 in the plane.

    A sum of plane waves with normally distributed wave vectors tends to a Gaussian random field
    of Gaussian correlation (Rahimi & Recht, Random features for large-scale kernel machines,
    NeurIPS 2007). Unlike filtered noise it needs no grid. The correlation at a distance d is
    exp(-d^2 / (2 length^2)).
    """

    def __init__(self, components: int, length_um: float, rng: Generator):
        # Directions and lengths of the wave vectors are stratified, since a few free draws would
        # give a field with a preferred direction. The length of a normal pair is Rayleigh's.
        angle = np.pi * (np.arange(WAVES) + rng.uniform(size=WAVES)) / WAVES
        quantile = (rng.permutation(WAVES) + rng.uniform(size=WAVES)) / WAVES
        wave_number = np.sqrt(-2 * np.log1p(-quantile)) / length_um
        self._waves = wave_number * np.stack([np.cos(angle), np.sin(angle)])
        amplitudes = rng.standard_normal((2 * WAVES, components))
        # The mean square of a wave is half its amplitude's square.
        self._amplitudes = amplitudes * np.sqrt(2 / (amplitudes**2).sum(0))

    def __call__(self, points_um: np.ndarray) -> np.ndarray:
        """Return (n, components) values at points (n, 2)."""
        phases = points_um @ self._waves
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1) @ self._amplitudes


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of quaternions (..., 4) and (..., 4): first ``b``, then ``a``."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    w = aw * bw - ax * bx - ay * by - az * bz
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    return np.stack([w, x, y, z], axis=-1)


def from_vectors(vectors_deg: np.ndarray) -> np.ndarray:
    """Return quaternions (..., 4) of rotation vectors (..., 3): axis times angle in degrees."""
    vectors = np.radians(vectors_deg)
    angle = np.sqrt((vectors**2).sum(-1, keepdims=True))
    sine = 0.5 * np.sinc(angle / (2 * np.pi)) * vectors  # sin(angle / 2) * axis
    return np.concatenate([np.cos(angle / 2), sine], axis=-1)


def random_rotations(count: int, rng: Generator) -> np.ndarray:
    """Return (count, 4) quaternions, uniform over all rotations."""
    rotations = rng.standard_normal((count, 4))
    return rotations / np.linalg.norm(rotations, axis=1, keepdims=True)


def fibre_rotations(count: int, spread_deg: float, rng: Generator) -> np.ndarray:
    """Return (count, 4) lab2crystal quaternions with <001> along sample x.

    Each is turned at random about x, then tilted: ``spread_deg`` is the standard deviation
    of the tilt about y, and of that about z.
    """
    about_x, tilt = np.zeros((2, count, 3))
    about_x[:, 0] = rng.uniform(0, 360, count)
    tilt[:, 1:] = rng.normal(0, spread_deg, (count, 2))
    return multiply(from_vectors(about_x), from_vectors(tilt))
