"""kikuhelpers: see microstructure through a neural latent space of Kikuchi patterns.

Modules stand in the order of the data: ``settings``, ``specimen_settings``,
``microscope_settings``, ``figure_settings``, ``baseline_settings`` and ``study`` (the
parameters), ``layout`` and ``available`` (where files are and which), ``up2``,
``public_scans``, ``virtual`` and ``readers`` (scans), ``preprocessing``, ``vae``, ``losses``,
``augmentation`` and ``training`` (models), ``latents`` and ``reconstruction``,
``decompositions`` and ``baselines`` (what models are compared with), ``indexing``,
``confidence``, ``orientation_maps``, ``held_out`` and ``quality`` (orientations),
``residuals``, ``realism`` (virtual against measured), ``intervals``, ``tables``,
``generalisation``, ``orientation_shares``, ``linear_table`` and ``figures``, ``kept`` (small
copies of results) and ``final_notebooks`` (tables and figures from these).
"""

import os
import sys
from pathlib import Path

__version__ = "0.1.0"

# PyEBSDIndex points numba's cache to this folder when it is imported. orix's cached
# functions come in two parts, and a process that finds one part here and compiled the
# other for another folder crashes (segmentation fault). So the folder is set before
# anything compiles, the same in every process.
os.environ["NUMBA_CACHE_DIR"] = str(Path.home() / ".pyebsdindex" / "numbacache") + os.sep
if "numba" in sys.modules:
    sys.modules["numba"].config.reload_config()
