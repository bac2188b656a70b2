"""The repository's own rules: notebooks, versions, and the direction of the data."""

import ast
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement

from docs import pages, readme_table
from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.stages import jobs_of

PACKAGE = PROJECT_ROOT / "kikuhelpers"
NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))
EXPLORER = "13_explorer"  # a reader's tool beside the graph: it makes no result, so it is no stage
STAGES = [path for path in NOTEBOOKS if path.stem != EXPLORER]
# Rooms in the order of the data; a module imports only from its own room and those before it.
ORDER = ["scans", "preprocessing", "indexing", "training", "latents", "baselines", "tables"]
ORDER += ["figures"]
BESIDE = {"study", "patterns", "runs"}  # any room may import them, they import none
ABOVE = {"__init__", "__main__"}  # the face and the command may import all
UNLOCKED_EXTRAS = ("browser", "oracles", "simulation")  # nothing needs them
MOST_CELLS, MOST_LINES_OF_A_MODULE, MOST_LINES_OF_A_FUNCTION = 30, 400, 10
MOST_ENTRIES = 13  # of the package's top
MOST_LINES_OF_THE_README, MOST_WORDS_OF_A_PARAGRAPH = 150, 60
MOST_LINES_OF_THE_PACKAGE, MOST_LINES_BESIDE_IT = 15_757, 1_092
MOST_LINES_OF_THE_GPU_CHECK = 408  # not counted in the one before, which is older
# What a reader of environment.yml should see; the rest comes from the lock.
NAMED_PACKAGES = ["jupyterlab", "papermill", "torch", "kikuchipy", "orix", "hyperspy"]
NAMED_PACKAGES += ["matplotlib", "pandas", "pyebsdindex"]


def locked() -> dict[str, str]:
    lines = (PROJECT_ROOT / "requirements.lock").read_text().split()
    return {name.lower().replace("_", "-"): v for name, v in (x.split("==") for x in lines)}


def code_cells(path: Path) -> list:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


# ------------------------------------------------------------------ notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_stories(path):
    ids = [cell["id"] for cell in json.loads(path.read_text())["cells"]]
    assert len(set(ids)) == len(ids)
    cells = nbformat.read(path, as_version=4).cells
    code = code_cells(path)
    assert len(cells) < MOST_CELLS
    assert cells[0].source.startswith("# ") and "What the paper did" in cells[0].source
    assert [c for c in code if "parameters" in c.metadata.get("tags", [])] == [code[0]]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    for cell in code:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < MOST_LINES_OF_A_FUNCTION


def test_notebooks_are_the_stages():
    of_everything = jobs_of(load_study("virtual"))
    assert [path.stem for path in STAGES] == sorted({job.stage for job in of_everything})


def test_the_explorer_begins_like_a_stage_and_makes_nothing():
    code = code_cells(PROJECT_ROOT / "notebooks" / f"{EXPLORER}.ipynb")
    begun = "study = load_study(study_name, overrides)\nrun = begin(study, " + f'"{EXPLORER}", '
    assert code[2].source.startswith(begun) and "archive=True" in code[2].source
    assert not any("run.close" in cell.source or "make_missing" in cell.source for cell in code)


@pytest.mark.parametrize("path", STAGES, ids=lambda p: p.stem)
def test_notebooks_say_first_what_they_need(path):
    """Parameters, imports, and then the study and what its stage needs, in the same words."""
    parameters, imports, first, *_ = code_cells(path)
    given = {node.targets[0].id: node.value for node in ast.parse(parameters.source).body}
    assert {"study_name", "overrides", "make_missing"} <= set(given)
    assert ast.literal_eval(given["make_missing"]) is False
    assert ast.literal_eval(given["overrides"]) == {}
    assert "study" not in given, "study is the Study"
    allowed = (ast.Import, ast.ImportFrom)
    assert all(isinstance(node, allowed) for node in ast.parse(imports.source).body)
    lines = first.source.splitlines()
    assert lines[0] == "study = load_study(study_name, overrides)"
    assert lines[1].startswith(f'run = begin(study, "{path.stem}", ')
    assert "make_missing=make_missing" in lines[1]
    assert "run.close(" in "\n".join(cell.source for cell in code_cells(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_one_word_for_archived_results(path):
    """In notebooks, "kept" meant the archive; no text of theirs says it, of whatever."""
    for cell in nbformat.read(path, as_version=4).cells:
        assert not re.search(r"\bkept\b", cell.source, re.I), cell.source


def test_a_notebook_imports_what_its_stage_needs():
    """The first one does not wait for networks and indexing."""
    code = code_cells(NOTEBOOKS[0])[1].source
    heavy = ("torch", "kikuchipy", "hyperspy", "pyebsdindex", "orix")
    code += f"\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# ---------------------------------------------------------- direction of the data


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(source: str, name: str, is_package: bool = False) -> Iterator[str]:
    """Yield the names of all that a module imports, in whatever form, wherever in it.

    Of a name that is put together only the beginning is known: it ends with a dot.
    """
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = [*above, *filter(None, [node.module])] if node.level else [node.module]
            yield from (".".join([*start, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in {"import_module", "__import__"}:
                text = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else None
                text = text or node.args[0]
                assert isinstance(text, ast.Constant), f"{name} imports {ast.unparse(node)}"
                relative = text.value.startswith(".")
                yield f"{package}{text.value}" if relative else text.value


def depends_on(name: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    path, found = MODULES[name], set()
    for other in imported(path.read_text(), name, path.name == "__init__.py"):
        if other.endswith("."):
            found |= {module for module in MODULES if module.startswith(other)}
        elif other in MODULES:
            found.add(other)
        elif other.rpartition(".")[0] in MODULES:  # a name in a module
            found.add(other.rpartition(".")[0])
    return found - {name}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


@pytest.mark.parametrize(
    "source",
    [
        "import kikuhelpers.tables.table1",
        "import os, kikuhelpers.tables.table1 as t",
        "from kikuhelpers.tables.table1 import table1",
        "from kikuhelpers.tables import table1 as t",
        "from ..tables.table1 import table1",
        "from ..tables import table1",
        "from .. import tables",
        "def f():\n    from kikuhelpers.tables.table1 import table1",
        "class A:\n    if True:\n        import kikuhelpers.tables.table1",
        "import importlib\nimportlib.import_module('kikuhelpers.tables.table1')",
        "from importlib import import_module\nimport_module('kikuhelpers.tables.table1')",
        "__import__('kikuhelpers.tables.table1')",
        "import_module(f'kikuhelpers.tables.{name}')",
        "import_module('..tables', package=__package__)",
    ],
)
def test_every_form_of_import_is_seen(source):
    name = "kikuhelpers.scans.readers"
    found = set(imported(source, name))
    assert any("tables" in other for other in found), found
    with pytest.raises(AssertionError, match="imports import_module"):
        list(imported("import_module(name)", name))


def test_every_module_has_its_room():
    rooms = {room(name) for name in MODULES}
    assert rooms == {*ORDER, *BESIDE, *ABOVE}
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES


@pytest.mark.parametrize("name", [n for n in MODULES if room(n) not in ABOVE])
def test_data_flows_one_way(name):
    own = room(name)
    others = {room(other) for other in depends_on(name)} - {own}
    assert not others & ABOVE
    if own in BESIDE:
        assert others <= BESIDE, f"{name} stands beside the stages and imports one"
    else:
        later = [other for other in others - BESIDE if ORDER.index(other) > ORDER.index(own)]
        assert not later, f"{name} imports from a later stage: {later}"


def test_no_modules_import_each_other():
    """Also within a room, and also where an import waits inside a function."""
    graph = {name: depends_on(name) for name in MODULES if room(name) not in ABOVE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' <- '.join(error.args[1])}")


def test_benchmarks_and_tests_stand_outside():
    for name, path in MODULES.items():
        outside = {other.split(".")[0] for other in imported(path.read_text(), name)}
        assert not outside & {"benchmarks", "tests", "data"}, name


# ------------------------------------------------------------------------ size


def lines(paths) -> int:
    return sum(len(path.read_text().splitlines()) for path in paths)


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_small(name):
    assert lines([MODULES[name]]) <= MOST_LINES_OF_A_MODULE


def test_the_package_is_small():
    assert lines(MODULES.values()) <= MOST_LINES_OF_THE_PACKAGE
    beside = [*(PROJECT_ROOT / "benchmarks").rglob("*.py")]
    beside.append(PROJECT_ROOT / "data" / "master_patterns" / "simulate.py")
    of_gpu = [path for path in beside if path.name.startswith("gpu_")]
    assert lines(of_gpu) <= MOST_LINES_OF_THE_GPU_CHECK
    assert lines(beside) - lines(of_gpu) <= MOST_LINES_BESIDE_IT


# -------------------------------------------------------------------- versions


def test_the_lock_fits_what_the_package_asks_for():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [r for extra in extras if extra not in UNLOCKED_EXTRAS for r in extras[extra]]
    for requirement in map(Requirement, project["dependencies"] + asked):
        version = locked()[requirement.name.lower()]
        assert requirement.specifier.contains(version), requirement


def test_what_is_installed_is_what_is_locked():
    for name, version in locked().items():
        installed = importlib.metadata.version(name).split("+")[0]  # torch's CPU build: 2.13.0+cpu
        assert installed == version.split("+")[0], name


def test_conda_installs_the_lock():
    environment = yaml.safe_load((PROJECT_ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    named = [f"{name}=={locked()[name]}" for name in NAMED_PACKAGES]
    assert pip == [*named, "-r requirements.lock", "-e ."], "lines that a pip file may hold"
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    assert conda == ["python=3.11", "pip"], "every version comes from the lock"


def test_make_runs_modules_that_exist():
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    named = re.findall(r"python -m ((?:kikuhelpers|benchmarks)[\w.]*)", makefile)
    assert named
    for module in named:
        assert importlib.util.find_spec(module), module


# ---------------------------------------------------------------- README and pages

README = (PROJECT_ROOT / "README.md").read_text("utf-8")
PAGES = sorted([*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").glob("*.md")])


def test_the_readme_is_read_in_two_minutes():
    assert len(README.splitlines()) <= MOST_LINES_OF_THE_README
    prose = re.sub(r"```.*?```", "", README, flags=re.S)
    paragraphs = [p for p in prose.split("\n\n") if not p.lstrip().startswith(("|", "!"))]
    assert max(len(p.split()) for p in paragraphs) <= MOST_WORDS_OF_A_PARAGRAPH


def test_readme_names_every_notebook():
    assert all(path.stem in README for path in NOTEBOOKS)


def test_the_readmes_claims_are_the_studies():
    """The table is what its command makes, and each number in it is one of the CSV it names."""
    assert readme_table.table() in README
    rows = [row for row in README.splitlines() if "/claims.md) |" in row]
    assert len(rows) == 10
    for row in rows:
        says, verdict, link, ours, baseline, _ = (x.strip() for x in row.strip("|").split(" | "))
        file = re.search(r"\((.*)\.md\)", link).group(1)
        claim = pd.read_csv(PROJECT_ROOT / f"{file}.csv").set_index("says").loc[says]
        assert (verdict, link.split("]")[0]) == (claim["verdict"], f"[{claim['evidence']}")
        printed = [*re.findall(r"-?[\d.]+", ours), baseline.split(":")[0]]
        for number, name in zip(printed, ["value", "low", "high", "baseline"], strict=True):
            assert float(number) == pytest.approx(claim[name], rel=5e-3, abs=1e-9), (says, name)


def test_the_readme_counts_the_verdicts():
    counted = {
        study: pd.read_csv(PROJECT_ROOT / "figures" / study / "claims.csv")[
            "verdict"
        ].value_counts()
        for study in ("virtual", "in718_rx")
    }
    words = ["holds", "holds in part", "does not hold"]
    virtual, crop = ([counts[word] for word in words] for counts in counted.values())
    prose = " ".join(README.split())
    said = f"Of {counted['virtual'].sum()} claims of the paper the virtual study judges "
    said += "{}: {} hold, {} in part, {} do not".format(sum(virtual), *virtual)
    assert said in prose
    assert "The measured crop judges {}: {}, {} and {}".format(sum(crop), *crop) in prose


def test_the_six_lines_of_own_scan_are_a_study(tmp_path):
    page = (PROJECT_ROOT / "docs" / "own_scan.md").read_text()
    block = re.search(r"```yaml\n(.*?)```", page, re.S).group(1)
    assert len(block.splitlines()) == 6
    (tmp_path / "my_study.yaml").write_text(block)
    study = load_study(tmp_path / "my_study.yaml")
    assert study.scan("mine").data.path == str(tmp_path / "my_scan.up2")


def test_the_table_of_the_results_is_the_studys():
    made = (PROJECT_ROOT / "figures" / "in718_rx" / "table1.md").read_text()
    assert made.strip() in (PROJECT_ROOT / "docs" / "results.md").read_text()


@pytest.mark.parametrize("template", pages.TEMPLATES, ids=lambda path: path.stem)
def test_pages_are_what_their_command_makes(template):
    assert template.with_suffix("").read_text("utf-8") == pages.page(template)


def test_a_look_up_without_one_answer_fails():
    table = "figures/in718_rx/table1"
    assert pages.number(table, "lost_pct", "model == 'pca-64'", 3) == "0.625"
    with pytest.raises(LookupError, match="no 'lost_pct' where"):
        pages.number(table, "lost_pct", "model == 'no such model'")
    with pytest.raises(LookupError, match="as 'lost_pct' where"):
        pages.number(table, "lost_pct", "model in ['pca-16', 'pca-64']", 1)


def anchors(page: Path) -> set[str]:
    """The anchors that a reader of Markdown gives to the heads of a page."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_what_is_there(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_is_in_the_index():
    index = (PROJECT_ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {path.name for path in (PROJECT_ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"\]\((\w+\.md)\)", index))
