"""Settings of the figures: the regions of interest that their panels show."""

from typing import Annotated

from pydantic import Field, model_validator

from kikuhelpers.study.values import Count, Name, Settings


class Region(Settings):
    """A box of the map in points: given by hand, or only its size, and chosen by a measure.

    With ``size`` the box is the one of its size with most structure inside the grains, or the
    ``rank``-th of those that do not overlap, see
    :func:`kikuhelpers.figures.regions.most_structured_box`.
    """

    scan: Name
    rows: tuple[int, int] | None = None  # first and one past the last
    columns: tuple[int, int] | None = None
    size: tuple[Count, Count] | None = None  # (rows, columns); the whole map where it is smaller
    rank: Count = 1  # of the boxes with a size

    @model_validator(mode="after")
    def _box_or_size(self):
        given = self.rows is not None and self.columns is not None
        if given == (self.size is not None) or (self.rows is None) != (self.columns is None):
            raise ValueError("a region needs either rows and columns or a size")
        if given and self.rank > 1:
            raise ValueError("a region of given rows and columns has no rank")
        for first, last in (self.rows, self.columns) if given else ():
            if not 0 <= first < last:
                raise ValueError(f"a region needs 0 <= first < last, not {first}, {last}")
        return self


class Path4C(Settings):
    """The path of Fig. 4C, in points: its ends, or its length only, and chosen by a measure.

    With ``length`` the path lies where the latent feature has its highest step inside a grain
    and clear of the next, see :func:`kikuhelpers.figures.regions.path_view`.
    """

    scan: Name
    start: tuple[int, int] | None = None  # row, column
    stop: tuple[int, int] | None = None
    length: Annotated[int, Field(ge=3)] | None = None

    @model_validator(mode="after")
    def _ends_or_length(self):
        given = self.start is not None and self.stop is not None
        if given == (self.length is not None) or (self.start is None) != (self.stop is None):
            raise ValueError("a path needs either start and stop or a length")
        return self


class Figures(Settings):
    """Regions of interest by the paper's panel: 4B, 4D, 4E, 5A, 5B, 5C, 6A, 6B, 7, 7C."""

    regions: dict[str, Region] = Field(default_factory=dict)
    path_4c: Path4C | None = None
