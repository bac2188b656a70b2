"""What models leave of the patterns: beside the camera's noise, a PCA and linear theory.

Linear theory says what a VAE could do without its layers. The optimal linear beta-VAE with
unit noise variance keeps the principal components of variance lambda > beta (Lucas et al.
2019, 1911.02469). A kept one has a posterior variance of beta / lambda, costs
ln(lambda / beta) / 2 nats, and leaves beta / 2 of the half sum of squares if latents are drawn,
as in training, or beta^2 / (2 lambda) if they are means, as in decoded maps. A dropped one
leaves lambda / 2.
"""

import math

import numpy as np
import pandas as pd

from kikuhelpers.baselines.methods import load_spectrum
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PREPROCESSED


def residual_table(results: Results) -> pd.DataFrame:
    """Return what each model leaves of each scan, beside the noise of the camera's patterns.

    Returns
    -------
    pandas.DataFrame
        One row per model and scan: ``residual_rms`` of the decoded patterns and
        ``noise_rms``, the median level of the preprocessed ones
        (:func:`~kikuhelpers.indexing.quality.noise_level`), both on the scale of [-1, 1], and the
        numbers of :func:`~kikuhelpers.latents.coding.camera_residual`.
    """
    rows = []
    for scan in results.study.decoded_scans:
        pixels = results.scan(scan).mask.sum()
        noise = float(np.nanmedian(results.orientations(PREPROCESSED, scan).prop["noise"]))
        for model in results.study.models:
            loss = np.nanmean(results.model_scan(model, scan).pattern_loss)
            rms = float(np.sqrt(2 * loss / pixels))
            row = {"model": model, "scan": scan, "residual_rms": rms, "noise_rms": noise}
            rows.append(row | results.model_scan(model, scan).residual)
    return pd.DataFrame(rows)


def _linear_vae(
    eigenvalues: np.ndarray, total: float, beta: float, latent_dim: int
) -> dict[str, float]:
    """Optimum of a linear beta-VAE with unit noise variance; means over the patterns.

    ``eigenvalues`` (K,) are the variances of the principal components, largest first, at least
    as many as ``latent_dim`` or as the patterns have; ``total`` is that of all pixels together.
    """
    used = eigenvalues[:latent_dim]
    kept = used[used > beta]
    dropped = total - kept.sum()
    kl = 0.5 * np.log(kept / beta).sum() if beta else math.inf
    return {
        "linear_kept": len(kept),  # latent dimensions that do not collapse
        "linear_reconstruction": 0.5 * float(dropped + beta * len(kept)),  # latents drawn
        "linear_residual": 0.5 * float(dropped + (beta**2 / kept).sum()),  # from latent means
        "linear_kl": float(kl),  # nats
    }


def linear_table(results: Results) -> pd.DataFrame:
    """Return each VAE beside a PCA and the optimal linear VAE (contrastive ones have another aim).

    Residuals are half the sum of squares that is left of a pattern, of all points and decoded from
    latent means. The PCA, a baseline of the study, has as many components as active or as latent
    dimensions; the winner leaves less with as many active ones.
    """
    study, spectrum, rows = results.study, load_spectrum(results), []
    for name, model in study.models.items():
        last = results.model(name).card["last"]
        if model.loss != "vae" or last["active_units"] is None:  # trained elsewhere, not known how
            continue
        active = round(last["active_units"])
        scans = [results.model_scan(name, scan) for scan in study.decoded_scans]
        left = np.nanmean(np.concatenate([scan.pattern_loss.ravel() for scan in scans]))
        of_pca = spectrum.residual(active)
        row = {
            "model": name,
            "latent_dim": model.latent_dim,
            "beta": model.beta,
            "active_units": active,
            "reconstruction": last["reconstruction"],  # in training, of drawn latents, as is kl
            "residual_mean": left,
            "kl": last["kl"],
            "pca_residual_active": of_pca,
            "pca_residual_latent": spectrum.residual(model.latent_dim),
            **_linear_vae(spectrum.eigenvalues, spectrum.total, model.beta, model.latent_dim),
            "winner": "VAE" if left < of_pca else "PCA",
        }
        rows.append(row)
    return pd.DataFrame(rows)
