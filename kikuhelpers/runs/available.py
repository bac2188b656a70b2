"""Which models and baselines of a study have results: tables and figures are made of these."""

from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study


def with_results(study: Study) -> tuple[Study, list[str]]:
    """Leave out the models and baselines that have no results, made here or kept.

    Returns
    -------
    study : Study
        With those whose orientations and losses of every scan, and a model's card, are
        there; unchanged if no model is left, so that whoever needs the first missing file
        says so.
    left_out : list of str
        One sentence for each that was left out.
    """
    layout = Layout(study)

    def is_complete(name: str) -> bool:
        needed = [layout.model(name).card] if name in study.models else []
        for files in (layout.model_scan(name, scan) for scan in study.decoded_scans):
            needed += [files.orientations, files.pattern_loss]
        return all(path.is_file() for path in needed)

    parts = {"models": study.models, "baselines": study.baselines}
    there = {
        part: {name: settings for name, settings in named.items() if is_complete(name)}
        for part, named in parts.items()
    }
    if not there["models"]:
        return study, []
    gone = [name for part, named in parts.items() for name in named if name not in there[part]]
    return study.model_copy(update=there), [f"{n} has no results yet: left out." for n in gone]
