"""Settings of the baselines: simpler ways to treat patterns, to measure the models by."""

from typing import Annotated, Literal

from pydantic import Field

from kikuhelpers.study.values import Count, Positive, Settings

# PyEBSDIndex 0.3.10.1 cuts a map into overlapping tiles; in a map of three radii or less
# the tiles leave points out.
_RADII_OF_A_MAP = 3


class Pca(Settings):
    """Principal components of the training sample."""

    method: Literal["pca"]
    components: Count


class Nmf(Settings):
    """Non-negative matrix factorisation of the training sample, p + 1 in [0, 2]."""

    method: Literal["nmf"]
    components: Count


class Nlpar(Settings):
    """Non-local averaging of neighbours (Brewick et al. 2019, Ultramicroscopy 200, 50).

    Defaults are those of PyEBSDIndex.
    """

    method: Literal["nlpar"]
    search_radius: Count = 3  # points of the map; the window is 2 r + 1 points wide
    # lambda of the paper, without unit: a neighbour weighs exp(-d / lambda^2), where d is its
    # squared distance beyond what noise gives, in standard deviations of the latter.
    weight_decay: Positive = 0.7

    @property
    def smallest_map(self) -> int:
        """Points that a map must have along rows and columns."""
        return _RADII_OF_A_MAP * self.search_radius + 1


Baseline = Annotated[Pca | Nmf | Nlpar, Field(discriminator="method")]


def check_baselines(baselines: dict[str, Baseline], models: dict, sample: int) -> None:
    """Check baselines against the rest of a study.

    Parameters
    ----------
    baselines
        By name.
    models
        The study's models: their names are taken.
    sample
        Patterns of the training sample.

    Raises
    ------
    ValueError
        A name that is taken; more components than patterns; no models to stand beside.
    """
    for name, baseline in baselines.items():
        if name in models or name == "preprocessed":
            raise ValueError(f"baseline '{name}': that name is taken, choose another")
        components = getattr(baseline, "components", 0)
        if components > sample:
            raise ValueError(
                f"baseline '{name}': {components} components are more than the {sample} "
                "patterns of the training sample"
            )
    if baselines and not models:
        raise ValueError("baselines stand beside models in Table 1: name at least one model")


def largest_pca(baselines: dict[str, Baseline]) -> str | None:
    """Return the name of the PCA with most components, the first of equals; None without one."""
    components = {name: b.components for name, b in baselines.items() if isinstance(b, Pca)}
    return max(components, key=components.get, default=None)


def components_wanted(baselines: dict[str, Baseline], models: dict) -> int:
    """Number of principal components that a study's PCAs and its table linear.csv need."""
    largest = largest_pca(baselines)
    dimensions = [model.latent_dim for model in models.values()]
    return max([*dimensions, baselines[largest].components if largest else 0])
