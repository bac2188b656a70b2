"""The fast loops of the band detection against PyEBSDIndex's own."""

import numpy as np
import pytest
from pyebsdindex.band_detect import BandDetect

from kikuhelpers.indexing import hough, hough_kernels
from kikuhelpers.study.study import NICKEL, Indexing


@pytest.mark.parametrize("shape", [(60, 60), (40, 52)])
@pytest.mark.parametrize("normalise", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 33])
def test_the_radon_transform_is_pyebsdindexs(shape, normalise, count):
    plan = hough.band_indexer(shape, hough.Detector(), Indexing(phase=NICKEL)).bandDetectPlan
    radon, images = plan.radonPlan, np.random.default_rng(0).uniform(0, 9e4, (count, *shape))
    flat, padding = images.astype(np.float32).ravel(), np.array([11, 11])
    found = []
    for loops in (type(radon).rdn_loops, hough_kernels._radon):
        out = np.full((radon.nRho + 22, radon.nTheta + 22, count), -7, np.float32)
        sizes = count, shape[0] * shape[1], np.array(radon.indexPlan.shape)
        loops(flat, radon.indexPlan, *sizes, out, padding, np.float32(normalise))
        found.append(out)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 11), (11, 1), (3, 5)])
def test_the_dilation_is_pyebsdindexs(size):
    images = np.random.default_rng(1).normal(size=(20, 15, 4)).astype(np.float32)
    ours, theirs = (
        hough_kernels._grey_dilation(images, size),
        BandDetect._grey_dilation(images, size),
    )
    assert np.array_equal(ours, theirs)


def test_an_indexer_uses_them():
    indexer = hough.band_indexer((60, 60), hough.Detector(), Indexing(phase=NICKEL))
    assert indexer.bandDetectPlan._grey_dilation is hough_kernels._grey_dilation
    assert indexer.bandDetectPlan.radonPlan.rdn_loops is hough_kernels._radon
