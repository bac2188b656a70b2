"""Before a training starts: which latent dimensions linear theory expects to collapse."""

import numpy as np
from sklearn.decomposition import PCA

from kikuhelpers.training.sample import TrainingSet

_PATTERNS = 2000  # the first eigenvalues need no more


def sample_eigenvalues(data: TrainingSet, latent_dim: int, seed: int) -> np.ndarray:
    """Variances of the first principal components of a training sample inside its mask.

    A linear VAE with this project's loss keeps the components whose variance (eigenvalue) is
    above beta and lets the others collapse to the prior (Lucas et al. 2019, 1911.02469, with
    unit noise variance).

    Parameters
    ----------
    data
        The sample, of which some patterns are drawn.
    latent_dim
        Number of the eigenvalues, unless there are fewer patterns or pixels.
    seed
        Of the draw.

    Returns
    -------
    numpy.ndarray
        (latent_dim,), largest first.
    """
    count = min(_PATTERNS, len(data))
    points = np.sort(np.random.default_rng(seed).choice(len(data), count, replace=False))
    pixels = data.patterns[points][:, data.mask].astype(np.float32)
    components = min(latent_dim, *pixels.shape)
    return (
        PCA(components, svd_solver="randomized", random_state=seed).fit(pixels).explained_variance_
    )
