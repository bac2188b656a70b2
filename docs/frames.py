"""Draw the frames of docs/conventions.md as kikuchipy has them: python -m docs.frames."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from orix.vector import Vector3d

from kikuhelpers.patterns.geometry import Detector
from kikuhelpers.runs.files import written_aside

_CENTRE = (0.5134, 0.3440, 0.6259)  # of the measured crop, Bruker's convention
_AXES = {"X": (1, 0, 0), "Y": (0, 1, 0), "Z": (0, 0, 1)}
_COLOURS = dict(zip(_AXES, ["#d55e00", "#009e73", "#0072b2"], strict=True))


def axes_on_screen() -> dict[str, np.ndarray]:
    """Return the sample's axes in the screen's frame: right, up, from the sample to the screen."""
    turn = Detector(_CENTRE).camera((120, 120)).sample_to_detector
    return {name: (turn * Vector3d(axis)).data[0] for name, axis in _AXES.items()}


def _arrow(ax, start, end, text, colour="k") -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.5})
    ax.annotate(text, end, color=colour, fontsize=8, ha="center", va="center", weight="bold",
                xytext=np.array(end) + 0.1 * np.sign(np.subtract(end, start)).round())  # fmt: skip


def draw() -> plt.Figure:
    """Draw the microscope from the side, a map, and a pattern."""
    figure, (side, field, screen) = plt.subplots(1, 3, figsize=(7.2, 2.6), layout="constrained")
    axes = {name: axis[[2, 1]] for name, axis in axes_on_screen().items()}  # to the screen, up
    side.plot(*np.array([-axes["X"], axes["X"]]).T, color="0.4", lw=5, solid_capstyle="butt")
    side.plot([1.3, 1.3], [-1, 1], color="0.2", lw=3)
    side.annotate("screen", (1.22, 0.9), fontsize=7, ha="right")
    side.annotate("specimen", (-0.42, 0.62), fontsize=7, ha="right")
    _arrow(side, (0, 1.3), (0, 0.08), "", "0.5")
    side.annotate("beam", (0.06, 1.2), fontsize=7, color="0.4")
    for name in "XZ":
        _arrow(side, (0, 0), 0.75 * axes[name], name, _COLOURS[name])
    side.plot(0, 0, "o", ms=7, mfc="w", mec=_COLOURS["Y"])
    side.plot(0, 0, "x", ms=4, color=_COLOURS["Y"])
    side.annotate("Y", (-0.22, -0.1), color=_COLOURS["Y"], fontsize=8, weight="bold")
    side.set(xlim=(-1, 1.5), ylim=(-1.3, 1.45), title="A  Microscope, from the side")
    field.add_patch(plt.Rectangle((0, 0), 1.6, 1.2, fc="0.92", ec="0.4"))
    _arrow(field, (1.5, 0.1), (1.5, 0.8), "X", _COLOURS["X"])
    _arrow(field, (1.5, 0.1), (0.6, 0.1), "Y", _COLOURS["Y"])
    field.annotate("row 0, column 0", (0, 1.25), fontsize=7)
    field.annotate("foot of the slope", (0.8, 1.1), fontsize=7, color="0.4", ha="center")
    field.annotate("Z points at you", (0.55, 0.5), fontsize=7, color=_COLOURS["Z"], ha="center")
    field.set(xlim=(-0.2, 1.8), ylim=(-0.15, 1.4), title="B  Map")
    screen.add_patch(plt.Rectangle((0, 0), 1, 1, fc="0.92", ec="0.4"))
    x, y, _ = _CENTRE
    screen.plot(x, 1 - y, "+", ms=10, color="k")
    screen.annotate("", (0, 1 - y), (x, 1 - y), arrowprops={"arrowstyle": "<->", "lw": 0.8})
    screen.annotate("", (x, 1), (x, 1 - y), arrowprops={"arrowstyle": "<->", "lw": 0.8})
    screen.annotate("x", (x / 2, 0.98 - y), fontsize=8, va="top")
    screen.annotate("y", (x + 0.03, 1 - y / 2), fontsize=8)
    screen.annotate("pattern centre", (x + 0.03, 0.92 - y), fontsize=7, va="top")
    screen.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.15), title="C  Pattern, seen from the screen")
    for ax in (side, field, screen):
        ax.set_aspect("equal")
        ax.set_axis_off()
        ax.title.set_fontsize(8)
    return figure


def main() -> None:
    """Write docs/frames.png."""
    with written_aside(Path(__file__).with_suffix(".png")) as temporary:
        draw().savefig(temporary, dpi=150, format="png")


if __name__ == "__main__":
    main()
