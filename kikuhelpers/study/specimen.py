"""Settings of the virtual specimens: an alloy is a choice of parts and of their strengths.

All alloys have the same parts; a part that an alloy lacks is None. Where a study gives only
some values of a part, the others are those of the alloy: ``{"alloy": "am", "cells": {"size_um":
[1, 2]}}`` is an AM specimen with smaller cells.

Sizes and strengths are typical of Ni alloys in the paper's own maps and in the sources named.
They are meant to be plausible; they are not measured values of one alloy.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from kikuhelpers.study.values import Count, Fraction, NonNegative, Positive, Settings

PHASES = ("Ni", "Laves", "NbC", "TiN", "oxide")  # index = State.phase
# Mean atomic number by mass, in that order: alloy 718 of the paper's composition, and Fe2Nb, NbC,
# TiN and Al2O3, the structures of the master patterns.
ATOMIC_NUMBERS = (27.7, 32.8, 37.0, 18.6, 10.7)


def _in_order(values: tuple) -> tuple:
    low, high = values
    if low > high:
        raise ValueError(f"a range runs from small to large, not from {low:g} to {high:g}")
    return values


Range = Annotated[tuple[Positive, Positive], AfterValidator(_in_order)]
CountRange = Annotated[tuple[Count, Count], AfterValidator(_in_order)]
Particle = Literal["Laves", "NbC", "TiN", "oxide"]


class Grains(Settings):
    """Grains of log-normal size, equiaxed or columnar."""

    # Across y; the length along x is aspect_ratio times this. The default is near the median of
    # the measured IN718 crop, 45 um, and gives 15 to 25 grains in 200 x 200 um.
    median_width_um: Positive = 48.0
    log_sigma: NonNegative = 0.35  # standard deviation of the width's logarithm
    aspect_ratio: Positive = 1.0  # length along x over width along y
    # Grain boundaries are not straight: standard deviation and length of their waves.
    waviness_um: NonNegative = 1.0
    waviness_length_um: Positive = 12.0
    fibre_spread_deg: NonNegative | None = None  # of <001> about x, each way; None: random
    density: Range = (1.0, 1.5)  # of dislocations, inside of a grain; annealed matrix = 1


class Necklace(Settings):
    """Recrystallised grains along the boundaries of the others; of density 1."""

    median_width_um: Positive = 5.0
    log_sigma: NonNegative = 0.3
    width_um: Positive = 10.0  # of the whole necklace, on average
    unevenness: NonNegative = 0.4  # standard deviation of the width's relative change
    unevenness_length_um: Positive = 40.0


class Twins(Settings):
    """Sigma-3 lamellae; they grow in recrystallised grains only."""

    grain_fraction: Fraction = 0.6  # of the grains that can have any
    per_grain: CountRange = (1, 5)  # fewest and most, all on one {111} plane
    # Thickness, log-uniform, from thinner than one step to wide. A lamella is wider on the
    # surface, which cuts its plane obliquely.
    lamella_width_um: Range = (0.25, 8.0)


class LatticeRotation(Settings):
    """Smooth rotation of the lattice in the sample frame, of twins and parents alike."""

    deviation_deg: NonNegative = 0.3  # standard deviation of each vector component
    length_um: Positive = 15.0  # correlation length
    gradient_deg_per_100um: NonNegative = 0.0  # along x; each grain has its own axis


class Cells(Settings):
    """Dislocation cells, bundled into low-angle rotation domains; each grain has its own.

    They follow the cells of the paper's AM map (Fig. 7). In additively made IN718 the walls hold
    dislocations and segregated particles (Tucho et al., Mater. Sci. Eng. A, 2017). The walls are
    rich in Nb, so their lattice is larger.
    """

    came_later: ClassVar = {"turn_width_um": 0.0}
    # Square root of a cell's area, of each grain. Assumed, as no measured distribution was at hand:
    # from the finest cells of the paper's Fig. 7 to the dendrites of walls of 718 made by directed
    # energy deposition (Fang et al., npj Comput. Mater. 2022, doi:10.1038/s41524-022-00808-5).
    size_um: Range = (2.0, 20.0)
    elongation: Range = (1.0, 3.0)  # of each grain
    misorientation_deg: NonNegative = 0.3  # between cells; standard deviation per component
    # Walls are not straight either: standard deviation and length of their waves.
    waviness_um: NonNegative = 0.2
    waviness_length_um: Positive = 1.5
    wall_width_um: Positive = 0.4  # full width at half maximum; assumed, as wide as in Fig. 7
    # Over which the lattice turns from a cell to the next: full width at half maximum of its
    # curvature. Dislocations are what turns it, so it is the walls' width. 0: at once.
    turn_width_um: NonNegative = 0.4
    wall_density_ratio: Range = (10.0, 30.0)  # middle of a wall over interior; of each grain
    segregation_strain: NonNegative = 0.003  # at the middle of a wall
    segregation_width_um: Positive = 0.8  # full width at half maximum
    domain_size_um: Positive = 17.0
    domain_misorientation_deg: NonNegative = 1.0  # standard deviation per component


class Particles(Settings):
    """Round particles of random orientation; on the cell walls where there are cells."""

    per_1000_um2: NonNegative = 0.3
    radius_um: Range = (0.5, 3.0)  # log-uniform
    shares: dict[Particle, NonNegative] = Field(default={"NbC": 0.7, "TiN": 0.3})

    @model_validator(mode="after")
    def _some_share(self):
        if not sum(self.shares.values()) > 0:
            raise ValueError("at least one phase must have a share above 0")
        return self


class Scratches(Settings):
    """Straight scratches of the polish across the whole specimen.

    Beside a scratch the lattice is turned about the scratch's direction, as beneath scratches in
    copper (Kareer et al., 2020, arXiv:2006.12554): in opposite senses on its two sides.
    """

    came_later: ClassVar = {"normals_deg": (0.0, 180.0), "turn_deg": 0.0, "turn_length_um": 0.2}
    count: Annotated[int, Field(ge=0)] = 3
    width_um: Positive = 1.0  # full width at half maximum
    density: Positive = 50.0  # added at the middle of a scratch
    # Directions across the scratches, from x to y: within (87, 93) all run nearly along x.
    normals_deg: tuple[float, float] = (0.0, 180.0)
    turn_deg: NonNegative = 0.2  # the highest, on either side; crop
    turn_length_um: Positive = 0.2  # from the middle to the highest turn, and its decay; crop


class Deformation(Settings):
    """What a few per cent of strain add. Strengths are those of one per cent of strain."""

    strain_percent: Positive = 3.0
    tension_axis: Literal["x", "y"] = "y"  # of the sample; picks each crystal's slip plane
    density_per_percent: NonNegative = 1.0  # added everywhere
    slip_band_spacing_um: Positive = 5.0  # on average, along the surface
    slip_band_width_um: Positive = 0.6  # full width at half maximum
    slip_band_density_per_percent: NonNegative = 8.0  # added at the middle of a strong band
    boundary_length_um: Positive = 5.0  # over which the next two decay from a grain boundary
    boundary_density_per_percent: NonNegative = 4.0
    boundary_rotation_deg_per_percent: NonNegative = 0.5  # standard deviation per component
    # A grain rotates unevenly also far from its boundaries.
    rotation_deg_per_percent: NonNegative = 0.15  # standard deviation per component
    rotation_length_um: Positive = 20.0


# What makes an alloy: the parts it has, and values other than those above.
ALLOYS: dict[str, dict[str, Any]] = {
    # Recrystallised: equiaxed grains of random texture, twins, scratches, few particles.
    "wrought": {"twins": {}, "particles": {}, "scratches": {}},
    # Directed energy deposition as built, along x: columns, a <001> fibre, cells.
    "am": {
        "elastic_strain": 0.0005,
        "grains": {
            "median_width_um": 22.0,
            "aspect_ratio": 4.0,
            "fibre_spread_deg": 8.0,
            "waviness_um": 1.5,
            "waviness_length_um": 8.0,
            "density": (1.5, 3.0),
        },
        "rotation": {"deviation_deg": 0.7, "length_um": 30.0, "gradient_deg_per_100um": 4.0},
        "cells": {},
        "particles": {
            "per_1000_um2": 25.0,
            "radius_um": (0.1, 0.5),
            "shares": {"Laves": 0.5, "NbC": 0.25, "TiN": 0.1, "oxide": 0.15},
        },
    },
    # Partly recrystallised: strained large grains in a necklace of small ones.
    "waspaloy": {
        "grains": {"median_width_um": 60.0, "density": (4.0, 10.0)},
        "necklace": {},
        "twins": {"grain_fraction": 0.3, "per_grain": (1, 2), "lamella_width_um": (0.25, 2.0)},
        "rotation": {"deviation_deg": 2.5, "length_um": 30.0},
        "cells": {
            "size_um": (4.0, 7.0),
            "waviness_um": 0.4,
            "waviness_length_um": 3.0,
            "wall_width_um": 0.8,
            "turn_width_um": 0.8,
            "wall_density_ratio": (2.0, 4.0),
            "segregation_strain": 0.0,
            "domain_size_um": 14.0,
            "domain_misorientation_deg": 0.7,
        },
        "particles": {"per_1000_um2": 0.3, "radius_um": (0.3, 1.0)},
    },
}


# What a scan can be searched for, and the part of the specimen that makes it.
EFFECTS = {"walls": "cells", "scratches": "scratches", "particles": "particles", "twins": "twins"}


class Specimen(Settings):
    """A virtual specimen of one of the alloys."""

    size_um: tuple[Positive, Positive] = (200.0, 200.0)  # x, y; fields go on outside of it
    # Mosaic spread (standard deviation per component) = this * sqrt(density), because the
    # density goes as the square of the spread (Gay, Hirsch & Kelly, Acta Metall. 1 (1953) 315).
    # Densities are relative to the annealed matrix and ordinal: they are not in m^-2.
    unit_spread_deg: NonNegative = 0.08
    elastic_strain: NonNegative = 0.0003  # standard deviation of a smooth field
    elastic_length_um: Positive = 20.0
    grains: Grains = Grains()
    necklace: Necklace | None = None
    twins: Twins | None = None
    rotation: LatticeRotation = LatticeRotation()
    cells: Cells | None = None
    particles: Particles | None = None
    scratches: Scratches | None = None
    deformation: Deformation | None = None
    alloy: Literal["wrought", "am", "waspaloy"]

    @property
    def effects(self) -> list[str]:
        """The names of ``EFFECTS`` that the specimen has."""
        return [effect for effect, part in EFFECTS.items() if getattr(self, part)]

    @model_validator(mode="before")
    @classmethod
    def _keep_the_values_of_the_alloy(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        of_alloy = ALLOYS.get(str(given.get("alloy")), {})
        whole = of_alloy | given
        for part, values in of_alloy.items():
            if isinstance(values, dict) and isinstance(whole[part], dict):
                whole[part] = values | whole[part]
        return whole
