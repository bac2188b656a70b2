"""One way to show progress: a text bar, in a terminal, a notebook or a log alike."""

from tqdm import tqdm

_SECONDS = 1.0  # between two redraws: every redraw stays in an executed notebook


def progress_bar(total: int, stage: str, unit: str = "pattern", done: int = 0) -> tqdm:
    """Return a bar to ``update(n)``; use it in a ``with`` statement."""
    return tqdm(total=total, desc=stage, unit=unit, initial=done, mininterval=_SECONDS)
