"""Orientations as a Channel Text File (.ctf) of Oxford Instruments; orix reads but writes none.

Frames: in this package and in .ang files the sample's x points up the map, y to its left and z out
of the surface (docs/conventions.md); in .ctf files x points to the right, y up the map and z out. A
hexagonal or trigonal
crystal has x along a in the former and along a* (Y||b) in .ctf files. The Euler angles are turned
accordingly, so that both files show one crystal on one map, as the readers of MTEX 5 take them;
orix takes the angles as they stand (docs/interchange.md).
"""

from bisect import bisect
from pathlib import Path

import numpy as np
from orix.crystal_map import CrystalMap

from kikuhelpers.indexing.orientation_maps import NOT_INDEXED
from kikuhelpers.runs.files import written_aside

_LAUE = (1, 3, 16, 75, 89, 143, 149, 168, 177, 195, 207)  # first space group of Laue groups 1 to 11
_PHI1_DEG, _PHI2_HEXAGONAL_DEG = 90.0, 30.0  # from an .ang file's to a .ctf file's
_HEAD = (
    "Channel Text File\nPrj\t{title}\nAuthor\tkikuhelpers\nJobMode\tGrid\nXCells\t{columns}\n"
    "YCells\t{rows}\nXStep\t{step:.6f}\nYStep\t{step:.6f}\nAcqE1\t0\nAcqE2\t0\nAcqE3\t0\n"
    "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t0\tCoverage\t100\tDevice\t0\t"
    "KV\t0\tTiltAngle\t{tilt:g}\tTiltAxis\t0\nPhases\t{count}\n{phases}"
    "Phase\tX\tY\tBands\tError\tEuler1\tEuler2\tEuler3\tMAD\tBC\tBS"
)
_PHASE = "{:.4f};{:.4f};{:.4f}\t{:.4f};{:.4f};{:.4f}\t{}\t{}\t{}\t\t\tkikuhelpers\n"
_LINE = "%d\t%.6f\t%.6f\t%d\t%d\t%.5f\t%.5f\t%.5f\t%.4f\t%d\t%d"


def save_ctf(path: Path, xmap: CrystalMap, title: str, step_um: float, tilt_deg: float) -> None:
    """Write a map (rows, columns) of points ``step_um`` apart on a sample tilted by ``tilt_deg``.

    MAD is ``fit`` in degrees, Bands ``nmatch``, BC ``pq`` scaled to the map's highest as 255; BS is
    unknown and 0. A point that is not indexed has phase 0, Error 3 and zeros.
    """
    euler, place, phases = xmap.rotations.to_euler(degrees=True), np.zeros(xmap.size), []
    euler[:, 0] += _PHI1_DEG
    for number, phase in ((n, phase) for n, phase in xmap.phases if n != NOT_INDEXED):
        group, of = phase.space_group.number, xmap.phase_id == number
        laue, lattice = bisect(_LAUE, group), phase.structure.lattice.abcABG()
        phases.append(_PHASE.format(*lattice, phase.name, laue, group))
        place[of] = len(phases)
        euler[of, 2] += _PHI2_HEXAGONAL_DEG * (6 <= laue <= 9)
    quality = np.nan_to_num(xmap.prop["pq"])
    found = *(euler % 360).T, xmap.prop["fit"], 255 * quality / (quality.max() or 1)
    none, bands = np.zeros(xmap.size), xmap.prop["nmatch"]
    table = np.column_stack([place, xmap.x, xmap.y, bands, none, *found, none])
    table[place == 0, 3:] = 3 * (np.arange(8) == 1)  # Error 3: no solution
    size = dict(zip(("rows", "columns"), xmap.shape, strict=True), step=step_um, tilt=tilt_deg)
    head = _HEAD.format(title=title, count=len(phases), phases="".join(phases), **size)
    with written_aside(path) as temporary:
        np.savetxt(temporary, table, _LINE, header=head, comments="")
