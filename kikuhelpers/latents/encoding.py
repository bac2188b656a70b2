"""Latent features on the specimen: every pattern encoded and mapped on the scan grid."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kikuhelpers.patterns.streaming import chunks
from kikuhelpers.patterns.up2 import HALF_RANGE
from kikuhelpers.runs.devices import arithmetic, device
from kikuhelpers.runs.files import written_aside
from kikuhelpers.training.vae import KikuchiVAE


@torch.inference_mode()
def encode(
    model: KikuchiVAE, patterns: np.ndarray, precision: str, path: Path | None = None
) -> np.ndarray:
    """Return the latent mean of every pattern.

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
    >>> counts = np.zeros((2, 3, 120, 120), np.uint16)
    >>> encode(network, counts, "float32").shape
    (2, 3, 16)
    """
    shape = (*patterns.shape[:2], model.latent_dim)
    flat = patterns.reshape(-1, *patterns.shape[2:])
    with written_aside(path) if path else nullcontext() as temporary:
        if temporary is None:
            latents = np.empty(shape, np.float32)
        else:
            latents = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        out = latents.reshape(-1, model.latent_dim)
        for here, counts, _ in chunks("encoding", flat, out):
            with arithmetic(precision):
                mean, _ = model.encode(intensity_on_device(counts))
            out[here] = mean.cpu().numpy()
    return np.load(path, mmap_mode="r") if path else latents


def intensity_on_device(counts: np.ndarray) -> Tensor:
    """Turn counts (n, height, width) into (n, 1, height, width) intensities on the device."""
    batch = torch.from_numpy(np.array(counts)).to(device())  # 16 bit on the way there
    return batch.unsqueeze(1).to(torch.float32).div_(HALF_RANGE).sub_(1)
