"""What claims are measured on: the results of a study, each opened once, and draws of units.

Intervals are 95 % ones of a cluster bootstrap: whole units (lattices, grains, blocks of a map) are
drawn, for a measure and its baseline alike. Of fewer than five units there are none. They do not
hold another training or, of one scan, another specimen.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles
from kikuhelpers.tables.scores import FEWEST_CLUSTERS, interval

DRAWS = 400
_NONE = (np.nan, np.nan)


class Untestable(Exception):
    """Why a claim cannot be tested on a study."""


@dataclass(frozen=True)
class Found:
    """What a measure found, and what its baseline did; NaN where there is no such number."""

    value: float
    ends: tuple[float, float]  # 95 % interval
    baseline: float = np.nan
    lead_ends: tuple[float, float] = _NONE  # of the value less the baseline
    units: str = "counted"
    scans: tuple[str, ...] = ()


def drawn(count: int) -> np.ndarray:
    """How often each of some units is drawn, (1 + DRAWS, count); first each once."""
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    return np.concatenate([np.ones((1, count), int), times]).astype(float)


def found(values, others, count: int, units: str, scans=()) -> Found:
    """Found of a measure and its baseline in all draws (1 + DRAWS,) of so many units."""
    values, others = (np.broadcast_to(np.asarray(v, float), 1 + DRAWS) for v in (values, others))
    ends, lead_ends = (
        _NONE if count < FEWEST_CLUSTERS or np.isnan(v).all() else interval(v[1:])
        for v in (values, values - others)
    )
    return Found(values[0], ends, others[0], lead_ends, f"{count} {units}", tuple(scans))


class Evidence:
    """The results of a study as measures read them."""

    def __init__(self, results: Results):
        self.results, self.study = results.complete(), results.study
        self.table = cache(self._table)

    def _table(self, name: str) -> pd.DataFrame:
        """A table among the figures, by its name without ending."""
        return self.results.open(self.results.layout.figures / f"{name}.csv")

    def is_of(self, scan: str, role: str, fine: bool | None) -> bool:
        """Whether a scan has a role ("": any) and, if asked, a finer step than the role's first."""
        own = self.study.scan(scan).figures.role
        first = roles.scan_of(self.study, own)
        finer = self.results.step_um(scan) < self.results.step_um(first)
        return role in ("", own) and fine in (None, finer)

    def model(self, name: str) -> str:
        """A model by the part that it plays in the ledger."""
        study, vaes, betas = self.study, roles.vaes(self.study), roles.beta_series(self.study)
        special, width = roles.contrastive_models(study)[:1], lambda m: study.model(m).latent_dim
        named = {"largest": vaes[-1:], "second": vaes[-2:-1], "smallest": vaes[: len(vaes) - 1][:1]}
        named |= {"beta_one": betas[:1], "beta_low": betas[1:2], "beta_high": betas[2:][-1:]}
        named |= {"contrastive": special, "d16": [v for v in vaes if width(v) == 16]}
        named |= {"alike": [v for v in vaes if special and width(v) == width(special[0])]}
        named |= {"d64": [v for v in vaes if width(v) >= 64]}
        if not named[name]:
            raise Untestable(f"the study has no model that is '{name}'")
        return named[name][0]

    def pca_like(self, model: str) -> str | None:
        """The PCA of as many components as a model has dimensions."""
        wanted, methods = ("pca", self.study.model(model).latent_dim), self.study.baselines.items()
        alike = [n for n, b in methods if (b.method, getattr(b, "components", None)) == wanted]
        return alike[0] if alike else None
