"""Errors for users: one sentence that says what is wrong, where, and what to do."""

from contextlib import contextmanager


class SentenceError(ValueError):
    """An error whose message is one sentence: a notebook prints it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UnusableError(SentenceError):
    """A file of results that is missing or damaged."""


@contextmanager
def readable(what: str, remedy: str = "remove it", error=UnusableError):
    """Turn whatever a library says of a file that is damaged, or not its own, into a sentence."""
    try:
        yield
    except (MemoryError, UnusableError):
        raise
    except Exception as found:
        said = " ".join(str(found).split())[:200].removesuffix(".") or type(found).__name__
        raise error(f"{what} cannot be used ({said}): {remedy}") from None
