"""The part of README.md that `restore_report.py` writes: ratios as ranges over machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from restore_page import format_rows
from restore_ranges import format_ratio_range, ratio_range
from restore_readers import SAFETENSORS, SAFETENSORS_TORCH, TORCH, TOUCHED, VGGQ, VGGQ_TORCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restore_results import Results

BEGIN: Final = "<!-- written by benchmarks/restore_report.py -->\n"
END: Final = "<!-- end of what benchmarks/restore_report.py writes -->\n"

_CORES: Final = ("1 core", "all cores")
_NUMPY_ROWS: Final = {
    VGGQ: "`vggq.load`, codebooks of 8 bits (the default)",
    f"{VGGQ}, grid": "`vggq.load`, grid",
    f"{VGGQ}, dependent grid": "`vggq.load`, dependent grid",
    "numpy.load, npz": "`numpy.load`, npz",
}
_TORCH_ROWS: Final = {
    VGGQ_TORCH: "`vggq.torch.load`, codebooks of 8 bits",
    f"{VGGQ_TORCH}, dependent grid": "`vggq.torch.load`, dependent grid",
    SAFETENSORS_TORCH: "`safetensors.torch.load_file`, which maps the file",
    SAFETENSORS_TORCH + TOUCHED: "`safetensors.torch.load_file`, and a read of every page",
}


def replace_block(text: str, block: str) -> str:
    """Return a page with a new text between the two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"README.md: expected the lines {BEGIN.strip()!r} and {END.strip()!r}"
        raise ValueError(message)
    return before + BEGIN + block + END + after


def format_block(results: Sequence[Results]) -> str:
    """Return the tables of ratios, and a sentence on the machines."""
    return "\n".join([
        _describe_machines(results),
        _format_ratios(results, "VGG19", f"`{SAFETENSORS}`", _NUMPY_ROWS),
        _format_ratios(results, "VGG19 to torch", f"`{TORCH}`", _TORCH_ROWS),
    ])  # fmt: skip


def _describe_machines(results: Sequence[Results]) -> str:
    described = [f"{r.machine['processor']} ({r.machine['cores']} cores)" for r in results]
    machines = "machine" if len(results) == 1 else "machines"
    return (
        f"Measured on {len(results)} {machines}: {', '.join(described)}.\n"
        "A range is from the lowest to the highest ratio of these machines.\n"
    )


def _format_ratios(
    results: Sequence[Results], title: str, base: str, readers: dict[str, str]
) -> str:
    rows = [
        [words, *(_format_cell(results, f"{title}, {cores}", reader) for cores in _CORES)]
        for reader, words in readers.items()
    ]
    titles = [f"{title}, {cores}" for cores in _CORES]
    count = sum(any(map(result.table, titles)) for result in results)
    scope = f", {count} of {len(results)} machines" if count < len(results) else ""
    return format_rows([f"first load / {base}{scope}", *_CORES], rows)


def _format_cell(results: Sequence[Results], title: str, reader: str) -> str:
    limits = ratio_range(results, title, reader)
    return format_ratio_range(*limits) if limits else ""
