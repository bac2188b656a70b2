"""A map to click on, in one HTML file: python -m docs.click_page in718_rx --model vae-64.

The file holds everything: maps at full resolution, and for every n-th point the measured and the
decoded pattern as tiles of a WebP picture, with its numbers and its latent vector. It asks no
server and no address, so it opens from a mail or a stick, without Python.

Needed of the study: its preprocessed patterns (notebook 02). Orientations, latents and weights
may be archived ones. The page is ``<results>/<study>/click_page.html``.
"""

import argparse
import base64
import io
from pathlib import Path

import numpy as np
from jinja2 import Environment
from PIL import Image

from kikuhelpers.figures import drawing
from kikuhelpers.figures.explorer import AWAY, IPF, RESIDUAL, Explorer
from kikuhelpers.latents.coding import decode
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.runs.errors import SentenceError
from kikuhelpers.runs.files import written_aside
from kikuhelpers.runs.provenance import git_commit
from kikuhelpers.runs.results import Results
from kikuhelpers.study import load_study
from kikuhelpers.study.stages import PREPROCESSING, TRAINING, Job
from kikuhelpers.tables.table1 import title_of

TEMPLATE = Path(__file__).with_suffix(".html")
NAME = "click_page.html"
EVERY, PIXELS, FEATURES = 3, 60, 4  # points, side of a shown pattern, latent maps
QUALITY = 60  # of WebP, of 100; the page states what it changes
_LATENT_PERCENT = 99.5  # of the absolute values: the end of the bars
_LARGEST_SIDE = 16_383  # pixels of a WebP picture
# Numbers and maps of the measured and the decoded patterns, in the order of the page, with digits.
_DIGITS = {"pq": 0, RESIDUAL: 1, "grod_deg": 2, "kam_deg": 2, "sharpness": 3, "ci": 2, "fit": 2}
_DIGITS |= {AWAY: 2}
_FIRST_MAPS = (IPF, "pq", RESIDUAL)  # before the latent features


def click_page(results: Results, scan: str, model: str, every: int = EVERY):
    """Return the page as text.

    Parameters
    ----------
    results
        Of a study, with ``archive=True`` for archived orientations, latents and weights.
    scan, model
        Names in the study; the scan's preprocessed patterns must be there.
    every
        Patterns are kept of every so-many-th row and column of the map.

    Raises
    ------
    SentenceError
        The tiles of so many patterns are larger than a WebP picture may be.
    MissingResultError
        A result is not there.
    """
    explorer = Explorer(results, scan, model)
    view = explorer.view
    rows, columns = (np.arange(size)[every // 2 :: every] for size in view.shape)
    if max(len(rows), len(columns)) * PIXELS > _LARGEST_SIDE:
        raise SentenceError(
            f"{len(rows)} x {len(columns)} patterns of {PIXELS} pixels are more than a WebP "
            f"picture holds ({_LARGEST_SIDE} a side): take a larger --every."
        )
    kept = np.ix_(rows, columns)
    latents = np.array(explorer.latents[kept], np.float32)
    flat = np.nan_to_num(latents.reshape(-1, latents.shape[-1]))
    precision = results.study.training_of(model).precision
    decoded = _small(decode(explorer.network, flat, view.mask, precision))
    measured = np.concatenate([to_intensity(explorer.patterns[row, columns]) for row in rows])
    measured, inside = _small(measured), _small(view.mask[None])[0] > 0.5
    limits = [float(v) for v in np.percentile(measured[:, inside], drawing.PATTERN_CLIP_PERCENT)]
    tiles, worst = {}, 0.0
    for name, shown in {"measured": measured, "decoded": decoded}.items():
        tiles[name], error = tiles_of(shown, (len(rows), len(columns)), limits, inside)
        worst = max(worst, error)
    numbers = [name for name in _DIGITS if name in explorer.maps]
    data = {
        "shape": view.shape,
        "step_um": view.step_um,
        "rows": rows.tolist(),
        "columns": columns.tolist(),
        "pixels": PIXELS,
        "limits": limits,
        "inside": "".join("01"[int(i)] for i in inside.ravel()),
        "tiles": tiles,
        "maps": _maps(explorer, numbers),
        "numbers": [_at(explorer, name, kept) for name in numbers],
        "euler": _euler(view, kept),
        "latents": _latents(latents[..., explorer.ranked]),
        "features": explorer.ranked,
        "starts": _starts(explorer, kept),
    }
    return filled(data, _said(results, view, model, every, worst))


def filled(data: dict, said: dict) -> str:
    """Return the page of ``data`` and of what is ``said`` of it.

    No text of a study can become markup or code.
    """
    page = Environment(autoescape=True).from_string(TEMPLATE.read_text())
    return page.render(data=data, **said)


def _said(results: Results, view: View, model: str, every: int, worst: float) -> dict:
    study, records = results.study, results.all_records()
    card, of = results.model(model).card, study.model(model)
    jobs = {"patterns": Job(PREPROCESSING, (view.scan,)), "training": Job(TRAINING, (model,))}
    made = {name: _short(records[job]["commit"]) for name, job in jobs.items()}
    files = results.layout.model_scan(model, view.scan)
    return {
        "title": title_of(study),
        "study": study.name,
        "scan": view.scan,
        "is_virtual": view.is_virtual,
        "model": model,
        "dimensions": of.latent_dim,
        "loss": of.loss,
        "seed": of.seed,
        "presentations": card["presentations"],
        "trained_on": card["patterns"],
        "made": made,
        "commit": _short(git_commit()),
        "archived": not files.latents.is_file(),
        "every": every,
        "pixels": PIXELS,
        "pattern_shape": view.mask.shape,
        "map_shape": view.shape,
        "step_um": view.step_um,
        "worst": worst,
    }


def _short(commit: str) -> str:
    """Ten digits of a commit, and whether files differed from it."""
    digits, plus, changes = commit.partition("+")
    return digits[:10] + plus + changes


def _small(patterns: np.ndarray) -> np.ndarray:
    """Mean of the pixels of patterns (n, h, w) that fall into each of 60 x 60."""
    size = (PIXELS, PIXELS)
    images = (Image.fromarray(np.asarray(pattern, np.float32)) for pattern in patterns)
    return np.stack([np.asarray(image.resize(size, Image.Resampling.BOX)) for image in images])


def tiles_of(patterns: np.ndarray, shape, limits, inside: np.ndarray) -> tuple[str, float]:
    """Patterns (n, h, w) as one WebP picture, and the share of the grey scale it is off by.

    The share is the root of the mean square inside the screen. Outside it the picture holds the
    mean grey, which takes the fewest bytes; the page leaves it out.
    """
    low, high = limits
    grey = np.round(255 * np.clip((patterns - low) / (high - low), 0, 1)).astype(np.uint8)
    grey[:, ~inside] = 128
    (rows, columns), side = shape, patterns.shape[-1]
    whole = grey.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, -1)
    written = _webp(Image.fromarray(whole), quality=QUALITY, method=4)
    again = np.asarray(Image.open(io.BytesIO(written)).convert("L")).astype(float)
    again = again.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(grey.shape)
    error = np.sqrt(np.mean((again - grey)[:, inside] ** 2)) / 255
    return _as_address(written), float(error)


def _webp(image: Image.Image, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", **how)
    return file.getvalue()


def _as_address(picture: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(picture).decode()


def _at(explorer: Explorer, name: str, kept) -> dict:
    """A number at the kept points, with its percentile among all points of the map."""
    values, digits = explorer.maps[name], _DIGITS[name]
    finite = np.sort(values[np.isfinite(values)])
    here = values[kept].ravel()
    share = 100 * np.searchsorted(finite, here, "right") / max(len(finite), 1)
    known = np.isfinite(here)
    return {
        "title": explorer.titles[name],
        "digits": digits,
        "values": [
            round(float(v), digits) if k else None for v, k in zip(here, known, strict=True)
        ],
        "percentiles": [int(s) if k else None for s, k in zip(share, known, strict=True)],
    }


def _euler(view: View, kept) -> list:
    """Bunge's angles in degrees of the kept points, None where not indexed."""
    angles = view.orientations().rotations.to_euler(degrees=True).reshape(*view.shape, 3)
    pairs = zip(angles[kept].reshape(-1, 3), view.indexed()[kept].ravel(), strict=True)
    return [[round(float(a), 1) for a in three] if there else None for three, there in pairs]


def _latents(latents: np.ndarray) -> dict:
    """Latents (rows, columns, D) as bytes: 0 is ``-most``, 255 is ``most`` and what is beyond."""
    most = float(np.nanpercentile(np.abs(latents), _LATENT_PERCENT)) or 1.0
    scaled = np.clip(np.nan_to_num(latents) / most, -1, 1)
    levels = np.round(255 * (scaled + 1) / 2).astype(np.uint8)
    return {"most": most, "bytes": base64.b64encode(levels.tobytes()).decode()}


def _maps(explorer: Explorer, numbers: list[str]) -> list[dict]:
    """Maps as pictures: IPF, numbers, and the latent features of most spatial structure."""
    features, found = list(explorer.titles)[:FEATURES], []
    first = [name for name in _FIRST_MAPS if name in explorer.titles]
    for name in dict.fromkeys([*first, *features, *numbers]):
        rgb, bar = explorer.image(name)
        title, _, note = explorer.titles[name].partition(": ")
        found.append({"title": title, "note": note, "image": _map(rgb)} | bar)
    return found


def _map(rgb: np.ndarray) -> str:
    return _as_address(_webp(Image.fromarray(rgb), lossless=True))


def _starts(explorer: Explorer, kept) -> list[dict]:
    """Points worth a look, each chosen by a measure among the kept points."""
    measures = {
        "median residual": (RESIDUAL, lambda values: -np.abs(values - np.nanmedian(values))),
        "highest residual": (RESIDUAL, np.positive),
        "highest IQ": ("pq", np.positive),
        "lowest IQ": ("pq", np.negative),
        "highest KAM": ("kam_deg", np.positive),
        "decoded farthest off": (AWAY, np.positive),
    }
    here = {name: explorer.maps[name][kept] for name in _DIGITS if name in explorer.maps}
    known = {n: of(here[name]) for n, (name, of) in measures.items() if name in here}
    known = {n: values for n, values in known.items() if np.isfinite(values).any()}
    return [{"title": name, "point": int(np.nanargmax(v))} for name, v in known.items()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="docs.click_page")
    parser.add_argument("study")
    parser.add_argument("--model", default="vae-64")
    parser.add_argument("--scan", help="by default the study's first one")
    parser.add_argument("--every", type=int, default=EVERY, help="keep every n-th row and column")
    return parser.parse_args()


def main() -> None:
    """Write the page of a study and say where it is."""
    options = _options()
    results = Results(load_study(options.study), archive=True)
    scan = options.scan or next(iter(results.study.scans))
    page = click_page(results, scan, options.model, options.every)
    path = results.layout.folder / NAME
    with written_aside(path) as temporary:
        temporary.write_text(page)
    print(f"{path} ({len(page.encode()) / 1e6:.1f} MB)")


if __name__ == "__main__":
    try:
        main()
    except SentenceError as error:
        raise SystemExit(f"click_page: {error}") from None
