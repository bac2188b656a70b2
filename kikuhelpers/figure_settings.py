"""Settings of the figures: the regions of interest that their panels show."""

from pydantic import Field, model_validator

from kikuhelpers.settings import Count, Name, Settings


class Region(Settings):
    """A box of the map in points: given by hand, or only its size, and chosen by a measure.

    With ``size`` the box is the one of its size with most structure inside the grains, see
    :func:`kikuhelpers.figures.regions.most_structured_box`.
    """

    scan: Name
    rows: tuple[int, int] | None = None  # first and one past the last
    columns: tuple[int, int] | None = None
    size: tuple[Count, Count] | None = None  # (rows, columns); the whole map where it is smaller

    @model_validator(mode="after")
    def _box_or_size(self):
        given = self.rows is not None and self.columns is not None
        if given == (self.size is not None) or (self.rows is None) != (self.columns is None):
            raise ValueError("a region needs either rows and columns or a size")
        for first, last in (self.rows, self.columns) if given else ():
            if not 0 <= first < last:
                raise ValueError(f"a region needs 0 <= first < last, not {first}, {last}")
        return self


class Path4C(Settings):
    """The path of Fig. 4C, in points: (row, column) of its ends."""

    scan: Name
    start: tuple[int, int]
    stop: tuple[int, int]


class Figures(Settings):
    """Regions of interest by the paper's panel: 4B, 4D, 4E, 5A, 5B, 5C, 6A, 6B, 7, 7C."""

    regions: dict[str, Region] = Field(default_factory=dict)
    path_4c: Path4C | None = None
