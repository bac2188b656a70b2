"""What is kept of a study: which results, and where each one's small copy lies."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kikuhelpers.figures import selection
from kikuhelpers.runs.kept.agreement import decoders
from kikuhelpers.runs.kept.packing import Packing, packing_of
from kikuhelpers.study.baselines import largest_pca
from kikuhelpers.study.layout import PREPROCESSED, Layout
from kikuhelpers.study.study import Study

# Weights of more dimensions are not kept: in float16 64-D takes 4.5 MB, 128-D 18 MB and 256-D
# 72 MB of a repository that is cloned whole. Further seeds and losses take as much and are
# trained by the same notebook.
MOST_KEPT_DIMENSIONS = 64


@dataclass(frozen=True)
class Item:
    """One result that is kept, and the run that made it."""

    layout: Layout
    result: Path
    run: tuple[str, ...]  # notebook, then what it ran on
    model: str | None = None
    scan: str | None = None
    indexed: bool = False  # depends on the settings of the indexing

    @property
    def name(self) -> str:
        """Path within the results folder."""
        return self.result.relative_to(self.layout.folder).as_posix()

    @cached_property
    def packing(self) -> Packing:
        return packing_of(self.result)

    @property
    def kept(self) -> Path:
        """The small copy."""
        return (self.layout.kept / self.name).with_suffix(self.packing.ending)


def has_kept_weights(study: Study, model: str) -> bool:
    """Tell whether a model's weights are kept: those of the VAEs that the figures map."""
    small = study.model(model).latent_dim <= MOST_KEPT_DIMENSIONS
    return small and model in selection.vaes(study)


def contents(study: Study) -> list[Item]:
    """List everything that a study's table and figures are made from."""
    layout = Layout(study)
    items = [item for scan in study.scans for item in _of_scan(layout, scan)]
    for model in study.models:
        items += _of_model(layout, model)
    for name in decoders(study):
        for scan in study.decoded_scans:
            items += _of_decoded_map(layout, name, scan)
    for model in study.models:
        for scan in study.mapped_scans:
            items += _of_latent_map(layout, model, scan)
    if largest := largest_pca(study.baselines):
        items.append(Item(layout, layout.spectrum, ("10_baselines", largest), largest))
    if study.models:
        items.append(Item(layout, layout.shown_patterns, ("08_figures",)))
    return items


def _of_scan(layout: Layout, scan: str) -> list[Item]:
    files = layout.scan(scan)
    reading, indexing = ("01_diffraction_data", scan), ("06_reindexing", PREPROCESSED, scan)
    study, preprocessing = layout.study, ("02_preprocessing", scan)
    seen = study.is_virtual(scan) and scan in study.mapped_scans
    sample = [files.sample_points] if study.scan(scan).training_patterns else []
    return [
        *(Item(layout, path, reading, scan=scan) for path in (files.card, *[files.truth] * seen)),
        *(Item(layout, path, preprocessing, scan=scan) for path in (files.mask, *sample)),
        Item(layout, files.pattern_centre, indexing, scan=scan, indexed=True),
        Item(layout, files.orientations, indexing, scan=scan, indexed=True),
    ]


def _of_model(layout: Layout, model: str) -> list[Item]:
    files = layout.model(model)
    results = [files.card, files.history, files.kl]
    holds_out = layout.study.model(model).hold_out is not None  # grains, found by indexing
    if holds_out:
        results.append(files.held_out)
    if has_kept_weights(layout.study, model):
        results.append(files.weights)
    run = ("03_training", model)
    return [Item(layout, result, run, model, indexed=holds_out) for result in results]


def _of_decoded_map(layout: Layout, name: str, scan: str) -> list[Item]:
    files = layout.model_scan(name, scan)
    decoding, indexing = ("05_reconstruction", name, scan), ("06_reindexing", name, scan)
    if name in layout.study.baselines:
        decoding = ("10_baselines", name)
    return [
        Item(layout, files.pattern_loss, decoding, name, scan),
        Item(layout, files.orientations, indexing, name, scan, indexed=True),
    ]


def _of_latent_map(layout: Layout, model: str, scan: str) -> list[Item]:
    files = layout.model_scan(model, scan)
    latent, decoding = (
        (notebook, model, scan) for notebook in ("04_latent_maps", "05_reconstruction")
    )
    items = [Item(layout, files.features, latent, model, scan, indexed=True)]
    if scan in layout.study.decoded_scans:
        decoded = (files.residual, files.generated)
        items += [Item(layout, path, decoding, model, scan) for path in decoded]
    # The figures map the features of these alone.
    if model in {*selection.vaes(layout.study), selection.largest_vae(layout.study)}:
        items.append(Item(layout, files.latents, latent, model, scan))
    return items
