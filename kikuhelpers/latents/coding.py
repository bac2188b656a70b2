"""Patterns through the network: latent features, decoded patterns, and what these leave.

A half sum of squares of rescaled patterns means something only within one study. On the
camera's own scale the same residual has a unit, counts, and a share of the range of counts.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kikuhelpers.patterns.geometry import geometry_of
from kikuhelpers.patterns.masking import is_empty
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import HALF_RANGE, Up2Writer, to_intensity
from kikuhelpers.preprocessing.kernels import onto_network
from kikuhelpers.preprocessing.preprocess import OUTSIDE
from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.runs.errors import usable
from kikuhelpers.runs.files import mapped_array, save_array, written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.study.layout import BaselineScanFiles, ModelScanFiles
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.losses import reconstruction_loss
from kikuhelpers.training.vae import KikuchiVAE

Decoder = Callable[[np.ndarray], Tensor]  # see decode_map


def load_model(results: Results, name: str) -> KikuchiVAE:
    """Return a trained model of a study on the device at hand, ready to encode and decode.

    Raises
    ------
    MissingResultError
        The model has not been trained with the study's settings.

    Examples
    --------
    >>> from kikuhelpers.study import load_study
    >>> load_model(Results(load_study("smoke", {"models.vae-16.beta": 7})), "vae-16")
    Traceback (most recent call last):
    kikuhelpers.runs.results.MissingResultError: models/vae-16/weights... is not there yet. ...
    """
    bounds = results.study.training_of(name).log_variance_bounds
    model = KikuchiVAE(results.study.model(name).latent_dim, bounds)
    weights = results.model(name).weights
    with usable(f"weights.safetensors of {name}"):
        model.load_state_dict(weights)
    return on_device(model).eval()


@torch.inference_mode()
def encode(
    model: KikuchiVAE, patterns: np.ndarray, precision: str, path: Path | None = None
) -> np.ndarray:
    """Return the latent mean of every pattern, NaN for empty ones.

    Parameters
    ----------
    model
        A trained model.
    patterns
        (rows, columns, height, width) uint16 counts, read batch by batch.
    precision
        As in training: "auto", "bfloat16" or "float32".
    path
        A .npy file to write the latents to as they come, so that memory does not grow with
        the map; without it they are kept in memory only.

    Returns
    -------
    numpy.ndarray
        (rows, columns, D) float32; with a path, its memory map.

    Examples
    --------
    >>> network = KikuchiVAE(latent_dim=16).to(device())
    >>> encode(network, np.zeros((2, 3, 120, 120), np.uint16), "float32").shape
    (2, 3, 16)
    """
    whole = {"dtype": np.float32, "shape": (*patterns.shape[:2], model.latent_dim)}
    flat = patterns.reshape(-1, *patterns.shape[2:])
    with written_aside(path) if path else nullcontext() as file:
        latents = mapped_array(file, **whole) if file else np.empty(**whole)
        out = latents.reshape(-1, model.latent_dim)
        for here, counts, _ in chunks("encoding", flat, out):
            with arithmetic(precision):
                mean, _ = model.encode(intensity_on_device(counts))
            out[here] = np.where(is_empty(counts)[:, np.newaxis], np.nan, mean.cpu().numpy())
    return np.load(path, mmap_mode="r", allow_pickle=False) if path else latents


def intensity_on_device(counts: np.ndarray) -> Tensor:
    """Turn counts (n, height, width) into (n, 1, height, width) intensities on the device."""
    batch = torch.from_numpy(np.array(counts)).to(device())  # 16 bit on the way there
    return batch.unsqueeze(1).to(torch.float32).div_(HALF_RANGE).sub_(1)


def decoder_of(model: KikuchiVAE, mask: np.ndarray, precision: str) -> Decoder:
    """Return what decodes latents (n, D) as :func:`decode_map` needs it, black outside."""
    inside = torch.from_numpy(mask).to(device())

    @torch.inference_mode()
    def decoded(latents: np.ndarray) -> Tensor:
        with arithmetic(precision):
            patterns = model.decoder(torch.from_numpy(np.array(latents)).to(device()))
        return torch.where(inside, patterns.float(), OUTSIDE)

    return decoded


def decode(model: KikuchiVAE, latents: np.ndarray, mask: np.ndarray, precision: str) -> np.ndarray:
    """Decode latents to patterns in [-1, 1], black outside the screen.

    Parameters
    ----------
    model, precision
        As of :func:`encode`.
    latents
        (n, D).
    mask
        (height, width), True inside the screen.

    Returns
    -------
    numpy.ndarray
        (n, height, width) float32.

    Examples
    --------
    >>> network = KikuchiVAE(latent_dim=16).to(device())
    >>> whole = np.ones((120, 120), bool)
    >>> decode(network, np.zeros((4, 16), np.float32), whole, "float32").shape
    (4, 120, 120)
    """
    return decoder_of(model, mask, precision)(latents).squeeze(1).cpu().numpy()


def generate(model: KikuchiVAE, count: int, mask: np.ndarray, seed: int, precision: str):
    """Decode latents drawn from N(0, 1): (count, height, width) float32 (paper, Fig. 10)."""
    noise = np.random.default_rng(seed).standard_normal((count, model.latent_dim))
    return decode(model, noise.astype(np.float32), mask, precision)


@torch.inference_mode()
def decode_map(
    decoded: Decoder,
    source: np.ndarray,
    inputs: np.ndarray,
    mask: np.ndarray,
    files: ModelScanFiles | BaselineScanFiles,
    step_um: float,
) -> np.ndarray:
    """Write a whole map's decoded patterns as UP2 and measure the loss of every pattern.

    Where the inputs are empty nothing is decoded: 0 counts, and a loss of NaN.

    Parameters
    ----------
    decoded
        Called with a part of the source, (n, ...); returns its patterns (n, 1, height, width),
        intensities on the device, black outside the mask.
    source
        What is decoded, (rows, columns, ...): latent means, for example.
    inputs
        (rows, columns, height, width) uint16 counts of the preprocessed patterns.
    mask
        (height, width), True inside the screen.
    files
        ``decoded`` and ``pattern_loss`` are written.
    step_um
        Step of the map.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32: half the sum of squared differences inside the screen.
    """
    points, flat = (maps.reshape(-1, *maps.shape[2:]) for maps in (source, inputs))
    losses = np.full(len(flat), np.nan, np.float32)
    inside = torch.from_numpy(mask).to(device())
    with Up2Writer(files.decoded, inputs.shape[:2], mask.shape, step_um) as writer:
        for here, counts, part in chunks("decoding", flat, points):
            there, written = ~is_empty(counts), np.zeros(counts.shape, np.uint16)
            if there.any():
                patterns, target = decoded(part[there]), intensity_on_device(counts[there])
                loss = reconstruction_loss(patterns, target, inside)
                losses[here][there] = loss.cpu().numpy()
                # As kikuhelpers.patterns.up2.to_counts, but on the device.
                counted = patterns.clamp(-1, 1).add_(1).mul_(HALF_RANGE).round_()
                written[there] = counted.to(torch.uint16).squeeze(1).cpu().numpy()
            writer.append(written)
    losses = losses.reshape(inputs.shape[:2])
    save_array(files.pattern_loss, losses)
    return losses


def camera_residual(
    decoded: np.ndarray, inputs: np.ndarray, raw: np.ndarray, half_range: np.ndarray, mask, scan
) -> dict[str, float]:
    """Return the mean absolute error of decoded patterns on the camera's scale.

    Rescaling stretched each pattern, less its background; here that is undone. The background is
    the same on both sides.

    Parameters
    ----------
    decoded, inputs
        (rows, columns, height, width) uint16 counts of rescaled patterns.
    raw
        (rows, columns, height, width) of the camera, as it gave them; empty ones do not count.
    half_range
        (rows, columns) counts per unit of the rescaled pattern, as ``camera_scale.npy`` says.
    mask
        (height, width), True inside the screen; errors count there only.
    scan
        :class:`~kikuhelpers.study.scans.ScanPreprocessing`.

    Returns
    -------
    dict
        ``mae_rescaled`` (on the scale of [-1, 1] of each pattern), ``mae_counts``,
        ``lowest`` and ``highest`` count of the scan (binned, inside the screen), and
        ``mae_camera``: the error if these two are mapped to -1 and 1, as neural-EBSD
        (arXiv:2606.10352) prints it.
    """
    geometry = geometry_of(raw.shape[2:], scan)
    flat = (patterns.reshape(-1, *patterns.shape[2:]) for patterns in (raw, decoded, inputs))
    errors, in_counts, lowest, highest = [], [], np.inf, -np.inf
    largest = max(maps[0, 0].nbytes for maps in (raw, inputs))
    parts = *flat, half_range.ravel()
    for _, camera, *both, half in chunks("residual", *parts, pattern_bytes=largest):
        there = ~is_empty(both[1])
        shown, wanted = (to_intensity(part[there])[:, mask] for part in both)
        errors.append(np.abs(shown - wanted).mean(axis=1))
        values, pixels = onto_network(camera[there], geometry)
        in_counts.append(errors[-1] * half[there])
        means = values[:, mask] / pixels
        lowest = min(lowest, means.min(initial=np.inf))
        highest = max(highest, means.max(initial=-np.inf))
    counts = float(np.concatenate(in_counts).mean())
    return {
        "mae_rescaled": float(np.concatenate(errors).mean()),
        "mae_counts": counts,
        "lowest": float(lowest),
        "highest": float(highest),
        "mae_camera": 2 * counts / float(highest - lowest),
    }
