"""The records of a study's runs in one file: what they share stands in it once."""

from kikuhelpers.runs.files import load_json, save_json
from kikuhelpers.runs.kept.agreement import without_folders
from kikuhelpers.study.layout import Layout

_OFTEN_ALIKE = ("study", "versions", "hardware")  # in many records, each of many lines


def keep_runs(layout: Layout) -> int:
    """Keep the records of all runs, each in place of an older one; return how many."""
    records = load_runs(layout)
    for path in sorted(layout.runs.glob("*.json")):
        records[path.stem] = _without_folders(load_json(path))
    shared: dict[str, list] = {key: [] for key in _OFTEN_ALIKE}
    short = {}
    for name, record in sorted(records.items()):
        short[name] = dict(record)
        for key, values in shared.items():
            if record[key] not in values:
                values.append(record[key])
            short[name][key] = values.index(record[key])
    if short:
        save_json(_file(layout), {"shared": shared, "runs": short})
    return len(short)


def load_runs(layout: Layout) -> dict[str, dict]:
    """Return the kept records by name, for example "03_training.vae-16"."""
    if not _file(layout).is_file():
        return {}
    content = load_json(_file(layout))
    shared = content["shared"]
    return {
        name: record | {key: values[record[key]] for key, values in shared.items()}
        for name, record in content["runs"].items()
    }


def _file(layout: Layout):
    return layout.kept / "runs.json"


def _without_folders(record: dict) -> dict:
    scans = record["study"]["scans"]
    bare = {name: without_folders(scan) for name, scan in scans.items()}
    return record | {"study": record["study"] | {"scans": bare}}
