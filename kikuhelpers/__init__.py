"""kikuhelpers: see microstructure through a neural latent space of Kikuchi patterns.

The rooms stand in the order of the data: ``scans``, ``preprocessing``, ``indexing``,
``training``, ``latents``, ``baselines``, ``tables``, ``figures``. Beside them stand ``study``
(settings, what depends on what, where files lie), ``patterns`` (pattern files and their
masks) and ``runs`` (records, results by name, the archive). The names below are what a notebook
user needs; each is imported when it is first used.
"""

import importlib
import os
import sys
from pathlib import Path

__version__ = "0.1.0"

# Public name: the module that holds it.
_PUBLIC = {
    "load_study": "study",
    "begin": "runs.provenance",
    "Results": "runs.results",
    "open_scan": "scans.readers",
    "preprocess": "preprocessing.preprocess",
    "index_patterns": "indexing.hough",
    "train": "training.loop",
    "load_model": "latents.coding",
    "encode": "latents.coding",
    "decode": "latents.coding",
    "FigureSet": "figures.figure_set",
}
__all__ = list(_PUBLIC)

# PyEBSDIndex points numba's cache to this folder when it is imported. orix's cached
# functions come in two parts, and a process that finds one part here and compiled the
# other for another folder crashes (segmentation fault). So the folder is set before
# anything compiles, the same in every process.
os.environ["NUMBA_CACHE_DIR"] = str(Path.home() / ".pyebsdindex" / "numbacache") + os.sep
if "numba" in sys.modules:
    sys.modules["numba"].config.reload_config()


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"kikuhelpers has no '{name}'; it has {', '.join(_PUBLIC)}.")
    return getattr(importlib.import_module(f"kikuhelpers.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
