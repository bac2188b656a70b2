"""Files that are whole or not there: write aside, then rename."""

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_HASH_CHUNK_BYTES = 1 << 22


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path``, of the same ending, that no other process uses."""
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")


@contextmanager
def written_aside(path: str | Path):
    """Yield a temporary path; rename it to ``path`` on success, remove it on error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_json(path: str | Path, content: Any) -> None:
    """Write JSON, readable by eye."""
    with written_aside(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n")


def load_json(path: str | Path) -> Any:
    """Read JSON."""
    return json.loads(Path(path).read_text())


def save_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array as .npy."""
    with written_aside(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


class MissingResultError(FileNotFoundError):
    """A result that no notebook has made yet; the message is one sentence for its user."""

    def __init__(self, path: Path, maker: str):
        super().__init__(f"{path} is not there yet: run {maker} first.")
        self.path, self.maker = path, maker


def require(path: str | Path, maker: str) -> Path:
    """Return ``path`` if it is there.

    Raises
    ------
    MissingResultError
        Says in one sentence which notebook makes it.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingResultError(path, maker)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def save_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, five digits, without its index."""
    with written_aside(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g")
