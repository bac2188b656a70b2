"""Settings of a crystal phase: space group, lattice and the bands that indexing looks for."""

from math import isclose
from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag, model_validator

from kikuhelpers.study.values import Positive, Settings

Miller = tuple[int, int, int]
# First space groups of crystal systems; trigonal crystals are described on hexagonal axes.
_MONOCLINIC, _ORTHORHOMBIC, _TETRAGONAL, _TRIGONAL, _CUBIC = 3, 16, 75, 143, 195
# orix 0.14 lays the twofold axes of these elsewhere than the International Tables.
_AXES_ELSEWHERE = {*range(_MONOCLINIC, _ORTHORHOMBIC), 149, 151, 153, 157, 159, 162, 163}
_SAME = 1e-3  # relative difference of lattice parameters that are one, as files round them


class Phase(Settings):
    came_later: ClassVar = {"angles_deg": None, "reflectors": None, "atoms": None}
    name: str
    space_group: Annotated[int, Field(ge=1, le=230)]
    lattice_nm: Positive | tuple[Positive, Positive, Positive]  # cubic a, or a, b, c
    angles_deg: tuple[Positive, Positive, Positive] | None = None  # None: of the crystal system
    # One (h, k, l) of each family of bands. None: by structure factors of the atoms, or without
    # them PyEBSDIndex's for Fm-3m, Im-3m and P6_3/mmc, the metals.
    reflectors: Annotated[tuple[Miller, ...], Field(min_length=1)] | None = None
    # Element and fractions of the axes, one of each site.
    atoms: Annotated[tuple[tuple[str, float, float, float], ...], Field(min_length=1)] | None = None

    @property
    def lattice(self) -> tuple[float, ...]:
        """Lattice parameters a, b, c in nm and alpha, beta, gamma in degrees."""
        lengths = self.lattice_nm if isinstance(self.lattice_nm, tuple) else (self.lattice_nm,) * 3
        hexagonal = _TRIGONAL <= self.space_group < _CUBIC
        return (*lengths, *(self.angles_deg or (90.0, 90.0, 120.0 if hexagonal else 90.0)))

    @model_validator(mode="after")
    def _lattice_is_of_the_space_group(self):
        group, wrong = self.space_group, ""
        free = {} if group < _MONOCLINIC else {"angles_deg": None}
        a, b, c, *angles = self.model_copy(update=free).lattice
        own = a, a if group >= _TETRAGONAL else b, a if group >= _CUBIC else c, *angles
        if group in _AXES_ELSEWHERE:
            wrong = "has axes that indexing does not know: leave this phase out"
        elif group < _CUBIC and not isinstance(self.lattice_nm, tuple):
            wrong = "is not cubic: give lattice_nm as [a, b, c]"
        elif not all(isclose(x, y, rel_tol=_SAME) for x, y in zip(self.lattice, own, strict=True)):
            wrong = f"needs a lattice like {own} (a, b, c, angles), not {self.lattice}"
        if wrong:
            raise ValueError(f"space group {group} of phase '{self.name}' {wrong}")
        return self


LIST_OR_ONE = Discriminator(lambda given: "list" if isinstance(given, list | tuple) else "one")
# One phase, or a list of those that a map may hold.
Phases = Annotated[
    Annotated[Phase, Tag("one")] | Annotated[tuple[Phase, ...], Field(min_length=1), Tag("list")],
    LIST_OR_ONE,
]
NICKEL = Phase(name="Ni", space_group=225, lattice_nm=0.36)  # a fits the measured IN718 crop
