"""Panels: the region of interest each shows, its latent or physical map, and the truth beside it.

Where a study gives the size of a region only, Fig. 4B is placed around a thin twin, the others
where the latent maps show most structure inside the grains, not the grains themselves.

A virtual specimen is known between the points of its scan too, so its truth is drawn finer than
the scan: cell walls are often thinner than a step.
"""

from collections.abc import Sequence
from string import ascii_uppercase
from textwrap import fill

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import convolve, maximum_filter, minimum_filter
from scipy.stats import skew
from skimage import draw
from skimage.measure import regionprops

from kikuhelpers.figures import drawing, style
from kikuhelpers.indexing.orientation_maps import disorientation_deg, point_groups
from kikuhelpers.latents import features
from kikuhelpers.latents.features import BLOCK, Choice, cell_feature, standardised_in_grains
from kikuhelpers.latents.view import View, highest_point
from kikuhelpers.runs.results import Results
from kikuhelpers.scans.virtual.specimen import State, VirtualSpecimen
from kikuhelpers.study import StudyError, roles
from kikuhelpers.study.specimen import PHASES
from kikuhelpers.training.held_out import CUBIC, TWIN_TOLERANCE_DEG, TWINS

Point = tuple[int, int]  # row and column, or first and one past the last
Row = tuple[str, View, Sequence[Choice | str]]  # of maps: its letter, view and what is shown

PATH_MARGIN_POINTS = 8  # of map around the path of Fig. 4C
PATH_CLEARANCE_POINTS = 2  # between the path and the next grain, whose patterns mix in
WALL_REACH_POINTS = 2  # from the middle of a wall to the cells beside it
SLENDER = 5.0  # length over thickness from which on a twin is a lamella
_ROLES = {"wrought": "wrought", "am": "AM"}  # as a sentence names them
# Neighbours of a point in Moran's I, each with a quarter of the weight.
_FOUR_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])[..., None] / 4

# The first are of stretched patterns; the others stand below, each under its counterpart.
PAPERS_WAY = ("pq", "grod_deg", "kam_deg", "sharpness")
ON_CAMERA = ("mean_counts", "iq_counts", "rotation_deg", "iq_per_noise", "sharpness_map")
ON_CAMERA += ("std_counts",)
NARROWEST_MM, TITLE_LETTERS = 29.5, 26  # a map and what fits above it in a line
TITLE_MM = 9.0  # two lines above a map
BAR_MM = 7.0  # colour bar below a map
TALLEST = 1.6  # height of a map, relative to its width; a taller one is drawn narrower

DECADES = (0.0, 1.8)  # of density, log10: one scale for all, up to the densest scratch
DRAWN_POINTS = 240  # of the truth, along the longer side of a map, at least
DOMAIN_COLOUR = "#5cc8ff"
PARTICLE_COLOUR = "#7dff5c"


def region(results: Results, panel: str, scan: str | None) -> View | None:
    """View of a panel's region of interest; of the whole ``scan`` if none is given for it."""
    box = results.study.figures.regions.get(panel)
    if box is None:
        return View.whole(results, scan) if scan is not None else None
    view = View.whole(results, box.scan)
    if box.size is not None:
        if panel == "4B" and (twin := slenderest_twin(view)) is not None:
            return box_around(view, twin.centroid, box.size)
        structure = _structure_in_grains(view, roles.largest_vae(results.study))
        return View(results, box.scan, *_most_structured_box(structure, box.size, box.rank))
    if box.rows[1] > view.shape[0] or box.columns[1] > view.shape[1]:
        raise StudyError(f"figures: {panel} ends outside of its map of {view.shape} points.")
    return View(results, box.scan, box.rows, box.columns)


def panel_views(results: Results, number: int, panels: dict[str, str]) -> tuple[dict, list[str]]:
    """Views of a figure's panels by letter, and one sentence for each role that no scan plays.

    ``panels`` holds by the panel's letter the role of its scan, "wrought" or "am".
    """
    scans = {role: roles.scan_of(results.study, role) for role in panels.values()}
    views = {at: region(results, f"{number}{at}", scans[role]) for at, role in panels.items()}
    missing = []
    for role in scans:
        if lacking := [at for at in views if views[at] is None and panels[at] == role]:
            place = f"Fig. {number}{', '.join(lacking)}"
            missing.append(f"{place}: this study has no {_ROLES[role]} scan.")
    views = {at: view for at, view in views.items() if view is not None}
    named = {at: views[at] for at in views if f"{number}{at}" in results.study.figures.panels}
    return named or views, missing


def selected(view: View, panel: str, choice: Choice) -> Choice:
    """The latent feature that the study file names for a panel, else the ``choice`` by measure."""
    index = view.results.study.figures.features.get(panel)
    if index is None:
        return choice
    off = "" if view.features(choice.model)["active"].iloc[index] else ", switched off"
    return Choice(choice.model, index, f"named by the study file{off}")


def slenderest_twin(view: View):
    """The twin of a view that is longest for its thickness, a skimage region; None without any.

    Of a virtual scan by its truth, else the grains that are Sigma 3 to what lies beside them.
    """
    labels = view.truth("twin") if view.is_virtual else view.grains() + 1
    large = (region for region in regionprops(labels) if region.area > SLENDER)
    # A step thick or more, or a lamella is but points here and there.
    found = [one for one in large if 1 <= thickness(one) < np.sqrt(one.area / SLENDER)]
    found.sort(key=lambda one: thickness(one) ** 2 / one.area)
    return next((twin for twin in found if view.is_virtual or _is_twin(view, twin)), None)


def thickness(twin) -> float:
    """Mean thickness of a lamella in steps: its area over the length of a bar of its moments."""
    return float(twin.area / (np.sqrt(3) / 2 * twin.axis_major_length))


def _beside(twin, view: View) -> np.ndarray:
    """Points (2 n, 2) a thickness and a step away from a lamella's, on both sides of each."""
    across = np.array([-np.sin(twin.orientation), np.cos(twin.orientation)])
    away = np.round((thickness(twin) + 1) * across).astype(int)
    points = np.concatenate([twin.coords + away, twin.coords - away])
    return np.clip(points, 0, np.array(view.shape) - 1)


def _is_twin(view: View, twin) -> bool:
    """Tell whether most points of a lamella and what lies beside them are cubic twins."""
    xmap, ends = view.orientations(), (np.tile(twin.coords, (8, 1)), _beside(twin, view))
    places = view.crop(np.arange(xmap.size).reshape(xmap.shape))
    own, beside = (xmap.rotations[places[tuple(points.T)]] for points in ends)
    turned, group = TWINS.outer(beside), next(iter(point_groups(xmap).values())).laue
    off = disorientation_deg(turned, own.reshape(*turned.shape), group).min(axis=0)
    return group.name == CUBIC and np.median(off) < TWIN_TOLERANCE_DEG


def twin_feature(view: View, model: str, twin) -> Choice:
    """Feature that tells a twin's points best from those beside it: share of the variance."""
    both = np.concatenate([twin.coords, _beside(twin, view)])
    latents, inside = view.latents(model)[tuple(both.T)], np.arange(len(both)) < len(twin.coords)
    there = np.isfinite(latents[:, 0])  # not so where a pattern is empty
    share = features.variance_between(latents[there], inside[there])
    share = np.where(view.features(model)["active"], share, 0)
    return Choice(model, int(share.argmax()), "share of the twin", float(share.max()))


def _structure_in_grains(view: View, model: str) -> np.ndarray:
    """Local Moran's I of the latent features inside the grains, their mean, (rows, columns).

    Of four neighbours (Anselin 1995, doi:10.1111/j.1538-4632.1995.tb00338.x); noise gives 0.
    """
    grains, latents = view.grains(), view.latents(model)
    active = np.flatnonzero(view.features(model)["active"].to_numpy(bool))
    total = np.zeros(view.shape)
    for start in range(0, len(active), BLOCK):
        values = np.array(latents[..., active[start : start + BLOCK]])
        values = standardised_in_grains(values, grains)
        around = convolve(values, _FOUR_NEIGHBOURS, mode="nearest")
        total += (values * around).sum(axis=-1)
    return total / max(1, len(active))


def _most_structured_box(structure: np.ndarray, size: Point, rank: int = 1) -> tuple[Point, Point]:
    """Rows and columns of the box of highest mean of a map; the ``rank``-th, without overlap."""
    height, width = (int(n) for n in np.minimum(size, structure.shape))
    sums = np.pad(structure.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
    inside += sums[:-height, :-width]
    for _ in range(rank):
        if not np.isfinite(inside).any():
            raise StudyError(f"The map has no room for region {rank} of {height} x {width} points.")
        row, column = highest_point(inside)
        rows, columns = (max(0, row - height + 1), max(0, column - width + 1))
        inside[rows : row + height, columns : column + width] = -np.inf
    return (row, row + height), (column, column + width)


def path_view(results: Results, model: str) -> tuple[View, Choice, np.ndarray]:
    """View of the box around the path of Fig. 4C, the feature, and the path's points (n, 2).

    Of a virtual scan the truth places the path, through a wall inside of one domain; of a
    measured one the band-pass of the feature, which is that of cells on the whole scan.
    """
    path = results.study.figures.path_4c
    scan = View.whole(results, path.scan)
    choice = cell_feature(scan, model)
    start, stop = _path_across(*_walls(scan, choice), path.length)
    points = np.stack(draw.line(*start, *stop), axis=1)
    side = np.ptp(points, axis=0).max() + 1 + 2 * PATH_MARGIN_POINTS
    return box_around(scan, points.mean(axis=0), (side, side)), choice, points


def box_around(scan: View, middle: Sequence[float], size: Point) -> View:
    """View of a box of a size around a point of a view, moved and cut to lie in it."""
    size = np.minimum(size, scan.shape)
    first = np.clip(np.round(middle - (size - 1) / 2).astype(int), 0, scan.shape - size)
    first += (scan.rows[0], scan.columns[0])
    ends = zip(first.tolist(), (first + size).tolist(), strict=True)
    return View(scan.results, scan.scan, *ends)


def _walls(scan: View, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """What is high in a wall, and the labels inside which a path may run, -1 for none."""
    if scan.is_virtual:
        return np.log10(scan.truth("density")), scan.truth("domain")
    grains = scan.grains()
    standard = standardised_in_grains(choice.map_of(scan), grains)[..., None]
    smooth = (features.smoothed_in_grains(standard, grains, points) for points in features.BAND)
    fine, coarse = (np.nan_to_num(maps[..., 0]) for maps in smooth)
    width = 2 * PATH_CLEARANCE_POINTS + 1
    clear = minimum_filter(grains, width) == maximum_filter(grains, width)
    sign = np.sign(skew(fine - coarse, axis=None))  # narrow ridges are the longer tail
    return sign * fine, np.where(clear, grains, -1)


def _path_across(values: np.ndarray, labels: np.ndarray, length: int) -> tuple[Point, Point]:
    """Ends of the row or column of points, of one label, whose middle is highest above both sides.

    Of ``values`` (rows, columns), the sides ``WALL_REACH_POINTS`` away; so a step counts nothing.
    """
    best, ends, middle = -np.inf, None, length // 2
    reach = min(WALL_REACH_POINTS, length - 1 - middle)
    for axis in (0, 1):
        if values.shape[axis] < length:
            continue
        path, label = (sliding_window_view(a, length, axis=axis) for a in (values, labels))
        inside = (label == label[..., :1]).all(axis=-1) & (label[..., 0] >= 0)
        above = path[..., middle] - path[..., [middle - reach, middle + reach]].max(axis=-1)
        above = np.where(inside, above, -np.inf)
        if above.max(initial=-np.inf) > best:
            best = above.max()
            row, column = highest_point(above)
            ends = (row, column), (row + (length - 1) * (axis == 0), column + (length - 1) * axis)
    if ends is None:
        raise StudyError(f"path_4c: no grain of the map holds a path of {length} points.")
    return ends


def draw_map(ax, panel: str, view: View, shown: Choice | str, bar: bool = False) -> None:
    """Draw one map of a view with its title, and a colour ``bar`` below it if wanted.

    What is ``shown`` is a latent feature or a name of ``drawing.MAPS``. The panel's letter is
    that of the paper, for example "A.1".
    """
    settings = view.results.study.figures
    if isinstance(shown, Choice):
        values, colours = shown.map_of(view), drawing.LATENT_COLOURS
        is_narrow = settings.width_mm < style.PAGE_MM
        reason = fill(shown.reason, TITLE_LETTERS) if is_narrow else shown.reason
        title = f"{shown.name}\n{reason}"
    else:
        values, (title, colours) = view.property_map(shown), drawing.MAPS[shown]
    limits = drawing.clip_limits(values)
    if colours == drawing.DIFFERENCE_COLOURS:
        limits = -np.abs(limits).max(), np.abs(limits).max()
    colours = settings.colours.get(colours, colours)
    image = drawing.show_map(ax, values, view.step_um, colours, limits)
    drawing.letter(ax, panel, title)
    if bar:
        drawing.add_colour_bar(image, ax)


def row_mm(view: View, columns: int, extra_mm: float, width_mm: float = style.PAGE_MM) -> float:
    """Height of a row of maps like a view's that fill a width, by default the page's."""
    return (width_mm / columns - 2) * min(view.shape[0] / view.shape[1], TALLEST) + extra_mm


def draw_rows(number: int, title: str, rows: list[Row], missing=(), bars=False):
    """Draw a figure of rows of maps; beside latent features of virtual scans stands the truth.

    A row is its letter, its view and what :func:`draw_map` shows of it, as much in each row. Its
    panels are A.1, A.2 and so on; without a letter A, B and so on. With ``bars`` a colour bar lies
    below each map, and the name of its scan stands beside each row. In a column a row is folded.
    ``missing`` are sentences on panels that the study cannot fill.

    Returns the figure, whose ``choices`` name each latent feature once, and its axes (rows,
    columns): none, if there are no rows.
    """
    if not rows:
        return style.dropped_figure(*missing), np.empty((0, 0))
    width_mm = rows[0][1].results.study.figures.width_mm
    count = len(rows[0][2]) + any(view.is_virtual for _, view, _ in rows)
    columns, extra_mm = min(count, int(width_mm / NARROWEST_MM)), TITLE_MM + BAR_MM * bars
    heights = [row_mm(view, max(columns, 2), extra_mm, width_mm) for _, view, _ in rows]
    heights = np.repeat(heights, -(-count // columns))
    figure = style.new_figure(sum(heights) + 6, f"Fig. {number}  {title}", width_mm)
    figure.missing.extend(missing)
    axes = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    axes, noted = axes.reshape(len(rows), -1), set()
    for line, (letter, view, maps) in zip(axes, rows, strict=True):
        for place, (ax, shown) in enumerate(zip(line, maps, strict=False)):
            panel = f"{letter}.{place + 1}" if letter else ascii_uppercase[place]
            draw_map(ax, panel, view, shown, bars)
            if isinstance(shown, Choice) and shown not in noted:
                figure.note_choice(f"{number}{panel}", shown)
                noted.add(shown)
        if bars:
            line[0].set_ylabel(view.label, fontsize=style.SMALL_PT)
        for place, ax in enumerate(line[len(maps) :]):
            if isinstance(maps[0], Choice) and not place:
                show_truth(ax, view, bars)
            else:
                ax.set_axis_off()
    return figure, axes


def show_truth(ax, view: View, bar: bool = False) -> None:
    """Draw dislocation density, the boundaries of domains and the particles of a view.

    With a colour ``bar`` of the density if wanted. Of a measured scan the axes are left empty.
    """
    if not view.is_virtual:
        ax.set_axis_off()
        return
    finer = -(-DRAWN_POINTS // max(view.shape))
    places = ((np.arange(finer * size) + 0.5) / finer - 0.5 for size in view.shape)
    grid = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)
    grid += (view.rows[0], view.columns[0])
    state, shape = state_at(view, grid.reshape(-1, 2)), grid.shape[:2]
    density, domain = state.density.reshape(shape), state.domain.reshape(shape)
    particles = state.phase.reshape(shape) != PHASES.index("Ni")
    colours = view.results.study.figures.colours
    look = colours.get(drawing.DENSITY_COLOURS, drawing.DENSITY_COLOURS), DECADES
    image = drawing.show_map(ax, np.log10(density), view.step_um / finer, *look)
    ax.imshow(np.ma.masked_equal(particles, False), cmap=ListedColormap([PARTICLE_COLOUR]))
    lines = _boundary_lines(np.where(particles, -1, domain))
    look = {"colors": DOMAIN_COLOUR, "lw": 0.5, "rasterized": True, "zorder": 0.5}
    ax.add_collection(LineCollection(lines, **look))
    drawing.letter(ax, "", "truth: log10 density,\ndomains blue, particles")
    if bar:
        drawing.add_colour_bar(image, ax)


def _boundary_lines(labels: np.ndarray) -> np.ndarray:
    """Ends (n, 2, 2), as (x, y), of the edges between points of different labels but -1."""
    lines = []
    for axis, along in ((1, [(0.5, -0.5), (0.5, 0.5)]), (0, [(-0.5, 0.5), (0.5, 0.5)])):
        here, there = (np.moveaxis(labels, axis, 0)[part] for part in (slice(-1), slice(1, None)))
        apart = np.moveaxis((here != there) & (here != -1) & (there != -1), 0, axis)
        rows, columns = np.nonzero(apart)
        lines.append(np.stack([columns, rows], axis=1)[:, None] + np.array(along))
    return np.concatenate(lines)


def state_at(view: View, points: np.ndarray) -> State:
    """Return the truth at (n, 2) rows and columns of a view's scan, which need not be whole."""
    data = view.results.study.scan(view.scan).data
    specimen = VirtualSpecimen(data.specimen, data.seed)
    return specimen.at(data.origin_um + data.step_um * points)
