"""The truth of a virtual scan: a file beside its patterns."""

from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from kikuhelpers.scans.virtual.specimen import State


@dataclass(frozen=True)
class Truth(State):
    """What is known at each point: the state under the beam, and the mixture.

    The arrays of a map have rows and columns where those of
    :class:`~kikuhelpers.scans.virtual.specimen.State` have n points.

    Parameters
    ----------
    own_share
        (n,) float32 share of the pattern that comes from the lattice under the beam; 1 where
        the interaction volume holds no other.
    """

    own_share: np.ndarray


def create_truth(file: h5py.File, map_shape: tuple[int, int], first: Truth) -> None:
    """Make room for the truth of a map; ``first`` shows the types of its arrays."""
    file.attrs["map_shape"] = map_shape
    for name, values in vars(first).items():
        file.create_dataset(name, (np.prod(map_shape), *values.shape[1:]), values.dtype)


def load_truth(path: str | Path) -> Truth:
    """Read the truth of a map: each array (rows, columns, ...)."""
    with h5py.File(path) as file:
        shape = tuple(file.attrs["map_shape"])
        stored = {field.name: file[field.name][()] for field in fields(Truth)}
    return Truth(**{name: v.reshape(*shape, *v.shape[1:]) for name, v in stored.items()})
