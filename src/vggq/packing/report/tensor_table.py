"""The table of tensors on the page about a packed file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..metrics import format_sqnr
from ..summary import bits_label, codec_label
from .histograms import draw_histograms
from .page import PageCell, PageRow, PageTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .tensor_stats import TensorStats


def make_tensor_table(
    stats: Sequence[TensorStats], file_size: int, advance: Callable[[int, int], None]
) -> PageTable:
    """Return the table of the tensors of a packed file, the largest first, with their histograms.

    Args:
        stats: the statistics of the tensors.
        file_size: bytes of the packed file.
        advance: called with the number of tensors done, and the total.

    Raises:
        MissingDependencyError: matplotlib is not installed.

    """
    with_errors = any(s.max_error is not None for s in stats)
    headings = ["tensor", "bytes", "% of file", "shape", "codec", "bits", "SQNR dB"]
    headings += ["largest error"] if with_errors else []
    drawn = sum(s.histograms is not None for s in stats)
    buttons = "Names" if drawn == len(stats) else f"The names of the {drawn} largest tensors"
    note = f"{buttons} are buttons that show histograms." if drawn else ""
    rows = []
    largest_first = sorted(stats, key=lambda s: s.size, reverse=True)
    for done, s in enumerate(largest_first, 1):
        rows.append(_make_tensor_row(s, file_size, with_errors=with_errors))
        advance(done, len(stats))
    return PageTable("Tensors", headings, rows, note, descending="bytes")


def _make_tensor_row(stats: TensorStats, file_size: int, *, with_errors: bool) -> PageRow:
    info = stats.info
    share = 100 * stats.size / file_size
    bits = stats.bits_per_weight if info.quantized else math.nan
    cells = [
        PageCell(f"{stats.size:,}", stats.size),
        PageCell(f"{share:.2f}", share),
        PageCell("x".join(map(str, info.shape)) or "scalar"),
        PageCell(codec_label(info.codec)),
        PageCell(bits_label(info, stats.size), bits),
        PageCell(format_sqnr(info.sqnr), info.sqnr),
    ]
    if with_errors:
        cells.append(PageCell(f"{stats.max_error:.3g}", stats.max_error))
    drawn = draw_histograms(info.name, stats.histograms) if stats.histograms is not None else []
    return PageRow(info.name, cells, drawn)
