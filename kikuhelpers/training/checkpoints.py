"""Checkpoints that a kill cannot spoil: whole or not there, checked, and the one before kept.

A checkpoint is one file: a line with the SHA-256 of all that follows, a line of JSON, and
tensors in the safetensors format. Nothing in it is unpickled.
"""

import hashlib
import json
import os

import safetensors.torch
from torch import Tensor

from kikuhelpers.runs.files import written_aside
from kikuhelpers.study.layout import ModelFiles


def save_checkpoint(files: ModelFiles, state: dict, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint; what was the last one becomes the previous one.

    Parameters
    ----------
    files
        ``checkpoint`` and ``checkpoint_before`` are written.
    state
        Plain values, as JSON takes them.
    tensors
        Tensors by name, on any device.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    body = json.dumps(state).encode() + b"\n" + safetensors.torch.save(plain)
    with written_aside(files.checkpoint) as temporary:
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n")
            file.write(body)
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave a renamed but empty file
        if files.checkpoint.is_file():
            files.checkpoint.replace(files.checkpoint_before)


def load_checkpoint(files: ModelFiles) -> tuple[dict, dict[str, Tensor]] | None:
    """Return (state, tensors) of the last checkpoint, or of the one before if it is damaged.

    None if there is none to use. A damaged one is named in one printed line.
    """
    for path in (files.checkpoint, files.checkpoint_before):
        if not path.is_file():
            continue
        digest, _, body = path.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() == digest:
            state, _, tensors = body.partition(b"\n")
            return json.loads(state), safetensors.torch.load(tensors)
        print(f"{path} is damaged (its SHA-256 differs): it is left aside.")
    return None


def remove_checkpoints(files: ModelFiles) -> None:
    """Remove the checkpoints of a finished training and what a kill left beside them."""
    files.checkpoint.unlink(missing_ok=True)
    files.checkpoint_before.unlink(missing_ok=True)
    remove_leftovers(files)


def remove_leftovers(files: ModelFiles) -> None:
    """Remove half-written checkpoints of killed runs."""
    for path in files.folder.glob(f".{files.checkpoint.stem}.*{files.checkpoint.suffix}"):
        path.unlink(missing_ok=True)
