"""The figures 1 to 11 of a study: drawn, written and accounted for one by one.

Each ``figNN_name.draw(results)``, called in the style for print, returns a ``PaperFigure``;
its ``missing`` lists, one sentence each, the panels that the study cannot fill, its
``choices`` the latent features and patterns with the measure that chose them.
"""

from importlib import import_module
from pathlib import Path

from kikuhelpers.figures.style import PaperFigure, dropped_figure, print_style, save_figure
from kikuhelpers.runs.files import save_json
from kikuhelpers.runs.results import MissingResultError, Results

# Module and file name of each figure, by the paper's number
_STEMS = sorted(path.stem for path in Path(__file__).parent.glob("fig[0-9]*.py"))
FIGURES = {int(stem[3:5]): stem for stem in _STEMS}


class FigureSet:
    """The figures of a study whose stages have run up to Table 1, one by one.

    Models without results are left out.

    Examples
    --------
    >>> from kikuhelpers.study import load_study
    >>> figures = FigureSet(Results(load_study("smoke", {"scans.wrought.data.seed": 7})))
    >>> figures.make(2).missing
    ["Fig. 2: ... of study 'smoke-with-...' is not there yet."]
    """

    def __init__(self, results: Results):
        self.results = results.complete()
        self.folder = results.layout.figures
        self.card: dict[str, dict] = {}
        if left_out := self.results.left_out:
            self.card["all figures"] = {"files": [], "missing": left_out, "choices": []}

    def make(self, number: int) -> PaperFigure:
        """Draw a figure by the paper's number and write it as PNG and PDF.

        A figure none of whose panels can be filled is not written, and what an earlier
        run wrote of it is removed; so is one that needs a result that is not there.
        """
        stem = FIGURES[number]
        try:
            figure = print_style(import_module(f"kikuhelpers.figures.{stem}").draw)(self.results)
        except MissingResultError as missing:
            figure = dropped_figure(f"Fig. {number}: {missing.what}.")
        for ending in (".png", ".pdf"):
            (self.folder / f"{stem}{ending}").unlink(missing_ok=True)
        files = save_figure(figure, self.folder, stem) if figure.axes else ()
        names = [path.name for path in files]
        self.card[stem] = {"files": names, "missing": figure.missing, "choices": figure.choices}
        return figure

    def close(self) -> list[str]:
        """Write ``figures.json`` and the patterns shown; return one sentence per missing panel."""
        save_json(self.folder / "figures.json", self.card)
        self.results.save_shown()
        return [sentence for entry in self.card.values() for sentence in entry["missing"]]
