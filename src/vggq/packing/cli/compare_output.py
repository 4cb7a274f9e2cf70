"""The output of ``vggq compare``: tables, the lines that count, and JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..comparison import overall_sqnr
from ..metrics import format_sqnr
from ..sizes import megabytes
from .console import (
    escape_cell,
    format_shape,
    make_table,
    print_line,
    print_table,
    sqnr_as_json,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from .. import Comparison, FileComparison

    Shape = tuple[int, ...]


def print_tensors(comparisons: Sequence[Comparison], tolerance: float, *, list_all: bool) -> None:
    """Print the tensors that differ, or all, and a line that counts them.

    Args:
        comparisons: the comparisons of all tensors.
        tolerance: the minimum SQNR in dB at which two tensors count as equal.
        list_all: whether to list the tensors that count as equal as well.

    """
    differing = [c for c in comparisons if not c.within(tolerance)]
    listed = comparisons if list_all else differing
    if listed:
        largest_first = sorted(listed, key=_count_elements, reverse=True)
        print_table(_as_table(largest_first, tolerance))
    counts = _describe_counts("tensor", len(comparisons), f"{len(differing)} differ", len(listed))
    print_line(f"{counts}; SQNR {format_sqnr(overall_sqnr(comparisons), ' dB')}")


def print_files(files: Sequence[FileComparison], *, list_all: bool) -> None:
    """Print the files that differ, or all, and a line that counts them; nothing without files.

    Args:
        files: the comparisons of all files.
        list_all: whether to list the files that are equal outside their tensors as well.

    """
    differing = [file for file in files if not file.same]
    listed = files if list_all else differing
    if listed:
        largest_first = sorted(listed, key=_largest_size, reverse=True)
        print_table(_as_file_table(largest_first))
    if files:
        differ = f"{len(differing)} differ outside tensors"
        print_line(_describe_counts("file", len(files), differ, len(listed)))


def _count_elements(comparison: Comparison) -> int:
    shapes = (comparison.shape, comparison.reference_shape)
    return max(math.prod(shape) for shape in shapes if shape is not None)


def _largest_size(file: FileComparison) -> int:
    return max(size for size in (file.size, file.reference_size) if size is not None)


def _describe_counts(noun: str, total: int, differ: str, listed: int) -> str:
    left_out = f"; {total - listed} not listed (--all lists them)" if listed < total else ""
    return f"{total} {noun}{'' if total == 1 else 's'}, {differ}{left_out}"


def _as_table(comparisons: Sequence[Comparison], tolerance: float) -> Table:
    table = make_table(
        ("tensor", "shape in A", "shape in B", "result"), ("SQNR dB", "largest error")
    )
    for c in comparisons:
        table.add_row(
            escape_cell(c.name),
            _format_optional_shape(c.shape),
            _format_optional_shape(c.reference_shape),
            "equal" if c.same else "close" if c.within(tolerance) else "differs",
            format_sqnr(c.sqnr) if math.isfinite(c.noise) else "",
            f"{c.largest:.3g}" if math.isfinite(c.largest) else "",
        )
    return table


def _as_file_table(files: Sequence[FileComparison]) -> Table:
    table = make_table(("file",), ("size in A", "size in B", "outside tensors"))
    for file in files:
        table.add_row(
            escape_cell(file.path),
            _format_optional_size(file.size),
            _format_optional_size(file.reference_size),
            "equal" if file.same else "differs",
        )
    return table


def _format_optional_size(size: int | None) -> str:
    return "missing" if size is None else megabytes(size)


def _format_optional_shape(shape: Shape | None) -> str:
    return "missing" if shape is None else format_shape(shape)


def comparison_as_json(
    comparisons: Sequence[Comparison], files: Sequence[FileComparison], tolerance: float
) -> dict[str, Any]:
    """Return all comparisons for JSON, in the order of the files."""
    return {
        "tolerance": sqnr_as_json(tolerance),
        "within": all(c.within(tolerance) for c in comparisons) and all(f.same for f in files),
        "sqnr": sqnr_as_json(overall_sqnr(comparisons)),
        "tensors": [_tensor_as_json(c, tolerance) for c in comparisons],
        "files": [
            {
                "path": file.path,
                "bytes_a": file.size,
                "bytes_b": file.reference_size,
                "same_outside_tensors": file.same,
            }
            for file in files
        ],
    }


def _tensor_as_json(c: Comparison, tolerance: float) -> dict[str, Any]:
    return {
        "name": c.name,
        "shape_a": c.shape,
        "shape_b": c.reference_shape,
        "same": c.same,
        "within": c.within(tolerance),
        "sqnr": sqnr_as_json(c.sqnr),
        "largest_error": c.largest if math.isfinite(c.largest) else None,
    }
