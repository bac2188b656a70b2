"""Scans as kikuchipy reads them: opened lazily, in the order of the map, and what they say.

kikuchipy takes a value of its own where a file says nothing, and misreads some: Bruker's sample
tilt as 0, a pattern centre of EDAX's that nobody set as the corner of the screen. So what a file
says counts only where the file has it, and where it is plausible.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dask.array as da
import numpy as np

from kikuhelpers.patterns.up2 import PatternFileError

# What is plausible. All else is a default, or of another unit or convention.
_LARGEST_STEP_UM = 1000.0  # a map is some mm wide
_EQUAL_STEPS = 1.01  # ratio of the steps along rows and columns of a square grid
_SAMPLE_TILTS_DEG = (40.0, 90.0)  # 70 is usual; lower ones leave little signal
_DETECTOR_TILTS_DEG = (-45.0, 45.0)  # beyond, a camera looks past the sample
# Bruker's convention. A screen faces the sample, at 0.3 to 1.5 of its height, and may stand low.
_PATTERN_CENTRES = ((0.1, 0.9), (-0.5, 0.95), (0.2, 2.0))
_DEFAULT_CENTRE = (0.5, 0.5, 0.5)  # of kikuchipy
_EDGES_NM = (
    0.2,
    10.0,
)  # of unit cells; below 2 an edge in angstrom would be too short, so it is nm
_NM_PER_ANGSTROM, _SPACE_GROUPS = 0.1, 230
_BEAM_DIGITS = 4  # of a beam position in um: closer ones are the same
# By which names the vendors say what kikuchipy looks for.
_STEP = {"X Step", "Step X", "XSTEP", "step_x", "nordif_header", "beam_x"}
_SAMPLE_TILT = {"SampleTilt", "Sample Tilt", "Tilt Angle", "sample_tilt", "nordif_header"}
_DETECTOR_TILT = {"CameraTilt", "Camera Elevation Angle", "Detector Orientation Euler"}
_DETECTOR_TILT |= {"elevation_angle", "thetac", "nordif_header"}
_NAME, _SPACE_GROUP = ("Name", "Phase Name", "MaterialName"), ("IT", "Space Group")
_EDGES_AND_ANGLES = ("a", "b", "c", "alpha", "beta", "gamma")


def open_signal(path: Path, processed: bool):
    """Return a scan file as kikuchipy's lazy EBSD signal; of .h5oina the patterns as named."""
    import kikuchipy  # takes seconds: only a scan that needs it waits

    if path.suffix.lower() == ".oh5":  # EDAX's HDF5 by an ending that kikuchipy does not know
        from kikuchipy.io.plugins.edax_h5ebsd import file_reader

        return kikuchipy.signals.LazyEBSD(**file_reader(path, lazy=True)[0])
    options = {"processed": processed} if path.suffix.lower() == ".h5oina" else {}
    signal = kikuchipy.load(path, lazy=True, **options)
    is_scan = isinstance(signal, kikuchipy.signals.EBSD)
    if not is_scan or "calibration_patterns" in signal.original_metadata:
        raise PatternFileError(f"{path.name} holds no map of patterns: give the scan's own file.")
    return signal


def map_of(signal, name: str, map_shape: tuple[int, int] | None = None):
    """Return a signal's patterns as a map, (rows, columns, height, width), read when sliced.

    Points that an .ebsp file leaves out are zeros. ``map_shape`` is for files that do not say.
    """
    data, header = signal.data, signal.original_metadata.as_dictionary()
    axes = signal.axes_manager.navigation_axes
    if "map1d_id" in header and data.ndim == 3:
        return placed(data[header["file_order"]], _places(header, name, map_shape))
    points = data.shape[:-2]
    if map_shape is None and all(axis.units == "um" for axis in axes):  # an axis of 1 is left out
        map_shape = (*points, 1) if axes and axes[0].name == "y" else (1, 1, *points)[-2:]
    if map_shape is None or np.prod(points) != np.prod(map_shape):
        raise PatternFileError(
            f"{name} holds {int(np.prod(points)):,} patterns, and its map is of "
            f"{map_shape or 'no stated shape'}: set map_shape: [rows, columns]."
        )
    return data.reshape(*map_shape, *data.shape[-2:])


class _Placed:
    """Patterns of a file by their place in the map, for dask to read some at a time."""

    def __init__(self, patterns, index: np.ndarray):
        self.patterns, self.index = patterns, index
        self.shape, self.dtype, self.ndim = (*index.shape, *patterns.shape[1:]), patterns.dtype, 4

    def __getitem__(self, key: tuple) -> np.ndarray:
        index = self.index[key[:2]]
        part = np.zeros((*index.shape, *self.shape[2:]), self.dtype)
        part[index >= 0] = self.patterns[index[index >= 0]]
        return part[(..., *key[2:])]


def placed(patterns, index: np.ndarray) -> da.Array:
    """Return patterns (n, height, width) as a map, by their ``index`` (rows, columns).

    Where the index is -1, all counts are 0: a point that was never measured.
    """
    source = _Placed(patterns, index)
    return da.from_array(source, (1, *source.shape[1:]), name=False, fancy=False)


def said_by(signal) -> dict:
    """Return what a file says, of what is plausible; what it does not say is absent.

    Returns
    -------
    dict
        ``step_um``; ``pattern_centre`` in Bruker's convention, the median of the map's;
        ``sample_tilt_deg``, ``detector_tilt_deg``; ``phases``, each with ``name``,
        ``space_group`` (or None), ``lattice_nm`` (a, b, c) and ``angles_deg``.
    """
    header, detector = signal.original_metadata.as_dictionary(), signal.detector
    names, axes = set(_names(header)), signal.axes_manager.navigation_axes
    said = {"phases": list(_phases(signal, header))}
    if names & _STEP:
        steps = [axis.scale for axis in axes if axis.size > 1 and axis.units == "um"]
        said["step_um"] = plausible_step(steps or [_beam_step(header)])
    centre = np.nanmedian(np.reshape(detector.pc, (-1, 3)), axis=0)
    if not np.allclose(centre, _DEFAULT_CENTRE) and all(map(_within, centre, _PATTERN_CENTRES)):
        said["pattern_centre"] = _rounded(centre)
    # kikuchipy looks for Bruker's sample tilt by another name.
    tilt = float(header.get("SampleTilt", detector.sample_tilt))
    if names & _SAMPLE_TILT and _within(tilt, _SAMPLE_TILTS_DEG):
        (said["sample_tilt_deg"],) = _rounded([tilt])
    if names & _DETECTOR_TILT and _within(detector.tilt, _DETECTOR_TILTS_DEG):
        (said["detector_tilt_deg"],) = _rounded([detector.tilt])
    return {name: value for name, value in said.items() if value not in (None, [])}


def plausible_step(steps: Sequence[float]) -> float | None:
    """Return the one step in um of a square grid; None of others, or of what is no step."""
    good = steps and all(0 < step <= _LARGEST_STEP_UM for step in steps)
    return _rounded(steps)[0] if good and max(steps) <= _EQUAL_STEPS * min(steps) else None


def _rounded(values) -> list[float]:
    return [float(f"{float(value):.6g}") for value in values]  # files hold 32-bit numbers


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] < value < limits[1]


def _names(header: dict) -> Iterator[str]:
    """Yield the names of all that a header holds, at any depth."""
    for name, value in header.items():
        yield from (name, *(_names(value) if isinstance(value, dict) else ()))


def _beam_step(header: dict) -> float:
    """Return the least distance of two columns of an .ebsp file; infinite where it does not say."""
    return np.diff(np.unique(np.round(header.get("beam_x", ()), _BEAM_DIGITS))).min(initial=np.inf)


def _places(header: dict, name: str, map_shape: tuple[int, int] | None) -> np.ndarray:
    """Return where the patterns of an .ebsp file lie that holds some of its map's points alone."""
    points, step = header["map1d_id"], _beam_step(header)
    if map_shape is None and np.isfinite(step):
        x, y = (np.round((header[n] - header[n].min()) / step) for n in ("beam_x", "beam_y"))
        columns = int(x.max()) + 1
        map_shape = (int(y.max()) + 1, columns) if (points == y * columns + x).all() else None
    if map_shape is None or points.max() >= map_shape[0] * map_shape[1]:
        raise PatternFileError(
            f"{name} leaves points of its map out and does not say which: set map_shape: [rows, "
            f"columns] of the whole map, of {points.max() + 1:,} points or more."
        )
    index = np.full(map_shape[0] * map_shape[1], -1)
    index[points] = np.arange(len(points))
    return index.reshape(map_shape)


def _phases(signal, header: dict) -> Iterator[dict]:
    """Yield the phases that kikuchipy or the vendor's header names, with a plausible lattice."""
    found = [
        (phase.name, phase.space_group.number, phase.structure.lattice.abcABG())
        for _, phase in (signal.xmap.phases if signal.xmap else ())
        if phase.space_group
    ]
    for phase in (header.get("Phases") or header.get("Phase") or {}).values():
        angles = np.rad2deg(phase.get("Lattice Angles", ()))
        oxford = [*phase.get("Lattice Dimensions", ()), *angles]
        edax = [phase.get(f"Lattice Constant {name}", 0) for name in _EDGES_AND_ANGLES]
        names = (next((n for n in known if n in phase), "") for known in (_NAME, _SPACE_GROUP))
        found.append((*map(phase.get, names), phase.get("LatticeConstants", oxford or edax)))
    for name, group, lattice in found:
        edges, angles = np.split(np.array(lattice, float), 2)
        if edges.min() >= _EDGES_NM[0] / _NM_PER_ANGSTROM:
            edges *= _NM_PER_ANGSTROM
        if _within(edges.min(), _EDGES_NM):
            group = int(group) if group and 1 <= group <= _SPACE_GROUPS else None
            lattice = {"lattice_nm": _rounded(edges), "angles_deg": _rounded(angles)}
            yield {"name": str(name or ""), "space_group": group} | lattice
