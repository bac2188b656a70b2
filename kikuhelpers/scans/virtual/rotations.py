"""Unit quaternions as bare arrays (..., 4), scalar first: the few products a specimen needs.

The product is Hamilton's, as in orix: ``multiply(a, b)`` turns by ``b`` first. orix itself is
not used because it costs several times as much per point.
"""

import numpy as np


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of quaternions (..., 4) and (..., 4): first ``b``, then ``a``."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def inverse(rotations: np.ndarray) -> np.ndarray:
    """Return the inverse of unit quaternions (..., 4)."""
    return rotations * np.array([1.0, -1.0, -1.0, -1.0])


def from_vectors(vectors_deg: np.ndarray) -> np.ndarray:
    """Return quaternions (..., 4) of rotation vectors (..., 3): axis times angle in degrees."""
    vectors = np.radians(vectors_deg)
    angle = np.sqrt((vectors**2).sum(-1, keepdims=True))
    sine = 0.5 * np.sinc(angle / (2 * np.pi)) * vectors  # sin(angle / 2) * axis
    return np.concatenate([np.cos(angle / 2), sine], axis=-1)


def rotate(rotations: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Turn vectors (..., 3) by unit quaternions (..., 4)."""
    vectors = np.asarray(vectors, float)
    pure = np.concatenate([np.zeros((*vectors.shape[:-1], 1)), vectors], axis=-1)
    return multiply(multiply(rotations, pure), inverse(rotations))[..., 1:]


def random_rotations(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 4) quaternions, uniform over all rotations."""
    rotations = rng.standard_normal((count, 4))
    return rotations / np.linalg.norm(rotations, axis=1, keepdims=True)


def fibre_rotations(count: int, spread_deg: float, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 4) lab2crystal quaternions with <001> along sample x.

    Each is turned at random about x, then tilted: ``spread_deg`` is the standard deviation
    of the tilt about y, and of that about z.
    """
    about_x, tilt = np.zeros((2, count, 3))
    about_x[:, 0] = rng.uniform(0, 360, count)
    tilt[:, 1:] = rng.normal(0, spread_deg, (count, 2))
    return multiply(from_vectors(about_x), from_vectors(tilt))
