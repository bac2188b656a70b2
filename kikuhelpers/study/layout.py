"""Where every file of a study lies: one property per file, nothing else builds paths.

::

    <results>/<study>/scans/<scan>/            scan.up2, preprocessed.up2, ...
    <results>/<study>/models/<model>/          weights.safetensors, history.csv, ...
    <results>/<study>/models/<model>/<scan>/   latents.npy, decoded.up2, ...
    <results>/<study>/baselines/               pca.npz
    <results>/<study>/baselines/<baseline>/<scan>/   decoded.up2, ...
    <results>/<study>/notebooks/               the executed notebooks
    <results>/<study>/runs/                    provenance of each executed notebook
    <figures>/<study>/                         tables and figures
    <kept>/<study>/                            small copies of results, in their places
"""

import os
from dataclasses import dataclass
from pathlib import Path

from kikuhelpers.study.study import PROJECT_ROOT, Study, figures_root, results_root

PREPROCESSED = "preprocessed"  # the "model" that leaves patterns as they are


@dataclass(frozen=True)
class ScanFiles:
    """Files of one scan."""

    folder: Path

    @property
    def raw(self) -> Path:
        """The scan as measured, UP2 version 3."""
        return self.folder / "scan.up2"

    @property
    def card(self) -> Path:
        """JSON: origin, map shape, pattern shape, step, SHA-256."""
        return self.folder / "scan.json"

    @property
    def truth(self) -> Path:
        """Truth of a virtual specimen (.h5), see :mod:`kikuhelpers.scans.virtual.truth`."""
        return self.folder / "truth.h5"

    @property
    def background(self) -> Path:
        """Mean pattern of the map (.npy), binned shape, in counts."""
        return self.folder / "background.npy"

    @property
    def mask(self) -> Path:
        """True inside the screen (.npy), shape of the binned pattern."""
        return self.folder / "mask.npy"

    @property
    def preprocessed(self) -> Path:
        """Preprocessed patterns, UP2; counts = (p + 1) * 32767.5."""
        return self.folder / "preprocessed.up2"

    @property
    def sample(self) -> Path:
        """This scan's share of the training sample (.npy), (n, height, width) float16."""
        return self.folder / "sample.npy"

    @property
    def sample_points(self) -> Path:
        """Flat map indices of the sample (.npy), (n,) int64."""
        return self.folder / "sample_points.npy"

    @property
    def pattern_centre(self) -> Path:
        """JSON: calibrated pattern centre."""
        return self.folder / "pattern_centre.json"

    @property
    def orientations(self) -> Path:
        """orix CrystalMap (.h5) of the preprocessed patterns, see ``OrientationFiles``."""
        return self.folder / "orientations.h5"


@dataclass(frozen=True)
class ModelFiles:
    """Files of one trained model."""

    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def card(self) -> Path:
        """JSON: settings, data and outcome of the training."""
        return self.folder / "card.json"

    @property
    def history(self) -> Path:
        """CSV: loss history."""
        return self.folder / "history.csv"

    @property
    def kl(self) -> Path:
        """CSV: KL divergence of each latent dimension over the training, in nats."""
        return self.folder / "kl_per_dimension.csv"

    @property
    def held_out(self) -> Path:
        """True for points of a scan that the model has not seen (.npy), (rows, columns)."""
        return self.folder / "held_out.npy"

    @property
    def tensorboard(self) -> Path:
        """Event files of TensorBoard, if it was asked for."""
        return self.folder / "tensorboard"

    @property
    def checkpoint(self) -> Path:
        """State to resume from; no Snakemake output, so that it outlives a kill."""
        return self.folder / "checkpoint.state"

    @property
    def checkpoint_before(self) -> Path:
        """The checkpoint before the last one, should that be damaged."""
        return self.folder / "checkpoint_before.state"


@dataclass(frozen=True)
class ModelScanFiles:
    """Files of one scan seen through one model, or through a baseline, which makes fewer."""

    folder: Path

    @property
    def latents(self) -> Path:
        """Latent means (.npy), (rows, columns, latent dimension) float32."""
        return self.folder / "latents.npy"

    @property
    def latents_hspy(self) -> Path:
        """The same for hyperspy, with map axes in micrometres."""
        return self.folder / "latents.hspy"

    @property
    def features(self) -> Path:
        """CSV: one row per latent feature with its measures."""
        return self.folder / "features.csv"

    @property
    def decoded(self) -> Path:
        """Decoded patterns, UP2; counts = (p + 1) * 32767.5."""
        return self.folder / "decoded.up2"

    @property
    def decoded_h5(self) -> Path:
        """Decoded patterns as kikuchipy HDF5."""
        return self.folder / "decoded.h5"

    @property
    def pattern_loss(self) -> Path:
        """Masked half-sum-of-squares of every pattern (.npy), (rows, columns) float32."""
        return self.folder / "pattern_loss.npy"

    @property
    def residual(self) -> Path:
        """JSON: mean absolute error on the camera's scale."""
        return self.folder / "residual.json"

    @property
    def generated(self) -> Path:
        """Patterns decoded from unit-normal noise (.npy), (n, height, width) float32."""
        return self.folder / "generated.npy"

    @property
    def orientations(self) -> Path:
        return self.folder / "orientations.h5"


@dataclass(frozen=True)
class Layout:
    """All files of a study."""

    study: Study

    @property
    def folder(self) -> Path:
        return results_root() / self.study.name

    @property
    def figures(self) -> Path:
        return figures_root() / self.study.name

    @property
    def kept(self) -> Path:
        """Small copies of results that git holds, see :mod:`kikuhelpers.runs.kept`."""
        return kept_root() / self.study.name

    @property
    def shown_patterns(self) -> Path:
        """The patterns that the figures show (.npz), see :mod:`kikuhelpers.figures.shown`."""
        return self.folder / "shown_patterns.npz"

    @property
    def virtual_specimens(self) -> Path:
        """JSON: figures of the virtual specimens and how they were made (notebook 09)."""
        return self.figures / "virtual_specimens.json"

    @property
    def realism(self) -> Path:
        """CSV: statistics of a measured and a virtual scan side by side."""
        return self.figures / "realism.csv"

    @property
    def orientation_shares(self) -> Path:
        """CSV: each grain's error beside its share of the training, by model."""
        return self.figures / "orientation_shares.csv"

    @property
    def principal_components(self) -> Path:
        """Mean, principal components and variances of the training sample (.npz)."""
        return self.folder / "baselines" / "pca.npz"

    @property
    def spectrum(self) -> Path:
        """JSON: the variances alone, which the table linear.csv needs."""
        return self.folder / "baselines" / "spectrum.json"

    @property
    def warm(self) -> Path:
        """Mark that the libraries' code has been compiled."""
        return self.folder / "warm_up.txt"

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def record(self, notebook: str, *parts: str) -> Path:
        """JSON: provenance of a notebook's run, by what it ran on."""
        return self.runs / f"{'.'.join((notebook, *parts))}.json"

    def scan(self, name: str) -> ScanFiles:
        self.study.scan(name)
        return ScanFiles(self.folder / "scans" / name)

    def model(self, name: str) -> ModelFiles:
        self.study.model(name)
        return ModelFiles(self.folder / "models" / name)

    def model_scan(self, model: str, scan: str) -> ModelScanFiles:
        """Files of a scan seen through a model or a baseline, whose names differ."""
        self.study.scan(scan)
        if model in self.study.baselines:
            return ModelScanFiles(self.folder / "baselines" / model / scan)
        self.study.model(model)
        return ModelScanFiles(self.folder / "models" / model / scan)

    def orientations(self, model: str, scan: str) -> Path:
        """Orientations of a scan's preprocessed patterns, or of a model's or baseline's."""
        if model == PREPROCESSED:
            return self.scan(scan).orientations
        return self.model_scan(model, scan).orientations

    def patterns(self, model: str, scan: str) -> Path:
        """UP2 file of a scan's preprocessed patterns, or of a model's or baseline's."""
        if model == PREPROCESSED:
            return self.scan(scan).preprocessed
        return self.model_scan(model, scan).decoded


def kept_root() -> Path:
    """Folder of what git keeps of results: ``KIKUHELPERS_KEPT`` or ``data/kept``.

    A folder that is not there holds nothing: every network is then trained.
    """
    return Path(os.environ.get("KIKUHELPERS_KEPT") or PROJECT_ROOT / "data" / "kept").resolve()
