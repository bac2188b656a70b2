"""What there is to find in a virtual scan, as its beam sees it, and how well it could be found.

A pattern comes from an interaction volume: the truth is averaged over it. How strong an effect is
tells the same specimen without it.
"""

import numpy as np
from scipy.stats import norm

from kikuhelpers.latents.view import View
from kikuhelpers.scans.virtual.microscope import VirtualMicroscope
from kikuhelpers.scans.virtual.specimen import VirtualSpecimen, components, interaction_offsets
from kikuhelpers.study import NETWORK_INPUT_PX
from kikuhelpers.study.specimen import EFFECTS, PHASES, Specimen
from kikuhelpers.tables.scores import Target

# Stated before any score was seen.
WALL_RATIO, PLAIN_RATIO = 3.0, 1.2  # density over that without the effect: a wall, interior
LEAST_SHARE = 0.1  # of a pattern, that a particle or a thin twin must give to be there
THIN_STEPS = 2.0  # a twin lamella of fewer is thin
FEWEST_POINTS = 10  # with the effect, and without, that a score needs
FALSE_ALARMS = 0.01  # of the plain points
_DENSITY = "dislocation density over the interior's"
_WALLS = ("walls", "scratches")  # what adds dislocations; the other effects are spots and lines
_NO_WALLS = {"wall_density_ratio": (1.0, 1.0), "segregation_strain": 0.0}
_CHUNK = 4000  # points asked at a time


def targets_of(view: View) -> list[Target]:
    """Return what there is to find in a whole virtual scan, and to miss, in enough points."""
    settings = view.results.study.scan(view.scan).data.specimen
    density, phase, grain, twin, width, radius = _seen(view, settings)
    own = view.truth("phase") == PHASES.index("Ni")
    grains = view.truth("grain").astype(int)
    crystals = np.unique(grains + 1j * view.truth("twin"), return_inverse=True)[1]
    inside = np.where(own, crystals, -1)
    # Electrons from beyond a boundary say nothing of the dislocations here.
    same = (grain == grains[..., None]) & (twin == view.truth("twin")[..., None])
    same &= phase == PHASES.index("Ni")
    domains = np.unique(view.truth("domain"), return_inverse=True)[1]
    within, targets = np.where(own, domains, -1), []  # rotation is no wall
    for name in _WALLS:
        if name in settings.effects:
            plain = _seen(view, _without(settings, name))[0]
            means = [np.where(own, (d * same).sum(-1), 1.0) for d in (density, plain)]
            ratio, amount = means[0] / means[1], np.log(means[0] / np.maximum(same.sum(-1), 1))
            there = own & (ratio >= WALL_RATIO), own & (ratio <= PLAIN_RATIO)
            targets.append(Target(name, within, grains, *there, amount, ratio, _DENSITY))
    if len(np.unique(domains[own])) > len(np.unique(crystals[own])):
        nothing = np.zeros(view.shape)
        targets.append(Target("domains", inside, grains, own, own, nothing, nothing, "", domains))
    thin, steps = width < THIN_STEPS * view.step_um, width / view.step_um
    whole = np.where(own, grains, -1)
    found = [("particles", crystals, phase > 0, phase == 0, radius, "radius (µm)")]
    found += [("twins", whole, thin, twin == 0, steps, "thickness (steps)")]
    for name, crystal, there, plain, sizes, unit in found:
        share, size = there.mean(-1), np.fmax.reduce(np.where(there, sizes, np.nan), axis=-1)
        marked = (share >= LEAST_SHARE) & (crystal >= 0)
        plain = plain.all(-1) & (crystal >= 0)
        targets.append(Target(name, crystal, grains, marked, plain, share, size, unit, local=True))
    return [t for t in targets if min(t.marked.sum(), t.plain.sum()) >= FEWEST_POINTS]


def ideal_detection(view: View, effect: str, points: np.ndarray) -> np.ndarray:
    """Probability (n,) that an ideal observer finds an effect at points (n, 2), rows and columns.

    A matched filter: it knows the noise-free pattern with and without the effect, so also the
    orientation, and has shot and read noise against it. The false alarms are FALSE_ALARMS.
    """
    data = view.results.study.scan(view.scan).data
    optics, microscope = data.microscope, VirtualMicroscope(data)
    parts = (optics.pixels / NETWORK_INPUT_PX) ** 2  # pixels in one of a 120 px pattern
    places, signals = data.origin_um + data.step_um * points, []
    for settings in (data.specimen, _without(data.specimen, effect)):
        specimen = VirtualSpecimen(settings, data.seed)
        seen = components(specimen, places, optics.interaction_um)
        signals.append(microscope.signal(seen, points))
    electrons = optics.dose / parts * microscope.background
    variance = electrons * (1 + signals[1]) + optics.read_noise**2 / parts
    separation = np.sqrt(((electrons * (signals[0] - signals[1])) ** 2 / variance).sum(axis=1))
    return norm.cdf(separation - norm.isf(FALSE_ALARMS))


def _without(settings: Specimen, effect: str) -> Specimen:
    """The same specimen without an effect; cells keep their turns, for only their walls go."""
    part = settings.cells.model_copy(update=_NO_WALLS) if effect == "walls" else None
    return settings.model_copy(update={EFFECTS[effect]: part})


def _seen(view: View, settings: Specimen) -> list[np.ndarray]:
    """Density, phase, grain, lamella, its width and the radius of the particle at the places of
    each beam, (rows, columns, places).
    """
    data = view.results.study.scan(view.scan).data
    specimen = VirtualSpecimen(settings, data.seed)
    offsets = interaction_offsets(data.microscope.interaction_um)
    points = np.stack(np.indices(view.shape), axis=-1).reshape(-1, 2)
    parts = []
    for some in np.array_split(points, len(points) // _CHUNK + 1):
        state = specimen.at((data.origin_um + data.step_um * some)[:, None] + offsets)
        of_state = state.density, state.phase, state.grain, state.twin, *specimen.sizes_um(state)
        parts.append([values.reshape(len(some), -1) for values in of_state])
    return [np.concatenate(part).reshape(*view.shape, -1) for part in zip(*parts, strict=True)]
