"""The repository's own rules: notebooks, versions, and the direction of the data."""

import ast
import importlib.metadata
import json
import re

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from kikuhelpers.study import PROJECT_ROOT, load_study

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))
# The order of the data; a module imports only from what stands before it.
ORDER = [
    "settings",
    "specimen_settings",
    "microscope_settings",
    "figure_settings",
    "baseline_settings",
    "study",
    "files",
    "layout",
    "available",
    "compilation",
    "one_gpu",
    "progress",
    "masking",
    "up2",
    "streaming",
    "public_scans",
    "virtual",
    "readers",
    "preprocessing_kernels",
    "preprocessing",
    "block_convolution",
    "vae",
    "losses",
    "augmentation",
    "devices",
    "training_set",
    "checkpoints",
    "history",
    "training",
    "forecast",
    "latents",
    "reconstruction",
    "decompositions",
    "baselines",
    "confidence",
    "indexing",
    "warm_up",
    "orientation_maps",
    "held_out",
    "quality",
    "residuals",
    "reindexing",
    "realism",
    "intervals",
    "tables",
    "generalisation",
    "orientation_shares",
    "linear_table",
    "figures",
    "provenance",
    "kept",
    "final_notebooks",
    "bench",
]
UNLOCKED_EXTRAS = ("oracles", "simulation")  # nothing needs them
MOST_CELLS, MOST_LINES_OF_A_MODULE, MOST_LINES_OF_A_FUNCTION = 30, 400, 10


def locked() -> dict[str, str]:
    lines = (PROJECT_ROOT / "requirements.lock").read_text().split()
    return {name.lower().replace("_", "-"): v for name, v in (x.split("==") for x in lines)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_stories(path):
    ids = [cell["id"] for cell in json.loads(path.read_text())["cells"]]
    assert len(set(ids)) == len(ids)
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert len(cells) < MOST_CELLS
    assert cells[0].source.startswith("# ") and "What the paper did" in cells[0].source
    assert [c for c in code if "parameters" in c.metadata.get("tags", [])] == [code[0]]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    for cell in code:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < MOST_LINES_OF_A_FUNCTION


def test_data_flows_one_way():
    for path in sorted((PROJECT_ROOT / "kikuhelpers").rglob("*.py")):
        own = path.relative_to(PROJECT_ROOT / "kikuhelpers").parts[0].removesuffix(".py")
        if own not in ORDER:
            assert own in {"__init__", "__main__"}, f"{own} has no place in the order"
            continue
        imported = re.findall(r"^ *from kikuhelpers\.(\w+)", path.read_text(), re.M)
        later = [m for m in imported if ORDER.index(m) > ORDER.index(own)]
        assert not later, f"{own} imports from a later stage: {later}"


def test_modules_are_small():
    for path in (PROJECT_ROOT / "kikuhelpers").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_MODULE, path.name


def test_the_lock_fits_what_the_package_asks_for():
    project = importlib.metadata.requires("kikuhelpers")
    for requirement in map(Requirement, project):
        if any(f'extra == "{extra}"' in str(requirement.marker) for extra in UNLOCKED_EXTRAS):
            continue
        version = locked()[requirement.name.lower()]
        assert requirement.specifier.contains(version), requirement


def test_what_is_installed_is_what_is_locked():
    for name, version in locked().items():
        installed = importlib.metadata.version(name).split("+")[0]  # torch's CPU build: 2.13.0+cpu
        assert installed == version.split("+")[0], name


def test_conda_installs_the_lock():
    environment = yaml.safe_load((PROJECT_ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-r requirements.lock", "-e ."], "lines that a pip requirements file may hold"
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    assert conda == ["python=3.11", "pip"], "every other version comes from the lock"


def test_readme_names_every_notebook():
    readme = (PROJECT_ROOT / "README.md").read_text()
    assert all(path.stem in readme for path in NOTEBOOKS)


def test_the_five_lines_of_the_readme_are_a_study(tmp_path):
    readme = (PROJECT_ROOT / "README.md").read_text()
    block = re.search(r"```yaml\n(.*?)```", readme, re.S).group(1)
    assert len(block.splitlines()) == 5
    (tmp_path / "my_study.yaml").write_text(block)
    study = load_study(tmp_path / "my_study.yaml")
    assert study.scan("mine").path == str(tmp_path / "my_scan.up2")


def test_the_readmes_table_is_the_studys():
    made = (PROJECT_ROOT / "figures" / "in718_rx" / "table1.md").read_text()
    assert made.strip() in (PROJECT_ROOT / "README.md").read_text()
