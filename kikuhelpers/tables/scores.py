"""How much of a truth a map shows: scores, intervals over grains, and what chance would give.

A target marks points (cell walls, say) and names others as plain; points between do not count.
Intervals resample whole clusters (grains), the same for every map, so that differences of two maps
are paired. The null shifts the truth around the edges of the map: both keep their texture and lose
their link. The areas are scikit-learn's, of many sets of weights at a time: one by one takes a
hundred times as long.
"""

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from kikuhelpers.latents.features import standardised_in_grains

MARGIN = 0.05  # of the main score, by which a map must be better; stated before any score
RESAMPLED, SHIFTED = 200, 100  # resampled sets of clusters; shifts of the null
STEPS = 400  # of a map's values: areas under ROC curves are then right to 0.002
INTERVAL, NULL = (0.025, 0.975), 0.95  # quantiles
FEWEST_CLUSTERS, BLOCKS = 5, 4  # a map of fewer grains is cut into 4 x 4 blocks instead
BLOCK_POINTS = 30  # side from which on blocks are folds: smaller ones know their neighbours
FOLDS, ALPHAS = 3, np.logspace(-1, 5, 7)  # of grouped cross-validation; penalties of the ridge
TREES = {"max_iter": 20, "max_leaf_nodes": 8, "early_stopping": False, "random_state": 0}


# A score, the same of resampled clusters (RESAMPLED,), and the 95 % quantile of the null.
Score = namedtuple("Score", ("value", "resampled", "null_95"))


@dataclass(frozen=True)
class Target:
    """What to look for on a map; arrays are (rows, columns)."""

    name: str
    crystals: np.ndarray  # labels of what a map is standardised in; -1: does not count
    grains: np.ndarray  # labels that intervals and folds keep whole
    marked: np.ndarray  # bool: here it is
    plain: np.ndarray  # bool: here it is not
    amount: np.ndarray  # float: how much of it, for rank correlations and probes
    strength: np.ndarray  # float: how strong where it is, in the words of `unit`
    unit: str = ""
    domains: np.ndarray | None = None  # labels, where these are the target
    local: bool = False  # stands out from its surroundings, in whichever direction

    @property
    def clusters(self) -> np.ndarray:
        """Labels of what is resampled as a whole: grains, or blocks where they are too few."""
        if len(np.unique(self.grains[self.crystals >= 0])) >= FEWEST_CLUSTERS:
            return self.grains
        rows, columns = (np.arange(n) * BLOCKS // n for n in self.grains.shape)
        return BLOCKS * rows[:, None] + columns

    @property
    def has_folds(self) -> bool:
        """Whether a probe can be tried on clusters that it has not seen."""
        large = self.clusters is self.grains or min(self.grains.shape) >= BLOCKS * BLOCK_POINTS
        return large and len(np.unique(self.clusters[self.crystals >= 0])) > 1


class Judge:
    """Scores maps against a target, each with the same resampled clusters and shifts."""

    def __init__(self, target: Target):
        rng, shape = np.random.default_rng(0), target.crystals.shape
        self.target, self._inside = target, target.crystals >= 0
        names, cluster = np.unique(target.clusters[self._inside], return_inverse=True)
        count = len(names)
        drawn = rng.multinomial(count, np.full(count, 1 / count), RESAMPLED)
        once = np.ones((1, count), int)  # the first set is the sample itself
        self._weights = np.concatenate([once, drawn]).astype(np.float32)[:, cluster].T.copy()
        self._shifts = np.stack([rng.integers(0, n, SHIFTED) for n in shape], axis=1)
        marked, plain = self._moved(target.marked), self._moved(target.plain)
        # Sets of weights of the points: resampled, then shifted.
        self._sets = [np.hstack([w[:, :1] * self._weights, w[:, 1:]]) for w in (marked, plain)]
        amount = standardised_in_grains(target.amount, target.crystals)
        ranks = self._moved(rankdata(amount).reshape(shape))
        self._ranks = (ranks - ranks.mean(axis=0)) / np.maximum(ranks.std(axis=0), 1e-9)
        self._domains = None
        if target.domains is not None:
            crystals, moved = target.crystals[self._inside], self._moved(target.domains)
            self._domains = np.stack([labels_in(crystals, some) for some in moved.T], axis=1)

    def oriented(self, values: np.ndarray) -> np.ndarray:
        """A map (rows, columns), its sign turned so that it is high where points are marked."""
        auc, _ = areas(values[self._inside], *(weights[:, :1] for weights in self._sets))
        return values if auc[0] > 0.5 else -values

    def scores(self, values: np.ndarray) -> dict[str, Score]:
        """Score a map (rows, columns) that is standardised and oriented.

        AUC and average precision of marked against plain points, and the absolute rank
        correlation with the amount. Of domains the AUC of each against the others of its crystal,
        and the share of the variance that lies between them.
        """
        values = values[self._inside]
        if self._domains is not None:
            apart = domain_areas(values, self.target.crystals[self._inside], self._domains)
            found = apart[:, 0] @ self._weights / self._weights.sum(axis=0)
            auc = _score(found, apart[:, 1:].mean(axis=0))
            return {"AUC": auc, "variance between": self._between(values)}
        (auc, chance), (precision, precise) = (
            np.split(area, [1 + RESAMPLED]) for area in areas(values, *self._sets)
        )
        return {
            "AUC": _score(auc, np.maximum(chance, 1 - chance)),
            "average precision": _score(precision, precise),
            "rank correlation": self._correlation(values),
        }

    def _between(self, values: np.ndarray) -> Score:
        means = []
        for labels in self._domains.T:
            means.append((np.bincount(labels, values) / np.bincount(labels))[labels])
        total = values**2 @ self._weights
        shares = (np.array(means) ** 2).sum(axis=1) / total[0]
        return _score(1 - (values - means[0]) ** 2 @ self._weights / total, shares[1:])

    def _correlation(self, values: np.ndarray) -> Score:
        ranks, truth = rankdata(values).astype(np.float32), self._ranks[:, 0]
        ranks = (ranks - ranks.mean()) / max(ranks.std(), 1e-9)
        pairs = np.stack([ranks, truth, ranks * truth, ranks**2, truth**2])
        x, y, xy, xx, yy = pairs @ self._weights / self._weights.sum(axis=0)
        resampled = (xy - x * y) / np.sqrt(np.maximum((xx - x**2) * (yy - y**2), 1e-12))
        moved = ranks @ self._ranks[:, 1:] / len(ranks)
        return _score(np.sign(resampled[0]) * resampled, np.abs(moved))

    def _moved(self, truth: np.ndarray) -> np.ndarray:
        """The truth at the points that count, (n, 1 + SHIFTED): as it is, then shifted."""
        moved = [np.roll(truth, shift, (0, 1)) for shift in ((0, 0), *self._shifts)]
        return np.stack([one[self._inside] for one in moved], axis=1).astype(np.float32)


def _score(found: np.ndarray, chance: np.ndarray) -> Score:
    return Score(float(found[0]), found[1:], float(np.nanquantile(chance, NULL)))


def areas(values: np.ndarray, marked: np.ndarray, plain: np.ndarray) -> tuple:
    """Areas (sets,) under the ROC and the precision-recall curve of values (n,).

    ``marked`` and ``plain`` (n, sets) are sets of weights of the points as marked ones and as plain
    ones. High values stand for marked points; those of one step are ties.
    """
    count = len(values)
    # Steps that widen downwards: what ranks highest decides the precision. Equal values share one.
    places = (np.sqrt((rankdata(-values) - 1) / count) * STEPS).astype(int)
    step = csr_array((np.ones(count, np.float32), (places, np.arange(count))))
    hits, misses = step @ marked, step @ plain  # in each step, the highest values first
    above, beside = hits.cumsum(axis=0), misses.cumsum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # sets without marked points
        hits /= above[-1]
        precision = np.nan_to_num(above / (above + beside))
        auc = 1 - (hits * (beside - misses / 2) / beside[-1]).sum(axis=0, dtype=float)
        return auc, (hits * precision).sum(axis=0, dtype=float)


def labels_in(crystals: np.ndarray, domains: np.ndarray) -> np.ndarray:
    """Number the parts (n,) of domains (n,) that lie in crystals (n,), from 0."""
    return np.unique(crystals * (domains.max() + 1) + domains, return_inverse=True)[1]


def domain_areas(values: np.ndarray, crystals: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area (n, sets) under the ROC curve of each value's domain against the rest of its crystal.

    Values and crystals are (n,), ``labels`` (n, sets) those of :func:`labels_in`. Whichever side is
    high: 0.5 is chance, and what a crystal's only domain has.
    """
    ranks, size = np.empty(len(values)), np.empty(len(values))
    for crystal in np.unique(crystals):
        here = crystals == crystal
        ranks[here], size[here] = rankdata(values[here]), here.sum()
    found = np.full(labels.shape, 0.5)
    for area, label in zip(found.T, labels.T, strict=True):
        count = np.bincount(label)[label]
        wins = np.bincount(label, ranks)[label] - count * (count + 1) / 2
        pairs = count * (size - count)
        np.divide(wins, pairs, out=area, where=pairs > 0)
    return 0.5 + np.abs(found - 0.5)


def single_scores(maps: np.ndarray, target: Target) -> np.ndarray:
    """The AUC (D,) of each of some standardised maps (rows, columns, D), whatever its sign."""
    if target.domains is not None:
        inside = target.crystals >= 0
        crystals = target.crystals[inside]
        labels = labels_in(crystals, target.domains[inside])[:, None]
        return np.array([domain_areas(one, crystals, labels).mean() for one in maps[inside].T])
    known = (target.marked | target.plain) & (target.crystals >= 0)
    marked, ranks = target.marked[known], rankdata(maps[known], axis=0)
    apart = ranks[marked].mean(axis=0) - ranks[~marked].mean(axis=0)
    return 0.5 + np.abs(apart) / len(ranks)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Ends of the 95 % interval of resampled values."""
    return tuple(float(end) for end in np.nanquantile(resampled, INTERVAL))


def verdict(difference: float, low: float, high: float) -> str:
    """Whether a map "reveals" more than the best physical one, is "equal" or "worse", or "unclear".

    The interval must lie on one side of 0, or for "equal" not reach beyond MARGIN on both.
    """
    if abs(difference) <= MARGIN:
        return "unclear" if low < -MARGIN and high > MARGIN else "equal"
    if low <= 0 <= high:
        return "unclear"
    return "reveals" if difference > 0 else "worse"


def probe(
    maps: np.ndarray, target: Target, others: Sequence[tuple] = (), trees: bool = False
) -> np.ndarray:
    """Predict the target's amount from maps (rows, columns, D) by ridge regression or trees.

    Fitted to ``others``, maps and targets of other scans; without any each cluster is predicted
    from the others of this scan. Returns a map (rows, columns), NaN beside the crystals.
    """
    inside = target.crystals >= 0
    model = HistGradientBoostingRegressor(**TREES) if trees else RidgeCV(ALPHAS)
    found = np.full(target.crystals.shape, np.nan)
    seen = others or [(maps, target)]
    known = np.concatenate([m[t.crystals >= 0] for m, t in seen])
    amount = [standardised_in_grains(t.amount, t.crystals)[t.crystals >= 0] for _, t in seen]
    amount = np.concatenate(amount)
    with threadpool_limits(1):  # threads that wait for each other make small fits much slower
        if others:
            found[inside] = model.fit(known, amount).predict(maps[inside])
        else:
            groups = target.clusters[inside]
            folds = GroupKFold(min(FOLDS, len(np.unique(groups))))
            found[inside] = cross_val_predict(model, known, amount, groups=groups, cv=folds)
    return standardised_in_grains(found, target.crystals)
