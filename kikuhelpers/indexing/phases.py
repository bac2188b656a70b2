"""The phases of a study as orix has them, and the bands that tell them apart."""

from functools import cache

import numpy as np
from diffpy.structure import Atom, Lattice, Structure
from diffsims.crystallography import ReciprocalLatticeVector
from orix.crystal_map import Phase, PhaseList

from kikuhelpers.indexing.confidence import Library, build_library
from kikuhelpers.study import StudyError, phases
from kikuhelpers.study.study import Indexing

# PyEBSDIndex's families of bands (tripletvote.addphase), by space group: face-centred and
# body-centred cubic and hexagonal close-packed metals.
_METALS = {
    225: ((1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1)),
    229: ((1, 1, 0), (2, 0, 0), (2, 1, 1), (3, 1, 0)),
    194: ((1, 0, 0), (0, 0, 2), (1, 0, 1), (1, 0, 2), (1, 1, 0), (1, 0, 3), (1, 1, 2), (2, 0, 1)),
}
# By structure factors the strongest families are taken, until there are as many bands as of a
# face-centred cubic metal. Of nickel and iron this gives the families above again.
_BANDS = 25
_WEAKEST = 0.4  # structure factor, relative to the strongest
_SMALLEST_SPACING = 0.9  # of lattice planes, in angstrom
_ANGSTROM_PER_NM = 10.0


def orix_phases(indexing: Indexing) -> PhaseList:
    """Return the phases of some settings, numbered from 0; StudyError where there are none."""
    if not indexing.phases:
        raise StudyError(
            "The study names no phase, nor does the scan's file: give indexing.phase, for example "
            "{name: Ni, space_group: 225, lattice_nm: 0.36}, or a list of such."
        )
    return PhaseList([_crystal(phase) for phase in indexing.phases])


@cache
def reflectors(phase: phases.Phase) -> tuple[phases.Miller, ...]:
    """Return one (h, k, l) of each family of bands; StudyError where they are not known."""
    families = phase.reflectors or (_strongest(phase) if phase.atoms else None)
    if not families and phase.space_group not in _METALS:
        raise StudyError(
            f"The bands of phase '{phase.name}' (space group {phase.space_group}) are not known: "
            "give its reflectors, for example [[1, 1, 1], [2, 2, 0]], or its atoms."
        )
    return families or _METALS[phase.space_group]


@cache
def library_of(phase: phases.Phase) -> Library:
    """Return the library of a phase for the confidence index."""
    return build_library(reflectors(phase), *_turns_and_frame(_crystal(phase)))


def _crystal(phase: phases.Phase) -> Phase:
    *lengths, alpha, beta, gamma = phase.lattice
    lattice = Lattice(*(_ANGSTROM_PER_NM * length for length in lengths), alpha, beta, gamma)
    crystal = Phase(phase.name, phase.space_group, structure=Structure(lattice=lattice))
    atoms = [Atom(element, place) for element, *place in phase.atoms or ()]
    crystal.structure = Structure(atoms, crystal.structure.lattice)  # which orix has turned
    return crystal


def _turns_and_frame(crystal: Phase) -> tuple[np.ndarray, np.ndarray]:
    """Rotations of the Laue group as they act on (h, k, l), and from there to orix's axes."""
    group, lattice = crystal.point_group.laue, crystal.structure.lattice
    frame = np.linalg.inv(lattice.base / lattice.a)
    turns = np.linalg.inv(frame) @ group[~group.improper].to_matrix() @ frame
    return np.rint(turns).astype(int), frame


def _strongest(phase: phases.Phase) -> tuple[phases.Miller, ...]:
    """The families with the largest kinematical structure factors."""
    crystal = _crystal(phase)
    vectors = ReciprocalLatticeVector.from_min_dspacing(crystal, _SMALLEST_SPACING)
    vectors.sanitise_phase()
    # Atoms are fractions of the axes, but diffsims turns them as far as orix has turned the axes.
    unturned = Lattice(*crystal.structure.lattice.abcABG())
    vectors.phase.structure = Structure([*vectors.phase.structure], unturned)
    vectors.calculate_structure_factor("lobato")
    strength, hkl = np.abs(vectors.structure_factor), np.rint(vectors.hkl).astype(int)
    found, planes = [], set()
    for i in np.lexsort((*-hkl.T[::-1], -strength.round(6))):  # of equals the highest h first
        plane = hkl[i] // np.gcd.reduce(hkl[i])  # higher orders share its band
        if len(planes) >= 2 * _BANDS or strength[i] < _WEAKEST * strength.max():
            break
        if tuple(plane) not in planes:
            found.append(tuple(hkl[i].tolist()))
            images = _turns_and_frame(crystal)[0] @ plane
            planes |= {tuple(image) for image in (*images, *-images)}
    return tuple(found)
