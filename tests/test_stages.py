"""What a stage depends on: each leaf of the settings redoes the stages that read it, and no more.

The graph asks the same function, see tests/test_plan.py.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from pydantic import ValidationError

from kikuhelpers.study import Study, load_study, stages
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.stages import Dependencies, Job, jobs_of

ALL = {f"{number:02}" for number in range(1, 13)}
NONE = set()


def without(*numbers: str) -> set[str]:
    return ALL - set(numbers)


# The first pattern that fits a leaf counts. Scan w trains a model and one model holds out
# grains of it; r only trains; m only makes maps and is neither virtual nor compared; p, which
# is compared, gives no training patterns.
REDOES = {
    "name": NONE,  # the results lie in another folder
    "title": {"09", "10", "11", "12"},
    "seed": without("01", "02"),
    # A scan, by the stage that reads the setting
    "scans.m.data.*": {"01", "02", "03", "05", "09", "11", "12"},
    "scans.p.data.*": without("04"),
    "scans.[war].data.*": ALL,
    "scans.m.preprocessing.*": {"02", "03", "05", "09", "11", "12"},
    "scans.p.preprocessing.*": without("01", "04"),
    "scans.[war].preprocessing.*": without("01"),
    "scans.*.training.patterns": {"04", "05", "06", "07", "08", "09", "10", "11", "12"},
    "scans.w.indexing.*": {"03", "04", "05", "06", "08", "09", "10", "11", "12"},  # held-out grains
    "scans.[ap].indexing.*": {"03", "05", "08", "09", "10", "11", "12"},
    "scans.m.indexing.*": {"03", "05", "09", "11", "12"},
    "scans.r.indexing.*": {"03", "09", "11", "12"},
    "scans.[wap].figures.role": {"10", "11", "12"},
    "scans.[mr].figures.role": {"11", "12"},
    "scans.r.serves": {"11", "12"},  # its latent maps
    "scans.*.serves": {"07", "08", "09", "10", "11", "12"},  # which are decoded, and scored
    # What all scans share
    "preprocessing.*": without("01"),
    "indexing.*": {"03", "04", "05", "06", "08", "09", "10", "11", "12"},
    # Models and baselines
    "*training.checkpoint_seconds": NONE,
    "training.*": {"04", "05", "06", "08", "09", "10", "11", "12"},
    "models.largest.latent_dim": without("01", "02", "03"),  # as many components
    "models.[sb]*.latent_dim": {"04", "05", "06", "08", "09", "10", "11", "12"},
    "models.views.loss": {"04", "05", "06", "08", "09", "10", "11", "12"},  # then it is scored
    "models.[vb]*": {"04", "05", "06", "08", "09", "11", "12"},  # contrastive, or one more of 16-D
    "models.*": {"04", "05", "06", "08", "09", "10", "11", "12"},
    "baselines.pca-4.*": {"07", "08", "09", "10", "11", "12"},  # the largest one is scored
    "baselines.*": {"07", "08", "09", "11", "12"},
    # Tables and figures
    "comparison.*": {"10", "12"},
    "figures.*": {"11"},
}
# No other value is valid: all settings beside it belong to this one, or another scan needs it.
FIXED = ("scans.*.data.source", "baselines.nlpar.method", "scans.w.preprocessing.background_of")
FIXED += ("training.grown_from",)
# Alternatives, of which a study gives one: what stands beside the other.
BESIDE = {
    "*training.presentations": {"epochs": None},
    "models.*.weights": {"training": None, "hold_out": None},
    "figures.regions.4B.size": {"rows": None, "columns": None},
    "figures.regions.4B.rank": {"rows": None, "columns": None, "size": [5, 5]},
    "figures.regions.4D.rows": {"columns": [0, 5], "size": None, "rank": 1},
    "figures.regions.4D.columns": {"rows": [0, 5], "size": None, "rank": 1},
}
# Other values of texts and of what may be absent.
WORDS = (
    *(
        "power",
        "other",
        "wrought",
        "am",
        "map",
        "pattern",
        "find",
        "none",
        "map mean",
        "maps",
        "all",
        "pad",
    ),
    *(
        "cosine",
        "muon",
        "float32",
        "bfloat16",
        "vae",
        "contrastive",
        "pca",
        "nmf",
        "x",
        "y",
        "uint8",
    ),
)
FILLED = (
    *(
        1,
        5,
        20,
        0.5,
        [0.5, 0.6],
        [1, 3],
        "x.safetensors",
        "w",
        {"presentations": 16},
        {"scan": "w"},
    ),
    *({"rows": [0, 20]}, {"viridis": "cividis"}, {"4A": 1}),
    *({"centre": [60, 60], "radius": 50}, {"scan": "w", "length": 5}, {"median_width_um": 4.0}),
    *({"strain_percent": 2.0}, {"grain_fraction": 0.5}, {"size_um": [1, 2]}, {"count": 2}),
    *({"per_1000_um2": 1.0}, "dataset", "small"),
    *([0.5, 0.3, 0.7], [90, 90, 90], [[1, 1, 1]], [["Ni", 0, 0, 0]], 30_000.0),
)

SCAN_W = {
    "data": {
        "source": "virtual",
        "specimen": {"alloy": "waspaloy"},
        "map_shape": [20, 20],
        "webp_quality": 80,
    },
    "training": {"patterns": 30},
}
RICH = {
    "name": "rich",
    "title": "One of everything",
    "scans": {
        "w": SCAN_W,
        "a": {
            "data": {"source": "virtual", "specimen": {"alloy": "am"}, "map_shape": [20, 20]},
            "preprocessing": {"background_of": "w"},
            "training": {"patterns": 30},
        },
        "r": {
            "data": {
                "source": "array",
                "path": "r.npy",
                "map_shape": [9, 9],
                "pattern_shape": [240, 240],
            },
            "preprocessing": {"binning": 2},
            "training": {"patterns": 30},
            "serves": "training",
        },
        "m": {
            "data": {"path": "m.up2", "map_shape": [9, 9]},
            "training": {"patterns": 0},
            "serves": "maps",
        },
        "p": {
            "data": {"source": "public", "name": "in718_rx", "rows": [0, 20]},
            "training": {"patterns": 0},
        },
    },
    "preprocessing": {"mask": {"centre": [60, 60], "radius": 55}},
    "models": {
        "small": {"latent_dim": 16},
        "largest": {"latent_dim": 64, "training": {"epochs": 2}},
        "views": {"latent_dim": 32, "loss": "contrastive"},
        "blind": {"latent_dim": 16, "hold_out": {"scan": "w"}},
    },
    "baselines": {
        "pca-4": {"method": "pca", "components": 4},
        "pca-2": {"method": "pca", "components": 2},
        "nmf-2": {"method": "nmf", "components": 2},
        "nlpar": {"method": "nlpar"},
    },
    "indexing": {"phase": {"name": "Ni", "space_group": 225, "lattice_nm": 0.36}},
    "comparison": {"measured": "p", "virtual": "w", "fitted": ["fit"]},
    "figures": {
        "regions": {
            "4B": {"scan": "w", "rows": [0, 5], "columns": [0, 5]},
            "4D": {"scan": "a", "size": [5, 5], "rank": 2},
        },
        "path_4c": {"scan": "a", "length": 9},
    },
}


def leaves(content: dict, above: tuple = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that is no mapping."""
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def changed(content: dict, path: tuple[str, ...], value) -> dict:
    """A copy of nested settings with another value at a path."""
    name, *rest = path
    return content | {name: changed(content[name], tuple(rest), value) if rest else value}


def other_values(value) -> Iterator:
    """Yield values that may be valid in place of another one."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, 2 * value, value // 2, 89)
    elif isinstance(value, float):
        yield from (value * 0.9, value + 0.1)
    elif isinstance(value, list):
        yield from ([other, *value[1:]] for v in value[:1] for other in other_values(v))
        yield from ([*value[:-1], other] for v in value[-1:] for other in other_values(v))
        yield [20 + 20 * v for v in value if isinstance(v, int)]  # whole tiles
        yield ["4A"]
    elif isinstance(value, str):
        yield from ("r", "a", "w", *WORDS, value + "x")
    else:
        yield from FILLED


def another(content: dict, path: tuple[str, ...]) -> Study | None:
    """The study with another valid value at a path; None if there is none."""
    value, given = content, content
    for name in path:
        value = value[name]
    for pattern, values in BESIDE.items():
        for name, beside in values.items() if fnmatchcase(".".join(path), pattern) else ():
            given = changed(given, (*path[:-1], name), beside)
    for other in other_values(value):
        try:
            study = Study.model_validate(changed(given, path, other))
        except ValidationError:
            continue
        if study.model_dump(mode="json") != content:
            return study
    return None


BACKGROUND_OF = ("preprocessing", "background_of")
STUDY = Study.model_validate(RICH)
CONTENT = STUDY.model_dump(mode="json")
LEAVES = [
    path for path in leaves(CONTENT) if not any(fnmatchcase(".".join(path), p) for p in FIXED)
]
KNOWN = {job: Dependencies(STUDY).fingerprint(job) for job in jobs_of(STUDY)}


def redone(study: Study) -> list[Job]:
    """The jobs of both studies whose results the one cannot take from the other."""
    dependencies = Dependencies(study)
    common = [job for job in jobs_of(study) if job in KNOWN]
    return [job for job in common if dependencies.fingerprint(job) != KNOWN[job]]


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_each_leaf_redoes_the_stages_that_read_it(path):
    leaf = ".".join(path)
    stated = [REDOES[pattern] for pattern in REDOES if fnmatchcase(leaf, pattern)]
    assert stated, f"state in REDOES which stages {leaf} redoes"
    study = another(CONTENT, path)
    assert study is not None, f"no other value of {leaf} is valid: add one, or name it in FIXED"
    jobs = redone(study)
    assert {job.stage[:2] for job in jobs} == stated[0]
    if path[0] == "scans" and path[1] != "w":  # others take the background of w
        own_data = [job for job in jobs if job.stage[:2] <= "03"]
        assert {job.parts for job in own_data} <= {(path[1],)}, "other scans stay as they are"
    if path[0] == "models":
        first = {job.parts[0] for job in jobs if job.stage[:2] in ("04", "05", "06")}
        assert first <= {path[1]}, "other models stay as they are"


def test_no_entry_of_the_table_is_idle():
    names = [".".join(path) for path in LEAVES]
    first = {next(p for p in REDOES if fnmatchcase(name, p)) for name in names}
    assert first == set(REDOES)


def test_the_background_of_a_scans_file_comes_with_its_patterns():
    """It is then a file of stage 01, which is otherwise what it was."""
    study = Study.model_validate(changed(CONTENT, ("scans", "m", *BACKGROUND_OF), "its file"))
    jobs = redone(study)
    assert {job.stage[:2] for job in jobs} == REDOES["scans.m.preprocessing.*"] | {"01"}
    assert {job.parts for job in jobs if job.stage[:2] <= "03"} == {("m",)}
    for of, brings in ((study, True), (STUDY, False)):
        made = [path.name for path in Layout(of).outputs(Job(stages.DATA, ("m",)))]
        assert ("brought.npy" in made) is brings


def test_a_scan_may_lie_anywhere():
    """The folder of a scan is this machine's; its name and content are the scan's."""
    moved = changed(CONTENT, ("scans", "m", "data", "path"), "/elsewhere/m.up2")
    assert redone(Study.model_validate(moved)) == []


def test_training_settings_of_a_model_count_as_the_studys():
    own = changed(CONTENT, ("models", "small", "training"), CONTENT["training"])
    assert redone(Study.model_validate(own)) == []


def test_a_study_with_more_models_redoes_none_of_the_others():
    more = changed(CONTENT, ("models",), CONTENT["models"] | {"new": {"latent_dim": 32}})
    jobs = redone(Study.model_validate(more))
    last = {stages.TABLE1, stages.VIRTUAL_SPECIMENS, stages.FIGURES, stages.CLAIMS}
    assert {job.stage for job in jobs} == last


def test_every_job_needs_only_jobs_of_the_study():
    jobs = jobs_of(STUDY)
    assert len(set(jobs)) == len(jobs)
    dependencies = Dependencies(STUDY)
    for place, job in enumerate(jobs):
        needed = dependencies.needs(job)
        assert set(needed) <= set(jobs)
        assert all(other.stage <= job.stage for other in needed)
        assert all(jobs.index(other) < place or other.stage == job.stage for other in needed)


def test_latent_maps_wait_for_no_phase():
    """Where nothing names a phase, indexing ends in a sentence, and the maps are made without."""
    open_phase = Study.model_validate(CONTENT | {"indexing": {}})
    for study, scan, waits in (
        (STUDY, "m", True),
        (open_phase, "m", False),
        (open_phase, "w", True),
    ):
        needed = Dependencies(study).needs(Job(stages.LATENT_MAPS, ("small", scan)))
        assert (Job(stages.INDEXING, (scan,)) in needed) is waits


@pytest.mark.parametrize("name", ["smoke", "quick", "in718_rx", "virtual", "paper", "realism"])
def test_the_stages_of_a_shipped_study_differ(name):
    study = load_study(name)
    prints = [Dependencies(study).fingerprint(job) for job in jobs_of(study)]
    assert len(set(prints)) == len(prints)
