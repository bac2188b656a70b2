"""Settings of the figures: the regions of interest that their panels show."""

from pydantic import Field, model_validator

from kikuhelpers.settings import Name, Settings


class Region(Settings):
    """A box of the map, in points: first and one past the last."""

    scan: Name
    rows: tuple[int, int]
    columns: tuple[int, int]

    @model_validator(mode="after")
    def _not_empty(self):
        for first, last in (self.rows, self.columns):
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
