"""Errors for users: one sentence that says what is wrong, where, and what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MOST_LETTERS = 400  # of what a library says


class SentenceError(ValueError):
    """An error whose message is one sentence: a notebook prints it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UnusableError(SentenceError):
    """A file of results that is missing or damaged."""


@contextmanager
def in_one_sentence(
    error: Callable[[str], SentenceError], name: str, what_to_do: str, passing=SentenceError
) -> Iterator[None]:
    """Make one sentence of whatever a library raises over a file of this name.

    Errors of a kind, or of several, that are ``passing`` say it themselves.
    """
    try:
        yield
    except passing:
        raise
    except Exception as found:
        words = " ".join(str(found).split())[:_MOST_LETTERS].removesuffix(".")
        if isinstance(found, RecursionError):  # whose words depend on where it happened
            words = "it is nested too deep"
        words = words or type(found).__name__
        raise error(f"{name} cannot be read ({words}): {what_to_do}.") from found


def usable(name: str, what_to_do: str = "remove it", error=UnusableError):
    """:func:`in_one_sentence` of a file of our own, whose readers' sentences tell of scans."""
    return in_one_sentence(error, name, what_to_do, (UnusableError, MemoryError))
