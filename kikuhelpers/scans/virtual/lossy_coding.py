"""Lossy 8-bit coding, as the measured crop was published (see ``data/README.md``).

The originals of the measured patterns are not public, so nobody can say what the coding took
from them. The originals of virtual patterns are known.
"""

import io

import numpy as np
from PIL import Image

_TILE_COLUMNS = 20  # patterns side by side in an image, as in the published tiles
_LEVELS = 255


def code_lossily(patterns: np.ndarray, quality: int) -> np.ndarray:
    """Return patterns as they come back from 8-bit WebP.

    Parameters
    ----------
    patterns
        (n, height, width) uint16 counts; each is stretched to its own range before coding.
    quality
        Of the WebP coder, 0 to 100.

    Returns
    -------
    numpy.ndarray
        (n, height, width) uint16 counts.
    """
    n, height, width = patterns.shape
    low, high = (end(patterns, axis=(1, 2), keepdims=True) for end in (np.min, np.max))
    span = np.maximum(high - low, 1).astype(np.float32)
    rows = -(-n // _TILE_COLUMNS)
    tiles = np.zeros((rows * _TILE_COLUMNS, height, width), np.uint8)
    tiles[:n] = np.round((patterns - low) * (_LEVELS / span))
    grid = (rows, _TILE_COLUMNS, height, width)
    image = tiles.reshape(grid).swapaxes(1, 2).reshape(rows * height, -1)
    file = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(file, "WEBP", quality=quality)
    coded = np.asarray(Image.open(file))[..., 0].reshape(rows, height, _TILE_COLUMNS, width)
    coded = coded.swapaxes(1, 2).reshape(-1, height, width)[:n]
    return np.round(low + coded * (span / _LEVELS)).astype(np.uint16)
