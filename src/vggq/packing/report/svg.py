"""Render matplotlib plots as inline SVG with the colors of the page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Callable

    Plot = Callable[[Any], None]

# Placeholders for the CSS variables of the page, which have other values in dark mode.
INK: Final = "#010101"
MUTED: Final = "#020202"
ACCENT: Final = "#030303"
SECOND: Final = "#040404"
GRID_LINE: Final = "#050505"
_CSS_VARIABLES: Final = {
    INK: "--ink", MUTED: "--muted", ACCENT: "--accent", SECOND: "--second", GRID_LINE: "--line"
}  # fmt: skip
_RC_PARAMS: Final = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID_LINE,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": GRID_LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def render_svg(size: tuple[float, float], plot: Plot, salt: str) -> str:
    """Return a figure as inline SVG.

    Args:
        size: width and height in inches.
        plot: called with the axes to draw on.
        salt: makes the ids in the SVG differ from those of other figures.

    """
    matplotlib = require("matplotlib", "report")
    figures = require("matplotlib.figure", "report")
    out = io.StringIO()
    with matplotlib.rc_context(_RC_PARAMS | {"svg.hashsalt": f"{salt} {size}"}):
        figure = figures.Figure(size, layout="constrained")
        plot(figure.subplots())
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline_svg(out.getvalue())


def _inline_svg(text: str) -> str:
    """Return an SVG file as an element of a page: without prologue or size, in its colors."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg)
    svg = svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    used = set(re.findall(r"#(\w+)[)\"]", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    for color, variable in _CSS_VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return re.sub(r"\n\s*", "\n", svg)
