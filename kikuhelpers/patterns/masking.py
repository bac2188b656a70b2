"""The round screen: the pixels that hold signal, a harmless fill outside, patterns without any."""

import numpy as np

from kikuhelpers.runs.errors import SentenceError

_SPARSE_PX = 16  # between the pixels that are looked at first


def round_mask(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    """Return the mask of a round screen, (height, width), True on it.

    The centre (row, column) and the radius are in pixels; a pixel's centre is a whole number.
    SentenceError for a circle that holds no pixel.
    """
    row, column = np.ogrid[: shape[0], : shape[1]]
    mask = (row - centre[0]) ** 2 + (column - centre[1]) ** 2 <= radius**2
    if not mask.any():
        raise SentenceError(
            f"The screen of centre {tuple(centre)} and radius {radius} px holds no pixel of a "
            f"{shape[0]} x {shape[1]} px pattern; correct the study's mask."
        )
    return mask


def fill_outside(patterns: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a copy of patterns with each one's masked mean in the pixels outside the mask.

    A black rim would give false Hough peaks and would set the threshold of the sharpness. Patterns
    are (..., height, width) of any real type, the copy is float32 of their unit. SentenceError for
    a mask that is not of their shape, or empty.
    """
    if patterns.shape[-2:] != mask.shape or not mask.any():
        raise SentenceError(
            f"A mask of shape {mask.shape} with {int(mask.sum())} pixels does not fit patterns of "
            f"{patterns.shape[-2:]}; make the mask from these patterns again."
        )
    flat = np.array(patterns, dtype=np.float32).reshape(*patterns.shape[:-2], mask.size)
    # A product with the mask: picking the pixels by a mask takes five times as long.
    mean = flat @ (mask.ravel() / np.float32(mask.sum())).astype(np.float32)
    return np.where(mask.ravel(), flat, mean[..., np.newaxis]).reshape(patterns.shape)


def is_empty(patterns: np.ndarray) -> np.ndarray:
    """Tell which patterns (n, height, width) were never collected: all pixels are equal, (n,) bool.

    Preprocessed and decoded files hold 0 for them, and no other pattern is all equal there.
    """
    first = patterns[:, :1, :1]
    # Most patterns differ in a few pixels, so that these are enough.
    empty = (patterns[:, ::_SPARSE_PX, ::_SPARSE_PX] == first).all(axis=(1, 2))
    empty[empty] = (patterns[empty] == first[empty]).all(axis=(1, 2))
    return empty
