"""Maps from orientations: misorientation, grains, rotation in them (GROD), KAM, IPF colours.

Each phase has its own symmetry; between two phases there is no disorientation.

Conventions of MTEX (Bachmann, Hielscher & Schaeben, Ultramicroscopy 111 (2011) 1720,
doi:10.1016/j.ultramic.2011.08.002), but angles in degrees. Every map is (rows, columns);
points that are not indexed are NaN (-1 for grains, black for colours).
"""

from itertools import product

import numpy as np
import pandas as pd
from orix.crystal_map import CrystalMap
from orix.plot import IPFColorKeyTSL
from orix.quaternion import Orientation, Quaternion, Rotation, Symmetry
from orix.vector import Vector3d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

NOT_INDEXED = -1
_AT_A_TIME = 50_000  # points: of each there is a kB while it is worked on


def disorientation_deg(rot_a: Rotation, rot_b: Rotation, point_group: Symmetry) -> np.ndarray:
    """Return the smallest angles, in degrees, between pairs of orientations under crystal symmetry.

    The pairs are rotations from sample to crystal, of one shape, which is that of the angles. The
    rotations of the crystal's ``point_group`` act from the left.
    """
    shape, both = np.broadcast_shapes(rot_a.shape, rot_b.shape), (rot_a.data, rot_b.data)
    flat, angles = [x.reshape(-1, 4) for x in np.broadcast_arrays(*both)], np.empty(shape)
    for part in _parts(np.arange(angles.size)):
        a, b = (Orientation(x[part], symmetry=point_group) for x in flat)
        angles.flat[part] = a.angle_with(b, degrees=True)
    return angles


def misorientation_map(xmap_a: CrystalMap, xmap_b: CrystalMap) -> np.ndarray:
    """Return the disorientation in degrees between two maps of the same points and phases.

    NaN where either is not indexed or the phases differ. ValueError for maps that differ in shape.
    """
    if xmap_a.shape != xmap_b.shape:
        raise ValueError(
            f"Maps of {xmap_a.shape} and {xmap_b.shape} points have no misorientation; index "
            "the same scan twice."
        )
    points = np.arange(xmap_a.size)
    return _between_deg(xmap_a, points, xmap_b, points).reshape(xmap_a.shape)


def collected(xmap: CrystalMap) -> np.ndarray:
    """Return (n,) bool, False for points without a pattern: their image quality is NaN.

    Archived maps that are only asked for orientations hold no quality: all their points count.
    """
    return np.isfinite(np.asarray(xmap.prop.get("pq", np.zeros(xmap.size))))


def label_grains(xmap: CrystalMap, threshold_deg: float) -> np.ndarray:
    """Return the grain number of every point, int64 from 0.

    A grain is what remains connected, from neighbour to neighbour in the four directions of
    the grid, by disorientations of less than the threshold. It is of one phase.
    """
    pairs = [_neighbours(xmap.shape, *offset) for offset in ((0, 1), (1, 0))]
    here, there = np.concatenate(pairs, axis=1)
    joined = _between_deg(xmap, here, xmap, there) < threshold_deg  # False where NaN
    ends = here[joined], there[joined]
    graph = coo_array((np.ones(joined.sum(), bool), ends), shape=(xmap.size, xmap.size))
    labels = connected_components(graph, directed=False)[1]
    grains = np.full(xmap.size, NOT_INDEXED)
    grains[xmap.is_indexed] = np.unique(labels[xmap.is_indexed], return_inverse=True)[1]
    return grains.reshape(xmap.shape)


def rotation_vectors_deg(xmap: CrystalMap, grains: np.ndarray) -> np.ndarray:
    """Return the rotation of every point from the mean orientation of its grain.

    (rows, columns, 3), axis times angle in degrees, in the sample's frame; NaN where not in a
    grain. The grains are those of :func:`label_grains`.
    """
    vectors = np.full((xmap.size, 3), np.nan)
    for phase, group in point_groups(xmap).items():
        inside = (grains.ravel() != NOT_INDEXED) & (xmap.phase_id == phase)
        _, member, grain = np.unique(grains.ravel()[inside], return_index=True, return_inverse=True)
        rotations = xmap.rotations.data[inside]
        mean = rotations[member]  # any member to begin with
        for _ in range(2):  # again from the first mean, as a member may lie far out
            folded = _nearest_equivalents(rotations, mean[grain], group)
            total = np.stack([np.bincount(grain, weights=part) for part in folded.T], axis=1)
            mean = total / np.linalg.norm(total, axis=1, keepdims=True)
        mean = Quaternion(mean[grain])
        # From the sample to the crystal: first this turn, then the mean orientation.
        turn = ~mean * Quaternion(_nearest_equivalents(rotations, mean.data, group))
        vectors[inside] = np.degrees(turn.to_axes_angles().data)
    return vectors.reshape(*xmap.shape, 3)


def grod_deg(xmap: CrystalMap, grains: np.ndarray) -> np.ndarray:
    """Return the grain reference orientation deviation: the length of the rotation vectors."""
    return np.linalg.norm(rotation_vectors_deg(xmap, grains), axis=-1)


def principal_rotation_deg(vectors_deg: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Return the component of rotation vectors along the axis about which each grain turns most.

    Unlike GROD it has a sign: two halves of a grain that turn against each other differ. The axis
    is the first principal one of the grain's vectors (:func:`rotation_vectors_deg`); its largest
    coordinate in the sample is positive. NaN where not in a grain.
    """
    component = np.full(grains.shape, np.nan)
    inside = (grains != NOT_INDEXED) & np.isfinite(vectors_deg[..., 0])
    vectors, grain = vectors_deg[inside], np.unique(grains[inside], return_inverse=True)[1]
    products = vectors[:, :, np.newaxis] * vectors[:, np.newaxis]  # the mean is near zero
    sums = [np.bincount(grain, part) for part in products.reshape(-1, 9).T]
    axes = np.linalg.eigh(np.stack(sums, axis=1).reshape(-1, 3, 3))[1][..., -1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    component[inside] = (vectors * (axes * np.sign(largest))[grain]).sum(axis=1)
    return component


def kam_deg(xmap: CrystalMap, order: int, limit_deg: float) -> np.ndarray:
    """Return the kernel average misorientation in degrees; also NaN where no neighbour counts.

    Neighbours are up to ``order`` steps along the grid's axes away, 4 points for 1 and 12 for 2.
    Those further off than ``limit_deg`` are taken for another grain and left out.
    """
    total, count = np.zeros(xmap.size), np.zeros(xmap.size)
    offsets = product(range(order + 1), range(-order, order + 1))
    # Of each pair of opposite offsets one is enough.
    for offset in ((d, r) for d, r in offsets if d + abs(r) <= order and (d or r > 0)):
        here, there = _neighbours(xmap.shape, *offset)
        angles = _between_deg(xmap, here, xmap, there)
        near = angles <= limit_deg  # False where NaN
        for end in (here[near], there[near]):
            total[end] += angles[near]
            count[end] += 1
    kam = np.full(xmap.size, np.nan)
    np.divide(total, count, out=kam, where=count > 0)
    return kam.reshape(xmap.shape)


def surroundings_deg(xmap: CrystalMap, away: int) -> np.ndarray:
    """Return the median disorientation in degrees of each point from those ``away`` steps off.

    These are on a square around the point; unlike KAM, grains beside it do not count more than it.
    """
    ring = [o for o in product(range(-away, away + 1), repeat=2) if max(map(abs, o)) == away]
    angles = np.full((len(ring), xmap.size), np.nan)
    # Of each pair of opposite offsets one is enough.
    for number, offset in enumerate(ring[len(ring) // 2 :]):
        here, there = _neighbours(xmap.shape, *offset)
        apart = _between_deg(xmap, here, xmap, there)
        angles[2 * number, here], angles[2 * number + 1, there] = apart, apart
    return np.ma.median(np.ma.masked_invalid(angles), axis=0).filled(np.nan).reshape(xmap.shape)


def ipf_colours(xmap: CrystalMap) -> np.ndarray:
    """Return the colours of the sample's x (IPF-X), (rows, columns, 3) in [0, 1].

    In the TSL key of each phase.
    """
    colours, rotations = np.zeros((xmap.size, 3)), xmap.rotations.data
    for phase, group in point_groups(xmap).items():
        key, of = IPFColorKeyTSL(group, Vector3d.xvector()), np.flatnonzero(xmap.phase_id == phase)
        for part in _parts(of):
            turned = Orientation(rotations[part], symmetry=group)
            colours[part] = key.orientation2color(turned)
    return colours.reshape(*xmap.shape, 3)


def central_points(xmap: CrystalMap, smallest: int) -> dict[int, int]:
    """Flat index of the point nearest the mean orientation of each grain, by the grain's label.

    Of grains of at least so many points. The map has the properties ``grain`` and ``grod_deg``.
    """
    points = pd.DataFrame({name: np.asarray(xmap.prop[name]) for name in ("grain", "grod_deg")})
    by_grain = points[points["grain"] != NOT_INDEXED].groupby("grain")["grod_deg"]
    return by_grain.idxmin()[by_grain.size() >= smallest].to_dict()


def point_groups(xmap: CrystalMap) -> dict[int, Symmetry]:
    """Return the Laue group of each phase of a map, by the phase's number."""
    return {int(i): phase.point_group.laue for i, phase in xmap.phases if i != NOT_INDEXED}


def _neighbours(shape, down, right):
    """Return flat indices of all pairs of points that lie (down, right) apart; down >= 0."""
    rows, columns = np.indices(shape)
    inside = (rows + down < shape[0]) & (columns + right >= 0) & (columns + right < shape[1])
    here = np.flatnonzero(inside)
    return here, here + down * shape[1] + right


def _between_deg(xmap_a, here, xmap_b, there):
    """Return disorientations in degrees of points by flat index, NaN if not of one phase."""
    angles, phases = np.full(len(here), np.nan), xmap_a.phase_id[here]
    rotations = xmap_a.rotations, xmap_b.rotations  # orix copies them each time it is asked
    for phase, group in point_groups(xmap_a).items():
        of = np.flatnonzero((phases == phase) & (xmap_b.phase_id[there] == phase))
        for part in _parts(of):
            pair = rotations[0][here[part]], rotations[1][there[part]]
            angles[part] = disorientation_deg(*pair, group)
    return angles


def _nearest_equivalents(quaternions, references, group):
    """Return each quaternion's symmetric equivalent, of either sign, nearest its reference."""
    operators, found = group[~group.improper].data, np.empty_like(quaternions)
    for part in _parts(np.arange(len(quaternions))):
        q = Quaternion(quaternions[part])
        # <s q, r> = <s, r q*>: one matrix product finds the best operator of every point.
        overlap = (Quaternion(references[part]) * ~q).data @ operators.T
        best = np.abs(overlap).argmax(axis=1)
        sign = np.sign(np.take_along_axis(overlap, best[:, np.newaxis], axis=1))
        found[part] = (Quaternion(operators[best]) * q).data * sign
    return found


def _parts(points):
    """Return an array of points in parts, so that memory does not grow with the map."""
    return np.array_split(points, 1 + len(points) // _AT_A_TIME)
