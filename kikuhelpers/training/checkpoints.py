"""Checkpoints that a kill cannot spoil: whole or not there, checked, and the one before stays.

A checkpoint is one file: a line with the SHA-256 of all that follows, and what
``torch.save`` writes. It is read as tensors and plain values, so that no code in it runs.
"""

import hashlib
import io
import os
from pathlib import Path

from kikuhelpers.runs.errors import UnusableError, usable
from kikuhelpers.runs.files import written_aside
from kikuhelpers.study.layout import ModelFiles


def save_checkpoint(files: ModelFiles, state: dict) -> None:
    """Write a checkpoint; what was the last one becomes the previous one.

    The state holds tensors, on any device, and plain values, by name.
    """
    import torch  # takes seconds: whoever only removes checkpoints need not wait

    body = io.BytesIO()
    torch.save(state, body)
    with written_aside(files.checkpoint) as temporary:
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(body.getbuffer()).hexdigest().encode() + b"\n")
            file.write(body.getbuffer())
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave a renamed but empty file
        if files.checkpoint.is_file():
            files.checkpoint.replace(files.checkpoint_before)


def load_checkpoint(files: ModelFiles) -> dict | None:
    """Return the state of the last checkpoint, or of the one before if the last is damaged.

    Tensors are on the CPU. None if there is none to use. A damaged one is named in one
    printed line.
    """
    import torch

    for path in filter(Path.is_file, (files.checkpoint, files.checkpoint_before)):
        digest, _, body = path.read_bytes().partition(b"\n")
        try:
            with usable(str(path), "it is left aside"):
                if hashlib.sha256(body).hexdigest().encode() != digest:
                    raise ValueError("its SHA-256 differs")
                return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        except UnusableError as damage:
            print(damage)
    return None


def remove_checkpoints(files: ModelFiles) -> None:
    """Remove the checkpoints of a finished training.

    To be called once the whole job has ended: as long as they are there, a finished training
    is not trained again.
    """
    for path in (files.checkpoint, files.checkpoint_before):
        path.unlink(missing_ok=True)
