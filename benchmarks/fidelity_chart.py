"""The rate-distortion chart: a panel for each model, a line for each packer.

One more bit per weight raises the SQNR of every packer by 6.02 dB, so that plain curves would lie
on top of each other. The chart shows the SQNR minus 6.02 dB per bit.
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

_BITS_RANGE: Final = (1.5, 9.0)
_DECIBELS_PER_BIT: Final = 20 * math.log10(2)
_MIN_DECIBELS: Final = -10.0
_COLORS: Final = mpl.color_sequences["tab10"]
_MARKERS: Final = "svPX*hd<>p"
# Colour and width of the lines of vggq.
_VGGQ_STYLES: Final = {
    "vggq bits": ("tab:gray", 2.2),
    "vggq sqnr": ("tab:green", 2.2),
    "vggq sqnr, independent": ("tab:olive", 1.4),
    "vggq size, relative": ("tab:orange", 1.4),
    "vggq size, overall": ("tab:red", 2.2),
}


def draw_rate_distortion(panels: list[tuple[str, list[Point]]], path: Path) -> None:
    """Write the chart as a PNG with a white background.

    Args:
        panels: the title and the points of each panel.
        path: the file to write.

    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6 * len(panels), 7.5), squeeze=False, layout="constrained"
    )
    visible = [point for _, points in panels for point in points if _is_visible(point)]
    names = dict.fromkeys(point.packer for point in visible)
    peers = [name for name in names if name not in _VGGQ_STYLES]
    handles: dict[str, Any] = {}
    for axis, (title, points) in zip(axes[0], panels, strict=True):
        _draw_panel(axis, title, points, peers)
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    axes[0][0].set_ylabel("overall SQNR minus 6.02 dB per bit, dB")
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=2 * len(panels),
        frameon=False,
    )
    figure.savefig(path, dpi=100, facecolor="white")
    plt.close(figure)


def _draw_panel(axis: Any, title: str, points: list[Point], peers: list[str]) -> None:
    for name in [*peers, *_VGGQ_STYLES]:
        curve = sorted(
            (point.bits, point.overall - _DECIBELS_PER_BIT * point.bits)
            for point in points
            if point.packer == name and _is_visible(point)
        )
        if curve:
            axis.plot(*zip(*curve, strict=True), label=name, **_line_style(name, peers))
    axis.set(title=title, xlabel="bits per weight, in a wheel", xlim=_BITS_RANGE)
    axis.set_ylim(bottom=_MIN_DECIBELS)
    axis.grid(color="0.9")
    axis.set_axisbelow(True)


def _is_visible(point: Point) -> bool:
    return _BITS_RANGE[0] <= point.bits <= _BITS_RANGE[1]


def _line_style(name: str, peers: list[str]) -> dict[str, Any]:
    """Return a solid, thick line for vggq and a thin, dotted one for another packer."""
    if name in _VGGQ_STYLES:
        color, width = _VGGQ_STYLES[name]
        return {"color": color, "linewidth": width, "marker": "o", "markersize": 4}
    index = peers.index(name)
    return {
        "color": _COLORS[index % len(_COLORS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": ":",
        "linewidth": 1,
        "markersize": 6,
    }
