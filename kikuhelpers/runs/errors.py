"""Errors for users: one sentence that says what is wrong, where, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager


class SentenceError(ValueError):
    """An error whose message is one sentence: a notebook prints it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


@contextmanager
def in_one_sentence(kind: type[SentenceError], name: str, what_to_do: str) -> Iterator[None]:
    """Make one sentence of whatever a library raises over a file of this name."""
    try:
        yield
    except SentenceError:
        raise
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, RecursionError):  # whose words depend on where it happened
            words = "it is nested too deep"
        raise kind(f"{name} cannot be read ({words}): {what_to_do}.") from error
