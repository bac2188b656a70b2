"""The interaction volume: what a beam at one point sees of the specimen around it.

The electrons of a pattern come from a volume that reaches into the neighbours. The volume is
taken as a normal distribution on the surface and is sampled at a few places. The places that
share a lattice become one component. The rotations within a component differ by so little that
their scatter counts as mosaic spread.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from kikuhelpers.scans.virtual.specimen import Lattice, VirtualSpecimen

FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
PLACES = 5  # per axis


@dataclass(frozen=True)
class Components(Lattice):
    """The lattices that n beam points see; m >= n components, in the order of the points.

    The m lattices are those of :class:`~kikuhelpers.scans.virtual.specimen.Lattice`; the mosaic
    spread includes the scatter of the rotation within the component.

    Parameters
    ----------
    point
        (m,) index of the beam point.
    share
        (m,) float32 of the point's pattern; sums to 1 over a point.
    """

    point: np.ndarray
    share: np.ndarray


def components(
    specimen: VirtualSpecimen, points_um: np.ndarray, interaction_um: tuple[float, float]
) -> Components:
    """Return what beams at some points of a specimen see.

    Parameters
    ----------
    specimen
        The specimen.
    points_um
        (n, 2) positions (x, y) of the beam.
    interaction_um
        Full widths at half maximum (x, y) of the interaction volume.
    """
    offsets = interaction_offsets(interaction_um)
    state = specimen.at(points_um[:, np.newaxis] + offsets)
    point = np.repeat(np.arange(len(points_um)), len(offsets))
    # The number of each place's component, counting along the points.
    key = point.astype(np.int64) * (int(state.domain.max()) + 1) + state.domain
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    count = np.bincount(group)

    def mean(values):
        return np.bincount(group, values) / count

    reference = state.rotation[first][group]
    alike = np.sign((reference * state.rotation).sum(1, keepdims=True))
    quaternion = np.stack([mean(part) for part in (state.rotation * alike).T], axis=1)
    length = np.linalg.norm(quaternion, axis=1, keepdims=True)
    # The mean of unit quaternions is shorter than 1 by an eighth of the mean squared angle,
    # which has three components.
    scatter = np.degrees(np.sqrt(8 * np.clip(1 - length[:, 0], 0, None) / 3))
    scatter[count == 1] = 0
    return Components(
        rotation=quaternion / length,
        spread_deg=np.sqrt(mean(state.spread_deg**2) + scatter**2),
        strain=mean(state.strain),
        phase=state.phase[first],
        domain=state.domain[first],
        point=point[first],
        share=(count / len(offsets)).astype(np.float32),
    )


def interaction_offsets(interaction_um: tuple[float, float]) -> np.ndarray:
    """Return places (n, 2) of equal weight within the interaction volume, around the beam."""
    quantiles = norm.ppf((np.arange(PLACES) + 0.5) / PLACES)
    quantiles /= quantiles.std()
    axes = [quantiles * width / FWHM_PER_SIGMA if width else [0.0] for width in interaction_um]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
