"""Pictures of docs/own_scan.md, from a real walk: python -m docs.own_scan /tmp/walk.

Every third point of the measured crop becomes a scan file, the commands of the page run on it, and
pictures are taken out of the executed notebooks. What is in the folder is not made again.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from docs.book.executed import without_the_machine
from kikuhelpers.patterns.up2 import Up2Writer
from kikuhelpers.scans.public import in718_rows
from kikuhelpers.study import PROJECT_ROOT

NAME, ROWS, EVERY = "my_scan", (0, 120), 3  # of the crop; every third row and column
# Corrections of what the first command wrote. A network that is there makes it a walk of minutes.
CORRECTED = {
    "{phase: null}": "{phase: {name: Ni, space_group: 225, lattice_nm: 0.36}}",
    "vae-16: {latent_dim: 16}": "vae-16: {latent_dim: 16, weights: in718_rx/vae-16}",
    "models:\n": "preprocessing: {mask: {centre: [59.5, 59.5], radius: 57.5}}\nmodels:\n",
}
# Notebook, and which of its pictures.
PICTURES = {
    "patterns": ("01_diffraction_data", 0),
    "preprocessed": ("02_preprocessing", 2),
    "orientations": ("03_indexing", 0),
    "training": ("04_training", 0),
    "latent_maps": ("05_latent_maps", 0),
    "reconstruction": ("06_reconstruction", 1),
    "reindexed": ("08_reindexing", 0),
}


def walk(folder: Path) -> None:
    """Do what the page says, in a folder."""
    command = [sys.executable, "-P", "-m", "kikuhelpers"]
    places = {f"KIKUHELPERS_{k.upper()}": str(folder / k) for k in ("results", "figures")}
    folder.mkdir(parents=True, exist_ok=True)
    scan, study = folder / f"{NAME}.up2", folder / f"{NAME}.yaml"
    if not scan.is_file():
        crop = np.concatenate([rows[:, ::EVERY] for rows in in718_rows(ROWS)])[::EVERY]
        with Up2Writer(scan, crop.shape[:2], crop.shape[2:], step_um=EVERY) as writer:
            writer.append(crop.reshape(-1, *crop.shape[2:]))
    if not study.is_file():
        subprocess.run([*command, "new", scan.name], cwd=folder, check=True)
        text = study.read_text()
        for written, corrected in CORRECTED.items():
            text = text.replace(written, corrected)
        study.write_text(text)
    subprocess.run([*command, study.name], cwd=folder, env=os.environ | places, check=True)


def take_pictures(folder: Path, to: Path) -> None:
    """Bring the pictures of the walk into ``to``, at 100 dpi."""
    to.mkdir(exist_ok=True)
    look = Image.open(folder / f"{NAME}.png").convert("RGB")
    look = look.reduce(2).quantize(128, Image.Quantize.MAXCOVERAGE, kmeans=3)
    look.save(to / "first_look.png", optimize=True)
    for name, (stage, which) in PICTURES.items():
        executed = sorted((folder / "results" / NAME / "notebooks").glob(f"{stage}.*ipynb"))[-1]
        notebook = without_the_machine(json.loads(executed.read_text("utf-8")))
        shown = [o["data"] for c in notebook["cells"] for o in c.get("outputs", ()) if "data" in o]
        pictures = [data["image/png"] for data in shown if "image/png" in data]
        (to / f"{name}.png").write_bytes(base64.b64decode(pictures[which]))


if __name__ == "__main__":
    walk(place := Path(sys.argv[1]).resolve())
    take_pictures(place, PROJECT_ROOT / "docs" / "own_scan")
