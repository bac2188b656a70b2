"""The look of the figures and their files: one set of sizes, one way to save.

Figures and their files are as wide as a journal's page or column; every text is 6 pt or larger at
that width. Files carry no date and no software version, so that a run repeated on the same
results writes the same bytes. A PNG stays below 400 kB, so that git can hold it; a PDF is for
print, with pictures of 300 dpi and text as text, however large.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from kikuhelpers.runs.files import written_aside

PAGE_MM, COLUMN_MM = 183.0, 89.0  # widths of a journal's page and of its column
INCH_PER_MM = 1 / 25.4
MAX_BYTES = 400_000  # of a PNG
PRINT_DPI = 300

ALL_COLOURS = None
# Tried in this order until a PNG is small enough: (dots per inch, colours or all of them).
PNG_STEPS = [(dpi, ALL_COLOURS) for dpi in (PRINT_DPI, 250, 200)]
PNG_STEPS += [(250, 256), (200, 256), (200, 128), (200, 64), (150, 64), (100, 32)]
SCREEN_STEP = (150, ALL_COLOURS)  # for a notebook

LETTER_MM = 1.5  # mean width of a figure's title; matplotlib's own folding fails on saving
_EDGE_INCHES = 0.02  # above and below a file's content
_STYLE_FILE = Path(__file__).with_name("paper.mplstyle")
_SIZES = mpl.rc_params_from_file(_STYLE_FILE, use_default_template=False)
TEXT_PT, SMALL_PT = _SIZES["font.size"], _SIZES["axes.labelsize"]
print_style = mpl.style.context(_STYLE_FILE)  # decorates a function that draws a figure


class PaperFigure(Figure):
    """A figure that knows which panels it could not fill and how it chose its features."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.missing: list[str] = []  # a sentence per panel that this study cannot fill
        self.choices: list[str] = []  # a sentence per feature or pattern chosen by a measure

    def note_lacking(self, sentence: str, wanted: Iterable[str], there: Iterable[str]) -> None:
        """Add a sentence to ``missing`` that names, in its {}, what is wanted and not there."""
        if lacking := [name for name in wanted if name not in set(there)]:
            self.missing.append(sentence.format(", ".join(lacking)))

    def note_choice(self, panel: str, choice) -> None:
        """Write down which latent feature a panel, for example "4A", shows and why."""
        self.choices.append(f"Fig. {panel}: {choice.name}: {choice.reason}")

    def _repr_png_(self) -> bytes:
        return _png(self, *SCREEN_STEP)


def new_figure(height_mm: float, title="", width_mm=PAGE_MM, layout="compressed") -> PaperFigure:
    """Return an empty :class:`PaperFigure` of a size in millimetres, with its title."""
    figure = PaperFigure(figsize=(width_mm * INCH_PER_MM, height_mm * INCH_PER_MM), layout=layout)
    if title:
        figure.suptitle(fill(title, int(width_mm / LETTER_MM)), parse_math=False)
    return figure


def dropped_figure(*sentences: str) -> PaperFigure:
    """Return a figure without axes whose only content is why it is not there."""
    figure = new_figure(height_mm=8, layout="none")
    figure.missing.extend(sentences)
    figure.text(0.01, 0.5, " ".join(sentences), va="center")
    return figure


def save_figure(figure: Figure, folder: str | Path, stem: str) -> tuple[Path, Path]:
    """Write a figure as ``stem``.png and .pdf, each whole or not at all; return their paths.

    Raises
    ------
    ValueError
        Even the coarsest PNG is too large.
    """
    pngs = (_png(figure, *step) for step in PNG_STEPS)
    small = next((png for png in pngs if len(png) < MAX_BYTES), None)
    if not small:
        limit = f"{MAX_BYTES // 1000} kB"
        raise ValueError(f"{stem}.png cannot be made smaller than {limit}; show less in it.")
    content = {Path(folder) / f"{stem}.png": small, Path(folder) / f"{stem}.pdf": _pdf(figure)}
    for path, data in content.items():
        with written_aside(path) as temporary:
            temporary.write_bytes(data)
    return tuple(content)


def _cropped(figure: Figure) -> Bbox:
    """A figure's content, in inches; the width stays, for a journal prints files by it."""
    figure.draw_without_rendering()
    low, high = figure.get_tightbbox().intervaly
    return Bbox([[0, low - _EDGE_INCHES], [figure.get_figwidth(), high + _EDGE_INCHES]])


@print_style
def _png(figure: Figure, dpi: int, colours: int | None) -> bytes:
    raw, small = io.BytesIO(), io.BytesIO()
    unnamed, box = {"Software": None}, _cropped(figure)
    figure.savefig(raw, format="png", dpi=dpi, metadata=unnamed, bbox_inches=box)
    image = Image.open(raw).convert("RGB")
    if colours is not ALL_COLOURS:
        # Unlike a median cut this keeps colours that are rare, such as of particles; k-means
        # then moves the palette to the colours there are.
        image = image.quantize(
            colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
        )
    image.save(small, format="png", optimize=True, dpi=(dpi, dpi))
    return small.getvalue()


@print_style
def _pdf(figure: Figure) -> bytes:
    data = io.BytesIO()
    undated = {"CreationDate": None, "Creator": None, "Producer": None}
    box = _cropped(figure)
    figure.savefig(data, format="pdf", dpi=PRINT_DPI, metadata=undated, bbox_inches=box)
    return data.getvalue()
