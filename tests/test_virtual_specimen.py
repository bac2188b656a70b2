"""The virtual specimens: a field of the alloys' physics, the same wherever it is asked."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest
from orix.quaternion import Rotation
from orix.vector import Vector3d
from pydantic import ValidationError
from skimage.measure import regionprops

from kikuhelpers.scans.virtual.fields_and_rotations import (
    RandomField,
    from_vectors,
    multiply,
    random_rotations,
)
from kikuhelpers.scans.virtual.grains_and_defects import (
    PLANES_111,
    _PowerDiagram,
    _schmid_factors,
    _surface_normals,
)
from kikuhelpers.scans.virtual.specimen import State, VirtualSpecimen
from kikuhelpers.study.specimen import PHASES, Specimen

ALLOYS = ("wrought", "am", "waspaloy")
STILL = {"deviation_deg": 0.0, "gradient_deg_per_100um": 0.0}


def specimen_of(alloy="wrought", seed=1, **settings):
    return VirtualSpecimen(Specimen(alloy=alloy, **settings), seed)


def grid(shape, step_um=1.0, corner_um=(0.0, 0.0)):
    return np.stack(np.indices(shape), -1).reshape(-1, 2) * step_um + np.array(corner_um)


def assert_same(one: State, other: State):
    for field in fields(State):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        else:
            np.testing.assert_array_equal(a, b)


def part_of(state: State, index) -> State:
    return State(*(getattr(state, field.name)[index] for field in fields(State)))


# ------------------------------------------------------------------ one field


@pytest.mark.parametrize("alloy", ALLOYS)
def test_a_point_has_one_truth(alloy):
    specimen = specimen_of(alloy, deformation={})
    points = np.random.default_rng(3).uniform(-20, 220, (3000, 2))
    truth = specimen.at(points)
    order = np.random.default_rng(4).permutation(3000)
    assert_same(specimen.at(points[order]), part_of(truth, order))
    for few in (slice(0, 1), slice(5, 12)):
        assert_same(specimen.at(points[few]), part_of(truth, few))
    assert_same(specimen_of(alloy, deformation={}).at(points), truth)
    assert not np.array_equal(specimen_of(alloy, seed=2).at(points).rotation, truth.rotation)


def test_threads_share_a_specimen():
    specimen = specimen_of("am")
    parts = [grid((50, 50), 1.0, (x, 20)) for x in (0, 50, 100, 150)]
    with ThreadPoolExecutor(4) as pool:
        for together, part in zip(pool.map(specimen.at, parts), parts, strict=True):
            assert_same(together, specimen.at(part))


def test_a_finer_window_agrees_at_shared_points():
    specimen = specimen_of("am")
    coarse = specimen.at(grid((200, 200)))
    fine = specimen.at(grid((191, 191), 0.1, (90, 90)))
    shared = np.arange(191 * 191).reshape(191, 191)[::10, ::10].ravel()
    window = np.arange(200 * 200).reshape(200, 200)[90:110, 90:110].ravel()
    assert_same(part_of(fine, shared), part_of(coarse, window))


@pytest.mark.parametrize("alloy", ALLOYS)
def test_types_and_labels(alloy):
    truth = specimen_of(alloy).at(grid((100, 100), 2.0))
    dtypes = {name: str(getattr(truth, name).dtype) for name in State.__dataclass_fields__}
    assert dtypes == {
        "rotation": "float64",
        **dict.fromkeys(("grain", "twin", "domain"), "int32"),
        **dict.fromkeys(("density", "spread_deg", "strain"), "float32"),
        "phase": "int8",
    }
    np.testing.assert_allclose(np.linalg.norm(truth.rotation, axis=1), 1)
    assert truth.density.min() >= 1
    np.testing.assert_allclose(truth.spread_deg, 0.08 * np.sqrt(truth.density), rtol=1e-6)
    # A domain lies in one grain, one lamella, one phase; a lamella in one grain.
    for inner, outer in (
        ("domain", "grain"),
        ("domain", "twin"),
        ("domain", "phase"),
    ):
        pairs = np.stack([getattr(truth, inner), getattr(truth, outer)], 1)
        assert len(np.unique(pairs, axis=0)) == len(np.unique(pairs[:, 0]))
    lamellae = np.unique(np.stack([truth.twin, truth.grain], 1)[truth.twin > 0], axis=0)
    assert len(lamellae) == len(np.unique(truth.twin[truth.twin > 0]))


def test_deformation_keeps_the_grains_and_raises_density():
    points = grid((100, 100), 2.0)
    before, after = specimen_of().at(points), specimen_of(deformation={}).at(points)
    for name in ("grain", "twin", "domain", "phase"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    matrix = before.phase == 0
    assert (after.density[matrix] > before.density[matrix] + 2).all()
    turned = (~Rotation(before.rotation[matrix]) * Rotation(after.rotation[matrix])).angle
    assert 0.2 < np.degrees(np.median(turned)) < 5
    twice = specimen_of(deformation={"strain_percent": 6.0}).at(points)
    np.testing.assert_allclose(
        (twice.density - before.density)[matrix],
        2 * (after.density - before.density)[matrix],
        rtol=1e-3,
    )


def test_random_fields_have_unit_deviation_and_their_length():
    # Few waves: one field's correlation strays, that of many fields does not.
    many = [RandomField(4, 10.0, np.random.default_rng(seed)) for seed in range(20)]
    points = np.random.default_rng(2).uniform(0, 3000, (5000, 2))
    values = [field(points) for field in many]
    assert max(np.abs(v.std(0) - 1).max() for v in values) < 0.1
    for apart_um in (5.0, 10.0, 30.0):
        shift = np.array([0, apart_um])
        found = [(v * field(points + shift)).mean() for field, v in zip(many, values, strict=True)]
        assert np.mean(found) == pytest.approx(np.exp(-((apart_um / 10) ** 2) / 2), abs=0.07)


# --------------------------------------------------------------------- grains


def whole_grains(labels):
    """The map with -1 in place of all grains that its edge cuts."""
    cut = np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]]
    return np.where(np.isin(labels, cut), -1, labels)


def equivalent_diameters(labels):
    return np.array([region.equivalent_diameter_area for region in regionprops(labels + 1)])


def test_power_diagram_is_that_of_its_definition():
    rng = np.random.default_rng(1)
    centres, radii = rng.uniform(0, 50, (30, 2)), rng.uniform(1, 8, 30)
    points = rng.uniform(0, 50, (500, 2))
    diagram = _PowerDiagram(centres, radii, stretch=2.0)
    away = (points[:, None] - centres) * (0.5, 1)
    power = (away**2).sum(-1) - radii**2
    cell, to_boundary = diagram.locate(points)
    np.testing.assert_array_equal(cell, power.argmin(1))
    np.testing.assert_array_equal(
        diagram.inside(points), np.where(power.min(1) < 0, power.argmin(1), -1)
    )
    # No point closer than that lies in another cell; some point just beyond does.
    angles = np.linspace(0, 2 * np.pi, 721)
    around = np.stack([np.cos(angles), np.sin(angles)], 1)
    leaves = []
    for factor in (0.99, 1.02):
        rings = points[:, None] + factor * to_boundary[:, None, None] * around
        found = diagram.locate(rings.reshape(-1, 2))[0].reshape(len(points), -1)
        leaves.append((found != cell[:, None]).any(1))
    assert leaves[0].mean() < 0.03  # the nearest boundary may be a seventh disc's
    assert leaves[1].mean() > 0.98


def test_wrought_grains_are_equiaxed_and_log_normal():
    size = (600.0, 600.0)
    specimen = specimen_of(size_um=size, grains={"median_width_um": 30.0, "log_sigma": 0.5})
    labels = specimen.at(grid((300, 300), 2.0)).grain.reshape(300, 300)
    diameter = 2 * equivalent_diameters(whole_grains(labels))
    logs = np.log(diameter)
    assert np.exp(logs.mean()) == pytest.approx(30, rel=0.15)
    assert logs.std() == pytest.approx(0.5, rel=0.3)
    assert abs(((logs - logs.mean()) ** 3).mean() / logs.std() ** 3) < 1
    assert ((diameter - diameter.mean()) ** 3).mean() > 0  # some are large
    down, across = (np.diff(labels, axis=a).astype(bool).sum() for a in (0, 1))
    assert across / down == pytest.approx(1, abs=0.2)


def test_default_wrought_map_has_grains_of_the_measured_size():
    counts, diameters = [], []
    for seed in range(8):
        labels = specimen_of(seed=seed).at(grid((100, 100), 2.0)).grain.reshape(100, 100)
        counts.append(len(np.unique(labels)))
        diameters.append(2 * equivalent_diameters(whole_grains(labels)))
    assert 15 <= np.mean(counts) <= 26  # those cut by the edge among them
    assert np.median(np.concatenate(diameters)) == pytest.approx(45, rel=0.15)


def test_am_grains_are_columns_along_x():
    specimen = specimen_of("am", size_um=(700, 350), cells=None, particles=None)
    labels = specimen.at(grid((350, 175), 2.0)).grain.reshape(350, 175)
    regions = regionprops(whole_grains(labels) + 1)
    aspects = [region.axis_major_length / region.axis_minor_length for region in regions]
    tilts = [abs(region.orientation) for region in regions]
    assert np.median(aspects) == pytest.approx(4, rel=0.25)
    assert np.degrees(np.median(tilts)) < 10
    counts = [len(np.unique(specimen_of("am", s).at(grid((200, 200))).grain)) for s in range(5)]
    assert 20 <= np.mean(counts) <= 40


def test_necklace_grains_are_small_undeformed_and_at_boundaries():
    # Waves only shift a boundary: without them the large grains can be asked for alone.
    straight = {"waviness_um": 0.0}
    points = grid((200, 200))
    specimen = specimen_of("waspaloy", particles=None, grains=straight)
    truth = specimen.at(points)
    alone = specimen_of("waspaloy", particles=None, necklace=None, grains=straight)
    large, to_boundary = alone._grains.locate(points)
    small = truth.grain >= specimen._grains.first_small
    old = truth.grain == large
    assert (small | old).all()
    np.testing.assert_array_equal(truth.density[small], 1)
    assert truth.density[old].min() >= 4
    labels = truth.grain.reshape(200, 200)
    small_labels = np.where(small.reshape(200, 200), labels, -1)
    assert np.median(equivalent_diameters(small_labels)) == pytest.approx(5, rel=0.3)
    assert np.median(equivalent_diameters(large.reshape(200, 200))) > 30
    assert np.median(to_boundary[small]) < 5 < np.median(to_boundary[old])
    assert 0.15 < small.mean() < 0.6
    assert truth.twin[small].any() and not truth.twin[old].any()


# -------------------------------------------------------------------- texture


def test_wrought_texture_is_random():
    specimen = specimen_of(
        size_um=(600, 600), grains={"median_width_um": 20.0}, rotation=STILL, twins=None
    )
    truth = specimen.at(grid((200, 200), 3.0))
    first = np.unique(truth.grain, return_index=True)[1]
    rotations = Rotation(truth.rotation[first])
    assert len(first) > 400
    # Of a uniform distribution the mean matrix is zero, and so is the mean of its squares - 1/3.
    matrices = rotations.to_matrix()
    tolerance = 4 / np.sqrt(len(first))
    assert np.abs(matrices.mean(0)).max() < tolerance / np.sqrt(3)
    assert np.abs((matrices**2).mean(0) - 1 / 3).max() < tolerance * 0.3
    # Misorientation angles without symmetry: density (1 - cos w) / pi, of mean pi/2 + 2/pi.
    angle = (rotations[1:] * ~rotations[:-1]).angle
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.1)


def test_am_fibre_is_within_its_spread():
    specimen = specimen_of("am", size_um=(1000, 1000), cells=None, rotation=STILL, particles=None)
    truth = specimen.at(grid((250, 250), 4.0))
    first = np.unique(truth.grain, return_index=True)[1]
    rotations = Rotation(truth.rotation[first])
    crystal_x = rotations.to_matrix() @ [1, 0, 0]
    tilt = np.degrees(np.arccos(np.abs(crystal_x).max(1)))
    assert np.sqrt((tilt**2).mean() / 2) == pytest.approx(8, rel=0.15)
    # About the fibre all angles are alike likely.
    crystal_y = rotations.to_matrix() @ [0, 1, 0]
    azimuth = np.arctan2(crystal_y[:, 2], crystal_y[:, 1])
    assert np.abs(np.exp(1j * np.outer([1, 2, 4], azimuth)).mean(1)).max() < 4 / np.sqrt(len(first))


# ---------------------------------------------------------------------- twins


def test_twins_are_sigma3_lamellae_along_their_trace():
    specimen = specimen_of(
        rotation=STILL, particles=None, scratches=None, twins={"grain_fraction": 1.0}
    )
    points = grid((400, 400), 0.5)
    truth = specimen.at(points)
    thickness = []
    for twin in np.unique(truth.twin[truth.twin > 0]):
        lamella = truth.twin == twin
        parent = (truth.grain == truth.grain[lamella][0]) & (truth.twin == 0)
        if not parent.any():
            continue
        crystal = Rotation(truth.rotation[parent][0])
        turn = Rotation(truth.rotation[lamella][0]) * ~crystal
        axis = turn.axis.data.ravel()
        assert np.degrees(turn.angle[0]) == pytest.approx(60, abs=1e-6)
        np.testing.assert_allclose(np.abs(axis), 1 / np.sqrt(3), atol=1e-6)
        # The distance across the plane, from its normal in the sample: nothing of the parent
        # between two points of the lamella.
        across = points @ (~crystal * Vector3d(axis)).data.ravel()[:2]
        inside = across[lamella]
        assert np.ptp(inside) <= 8.0
        between = (across[parent] > inside.min()) & (across[parent] < inside.max())
        assert not between.any()
        thickness.append(np.ptp(inside))
    assert len(thickness) > 20
    assert min(thickness) < 0.5  # below one step of the paper's maps
    assert max(thickness) > 4


def test_twin_fraction_counts_grains():
    truth = specimen_of(twins={"grain_fraction": 0.3}, size_um=(600, 600)).at(grid((300, 300), 2.0))
    share = len(np.unique(truth.grain[truth.twin > 0])) / len(np.unique(truth.grain))
    assert share == pytest.approx(0.3, abs=0.08)


def test_lattice_rotation_turns_twin_and_parent_alike():
    settings = {"particles": None, "twins": {"grain_fraction": 1.0}}
    points = grid((200, 200))
    turned = specimen_of(**settings).at(points)
    still = specimen_of(rotation=STILL, **settings).at(points)
    # Total = crystal * turn, the turn a function of the place alone.
    turn = ~Rotation(still.rotation) * Rotation(turned.rotation)
    vectors = 2 * np.degrees(turn.data[:, 1:] * np.sign(turn.data[:, :1]))
    assert vectors.std() == pytest.approx(0.3, rel=0.3)
    steps = np.diff(vectors.reshape(200, 200, 3), axis=1)
    assert np.abs(steps).max() < 0.15


# ----------------------------------------------------------- cells, particles


def test_walls_carry_ten_to_thirty_times_the_density_of_the_interior():
    truth = specimen_of("am", particles=None).at(grid((400, 400), 0.3, (40, 40)))
    ratios = []
    for grain in np.unique(truth.grain):
        density = truth.density[truth.grain == grain]
        if len(density) > 10000:
            ratios.append(density.max() / density.min())
            assert np.quantile(density, 0.25) < 2 * density.min()  # interiors are wide
    assert len(ratios) > 4
    assert min(ratios) > 9.9
    assert max(ratios) < 30.1
    assert max(ratios) - min(ratios) > 3  # from grain to grain


def test_walls_have_their_width_and_hold_the_segregation():
    cells = {"waviness_um": 0.0, "size_um": (2.0, 5.0)}
    specimen = specimen_of("am", particles=None, elastic_strain=0.0, cells=cells)
    truth = specimen.at(grid((1, 40000), 0.005, (100, 0)))
    np.testing.assert_allclose(truth.strain.max(), 0.003, rtol=0.01)
    grain = truth.grain[20000]
    inside = truth.grain == grain
    density = truth.density[inside]
    high = density > (density.min() + density.max()) / 2
    edges = np.diff(high.astype(int))
    up, down = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    down = down[down > up[0]]  # only walls that are crossed as a whole
    walls = min(len(up), len(down))
    assert walls >= 3
    assert ((down[:walls] - up[:walls]) * 0.005 > 0.38).all()  # an oblique cut is wider
    assert np.corrcoef(truth.strain[inside], density)[0, 1] > 0.8


def test_domains_bundle_cells_that_are_turned_little():
    specimen = specimen_of(
        "am", particles=None, rotation=STILL, cells={"domain_misorientation_deg": 0.0}
    )
    truth = specimen.at(grid((200, 200)))
    grain = truth.grain == np.bincount(truth.grain).argmax()
    rotations = Rotation(truth.rotation[grain])
    rounded = np.round(truth.rotation[grain], 9)
    cells, domains = len(np.unique(rounded, axis=0)), len(np.unique(truth.domain[grain]))
    assert 5 * domains < cells
    area = grain.sum() / domains
    assert 8 < np.sqrt(area) < 20  # those cut by the boundary count whole
    angles = np.degrees((~rotations[:1] * rotations).angle)
    assert 0.2 < angles.max() < 3


def test_particles_sit_at_walls():
    specimen = specimen_of("am", elastic_strain=0.0)
    centres, radii = specimen._particles.centres_um, specimen._particles.radii_um
    assert len(centres) > 500
    assert radii.min() >= 0.1 and radii.max() <= 0.5
    truth = specimen.at(centres)
    assert (truth.phase > 0).all()
    assert set(np.unique(truth.phase)) == set(range(1, len(PHASES)))
    np.testing.assert_array_equal(truth.density, 1)
    bare = specimen_of("am", elastic_strain=0.0, particles=None).at(centres)
    np.testing.assert_array_equal(bare.grain, truth.grain)
    # At a wall the segregation is at its height.
    assert np.median(bare.strain) > 0.0029
    assert bare.strain.min() > 0.0025


def test_wrought_particles_cover_their_area():
    truth = specimen_of(particles={"per_1000_um2": 5.0}).at(grid((400, 400), 0.5))
    low, high = np.log([0.5, 3.0])
    mean_square = (np.exp(2 * high) - np.exp(2 * low)) / (2 * (high - low))
    assert (truth.phase > 0).mean() == pytest.approx(0.005 * np.pi * mean_square, rel=0.3)
    assert set(np.unique(truth.phase)) == {0, PHASES.index("NbC"), PHASES.index("TiN")}


# ---------------------------------------------------------------------- lines


def test_scratches_are_thin_straight_and_dense():
    scratched = specimen_of(particles=None).at(grid((200, 200)))
    clean = specimen_of(particles=None, scratches=None).at(grid((200, 200)))
    added = (scratched.density - clean.density).reshape(200, 200)
    assert 35 < added.max() < 110
    assert 0.005 < (added > 10).mean() < 0.06
    far = added.ravel() < 1e-9
    np.testing.assert_allclose(scratched.rotation[far], clean.rotation[far], atol=1e-3)


def test_a_scratch_turns_the_lattice_about_itself_on_either_side():
    """The closed form: none in the middle, the stated turn at the stated length, then less."""
    scratches = {"count": 1, "normals_deg": (90, 90), "turn_deg": 1.5, "turn_length_um": 0.4}
    settings = {"particles": None, "twins": None, "rotation": STILL}
    specimen = specimen_of(scratches=scratches, **settings)
    clean = specimen_of(scratches=None, **settings)
    middle = specimen._scratches._offsets[0]
    away = np.array([-4.0, -0.4, -0.2, 0.0, 0.2, 0.4, 0.8, 4.0])
    points = np.stack([np.full(8, 50.0), middle + away], axis=1)
    turn = ~Rotation(clean.at(points).rotation) * Rotation(specimen.at(points).rotation)
    vectors = np.degrees(2 * turn.data[:, 1:] * np.sign(turn.data[:, :1]))
    far = away / 0.4
    expected = 1.5 * far * np.exp((1 - far**2) / 2)
    # About the scratch, which runs along x.
    np.testing.assert_allclose(np.abs(vectors[:, 0]), np.abs(expected), atol=1e-3)
    np.testing.assert_allclose(vectors[:, 1:], 0, atol=1e-6)
    assert vectors[1, 0] == pytest.approx(-vectors[5, 0]) and abs(vectors[5, 0]) > 1.49


@pytest.mark.parametrize("width_um", [0.4, 0.8])
def test_a_wall_turns_the_lattice_over_its_width(width_um):
    """Half of the turn lies in the middle of the wall, and its slope has the stated width."""
    given = {"waviness_um": 0.0, "size_um": (20.0, 20.0), "turn_width_um": width_um}
    at_once, smooth = (
        specimen_of("am", cells=given | more)._cells for more in ({"turn_width_um": 0.0}, {})
    )
    inside = np.random.default_rng(2).uniform(20, 180, (100, 2))
    cell = smooth.locate(inside, np.zeros(100, int))
    walls = inside + cell.to_wall_um[:, np.newaxis] * cell.wall_normal
    along, widths = np.linspace(-2, 2, 401), []
    for wall, normal in zip(walls, cell.wall_normal, strict=True):
        line, grain = wall + along[:, np.newaxis] * normal, np.zeros(401, int)
        before = at_once.locate(line, grain)
        jumps = np.flatnonzero(np.diff(before.turn_deg[:, 0]))
        # Only one wall, and no other one near.
        if len(jumps) != 1 or before.to_wall_um[[0, -1]].min() < 1.9:
            continue
        step = before.turn_deg[-1] - before.turn_deg[0]
        turned = smooth.locate(line, grain).turn_deg - before.turn_deg[0]
        share = turned @ step / (step @ step)
        exact = 1 / (1 + np.exp(-4 * np.arccosh(np.sqrt(2)) * along / width_um))
        np.testing.assert_allclose(share, exact, atol=0.02)
        slope = np.gradient(share, along)
        widths.append(np.ptp(along[slope > slope.max() / 2]))
    assert len(widths) > 20
    assert np.median(widths) == pytest.approx(width_um, abs=0.03)


def test_schmid_factors_are_those_known():
    cube = np.array([[1.0, 0, 0, 0]])
    np.testing.assert_allclose(_schmid_factors(cube, np.array([0, 1, 0])), 1 / np.sqrt(6))
    # [123] lies well inside the standard triangle: one system, (-111)[101], of factor 0.467.
    towards = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    factors = _schmid_factors(cube, towards)[0]
    assert factors.max() == pytest.approx(16 / (14 * np.sqrt(6)))
    assert factors.argmax() == 1


def test_slip_bands_run_along_the_trace_of_the_most_stressed_plane():
    still = {"boundary_density_per_percent": 0.0, "boundary_rotation_deg_per_percent": 0.0}
    parts = {"twins": None, "particles": None, "scratches": None, "rotation": STILL}
    deformation = {**still, "rotation_deg_per_percent": 0.0, "slip_band_width_um": 1.0}
    specimen = specimen_of(deformation=deformation, **parts)
    truth = specimen.at(grid((200, 200)))
    grain = np.bincount(truth.grain).argmax()
    middle = grid((200, 200))[truth.grain == grain].mean(0)
    crystal = Rotation(truth.rotation[truth.grain == grain][0])
    # Brute force over the twelve systems, tension along y.
    best, normal = 0.0, None
    pull = (crystal * Vector3d([0, 1, 0])).data.ravel()
    for n in np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3):
        for b in np.array([[0, 1, -1], [1, 0, -1], [1, -1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]):
            factor = abs(pull @ n) * abs(pull @ b) / np.sqrt(2)
            if abs(n @ b) < 1e-9 and factor > best:
                best, normal = factor, n
    across = (~crystal * Vector3d(normal)).data.ravel()[:2]
    across /= np.linalg.norm(across)
    trace = np.array([-across[1], across[0]])
    along = specimen.at(middle + np.linspace(-8, 8, 100)[:, None] * trace)
    over = specimen.at(middle + np.linspace(-8, 8, 100)[:, None] * across)
    assert np.ptp(along.density) < 1e-3
    assert np.ptp(over.density) > 3


# ------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"twins": {"lamella_width_um": (8, 0.25)}}, "from small to large, not from 8 to 0.25"),
        ({"twins": {"per_grain": (4, 2)}}, "from small to large, not from 4 to 2"),
        ({"particles": {"shares": {"NbC": 0.0}}}, "at least one phase"),
        ({"particles": {"shares": {"steel": 1.0}}}, "Laves"),
        ({"grains": {"median_width_um": 0}}, "greater than 0"),
        ({"grain_size": 3}, "Extra inputs"),
        ({"deformation": {"strain_percent": -1}}, "greater than 0"),
    ],
)
def test_settings_reject_nonsense(given, message):
    with pytest.raises(ValidationError, match=message):
        Specimen(alloy="wrought", **given)


def test_a_part_given_in_half_keeps_the_alloys_defaults():
    settings = Specimen(alloy="am", grains={"median_width_um": 30.0}, deformation={})
    usual = Specimen(alloy="am").grains
    assert settings.grains == usual.model_copy(update={"median_width_um": 30.0})
    assert settings.deformation.strain_percent == 3.0
    assert Specimen(alloy="am", cells=None).cells is None
    with pytest.raises(ValidationError, match="alloy"):
        Specimen(alloy="steel")


def test_rotations_agree_with_orix():
    rng = np.random.default_rng(1)
    a, b = random_rotations(5, rng), random_rotations(5, rng)
    np.testing.assert_allclose(multiply(a, b), (Rotation(a) * Rotation(b)).data, atol=1e-12)
    normals = (~Rotation(a)).outer(Vector3d(PLANES_111)).data
    np.testing.assert_allclose(_surface_normals(a), normals, atol=1e-12)
    turn = Rotation.from_axes_angles([1, 2, 2], 40, degrees=True)
    np.testing.assert_allclose(from_vectors(np.array([1, 2, 2]) / 3 * 40), turn.data.ravel())
    np.testing.assert_allclose(from_vectors(np.zeros(3)), [1, 0, 0, 0])
