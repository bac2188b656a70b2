"""The explorer in a notebook: questions of a browser, answered by :class:`Explorer`.

anywidget (https://anywidget.dev) carries them between ``explorer.js`` and here: pictures as bytes,
all else as JSON. No other module knows of it.
"""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import anywidget
import numpy as np
from pydantic import Field, ValidationError, validate_call
from pydantic_core import to_jsonable_python

from kikuhelpers.figures import drawing
from kikuhelpers.figures.explorer import IPF, Explorer, Method, Point
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.results import Results
from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.load import root_of

MOST_FRAMES = 101  # of a path
_QUESTIONS = ("open", "map", "point", "decode", "path", "line", "detector", "clusters")


class ExplorerWidget(anywidget.AnyWidget):
    """The explorer in a notebook; ``explorer.js`` says what its front end asks and draws.

    Parameters are those of :class:`Explorer`; "" stands for the first that can be opened. A
    question is ``{"ask": name, "id": any, ...}``, its values those of the method ``_name`` here;
    the answer holds the same ``id``, the milliseconds ``ms`` that it took, and either what was
    asked for or an ``error`` of one sentence.
    """

    _esm = Path(__file__).with_name("explorer.js")
    _css = Path(__file__).with_name("explorer.css")

    def __init__(self, results: Results, scan: str, model: str):
        super().__init__()
        self.explorer = _explorer(results, scan, model)
        self._measured = self.explorer.at(0, 0)["measured"]  # what decoded patterns stand beside
        self.on_msg(lambda _, question, __: self.send(*self.answer(question)))

    def answer(self, question: dict) -> tuple[dict, list[bytes]]:
        """Answer a question of the front end: what goes as JSON, and pictures as bytes."""
        begin = perf_counter()
        values = dict(question) if isinstance(question, dict) else {}
        known = {"ask": values.pop("ask", None), "id": values.pop("id", None)}
        try:
            if known["ask"] not in _QUESTIONS:
                asked = ", ".join(_QUESTIONS)
                raise SentenceError(f"There is no question '{known['ask']}'; there are {asked}.")
            found, pictures = getattr(self, f"_{known['ask']}")(**values)
        except ValidationError as error:
            wrong, name = error.errors()[0], known["ask"]
            where = ".".join(map(str, wrong["loc"]))
            found, pictures = {"error": f"Question '{name}': {where}: {wrong['msg']}."}, []
        except SentenceError as error:
            found, pictures = {"error": str(error)}, []
        found = to_jsonable_python(found, inf_nan_mode="null", fallback=lambda v: v.tolist())
        found |= known | {"ms": 1000 * (perf_counter() - begin)}
        return found, [np.ascontiguousarray(picture).tobytes() for picture in pictures]

    @validate_call
    def _open(self, study: str = "", scan: str = "", model: str = ""):
        """The whole state, after a change of the study, the scan or the model."""
        results = self.explorer.results
        if study and study != results.study.origin.source:
            results, scan, model = Results(load_study(study), archive=True), "", ""
        source, names = results.study.origin.source, results.study.mapped_scans
        if study or scan or model:
            self.explorer = _explorer(results, scan, model)
        now, there = self.explorer, root_of("results")
        files = sorted(path.stem for path in (PROJECT_ROOT / "studies").glob("*.yaml"))
        chosen = {"study": source, "scan": now.scan, "model": now.model, "label": now.view.label}
        choices = {"studies": [name for name in files if (there / name).is_dir()], "scans": names}
        choices |= {"models": _usable(results, now.scan), "maps": now.titles, "ranked": now.ranked}
        grid = {"shape": now.view.shape, "step_um": now.view.step_um, "pixels": now.mask.shape}
        return chosen | choices | grid, [now.mask.astype(np.uint8)]

    @validate_call
    def _map(self, name: str):
        colours, bar = self.explorer.image(name)
        key = [self.explorer.key.astype(np.uint8)] if name == IPF else []
        return bar | {"keys": [picture.shape for picture in key]}, [colours, *key]

    @validate_call
    def _point(self, row: int, column: int):
        found = self.explorer.at(row, column)
        self._measured, decoded = found.pop("measured"), found.pop("decoded")
        said, greys = self._compared(decoded)
        measured = _grey(self._measured, *said["limits"])
        return {"row": row, "column": column} | found | said, [measured, *greys]

    @validate_call
    def _decode(self, latents: list[float]):
        return self._compared(self.explorer.decode(np.array(latents))[0])

    @validate_call
    def _path(self, start: Point, stop: Point, count: Annotated[int, Field(ge=2, le=MOST_FRAMES)]):
        patterns, numbers = self.explorer.path(start, stop, count)
        said, greys = self._compared(patterns)
        return said | {"numbers": numbers}, greys

    @validate_call
    def _line(self, start: Point, stop: Point, names: list[str]):
        return self.explorer.line(start, stop, names), []

    @validate_call
    def _detector(self, top: int, left: int, bottom: int, right: int):
        pixels = np.zeros(self.explorer.mask.shape, bool)
        pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        self.explorer.detector(pixels)
        return {"maps": self.explorer.titles}, []

    @validate_call
    def _clusters(self, method: Method, count: Annotated[int, Field(ge=2)]):
        labels, agreement = self.explorer.clusters(method, count)
        said = {"found": int(labels.max()) + 1, "agreement": agreement}
        return said | {"maps": self.explorer.titles}, [labels.astype(np.int16)]

    def _compared(self, decoded: np.ndarray):
        """Greys of decoded patterns (..., h, w) and of their differences from the measured one.

        One scale holds for all: ``limits`` of the measured pattern, and as wide about 0 for the
        differences. ``left`` is the half sum of squares on the screen.
        """
        mask, apart = self.explorer.mask, decoded - self._measured
        low, high = drawing.pattern_limits(self._measured, mask)
        half, left = (high - low) / 2, 0.5 * (apart[..., mask] ** 2).sum(axis=-1)
        greys = [_grey(decoded, low, high), _grey(apart, -half, half)]
        return {"limits": [low, high], "left": left}, greys


def _grey(patterns: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.round(np.clip((patterns - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _explorer(results: Results, scan: str, model: str) -> Explorer:
    """Open a scan through a model: the study's first ones that can be, where none is named."""
    scan = scan or results.study.mapped_scans[0]
    usable = [*_usable(results, scan), *results.study.models, ""]
    return Explorer(results, scan, model or usable[0])


def _usable(results: Results, scan: str) -> list[str]:
    """Models whose weights and whose latents of a scan are there."""
    layout = results.layout
    there = [name for name in results.study.models if results.has(layout.model(name).weights)]
    return [name for name in there if results.has(layout.model_scan(name, scan).latents)]
