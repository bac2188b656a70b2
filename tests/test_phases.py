"""Phases of any lattice: their bands, their symmetry, and patterns of known orientations."""

import kikuchipy as kp
import numpy as np
import orix.io
import pytest
from diffpy.structure.spacegroups import GetSpaceGroup
from diffsims.crystallography import ReciprocalLatticeVector
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Misorientation, Rotation
from PIL import Image
from pydantic import ValidationError
from pyebsdindex.tripletvote import addphase
from scipy.ndimage import gaussian_filter

from kikuhelpers.indexing import hough, phases
from kikuhelpers.indexing import orientation_maps as maps
from kikuhelpers.patterns.masking import round_mask
from kikuhelpers.patterns.up2 import to_counts
from kikuhelpers.study import PROJECT_ROOT, Study, StudyError
from kikuhelpers.study.phases import _AXES_ELSEWHERE, Phase
from kikuhelpers.study.scans import Microscope
from kikuhelpers.study.stages import plain
from kikuhelpers.study.study import Indexing

CENTRE = (0.51, 0.34, 0.62)
MASK = round_mask((120, 120), (59.5, 59.5), 57.5)
SHAPE = (5, 20)
POINT_SPREAD_PX = 0.7
ATOMS = {"Ni": [("Ni", 0, 0, 0)], "Fe": [("Fe", 0, 0, 0)], "Ti": [("Ti", 1 / 3, 2 / 3, 0.25)]}
NI = Phase(name="Ni", space_group=225, lattice_nm=0.352)
FE = Phase(name="Fe", space_group=229, lattice_nm=0.287)
TI = Phase(name="Ti", space_group=194, lattice_nm=(0.295, 0.295, 0.468))
CEMENTITE = Phase(
    name="Fe3C",
    space_group=62,
    lattice_nm=(0.509, 0.674, 0.452),
    atoms=[("Fe", 0.036, 0.25, 0.852), ("Fe", 0.186, 0.063, 0.328), ("C", 0.89, 0.25, 0.45)],
)


def with_atoms(phase: Phase) -> Phase:
    return phase.model_copy(update={"atoms": tuple(ATOMS[phase.name])})


def rotations(shape, seed=0) -> Rotation:
    q = np.random.default_rng(seed).normal(size=(*shape, 4))
    return Rotation(q / np.linalg.norm(q, axis=-1, keepdims=True))


def simulated(phase: Phase) -> np.ndarray:
    """Kinematical patterns with the background, dose and contrast of the virtual microscope."""
    crystal, microscope = phases._crystal(with_atoms(phase)), Microscope()
    vectors = ReciprocalLatticeVector.from_min_dspacing(crystal, 0.6)
    vectors.sanitise_phase()
    vectors.calculate_structure_factor("lobato")
    strength = np.abs(vectors.structure_factor)
    vectors = vectors[strength > 0.05 * strength.max()]
    vectors.calculate_theta(20e3)
    simulator = kp.simulations.KikuchiPatternSimulator(vectors)
    master = simulator.calculate_master_pattern(half_size=150, scaling="square")
    detector = kp.detectors.EBSDDetector(shape=MASK.shape, pc=CENTRE, sample_tilt=70, tilt=0)
    signal = (
        master.as_lambert(show_progressbar=False)
        .get_patterns(
            rotations(SHAPE), detector, compute=True, show_progressbar=False, dtype_out="float32"
        )
        .data
    )
    signal = gaussian_filter(signal, (0, 0, POINT_SPREAD_PX, POINT_SPREAD_PX))
    signal -= signal.mean(axis=(-2, -1), keepdims=True)
    signal /= signal.std(axis=(-2, -1), keepdims=True)
    place = np.stack(np.indices(MASK.shape), axis=-1) / MASK.shape
    off = ((place - microscope.background_centre) ** 2).sum(axis=-1)
    floor, width = microscope.background_floor, microscope.background_sigma
    background = floor + (1 - floor) * np.exp(-off / (2 * width**2))
    expected = microscope.dose * background * (1 + microscope.contrast * signal)
    seen = np.random.default_rng(1).poisson(expected) - microscope.dose * background
    low, high = (f(seen[..., MASK], axis=-1)[..., None, None] for f in (np.min, np.max))
    return np.where(MASK, to_counts((seen - low) / (high - low) * 2 - 1), 0).astype(np.uint16)


@pytest.fixture(scope="module")
def patterns() -> dict[str, np.ndarray]:
    return {phase.name: simulated(phase) for phase in (NI, FE, TI)}


def index(patterns: np.ndarray, *names: Phase) -> CrystalMap:
    phase = names if len(names) > 1 else names[0]
    detector = hough.Detector(CENTRE)
    return hough.index_patterns(patterns, MASK, detector, Indexing(phase=phase), 1.0)


def off_deg(xmap: CrystalMap, group, seed=0) -> np.ndarray:
    known = Rotation(rotations(SHAPE, seed).data.reshape(-1, 4))
    return maps.disorientation_deg(xmap.rotations, known, group)


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ({"space_group": 194, "lattice_nm": 0.295}, "give lattice_nm as"),
        ({"space_group": 194, "lattice_nm": [0.295, 0.3, 0.468]}, "needs a lattice like"),
        ({"space_group": 225, "lattice_nm": [0.36, 0.36, 0.37]}, "needs a lattice like"),
        (
            {"space_group": 167, "lattice_nm": [0.64, 0.64, 0.64], "angles_deg": [46, 46, 46]},
            "90.0, 90.0, 120.0",
        ),
        ({"space_group": 14, "lattice_nm": [0.5, 0.6, 0.7]}, "leave this phase out"),
        ({"lattice_nm": 0.36}, "Field required"),
    ],
)
def test_lattices_of_other_space_groups_are_named(phase, said):
    with pytest.raises(ValidationError, match=said):
        Indexing(phase={"name": "x", **phase})


def test_axes_that_orix_lays_elsewhere_are_refused():
    """Against the operations of all space groups, on the lattice in orix's frame."""
    elsewhere = set()
    for number in range(1, 231):
        group = GetSpaceGroup(number)
        lattice = (1.0, 1.2, 1.5, 80.0, 100.0, 95.0)
        if number >= 143:
            lattice = (1.0, 1.0, 1.5 if number < 195 else 1.0, 90.0, 90.0, 120.0)
        if 3 <= number < 143 or number >= 195:
            lattice = (1.0, 1.0 if number >= 75 else 1.2, lattice[2], 90.0, 90.0, 90.0)
        if 3 <= number < 16:
            lattice = (1.0, 1.2, 1.5, 90.0, 100.0, 90.0)
        loose = Phase.model_construct(
            name="x", space_group=number, lattice_nm=lattice[:3], angles_deg=lattice[3:], atoms=None
        )
        crystal = phases._crystal(loose)
        laue, base = crystal.point_group.laue, crystal.structure.lattice.base
        found = laue[~laue.improper].to_matrix()
        own = [base.T @ op.R @ np.linalg.inv(base.T) for op in group.symop_list]
        own = np.array([np.sign(np.linalg.det(turn)) * turn for turn in own])
        apart = np.abs(own[:, np.newaxis] - found).max(axis=(2, 3)).min(axis=1)
        if apart.max() > 1e-3:
            elsewhere.add(number)
    assert elsewhere == _AXES_ELSEWHERE


def test_one_phase_is_a_fingerprint_as_before():
    said = {"name": "Ni", "space_group": 225, "lattice_nm": 0.352}
    assert plain(Indexing(phase=said))["phase"] == said
    assert plain(Indexing(phase=[NI, FE]))["phase"][0] == said


def study_of(data: dict, **settings) -> Study:
    whole = {"name": "a", "title": "A", "models": {"m": {"latent_dim": 16}}} | settings
    return Study.model_validate(whole | {"scans": {"s": {"data": data}}})


def test_nickel_is_taken_only_where_the_data_are_known_to_be():
    virtual = {"source": "virtual", "specimen": {"alloy": "am"}, "map_shape": [4, 4]}
    for data in (virtual, {"source": "public", "name": "in718_rx"}):
        assert study_of(data).indexing_of("s").phase.space_group == 225
    for data in ({"path": "a.up2"}, {"source": "public", "name": "si_wafer"}):
        assert study_of(data).indexing_of("s").phase is None


def test_the_phases_of_a_file_count_where_the_study_names_none():
    angles = [90, 90, 120]
    titanium = {"name": "Ti", "space_group": 194, "lattice_nm": [0.295, 0.295, 0.468]}
    of_file = [titanium | {"angles_deg": angles}]
    found = study_of({"path": "a.up2"}).indexing_of("s", of_file)
    assert [phase.name for phase in found.phases] == ["Ti"]
    named = study_of({"path": "a.up2"}, indexing={"phase": FE.model_dump()})
    assert named.indexing_of("s", of_file).phases == (FE,)
    with pytest.raises(StudyError, match=r"scan 's' names .*: give indexing\.phase"):
        study_of({"path": "a.up2"}).indexing_of("s", [titanium | {"space_group": 225}])


def test_indexing_without_a_phase_asks_for_one():
    with pytest.raises(StudyError, match=r"names no phase.*\{name: Ni, space_group: 225"):
        hough.band_indexer((60, 60), hough.Detector(), Indexing())


# ---------------------------------------------------------------------- bands


def of_family(hkl):
    return tuple(sorted(map(abs, hkl), reverse=True))


@pytest.mark.parametrize("phase", [NI, FE, TI], ids=lambda phase: phase.name)
def test_bands_of_metals_are_those_of_pyebsdindex(phase):
    kind = {"Ni": "FCC", "Fe": "BCC", "Ti": "HCP"}[phase.name]
    theirs = addphase(libtype=kind).polefamilies
    found = phases.reflectors(phase)
    assert {of_family(hkl) for hkl in found} == {of_family(row[[0, 1, -1]]) for row in theirs}
    assert len(found) == len(theirs)


@pytest.mark.parametrize("phase", [NI, FE], ids=lambda phase: phase.name)
def test_structure_factors_give_the_same_bands_of_cubic_metals(phase):
    assert phases.reflectors(with_atoms(phase)) == phases.reflectors(phase)


def test_structure_factors_leave_out_what_silicon_extinguishes():
    silicon = Phase(name="Si", space_group=227, lattice_nm=0.543, atoms=[("Si", 0, 0, 0)])
    assert set(phases.reflectors(silicon)) == {(1, 1, 1), (2, 2, 0), (4, 0, 0), (3, 1, 1)}
    bare = silicon.model_copy(update={"atoms": None})
    with pytest.raises(StudyError, match="give its reflectors"):
        phases.reflectors(bare)


def test_structure_factors_know_the_extinctions_of_hexagonal_axes():
    """International Tables A: R-3c has -h + k + l = 3n; P6_3/mmc has l even of (h, h, l)."""
    places = [("Al", 0, 0, 0.35216), ("O", 0.30668, 0, 0.25)]
    corundum = {"name": "Al2O3", "space_group": 167, "lattice_nm": (0.476, 0.476, 1.2996)}
    found = np.array(phases.reflectors(Phase.model_validate(corundum | {"atoms": places})))
    assert ((-found[:, 0] + found[:, 1] + found[:, 2]) % 3 == 0).all()
    places = [("Nb", 1 / 3, 2 / 3, 0.06286), ("Fe", 0, 0, 0), ("Fe", 0.83048, 1.66096, 0.25)]
    laves = {"name": "Fe2Nb", "space_group": 194, "lattice_nm": (0.4816, 0.4816, 0.7868)}
    h, k, l = np.array(phases.reflectors(Phase.model_validate(laves | {"atoms": places}))).T  # noqa: E741
    alike = (h == k) | (2 * h + k == 0) | (h + 2 * k == 0)
    assert alike.any() and (l[alike] % 2 == 0).all()


# ---------------------------------------------------------------------- patterns


def test_bcc_and_hcp_are_as_near_the_truth_as_fcc(patterns):
    off = {}
    for phase in (NI, FE, TI, with_atoms(TI)):
        xmap = index(patterns[phase.name], phase)
        off[phase] = off_deg(xmap, maps.point_groups(xmap)[0])
        assert (off[phase] < 2).mean() >= 0.99
        assert np.median(xmap.prop["ci"]) > 0.4
    medians = [np.median(angles) for angles in off.values()]
    assert medians[0] < 0.3
    assert max(medians[1:]) < 1.3 * medians[0]


def test_a_wrong_phase_has_no_confidence(patterns):
    """Though every pattern counts as indexed, with a fit as good as the right phase's."""
    xmap = index(patterns["Fe"], NI)
    assert xmap.is_indexed.mean() > 0.95 and np.median(xmap.fit) < 0.8
    assert np.median(xmap.prop["ci"]) < 0.12


@pytest.fixture(scope="module")
def duplex(patterns) -> CrystalMap:
    """Iron above titanium above nickel, indexed as any of the three."""
    return index(np.concatenate([patterns[name] for name in ("Fe", "Ti", "Ni")]), NI, FE, TI)


def test_phases_of_one_map_are_told_apart(duplex, patterns):
    truth = np.repeat([1, 2, 0], np.prod(SHAPE))
    assert (duplex.phase_id == truth).mean() >= 0.95
    for number, phase in enumerate((NI, FE, TI)):
        of, alone = truth == number, index(patterns[phase.name], phase)
        same = duplex.phase_id[of] == number
        assert np.array_equal(duplex.prop["ci"][of][same], alone.prop["ci"][same])
        off = maps.disorientation_deg(
            duplex.rotations[of], alone.rotations, maps.point_groups(alone)[0]
        )
        assert off[same].max() < 1e-3


def test_a_map_of_phases_survives_its_file(duplex, tmp_path):
    hough.save_map(tmp_path / "map.h5", duplex, CENTRE)
    again = orix.io.load(str(tmp_path / "map.h5"))
    assert np.array_equal(again.phase_id, duplex.phase_id)
    assert maps.misorientation_map(duplex, again).max() < 1e-3
    hough.save_map(tmp_path / "one.h5", duplex[duplex.phase_id == 2], CENTRE)
    alone = orix.io.load(str(tmp_path / "one.h5"))
    assert (alone.phase_id == 2).all()  # though it is the only one that has points
    assert maps.point_groups(alone)[2].name == "6/mmm"


def test_a_measured_pattern_of_iron_is_bcc():
    """See data/README.md; its background is gone already."""
    levels = np.asarray(Image.open(PROJECT_ROOT / "data" / "fe_pattern.png"), float)
    pattern = to_counts(levels / 127.5 - 1)
    scan, found = hough.Detector(pattern_centre=(0.487, 0.452, 0.567)), {}
    for phase in (FE, NI, TI):
        settings = Indexing(phase=phase)
        indexer = hough.band_indexer(pattern.shape, scan, settings)
        best, [found[phase]] = hough.solve(pattern[np.newaxis], indexer, settings)
        if phase == FE:
            assert best["nmatch"][0] == 9 and best["fit"][0] < 0.3
    assert found[FE] > 0.8
    assert max(found[NI], found[TI]) < 0.2


# ---------------------------------------------------------------------- maps


def map_of(phase_id, turns: Rotation, *named: Phase) -> CrystalMap:
    phase_id = np.asarray(phase_id)
    coordinates, _ = create_coordinate_arrays(phase_id.shape, (1, 1))
    return CrystalMap(
        rotations=Rotation(turns.data.reshape(-1, 4)),
        phase_id=phase_id.ravel(),
        phase_list=PhaseList([phases._crystal(phase) for phase in named]),
        **coordinates,
    )


def test_disorientations_are_orixs_in_each_phase():
    ids = np.repeat([0, 1, 2], 200).reshape(3, 200)
    one, other = (rotations(ids.shape, seed) for seed in (1, 2))
    named = NI, TI, CEMENTITE
    found = maps.misorientation_map(map_of(ids, one, *named), map_of(ids, other, *named))
    for number, phase in enumerate(named):
        group = phases._crystal(phase).point_group
        between = Misorientation((other * ~one)[number].data, symmetry=(group, group))
        expected = np.rad2deg(between.reduce().angle)
        assert found[number] == pytest.approx(expected, abs=1e-3)
    assert found.max(axis=1) == pytest.approx([62.8, 93.8, 120], rel=0.1)  # of the symmetries


def test_between_two_phases_is_a_boundary_and_no_angle():
    ids = np.array([[0, 0, 1, 1], [0, 0, 1, -1]])
    turns = Rotation.from_axes_angles(
        [0, 0, 1], np.array([[0, 1, 1, 3], [0, 1, 1, 3]]), degrees=True
    )
    xmap = map_of(ids, turns, FE, TI)
    xmap.phases.add(phases._crystal(NI))  # which no point is of
    grains = maps.label_grains(xmap, 5)
    assert grains.tolist() == [[0, 0, 1, 1], [0, 0, 1, -1]]
    assert maps.kam_deg(xmap, 1, 5)[0] == pytest.approx([0.5, 0.5, 1, 2], abs=1e-3)
    assert maps.grod_deg(xmap, grains)[0, :2] == pytest.approx([0.5, 0.5], abs=1e-2)
    changed = map_of(np.where(ids == 0, 1, 0), turns, FE, TI)
    assert np.isnan(maps.misorientation_map(xmap, changed)).all()


def test_colours_are_of_each_phases_key():
    ids = np.array([[0, 1], [1, -1]])
    along_x = Rotation.from_axes_angles([0, 1, 0], 90, degrees=True)  # c along the sample's x
    xmap = map_of(ids, Rotation(np.tile(along_x.data, (2, 2, 1))), FE, TI)
    colours = maps.ipf_colours(xmap)
    assert colours[0, 0] == pytest.approx([1, 0, 0], abs=0.01)
    assert colours[0, 1] == pytest.approx([1, 0, 0], abs=0.01)  # (0001) is red too
    assert not colours[1, 1].any()
