"""The rate-distortion chart: a panel for each model, a line for each packer.

Each bit is worth 6.02 dB to every packer, so that plain curves would lie on top of each other: what
is drawn is the SQNR less 6.02 dB for each bit per weight.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from fidelity_points import Point

_BITS: Final = (1.5, 9.0)
_BIT: Final = 20 * math.log10(2)
_LEAST: Final = -10.0
_COLORS: Final = mpl.color_sequences["tab10"]
_MARKS: Final = "svPX*hd<>p"
# Colour and width of the lines of vggq.
_OWN: Final = {
    "vggq bits": ("tab:gray", 2.2),
    "vggq sqnr": ("tab:green", 2.2),
    "vggq sqnr, independent": ("tab:olive", 1.4),
    "vggq size, relative": ("tab:orange", 1.4),
    "vggq size, overall": ("tab:red", 2.2),
}


def draw_chart(panels: list[tuple[str, list[Point]]], path: Path) -> None:
    """As a PNG, on white."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6 * len(panels), 7.5), squeeze=False, layout="constrained"
    )
    shown = [p for _, points in panels for p in points if _BITS[0] <= p.bits <= _BITS[1]]
    peers = [name for name in dict.fromkeys(p.packer for p in shown) if name not in _OWN]
    handles: dict[str, Any] = {}
    for axis, (title, points) in zip(axes[0], panels, strict=True):
        for name in [*peers, *_OWN]:
            _line(axis, name, points, peers)
        axis.set(title=title, xlabel="bits per weight, in a wheel", xlim=_BITS)
        axis.set_ylim(bottom=_LEAST)
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    axes[0][0].set_ylabel("SQNR of all quantized tensors less 6.02 dB for each bit, dB")
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=2 * len(panels),
        frameon=False,
    )
    figure.savefig(path, dpi=100, facecolor="white")
    plt.close(figure)


def _line(axis: Any, name: str, points: list[Point], peers: list[str]) -> None:
    found = sorted(
        (point.bits, point.overall - _BIT * point.bits)
        for point in points
        if point.packer == name and _BITS[0] <= point.bits <= _BITS[1]
    )
    if found:
        axis.plot(*zip(*found, strict=True), label=name, **_style(name, peers))


def _style(name: str, peers: list[str]) -> dict[str, Any]:
    """Lines of vggq are solid and thick, those of others thin and dotted."""
    if name in _OWN:
        color, width = _OWN[name]
        return {"color": color, "linewidth": width, "marker": "o", "markersize": 4}
    number = peers.index(name)
    return {
        "color": _COLORS[number % len(_COLORS)],
        "marker": _MARKS[number % len(_MARKS)],
        "linestyle": ":",
        "linewidth": 1,
        "markersize": 6,
    }
