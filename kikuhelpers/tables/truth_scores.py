"""In which maps does the truth appear? Latent features and physical maps scored against it.

All scores look inside the true crystals (a grain's matrix or one of its twins): each crystal
of each map is first brought to mean 0 and variance 1, so that grains alone score nothing.
"""

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from kikuhelpers.latents.features import (
    cell_feature,
    rank_correlation,
    spot_feature,
    standardised_in_grains,
    variance_between,
)
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import roles
from kikuhelpers.study.specimen import PHASES

_PHYSICAL = {"pq": "IQ", "kam_deg": "KAM", "grod_deg": "GROD", "sharpness": "sharpness"}


def _scores(maps: np.ndarray, view: View) -> pd.DataFrame:
    """Scores of maps (rows, columns, D) against the truth of their scan or region, D rows.

    Points without a value (NaN) count as the median. A score is NaN where the specimen lacks
    what it is of: crystals of several domains, or particles.
    """
    maps = np.where(np.isfinite(maps), maps, np.nanmedian(maps, axis=(0, 1)))
    truth = {name: view.truth(name) for name in ("grain", "twin", "domain", "density", "phase")}
    matrix = (truth["phase"] == PHASES.index("Ni")).ravel()
    pairs = np.stack([truth["grain"], truth["twin"]], axis=-1).reshape(-1, 2)
    crystals = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(view.shape)
    inside = np.where(matrix.reshape(view.shape), crystals, -1)
    standard = standardised_in_grains(maps, inside).reshape(len(matrix), -1)[matrix]
    density = standardised_in_grains(np.log(truth["density"])[..., None], inside).ravel()
    domains = truth["domain"].ravel()[matrix]
    divided = len(np.unique(domains)) > len(np.unique(crystals.ravel()[matrix]))
    between = variance_between(standard, domains)
    return pd.DataFrame(
        {
            "density": rank_correlation(standard, density[matrix]),
            "domains": between if divided else np.nan,
            "particles": _stands_out(maps, crystals, ~matrix),
        }
    )


def _stands_out(maps: np.ndarray, crystals: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of the distance to the crystal's mean, (D,)."""
    if marked.all() or not marked.any():
        return np.full(maps.shape[-1], np.nan)
    away = np.abs(standardised_in_grains(maps, crystals)).reshape(len(marked), -1)
    wins = mannwhitneyu(away[marked], away[~marked], method="asymptotic").statistic
    return wins / (marked.sum() * (~marked).sum())


def truth_score_table(results: Results) -> pd.DataFrame:
    """Score the physical maps and the VAEs' features of the virtual scans that figures show.

    Returns
    -------
    pandas.DataFrame
        ``scan`` and ``map``. ``density``: absolute rank correlation with the dislocation density
        (cell walls, scratches). ``domains``: share of the variance that lies between the rotation
        domains, 0 to 1. ``particles``: probability that a particle's point stands out further
        from its crystal's mean than a matrix point, 0.5 for chance. A VAE has two rows: the
        features that the figures choose without the truth (of most structure inside the
        grains for density and domains, of highest kurtosis for particles), and for each score
        the best of all its features, which the truth alone can tell. Empty where figures show
        no virtual scan.
    """
    rows, study = [], results.study
    shown = [roles.scan_of(study, "wrought"), roles.scan_of(study, "am"), roles.fine_scan(study)]
    for scan in (name for name in shown if name and study.is_virtual(name)):
        view = View.whole(results, scan)
        physical = np.stack([view.property_map(name) for name in _PHYSICAL], axis=-1)
        scores = _scores(physical, view)
        rows.append(scores.assign(scan=scan, map=list(_PHYSICAL.values())))
        for model in roles.vaes(study):
            active = np.flatnonzero(view.features(model)["active"])
            if not len(active):
                continue
            scores = _scores(np.array(view.latents(model)[..., active]), view)
            scores.index = active
            blind = scores.loc[cell_feature(view, model).index].copy()
            blind["particles"] = scores.loc[spot_feature(view, model).index, "particles"]
            both = pd.DataFrame([blind, scores.max()])
            kinds = [f"{model}, chosen blind", f"{model}, best of all"]
            rows.append(both.assign(scan=scan, map=kinds))
    columns = ["scan", "map", "density", "domains", "particles"]
    return pd.concat(rows)[columns] if rows else pd.DataFrame()
