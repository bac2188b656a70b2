"""Scan a virtual specimen: patterns to a UP2 file, truth to a file beside it.

Patterns are made in chunks of some hundred. A chunk is a function of its place in the map alone.
Threads work on different chunks, since the compiled projection and numpy's random numbers do not
hold the interpreter's lock.
"""

import hashlib
import io
import json
import os
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from kikuhelpers.patterns.streaming import progress_bar, side_by_side
from kikuhelpers.patterns.up2 import Up2Writer
from kikuhelpers.runs.files import written_aside
from kikuhelpers.scans.virtual.microscope import VirtualMicroscope
from kikuhelpers.scans.virtual.specimen import VirtualSpecimen, components
from kikuhelpers.study.scans import VirtualData
from kikuhelpers.study.stages import plain

CHUNK_PIXELS = 1 << 22  # of the patterns that a thread makes at a time: 300 of 120 x 120
TILE_COLUMNS = 20  # patterns side by side in an image that is coded, as in the published tiles
LEVELS = 255  # of an 8-bit image


def simulate(scan: VirtualData, up2_path: str | Path, truth_path: str | Path) -> None:
    """Write a scan's patterns (UP2) and its truth (HDF5); both appear when complete.

    The truth of each point is that of :class:`~kikuhelpers.scans.virtual.specimen.State`, and
    ``own_share``: the share (float32) of the pattern that comes from the lattice under the beam;
    1 where the interaction volume holds no other.

    The noise depends on all settings of the data except the lossy coding. Two scans of one
    specimen have different noise, unless they differ in their coding alone. A setting that came
    later counts only where it differs from before, so that old scans keep their noise.
    """
    maker = ScanMaker(scan)
    with (
        Up2Writer(up2_path, scan.map_shape, maker.microscope.screen.shape, scan.step_um) as writer,
        written_aside(truth_path) as temporary,
        h5py.File(temporary, "w") as file,
        progress_bar(maker.points, "simulating") as bar,
    ):
        file.attrs["map_shape"] = scan.map_shape
        threads = os.cpu_count() or 1
        for start, (patterns, truth) in side_by_side(maker.chunk, maker.starts, threads):
            writer.append(patterns)
            for name, values in truth.items():
                shape = maker.points, *values.shape[1:]
                whole = file.require_dataset(name, shape, values.dtype)
                whole[start : start + len(values)] = values
            bar.update(len(patterns))


class ScanMaker:
    """Makes the patterns of a scan chunk by chunk; threads may share it."""

    def __init__(self, scan: VirtualData):
        self.scan = scan
        self.specimen = VirtualSpecimen(scan.specimen, scan.seed)
        self.microscope = VirtualMicroscope(scan)
        self.points = int(np.prod(scan.map_shape))
        self._chunk = max(1, CHUNK_PIXELS // self.microscope.screen.size)
        self.starts = range(0, self.points, self._chunk)
        settings = {name: value for name, value in plain(scan).items() if name != "webp_quality"}
        digest = hashlib.sha256(json.dumps(settings, separators=(",", ":")).encode()).digest()
        self._noise_seed = int.from_bytes(digest[:8], "little")

    def chunk(self, start: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return patterns and truth of the points from there on, in map order."""
        signal, truth = self.signal(start)
        noise = np.random.default_rng((self._noise_seed, start))
        patterns = self.microscope.expose(signal, noise)
        if self.scan.webp_quality is not None:
            patterns = _code_lossily(patterns, self.scan.webp_quality)
        return patterns, truth

    def signal(self, start: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the noise-free signal (n, pixels of the screen) of a chunk, and its truth."""
        index = np.arange(start, min(start + self._chunk, self.points))
        points = np.stack(np.unravel_index(index, self.scan.map_shape), axis=1)
        places = self.scan.origin_um + self.scan.step_um * points
        seen = components(self.specimen, places, self.scan.microscope.interaction_um)
        state = self.specimen.at(places)
        own = seen.domain == state.domain[seen.point]
        own_share = np.bincount(seen.point, seen.share * own, len(points)).astype(np.float32)
        return self.microscope.signal(seen, points), vars(state) | {"own_share": own_share}


def _code_lossily(patterns: np.ndarray, quality: int) -> np.ndarray:
    """Patterns (n, height, width) as they come back from 8-bit WebP of a ``quality`` of 0 to 100.

    The measured crop was published so (see ``data/README.md``). Its originals are not public,
    so nobody can say what the coding took from them; the originals of virtual patterns are known.
    """
    n, height, width = patterns.shape
    # Each pattern is stretched to its own range before coding.
    low, high = (end(patterns, axis=(1, 2), keepdims=True) for end in (np.min, np.max))
    span = np.maximum(high - low, 1).astype(np.float32)
    rows = -(-n // TILE_COLUMNS)
    tiles = np.zeros((rows * TILE_COLUMNS, height, width), np.uint8)
    tiles[:n] = np.round((patterns - low) * (LEVELS / span))
    grid = (rows, TILE_COLUMNS, height, width)
    image = tiles.reshape(grid).swapaxes(1, 2).reshape(rows * height, -1)
    file = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(file, "WEBP", quality=quality)
    coded = np.asarray(Image.open(file))[..., 0].reshape(rows, height, TILE_COLUMNS, width)
    coded = coded.swapaxes(1, 2).reshape(-1, height, width)[:n]
    return np.round(low + coded * (span / LEVELS)).astype(np.uint16)
