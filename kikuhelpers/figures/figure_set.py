"""The paper's figures 1 to 11, drawn from the result files of a study.

Each ``figure_n(study)`` returns a :class:`~kikuhelpers.figures.style.PaperFigure`; its
``missing`` lists, one sentence each, the panels that the study cannot fill, its
``choices`` the latent features and patterns with the measure that chose them.
"""

from kikuhelpers.figures.latent_maps import figure_4, figure_5, figure_6, figure_7, figure_9
from kikuhelpers.figures.network_diagram import figure_3
from kikuhelpers.figures.orientations import figure_11
from kikuhelpers.figures.overview import figure_1, figure_2
from kikuhelpers.figures.patterns import figure_8, figure_10
from kikuhelpers.figures.shown import forget_shown, save_shown
from kikuhelpers.figures.style import PaperFigure, dropped_figure, save_figure
from kikuhelpers.runs.available import with_results
from kikuhelpers.runs.files import MissingResultError, save_json
from kikuhelpers.study.layout import Layout
from kikuhelpers.study.study import Study

FIGURES = {
    1: ("fig01_overview", figure_1),
    2: ("fig02_orientations", figure_2),
    3: ("fig03_network", figure_3),
    4: ("fig04_latent_maps", figure_4),
    5: ("fig05_latent_against_physical", figure_5),
    6: ("fig06_features_and_grod", figure_6),
    7: ("fig07_fine_step", figure_7),
    8: ("fig08_dimensions", figure_8),
    9: ("fig09_cells_by_dimension", figure_9),
    10: ("fig10_beta", figure_10),
    11: ("fig11_reindexed", figure_11),
}


class FigureSet:
    """The figures of one study: draw, write and account for them one by one.

    Parameters
    ----------
    study
        A study whose notebooks 01 to 07 have run, or whose kept results were restored.
        Models without results are left out.
    """

    def __init__(self, study: Study):
        self.study, left_out = with_results(study)
        self.layout = Layout(study)
        self.folder = self.layout.figures
        self.card: dict[str, dict] = {}
        if left_out:
            self.card["all figures"] = {"files": [], "missing": left_out, "choices": []}
        forget_shown(self.layout.shown_patterns)

    def make(self, number: int) -> PaperFigure:
        """Draw a figure by the paper's number and write it as PNG and PDF.

        A figure none of whose panels can be filled is not written, and what an earlier
        run wrote of it is removed; so is one that needs a result that is not there.
        """
        stem, draw = FIGURES[number]
        try:
            figure = draw(self.study)
        except MissingResultError as missing:
            result = missing.path.relative_to(self.layout.folder).as_posix()
            figure = dropped_figure(f"Fig. {number}: {result} is not there: run {missing.maker}.")
        files = ()
        for ending in (".png", ".pdf"):
            (self.folder / f"{stem}{ending}").unlink(missing_ok=True)
        if figure.axes:
            files = save_figure(figure, self.folder, stem)
        self.card[stem] = {
            "files": [path.name for path in files],
            "missing": figure.missing,
            "choices": figure.choices,
        }
        return figure

    def close(self) -> list[str]:
        """Write ``figures.json`` and the patterns shown; return one sentence per missing panel."""
        save_json(self.folder / "figures.json", self.card)
        save_shown(self.layout.shown_patterns)
        return [sentence for entry in self.card.values() for sentence in entry["missing"]]
