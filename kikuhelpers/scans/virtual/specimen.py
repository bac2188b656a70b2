"""The virtual specimen: known truth at any point, and what a beam sees around the point.

All that is random is drawn once, when a specimen is made. Each part draws from a stream of its
own: a part that is switched off or on leaves the others as they are. The truth is a function of
the point alone, so one specimen can be scanned at 1 um and, in a window, at 0.1 um.

The electrons of a pattern come from an interaction volume that reaches into the neighbours. It
is taken as a normal distribution on the surface and is sampled at a few places. The places that
share a lattice become one component. The rotations within a component differ by so little that
their scatter counts as mosaic spread.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from kikuhelpers.scans.virtual import fields_and_rotations as quaternions
from kikuhelpers.scans.virtual import grains_and_defects as parts
from kikuhelpers.scans.virtual.cells import CellStructure
from kikuhelpers.scans.virtual.fields_and_rotations import RandomField
from kikuhelpers.study.specimen import Specimen

# Streams of random numbers. A new one goes to the end, so that old specimens stay as they are.
STREAMS = ("grains", "necklace", "texture", "twins", "density", "rotation", "elastic strain")
STREAMS += ("cells", "particles", "scratches", "slip", "deformation")

FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
PLACES = 5  # per axis of the interaction volume


@dataclass(frozen=True)
class Lattice:
    """The lattice at n points."""

    rotation: np.ndarray  # (n, 4) unit quaternions, lab2crystal
    # (n,) float32 mosaic spread: standard deviation per rotation component, degrees
    spread_deg: np.ndarray
    # (n,) float32 relative change of the lattice parameter, by segregation and stress
    strain: np.ndarray
    phase: np.ndarray  # (n,) int8 index into :data:`kikuhelpers.study.specimen.PHASES`
    # (n,) int32 label of the region of one lattice, smooth rotation and cells left aside:
    # one rotation domain of one grain, or of one lamella, or one particle
    domain: np.ndarray
    # (n,) float32 dislocation density, relative to the annealed matrix; ordinal
    density: np.ndarray


@dataclass(frozen=True)
class State(Lattice):
    """The truth at n points: the lattice and what it belongs to."""

    grain: np.ndarray  # (n,) int32 label; a twin lamella and a particle keep their parent's
    # (n,) int32, 0 in the parent, else a number of the lamella's own in the specimen
    twin: np.ndarray


@dataclass(frozen=True)
class Components(Lattice):
    """The lattices that n beam points see; m >= n components, in the order of the points.

    The mosaic spread includes the scatter of the rotation within the component.
    """

    point: np.ndarray  # (m,) index of the beam point
    share: np.ndarray  # (m,) float32 of the point's pattern; sums to 1 over a point


class VirtualSpecimen:
    """A specimen of one of the alloys; the same settings and seed always give the same."""

    def __init__(self, settings: Specimen, seed: int):
        rngs = {name: np.random.default_rng((seed, i)) for i, name in enumerate(STREAMS)}
        self.settings = settings
        self._grains = parts.GrainMap(settings, rngs["grains"], rngs["necklace"])
        count, first_small = self._grains.count, self._grains.first_small
        spread_deg, texture = settings.grains.fibre_spread_deg, rngs["texture"]
        if spread_deg is None:
            large = quaternions.random_rotations(first_small, texture)
        else:
            large = quaternions.fibre_rotations(first_small, spread_deg, texture)
        small = quaternions.random_rotations(count - first_small, texture)
        parents = np.concatenate([large, small])
        self._twins = parts.TwinLamellae(settings.twins, self._grains, parents, rngs["twins"])
        self._crystals = np.concatenate([parents, self._twins.rotations])
        self._density = rngs["density"].uniform(*settings.grains.density, count)
        self._rotation_field = RandomField(3, settings.rotation.length_um, rngs["rotation"])
        axes = rngs["rotation"].standard_normal((count, 3))
        self._gradient_axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
        self._elastic_field = RandomField(1, settings.elastic_length_um, rngs["elastic strain"])
        self._cells = self._particles = self._scratches = self._slip = None
        if settings.cells:
            self._cells = CellStructure(settings.cells, count, rngs["cells"])
        if settings.particles:
            rng = rngs["particles"]
            self._particles = parts.ParticleMap(settings, self._grains, self._cells, rng)
        if settings.scratches:
            self._scratches = parts.ScratchMap(settings, rngs["scratches"])
        if settings.deformation:
            length_um = settings.deformation.rotation_length_um
            self._slip = parts.SlipBands(settings.deformation, self._crystals, rngs["slip"])
            self._bending = RandomField(6, length_um, rngs["deformation"])
        # The labels that each crystal may need; the last labels are the particles'.
        self._domains = self._cells.domains if self._cells else 1
        particles = len(self._particles.radii_um) if self._particles else 0
        if len(self._crystals) * self._domains + particles > np.iinfo(np.int32).max:
            raise ValueError("The specimen has too many grains for 32-bit labels: make it smaller.")

    def at(self, points_um: np.ndarray) -> State:
        """Return the truth at points (n, 2): (x, y) from the specimen's corner.

        That of a point does not depend on the points it is asked with. Points outside of the
        specimen are answered too: its outermost grains go on.
        """
        points = np.asarray(points_um, np.float64).reshape(-1, 2)
        grain, to_boundary = self._grains.locate(points)
        twin = self._twins.locate(points, grain)
        crystal = np.where(twin > 0, self._grains.count + twin - 1, grain)
        # Small turns in the sample frame are added as vectors; they turn twin and parent alike.
        turn_deg = self._smooth_turn(points, grain)
        density = self._density[grain]
        strain = self.settings.elastic_strain * self._elastic_field(points)[:, 0]
        domain = np.zeros(len(points), int)
        if self._cells:
            cells = self._cells.locate(points, grain)
            domain = cells.domain
            turn_deg += cells.turn_deg
            density = density * cells.density_ratio
            strain += cells.strain
        new = grain >= self._grains.first_small  # recrystallised: as if nothing had been
        turn_deg[new], density[new], domain[new] = 0, 1, 0
        if self._scratches:
            density = density + self._scratches.density(points)
            turn_deg += self._scratches.turn_deg(points)
        if self._slip:
            bent_deg, added = self._deformation(points, crystal, to_boundary)
            turn_deg, density = turn_deg + bent_deg, density + added
        rotation = quaternions.multiply(self._crystals[crystal], quaternions.from_vectors(turn_deg))
        domain = crystal * self._domains + domain
        phase = np.zeros(len(points), np.int8)
        if self._particles:
            number = self._particles.locate(points)
            inside = np.flatnonzero(number >= 0)
            number = number[inside]
            rotation[inside] = self._particles.rotations[number]
            phase[inside] = self._particles.phase[number]
            domain[inside] = len(self._crystals) * self._domains + number
            twin[inside], density[inside], strain[inside] = 0, 1, 0
        return State(
            rotation=rotation,
            spread_deg=(self.settings.unit_spread_deg * np.sqrt(density)).astype(np.float32),
            strain=strain.astype(np.float32),
            phase=phase,
            domain=domain.astype(np.int32),
            grain=grain.astype(np.int32),
            twin=twin,
            density=density.astype(np.float32),
        )

    def sizes_um(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Return the lamellae's widths on the surface and the particles' radii, NaN for none."""
        number = state.domain - len(self._crystals) * self._domains
        radii = np.append(self._particles.radii_um if self._particles else [], np.nan)
        return self._twins.widths_um[state.twin], radii[np.where(number >= 0, number, -1)]

    def _smooth_turn(self, points, grain):
        """Rotation vectors (n, 3) in degrees of the smooth field and of each grain's gradient."""
        rotation = self.settings.rotation
        along_um = points[:, 0] - self._grains.centres_um[grain, 0]
        angle_deg = rotation.gradient_deg_per_100um / 100 * along_um
        turn = rotation.deviation_deg * self._rotation_field(points)
        return turn + angle_deg[:, None] * self._gradient_axes[grain]

    def _deformation(self, points, crystal, to_boundary):
        """Rotation vectors (n, 3) in degrees and density (n,) that the strain adds."""
        settings = self.settings.deformation
        at_boundary = np.exp(-to_boundary / settings.boundary_length_um)
        bending = self._bending(points)
        turn = settings.rotation_deg_per_percent * bending[:, :3]
        turn += (settings.boundary_rotation_deg_per_percent * at_boundary)[:, None] * bending[:, 3:]
        density = settings.density_per_percent + settings.boundary_density_per_percent * at_boundary
        percent = settings.strain_percent
        return percent * turn, percent * density + self._slip.density(points, crystal)


def components(
    specimen: VirtualSpecimen, points_um: np.ndarray, interaction_um: tuple[float, float]
) -> Components:
    """Return what beams at some points (n, 2) of a specimen see.

    The interaction volume is given by its full widths at half maximum along x and y.
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
        density=mean(state.density).astype(np.float32),
        point=point[first],
        share=(count / len(offsets)).astype(np.float32),
    )


def interaction_offsets(interaction_um: tuple[float, float]) -> np.ndarray:
    """Return places (n, 2) of equal weight within the interaction volume, around the beam."""
    quantiles = norm.ppf((np.arange(PLACES) + 0.5) / PLACES)
    quantiles /= quantiles.std()
    axes = [quantiles * width / FWHM_PER_SIGMA if width else [0.0] for width in interaction_um]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
