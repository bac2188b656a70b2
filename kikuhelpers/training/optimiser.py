"""The optimiser: Adam as in the paper, or Muon, which needs fewer presentations.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) replaces the momentum of a matrix by
the nearest matrix whose singular values are all alike, so that the rare directions of a layer
learn as fast as the common ones. The kernel of a convolution is a matrix with a row per channel.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kikuhelpers import study


class Optimiser:
    """Adam; with ``optimiser: muon`` Muon for kernels and matrices, and Adam for biases alone.

    The networks' parameters stay where they are and in their memory format. ValueError for Muon and
    kernels that are not of channels-last memory.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], settings: "study.models.Training"):
        self._weights = list(parameters)
        matrices = [w for w in self._weights if w.ndim > 1 and settings.optimiser == "muon"]
        # torch's Muon takes matrices alone: each is a view of a kernel's own memory.
        self._rows = [(weight, nn.Parameter(_rows(weight.data))) for weight in matrices]
        if any(rows.data_ptr() != weight.data_ptr() for weight, rows in self._rows):
            raise ValueError("Muon needs a network of channels_last memory: see on_device.")
        others = [w for w in self._weights if w.ndim == 1 or not matrices]
        betas = settings.gradient_decay, settings.squared_gradient_decay
        self._parts = [torch.optim.Adam(others, betas=betas, fused=True)]
        if matrices:
            # A step as long as one of Adam, so that one learning rate serves both.
            how = {"weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
            self._parts.append(torch.optim.Muon([rows for _, rows in self._rows], **how))

    def step(self, rate: float) -> None:
        """Take a step of a learning rate along the gradients, and forget them."""
        for weight, rows in self._rows:
            rows.grad = _rows(weight.grad)
        for part in self._parts:
            part.param_groups[0]["lr"] = rate
            part.step()
        for weight in self._weights:
            weight.grad = None

    def state_dict(self) -> list[dict]:
        """Return the state, for a checkpoint."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict]) -> None:
        """Go on from a state."""
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def _rows(weight: Tensor) -> Tensor:
    """A kernel (n, c, h, w) of channels last, as (n, h w c), a view; or a matrix as it is."""
    return (weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight).flatten(1)
