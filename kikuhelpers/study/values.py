"""What all settings of a study have in common: the base class and the types of values."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values are finite and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    # Settings that came after results had been made, and the value that those were made with.
    came_later: ClassVar[dict[str, Any]] = {}
    # Settings that are gone, and the value that always holds now: records of before state it.
    gone: ClassVar[dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_gone(cls, given: Any) -> Any:
        if not (cls.gone and isinstance(given, dict)):
            return given
        return {name: value for name, value in given.items() if cls.gone.get(name, ...) != value}
