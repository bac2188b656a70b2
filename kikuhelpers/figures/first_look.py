"""A study of one's own from a scan's file alone: what the file says, what a look at it shows.

A few thousand patterns at most are read, on a regular grid of points, so that a look takes as long
for a file of any size. What nobody says is found (pattern centre), measured (time of a training) or
left open (phase), and a comment in the study says which.
"""

import os
import re
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from diffsims.crystallography import ReciprocalLatticeVector
from kikuchipy.simulations import KikuchiPatternSimulator
from pydantic import ValidationError

from kikuhelpers.figures import drawing, style
from kikuhelpers.indexing.hough import band_indexer, index_patterns, solve
from kikuhelpers.indexing.pattern_centre import FITS, NOBODY, best_of_grid, detector_of
from kikuhelpers.indexing.phases import reflectors
from kikuhelpers.indexing.warm_up import warm_up
from kikuhelpers.patterns.geometry import geometry_of
from kikuhelpers.patterns.masking import fill_outside, is_empty
from kikuhelpers.patterns.up2 import open_patterns, to_intensity
from kikuhelpers.preprocessing.preprocess import ONE_GRAIN, preprocess
from kikuhelpers.runs.files import written_aside
from kikuhelpers.scans.readers import open_data, scaling
from kikuhelpers.study.layout import ScanFiles
from kikuhelpers.study.load import load_study
from kikuhelpers.study.models import Model, Training
from kikuhelpers.study.phases import Phase
from kikuhelpers.study.scans import ArrayData, FileData, Scan
from kikuhelpers.study.stages import plain
from kikuhelpers.study.study import Indexing, Preprocessing, StudyError
from kikuhelpers.training.loop import Trainer
from kikuhelpers.training.sample import TrainingSet

_LOOK_BYTES = 200_000_000  # of patterns; read in seconds from any disk
_LOOK_POINTS = 2500
_TRIED_PATTERNS = 30  # with each phase and pattern centre
# Metals of the three common lattices: bands tell the lattice, not the element.
CANDIDATES = (
    Phase(name="Ni", space_group=225, lattice_nm=0.352),
    Phase(name="Fe", space_group=229, lattice_nm=0.287),
    Phase(name="Ti", space_group=194, lattice_nm=(0.295, 0.295, 0.468)),
)
_LARGE_MAP = 5000  # points from which on 32 latent dimensions have enough to learn from
# Of the study `schedules`: 20,000 patterns shown so leave less than 60,000 with Adam.
_TRAINING = {"optimiser": "muon", "batch_size": 16, "warmup_steps": 50, "decay": "linear"}
_PRESENTATIONS, _RATE, _LARGE_RATE = 20000, 0.006, 0.004
_TIMED_STEPS = 7  # the first ones take longer
_PICTURE_MM = 85.0


class FirstLook:
    """What a look at a scan's file shows; PatternFileError where it cannot be read."""

    def __init__(self, data: FileData | ArrayData):
        self.path, self.data = Path(data.path), data
        patterns, self.said = open_data(data)
        self.map_shape, self.pattern_shape = patterns.shape[:2], patterns.shape[2:]
        pattern_bytes = int(np.prod(self.pattern_shape)) * patterns.dtype.itemsize
        wanted = min(_LOOK_POINTS, max(_TRIED_PATTERNS, _LOOK_BYTES // pattern_bytes))
        self.every = int(np.ceil(np.sqrt(np.prod(self.map_shape) / wanted)))
        seen = np.asarray(patterns[:: self.every, :: self.every])
        self.raw = scaling(seen)(seen)[..., :: -1 if data.flip else 1, :]
        self.brightness = self.raw.mean(axis=(2, 3))
        self.scan = Scan(data=data)
        self.said_step_um = data.step_um or self.said.get("step_um")
        self.step_um = self.said_step_um or 1.0
        self._preprocess()
        self._find_phase_and_centre()

    def _preprocess(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = ScanFiles(lambda stage: Path(folder))
            settings = self.scan.preprocessing, Preprocessing()
            self.bands_in_mean = preprocess(self.raw, *settings, files, self.step_um)
            self.background, self.mask = np.load(files.background), np.load(files.mask)
            self.patterns = np.array(open_patterns(files.preprocessed))

    def _find_phase_and_centre(self) -> None:
        """Try the phases that the file names, or the candidates, where they fit best."""
        said = {"pattern_shape": self.pattern_shape, "file": self.said}
        detector, self.sources = detector_of(self.scan, said)
        flat = self.patterns.reshape(-1, *self.patterns.shape[2:])
        there = np.flatnonzero(~is_empty(flat))
        some = there[:: max(1, len(there) // _TRIED_PATTERNS)][:_TRIED_PATTERNS]
        drawn, self.fits = fill_outside(flat[some], self.mask), {}
        for phase in self.named_phases or CANDIDATES:
            settings, centre = Indexing(phase=phase), detector.pattern_centre
            indexer = band_indexer(self.mask.shape, detector, settings)
            if solve(drawn, indexer, settings)[1].mean() < FITS:
                other, reached = best_of_grid(drawn, indexer, settings)
                centre = other if reached > FITS else centre
            self.detector = replace(detector, pattern_centre=centre)
            indexer = band_indexer(self.mask.shape, self.detector, settings)
            _, confidence = solve(drawn, indexer, settings)
            self.fits[phase] = float(confidence.mean()), self.detector, some[confidence.argmax()]
        self.phase = max(self.fits, key=lambda phase: self.fits[phase][0])
        self.confidence, self.detector, best = self.fits[self.phase]
        self.best = np.unravel_index(best, self.patterns.shape[:2])
        square = geometry_of(self.pattern_shape, self.scan.preprocessing)
        self.on_camera = square.to_camera(self.detector.pattern_centre)
        found = self.detector.pattern_centre != detector.pattern_centre
        who = "the best of a grid" if found else f"said by {self.sources['pattern_centre']}"
        self.centre_by = f"a first guess, {who}; mean confidence {self.confidence:.2f}"
        if self.confidence < FITS:
            self.centre_by += ", and no other does better: noise, another phase, upside down?"
        self.centre_is_known = found or self.sources["pattern_centre"] != NOBODY

    @property
    def named_phases(self) -> tuple[Phase, ...]:
        """The phases that the file names, if indexing can use all of them."""
        try:
            named = tuple(Phase.model_validate(phase) for phase in self.said.get("phases", ()))
            _ = [reflectors(phase) for phase in named]
        except (ValidationError, StudyError):
            return ()  # the study then leaves the phase open
        return named

    @property
    def phase_by(self) -> str:
        """Who says the phase, or what the candidates reach."""
        reached = ", ".join(f"{p.name} {found[0]:.2f}" for p, found in self.fits.items())
        if self.named_phases:
            return f"The file names the phase. Mean confidence of a few patterns: {reached}."
        best = _flow(self.phase.model_dump(mode="json", exclude_defaults=True))
        named = ", ".join(phase["name"] for phase in self.said.get("phases", ())) or "no phase"
        return (
            f"The file names {named}{' in part' * (named != 'no phase')}: orientations wait for "
            "what indexing needs, latent maps do not. Lattices like "
            f"{reached} (mean confidence); for example phase: {best}"
        )

    def bands(self) -> np.ndarray:
        """Lines of the best pattern's bands, (2, ends, lines): x and y in pixels."""
        detector, settings = self.detector, Indexing(phase=self.phase)
        patterns = np.tile(self.patterns[self.best], (2, 2, 1, 1))  # a map, if a small one
        xmap = index_patterns(patterns, self.mask, detector, settings, self.step_um)
        vectors = ReciprocalLatticeVector(xmap.phases[0], hkl=reflectors(self.phase)).symmetrise()
        camera = detector.camera(self.mask.shape)
        lines = KikuchiPatternSimulator(vectors).on_detector(camera, xmap.rotations[:1])
        return np.moveaxis(lines.lines_coordinates().reshape(-1, 2, 2), 0, 2).swapaxes(0, 1)

    def seconds_of(self, training: dict, dimension: int) -> float:
        """Return how long a training takes on this machine, from a few of its steps."""
        flat = self.patterns.reshape(-1, *self.patterns.shape[2:])
        sample = to_intensity(flat[: training["batch_size"]]).astype(np.float16)
        model = Model(latent_dim=dimension)
        trainer = Trainer(model, Training(**training), TrainingSet(sample, self.mask))
        seconds = []
        for _ in range(_TIMED_STEPS):
            start = time.perf_counter()
            trainer.take_step()
            seconds.append(time.perf_counter() - start)
        return trainer.steps * float(np.median(seconds))


def new_study(path: str | Path, **settings: Any) -> tuple[Path, Path]:
    """Write a study of a scan, every choice as a commented line, and a preview of the scan.

    The scan's file is whatever kikuchipy reads, an EDAX UP1/UP2 file, or images; ``settings`` are
    others of :class:`~kikuhelpers.study.scans.FileData`: map_shape, offset, step_um ... Returns
    ``<scan>.yaml`` and ``<scan>.png`` in the present folder. StudyError if one of them is there,
    PatternFileError if the scan cannot be read.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(path).stem).strip("_-") or "scan"
    study, png = Path(f"{name}.yaml"), Path(f"{name}.png")
    for there in (study, png):
        if there.exists():
            raise StudyError(f"{there} is there and would be written over: move it away.")
    if not os.access(".", os.W_OK):
        raise StudyError("This folder cannot be written: go to one of your own.")
    data = _checked(path, settings)
    open_data(data)  # what cannot be read is refused before anything takes long
    warm_up()
    look = FirstLook(data)
    picture = preview(look)
    with written_aside(study) as temporary, tempfile.TemporaryDirectory() as folder:
        temporary.write_text(_text(look, name), "utf-8")
        made, _ = style.save_figure(picture, folder, name)
        shutil.copyfile(made, png)
    load_study(study)  # it is one
    return study, png


def _checked(path: str | Path, settings: dict) -> FileData | ArrayData:
    given = {"source": "file", "path": str(path)} | settings
    try:
        return (ArrayData if given["source"] == "array" else FileData).model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise StudyError(f"{first['loc'][0]} of the scan: {first['msg']}.") from None


_STUDY = """\
# Made from {path.name} by `python -m kikuhelpers new`. Run it: python -m kikuhelpers {name}.yaml
title: "{name}"
scans:
  "{name}":
    # {map_shape} points; patterns of {pattern_shape} px become (120, 120) px.
    data: {data}{step_by}{offer}
    indexing:
      # Bruker's convention; {centre_by}. Others: {{edax: [x, y, z]}}, oxford, emsoft.
      {comment}pattern_centre: {centre}
      sample_tilt_deg: {detector.sample_tilt_deg:g}  # said by {sources[sample_tilt_deg]}
      detector_tilt_deg: {detector.detector_tilt_deg:g}  # said by {sources[detector_tilt_deg]}
# {phase_by}
indexing: {indexing}
# {points:,} points. {shown:,} patterns are shown: some {minutes:.0f} min on this machine.
models:
  vae-{dimension}: {{latent_dim: {dimension}}}
training: {training}
# What linear components of the same number leave: the VAE should leave less.
baselines:
  pca-{components}: {{method: pca, components: {components}}}
"""
_OFFER = """
    # The map's mean pattern holds {:.0%} of the bands of a typical one and takes them away.
    # preprocessing: {{background_of: its file}}  # the file brings a background without bands"""


def _text(look: FirstLook, name: str) -> str:
    points = int(np.prod(look.map_shape))
    dimension, rate = (32, _LARGE_RATE) if points >= _LARGE_MAP else (16, _RATE)
    training = _TRAINING | {"presentations": _PRESENTATIONS, "learning_rate": rate}
    data = look.data.model_dump(mode="json", exclude_defaults=True)
    data |= {"path": os.path.relpath(look.path)}
    data |= {"step_um": look.said_step_um} if look.said_step_um else {}
    phases = [plain(phase) for phase in look.named_phases] or None
    offered = look.bands_in_mean > ONE_GRAIN and "background" in look.said
    return _STUDY.format(
        **vars(look) | {"data": _flow(data), "phase_by": look.phase_by},
        name=name,
        points=points,
        step_by="" if look.said_step_um else "  # step_um: nobody says it, add it",
        offer=_OFFER.format(look.bands_in_mean) * offered,
        comment="" if look.centre_is_known else "# ",
        centre=[round(value, 4) for value in look.on_camera],
        indexing=_flow({"phase": phases}),
        training=_flow(training),
        shown=training["presentations"],
        minutes=look.seconds_of(training, dimension) / 60,
        dimension=dimension,
        components=min(dimension, points),
    )


def _flow(settings: dict) -> str:
    return yaml.safe_dump(settings, default_flow_style=True, sort_keys=False, width=1000).strip()


@style.print_style
def preview(look: FirstLook) -> style.PaperFigure:
    """Draw a look: brightness, mean pattern, screen, bands; three patterns and the background."""
    figure = style.new_figure(_PICTURE_MM, f"A look at {look.path.name}")
    first, second = figure.subplots(2, 4)
    there = np.argwhere(look.brightness > 0)
    shown = [tuple(point) for point in np.random.default_rng(0).permutation(there)[:3]]
    whole = np.ones(look.pattern_shape, bool)
    brightness = np.where(look.brightness > 0, look.brightness, np.nan)
    image = drawing.show_map(first[0], brightness, look.step_um * look.every, "cividis")
    drawing.add_colour_bar(image, first[0])
    drawing.show_pattern(first[1], look.raw.mean(axis=(0, 1)), whole)
    drawing.bare(first[2])
    first[2].imshow(look.mask, cmap="gray", vmin=0, vmax=1)
    drawing.show_pattern(first[3], look.patterns[look.best], look.mask)
    bands = look.bands()
    first[3].plot(*bands, color="tab:red", lw=0.6, scalex=False, scaley=False)
    drawing.show_pattern(second[3], look.background, look.mask)
    for ax, point in zip(second, shown, strict=False):
        drawing.show_pattern(ax, look.raw[point], whole)
    titles = ["mean counts", "mean pattern", "screen (white)"]
    titles += [f"bands of {look.phase.name}, CI {look.confidence:.2f}"]
    titles += [f"point ({r * look.every}, {c * look.every})" for r, c in shown] + ["background"]
    for ax, title in zip([*first, *second], titles, strict=True):
        drawing.letter(ax, "", title, style.TEXT_PT)
    return figure
