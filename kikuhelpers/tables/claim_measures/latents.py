"""Measures of claims that read latent maps: of one scan, whose grains or blocks are drawn.

Whatever is chosen among features is chosen on every second unit and judged on the others, and so
is what the baseline offers.
"""

import numpy as np
from orix.quaternion import Rotation
from scipy.ndimage import median_filter
from scipy.stats import spearmanr
from skimage.transform import downscale_local_mean
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.feature_extraction.image import grid_to_graph
from sklearn.metrics.cluster import contingency_matrix
from sklearn.neighbors import NearestNeighbors

from kikuhelpers.indexing import orientation_maps
from kikuhelpers.latents.features import cell_feature, standardised_in_grains
from kikuhelpers.latents.view import View
from kikuhelpers.patterns.up2 import to_intensity
from kikuhelpers.study import PREPROCESSED, roles
from kikuhelpers.tables.claim_measures.tables import detection
from kikuhelpers.tables.evidence import DRAWS, Evidence, Found, Untestable, drawn, found, halves
from kikuhelpers.tables.intervals import Resamples
from kikuhelpers.tables.scores import BLOCKS, FEWEST_CLUSTERS, Judge, areas, interval
from kikuhelpers.tables.targets import targets_of

_TRUE = {"density": np.log, "strain": np.asarray}  # fields of the truth, and how they count
_LEAST_EXPLAINED = 0.05  # share of the variance: less, and the truth is not of these maps
_SMALLEST_GRAIN = 100  # points: smaller ones show no cells' shape
_LAGS, _SUMMED = 8, 4  # points; side of the squares of pixels that are summed for a PCA
_MIXED, _PURE = 0.75, 0.99  # of a pattern from the crystal under the beam: less, and more
_AROUND = 2  # steps from a point to its surroundings
_LINE, _COLUMNS = 5, 5  # points of a line's surroundings; columns that are drawn together


def _units(view: View) -> tuple[np.ndarray, int, str]:
    """What is drawn, numbered on the map: grains, or blocks where they are too few; their word."""
    units, word = view.truth("grain") if view.is_virtual else view.grains(), "grains"
    if len(np.unique(units)) < 2 * FEWEST_CLUSTERS:
        rows, columns = (np.arange(n) * BLOCKS // n for n in view.shape)
        units, word = BLOCKS * rows[:, np.newaxis] + columns, "blocks of the map"
    units = np.unique(units, return_inverse=True)[1]
    return units, units.max() + 1, word


def _features(view: View, model: str) -> np.ndarray:
    """Maps (rows, columns, D) of a model's active features."""
    active = np.flatnonzero(view.features(model)["active"])
    maps = np.nan_to_num(np.array(view.latents(model)[..., active], float))
    maps = maps[..., maps.std(axis=(0, 1)) > 0]  # archives hold some of them
    if maps.shape[-1] < 2:
        raise Untestable(f"more than one active feature of {model}")
    return maps


def _field(view: View, name: str) -> np.ndarray:
    """A field of the truth, the place, or a physical map, (rows, columns, k), not standardised."""
    if name == "rotation":
        values = orientation_maps.rotation_vectors_deg(view.true_orientations(), view.crystals())
    elif name == "place":
        values = np.stack(np.indices(view.shape), axis=-1).astype(float)
    else:
        values = _TRUE[name](view.truth(name)) if name in _TRUE else view.property_map(name)
    values = values.reshape(*view.shape, -1)
    return np.where(np.isfinite(values), values, np.nanmedian(values, axis=(0, 1)))


class _Shares:
    """Share of the variance of maps (rows, columns, D) inside crystals that fields explain."""

    def __init__(self, view: View, maps: np.ndarray, names, inside: np.ndarray):
        crystals, (units, self.count, self.word) = view.crystals(), _units(view)
        fields = [standardised_in_grains(_field(view, name), crystals) for name in names]
        self.columns, start = {}, 0
        for name, field in zip(names, fields, strict=True):
            self.columns[name] = [*range(start, start := start + field.shape[-1])]
        y, x = standardised_in_grains(maps, crystals)[inside], np.concatenate(fields, -1)[inside]
        of = [units[inside] == unit for unit in range(self.count)]
        self.xx, self.xy = (np.stack([x[i].T @ v[i] for i in of]) for v in (x, y))
        self.yy = np.stack([(y[i] ** 2).sum(axis=0) for i in of])

    def of(self, names, times: np.ndarray) -> np.ndarray:
        """Share (draws, D) that some of the fields explain together."""
        some = [column for name in names for column in self.columns[name]]
        if not some:
            return np.zeros((len(times), self.yy.shape[1]))
        xx, xy = (np.tensordot(times, part[:, some], 1) for part in (self.xx, self.xy))
        xx = xx[..., some] + 1e-9 * len(some) * np.eye(len(some))
        return (xy * np.linalg.solve(xx, xy)).sum(axis=1) / np.maximum(times @ self.yy, 1e-9)


def explained_by(e: Evidence, role, fields, given=(), fine=False, how="more", where="") -> Found:
    """Share of a feature's variance inside crystals that fields explain beyond what is given.

    ``how`` is "more", "both" (the least of what each of two adds to the other), or "correlation".
    """
    view, names, shares = e.view(role, fine), [*fields, *given], []
    inside = view.crystals() >= 0
    if where == "interiors":
        inside &= standardised_in_grains(_field(view, "density"), view.crystals())[..., 0] < 0
    for maps in (_features(view, e.model("largest")), _field(view, "iq_counts")):
        of = _Shares(view, maps, names, inside)
        chooses, times, count = halves(of.count)

        def share(weights, of=of):
            whole = of.of(names, weights)
            if how == "both":
                return np.min([whole - of.of([name], weights) for name in names], axis=0)
            return np.sqrt(whole) if how == "correlation" else whole - of.of(given, weights)

        if given and not shares and of.of(given, chooses).max() < _LEAST_EXPLAINED:
            raise Untestable("a truth that explains some of these maps")
        shares.append(share(times)[:, share(chooses)[0].argmax()])
    return found(*shares, count, of.word, [view.scan])


def disentanglement(e: Evidence, role: str, one: str, other: str) -> Found:
    """Mutual information gap of two models: of each property, its best feature over the next.

    Information of Gaussians, from correlations inside crystals with density, strain and rotation.
    """
    view, gaps, names = e.view(role), [], ("density", "strain", "rotation")
    for model in (one, other):
        of = _Shares(view, _features(view, e.model(model)), names, view.crystals() >= 0)
        times = drawn(of.count)
        variance = np.einsum("rkk->rk", np.tensordot(times, of.xx, 1))[..., np.newaxis]
        rho2 = np.tensordot(times, of.xy, 1) ** 2 / (variance * (times @ of.yy)[:, np.newaxis])
        first, second = np.moveaxis(np.sort(-np.log1p(-rho2) / 2)[..., :-3:-1], -1, 0)
        gaps.append((first - second).sum(axis=1) / first.sum(axis=1))
    return found(*gaps, of.count, of.word, [view.scan])


def grain_share(e: Evidence, role: str) -> Found:
    """Share of a feature's variance between grains; beside it mean intensity and IQ."""
    view, shares = e.view(role), []
    crystals = view.crystals()
    units = np.unique(crystals[crystals >= 0], return_inverse=True)[1]
    physics = np.concatenate([_field(view, name) for name in ("mean_counts", "pq")], axis=-1)
    for maps in (_features(view, e.model("largest")), physics):
        x = (maps[crystals >= 0] - maps[crystals >= 0].mean(axis=0)).T
        n, sums = np.bincount(units), np.stack([np.bincount(units, v) for v in x], axis=1)
        squares = np.stack([np.bincount(units, v**2) for v in x], axis=1)

        def share(times, n=n, sums=sums, squares=squares):
            points = (times @ n)[:, np.newaxis]
            mean = (times @ sums / points) ** 2
            between = times @ (sums**2 / n[:, np.newaxis]) / points - mean
            return between / (times @ squares / points - mean)

        chooses, times, count = halves(len(n))
        shares.append(share(times)[:, share(chooses)[0].argmax()])
    return found(*shares, count, "grains", [view.scan])


def segmentation(e: Evidence, role: str, against: str) -> Found:
    """Adjusted Rand index of a map cut into as many connected pieces as there are grains.

    Pieces by Ward's criterion; the baseline cuts mean intensity and contrast, or as many principal
    components of the patterns, in the same way.
    """
    view, model = e.view(role), e.model("largest")
    crystals, ways = view.crystals(), [_features(view, model)]
    if against == "pca":
        patterns = to_intensity(e.results.patterns(PREPROCESSED, view.scan))
        small = downscale_local_mean(patterns, (1, 1, _SUMMED, _SUMMED)).reshape(crystals.size, -1)
        count = min(ways[0].shape[-1], *small.shape)
        ways.append(PCA(count, random_state=e.study.seed).fit_transform(small))
    else:
        maps = [_field(view, name) for name in ("mean_counts", "std_counts")]
        ways.append(np.concatenate([m / m.std() for m in maps], axis=-1))
    inside, rands = crystals.ravel() >= 0, []
    units = np.unique(crystals.ravel()[inside], return_inverse=True)[1]
    cut = AgglomerativeClustering(units.max() + 1, connectivity=grid_to_graph(*view.shape))
    times = drawn(units.max() + 1)
    for maps in ways:
        pieces = cut.fit_predict(maps.reshape(inside.size, -1))[inside]
        rands.append(_rand_index(times, contingency_matrix(units, pieces)))
    return found(*rands, units.max() + 1, "grains", [view.scan])


def _rand_index(times: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Adjusted Rand index in each draw, of counts (grains, pieces); a grain drawn twice is two."""

    def pairs(counts):  # in one column: of one grain, and of two
        apart = ((times @ counts) ** 2 - times**2 @ counts**2).sum(axis=1) / 2
        return times @ (counts * (counts - 1)).sum(axis=1) / 2, apart

    (both, apart), (grain, others) = pairs(cells), pairs(cells.sum(axis=1, keepdims=True))
    chance = grain * (both + apart) / (grain + others)
    return (both - chance) / ((grain + both + apart) / 2 - chance)


def cell_shape(e: Evidence, role: str, what: str) -> Found:
    """Size or direction of the cells of each grain by autocorrelation, against the true density.

    Of size the rank correlation over grains; of direction the median angle between, in degrees.
    """
    shapes, scans = [], [s for s in roles.scored_scans(e.study) if e.is_of(s, role, False)]
    for view in (View.whole(e.results, scan) for scan in scans):
        crystals, choice = view.crystals(), cell_feature(view, e.model("largest"))
        maps = [np.array(choice.map_of(view), float)[..., np.newaxis]]
        maps = np.concatenate([*maps, _field(view, "iq_counts"), _field(view, "density")], axis=-1)
        maps = standardised_in_grains(maps, crystals)
        for label, points in zip(*np.unique(crystals, return_counts=True), strict=True):
            if label >= 0 and points >= _SMALLEST_GRAIN:
                shapes.append([_ellipse(m, crystals == label) for m in np.moveaxis(maps, -1, 0)])
    count, values = len(shapes), []
    if count < FEWEST_CLUSTERS:
        raise Untestable(f"{FEWEST_CLUSTERS} grains of {_SMALLEST_GRAIN} points with cells")
    size, angle = np.array(shapes).transpose(2, 1, 0)
    sets = [np.repeat(np.arange(count), times) for times in drawn(count).astype(int)]
    for way in (0, 1):
        off = np.abs((angle[way] - angle[2] + 90) % 180 - 90)
        if what == "size":
            values.append([spearmanr(size[way][i], size[2][i]).statistic for i in sets])
        else:
            values.append([np.median(off[i]) for i in sets])
    return found(*values, count, "grains", scans)


def _ellipse(values: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Mean radius (points) and direction (degrees) of the autocorrelation of a map in a grain."""
    shape = [2 * n for n in values.shape]
    power = [np.abs(np.fft.rfft2(v, shape)) ** 2 for v in (values * inside, inside * 1.0)]
    like, pairs = (np.fft.irfft2(p, shape) for p in power)
    lag = np.arange(-_LAGS, _LAGS + 1)
    like, pairs = (v[np.ix_(lag, lag)] for v in (like, pairs))
    weight = np.maximum(like / np.maximum(pairs, 1), 0)
    weight[_LAGS, _LAGS] = 0  # noise is like itself
    down, right = np.meshgrid(lag, lag, indexing="ij")
    moments = np.array([[weight * a * b for a in (down, right)] for b in (down, right)]).sum((2, 3))
    values, axes = np.linalg.eigh(moments / max(weight.sum(), 1e-9))
    return np.prod(np.abs(values)) ** 0.25, np.degrees(np.arctan2(*axes[:, -1])) % 180


def nearest_orientation(e: Evidence, role: str) -> Found:
    """Median error (degrees) of the orientation of the nearest pattern in latent space.

    Every second point of the map is known; the others ask. The baseline is their own indexing.
    """
    view = e.view(role)
    hough, true = view.orientations(), view.true_orientations()
    known = np.indices(view.shape).sum(axis=0).ravel() % 2 == 0
    asking = ~known & (hough.phase_id >= 0) & (true.phase_id >= 0)
    known &= hough.phase_id >= 0
    z, group = _features(view, e.model("largest")), orientation_maps.point_groups(hough)[0]
    z = z.reshape(len(known), -1)
    near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(z[known])
    nearest = np.flatnonzero(known)[near.kneighbors(z[asking], return_distance=False)[:, 0]]
    units, count, word = _units(view)
    draws, medians = Resamples(units.ravel()[asking], e.study.seed), []
    for points in (nearest, np.flatnonzero(asking)):
        turns = Rotation(hough.rotations.data[points]), Rotation(true.rotations.data[asking])
        off = orientation_maps.disorientation_deg(*turns, group)
        resampled = draws.quantiles(off, [0.5])[:DRAWS, 0]
        medians.append(np.append(np.median(off), resampled))
    return found(*medians, count, word, [view.scan])


def mixed_points(e: Evidence, role: str, beyond: str) -> Found:
    """AUC of points whose pattern two crystals share, by their latents' distance to either side.

    Sides are the points two steps to the left and right; beyond the "line" between both the mean of
    two patterns would lie, too. Baseline: low IQ / noise or, if better, the largest PCA.
    """
    view, inner = e.view(role), slice(2, -2)
    crystals, share = view.crystals(), view.truth("own_share")[:, inner]
    one, own, other = (crystals[:, part] for part in (slice(None, -4), inner, slice(4, None)))
    counts = (np.minimum(one, other) >= 0) & ((own == one) | (own == other))
    marked = counts & (one != other) & (share < _MIXED)
    plain = counts & (one == other) & (share > _PURE)
    if not marked.any():
        raise Untestable("points whose pattern two crystals share")
    units, count, word = _units(view)
    times = drawn(count)[:, units[:, inner].ravel()].T.astype(np.float32)
    sets = [times * part.ravel()[:, np.newaxis] for part in (marked, plain)]
    maps = [_off_sides(_features(view, e.model("largest")), beyond)]
    maps.append(-_field(view, "iq_per_noise")[:, inner, 0])
    if e.study.largest_pca:
        maps.append(_off_sides(_features(view, e.study.largest_pca), beyond))
    value, *others = (areas(v.ravel(), *sets)[0] for v in maps)
    return found(value, max(others, key=lambda v: v[0]), count, word, [view.scan])


def _off_sides(maps: np.ndarray, beyond: str) -> np.ndarray:
    """Distance of each point of maps from the nearer side, or from the "line" between both."""
    z = maps / maps.std(axis=(0, 1))
    across, along = z[:, 2:-2] - z[:, :-4], z[:, 4:] - z[:, :-4]
    place = (across * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-9)
    place = (place if beyond == "line" else place.round()).clip(0, 1)
    return np.sqrt(((across - place[..., np.newaxis] * along) ** 2).sum(axis=-1))


def twins_in_orientations(e: Evidence) -> Found:
    """AUC of thin twins on latents, and of the turn of Hough orientations from their surroundings.

    The turn is the median disorientation from the points two steps away; ends are not paired.
    """
    latents, others = detection(e, "twins", "wrought"), []
    for view in (View.whole(e.results, scan) for scan in latents.scans):
        (target,) = [target for target in targets_of(view) if target.name == "twins"]
        turn = np.nan_to_num(orientation_maps.surroundings_deg(view.orientations(), _AROUND))
        area = Judge(target).scores(turn)["AUC"]
        others.append((area.value, *interval(area.resampled)))
    turn, low, high = np.mean(others, axis=0)
    lead = latents.low - high, latents.high - low
    return latents._replace(baseline=turn, lead_low=lead[0], lead_high=lead[1])


def drift(e: Evidence, one: str, other: str) -> Found:
    """Mean square distance of the same places at two doses, over that of unrelated places."""
    data = {s: e.study.scan(s).data for s in roles.scored_scans(e.study)}
    alike = {s: (d.specimen, d.seed, d.step_um, d.origin_um) for s, d in data.items()}
    pairs = [(s, t) for s in data for t in data if alike[s] == alike[t]]
    pairs = [(s, t) for s, t in pairs if data[s].microscope.dose > data[t].microscope.dose]
    if not pairs:
        raise Untestable("two maps of one field at different doses")
    views, ratios = [View.whole(e.results, scan) for scan in pairs[0]], []
    box = tuple(slice(min(sizes)) for sizes in zip(*(view.shape for view in views), strict=True))
    units, count, word = _units(views[1])
    for name in (one, other):
        maps = [view.latents(e.model(name))[box].astype(float) for view in views]
        apart = ((maps[0] - maps[1]) ** 2).sum(axis=-1)
        spread = sum(((m - m.mean(axis=(0, 1))) ** 2).sum(axis=-1) for m in maps)
        sums = (np.bincount(units[box].ravel(), v.ravel(), count) for v in (apart, spread))
        ratios.append(np.divide(*(drawn(count) @ of_units for of_units in sums)))
    return found(*ratios, count, word, pairs[0])


def line_repeatability(e: Evidence, role: str, against) -> Found:
    """Correlation of thin vertical lines of odd rows with those of even rows; lower half of a map.

    The upper half chooses the feature, and the baseline's map. Blocks of columns are drawn.
    """
    view, best = e.view(role), []
    if view.is_virtual:
        raise Untestable("a measured map, whose scratches run along its rows or columns")
    grains, features = view.grains(), _features(view, e.model("largest"))
    physics = np.concatenate([_field(view, name) for name in against], axis=-1)
    edge = grains < 0
    for axis in (0, 1):
        edge |= (np.roll(grains, 1, axis) != grains) | (np.roll(grains, -1, axis) != grains)
    for maps in (features, physics):
        thin = maps - median_filter(maps, (1, _LINE, 1))
        thin = np.clip(thin, *np.quantile(thin, (0.02, 0.98), axis=(0, 1)))
        thin[edge] = 0
        halves = [part for half in np.array_split(thin, 2) for part in (half[::2], half[1::2])]
        sums = [part.sum(axis=0) for part in halves]  # (columns, D)
        block = np.arange(view.shape[1]) // _COLUMNS
        times = drawn(block.max() + 1)[:, block]
        odd, even = (part - part.mean(axis=0) for part in sums[:2])
        chosen = ((odd * even).sum(0) / np.sqrt((odd**2).sum(0) * (even**2).sum(0))).argmax()
        odd, even = (part[:, chosen] - part[:, chosen].mean() for part in sums[2:])
        both, one, two = (times @ v for v in (odd * even, odd**2, even**2))
        best.append(both / np.sqrt(one * two))
    return found(*best, block.max() + 1, "blocks of columns", [view.scan])
