"""Errors for users: one sentence that says what is wrong, where, and what to do."""


class SentenceError(ValueError):
    """An error whose message is one sentence: a notebook prints it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]
