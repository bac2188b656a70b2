"""Whether a kept result was made with a study's present settings.

Each run leaves a record that holds the whole study as it was then. Compared is what the
Snakefile compares (its rules' ``settings``), along the way from the scan to the result.
"""

import json
from pathlib import PurePath

from pydantic import ValidationError

from kikuhelpers.study.study import Study
from kikuhelpers.study.values import Settings


def same_settings(
    study: Study, record: dict | None, model: str | None, scan: str | None, indexed: bool
) -> bool:
    """Tell whether a run had the settings that its results would have now.

    Parameters
    ----------
    study
        With the present settings.
    record
        Of the run; None, as of a result whose maker is not known, is never the same.
    model, scan
        Of the result. Without a model it comes from the scan alone, without a scan from the
        training.
    indexed
        It depends on the settings of the indexing.
    """
    if record is None:
        return False
    try:
        then = Study.model_validate(record["study"])
    except ValidationError:  # of a version with other settings
        return False
    now, before = (_settings(s, model, scan, indexed) for s in (study, then))
    return now is not None and now == before


def decoders(study: Study) -> dict[str, Settings]:
    """Return all that decode maps of patterns, with their settings, by name."""
    return study.models | study.baselines


def without_folders(scan: dict) -> dict:
    """Return a scan's settings with the bare name of its file, the same on every machine."""
    return scan | {"path": PurePath(scan["path"]).name} if "path" in scan else scan


def _settings(study: Study, model: str | None, scan: str | None, indexed: bool) -> str | None:
    """All settings behind a result; None if the study lacks its model or its scan."""
    parts: list = [study.preprocessing.model_dump(), study.seed]
    if indexed:
        parts.append(study.indexing.model_dump())
    if scan is not None:
        if scan not in study.scans:
            return None
        parts += _scan(study, scan)
    if model is not None:
        if model not in decoders(study):
            return None
        parts.append(decoders(study)[model].model_dump(exclude={"training"}))
        if model in study.models:
            parts.append(study.training_of(model).model_dump())
        for name, source in study.scans.items():
            parts += _scan(study, name) if source.training_patterns else []
    return json.dumps(parts, sort_keys=True)


def _scan(study: Study, name: str) -> list[dict]:
    """A scan's settings, and those of the scan whose background it takes."""
    other = study.scan(name).background_of
    names = [name, other] if other else [name]
    return [without_folders(study.scan(n).model_dump()) for n in names]
