"""Which scan and which models play which part in the paper's figures."""

from collections import Counter

from kikuhelpers.study.specimen import EFFECTS
from kikuhelpers.study.study import Study


def scan_of(study: Study, alloy: str) -> str | None:
    """Return the first mapped scan of an alloy, "wrought" ("other" counts as such) or "am"."""
    kinds = {"am"} if alloy == "am" else {"wrought", "other"}
    return next((n for n in study.mapped_scans if study.scan(n).figures.role in kinds), None)


def decoded_scan(study: Study) -> str:
    """Return the first wrought scan whose patterns are decoded; without any, another one."""
    return min(study.decoded_scans, key=lambda name: study.scan(name).figures.role == "am")


def fine_scan(study: Study) -> str | None:
    """Return the AM scan of the smallest step, if finer than the first and all steps are stated."""
    scans = {name: study.scan(name) for name in study.mapped_scans}
    steps = {n: scan.data.step_um for n, scan in scans.items() if scan.figures.role == "am"}
    if not all(steps.values()):
        return None  # a step stands in a file, which is not read here
    finest = min(steps, key=steps.get, default=None)  # of equal steps the first scan
    return finest if finest != scan_of(study, "am") else None


def mapped_in_figures(study: Study) -> set[str]:
    """Return the scans whose latent features the figures map."""
    figures = study.figures
    boxes = [*figures.regions.values(), *([figures.path_4c] if figures.path_4c else [])]
    scans = {scan_of(study, "wrought"), scan_of(study, "am"), fine_scan(study)}
    return (scans | {decoded_scan(study)} | {box.scan for box in boxes}) - {None}


def scored_scans(study: Study) -> list[str]:
    """Return the virtual scans of which latent maps are made: their truth is known."""
    return [name for name in study.virtual_scans if name in study.mapped_scans and study.models]


def scored_effects(study: Study) -> list[str]:
    """Return what these scans can be searched for, see ``EFFECTS`` of the specimens."""
    scans = [study.scan(name).data.specimen.effects for name in scored_scans(study)]
    return [effect for effect in EFFECTS if any(effect in effects for effects in scans)]


def vaes(study: Study) -> list[str]:
    """Return the conventional VAEs (beta = 1), one per latent dimension, smallest first."""
    by_dimension = {}
    for name, model in study.models.items():
        if model.loss == "vae" and model.beta == 1:
            by_dimension.setdefault(model.latent_dim, name)
    return [by_dimension[dimension] for dimension in sorted(by_dimension)]


def largest_vae(study: Study) -> str:
    """Return the conventional VAE of most dimensions; without any, the largest model."""
    names = vaes(study) or sorted(study.models, key=lambda name: study.model(name).latent_dim)
    return names[-1]


def beta_series(study: Study) -> list[str]:
    """Return beta-VAEs of one dimension, lowest beta first, led by their conventional VAE.

    Where beta-VAEs of several dimensions were trained, the dimension of most of them is
    taken. Without any, the list holds the largest conventional VAE alone.
    """
    others = [n for n, model in study.models.items() if model.loss == "vae" and model.beta != 1]
    if not others:
        return [largest_vae(study)]
    dimension = Counter(study.model(name).latent_dim for name in others).most_common(1)[0][0]
    series = [name for name in [*vaes(study), *others] if study.model(name).latent_dim == dimension]
    return sorted(series, key=lambda name: study.model(name).beta)


def contrastive_models(study: Study) -> list[str]:
    """Return the models trained with the contrastive loss."""
    return [name for name, model in study.models.items() if model.loss == "contrastive"]
