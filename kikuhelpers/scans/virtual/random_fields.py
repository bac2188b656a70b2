"""Smooth random fields that can be evaluated at any point: random Fourier features.

A sum of plane waves with normally distributed wave vectors tends to a Gaussian random field
of Gaussian correlation (Rahimi & Recht, Random features for large-scale kernel machines,
NeurIPS 2007). Unlike filtered noise it needs no grid.
"""

import numpy as np

WAVES = 24  # enough to look random over some ten correlation lengths


class RandomField:
    """Independent smooth fields of mean 0 and standard deviation 1 in the plane.

    Parameters
    ----------
    components
        Number of fields.
    length_um
        Correlation length: the correlation at distance d is exp(-d^2 / (2 length^2)).
    rng
        Random numbers; used here only, not when the field is evaluated.
    """

    def __init__(self, components: int, length_um: float, rng: np.random.Generator):
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
