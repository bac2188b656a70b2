"""Scans in the formats that kikuchipy reads, and in images: a map that is read when sliced.

And what a file says of step, camera and phases. kikuchipy takes a default where a file says
nothing, and misreads some: Bruker's sample tilt as 0, a pattern centre of EDAX's that nobody set as
the corner of the screen. So what is a default or not plausible does not count.
"""

import re
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

import dask.array as da
import numpy as np

from kikuhelpers.patterns.up2 import PatternFileError

_LARGEST_STEP_UM = 1000.0  # a map is some mm wide
_EQUAL_STEPS = 1.01  # ratio of the steps along rows and columns of a square grid
# kikuchipy's defaults, and the limits of what is plausible. Lower sample tilts leave little signal.
# A screen faces the sample, at 0.3 to 1.5 of its height, and may stand low (Bruker's convention).
_TILTS = {"sample_tilt_deg": (70.0, (40.0, 90.0)), "detector_tilt_deg": (0.0, (-45.0, 45.0))}
_CENTRE = (0.5, (0.1, 0.9)), (0.5, (-0.5, 0.95)), (0.5, (0.2, 2.0))
_EDGE_NM = (0.2, 10.0)  # of a unit cell: an edge of 2 or more is therefore in angstrom
_NM_PER_ANGSTROM = 0.1
_BEAM_DIGITS = 4  # of a beam position in um: closer ones are the same
_NAME, _SPACE_GROUP = ("Name", "Phase Name", "MaterialName"), ("IT", "Space Group")
_EDGES_AND_ANGLES = ("a", "b", "c", "alpha", "beta", "gamma")
_IMAGES, _MOST_COLOURS = {".tif", ".tiff", ".png", ".bmp"}, 4  # red, green, blue, alpha
_MOST_DIGITS = 20  # of a number in a name
_ROW_DISTANCE = 3**0.5 / 2  # of a hexagonal grid's rows, in steps


def open_signal(path: Path, processed: bool):
    """Return a scan as kikuchipy's lazy EBSD signal.

    Of .h5oina come the patterns as named. Images, of a folder or a glob, whose names do not end in
    column and row ("_x5y10.tif", "-5-10.bmp") come in the order of their names.
    """
    import kikuchipy  # takes seconds: only a scan that needs it waits

    if path.is_dir():
        kinds = {p.suffix for p in path.iterdir() if p.suffix.lower() in _IMAGES}
        if len(kinds) != 1:
            found = ", ".join(sorted(kinds)) or "no images"
            raise PatternFileError(f"{path.name} holds {found}: name images, as {path.name}/*.tif.")
        path /= f"*{kinds.pop()}"
    ending = path.suffix.lower()
    if read := {".oh5": _read_edax, ".ebsp": _read_ebsp}.get(ending):
        return kikuchipy.signals.LazyEBSD(**read(path))
    options = {"processed": processed} if ending == ".h5oina" else {}
    try:
        signal = kikuchipy.load(path, lazy=True, **options)
    except OSError as error:
        if "HexGrid" not in str(error):
            raise
        return kikuchipy.signals.LazyEBSD(**_read_edax(path))
    is_scan = isinstance(signal, kikuchipy.signals.EBSD)
    if not is_scan or "calibration_patterns" in signal.original_metadata:
        raise PatternFileError(f"{path.name} holds no map of patterns: give the scan's own file.")
    *shape, height, width = signal.data.shape
    if options and processed:  # whose background is subtracted already
        signal.static_background = np.zeros((height, width), signal.data.dtype)
    if ending in _IMAGES:
        if width <= _MOST_COLOURS:  # where kikuchipy expects grey images
            raise PatternFileError(f"{path.name} are images in colour: save them in grey.")
        for axis in signal.axes_manager.navigation_axes:
            axis.units = "px"  # no image says its step
        # In kikuchipy's order; numbers are to count as numbers.
        names = [re.sub(r"\d+", lambda n: n[0].zfill(_MOST_DIGITS), p) for p in glob(str(path))]
        signal.data = signal.data[np.argsort(names)] if len(shape) == 1 else signal.data
    elif ending == ".dat" and (held := path.stat().st_size // (height * width)) < np.prod(shape):
        # An aborted map, which kikuchipy cannot read: its last points were never measured.
        patterns = np.memmap(path, signal.data.dtype, "r", shape=(held, height, width))
        index = np.arange(np.prod(shape)).reshape(shape)
        signal.data = _placed(patterns, np.where(index < held, index, -1))
    return signal


def _read_ebsp(path: Path) -> dict:
    """Read Oxford's binary as kikuchipy does, which mistakes a point left out for the last one."""
    from kikuchipy.io.plugins.oxford_binary._api import OxfordBinaryFileReader

    class Reader(OxfordBinaryFileReader):
        def guess_number_of_patterns(self, *_) -> int:
            # The list of the patterns' places (0: left out) ends where the nearest one begins.
            first, size = self.pattern_starts_byte_position, path.stat().st_size
            count, is_end = 1, np.array([False])
            while not is_end.any() and count < size:
                count *= 2
                self.file.seek(first)
                places = np.fromfile(self.file, np.int64, count)
                nearest = np.minimum.accumulate(np.where(places > 0, places, size))
                is_end = first + 8 * np.arange(1, len(places) + 1) >= nearest
            return int(np.argmax(is_end)) + 1

    with path.open("rb") as file:
        return Reader(file).get_scan(lazy=True)


def _read_edax(path: Path) -> dict:
    """Read EDAX's HDF5 of any ending as kikuchipy does, and a hexagonal grid as a square one."""
    from kikuchipy.io.plugins.edax_h5ebsd._api import EDAXH5EBSDReader

    class Reader(EDAXH5EBSDReader):
        def scan2dict(self, group, lazy: bool = False) -> dict:
            header = dict(group["EBSD/Header"])
            if header["Grid Type"][0] == b"HexGrid":
                grid = int(header["nRows"][0]), int(header["nColumns"][0])
                data = from_hexagonal(group["EBSD/Data/Pattern"], grid, path.name)
                self.get_data = lambda *_, **__: data.squeeze()
                header |= {"Grid Type": "SqrGrid", "Step Y": header["Step X"]}
                header |= {"nRows": data.shape[0], "nColumns": data.shape[1]}
                group = type("Group", (dict,), {"name": group.name})({"EBSD/Header": header})
            return super().scan2dict(group, lazy)

    return Reader(path).read(lazy=True)[0]


def from_hexagonal(patterns, grid: tuple[int, int], name: str) -> da.Array:
    """Return patterns (n, height, width) of a hexagonal grid on a square one of its step.

    ``grid`` is the rows, and the points of the first one. Every second row begins half a step
    further right and may lack a point, as EDAX has it. The square grid begins a quarter of a step
    further right, and its n-th point takes the n-th of the nearest row, at most half a step away.
    Since hexagonal rows lie closer, every seventh or eighth is not used; no pattern comes twice.
    """
    (rows, columns), held = grid, len(patterns)
    lacking = rows * columns - held
    if lacking not in (0, rows // 2) or columns == (lacking > 0):
        raise PatternFileError(
            f"{name} holds {held:,} patterns and states a hexagonal grid of {rows} x {columns} "
            f"points, or {rows // 2} less if every second row lacks one: export it on a square one."
        )
    nearest = np.rint(np.arange(int((rows - 1) * _ROW_DISTANCE) + 1) / _ROW_DISTANCE).astype(int)
    first, columns = nearest * columns - nearest // 2 * (lacking > 0), columns - (lacking > 0)
    index = first[:, np.newaxis] + np.arange(columns)
    used = f"{index.size:,} of {held:,} patterns are used"
    print(f"{name}: its hexagonal grid becomes a square one of {len(index)} x {columns}; {used}.")
    return _placed(patterns, index)


def map_of(signal, name: str, map_shape: tuple[int, int] | None = None) -> da.Array:
    """Return a signal's patterns, (rows, columns, height, width).

    ``map_shape`` is for files that do not say. Points that an .ebsp file leaves out are zeros.
    """
    data, header = signal.data, signal.original_metadata.as_dictionary()
    axes, points = signal.axes_manager.navigation_axes, data.shape[:-2]
    if "map1d_id" in header and data.ndim == 3:
        return _placed(data, _places(header, name, map_shape))
    if map_shape is None and (len(axes) == 2 or all(axis.units == "um" for axis in axes)):
        # An axis of one point is left out.
        map_shape = (*points, 1) if axes and axes[0].name == "y" else (1, 1, *points)[-2:]
    if map_shape is None or np.prod(points) != np.prod(map_shape):
        raise PatternFileError(
            f"{name} holds {int(np.prod(points)):,} patterns, and its map is of "
            f"{map_shape or 'no stated shape'}: set map_shape: [rows, columns]."
        )
    return data.reshape(*map_shape, *data.shape[-2:])


def said_by(signal) -> dict:
    """Return what a file says; what it does not say, or a default of kikuchipy, is absent.

    Returns
    -------
    dict
        ``step_um``; ``pattern_centre`` in Bruker's convention, the median of the map's;
        ``sample_tilt_deg``, ``detector_tilt_deg``; ``phases``, each with ``name``,
        ``space_group`` (or None), ``lattice_nm`` (a, b, c) and ``angles_deg``; ``background``,
        the static one (height, width), of patterns whose counts are used as they are stored.
    """
    header, detector = signal.original_metadata.as_dictionary(), signal.detector
    steps = [a.scale for a in signal.axes_manager.navigation_axes if a.size > 1 and a.units == "um"]
    said = {"step_um": plausible_step(steps or [_beam_step(header)])}
    # kikuchipy looks for Bruker's sample tilt by another name.
    tilts = float(header.get("SampleTilt", detector.sample_tilt)), float(detector.tilt)
    for (name, (usual, limits)), tilt in zip(_TILTS.items(), tilts, strict=True):
        said[name] = _rounded([tilt])[0] if tilt != usual and _within(tilt, limits) else None
    centre = _rounded(np.nanmedian(np.reshape(detector.pc, (-1, 3)), axis=0))
    usual, limits = zip(*_CENTRE, strict=True)
    if centre != [*usual] and all(map(_within, centre, limits)):
        said["pattern_centre"] = centre
    said["phases"] = list(_phases(signal, header))
    said, static = {name: value for name, value in said.items() if value}, signal.static_background
    as_stored = signal.data.dtype in (np.uint8, np.uint16)
    if as_stored and np.shape(static) == signal.data.shape[-2:] and np.ptp(static) > 0:
        said["background"] = np.asarray(static)
    return said


def plausible_step(steps: Sequence[float]) -> float | None:
    """Return the one step in um of a square grid; None of others, or of what is no step."""
    good = steps and all(0 < step <= _LARGEST_STEP_UM for step in steps)
    return _rounded(steps)[0] if good and max(steps) <= _EQUAL_STEPS * min(steps) else None


class _Placed:
    """Patterns (n, height, width) by their index (rows, columns), for dask to read by rows."""

    def __init__(self, patterns, index: np.ndarray):
        self.patterns, self.index, self.dtype = patterns, index, patterns.dtype
        self.shape, self.ndim = (*index.shape, *patterns.shape[1:]), 4

    def __getitem__(self, key: tuple) -> np.ndarray:
        index = self.index[key[:2]]
        part = np.zeros((*index.shape, *self.shape[2:]), self.dtype)  # where the index is -1
        part[index >= 0] = self.patterns[index[index >= 0]]
        return part[:, :, *key[2:]]


def _placed(patterns, index: np.ndarray) -> da.Array:
    source = _Placed(patterns, index)
    return da.from_array(source, (1, *source.shape[1:]), name=False, fancy=False)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] < value < limits[1]


def _rounded(values) -> list[float]:
    return [float(f"{float(value):.5g}") for value in values]  # files hold 32-bit numbers


def _beam_step(header: dict) -> float:
    """Return the least distance of two columns of an .ebsp file; infinite where it does not say."""
    columns = np.unique(np.round(header.get("beam_x", ()), _BEAM_DIGITS))
    return np.diff(columns).min(initial=np.inf)


def _places(header: dict, name: str, map_shape: tuple[int, int] | None) -> np.ndarray:
    """Return the index of an .ebsp file that holds some of its map's points alone."""
    points, step = header["map1d_id"], _beam_step(header)
    if map_shape is None and np.isfinite(step):
        x, y = (np.round((header[n] - header[n].min()) / step) for n in ("beam_x", "beam_y"))
        shape = int(y.max()) + 1, int(x.max()) + 1
        map_shape = shape if (points == y * shape[1] + x).all() else None
    if map_shape is None or points.max() >= map_shape[0] * map_shape[1]:
        raise PatternFileError(
            f"{name} leaves points of its map out and does not say which: set map_shape: [rows, "
            f"columns] of the whole map, of {points.max() + 1:,} points or more."
        )
    index = np.full(map_shape, -1)
    index.flat[points] = header["file_order"]
    return index


def _phases(signal, header: dict) -> Iterator[dict]:
    """Yield the phases that kikuchipy or the vendor's header names, with a plausible lattice."""
    known = [phase for _, phase in (signal.xmap.phases if signal.xmap else ()) if phase.space_group]
    found = [(p.name, p.space_group.number, p.structure.lattice.abcABG()) for p in known]
    for phase in (header.get("Phases") or header.get("Phase") or {}).values():
        angles = np.rad2deg(phase.get("Lattice Angles", ()))
        oxford = [*phase.get("Lattice Dimensions", ()), *angles]
        edax = [phase.get(f"Lattice Constant {name}", 0) for name in _EDGES_AND_ANGLES]
        names = (next((n for n in names if n in phase), "") for names in (_NAME, _SPACE_GROUP))
        found.append((*map(phase.get, names), phase.get("LatticeConstants", oxford or edax)))
    for name, group, lattice in found:
        edges, angles = np.split(np.array(lattice, float), 2)
        edges = edges * (_NM_PER_ANGSTROM if edges.min() >= _EDGE_NM[0] / _NM_PER_ANGSTROM else 1)
        if _within(edges.min(), _EDGE_NM):
            lattice = {"lattice_nm": _rounded(edges), "angles_deg": _rounded(angles)}
            yield {"name": str(name), "space_group": int(group) if group else None, **lattice}
