"""The plain PyTorch loop that one would write without this package, to compare with.

It computes in float32, takes contiguous arrays from a DataLoader, and has torch's own
convolutions of the same shapes.
"""

from itertools import chain, repeat

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from kikuhelpers.runs.devices import device
from kikuhelpers.study.models import Model
from kikuhelpers.training import losses
from kikuhelpers.training.augmentation import augment
from kikuhelpers.training.vae import KikuchiVAE

_LEARNING_RATE = 1e-4  # speed does not depend on it; low, so that no loss runs away


class PlainLoop:
    """A training as in a tutorial; ``step`` takes one batch."""

    def __init__(self, model: Model, patterns: np.ndarray, mask: np.ndarray, batch: int):
        self.model = model
        self.network = KikuchiVAE(model.latent_dim).to(device())
        weights = list(self.network.parameters())
        if model.loss == "contrastive":
            self.head = losses.projection_head(model.latent_dim, model.contrastive).to(device())
            weights += list(self.head.parameters())
        self.mask = torch.from_numpy(mask.astype(np.float32)).to(device())
        self.optimiser = torch.optim.Adam(weights, lr=_LEARNING_RATE)
        dataset = TensorDataset(torch.from_numpy(patterns.astype(np.float32)).unsqueeze(1))
        epoch = DataLoader(dataset, batch, shuffle=True, drop_last=True)
        self.batches = chain.from_iterable(repeat(epoch))  # without end

    def step(self) -> None:
        patterns = next(self.batches)[0].to(device())
        if self.model.loss == "contrastive":
            loss = self._contrastive_loss(patterns)
        else:
            loss = self._vae_loss(patterns, patterns)[0]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        loss.item()

    def _vae_loss(self, view: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        decoded, mean, log_variance = self.network(view)
        reconstruction = losses.reconstruction_loss(decoded, target, self.mask).mean()
        kl = losses.kl_divergence(mean, log_variance).sum(dim=1).mean()
        return reconstruction + self.model.beta * kl, mean

    def _contrastive_loss(self, patterns: Tensor) -> Tensor:
        settings = self.model.contrastive
        views = [augment(patterns, settings.augmentation) for _ in range(2)]
        (one, first), (two, second) = (self._vae_loss(view, patterns) for view in views)
        agreement = losses.nt_xent(self.head(first), self.head(second), settings.temperature)
        return (one + two) / 2 + settings.weight * agreement
