"""Table 2 of the paper: the layers of the network, read off the network itself.

The layers are not a list typed from the paper: a pattern is passed through the network
and each layer's output shape, kernel, stride and number of parameters are read off.
"""

from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from torch import nn

from kikuhelpers.study import LATENT_DIMENSIONS, NETWORK_INPUT_PX, PROJECT_ROOT
from kikuhelpers.training.vae import KikuchiVAE, ShortcutConv, count_parameters

PAPER_TABLE2 = PROJECT_ROOT / "data" / "paper_table2_parameters.csv"
CONVOLUTION, TRANSPOSED, LINEAR = "convolution", "transposed convolution", "fully connected"


@dataclass(frozen=True)
class Layer:
    """One layer with parameters, as a forward pass finds it."""

    part: str  # "encoder" or "decoder"
    kind: str  # CONVOLUTION, TRANSPOSED or LINEAR
    channels: int  # of its output
    px: int  # side of its output
    kernel_px: int
    stride: int
    shortcut: bool
    parameters: int


def trace_layers(latent_dim: int) -> list[Layer]:
    """List the layers of a network in the order of execution, without computing anything."""
    layers, kinds = [], {nn.Conv2d: CONVOLUTION, nn.ConvTranspose2d: TRANSPOSED, nn.Linear: LINEAR}

    def read(name, shortcut, layer, _inputs, output):
        px = output.shape[-1] if output.ndim == 4 else 1
        kernel, stride = getattr(layer, "kernel_size", (1,)), getattr(layer, "stride", (1,))
        sizes = (output.shape[1], px, kernel[0], stride[0], shortcut, count_parameters(layer))
        layers.append(Layer(name.partition(".")[0], kinds[type(layer)], *sizes))

    with torch.device("meta"):
        network = KikuchiVAE(latent_dim)
        inside = {m.conv for m in network.modules() if isinstance(m, ShortcutConv)}
        for name, layer in network.named_modules():
            if type(layer) in kinds:
                layer.register_forward_hook(partial(read, name, layer in inside))
        network(torch.empty(1, 1, NETWORK_INPUT_PX, NETWORK_INPUT_PX))
    return layers


def table2() -> pd.DataFrame:
    """Return Table 2, read off the networks: one row per layer, channels per dimension.

    The last rows count parameters, ours and as the paper prints them (thousands).
    """
    networks = {str(dim): trace_layers(dim) for dim in LATENT_DIMENSIONS}
    table, counts = pd.DataFrame([_row(layer) for layer in next(iter(networks.values()))]), {}
    for dim, layers in networks.items():
        table[dim] = [layer.channels for layer in layers]
        counts[dim] = pd.DataFrame(layers).groupby("part")["parameters"].sum()
    ours, papers = pd.DataFrame(counts), pd.read_csv(PAPER_TABLE2).set_index("part")
    for part in ("encoder", "decoder"):
        for name, rows in (("", ours), (", paper (k)", papers)):
            table.loc[len(table)] = {"part": part, "layer": f"parameters{name}", **rows.loc[part]}
    return table.fillna("")


def _row(layer: Layer) -> dict[str, str | int]:
    linear = layer.kind == LINEAR
    return {
        "part": layer.part,
        "layer": layer.kind,
        "output px": f"{layer.px} x {layer.px}",
        "kernel": "" if linear else f"{layer.kernel_px} x {layer.kernel_px}",
        "stride": "" if linear else layer.stride,
        "shortcut": "*" if layer.shortcut else "",
    }
