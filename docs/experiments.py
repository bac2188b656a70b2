"""Claims that no study's results test, on small virtual scans: python -m docs.experiments [claim].

    python -m kikuhelpers virtual
    python -m docs.experiments          # all of them, or the claims that are named

Words, threshold and side of each claim stand in data/claims.yaml. What is measured here was
committed before the first run; what was changed after it is said. Specimens and networks are those
of study `virtual`; patterns are made anew, so that their noise is, too. Patterns of the network's
size are preprocessed as the study does: the mean pattern of the whole scan (of its dose) is
subtracted, and each pattern is stretched to its own range. One line per claim goes to
docs/experiments.csv. Intervals draw whole units; of fewer than five there are none.

contrastive_robust_after_decoding
    20 x 20 points, 7 um apart, of the field of scan `am`, at six doses, 13,000 electrons per pixel
    and a quarter to a 64th of it. (With halves one dose alone was little, as 40 points had shown.)
    Scan `am_low_dose` shows a corner of this field, with 8 grains instead of 14 that hold a
    hundredth of it. Patterns as they are, of a PCA, and decoded by both networks of 32-D are
    indexed by their bands. A point is right if it is indexed within 5 degrees of its true
    orientation; points in particles do not count. Value: % right, contrastive less VAE, the mean
    over the doses at which less than 95 % of the patterns as they are come right. Baseline, less
    the VAE too: the PCA or the patterns as they are, whichever has more right. Units: grains. All
    doses go to docs/experiments_doses.csv.
sharpness_needs_resolution
    60 x 60 points, 1 um apart, in the middle of the field of scan `am`, taken once by a camera of
    480 px, and the same patterns summed 4 x 4. Both are less their mean pattern of 400 points of
    the whole field, with one scale for all: the sharpness compares only such. Value: AUC of walls
    against interiors (kikuhelpers/tables/targets.py), inside domains, without smoothing, at 480 px
    less that at 120 px; the baseline, the binned patterns less themselves, is 0. Units: grains, or
    4 x 4 blocks where there are fewer than five.
phase_not_told_by_indexing
    300 particles of the field of scan `am`, drawn from all that a map at a step of 0.1 um meets,
    each by that map's pattern nearest to its middle. They are indexed by their bands with nickel
    and the four particle phases, whose structures are those of the master patterns. Value: % whose
    phase is right. Baseline: always the commonest of the four. Units: particles. What each phase is
    told for goes to docs/experiments_phases.csv, and beside it how many are within 5 degrees of the
    truth where their own phase alone is looked for: a control, which a first run (commit 03fab22,
    14 % right) would have failed: the package took bands of the hexagonal phases that their
    structure extinguishes, which is mended since.
below_interaction_volume
    Lines of 41 points, 0.05 um apart along x, across grain boundaries of scan `wrought`: five lines
    at random places of each of 16 boundaries drawn at random, of grains at least 15 degrees apart,
    with no other boundary nor particle within 1 um along the line. The latents of vae-64 are
    projected on the line between the means of the first and of the last 10 points. To this, and to
    the share that the other grain has in the beam, an error function is fitted; its width from 10
    to 90 % is at least one step. A boundary's width is the median of its lines'. Value: mean width
    of the latents over that of the share. Baseline, over the same: the disorientation of the Hough
    orientations to the first grain, or IQ / noise, whichever is sharper of those whose step exceeds
    four times the deviation that its fit leaves, on at least half of the boundaries. Units:
    boundaries.
"""

import json
import sys
from dataclasses import fields, replace
from pathlib import Path

import kikuhelpers  # isort: skip  # noqa: F401  (numba compiles kikuchipy as it says: first)
import numpy as np
import pandas as pd
from orix.quaternion import Rotation

from docs.edges import ALONG_UM, boundary_lines, edge_width, projected
from docs.positive_controls import scanned, with_microscope
from kikuhelpers.baselines.methods import principal_components
from kikuhelpers.indexing.hough import Detector, index_patterns
from kikuhelpers.indexing.orientation_maps import disorientation_deg
from kikuhelpers.indexing.quality import noise_level, sharpness
from kikuhelpers.latents.coding import decode, encode, load_model
from kikuhelpers.latents.features import standardised_in_grains
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.up2 import to_counts, to_intensity
from kikuhelpers.preprocessing.kernels import block_sums, ranges, rescaled_counts
from kikuhelpers.preprocessing.preprocess import DEVIATIONS, OUTSIDE
from kikuhelpers.runs.files import save_csv
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.runs.results import Results
from kikuhelpers.scans.virtual.master_patterns import MASTER_PATTERNS
from kikuhelpers.scans.virtual.microscope import VirtualMicroscope
from kikuhelpers.scans.virtual.scanning import ScanMaker
from kikuhelpers.scans.virtual.specimen import VirtualSpecimen, components
from kikuhelpers.study import load_study
from kikuhelpers.study.phases import NICKEL, Phase
from kikuhelpers.study.specimen import PHASES
from kikuhelpers.tables.evidence import Found, Untestable, drawn, found
from kikuhelpers.tables.scores import Judge, Target, interval
from kikuhelpers.tables.targets import targets_of

_STUDY, _AM, _WROUGHT, _SEED = "virtual", "am", "wrought", 1
# ------------------------------------------------- little dose
_WIDE = {"map_shape": (20, 20), "step_um": 7.0}  # the whole field of scan `am`
_DOSES = tuple(13_000 / part for part in (1, 4, 8, 16, 32, 64))  # electrons per pixel of 120 x 120
_PCA, _VAE, _CONTRASTIVE = "pca-32", "vae-32", "contrastive-32"
_AS_THEY_ARE = "patterns as they are"
_RIGHT_DEG, _ALL_RIGHT = 5.0, 95.0  # from the truth; % from which on a dose is not little
# ------------------------------------------------- sharpness
_CAMERA_PX, _BINNING = 480, 4
_BOX = slice(40, 100)  # rows and columns of scan `am`
# ------------------------------------------------- particles
_FINE_UM, _PARTICLES = 0.1, 300
# ------------------------------------------------- edges
_NETWORK = "vae-64"


def exposed(data, places_um: np.ndarray):
    """Return raw patterns (n, height, width) of beams at places (n, 2) of a scan's field.

    Also what they see, :class:`~kikuhelpers.scans.virtual.specimen.Components`.
    """
    specimen, microscope = VirtualSpecimen(data.specimen, data.seed), VirtualMicroscope(data)
    seen = components(specimen, places_um, data.microscope.interaction_um)
    points = np.rint((places_um - data.origin_um) / data.step_um).astype(int)
    points = points.clip(0, np.array(data.map_shape) - 1)  # of the pattern centre
    signal = microscope.signal(seen, points)
    return microscope.expose(signal, np.random.default_rng(_SEED)), seen


def preprocessed(raw: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return counts (n, h, w) of raw patterns less a background, each stretched to its range."""
    within = (1, background.astype(np.float32), mask)
    return rescaled_counts(raw, *within, ranges(raw, *within))


def indexed(results: Results, scan: str, counts: np.ndarray, phases=None):
    """Return the orientation map of preprocessed patterns (n, h, w), n even, of a scan."""
    opened, settings = results.scan(scan), results.study.indexing_of(scan)
    settings = settings.model_copy(update={"phase": phases} if phases else {})
    detector = Detector(tuple(opened.pattern_centre["pattern_centre"]))
    two_rows = counts.reshape(2, -1, *counts.shape[1:])  # a map has two axes
    return index_patterns(two_rows, opened.mask, detector, settings, 1.0)


def is_right(xmap, rotations: np.ndarray) -> np.ndarray:
    """Whether points (n,) of one phase are indexed within _RIGHT_DEG of true quaternions (n, 4)."""
    group = xmap.phases[0].point_group.laue  # bands have its symmetry
    off = disorientation_deg(xmap.rotations, Rotation(rotations), group)
    return xmap.is_indexed & (off < _RIGHT_DEG)


def shares_right(right: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """Per cent right (draws,) of points (n,) whose grains (n,) are drawn whole."""
    number = np.unique(grain, return_inverse=True)[1]
    times = drawn(number.max() + 1)
    return 100 * (times @ np.bincount(number, right)) / (times @ np.bincount(number))


def little_dose(results: Results) -> Found:
    """Contrastive decoding against a VAE's, by dose; writes the table of all doses."""
    opened, rows, by_dose = results.scan(_AM), [], []
    data = results.study.scan(_AM).data.model_copy(update=_WIDE)
    principal, mask = principal_components(results), opened.mask
    networks = {name: load_model(results, name) for name in (_VAE, _CONTRASTIVE)}
    for dose in _DOSES:
        raw, truth = scanned(with_microscope(data, {"dose": dose}))
        background = opened.background * (dose / data.microscope.dose)
        counts = preprocessed(raw.reshape(-1, *mask.shape), background, mask)
        ways = {_AS_THEY_ARE: counts}
        images = np.full(counts.shape, OUTSIDE, np.float32)
        images[:, mask] = principal.project(
            to_intensity(counts)[:, mask], results.study.baseline(_PCA).components
        )
        ways[_PCA] = to_counts(images)
        for name, network in networks.items():
            latents = encode(network, counts[np.newaxis], "float32")[0]
            ways[name] = to_counts(decode(network, latents, mask, "float32"))
        matrix = truth["phase"].ravel() == PHASES.index("Ni")
        grain, turns = truth["grain"].ravel()[matrix], truth["rotation"].reshape(-1, 4)
        shares, row = {}, {"dose": dose, "points": matrix.sum()}
        for way, images in ways.items():
            right = is_right(indexed(results, _AM, images), turns)
            shares[way] = shares_right(right[matrix], grain)
            row[f"right %, {way}"], ends = shares[way][0], interval(shares[way][1:])
            row |= dict(zip((f"{way}, low", f"{way}, high"), ends, strict=True))
        lead = shares[_CONTRASTIVE] - shares[_VAE]
        row["contrastive less VAE"] = lead[0]
        row |= dict(zip(("lead, low", "lead, high"), interval(lead[1:]), strict=True))
        rows.append(row)
        by_dose.append(shares)
    table = pd.DataFrame(rows).assign(commit=git_commit())
    save_csv(table, Path(__file__).with_name("experiments_doses.csv"), digits=4)
    little = [shares for shares in by_dose if shares[_AS_THEY_ARE][0] < _ALL_RIGHT]
    if not little:
        raise Untestable("a dose at which not all patterns index")
    mean = {way: np.mean([shares[way] for shares in little], axis=0) for way in ways}
    other = max((_AS_THEY_ARE, _PCA), key=lambda way: mean[way][0])
    print(f"doses of {_ALL_RIGHT:g} % and more: {len(_DOSES) - len(little)}; baseline: {other}")
    lead = mean[_CONTRASTIVE] - mean[_VAE]
    return found(lead, mean[other] - mean[_VAE], len(np.unique(grain)), "grains", [_AM])


def on_one_scale(raw, background, mask, deviation) -> np.ndarray:
    """Counts (n, h, w) of patterns less a background (h, w) and their own mean, on one scale."""
    values = np.where(mask, raw.astype(np.float32) - background, 0)
    values[:, mask] -= values[:, mask].mean(axis=1, keepdims=True)
    return to_counts(np.where(mask, values / (DEVIATIONS * deviation), OUTSIDE))


def cropped(target: Target, box: slice) -> Target:
    """Return a target in a square of its map."""
    maps = {f.name: getattr(target, f.name) for f in fields(target)}
    return replace(target, **{n: v[box, box] for n, v in maps.items() if isinstance(v, np.ndarray)})


def sharp_patterns(results: Results) -> Found:
    """AUC of walls by the sharpness of patterns of 480 px, less that of the same, binned."""
    view = View.whole(results, _AM)
    (walls,) = (target for target in targets_of(view) if target.name == "walls")
    judge, data = Judge(cropped(walls, _BOX)), results.study.scan(_AM).data
    data = with_microscope(data, {"pixels": _CAMERA_PX})
    wide = ScanMaker(data.model_copy(update=_WIDE))
    size, start = _BOX.stop - _BOX.start, (_BOX.start * data.step_um,) * 2
    box = ScanMaker(data.model_copy(update={"map_shape": (size, size), "origin_um": start}))
    screen = box.microscope.screen
    whole = block_sums(screen[np.newaxis].astype(np.uint16), _BINNING)[0] == _BINNING**2
    of_camera = {
        "as taken": (screen, lambda raw: raw),
        "binned": (whole, lambda raw: block_sums(raw, _BINNING)),
    }
    some = np.concatenate([wide.chunk(start)[0] for start in wide.starts])
    scales = {}
    for name, (mask, seen) in of_camera.items():
        patterns = seen(some)
        scales[name] = patterns.mean(axis=0), np.sqrt(patterns.var(axis=0)[mask].mean())
    parts = {name: [] for name in of_camera}
    for start in box.starts:
        raw = box.chunk(start)[0]
        for name, (mask, seen) in of_camera.items():
            background, deviation = scales[name]
            counts = on_one_scale(seen(raw), background, mask, deviation)
            parts[name].append(sharpness(counts[np.newaxis], mask)[0])
    areas = []
    for name, values in parts.items():
        image = np.concatenate(values).reshape(size, size)
        image = judge.oriented(standardised_in_grains(image, judge.target.crystals))
        areas.append(judge.scores(image)["AUC"])
        print(f"walls by sharpness, {name}: AUC {areas[-1].value:.3f}, {interval(areas[-1][1])}")
    ends = interval(areas[0].resampled - areas[1].resampled)
    grains = judge.target.clusters is judge.target.grains
    units = len(np.unique(judge.target.clusters[judge.target.crystals >= 0]))
    units = f"{units} {'grains' if grains else 'blocks'}"
    return Found(areas[0].value - areas[1].value, *ends, 0.0, *ends, units, (_AM,))


def particle_points(data) -> np.ndarray:
    """Of each particle that a fine map of a scan's field meets, the point nearest its middle.

    Places (n, 2) in um.
    """
    specimen, met = VirtualSpecimen(data.specimen, data.seed), []
    across, along = (np.arange(0, n * data.step_um, _FINE_UM) for n in data.map_shape)
    for x in across:
        places = np.stack([np.full(len(along), x), along], axis=1)
        state = specimen.at(places)
        inside = state.phase != PHASES.index("Ni")
        met.append(np.column_stack([places, state.domain])[inside])
    met = pd.DataFrame(np.concatenate(met), columns=["x", "y", "particle"])
    middle = met.groupby("particle").transform("mean")
    met["off"] = np.hypot(met["x"] - middle["x"], met["y"] - middle["y"])
    return met.loc[met.groupby("particle")["off"].idxmin(), ["x", "y"]].to_numpy()


def particle_phases() -> tuple[Phase, ...]:
    """The phases of a virtual specimen, with the lattices of their master patterns."""
    others = []
    for name in PHASES[1:]:
        with np.load(MASTER_PATTERNS / f"{name}.npz", allow_pickle=False) as stored:
            structure = json.loads(str(stored["metadata"]))["structure"]
        a, c = structure["a_nm"], structure["c_nm"]
        lattice = {"space_group": structure["space_group"], "lattice_nm": (a, a, c)}
        lattice["atoms"] = [(element, *place) for element, place, _ in structure["atoms"]]
        others.append(Phase.model_validate({"name": name} | lattice))
    return NICKEL, *others


def told_phases(results: Results) -> Found:
    """Per cent of particles that indexing with all phases gives their own."""
    opened, data = results.scan(_AM), results.study.scan(_AM).data
    places = particle_points(data)
    places = np.random.default_rng(_SEED).permutation(places)[:_PARTICLES]
    places = places[: len(places) // 2 * 2]
    state = VirtualSpecimen(data.specimen, data.seed).at(places)
    truth, phases = state.phase, particle_phases()
    counts = preprocessed(exposed(data, places)[0], opened.background, opened.mask)
    told = indexed(results, _AM, counts, phases).phase_id
    table = pd.crosstab(np.take(PHASES, truth), np.take(["not indexed", *PHASES], told + 1))
    table = table.rename_axis(index="phase").add_prefix("told for ").reset_index()
    alone = {}
    for number in np.unique(truth):
        of = np.flatnonzero(truth == number)
        of = of[: len(of) // 2 * 2]
        right = is_right(indexed(results, _AM, counts[of], phases[number]), state.rotation[of])
        alone[PHASES[number]] = 100 * right.mean()
    table["right %, looked for alone"] = table["phase"].map(alone)
    save_csv(table.assign(commit=git_commit()), Path(__file__).with_name("experiments_phases.csv"))
    common = np.bincount(truth).argmax()
    times = drawn(len(truth))
    right, always = (100 * (times @ hit) / len(truth) for hit in (told == truth, truth == common))
    return found(right, always, len(truth), "particles", [_AM])


def edges(results: Results) -> Found:
    """Width of edges in latents over that of the beam's share, at boundaries of a known place."""
    opened, data = results.scan(_WROUGHT), results.study.scan(_WROUGHT).data
    lines = boundary_lines(data)
    offsets = np.stack([ALONG_UM, 0 * ALONG_UM], axis=1)
    places = lines[["x", "y"]].to_numpy()[:, np.newaxis] + offsets
    raw, seen = exposed(data, places.reshape(-1, 2))
    counts, count = preprocessed(raw, opened.background, opened.mask), len(ALONG_UM)
    other = np.repeat(lines["other"].to_numpy(), count)[seen.point]
    share = np.bincount(seen.point, seen.share * (seen.domain == other), len(raw))
    latents = encode(load_model(results, _NETWORK), counts[np.newaxis], "float32")[0]
    xmap = indexed(results, _WROUGHT, counts)
    first = Rotation(np.repeat(np.stack(lines["one_turn"]), count, axis=0))
    turned = disorientation_deg(xmap.rotations, first, xmap.phases[0].point_group)
    turned = np.where(xmap.is_indexed, turned, np.nan)
    noise = noise_level(counts[np.newaxis], opened.mask)[0]
    maps = {"beam's share": share, "Hough orientation": turned, "IQ / noise": xmap.pq / noise}
    maps["latents"] = np.concatenate([projected(z) for z in np.split(latents, len(lines))])
    widths = pd.DataFrame({n: [edge_width(v) for v in np.split(maps[n], len(lines))] for n in maps})
    widths = widths.groupby(lines["boundary"].to_numpy()).median()
    number = len(widths)
    widths = widths.loc[:, 2 * widths.count() >= number]
    usual = widths.columns.intersection(["Hough orientation", "IQ / noise"])
    if usual.empty or widths[["latents", "beam's share"]].isna().any(axis=None):
        raise Untestable("edges in every map")
    times, there = drawn(number), widths.notna()
    means = {n: times @ widths[n].fillna(0) / (times @ there[n]) for n in widths}
    sharper = min(usual, key=lambda name: means[name][0])
    print(f"baseline: {sharper}; um: { {n: round(m[0], 3) for n, m in means.items()} }")
    ratio, theirs = (means[n] / means["beam's share"] for n in ("latents", sharper))
    return found(ratio, theirs, number, "boundaries", [_WROUGHT])


EXPERIMENTS = {
    "contrastive_robust_after_decoding": little_dose,
    "sharpness_needs_resolution": sharp_patterns,
    "phase_not_told_by_indexing": told_phases,
    "below_interaction_volume": edges,
}


def main(claims: list[str]) -> None:
    """Run the experiments of some claims, or of all; rows of the others stay."""
    results, path = Results(load_study(_STUDY), archive=True), Path(__file__).with_suffix(".csv")
    rows = pd.read_csv(path).set_index("claim").to_dict("index") if path.is_file() else {}
    for claim in claims or EXPERIMENTS:
        of = EXPERIMENTS[claim](results)
        rows[claim] = of._asdict() | {"scans": " ".join(of.scans)}
        rows[claim] |= {"commit": git_commit(), "seed": _SEED}
        table = pd.DataFrame.from_dict(rows, "index").rename_axis("claim").reset_index()
        save_csv(table, path, digits=4)
        print(table[table["claim"] == claim].T.to_string(header=False))


if __name__ == "__main__":
    main(sys.argv[1:])
