"""A confidence index from triplet votes, as EDAX defines it.

Every triplet of detected bands votes for each orientation in which its interplanar angles
agree with three reflectors. With V1 votes for the best orientation, V2 for the best one that
differs from it, and V_ideal triplets in all, CI = (V1 - V2) / V_ideal (Field, Ultramicroscopy
67 (1997) 1, doi:10.1016/S0304-3991(96)00104-0). PyEBSDIndex returns only its own ``cm``.
"""

from itertools import permutations, product

import numba
import numpy as np

REFLECTORS = ((1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1))  # strongest of a face-centred cubic
ANGLE_TOLERANCE_DEG = 2.0  # between a measured and a true interplanar angle
SAME_ORIENTATION_DEG = 5.0  # votes closer than this count for one orientation
_BLOCK = 64  # patterns that share one workspace


def confidence_index(normals: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the confidence index of patterns from their detected bands.

    Parameters
    ----------
    normals
        (patterns, bands, 3), unit normals of the band planes in any one Cartesian frame, of
        either sign, strongest band first.
    valid
        (patterns, bands), True where a band was detected.

    Returns
    -------
    numpy.ndarray
        (patterns,) float32 in [0, 1]; 0 also where fewer than three bands were detected.

    Raises
    ------
    ValueError
        The shapes do not agree.

    Notes
    -----
    For cubic crystals whose bands are :data:`REFLECTORS`. Three bands of one zone cannot tell
    an orientation from its half turn about the zone axis, and vote for both.
    """
    first, second, triplets = triplet_votes(normals, valid)
    return ((first - second) / np.maximum(triplets, 1)).astype(np.float32)


def triplet_votes(
    normals: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return V1, V2 and V_ideal of each pattern, (patterns,) int64; see `confidence_index`."""
    normals, valid = np.asarray(normals, np.float64), np.asarray(valid, bool)
    if normals.ndim != 3 or normals.shape != (*valid.shape, 3):
        raise ValueError(
            f"Band normals of shape {normals.shape} and flags of {valid.shape} do not belong "
            "together; give (patterns, bands, 3) and (patterns, bands)."
        )
    votes = np.zeros((len(normals), 3), np.int64)
    _vote(normals, valid, _LIBRARY, votes)
    return votes[:, 0], votes[:, 1], votes[:, 2]


def _cubic_rotations() -> np.ndarray:
    """Return the 24 rotations of the cube, (24, 3, 3)."""
    signed = [
        np.eye(3)[list(order)] * signs
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    return np.array([matrix for matrix in signed if np.linalg.det(matrix) > 0])


def _build_library():
    """Return the reflectors and their pairs, one of each set that symmetry makes equal.

    Returns
    -------
    poles : (25, 3), one unit normal of each +/- pair
    angles : (pairs,), in radians, ascending
    members : (pairs, 2), rows of ``poles``
    triads : (pairs, 3, 3), see ``_triad``; pairs are ordered and signed
    operators : (24, 4), quaternions of the cube's rotations
    """
    rotations = _cubic_rotations()
    families = [{tuple(np.rint(r @ hkl).astype(int)) for r in rotations} for hkl in REFLECTORS]
    signed = sorted(set().union(*families), reverse=True)
    poles = [hkl for hkl in signed if hkl > (0, 0, 0)]
    row = {hkl: i for i, hkl in enumerate(poles)}
    row |= {tuple(-i for i in hkl): i for hkl, i in row.items()}
    seen, pairs = set(), []
    for first in REFLECTORS:
        for second in signed:
            if row[first] == row[second] or (first, second) in seen:
                continue
            pairs.append((first, second))
            seen |= {
                tuple(tuple(np.rint(r @ hkl).astype(int)) for hkl in (first, second))
                for r in rotations
            }
    unit = {hkl: np.array(hkl) / np.linalg.norm(hkl) for hkl in signed}
    angles = np.array([np.arccos(unit[a] @ unit[b]) for a, b in pairs])
    order = np.argsort(angles)
    members = np.array([(row[a], row[b]) for a, b in pairs])
    triads = np.array([_triad.py_func(unit[a], unit[b]) for a, b in pairs])
    return (
        np.array([unit[hkl] for hkl in poles]),
        angles[order],
        members[order],
        triads[order],
        np.array([_quaternion.py_func(r) for r in rotations]),
    )


@numba.njit(cache=True)
def _dot(a, b):
    # numba hands np.dot to BLAS, which takes longer to call than these take to add.
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@numba.njit(cache=True)
def _triad(a, b):
    """Return the orthonormal rows a + b, a x b and their cross product, (3, 3)."""
    rows = np.empty((3, 3))
    rows[0] = a + b
    rows[1, 0] = a[1] * b[2] - a[2] * b[1]
    rows[1, 1] = a[2] * b[0] - a[0] * b[2]
    rows[1, 2] = a[0] * b[1] - a[1] * b[0]
    for i in range(2):
        rows[i] /= np.sqrt(rows[i, 0] ** 2 + rows[i, 1] ** 2 + rows[i, 2] ** 2)
    rows[2, 0] = rows[0, 1] * rows[1, 2] - rows[0, 2] * rows[1, 1]
    rows[2, 1] = rows[0, 2] * rows[1, 0] - rows[0, 0] * rows[1, 2]
    rows[2, 2] = rows[0, 0] * rows[1, 1] - rows[0, 1] * rows[1, 0]
    return rows


@numba.njit(cache=True)
def _quaternion(r):
    """Return the unit quaternion of a rotation matrix (3, 3), by its largest component."""
    q = np.empty(4)
    squares = (
        1 + r[0, 0] + r[1, 1] + r[2, 2],
        1 + r[0, 0] - r[1, 1] - r[2, 2],
        1 - r[0, 0] + r[1, 1] - r[2, 2],
        1 - r[0, 0] - r[1, 1] + r[2, 2],
    )
    largest = 0
    for i in range(1, 4):
        if squares[i] > squares[largest]:
            largest = i
    half = 0.5 / np.sqrt(squares[largest])
    x, y, z = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    xy, xz, yz = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1]
    if largest == 0:
        q[:] = (squares[0], x, y, z)
    elif largest == 1:
        q[:] = (x, squares[1], xy, xz)
    elif largest == 2:
        q[:] = (y, xy, squares[2], yz)
    else:
        q[:] = (z, xz, yz, squares[3])
    return q * half


@numba.njit(cache=True)
def _multiply(s, q, out):
    """Write the quaternion product s q into ``out``."""
    out[0] = s[0] * q[0] - s[1] * q[1] - s[2] * q[2] - s[3] * q[3]
    out[1] = s[0] * q[1] + s[1] * q[0] + s[2] * q[3] - s[3] * q[2]
    out[2] = s[0] * q[2] - s[1] * q[3] + s[2] * q[0] + s[3] * q[1]
    out[3] = s[0] * q[3] + s[1] * q[2] - s[2] * q[1] + s[3] * q[0]


@numba.njit(cache=True)
def _smallest_turn(q, operators):
    """Return the largest scalar part among q's symmetric equivalents, and its operator."""
    best, largest = 0, -1.0
    for s in range(len(operators)):
        o = operators[s]
        scalar = abs(o[0] * q[0] - o[1] * q[1] - o[2] * q[2] - o[3] * q[3])
        if scalar > largest:
            best, largest = s, scalar
    return best, largest


@numba.njit(cache=True)
def _clusters_apart(a, b, operators):
    """Return the disorientation of two quaternions, in radians."""
    inverse, between = b * np.array([1.0, -1.0, -1.0, -1.0]), np.empty(4)
    _multiply(a, inverse, between)
    return 2 * np.arccos(min(1.0, _smallest_turn(between, operators)[1]))


@numba.njit(cache=True)
def _vote_one(normals, library, clusters, equivalents, owners):
    """Return V1, V2 and V_ideal of one pattern's bands (bands, 3).

    A new orientation opens a cluster; a triplet votes for each cluster at most once. Votes are
    compared in the fundamental zone, where an orientation near the border has neighbours on
    the far side: ``equivalents`` holds every equivalent of a cluster that a vote can be near.
    """
    poles, angles, members, triads, operators = library
    tolerance = np.deg2rad(ANGLE_TOLERANCE_DEG)
    near_pole = np.cos(tolerance)
    half_same = np.deg2rad(SAME_ORIENTATION_DEG) / 2
    near_vote = np.cos(half_same)
    votes = np.zeros(len(clusters), np.int64)
    last_voter = np.full(len(clusters), -1)
    n, n_clusters, n_equivalents, triplet = len(normals), 0, 0, 0
    q, image, turn, third = np.empty(4), np.empty(4), np.empty((3, 3)), np.empty(3)
    for i in range(n):
        for j in range(i + 1, n):
            for k in range(j + 1, n):
                # The pair nearest to a right angle fixes the orientation best.
                ij, ik, jk = (
                    abs(_dot(normals[i], normals[j])),
                    abs(_dot(normals[i], normals[k])),
                    abs(_dot(normals[j], normals[k])),
                )
                if ij <= ik and ij <= jk:
                    a, b, c = i, j, k
                elif ik <= jk:
                    a, b, c = i, k, j
                else:
                    a, b, c = j, k, i
                cosine = _dot(normals[a], normals[b])
                angle = np.arccos(min(1.0, max(-1.0, cosine)))
                measured = _triad(normals[a], normals[b])
                first = np.searchsorted(angles, angle - tolerance)
                last = np.searchsorted(angles, angle + tolerance)
                for pair in range(first, last):
                    for row in range(3):
                        for column in range(3):  # into the crystal's frame
                            turn[row, column] = _dot(triads[pair, :, row], measured[:, column])
                        third[row] = _dot(turn[row], normals[c])
                    agrees = False
                    for p in range(len(poles)):
                        if (
                            p != members[pair, 0]
                            and p != members[pair, 1]
                            and abs(_dot(poles[p], third)) > near_pole
                        ):
                            agrees = True
                            break
                    if not agrees:
                        continue
                    raw = _quaternion(turn)
                    operator, scalar = _smallest_turn(raw, operators)
                    _multiply(operators[operator], raw, q)
                    cluster = -1
                    for e in range(n_equivalents):
                        if abs(_dot(equivalents[e], q)) > near_vote:
                            cluster = owners[e]
                            break
                    if cluster < 0:
                        cluster = n_clusters
                        clusters[cluster] = q
                        n_clusters += 1
                        reach = np.cos(np.arccos(min(1.0, scalar)) + 2 * half_same)
                        for s in range(len(operators)):
                            _multiply(operators[s], q, image)
                            if abs(image[0]) >= reach:
                                equivalents[n_equivalents] = image
                                owners[n_equivalents] = cluster
                                n_equivalents += 1
                    if last_voter[cluster] != triplet:
                        last_voter[cluster] = triplet
                        votes[cluster] += 1
                triplet += 1
    if n_clusters == 0:
        return 0, 0, triplet
    best = np.argmax(votes[:n_clusters])
    second = 0
    for cluster in range(n_clusters):
        # Two clusters can share one spread of votes: only beyond that they differ.
        if votes[cluster] > second and (
            _clusters_apart(clusters[cluster], clusters[best], operators) > 4 * half_same
        ):
            second = votes[cluster]
    return votes[best], second, triplet


@numba.njit(cache=True, parallel=True)
def _vote(normals, valid, library, votes):
    bands = normals.shape[1]
    triplets = bands * (bands - 1) * (bands - 2) // 6
    room = max(1, triplets * len(library[1]))  # if every pair agreed with every triplet
    for block in numba.prange((len(normals) + _BLOCK - 1) // _BLOCK):
        clusters = np.empty((room, 4))
        equivalents = np.empty((room * len(library[4]), 4))
        owners = np.empty(room * len(library[4]), np.int64)
        for pattern in range(block * _BLOCK, min((block + 1) * _BLOCK, len(normals))):
            bands_found = normals[pattern][valid[pattern]]
            votes[pattern] = _vote_one(bands_found, library, clusters, equivalents, owners)


_LIBRARY = _build_library()
