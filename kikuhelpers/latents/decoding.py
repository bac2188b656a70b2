"""Decoded patterns: what is left of a scan after passing through the latent space."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kikuhelpers.latents.encoding import intensity_on_device
from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import HALF_RANGE, Up2Writer
from kikuhelpers.preprocessing.preprocess import OUTSIDE
from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.runs.files import save_array
from kikuhelpers.study.layout import BaselineScanFiles, ModelScanFiles
from kikuhelpers.training.losses import reconstruction_loss
from kikuhelpers.training.vae import KikuchiVAE


@torch.inference_mode()
def decode(model: KikuchiVAE, latents: np.ndarray, mask: np.ndarray, precision: str) -> np.ndarray:
    """Decode latents to patterns in [-1, 1], black outside the screen.

    Parameters
    ----------
    model
        A trained model.
    latents
        (n, D).
    mask
        (height, width), True inside the screen.
    precision
        As in training: "auto", "bfloat16" or "float32".

    Returns
    -------
    numpy.ndarray
        (n, height, width) float32.

    Examples
    --------
    >>> network = KikuchiVAE(latent_dim=16).to(device())
    >>> latents, whole = np.zeros((4, 16), np.float32), np.ones((120, 120), bool)
    >>> decode(network, latents, whole, "float32").shape
    (4, 120, 120)
    """
    inside = torch.from_numpy(mask).to(device())
    return _decode(model, latents, inside, precision).squeeze(1).cpu().numpy()


def _decode(model: KikuchiVAE, latents: np.ndarray, inside: Tensor, precision: str) -> Tensor:
    """The same on the device, (n, 1, height, width)."""
    batch = torch.from_numpy(np.array(latents)).to(device())
    with arithmetic(precision):
        patterns = model.decoder(batch)
    return torch.where(inside, patterns.float(), OUTSIDE)


@torch.inference_mode()
def decode_map(
    model: KikuchiVAE,
    latents: np.ndarray,
    inputs: np.ndarray,
    mask: np.ndarray,
    files: ModelScanFiles,
    step_um: float,
    precision: str,
) -> np.ndarray:
    """Decode a whole map to UP2 and measure the loss of every pattern.

    Parameters
    ----------
    model
        A trained model.
    latents
        (rows, columns, D) latent means.
    inputs
        (rows, columns, height, width) uint16 counts of the preprocessed patterns.
    mask
        (height, width), True inside the screen.
    files
        ``decoded`` and ``pattern_loss`` are written.
    step_um
        Step of the map.
    precision
        As in training.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32: half the sum of squared differences inside the screen.
    """
    inside = torch.from_numpy(mask).to(device())
    flat = latents.reshape(-1, latents.shape[-1])

    def decoded(batch: np.ndarray) -> Tensor:
        return _decode(model, batch, inside, precision)

    return write_decoded(decoded, flat, inputs, mask, files, step_um)


@torch.inference_mode()
def write_decoded(
    decoded: Callable[[np.ndarray], Tensor],
    source: np.ndarray,
    inputs: np.ndarray,
    mask: np.ndarray,
    files: ModelScanFiles | BaselineScanFiles,
    step_um: float,
) -> np.ndarray:
    """Write decoded patterns some at a time and measure the loss of every pattern.

    Parameters
    ----------
    decoded
        Called with a part of ``source``; returns its patterns (n, 1, height, width),
        intensities on the device, black outside the mask.
    source
        What is decoded, of the map's points in their order: (points, ...).
    inputs, mask, files, step_um
        As for :func:`decode_map`.

    Returns
    -------
    numpy.ndarray
        As of :func:`decode_map`.
    """
    flat = inputs.reshape(-1, *inputs.shape[2:])
    losses = np.empty(len(flat), np.float32)
    inside = torch.from_numpy(mask).to(device())
    with Up2Writer(files.decoded, inputs.shape[:2], mask.shape, step_um) as writer:
        for here, counts, part in chunks("decoding", flat, source):
            patterns = decoded(part)
            target = intensity_on_device(counts)
            losses[here] = reconstruction_loss(patterns, target, inside).cpu().numpy()
            writer.append(_counts(patterns))
    losses = losses.reshape(inputs.shape[:2])
    save_array(files.pattern_loss, losses)
    return losses


def _counts(patterns: Tensor) -> np.ndarray:
    """:func:`kikuhelpers.patterns.up2.to_counts` on the device: (n, height, width) uint16."""
    counts = patterns.clamp(-1, 1).add_(1).mul_(HALF_RANGE).round_()
    return counts.to(torch.uint16).squeeze(1).cpu().numpy()


def generate(model: KikuchiVAE, count: int, mask: np.ndarray, seed: int, precision: str):
    """Decode latents drawn from N(0, 1): (count, height, width) float32 (paper, Fig. 10)."""
    noise = np.random.default_rng(seed).standard_normal((count, model.latent_dim))
    return decode(model, noise.astype(np.float32), mask, precision)
