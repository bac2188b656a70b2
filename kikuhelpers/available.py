"""Which models of a study have results: the tables and figures are made of these."""

from kikuhelpers.layout import Layout
from kikuhelpers.study import Study


def with_results(study: Study) -> tuple[Study, list[str]]:
    """Leave out the models that have no results, trained here or kept.

    Returns
    -------
    study : Study
        With the models whose card and orientations of every scan are there; unchanged if
        none is left, so that whoever needs the first missing file says so.
    left_out : list of str
        One sentence per model that was left out.
    """
    layout = Layout(study)

    def is_complete(name: str) -> bool:
        needed = [layout.model(name).card]
        needed += [layout.orientations(name, scan) for scan in study.scans]
        return all(path.is_file() for path in needed)

    models = {name: model for name, model in study.models.items() if is_complete(name)}
    if not models:
        return study, []
    left_out = [f"{name} has no results yet: left out." for name in study.models.keys() - models]
    return study.model_copy(update={"models": models}), sorted(left_out)
