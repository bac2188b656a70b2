"""The history of a training: loss terms summed on the device, one line per so many steps."""

import pandas as pd
import torch
from torch import Tensor

from kikuhelpers.runs.files import written_aside
from kikuhelpers.study.layout import ModelFiles

MEANS = (
    "loss",
    "reconstruction",
    "kl",
    "contrastive",
    "active_units",
    "gradient_norm",
    "learning_rate",
)
_NEVER = torch.iinfo(torch.int64).max


class History:
    """Lines of the history so far, and the terms of the steps since the last line.

    The terms stay on the device, in float32, so that no step waits for a number: the only
    wait is at a line (and at a checkpoint).
    """

    def __init__(self, latent_dim: int, where: torch.device):
        self.lines: list[dict] = []
        self.kl_lines: list[dict] = []  # KL divergence of each latent dimension, in nats
        self._window = {
            "means": torch.empty(len(MEANS), device=where),
            "kl": torch.empty(latent_dim, device=where),
            "best": torch.empty((), device=where),
            "worst": torch.empty((), device=where),
            "steps": torch.empty((), dtype=torch.int64, device=where),
            "fault": torch.full((), _NEVER, device=where),
        }
        self._start_line()

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Add the terms of one step: those in ``MEANS``, ``kl_dimensions`` and extremes."""
        window = self._window
        means = torch.stack([terms[name].detach().float() for name in MEANS])
        window["means"] += means
        window["kl"] += terms["kl_dimensions"].detach()
        window["best"] = torch.minimum(window["best"], terms["best"].detach())
        window["worst"] = torch.maximum(window["worst"], terms["worst"].detach())
        window["steps"] += 1
        fault = torch.where(means.isfinite().all(), _NEVER, step)
        window["fault"] = torch.minimum(window["fault"], fault)

    def fault(self) -> int | None:
        """Return the first step with a term that is not finite, or None."""
        step = int(self._window["fault"])
        return None if step == _NEVER else step

    def close_line(self, line: dict) -> dict:
        """Close a line: ``line`` and the means since the last one; start the next."""
        window, line = self._window, dict(line)
        seconds = line.pop("seconds")
        steps = window["steps"]
        values = [window["means"] / steps, window["best"].view(1), window["worst"].view(1)]
        values = torch.cat([*values, window["kl"] / steps]).tolist()
        line |= dict(zip((*MEANS, "best", "worst"), values, strict=False))
        self.lines.append(line | {"seconds": seconds})
        kl = {f"kl_{i}": value for i, value in enumerate(values[len(MEANS) + 2 :], start=1)}
        self.kl_lines.append({"step": line["step"]} | kl)
        self._start_line()
        return self.lines[-1]

    def _start_line(self) -> None:
        for name in ("means", "kl", "steps"):
            self._window[name].zero_()
        self._window["best"].fill_(torch.inf)
        self._window["worst"].fill_(-torch.inf)

    def state(self) -> tuple[dict, dict[str, Tensor]]:
        """Return (lines, tensors) to keep in a checkpoint."""
        return {"lines": self.lines, "kl_lines": self.kl_lines}, self._window

    def restore(self, state: dict, tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` returned."""
        self.lines, self.kl_lines = state["lines"], state["kl_lines"]
        for name, value in self._window.items():
            value.copy_(tensors[name])

    def table(self) -> pd.DataFrame:
        """Return the history, one row per line."""
        return pd.DataFrame(self.lines)

    def write(self, files: ModelFiles) -> None:
        """Write both tables as CSV."""
        for path, lines in ((files.history, self.lines), (files.kl, self.kl_lines)):
            with written_aside(path) as temporary:
                pd.DataFrame(lines).to_csv(temporary, index=False)
