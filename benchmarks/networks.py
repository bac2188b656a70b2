"""Training, encoding and decoding, per latent dimension, against plain PyTorch."""

import tempfile
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from benchmarks.arithmetic import GIGA, best_multiply, training_operations
from benchmarks.plain import PlainLoop
from benchmarks.scans import files_in
from benchmarks.settings import Sizes
from benchmarks.timing import compare
from kikuhelpers.latents.coding import decode_map, decoder_of, encode
from kikuhelpers.patterns.up2 import to_counts, to_intensity
from kikuhelpers.runs.devices import device
from kikuhelpers.scans.virtual.microscope import screen_mask
from kikuhelpers.study.layout import ModelScanFiles
from kikuhelpers.study.models import Model, Training
from kikuhelpers.training.block_convolution import on_device
from kikuhelpers.training.loop import Trainer
from kikuhelpers.training.sample import TrainingSet
from kikuhelpers.training.vae import KikuchiVAE

_MASK = screen_mask()
_BATCHES_IN_SAMPLE = 4


def matrix_multiply(sizes: Sizes) -> Iterator[dict]:
    """Measure the best matrix multiplication of the machine, per precision."""
    for precision in (torch.float32, torch.bfloat16):
        best = best_multiply(precision, sizes.matrix_sizes, sizes.rounds, sizes.seconds / 6)
        name = str(precision).removeprefix("torch.")
        yield {"part": "matrix multiply", "case": name, "gflop_per_s": best}


def training_run(model: Model, sizes: Sizes) -> Trainer:
    """Return a training on noise that never ends."""
    settings = Training(presentations=10**9, batch_size=sizes.batch)
    return Trainer(model, settings, TrainingSet(_sample(sizes), _MASK))


def training(sizes: Sizes) -> Iterator[dict]:
    """Measure training steps of every dimension and loss."""
    for dimension in sizes.dimensions:
        for loss in ("vae", "contrastive"):
            model = Model(latent_dim=dimension, loss=loss)
            trainer = training_run(model, sizes)
            plain = PlainLoop(model, _sample(sizes), _MASK, sizes.batch)
            jobs = {"ours": trainer.take_step, "plain": plain.step}
            speeds = compare(jobs, sizes.batch, sizes.rounds, sizes.seconds)
            ours = speeds["ours"]["patterns_per_s"]
            yield {
                "part": "training",
                "case": f"{loss} {dimension}-D",
                "against": "plain PyTorch loop",
                "gflop_per_s": ours * training_operations(dimension, loss) / GIGA,
                **speeds,
            }


def encoding_and_decoding(sizes: Sizes) -> Iterator[dict]:
    """Measure a map's way to latents and back, against the plain network in float32."""
    counts = to_counts(_noise(sizes.map_patterns))[np.newaxis]  # a map of one row
    for dimension in sizes.dimensions:
        model = on_device(KikuchiVAE(dimension)).eval()
        plain = KikuchiVAE(dimension).to(device()).eval()
        latents, decoder = encode(model, counts, "auto"), decoder_of(model, _MASK, "auto")
        batches = torch.from_numpy(to_intensity(counts[0])).unsqueeze(1).split(sizes.batch)
        codes = torch.from_numpy(latents[0]).split(sizes.batch)
        with tempfile.TemporaryDirectory() as folder:
            files = files_in(folder, ModelScanFiles)
            jobs = {
                "encoding": {
                    "ours": partial(encode, model, counts, "auto"),
                    "plain": partial(_plain_pass, lambda x, p=plain: p.encode(x)[0], batches),
                },
                "decoding": {
                    "ours": partial(decode_map, decoder, latents, counts, _MASK, files, 1.0),
                    "plain": partial(_plain_pass, plain.decoder, codes),
                },
            }
            for part, pair in jobs.items():
                yield {
                    "part": part,
                    "case": f"{dimension}-D",
                    "against": "plain PyTorch pass",
                    **compare(pair, sizes.map_patterns, sizes.rounds, sizes.seconds),
                }


def _noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (n, *_MASK.shape))


def _sample(sizes: Sizes) -> np.ndarray:
    return _noise(_BATCHES_IN_SAMPLE * sizes.batch).astype(np.float16)


@torch.inference_mode()
def _plain_pass(network, batches) -> list[np.ndarray]:
    return [network(batch.to(device())).cpu().numpy() for batch in batches]
