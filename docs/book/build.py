"""Build the book, a static site, from what is there: python -m docs.book.build (or make book).

Nothing is computed and nothing fetched. Pages come from docs/*.md, from the tables and figures of
the studies, from executed notebooks where the archive holds them, and from docstrings.
Sources are written to a temporary folder; the site goes to ``<results>/book/`` only if Sphinx has
no warning and every link and picture is there.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml
from sphinx.cmd.build import build_main

from docs.book.links import broken_links
from docs.click_page import NAME as CLICK_PAGE
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.study import PROJECT_ROOT
from kikuhelpers.study.load import root_of

STUDIES = ("in718_rx", "virtual")  # whose tables and figures the book shows
FRONT = ("in718_rx/fig01_overview", "virtual/detection_limits", "in718_rx/fig11_reindexed")
FRONT_TEXTS = (
    "A measured pattern becomes an orientation by indexing, or a latent vector by encoding.",
    "Virtual specimens: the weakest effect of which half is found, by method.",
    "Orientation and image quality of measured patterns, and of what each network decodes.",
)
VERDICTS = ("holds", "holds in part", "does not hold", "cannot be tested here")
# Notebooks have outputs of the first of these studies that archived them, see executed.py.
EXECUTED = ("in718_rx", "virtual", "quick", "smoke")
_HEADING = re.compile(r"(?:#+ |\*\*)(.+?)(?:\n|\.\*\* )(.*)", re.DOTALL)  # and what follows
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_HERE = Path(__file__).parent


class Source:
    """The folder of pages that Sphinx reads, and of files that pages link to."""

    def __init__(self, folder: Path):
        self.folder, self.files = folder, folder / "_files"
        self.pages = {PROJECT_ROOT / "README.md": "start"}
        self.pages[PROJECT_ROOT / "CONTRIBUTING.md"] = "contributing"
        self.pages |= {
            path: f"docs/{path.stem}" for path in sorted((PROJECT_ROOT / "docs").glob("*.md"))
        }
        for study in STUDIES:
            for path in sorted((PROJECT_ROOT / "figures" / study).glob("*.md")):
                self.pages[path] = f"studies/{study}/{path.stem}"
        self.notebooks = self._notebooks()

    def _notebooks(self) -> dict[str, Path]:
        """Notebooks by the name of their page: as a study executed them, or as git holds them."""
        found = {}
        for path in sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb")):
            places = (root_of("archive") / study / "notebooks" / path.name for study in EXECUTED)
            found[f"notebooks/{path.stem}"] = next((p for p in places if p.is_file()), path)
        return found

    def write(self, name: str, text: str) -> None:
        path = self.folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write_all(self) -> None:
        for path, name in self.pages.items():
            text = path.read_text()
            words = re.sub(r"(\D)(\d)", r"\1 \2", path.stem).capitalize()  # table1: "Table 1"
            title = "" if text.startswith("# ") else f"# {words}\n\n"
            self.write(name, title + self.linked(text, path.parent, name))
        for name, path in self.notebooks.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            notebook = json.loads(path.read_text())
            first, *others = (c for c in notebook["cells"] if c["cell_type"] == "markdown")
            for cell in (first, *others):
                text = "".join(cell["source"])
                cell["source"] = self.linked(text, PROJECT_ROOT / "notebooks", name)
            first["source"] += f"\n\n{_executed_on(notebook)}"
            for cell in others:
                cell["source"] = f'<a id="{_anchor(cell)}"></a>\n\n{cell["source"]}'
            (self.folder / f"{name}.ipynb").write_text(json.dumps(notebook))

    def linked(self, text: str, beside: Path, page: str) -> str:
        """Turn links to files of the repository into links within the book."""

        def turned(match: re.Match) -> str:
            shown, (address, _, anchor) = match[1], match[2].partition("#")
            path = (beside / address).resolve()
            if ":" in address or not address:
                return match[0]
            if path in self.pages:
                to = f"{_up(page)}{self.pages[path]}.md" + (f"#{anchor}" if anchor else "")
            elif (note := f"notebooks/{path.stem}") in self.notebooks and path.suffix == ".ipynb":
                to = f"{_up(page)}{note}.ipynb"
            elif path.is_file() and path.is_relative_to(PROJECT_ROOT):
                to = self.file(path, page, is_image=shown.startswith("!"))
            elif path.is_dir():
                return shown.strip("![]")
            else:
                raise SystemExit(f"{page}: its link to {match[2]} leads to nothing.")
            return f"{shown}({to})"

        return _LINK.sub(turned, text)

    def file(self, path: Path, page: str, is_image: bool) -> str:
        """Bring a file of the repository into the book; return its address from a page."""
        inside = path.relative_to(PROJECT_ROOT).as_posix()
        (to := self.files / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        return f"{_up(page)}_files/{inside}" if is_image else f"path:{_up(page)}_files/{inside}"


def _up(page: str) -> str:
    return "../" * page.count("/")


def _contents(caption: str, names, depth: int = 1) -> str:
    lines = "\n".join(f"/{name}" for name in names)
    return f"```{{toctree}}\n:caption: {caption}\n:maxdepth: {depth}\n:hidden:\n\n{lines}\n```\n\n"


def _front(source: Source) -> None:
    parts = [
        "# See microstructure through a neural latent space\n\n"
        "An EBSD scan is a map of Kikuchi patterns. A variational autoencoder turns each pattern "
        "into a few numbers; mapped, these show grains, twins and scratches, without any "
        "indexing. Here is an open, reproducible study of "
        "[the paper](https://doi.org/10.1038/s41524-025-01770-8) that proposed it: what holds, "
        "what does not, and how one knows.\n\n"
        "**[Click on the measured map](explore.md)**: patterns, what the network keeps of them, "
        "and what it leaves.\n"
    ]
    for picture, text in zip(FRONT, FRONT_TEXTS, strict=True):
        path = PROJECT_ROOT / "figures" / f"{picture}.png"
        parts.append(f"![{text}]({source.file(path, 'index', True)})\n\n*{text}*\n")
        if picture == FRONT[0]:
            parts.append(_verdicts())
    studies = [f"studies/{study}/index" for study in STUDIES]
    pages = [n for n in source.pages.values() if n.startswith("docs/")]
    notebooks = [n for n in source.notebooks if n.startswith("notebooks/")]
    parts += [
        _contents("Begin", ["start", "explore"]),
        _contents("What comes out", studies),
        _contents("Pages", [*pages, "cite"]),
        _contents("Notebooks", notebooks),
        _contents("Reference", ["api/index", "contributing"]),
    ]
    source.write("index", "\n".join(parts))


def _verdicts() -> str:
    """How many claims hold, by study, from the tables of verdicts."""
    counts = {}
    for study in STUDIES:
        table = pd.read_csv(PROJECT_ROOT / "figures" / study / "claims.csv")
        link = f"[{_title(study)}](studies/{study}/claims.md)"
        counts[link] = table["verdict"].value_counts()
    table = pd.DataFrame(counts).reindex(VERDICTS).fillna(0).astype(int).T
    return f"\n## Which claims of the paper hold?\n\n{table.to_markdown()}\n"


def _title(study: str) -> str:
    return yaml.safe_load((PROJECT_ROOT / "studies" / f"{study}.yaml").read_text())["title"]


def _executed_on(notebook: dict) -> str:
    """What a page of a notebook says of its outputs."""
    run = notebook["metadata"].get("executed")
    if run is None:
        return ":::{note}\nShown as it stands in the repository, without outputs.\n:::"
    of = ", ".join(f"`{part}`" for part in run["of"])
    on = f"study `{run['study']}` ({_title(run['study'])})" + (f", on {of}" if of else "")
    return f":::{{note}}\nExecuted in the {on}, at commit `{run['commit']}`.\n:::"


def _anchor(cell: dict) -> str:
    return f"cell-{cell['id']}"


def _study(source: Source, study: str) -> None:
    """A page of a study's figures, each with its caption and the cell and commit that made it."""
    folder, page = PROJECT_ROOT / "figures" / study, f"studies/{study}/index"
    runs = json.loads((folder / "run.json").read_text())["runs"]
    commits = {name: run["commit"] for name, run in runs.items()}
    commits["12_claims"] = pd.read_csv(folder / "claims.csv")["commit"].iloc[0]
    drawn = json.loads((folder / "figures.json").read_text())
    cells, pictures = _cells_with_figures(), sorted(folder.glob("*.png"))
    parts = [f"# {_title(study)}\n"]
    # The paper's figures come first.
    for begins, (notebook, caption) in sorted(cells.items(), key=lambda c: c[0][:3] != "fig"):
        mine = [p for p in pictures if begins == max(filter(p.stem.startswith, cells), key=len)]
        if not mine:
            continue
        text = source.linked("".join(caption["source"]), PROJECT_ROOT / "notebooks", page)
        title, text = _HEADING.match(text).groups() if _HEADING.match(text) else (begins, text)
        parts += [f"## {title.replace('_', ' ').strip().capitalize()}\n"]
        parts += [f"![{p.stem}]({source.file(p, page, True)})\n" for p in mine]
        parts += [text + "\n"]
        for of in (drawn[p.stem] for p in mine if p.stem in drawn):
            parts += [f"- {line}\n" for line in of["choices"] + of["missing"]]
        cell = f"{_up(page)}notebooks/{notebook}.html#{_anchor(caption)}"
        parts += [
            f'\n*Made in <a href="{cell}">this cell of notebook {notebook[:2]}</a> at commit '
            f"`{commits[notebook]}`.*\n"
        ]
    tables = [f"[{p.name}]({source.file(p, page, False)})" for p in sorted(folder.glob("*.csv"))]
    parts += [f"## Tables as CSV\n\n{', '.join(tables)}\n"]
    own = [n for n in source.pages.values() if n.startswith(f"studies/{study}/")]
    parts.append(_contents("Tables", own))
    source.write(page, "\n".join(parts))


def _cells_with_figures() -> dict[str, tuple[str, dict]]:
    """How names of pictures begin, with the notebook and the cell that holds their caption."""
    found = {}
    for path in sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        for at, cell in enumerate(cells):
            code = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            if number := re.search(r"figures\.make\((\d+)\)", code):
                found[f"fig{int(number[1]):02d}_"] = path.stem, cells[at + 1]  # below the figure
            elif name := re.search(r"save_figure\(.*folder, f?\"([^\"{]+)", code):
                found[name[1]] = path.stem, cells[at - 1]
    return found


def _explore(source: Source) -> None:
    """The page that embeds the maps to click on, those that are there."""
    found = {study: root_of("results") / study / CLICK_PAGE for study in STUDIES}
    parts = ["---\nhide-toc: true\n---\n# Click on the map\n"]
    for study, path in found.items():
        if not path.is_file():
            parts.append(
                f"Of {_title(study)} there is none yet: `python -m docs.click_page {study}`.\n"
            )
            continue
        to = source.folder / "_extra" / f"click_{study}.html"
        to.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, to)
        parts += [
            f"## {_title(study)}\n",
            f'<p><a href="{to.name}">Open it alone</a>: one file, which works offline and can be '
            "sent by mail.</p>\n",
            f'<iframe class="click" src="{to.name}" title="Map to click on"></iframe>\n',
        ]
    source.write("explore", "\n".join(parts))


def _cite(source: Source) -> None:
    text = (PROJECT_ROOT / "CITATION.cff").read_text()
    cited = yaml.safe_load(text)
    lines = []
    for work in cited["references"]:
        names = ", ".join(f"{a['given-names']} {a['family-names']}" for a in work["authors"])
        doi = work["doi"]
        lines.append(f"- {names}: *{work['title'].strip()}*, [doi:{doi}](https://doi.org/{doi})\n")
    body = f"# How to cite\n\n{cited['message']}\n\n" + "".join(lines)
    source.write("cite", f"{body}\n```yaml\n{text}```\n\nThis book: commit `{git_commit()}`.\n")


def _api(source: Source) -> None:
    """A page for each folder of the package, from its docstrings."""
    package, pages = PROJECT_ROOT / "kikuhelpers", []
    for folder in sorted({path.parent for path in package.rglob("*.py")}):
        names = ".".join(("kikuhelpers", *folder.relative_to(package).parts))
        modules = [p for p in sorted(folder.glob("*.py")) if not p.stem.startswith("__")]
        if not modules:
            continue
        parts = [f"# {names}\n"]
        for module in modules:
            name = f"{names}.{module.stem}"
            parts += [f"## {module.stem}\n", f"```{{eval-rst}}\n.. automodule:: {name}\n```\n"]
        pages.append(f"api/{names}")
        source.write(pages[-1], "\n".join(parts))
    source.write(
        "api/index",
        "# The package, from its docstrings\n\n"
        + _contents("Folders", pages).replace(":hidden:\n", ""),
    )


def build(site: Path) -> int:
    """Write the site; return 0, or 1 where there is a warning or a broken link."""
    with TemporaryDirectory() as temporary:
        source, made = Source(Path(temporary) / "source"), Path(temporary) / "site"
        source.folder.mkdir()
        source.write_all()
        _explore(source)
        for study in STUDIES:
            _study(source, study)
        _cite(source)
        _api(source)
        _front(source)
        extra = ",".join(str(p) for p in (source.folder / "_extra",) if p.is_dir())
        options = ["-W", "--keep-going", "-q", "-c", str(_HERE), "-D", f"html_extra_path={extra}"]
        if build_main([*options, str(source.folder), str(made)]):
            return 1
        if found := broken_links(made):
            print(*found, sep="\n", file=sys.stderr)
            return 1
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(made, site, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
    print(f"The book: {site / 'index.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(build(root_of("results") / "book"))
