"""A confidence index from triplet votes, as EDAX defines it.

Every triplet of detected bands votes for each orientation in which its interplanar angles
agree with three reflectors. With V1 votes for the best orientation, V2 for the best one that
differs from it, and V_ideal triplets in all, CI = (V1 - V2) / V_ideal (Field, Ultramicroscopy
67 (1997) 1, doi:10.1016/S0304-3991(96)00104-0). PyEBSDIndex returns only its own ``cm``.
"""

from itertools import combinations, product

import numba
import numpy as np

ANGLE_TOLERANCE_DEG = 2.0  # between a measured and a true interplanar angle
SAME_ORIENTATION_DEG = 5.0  # votes closer than this count for one orientation
_PARALLEL = 1 - 1e-9  # cosine

Library = tuple[np.ndarray, ...]  # what build_library returns


def confidence_index(normals: np.ndarray, valid: np.ndarray, library: Library) -> np.ndarray:
    """Return the confidence index of patterns from their detected bands, (patterns,) float32.

    It is in [0, 1], and 0 also where fewer than three bands were detected. Three bands of one zone
    cannot tell an orientation from its half turn about the zone axis, and vote for both.

    Parameters
    ----------
    normals
        (patterns, bands, 3), unit normals of the band planes in any one Cartesian frame, of
        either sign, strongest band first.
    valid
        (patterns, bands), True where a band was detected; ValueError if the shapes do not agree.
    library
        Of the patterns' phase, see :func:`build_library`.
    """
    first, second, triplets = _triplet_votes(normals, valid, library)
    return ((first - second) / np.maximum(triplets, 1)).astype(np.float32)


def _triplet_votes(normals, valid, library):
    """Return V1, V2 and V_ideal of each pattern, (patterns,) int64; see `confidence_index`."""
    normals, valid = np.asarray(normals, np.float64), np.asarray(valid, bool)
    if normals.ndim != 3 or normals.shape != (*valid.shape, 3):
        raise ValueError(
            f"Band normals of shape {normals.shape} and flags of {valid.shape} do not belong "
            "together; give (patterns, bands, 3) and (patterns, bands)."
        )
    triplets = np.array([*combinations(range(valid.shape[1]), 3)], np.int64).reshape(-1, 3)
    return tuple(_vote(normals, valid, triplets, library).T)


def build_library(families, turns: np.ndarray, frame: np.ndarray) -> Library:
    """Return the reflectors of a phase and their pairs, one of each set that symmetry makes equal.

    These are one unit normal of each +/- pair (reflectors, 3); of the pairs, ordered and signed,
    the angles in radians, ascending, the members' rows (pairs, 2) and the triads (pairs, 3, 3);
    and the rotations (n, 3, 3). ``turns`` (n, 3, 3) are those of the Laue group as they act on
    (h, k, l), such as ``families`` are; ``frame`` (3, 3) leads from there to Cartesian axes.
    """

    def images(hkl):
        return [tuple(image) for image in (turns @ hkl).tolist()]

    opposites = [tuple(-i for i in hkl) for hkl in families]
    heads = [*families, *opposites]  # no rotation need lead from one to the other
    signed = sorted({image for hkl in heads for image in images(hkl)}, reverse=True)
    unit = {hkl: frame @ hkl / np.linalg.norm(frame @ hkl) for hkl in signed}
    poles = [hkl for hkl in signed if hkl > (0, 0, 0)]
    row = {hkl: i for i, hkl in enumerate(poles)}
    row |= {tuple(-i for i in hkl): i for hkl, i in row.items()}
    seen, pairs = set(), []
    for first, second in product(heads, signed):
        if abs(unit[first] @ unit[second]) < _PARALLEL and (first, second) not in seen:
            pairs.append((first, second))
            seen.update(zip(images(first), images(second), strict=True))
    angles = np.array([np.arccos(unit[a] @ unit[b]) for a, b in pairs])
    order = np.argsort(angles)
    members = np.array([(row[a], row[b]) for a, b in pairs])
    triads = np.array([_triad.py_func(unit[a], unit[b]) for a, b in pairs])
    normals = np.array([unit[hkl] for hkl in poles])
    rotations = np.ascontiguousarray(frame @ turns @ np.linalg.inv(frame))
    return normals, angles[order], members[order], triads[order], rotations


@numba.njit(cache=True)
def _dot(a, b):
    # numba hands np.dot to BLAS, which takes longer to call than these take to add.
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(cache=True)
def _triad(a, b):
    """Return the orthonormal rows a + b, a x b and their cross product, (3, 3)."""
    rows = np.empty((3, 3))
    rows[0] = a + b
    rows[1] = np.cross(a, b)
    for i in range(2):
        rows[i] /= np.sqrt((rows[i] ** 2).sum())
    rows[2] = np.cross(rows[0], rows[1])
    return rows


@numba.njit(cache=True)
def _cosine_apart(a, b, rotations):
    """Return the cosine of the disorientation of two rotation matrices (3, 3)."""
    between, largest = np.empty((3, 3)), -1.0
    for i in range(3):
        for j in range(3):
            between[i, j] = _dot(a[i], b[j])
    for s in range(len(rotations)):
        trace = 0.0
        for i in range(3):
            for j in range(3):
                trace += rotations[s, i, j] * between[j, i]
        largest = max(largest, trace)
    return (largest - 1) / 2


@numba.njit(cache=True)
def _is_reflector(normal, poles, members):
    """Tell whether a normal is that of a reflector, and of none of the pair."""
    for p in range(len(poles)):
        if p != members[0] and p != members[1] and abs(_dot(poles[p], normal)) > _NEAR_POLE:
            return True
    return False


@numba.njit(cache=True)
def _vote_one(normals, valid, triplets, library):
    """Return V1, V2 and V_ideal of one pattern's bands (bands, 3).

    A new orientation opens a cluster; a triplet votes for each cluster at most once.
    """
    poles, angles, members, triads, rotations = library
    room = max(1, len(triplets) * len(angles))  # if every pair agreed with every triplet
    clusters, votes, last_voter = np.empty((room, 3, 3)), np.zeros(room, np.int64), np.zeros(room)
    turn, third = np.empty((3, 3)), np.empty(3)
    found = ideal = 0
    for i, j, k in triplets:
        if not (valid[i] and valid[j] and valid[k]):
            continue
        ideal += 1
        a, b, c, cosine = i, j, k, 2.0
        for p, q, r in ((i, j, k), (i, k, j), (j, k, i)):
            # The pair nearest to a right angle fixes the orientation best.
            if abs(_dot(normals[p], normals[q])) < abs(cosine):
                a, b, c, cosine = p, q, r, _dot(normals[p], normals[q])
        angle = np.arccos(cosine)
        measured = _triad(normals[a], normals[b])
        first, last = np.searchsorted(angles, (angle - _TOLERANCE, angle + _TOLERANCE))
        for pair in range(first, last):
            for row in range(3):
                for column in range(3):  # into the crystal's frame
                    turn[row, column] = _dot(triads[pair, :, row], measured[:, column])
                third[row] = _dot(turn[row], normals[c])
            if not _is_reflector(third, poles, members[pair]):
                continue
            cluster = 0
            while cluster < found and _cosine_apart(turn, clusters[cluster], rotations) < _SAME:
                cluster += 1
            if cluster == found:
                clusters[cluster] = turn
                found += 1
            if last_voter[cluster] != ideal:
                last_voter[cluster] = ideal
                votes[cluster] += 1
    best, second = np.argmax(votes), 0
    for cluster in range(found):
        # Two clusters can share one spread of votes: only beyond that they differ.
        if _cosine_apart(clusters[cluster], clusters[best], rotations) < _DIFFERENT:
            second = max(second, votes[cluster])
    return votes[best], second, ideal


@numba.njit(cache=True, parallel=True)
def _vote(normals, valid, triplets, library):
    votes = np.empty((len(normals), 3), np.int64)
    for pattern in numba.prange(len(normals)):
        votes[pattern] = _vote_one(normals[pattern], valid[pattern], triplets, library)
    return votes


_TOLERANCE = np.deg2rad(ANGLE_TOLERANCE_DEG)
_NEAR_POLE = np.cos(_TOLERANCE)
_SAME = np.cos(np.deg2rad(SAME_ORIENTATION_DEG))
_DIFFERENT = np.cos(np.deg2rad(2 * SAME_ORIENTATION_DEG))
