"""Archive a study's executed notebooks for the book: python -m docs.book.executed quick 04 05.

Of each stage the first job whose notebook is there, to ``data/archive/<study>/notebooks/``.
Pictures have 100 dpi and a palette. What names the machine or the hour goes: folders of paths,
times, progress and warnings. The metadata name study, job and commit, and so does the page.
"""

import argparse
import base64
import io
import json
import re

from PIL import Image

from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import written_aside
from kikuhelpers.runs.results import Results
from kikuhelpers.study import load_study

DPI, COLOURS = 100, 256
MOST_BYTES = 3_000_000  # of a study's notebooks in the archive
_SHOWN = ("image/png", "text/html", "text/markdown", "text/plain")  # the first one that is there
# An absolute path but its last part; neither an address nor a tag's end begins so.
_FOLDERS = re.compile(r"(?<![\w.)<:/~])/(?:[^\s/\"'<>]+/)+")


def archive(results: Results, stages: list[str]) -> None:
    """Write the executed notebooks of the stages, by the beginning of their names; all if none."""
    folder, done = results.layout.archive / "notebooks", set()
    for job, record in results.all_records().items():
        executed = results.layout.folder_of(job) / "notebooks" / f"{job}.ipynb"
        wanted = job.stage.startswith(tuple(stages or [""])) and job.stage not in done
        if not wanted or not executed.is_file():
            continue
        done.add(job.stage)
        notebook = without_the_machine(json.loads(executed.read_text("utf-8")))
        origin = {"study": results.study.name, "of": job.parts, "commit": record["commit"]}
        notebook["metadata"]["executed"] = origin
        with written_aside(folder / f"{job.stage}.ipynb") as temporary:
            temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(f"archived {job}")
    if not done:
        raise SentenceError(f"{results.layout.folder} has no executed notebook: run the study.")
    size = sum(path.stat().st_size for path in folder.glob("*.ipynb"))
    print(f"{size / 1e6:.1f} of {MOST_BYTES / 1e6:.0f} MB in {folder}")


def without_the_machine(notebook: dict) -> dict:
    """Return an executed notebook with small pictures and nothing of where and when it ran."""
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        cell["metadata"] = {"tags": tags} if tags else {}
        if "injected-parameters" in tags:
            cell["source"] = _FOLDERS.sub("…/", "".join(cell["source"]))
        if cell["cell_type"] == "code":
            cell["outputs"] = [o for o in map(_small, cell["outputs"]) if o]
    return notebook


def _small(output: dict) -> dict | None:
    """An output in the one form that a page shows; None for progress and warnings."""
    if output["output_type"] == "stream":
        text = _FOLDERS.sub("…/", "".join(output["text"]))
        return None if output["name"] == "stderr" else output | {"text": text}
    shown = next((kind for kind in _SHOWN if kind in output.get("data", ())), None)
    if shown is None:
        return None
    content = "".join(output["data"][shown])
    content = _picture(content) if shown == "image/png" else _FOLDERS.sub("…/", content)
    return output | {"data": {shown: content}, "metadata": {}}


def _picture(png: str) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    share = min(1, DPI / image.info.get("dpi", (DPI,))[0])
    size = [round(side * share) for side in image.size]
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # By the spread of colours, not by how many pixels have one: else the colour key of orientations
    # gets few, where most of a figure is grey.
    small = small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3)
    small.save(file, "PNG", optimize=True, dpi=(DPI, DPI))
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Archive the notebooks of the study that the command names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="docs.book.executed")
    parser.add_argument("study")
    parser.add_argument("stages", nargs="*", help="such as 04; all by default")
    options = parser.parse_args()
    archive(Results(load_study(options.study)), options.stages)


if __name__ == "__main__":
    try:
        main()
    except SentenceError as error:
        raise SystemExit(f"executed: {error}") from None
