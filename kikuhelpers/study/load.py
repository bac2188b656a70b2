"""Read a study file, with values changed for one run, and say where its results go.

A study is a YAML file in ``studies/``. A study that differs from another in a few settings names
that one as ``based_on``, and these settings. A single value can be changed for one run by its
dotted name, for example ``{"training.batch_size": 128}``. The results of such a run go to a folder
of their own, so that they never stand in for the study's.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kikuhelpers.runs.errors import in_one_sentence
from kikuhelpers.study.models import WEIGHTS_ENDING
from kikuhelpers.study.study import Origin, Study, StudyError

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
STUDIES_FOLDER = PROJECT_ROOT / "studies"
ROOTS = {"results": "results", "figures": "figures", "archive": "data/archive", "data": "data"}
_WHAT_TO_DO = "write it like studies/quick.yaml, as UTF-8"
_MOST_VALUES = 10_000  # of a study file, aliases written out: else a short one fills the memory
_DIGEST_DIGITS = 8  # of the overrides, in the name of their results' folder


def load_study(study: str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Read and validate a study file.

    Parameters
    ----------
    study
        Name of a file in ``studies/`` without its ending, or a path to a YAML file.
    overrides
        Values to replace, by dotted name: ``{"models.vae-64.beta": 15}``. The study that comes
        back has another name, so that its results lie beside the original's.

    Raises
    ------
    StudyError
        In one sentence: there is no such file, the file is not YAML, a key is unknown, a value is
        of a wrong type or size, or a scan's file lies among the study's own results.

    Examples
    --------
    >>> load_study("smoke").model("vae-16").latent_dim
    16
    >>> load_study("smoke", {"models.vae-16.beta": 15}).model("vae-16").beta
    15.0
    """
    if not isinstance(overrides or {}, dict):
        raise StudyError(f"Overrides are values by dotted name, as {{'seed': 2}}, not {overrides}.")
    path = study_path(study).absolute()  # however it was given, it is the same study
    source = path.stem if path.resolve().parent == STUDIES_FOLDER else str(path)
    found = _validated(path, _content(path, {})).with_origin(Origin(source))
    if overrides:
        changed = _validated(path, _content(path, overrides))
        digest = hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()
        name = f"{found.name}-with-{digest[:_DIGEST_DIGITS]}"
        origin = Origin(source, found, overrides)
        found = changed.model_copy(update={"name": name}).with_origin(origin)
    _check_that_scans_lie_elsewhere(found)
    return found


def study_path(study: str | Path) -> Path:
    """Return the path of a study given by name or by path."""
    path = Path(study)
    if path.suffix not in {".yaml", ".yml"}:
        path = STUDIES_FOLDER / f"{study}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in STUDIES_FOLDER.glob("*.yaml")))
        raise StudyError(
            f"There is no study '{study}'; known are {known}, or give a path to a .yaml."
        )
    return path


def root_of(kind: str) -> Path:
    """Folder of all "results", "figures" (and tables), archived results ("archive") or "data".

    ``KIKUHELPERS_RESULTS`` names it, for example; else it lies in the project.
    """
    given = os.environ.get(f"KIKUHELPERS_{kind.upper()}")
    return Path(given or PROJECT_ROOT / ROOTS[kind]).resolve()


class _Loader(yaml.SafeLoader):
    """YAML of plain values; what it takes in silence, or without end, is an error here."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key, times in Counter(keys).items() if times > 1]:
            raise yaml.YAMLError(f"{', '.join(twice)} given twice, {str(node.start_mark).strip()}")
        return node

    def flatten_mapping(self, node):
        super().flatten_mapping(node)
        if len(node.value) > _MOST_VALUES:
            raise yaml.YAMLError("its merges (<<: *name) make too many values")


def _content(path: Path, overrides: dict[str, Any], may_be_based: bool = True) -> dict:
    """Return the content of a study file, with its name, its scans' paths and the overrides."""
    with in_one_sentence(StudyError, path.name, _WHAT_TO_DO):
        content = _Loader(path.read_text(encoding="utf-8")).get_single_data()
        content = _without_aliases(content, iter(range(_MOST_VALUES)))
    if not isinstance(content, dict):
        raise StudyError(
            f"{path.name} must be a list of 'key: value' lines; see studies/quick.yaml."
        )
    if "based_on" in content:
        if not may_be_based:
            raise StudyError(f"{path.name} is based on a study: no other can be based on it.")
        named = content.pop("based_on")
        if not isinstance(named, str):
            raise StudyError(f"{path.name}: based_on must be the name or path of one study.")
        named = path.parent / named if named.endswith((".yaml", ".yml")) else named
        base = _content(study_path(named).resolve(), {}, may_be_based=False)
        content = _merged(base | {"name": path.stem}, content)
    content.setdefault("name", path.stem)
    for key, value in overrides.items():
        _override(content, str(key), value)
    scans = [scan.get("data") for scan in _values(content, "scans") if isinstance(scan, dict)]
    with in_one_sentence(StudyError, path.name, _WHAT_TO_DO):
        for settings, key, ending in (
            *((data, "path", "") for data in scans),
            *((model, "weights", WEIGHTS_ENDING) for model in _values(content, "models")),
        ):
            given = settings.get(key) if isinstance(settings, dict) else None
            if isinstance(given, str) and given.endswith(ending):  # relative to the study file
                settings[key] = str(path.parent / Path(given).expanduser())
    return content


def _values(content: dict, part: str) -> list:
    return [*content[part].values()] if isinstance(content.get(part), dict) else []


def _merged(base: Any, own: Any) -> Any:
    """Lay settings over those of a base, part by part."""
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    return base | {key: _merged(base.get(key), value) for key, value in own.items()}


def _without_aliases(node: Any, left: Iterator) -> Any:
    """Copy what YAML's aliases (``*name``) share, so that a change touches one place only."""
    if next(left, None) is None:
        raise yaml.YAMLError("its aliases (*name) make too many values")
    if isinstance(node, dict):
        return {key: _without_aliases(value, left) for key, value in node.items()}
    return [_without_aliases(v, left) for v in node] if isinstance(node, list) else node


def _validated(path: Path, content: dict) -> Study:
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError(f"{path.name}: {one_sentence(error, content)}") from None


def _check_that_scans_lie_elsewhere(study: Study) -> None:
    """Refuse a scan that lies where the study writes: it would be written over."""
    folder = root_of("results") / (study.origin.study or study).name
    own = (folder, root_of("results") / study.name)
    for name, scan in study.scans.items():
        path = Path(getattr(scan.data, "path", "/"))
        if any(p.is_relative_to(f) for p in (path.absolute(), path.resolve()) for f in own):
            raise StudyError(
                f"Scan '{name}' names {path}, which lies in the study's own results folder "
                f"{folder} and would be written over: move that file elsewhere."
            )


def _override(content: dict, key: str, value: Any) -> None:
    # A model's name may hold dots, so the longest known key wins at each level.
    node, rest = content, key
    while "." in rest:
        heads = [k for k in node if rest.startswith(f"{k}.")] or [rest.split(".", 1)[0]]
        head = max(heads, key=len)
        node = node.setdefault(head, {})
        rest = rest[len(head) + 1 :]
        if not isinstance(node, dict):
            raise StudyError(f"Override '{key}': '{head}' holds a value, not settings.")
    node[rest] = value


def one_sentence(error: ValidationError, content: Any) -> str:
    """Name the first error's key as it stands in the file, without the kinds that were tried."""
    # A key that is unknown is often another one misspelt, which is then said to be missing.
    first, keys = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden"), []
    for part in first["loc"]:
        known = range(len(content)) if isinstance(content, list) else content
        if isinstance(content, dict | list) and part in known:
            content = content[part]
            keys.append(str(part))
    keys += [str(first["loc"][-1])] if first["type"] == "missing" else []
    where = repr(".".join(keys))[1:-1] or "the study"  # a key may hold line ends
    what = {
        "extra_forbidden": "is not a known setting",
        "missing": "is missing",
        "model_type": "must hold settings, each a line 'key: value'",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {what}{more}."
