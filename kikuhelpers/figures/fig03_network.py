"""Fig. 3: the network, drawn from the network object itself.

The layers are not a list typed from the paper: a pattern is passed through the network
and each layer's output shape, kernel, stride and number of parameters are read off.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle
from torch import nn

from kikuhelpers.figures import selection
from kikuhelpers.figures.drawing import pattern_limits
from kikuhelpers.figures.style import (
    PAGE_MM,
    SMALL_PT,
    TEXT_PT,
    PaperFigure,
    new_figure,
    print_style,
)
from kikuhelpers.figures.views import whole
from kikuhelpers.study.study import NETWORK_INPUT_PX, Contrastive, Study
from kikuhelpers.training.augmentation import augment
from kikuhelpers.training.vae import KikuchiVAE, ShortcutConv, count_parameters

_HEIGHT_MM = 131.0
_ENCODER_COLOUR = "#9ecae1"
_DECODER_COLOUR = "#fdbe85"
_LATENT_COLOUR = "#a1d99b"
_HEAD_COLOUR = "#dadaeb"
_FULL_SIDE_MM = 11.0  # of a box of 120 px; smaller maps follow a power law, to stay visible
_SIDE_POWER = 0.6
_LAYER_SLOT_MM = 15.8
_LAYERS_TOP_MM = 70.0
_VIEW_SEED = 3  # of the two augmented views shown


@dataclass(frozen=True)
class Layer:
    """One layer with parameters, as a forward pass finds it."""

    kind: str  # "conv", "transposed conv" or "linear"
    channels: int  # of its output
    px: int  # side of its output
    kernel_px: int
    stride: int
    shortcut: bool
    parameters: int


def trace_layers(module: nn.Module, example: torch.Tensor) -> list[Layer]:
    """Pass an example through a module and list its layers in the order of execution.

    Parameters
    ----------
    module
        Encoder or decoder, on the meta device: on a CPU its layers may hand on blocks of
        pixels (see :mod:`kikuhelpers.training.block_convolution`).
    example
        One input on the same device, batch axis first.
    """
    inside_shortcut = {m.conv for m in module.modules() if isinstance(m, ShortcutConv)}
    layers: list[Layer] = []

    def read(layer, _inputs, output):
        if isinstance(layer, nn.Unflatten):  # the linear layer before it makes these maps
            old = layers.pop()
            layers.append(
                Layer("linear", output.shape[1], output.shape[2], 1, 1, False, old.parameters)
            )
            return
        kinds = {nn.Conv2d: "conv", nn.ConvTranspose2d: "transposed conv", nn.Linear: "linear"}
        kind = next(name for base, name in kinds.items() if isinstance(layer, base))
        kernel, stride = (
            (1, 1) if isinstance(layer, nn.Linear) else (layer.kernel_size[0], layer.stride[0])
        )
        layers.append(
            Layer(
                kind,
                output.shape[1],
                output.shape[2] if output.ndim == 4 else 1,
                kernel,
                stride,
                layer in inside_shortcut,
                count_parameters(layer),
            )
        )

    drawn = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Unflatten)
    hooks = [m.register_forward_hook(read) for m in module.modules() if isinstance(m, drawn)]
    with torch.inference_mode():
        module(example)
    for hook in hooks:
        hook.remove()
    return layers


@print_style
def figure_3(study: Study) -> PaperFigure:
    """Draw the VAE (A), its contrastive variant (B) and the layers with their sizes (C)."""
    name = selection.largest_vae(study)
    with torch.device("meta"):
        model = KikuchiVAE(study.model(name).latent_dim)
    figure = new_figure(_HEIGHT_MM, layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, PAGE_MM)
    ax.set_ylim(0, _HEIGHT_MM)
    ax.set_axis_off()
    scan = selection.decoded_scan(study)
    view = whole(study, scan)
    point = selection.typical_point(view, name)
    pictures = {
        "input": view.pattern(*point),
        "decoded": view.pattern(*point, model=name),
    }
    contrastive = selection.contrastive_models(study)
    settings = study.model(contrastive[0]).contrastive if contrastive else Contrastive()
    pictures["view 1"], pictures["view 2"] = _views(pictures["input"], settings)
    canvas = _Canvas(ax, view.mask, pattern_limits(pictures["input"], view.mask))
    canvas.write(
        1, _HEIGHT_MM - 3, f"Fig. 3  The networks, with patterns of the {view.label}", TEXT_PT + 1
    )
    _draw_vae(canvas, pictures, model)
    _draw_contrastive(canvas, pictures, model, settings)
    if not contrastive:
        figure.missing.append(
            "Fig. 3B: drawn with default settings; no contrastive model was trained."
        )
    _draw_layers(canvas, model, name)
    return figure


def _views(pattern: np.ndarray, settings: Contrastive) -> list[np.ndarray]:
    # Every kind of noise at once, so that the two views differ visibly.
    certain = settings.augmentation.model_copy(update={"probability": 1.0})
    batch = torch.from_numpy(np.stack([pattern, pattern])).unsqueeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_VIEW_SEED)
        return list(augment(batch, certain).squeeze(1).numpy())


class _Canvas:
    """Boxes, arrows and patterns on one axes in millimetres."""

    def __init__(self, ax, mask: np.ndarray, limits: tuple[float, float]):
        self.ax, self.mask, self.limits = ax, mask, limits

    def write(self, x, y, text, size=SMALL_PT, align="left", **style):
        self.ax.text(x, y, text, fontsize=size, ha=align, va="center", **style)

    def box(self, x, y, width, height, text, colour):
        """A box around (x, y) with text inside."""
        corner = (x - width / 2, y - height / 2)
        self.ax.add_patch(Rectangle(corner, width, height, fc=colour, ec="0.3", lw=0.5))
        self.write(x, y, text, align="center", linespacing=1.1)

    def trapezoid(self, x, y, width, tall, small, text, colour):
        """An encoder (tall side left) or a decoder (tall < small) around (x, y)."""
        left, right = tall / 2, small / 2
        half = width / 2
        corners = [
            (x - half, y - left), (x - half, y + left), (x + half, y + right), (x + half, y - right)
        ]  # fmt: skip
        self.ax.add_patch(Polygon(corners, fc=colour, ec="0.3", lw=0.5))
        self.write(x, y, text, align="center")

    def arrow(self, start, stop, style="-|>", **kwargs):
        patch = FancyArrowPatch(
            start,
            stop,
            arrowstyle=style,
            mutation_scale=5,
            lw=0.7,
            color="0.25",
            shrinkA=0,
            shrinkB=0,
            **kwargs,
        )
        self.ax.add_patch(patch)

    def pattern(self, x, y, side, values, label):
        """A pattern around (x, y) with a label above."""
        extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
        inside = np.ma.array(values, mask=~self.mask)
        low, high = self.limits
        self.ax.imshow(inside, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto")
        self.ax.set_xlim(0, PAGE_MM)
        self.ax.set_ylim(0, _HEIGHT_MM)
        self.write(x, y + side / 2 + 1.8, label, align="center")


def _draw_vae(canvas: _Canvas, pictures: dict, model: KikuchiVAE) -> None:
    y = _HEIGHT_MM - 30
    dimension = model.latent_dim
    canvas.write(1, _HEIGHT_MM - 10, r"$\bf{A}$  Variational autoencoder", TEXT_PT)
    canvas.pattern(9, y, 15, pictures["input"], "pattern x")
    canvas.arrow((17, y), (20, y))
    canvas.trapezoid(26, y, 12, 15, 7, "Encoder", _ENCODER_COLOUR)
    canvas.arrow((32, y), (35, y + 4))
    canvas.arrow((32, y), (35, y - 4))
    canvas.box(38, y + 4.5, 6, 5, "μ", _LATENT_COLOUR)
    canvas.box(38, y - 4.5, 6, 5, "σ", _LATENT_COLOUR)
    canvas.arrow((41, y + 4), (44, y))
    canvas.arrow((41, y - 4), (44, y))
    canvas.box(47, y, 6, 8, "z", _LATENT_COLOUR)
    canvas.write(42, y - 10, f"{dimension} values each; z = μ + σ ε", align="center")
    canvas.arrow((50, y), (53, y))
    canvas.trapezoid(59, y, 12, 7, 15, "Decoder", _DECODER_COLOUR)
    canvas.arrow((65, y), (68, y))
    canvas.pattern(76, y, 15, pictures["decoded"], "decoded x̂")
    canvas.write(
        42,
        y - 17,
        r"loss = $\frac{1}{2}\,\Sigma_{\mathrm{mask}}(\hat{x}-x)^2$"
        r" $+\;\beta$ KL( N(μ, σ²) || N(0, 1) )",
        TEXT_PT,
        "center",
    )
    canvas.write(
        42, y - 22, "pixel-to-pixel, inside the screen only; β = 1 unless stated", align="center"
    )


def _draw_contrastive(canvas: _Canvas, pictures: dict, model: KikuchiVAE, settings: Contrastive):
    middle, left = _HEIGHT_MM - 32, 92.0
    canvas.write(
        left,
        _HEIGHT_MM - 10,
        r"$\bf{B}$  Contrastive variant: two noisy views, shared weights",
        TEXT_PT,
    )
    canvas.pattern(left + 7, middle, 12, pictures["input"], "pattern x")
    for sign, label in ((1, "view 1"), (-1, "view 2")):
        y = middle + 10.5 * sign
        canvas.arrow((left + 13.5, middle + 2 * sign), (left + 17, y))
        canvas.pattern(left + 24, y, 12, pictures[label], label)
        canvas.arrow((left + 30.5, y), (left + 33, y))
        canvas.trapezoid(left + 39, y, 12, 12, 6, "Encoder", _ENCODER_COLOUR)
        canvas.arrow((left + 45, y), (left + 48, y))
        canvas.box(left + 52, y, 8, 7, "μ, σ", _LATENT_COLOUR)
        canvas.arrow((left + 56, y), (left + 60, y))
        canvas.trapezoid(left + 66, y, 12, 6, 12, "Decoder", _DECODER_COLOUR)
        canvas.arrow((left + 72, y), (left + 75, y))
        canvas.write(
            left + 75.5, y, f"x̂{'₁' if sign > 0 else '₂'} ↔ x\nKL{'₁' if sign > 0 else '₂'}"
        )
        canvas.arrow((left + 52, y - 3.5 * sign), (left + 52, middle + 2.6 * sign))
    head = f"MLP of μ: {model.latent_dim}–{settings.head_width}–{settings.projection_dim}, NT-Xent"
    canvas.box(left + 56, middle, 34, 5.2, head, _HEAD_COLOUR)
    canvas.write(
        left + 43,
        middle - 20,
        "loss = mean of both VAE losses against the clean x"
        f" + {settings.weight:g} × NT-Xent (τ = {settings.temperature:g})",
        align="center",
    )


def _draw_layers(canvas: _Canvas, model: KikuchiVAE, name: str) -> None:
    blank = torch.empty(1, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX, device="meta")
    latent = torch.empty(1, model.latent_dim, device="meta")
    rows = (
        (
            "Encoder",
            model.encoder,
            blank,
            Layer("input", 1, NETWORK_INPUT_PX, 1, 1, False, 0),
            53.0,
        ),
        (
            "Decoder",
            model.decoder,
            latent,
            Layer("latent", model.latent_dim, 1, 1, 1, False, 0),
            20.0,
        ),
    )
    canvas.write(
        1,
        _LAYERS_TOP_MM,
        rf"$\bf{{C}}$  Layers of {name}: channels × px², layer, parameters",
        TEXT_PT,
    )
    canvas.write(
        PAGE_MM - 1,
        _LAYERS_TOP_MM,
        "/2: stride 2    convᵀ: transposed    +: shortcut",
        align="right",
    )
    for title, part, example, start, y in rows:
        layers = [start, *trace_layers(part, example)]
        total = count_parameters(part)
        canvas.write(1, y + 10.5, f"{title}, {total:,} parameters", style="italic")
        colour = _ENCODER_COLOUR if title == "Encoder" else _DECODER_COLOUR
        for number, layer in enumerate(layers):
            _draw_layer(canvas, layer, 10 + number * _LAYER_SLOT_MM, y, colour)
            if number:
                x = 10 + (number - 0.5) * _LAYER_SLOT_MM
                canvas.arrow((x - 1.0, y), (x + 1.0, y))


def _draw_layer(canvas: _Canvas, layer: Layer, x: float, y: float, colour: str) -> None:
    side = _FULL_SIDE_MM * (layer.px / NETWORK_INPUT_PX) ** _SIDE_POWER
    sheets = max(1, int(np.log2(layer.channels)) - 1)
    for sheet in reversed(range(sheets)):
        shift = 0.35 * (sheet - (sheets - 1) / 2)
        corner = (x - side / 2 + shift, y - side / 2 + shift)
        canvas.ax.add_patch(Rectangle(corner, side, side, fc=colour, ec="0.3", lw=0.4))
    canvas.ax.text(
        x, y - 7.5, layer_text(layer), ha="center", va="top", fontsize=SMALL_PT, linespacing=1.25
    )


def layer_text(layer: Layer) -> str:
    """Return a layer's caption: its output, its kind and its number of parameters."""
    size = f"{layer.channels} × {layer.px}²" if layer.px > 1 else f"{layer.channels}"
    kernel = f"{layer.kernel_px}×{layer.kernel_px}"
    kind = {
        "conv": f"conv {kernel}",
        "transposed conv": f"conv\u1d40 {kernel}",
        "linear": "linear",
    }.get(layer.kind, layer.kind)
    if layer.stride > 1:
        kind += f" /{layer.stride}"
    if layer.shortcut:
        kind += " +"
    return f"{size}\n{kind}" + (f"\n{layer.parameters:,}" if layer.parameters else "")
