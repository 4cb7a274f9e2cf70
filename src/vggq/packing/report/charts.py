"""Charts of sizes and errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .svg import ACCENT, INK, MUTED, SECOND, render_svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .svg import Plot

    Points = Sequence[tuple[float, float]]
    LabeledPoints = Sequence[tuple[float, float, str]]

# Lines differ in their markers as well as in their colors.
_LINE_STYLES: Final[tuple[dict[str, str], ...]] = (
    {"color": SECOND, "marker": "o"},
    {"color": ACCENT, "marker": "s"},
    {"color": INK, "marker": "^"},
)
# The labels of two lines are on different sides of their points. Those of a third line would
# overlap both, and are left out.
_LABEL_POSITIONS: Final[tuple[dict[str, Any] | None, ...]] = (
    {"xytext": (5, -11)},
    {"xytext": (-5, 5), "ha": "right"},
    None,
)
# Sizes of figures in inches.
_NARROW_FIGURE: Final = (4.6, 3.4)
_WIDE_FIGURE: Final = (9.6, 4.2)
DECIBELS_PER_BIT: Final = 20 * np.log10(2)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart for a page.

    Attributes:
        title: the heading.
        description: the content of the chart in words, also for readers who cannot see it.
        wide: SVG for a wide page.
        narrow: SVG for a narrow page.

    """

    title: str
    description: str
    wide: str
    narrow: str


def draw_chart(title: str, description: str, plot: Plot) -> Chart:
    """Draw a chart in both sizes.

    Args:
        title: the heading.
        description: the content of the chart in words.
        plot: called with the axes to draw on.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    """
    wide, narrow = (render_svg(size, plot, title) for size in (_WIDE_FIGURE, _NARROW_FIGURE))
    return Chart(title, description, wide, narrow)


def rate_distortion_plot(
    tensors: Points, file: tuple[float, float], lines: Mapping[str, Points]
) -> Plot:
    """Return a plot of SQNR in dB over bits per weight.

    Args:
        tensors: the points of the tensors of a packed file.
        file: the point of the packed file.
        lines: the points of the same source with other settings, by the name of the line.

    """

    def plot(axes: Any) -> None:
        others = [point for points in lines.values() for point in points]
        limit = max([file[0], *(x for x, _ in [*tensors, *others])]) * 1.05
        axes.plot(
            [0, limit],
            [0, limit * DECIBELS_PER_BIT],
            color=MUTED,
            linestyle="--",
            linewidth=1,
            label="limit for Gaussian weights",
        )
        if tensors:
            axes.scatter(*zip(*tensors, strict=True), s=9, color=MUTED, label="its tensors")
        for style, (name, points) in zip(_LINE_STYLES, lines.items(), strict=False):
            axes.plot(*zip(*points, strict=True), **style, markersize=4, label=name)
        axes.scatter(*file, s=80, marker="D", color=ACCENT, zorder=3, label="this file")
        axes.set(xlabel="bits per weight", ylabel="SQNR, dB")
        axes.set(xlim=(0, limit), ylim=(0, None))
        axes.legend(loc="upper left")

    return plot


def line_plot(
    lines: Mapping[str, LabeledPoints],
    axis_labels: tuple[str, str],
    reference: tuple[float, str] | None = None,
) -> Plot:
    """Return a plot of labeled points that are joined by lines.

    Args:
        lines: the points, by the name of the line.
        axis_labels: the labels of the x axis and the y axis.
        reference: a value of y for a horizontal line to compare with, and its label.

    """

    def plot(axes: Any) -> None:
        if reference is not None:
            y, label = reference
            axes.axhline(y, color=MUTED, linestyle="--", linewidth=1, label=label)
        styles = zip(_LINE_STYLES, _LABEL_POSITIONS, lines.items(), strict=False)
        for style, position, (name, points) in styles:
            xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
            axes.plot(xs, ys, **style, markersize=5, label=name)
            for x, y, text in points if position else ():
                axes.annotate(
                    text, (x, y), textcoords="offset points", color=INK, **(position or {})
                )
        axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
        axes.margins(x=0.12, y=0.12)
        if reference is not None or len(lines) > 1:
            axes.legend(loc="lower right")

    return plot
