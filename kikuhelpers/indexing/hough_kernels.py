"""The two slow loops of PyEBSDIndex's band detection, over patterns instead of pixel by pixel.

PyEBSDIndex takes pattern after pattern, and gathers single pixels. Here the patterns of a chunk
stand side by side, so that one vector instruction adds or compares a pixel of 16 patterns: the
same sums and maxima, and twice as many patterns per second (``make bench`` compares the two).
"""

import numba
import numpy as np
from pyebsdindex.tripletvote import BandIndexer

_BLOCK = 32  # patterns side by side: of 120 x 120 px they fit a processor's second-level cache


def use_fast_kernels(indexer: BandIndexer) -> BandIndexer:
    """Give an indexer of PyEBSDIndex the loops of this module, in place; return it."""
    indexer.bandDetectPlan._grey_dilation = _grey_dilation
    indexer.bandDetectPlan.radonPlan.rdn_loops = _radon
    return indexer


@numba.njit(fastmath=True, cache=True, parallel=True)
def _radon(images, index, n, pixels, shape, radon, padding, normalise):
    """Write the means along the lines ``index`` (rho, theta, pixel) to ``radon`` (..., n).

    Of ``n`` flat images; a line ends where its pixel number is that of no pixel.
    """
    patterns = images.reshape(n, pixels)
    for block in numba.prange((n + _BLOCK - 1) // _BLOCK):
        first, last = block * _BLOCK, min(n, (block + 1) * _BLOCK)
        beside = np.ascontiguousarray(patterns[first:last].T)
        total = np.empty(last - first, np.float32)
        for i in range(shape[0]):
            for j in range(shape[1]):
                total[:] = 0
                count = 0
                for k in range(shape[2]):
                    pixel = index[i, j, k]
                    if pixel >= pixels:
                        break
                    for q in range(last - first):
                        total[q] += beside[pixel, q]
                    count += 1
                if count:
                    share = np.float32(1 / count if normalise else 1)
                    for q in range(last - first):
                        radon[i + padding[0], j + padding[1], first + q] = total[q] * share


@numba.njit(cache=True, parallel=True)
def _grey_dilation(image, size):
    """Return the maximum of ``image`` (rows, columns, n) in a window of a size around a point."""
    rows, columns, n = image.shape
    out = np.empty_like(image)
    for i in numba.prange(rows):
        for j in range(columns):
            best = out[i, j]
            best[:] = image[i, j]
            for ii in range(max(i - size[0] // 2, 0), min(i + size[0] // 2, rows - 1) + 1):
                for jj in range(max(j - size[1] // 2, 0), min(j + size[1] // 2, columns - 1) + 1):
                    for q in range(n):
                        best[q] = max(best[q], image[ii, jj, q])
    return out
