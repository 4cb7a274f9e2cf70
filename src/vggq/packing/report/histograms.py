"""Histograms of the weights and the errors of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..metrics import as_real
from .svg import ACCENT, INK, SECOND, render_svg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .svg import Plot

_HISTOGRAM_BINS: Final = 80
_MAX_MARKS: Final = 256
# More tick labels of a histogram of errors would overlap.
_MAX_TICKS: Final = 6
# Width and height in inches.
_HISTOGRAM_FIGURE: Final = (4.6, 2.3)


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram of n bins: `counts` of shape (n,), and `edges` of shape (n + 1,)."""

    counts: NDArray[np.intp]
    edges: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GridStep:
    """The quantizer of a tensor with the ``grid`` codec.

    Attributes:
        step: the step size, in units of the weights.
        taps: the number of weights that are transformed together; 1 if there is no transform.

    """

    step: float
    taps: int


@dataclass(frozen=True, slots=True)
class TensorHistograms:
    """The data of the histograms of a tensor.

    Attributes:
        weights: histogram of the weights of the source, or of the restored weights without one.
        codebook: the distinct restored values; None if the tensor is not quantized, or if there
            are more than 256.
        errors: histogram of the errors of the restored weights; None without a source, or if the
            tensor is not quantized.
        grid: the step size; None unless the tensor is quantized on a grid.

    """

    weights: Histogram
    codebook: NDArray[Any] | None = None
    errors: Histogram | None = None
    grid: GridStep | None = None


def make_histogram(values: NDArray[Any]) -> Histogram:
    """Return a histogram of the finite values of an array of any shape.

    That of a complex array has its real and imaginary parts.
    """
    flat = as_real(values).astype(np.float64).reshape(-1)
    return Histogram(*np.histogram(flat[np.isfinite(flat)], _HISTOGRAM_BINS))


def make_histograms(
    restored: NDArray[Any], values: NDArray[Any] | None, grid: GridStep | None
) -> TensorHistograms:
    """Return the histograms of a quantized tensor.

    Args:
        restored: the restored weights.
        values: the weights of the source, if it is available.
        grid: the step size, if the tensor is quantized on a grid.

    """
    codebook = np.unique(restored)
    marks = codebook if codebook.size <= _MAX_MARKS else None
    if values is None:
        return TensorHistograms(make_histogram(restored), marks, None, grid)
    errors = make_histogram(restored.astype(np.float64) - values)
    return TensorHistograms(make_histogram(values), marks, errors, grid)


def draw_histograms(name: str, histograms: TensorHistograms) -> list[tuple[str, str]]:
    """Draw the histogram of a tensor's weights, and of their errors if these are known.

    Returns:
        Pairs of a caption and an SVG.

    """
    weights, errors = histograms.weights, histograms.errors
    plot = _histogram_plot(weights, "weight", ACCENT, histograms.codebook)
    drawn = [
        (
            f"Weights{_describe_marks(histograms)}: {_range_text(weights)}",
            render_svg(_HISTOGRAM_FIGURE, plot, name),
        )
    ]
    if errors is not None:
        plot = _histogram_plot(errors, "error", SECOND, None)
        svg = render_svg(_HISTOGRAM_FIGURE, plot, f"{name} error")
        drawn.append((f"Quantization errors: {_range_text(errors)}", svg))
    return drawn


def _range_text(histogram: Histogram) -> str:
    return f"from {histogram.edges[0]:.3g} to {histogram.edges[-1]:.3g}"


def _describe_marks(histograms: TensorHistograms) -> str:
    """Return words for the marks below the axis of the weights."""
    codebook, grid = histograms.codebook, histograms.grid
    if grid is None:
        return "" if codebook is None else f" and their {codebook.size} centroids"
    values = "" if codebook is None else f" and their {codebook.size} values"
    basis = f" in a basis of {grid.taps} vectors" if grid.taps > 1 else ""
    return f"{values} on a grid of step size {grid.step:.3g}{basis}"


def _histogram_plot(
    histogram: Histogram, label: str, color: str, marks: NDArray[Any] | None
) -> Plot:
    def plot(axes: Any) -> None:
        axes.stairs(histogram.counts, histogram.edges, fill=True, color=color)
        axes.set(xlabel=label, ylabel="elements", ylim=(0, None))
        axes.locator_params(axis="x", nbins=_MAX_TICKS)
        if marks is not None:
            # The marks are below the axis, where they do not hide the bars.
            axes.plot(
                marks,
                np.full(marks.size, -0.03),
                "|",
                color=INK,
                markersize=6,
                markeredgewidth=0.6,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
            axes.tick_params(axis="x", pad=8)

    return plot
