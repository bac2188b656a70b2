"""Fig. 3: the networks and their layers, which are read off the network object."""

from dataclasses import replace
from math import isqrt

import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle

from kikuhelpers.figures import drawing, style
from kikuhelpers.figures.style import PAGE_MM, TEXT_PT
from kikuhelpers.latents.view import View
from kikuhelpers.runs.results import Results
from kikuhelpers.study import NETWORK_INPUT_PX, roles
from kikuhelpers.study.models import Contrastive
from kikuhelpers.tables.table2 import CONVOLUTION, LINEAR, TRANSPOSED, Layer, trace_layers
from kikuhelpers.training.augmentation import augment

_HEIGHT_MM = 131.0
# Left, right, bottom and top, in millimetres, of what is stacked: the page, or its cuttings.
_WINDOWS = {183: [(0, PAGE_MM, 0, _HEIGHT_MM)]}
_WINDOWS[89] = [(0, 89, 76, 133), (91, 180, 76, 125), (0, 89, 67.5, 73), (94, 183, 67.5, 72.5)]
_WINDOWS[89] += [(0, 80, 36.5, 66), (79.5, 159.5, 36.5, 60)]  # encoder
_WINDOWS[89] += [(0, 80, 3.5, 33), (79.5, 158.9, 3.5, 27), (158.5, 182, 3.5, 27)]
_ENCODER, _DECODER, _LATENT, _HEAD = "#9ecae1", "#fdbe85", "#a1d99b", "#dadaeb"
_FULL_SIDE_MM = 11.0  # of a box of 120 px; smaller maps follow a power law, to stay visible
_SIDE_POWER = 0.6
_LAYER_SLOT_MM = 15.8
_LAYERS_TOP_MM = 70.0
_VIEW_SEED = 3  # of the two augmented views shown

# In millimetres from the left and from the middle of a row of shapes:
# x, y, width, left side, right side, text, colour; and both ends of each arrow.
_VAE_SHAPES = (
    (26, 0, 12, 15, 7, "Encoder", _ENCODER),
    (38, 4.5, 6, 5, 5, "μ", _LATENT),
    (38, -4.5, 6, 5, 5, "σ", _LATENT),
    (47, 0, 6, 8, 8, "z", _LATENT),
    (59, 0, 12, 7, 15, "Decoder", _DECODER),
)
_VAE_ARROWS = [(17, 0, 20, 0), (32, 0, 35, 4), (32, 0, 35, -4), (41, 4, 44, 0), (41, -4, 44, 0)]
_VAE_ARROWS += [(50, 0, 53, 0), (65, 0, 68, 0)]
_VIEW_SHAPES = (
    (39, 0, 12, 12, 6, "Encoder", _ENCODER),
    (52, 0, 8, 7, 7, "μ, σ", _LATENT),
    (66, 0, 12, 6, 12, "Decoder", _DECODER),
)
_VIEW_ARROWS = [(30.5, 0, 33, 0), (45, 0, 48, 0), (56, 0, 60, 0), (72, 0, 75, 0)]


def draw(results: Results) -> style.PaperFigure:
    """Draw the VAE (A), its contrastive variant (B) and the layers with their sizes (C)."""
    study = results.study
    name, contrastive = roles.largest_vae(study), roles.contrastive_models(study)
    settings = study.model(contrastive[0]).contrastive if contrastive else Contrastive()
    dimension = study.model(name).latent_dim
    view = View.whole(results, roles.decoded_scan(study))
    point = view.typical_point(name)
    pattern, decoded = view.pattern(*point), view.pattern(*point, name)
    width_mm, limits = study.figures.width_mm, drawing.pattern_limits(pattern, view.mask)
    below = sum(top - bottom for _, _, bottom, top in _WINDOWS[width_mm])
    figure = style.new_figure(below, width_mm=width_mm, layout="none")
    for window in _WINDOWS[width_mm]:
        below -= window[3] - window[2]
        canvas = _Canvas(figure, view.mask, limits, window, below)
        title = f"Fig. 3  The networks, with patterns of the {view.label}"
        canvas.write(1, _HEIGHT_MM - 3, title, TEXT_PT + 1, "left", wrap=True)
        _draw_vae(canvas, pattern, decoded, dimension)
        _draw_contrastive(canvas, pattern, dimension, settings)
        _draw_layers(canvas, dimension, name)
    if not contrastive:
        sentence = "Fig. 3B: drawn with default settings; no contrastive model was trained."
        figure.missing.append(sentence)
    return figure


class _Canvas:
    """Shapes, arrows and patterns in a window of the page, in millimetres."""

    def __init__(self, figure: style.PaperFigure, mask, limits, window, below: float):
        left, right, bottom, top = self.window = window
        size = np.array([0, below, right - left, top - bottom]) * style.INCH_PER_MM
        self.ax = figure.add_axes(tuple(size / np.tile(figure.get_size_inches(), 2)))
        self.ax.set(xlim=(left, right), ylim=(bottom, top))
        self.ax.set_axis_off()
        self.mask, self.limits = mask, limits

    def write(self, x, y, text, size=style.SMALL_PT, align="center", **style):
        left, right, bottom, top = self.window
        if left <= x <= right and bottom <= y <= top:
            self.ax.text(x, y, text, **{"fontsize": size, "ha": align, "va": "center"} | style)

    def shape(self, x, y, width, left, right, text, colour):
        """A box around (x, y) with text inside; a trapezoid where its sides differ."""
        sizes = np.array([(-width, -left), (-width, left), (width, right), (width, -right)])
        self.ax.add_patch(Polygon((x, y) + sizes / 2, fc=colour, ec="0.3", lw=0.5))
        self.write(x, y, text)

    def arrow(self, start, stop):
        look = {"arrowstyle": "-|>", "mutation_scale": 5, "lw": 0.7, "color": "0.25"}
        self.ax.add_patch(FancyArrowPatch(start, stop, shrinkA=0, shrinkB=0, **look))

    def row(self, x, y, shapes, arrows):
        """Shapes and arrows around (x, y)."""
        for dx, dy, *shape in shapes:
            self.shape(x + dx, y + dy, *shape)
        for x0, y0, x1, y1 in arrows:
            self.arrow((x + x0, y + y0), (x + x1, y + y1))

    def pattern(self, x, y, side, values, label):
        """A pattern around (x, y) with a label above."""
        extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
        inside, (low, high) = np.ma.array(values, mask=~self.mask), self.limits
        self.ax.imshow(inside, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto")
        self.write(x, y + side / 2 + 1.8, label)

    def sheets(self, x, y, layer, colour):
        """Squares around (x, y), one behind the other: more for more channels."""
        side = _FULL_SIDE_MM * (layer.px / NETWORK_INPUT_PX) ** _SIDE_POWER
        count = max(1, int(np.log2(layer.channels)) - 1)
        for sheet in reversed(range(count)):
            shift = 0.35 * (sheet - (count - 1) / 2)
            corner = (x - side / 2 + shift, y - side / 2 + shift)
            self.ax.add_patch(Rectangle(corner, side, side, fc=colour, ec="0.3", lw=0.4))


def _draw_vae(canvas, pattern, decoded, dimension) -> None:
    y = _HEIGHT_MM - 30
    canvas.write(1, _HEIGHT_MM - 10, r"$\bf{A}$  Variational autoencoder", TEXT_PT, "left")
    canvas.pattern(9, y, 15, pattern, "pattern x")
    canvas.row(0, y, _VAE_SHAPES, _VAE_ARROWS)
    canvas.pattern(76, y, 15, decoded, "decoded x̂")
    canvas.write(42, y - 10, f"{dimension} values each; z = μ + σ ε")
    squares = r"$\frac{1}{2}\,\Sigma_{\mathrm{mask}}(\hat{x}-x)^2$"
    loss = rf"loss = {squares} $+\;\beta$ KL( N(μ, σ²) || N(0, 1) )"
    canvas.write(42, y - 17, loss, TEXT_PT)
    canvas.write(42, y - 22, "pixel-to-pixel, inside the screen only; β = 1 unless stated")


def _draw_contrastive(canvas, pattern, dimension, settings) -> None:
    middle, left = _HEIGHT_MM - 32, 92.0
    title = r"$\bf{B}$  Contrastive variant: two noisy views, shared weights"
    canvas.write(left, _HEIGHT_MM - 10, title, TEXT_PT, "left")
    canvas.pattern(left + 7, middle, 12, pattern, "pattern x")
    for sign, index, noisy in zip((1, -1), "₁₂", _noisy_views(pattern, settings), strict=True):
        y = middle + 10.5 * sign
        canvas.arrow((left + 13.5, middle + 2 * sign), (left + 17, y))
        canvas.pattern(left + 24, y, 12, noisy, f"view {1 if sign > 0 else 2}")
        canvas.row(left, y, _VIEW_SHAPES, _VIEW_ARROWS)
        canvas.write(left + 75.5, y, f"x̂{index} ↔ x\nKL{index}", align="left")
        canvas.arrow((left + 52, y - 3.5 * sign), (left + 52, middle + 2.6 * sign))
    head = f"MLP of μ: {dimension}–{settings.head_width}–{settings.projection_dim}, NT-Xent"
    canvas.shape(left + 56, middle, 34, 5.2, 5.2, head, _HEAD)
    views = f"{settings.weight:g} × NT-Xent (τ = {settings.temperature:g})"
    loss = f"loss = mean of both VAE losses against the clean x + {views}"
    canvas.write(left + 43, middle - 20, loss)


def _noisy_views(pattern: np.ndarray, settings: Contrastive) -> list[np.ndarray]:
    # Every kind of noise at once, so that the two views differ visibly.
    certain = settings.augmentation.model_copy(update={"probability": 1.0})
    batch = torch.from_numpy(np.stack([pattern, pattern])).unsqueeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_VIEW_SEED)
        return list(augment(batch, certain).squeeze(1).numpy())


def _draw_layers(canvas: _Canvas, dimension: int, name: str) -> None:
    title = rf"$\bf{{C}}$  Layers of {name}: channels × px², layer, parameters"
    canvas.write(1, _LAYERS_TOP_MM, title, TEXT_PT, "left")
    legend = "/2: stride 2    convᵀ: transposed    +: shortcut"
    canvas.write(PAGE_MM - 1, _LAYERS_TOP_MM, legend, align="right")
    for part, y, colour in (("encoder", 53.0, _ENCODER), ("decoder", 20.0, _DECODER)):
        layers = drawn_layers(dimension, part)
        total = sum(layer.parameters for layer in layers)
        words = f"{part.title()}, {total:,} parameters"
        canvas.write(1, y + 10.5, words, align="left", style="italic")
        for number, layer in enumerate(layers):
            x, between = (10 + place * _LAYER_SLOT_MM for place in (number, number - 0.5))
            canvas.sheets(x, y, layer, colour)
            canvas.write(x, y - 7.5, layer_text(layer), va="top", linespacing=1.25)
            if number:
                canvas.arrow((between - 1.0, y), (between + 1.0, y))


def drawn_layers(dimension: int, part: str) -> list[Layer]:
    """List the layers of the "encoder" or the "decoder", led by what goes into it."""
    layers = [layer for layer in trace_layers(dimension) if layer.part == part]
    if part == "encoder":
        return [Layer(part, "input", 1, NETWORK_INPUT_PX, 1, 1, False, 0), *layers]
    # The values of its fully connected layer are folded to as many maps as the latent has values.
    folded = replace(layers[0], channels=dimension, px=isqrt(layers[0].channels // dimension))
    return [Layer(part, "latent", dimension, 1, 1, 1, False, 0), folded, *layers[1:]]


def layer_text(layer: Layer) -> str:
    """Return a layer's caption: its output, its kind and its number of parameters."""
    size = f"{layer.channels} × {layer.px}²" if layer.px > 1 else f"{layer.channels}"
    kernel = f"{layer.kernel_px}×{layer.kernel_px}"
    kinds = {CONVOLUTION: f"conv {kernel}", TRANSPOSED: f"convᵀ {kernel}", LINEAR: "linear"}
    stride = f" /{layer.stride}" if layer.stride > 1 else ""
    kind = kinds.get(layer.kind, layer.kind) + stride + " +" * layer.shortcut
    return f"{size}\n{kind}" + (f"\n{layer.parameters:,}" if layer.parameters else "")
