"""The rate-distortion chart: a panel for each model, a line for each packer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from fidelity_points import Point

_BITS: Final = (1.0, 10.0)
_TALL: Final = (0.0, 60.0)
_OTHERS: Final = mpl.color_sequences["tab10"]
_MARKS: Final = "svPX*hd<>p"


def draw_chart(panels: list[tuple[str, list[Point]]], path: Path) -> None:
    """As a PNG, on white."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6 * len(panels), 7), squeeze=False, layout="constrained"
    )
    names = list(dict.fromkeys(point.packer for _, points in panels for point in points))
    for axis, (title, points) in zip(axes[0], panels, strict=True):
        _panel(axis, title, points, names)
    handles: dict[str, Any] = {}
    for axis in axes[0]:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center",
        ncols=max(2, 2 * len(panels)), frameon=False,
    )  # fmt: skip
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)


def _panel(axis: Any, title: str, points: list[Point], names: list[str]) -> None:
    for number, name in enumerate(names):
        found = sorted(
            (p.bits, p.overall)
            for p in points
            if p.packer == name and math.isfinite(p.overall) and _BITS[0] <= p.bits <= _BITS[1]
        )
        if found:
            axis.plot(*zip(*found, strict=True), label=name, **_style(number, name))
    axis.set(title=title, xlabel="bits per weight, in a wheel", xlim=_BITS, ylim=_TALL)
    axis.set_ylabel("SQNR of all quantized tensors, dB")
    axis.grid(color="0.9")
    axis.set_axisbelow(True)


def _style(number: int, name: str) -> dict[str, Any]:
    """Lines of vggq are solid and thick, those of others thin and dashed."""
    if name.startswith("vggq"):
        style = {"bits": "tab:gray", "sqnr": "tab:green", "size": "tab:red"}
        color = next(color for key, color in style.items() if key in name)
        faint = "independent" in name or "relative" in name
        return {"color": color, "marker": "o", "markersize": 4, "linewidth": 1.2 if faint else 2.2,
                "linestyle": (0, (4, 1)) if faint else "-"}  # fmt: skip
    return {"color": _OTHERS[number % 10], "marker": _MARKS[number % 10], "markersize": 5,
            "linewidth": 0.9, "linestyle": ":"}  # fmt: skip
