"""Regions of interest: the boxes of a study, and boxes chosen by a measure.

Where a study gives the size of a region only, it is placed where the latent maps show most
structure inside the grains: lines, cells and particles, not the grains themselves.
"""

import numpy as np
from scipy.ndimage import convolve

from kikuhelpers.figures import selection
from kikuhelpers.figures.views import View, whole
from kikuhelpers.study import Study

# Neighbours of a point in Moran's I, each with a quarter of the weight.
_FOUR_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])[..., None] / 4


def region(study: Study, panel: str, scan: str | None) -> View | None:
    """View of a panel's region of interest; of the whole ``scan`` if none is given for it."""
    box = study.figures.regions.get(panel)
    if box is None:
        return whole(study, scan) if scan is not None else None
    view = whole(study, box.scan)
    if box.size is not None:
        structure = structure_in_grains(view, selection.largest_vae(study))
        return View(study, box.scan, *most_structured_box(structure, box.size))
    ends = zip((box.rows, box.columns), view.shape, strict=True)
    return View(study, box.scan, *((min(a, n - 1), min(b, n)) for (a, b), n in ends))


def structure_in_grains(view: View, model: str) -> np.ndarray:
    """Local Moran's I of the latent features inside the grains, their mean, (rows, columns).

    Each grain of each active feature is brought to mean 0 and variance 1; a point's value is
    the product of its own and its four neighbours' mean (Anselin 1995,
    doi:10.1111/j.1538-4632.1995.tb00338.x). Noise gives 0 on the average.
    """
    grains, latents = view.grains(), view.latents(model)
    active = np.flatnonzero(view.features(model)["active"].to_numpy(bool))
    total = np.zeros(view.shape)
    for start in range(0, len(active), selection.BLOCK):
        values = np.array(latents[..., active[start : start + selection.BLOCK]])
        values = selection.standardised_in_grains(values, grains)
        around = convolve(values, _FOUR_NEIGHBOURS, mode="nearest")
        total += (values * around).sum(axis=-1)
    return total / max(1, len(active))


def most_structured_box(
    structure: np.ndarray, size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Place a box of a size where the mean of a map (rows, columns) is highest.

    Returns
    -------
    tuple
        Rows and columns, each (first, one past the last).
    """
    height, width = np.minimum(size, structure.shape)
    sums = np.pad(structure.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    inside += sums[:-height, :-width]
    row, column = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
    return (row, row + int(height)), (column, column + int(width))
