"""What claims are measured on: the results of a study, each opened once, and draws of units.

Intervals are 95 % ones of a cluster bootstrap: whole units (lattices, grains, blocks of a map) are
drawn, for a measure and its baseline alike. Of fewer than five units there are none. What draws
push aside (a largest of several, say) is inside its interval all the same.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles
from kikuhelpers.tables.scores import FEWEST_CLUSTERS, interval

DRAWS = 400


class Untestable(Exception):
    """What a study lacks for a claim."""


class Found(NamedTuple):
    """What a measure found, with its 95 % interval, and what its baseline did; NaN for unknown."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    baseline: float = np.nan
    lead_low: float = np.nan  # of the value less the baseline
    lead_high: float = np.nan
    units: str = ""  # that were drawn
    scans: tuple[str, ...] = ()


def drawn(count: int) -> np.ndarray:
    """How often each of some units is drawn, (1 + DRAWS, count); first each once."""
    if not count:
        raise Untestable("what could be drawn: grains, lattices, lines")
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    return np.concatenate([np.ones((1, count), int), times]).astype(float)


def halves(count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights (1, count) of the units that choose; draws of every second one, and their number."""
    judges = np.flatnonzero(np.arange(count) % 2)
    times = np.zeros((1 + DRAWS, count))
    times[:, judges] = drawn(len(judges))
    return (np.arange(count)[np.newaxis] % 2 == 0) * 1.0, times, len(judges)


def found(values, others, count: int, units: str, scans=()) -> Found:
    """Found of a measure and its baseline in all draws (1 + DRAWS,) of so many units."""
    values, others = (np.broadcast_to(np.asarray(v, float), 1 + DRAWS) for v in (values, others))
    enough = 0 if count >= FEWEST_CLUSTERS else np.nan
    ends = []
    for part in (values, values - others):
        some = (np.nan,) * 2 if np.isnan(part[1:] + enough).all() else interval(part[1:])
        ends.append((min(some[0], part[0]), max(some[1], part[0])) if some[0] <= some[1] else some)
    return Found(values[0], *ends[0], others[0], *ends[1], f"{count} {units}", tuple(scans))


class Evidence:
    """The results of a study as measures read them."""

    def __init__(self, results: Results):
        self.results, self.study = results.complete(), results.study
        figures = results.layout.figures
        self.table = cache(lambda name: self.results.open(figures / f"{name}.csv"))

    def view(self, role: str, fine: bool = False) -> View:
        """The first scan of a role, or the AM scan of a finer step."""
        scan = roles.fine_scan(self.study) if fine else roles.scan_of(self.study, role)
        if scan is None:
            raise Untestable(f"a map of {role}{' at a finer step' * fine}")
        return View.whole(self.results, scan)

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
        named |= {"d256": [v for v in vaes if width(v) == 256]}
        if not named[name]:
            raise Untestable(f"a model that is '{name.replace('_', ' ')}'")
        (model, *_) = named[name]
        if name == "beta_high" and self.results.model(model).card["last"]["active_units"] < 1:
            raise Untestable(f"a training of {model} that leaves an active feature")
        return model

    def pca_like(self, model: str) -> str | None:
        """The PCA of as many components as a model has dimensions."""
        wanted, methods = ("pca", self.study.model(model).latent_dim), self.study.baselines.items()
        alike = [n for n, b in methods if (b.method, getattr(b, "components", None)) == wanted]
        return alike[0] if alike else None
