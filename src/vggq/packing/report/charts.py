"""Charts, drawn by matplotlib as SVG whose colours are the page's own."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .tensor_stats import Drawing, Histogram

    Draw = Callable[[Any], None]
    Points = Sequence[tuple[float, float]]
    Labelled = Sequence[tuple[float, float, str]]

# Stand for the page's variables, which are other colours in the dark.
INK: Final = "#010101"
MUTED: Final = "#020202"
ACCENT: Final = "#030303"
SECOND: Final = "#040404"
GRID: Final = "#050505"
_VARIABLES: Final = {
    INK: "--ink", MUTED: "--muted", ACCENT: "--accent", SECOND: "--second", GRID: "--line"
}  # fmt: skip
_STYLE: Final = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
# Of the lines of one chart: told apart by their marks as well as by their colours.
_LOOKS: Final[tuple[dict[str, str], ...]] = (
    {"color": SECOND, "marker": "o"},
    {"color": ACCENT, "marker": "s"},
    {"color": INK, "marker": "^"},
)
# Where each line's labels are, so that those of two lines are not on each other.
# A third line's would be on both.
_BELOW: Final[tuple[dict[str, Any] | None, ...]] = (
    {"xytext": (5, -11)},
    {"xytext": (-5, 5), "ha": "right"},
    None,
)
# More of the labels of an error would run into each other.
_TICKS: Final = 6
_NARROW: Final = (4.6, 3.4)
_WIDE: Final = (9.6, 4.2)
_SMALL: Final = (4.6, 2.3)
DECIBELS_PER_BIT: Final = 20 * np.log10(2)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart for a page.

    Attributes:
        title: its heading.
        description: what it shows, in words, for those who do not see it too.
        wide: SVG for a wide page.
        narrow: SVG for a narrow one.

    """

    title: str
    description: str
    wide: str
    narrow: str


def chart(title: str, description: str, draw: Draw) -> Chart:
    """Both sizes of what `draw` puts on the axes it is given.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    """
    return Chart(title, description, _svg(_WIDE, draw, title), _svg(_NARROW, draw, title))


def rate_distortion(
    tensors: Points, file: tuple[float, float], lines: Mapping[str, Points]
) -> Draw:
    """Bits a weight and SQNR in dB: of tensors, of the file, and of the source packed otherwise."""

    def draw(axes: Any) -> None:
        every = [point for points in lines.values() for point in points]
        most = max([file[0], *(x for x, _ in [*tensors, *every])]) * 1.05
        axes.plot(
            [0, most],
            [0, most * DECIBELS_PER_BIT],
            color=MUTED,
            linestyle="--",
            linewidth=1,
            label="limit for Gaussian weights",
        )
        if tensors:
            axes.scatter(*zip(*tensors, strict=True), s=9, color=MUTED, label="its tensors")
        for look, (name, points) in zip(_LOOKS, lines.items(), strict=False):
            axes.plot(*zip(*points, strict=True), **look, markersize=4, label=name)
        axes.scatter(*file, s=80, marker="D", color=ACCENT, zorder=3, label="this file")
        axes.set(xlabel="bits a weight, the whole file counted", ylabel="SQNR, dB")
        axes.set(xlim=(0, most), ylim=(0, None))
        axes.legend(loc="upper left")

    return draw


def line_chart(
    lines: Mapping[str, Labelled],
    labels: tuple[str, str],
    level: tuple[float, str] | None = None,
) -> Draw:
    """Labelled points joined by lines, against a level to compare with."""

    def draw(axes: Any) -> None:
        if level is not None:
            axes.axhline(level[0], color=MUTED, linestyle="--", linewidth=1, label=level[1])
        for look, below, (name, points) in zip(_LOOKS, _BELOW, lines.items(), strict=False):
            xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
            axes.plot(xs, ys, **look, markersize=5, label=name)
            for x, y, text in points if below else ():
                axes.annotate(text, (x, y), textcoords="offset points", color=INK, **(below or {}))
        axes.set(xlabel=labels[0], ylabel=labels[1])
        axes.margins(x=0.12, y=0.12)
        if level is not None or len(lines) > 1:
            axes.legend(loc="lower right")

    return draw


def histograms(name: str, drawing: Drawing) -> list[tuple[str, str]]:
    """A description and the SVG of a tensor's weights, and of its errors where they are known."""
    found = drawing.weights
    made = [
        (
            f"Weights{_marks(drawing)}: from {found.edges[0]:.3g} to {found.edges[-1]:.3g}",
            _svg(_SMALL, _bars(found, "weight", ACCENT, drawing.codebook), name),
        )
    ]
    if (errors := drawing.errors) is not None:
        text = f"Errors of quantization: from {errors.edges[0]:.3g} to {errors.edges[-1]:.3g}"
        made.append((text, _svg(_SMALL, _bars(errors, "error", SECOND, None), f"{name} error")))
    return made


def _marks(drawing: Drawing) -> str:
    """What the marks under the weights are."""
    if (grid := drawing.grid) is None:
        return "" if drawing.codebook is None else f" and their {drawing.codebook.size} centroids"
    values = "" if drawing.codebook is None else f" and their {drawing.codebook.size} values"
    basis = f" in a basis of {grid.taps}" if grid.taps > 1 else ""
    return f"{values} on a grid of step {grid.step:.3g}{basis}"


def _bars(histogram: Histogram, label: str, color: str, ticks: Any) -> Draw:
    def draw(axes: Any) -> None:
        axes.stairs(histogram.counts, histogram.edges, fill=True, color=color)
        axes.set(xlabel=label, ylabel="elements", ylim=(0, None))
        axes.locator_params(axis="x", nbins=_TICKS)
        if ticks is not None:
            # Below the axis, so that they hide nothing of the bars.
            axes.plot(
                ticks,
                np.full(ticks.size, -0.03),
                "|",
                color=INK,
                markersize=6,
                markeredgewidth=0.6,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
            axes.tick_params(axis="x", pad=8)

    return draw


def _svg(size: tuple[float, float], draw: Draw, salt: str) -> str:
    """One figure of `size` in inches as inline SVG; `salt` keeps its ids from those of others."""
    matplotlib = require("matplotlib", "report")
    figures = require("matplotlib.figure", "report")
    out = io.StringIO()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": f"{salt} {size}"}):
        figure = figures.Figure(size, layout="constrained")
        draw(figure.subplots())
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue())


def _inline(text: str) -> str:
    """What of an SVG file goes into a page: no prologue, no size, the page's colours."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg)
    svg = svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    used = set(re.findall(r"#(\w+)[)\"]", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return re.sub(r"\n\s*", "\n", svg)
