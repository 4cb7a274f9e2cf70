"""The page of a packed file."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ... import _weights
from ..goals import AIMS, MAX_BITS
from ..sizes import as_limit, megabytes
from ..sources import open_source
from ..summary import asked, codec_label, kind
from ..sweeps import sweep
from ..verification import recorded_options
from .charts import chart, histograms, rate_distortion
from .page import Cell, Page, Row, Table, write_page
from .tensor_stats import gather

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..._weights import Weights
    from .. import Variant
    from .charts import Chart
    from .tensor_stats import TensorNumbers

    Stage = Callable[[str], Callable[[int, int], None]]

_MOST_DOTS: Final = 500
FIDELITIES: Final = (10.0, 20.0, 30.0, 40.0)
"""In dB: what a source is packed at on the grid, beside every width, to be compared with."""
_OTHERS: Final = (
    f"in codebooks of 1 to {MAX_BITS} bits, and on a grid at "
    f"{', '.join(f'{sqnr:g}' for sqnr in FIDELITIES)} dB"
)


def report_file(
    file: str | os.PathLike[str],
    target: Path,
    *,
    against: str | os.PathLike[str] | None = None,
    others: bool = True,
    draw: int = 50,
    limit: int = 100 << 20,
    stage: Stage = lambda _: lambda *_: None,
) -> None:
    """Write the page of a packed file.

    Args:
        file: the packed file.
        target: the .html file to write or replace.
        against: the source it was packed from: errors are shown too, and other ways to pack it.
        others: whether the source is to be packed in those for that.
        draw: of how many tensors, the largest, histograms are drawn.
        limit: the most bytes that an index takes.
        stage: called with the name of a stage of the work, gives what to call with the amount of
            it done and the whole.

    Raises:
        PackedFileError, FormatError: the packed file cannot be read.
        SourceError, VerificationError: the source cannot be read, or is another.
        TargetError: the page cannot be written.
        MissingDependencyError: a library of the `report` extra is not installed.

    """
    with ExitStack() as stack:
        weights = stack.enter_context(_weights.open(file))
        tensors = None
        if against is not None:
            reading = recorded_options(weights.manifest).reading
            tensors = stack.enter_context(open_source(against, reading)).tensors
        numbers = gather(weights, tensors, draw, stage("reading"))
        variants = _other_ways(weights, against, stage) if against and others else []
        table = _table(weights, numbers, stage("drawing"))
        charts = _charts(weights, numbers, variants)
        write_page(_page(str(file), weights, table, charts, limit), target)


def _other_ways(weights: Weights, source: str | os.PathLike[str], stage: Stage) -> list[Variant]:
    options = recorded_options(weights.manifest)
    plain = replace(options, bits=None, sqnr=None, size=None, aim=AIMS[0], weights=None)
    ways = [replace(plain, bits=bits) for bits in range(1, MAX_BITS + 1)]
    ways += [replace(plain, bits=None, sqnr=sqnr) for sqnr in FIDELITIES]
    return list(sweep(source, ways, progress=stage("packing in other ways")))


def _page(name: str, weights: Weights, table: Table, charts: Sequence[Chart], limit: int) -> Page:
    manifest = weights.manifest
    given = ", ".join(f"{key} = {value}" for key, value in asked(manifest.options).items())
    share = 100 * weights.size / limit
    words = f"{megabytes(weights.size)}, {share:.2g} % of an index's limit of {as_limit(limit)}"
    return Page(
        title=name,
        lead=f"Packed from {manifest.source_format}, sha256 {manifest.source_sha256}; {given}.",
        figures=_figures(weights),
        table=table,
        charts=charts,
        limit=(weights.size, limit, words),
    )


def _figures(weights: Weights) -> list[tuple[str, str]]:
    manifest = weights.manifest
    quantized = [tensor for tensor in manifest.tensors if tensor.quantized]
    figures = [
        ("packed", megabytes(weights.size)),
        ("as restored", megabytes(manifest.float32_size)),
        ("ratio", f"{manifest.float32_size / weights.size:.2f}x"),
        ("SQNR", decibels(manifest.sqnr)),
        ("tensors quantized", f"{len(quantized)} of {len(manifest.tensors)}"),
    ]
    if manifest.worst is not None:
        worst = manifest.worst
        figures.append((f"worst SQNR, {worst.name}", decibels(worst.sqnr)))
    return figures


def _charts(
    weights: Weights, numbers: Sequence[TensorNumbers], variants: Sequence[Variant]
) -> list[Chart]:
    manifest = weights.manifest
    if not math.isfinite(manifest.sqnr):
        return []
    place = (32 * weights.size / manifest.float32_size, manifest.sqnr)
    finite = [n for n in numbers if n.info.quantized and math.isfinite(n.info.sqnr)]
    shown = sorted(finite, key=lambda n: n.size, reverse=True)[:_MOST_DOTS]
    dots = [(n.bits, n.info.sqnr) for n in shown]
    lines: dict[str, list[tuple[float, float]]] = {}
    for v in variants:
        if math.isfinite(v.manifest.sqnr):
            lines.setdefault(kind(v.options), []).append((v.bits_per_weight, v.manifest.sqnr))
    largest = "" if len(shown) == len(finite) else f", the {len(shown)} largest"
    others = f", and the same source packed otherwise: {_OTHERS}" if lines else ""
    text = (
        f"This file has {place[0]:.2f} bits a weight and {place[1]:.2f} dB. Beside it, its "
        f"quantized tensors{largest}{others}. No code can be above the dashed line where weights "
        "are Gaussian and independent: 6.02 dB a bit."
    )
    return [chart("Rate and distortion", text, rate_distortion(dots, place, lines))]


def _table(
    weights: Weights, numbers: Sequence[TensorNumbers], advance: Callable[[int, int], None]
) -> Table:
    errors = any(n.largest is not None for n in numbers)
    headings = ["tensor", "shape", "codec", "bits", "bytes", "% of file", "SQNR dB"]
    drawn = sum(n.drawing is not None for n in numbers)
    which = "A name" if drawn == len(numbers) else f"Each name of the {drawn} largest"
    note = f"{which} opens the histograms of its tensor." if drawn else ""
    rows = []
    for done, n in enumerate(numbers, 1):
        rows.append(_row(n, weights.size, errors=errors))
        advance(done, len(numbers))
    return Table("Tensors", [*headings, *(["largest error"] if errors else [])], rows, note)


def _row(n: TensorNumbers, whole: int, *, errors: bool) -> Row:
    info = n.info
    share = 100 * n.size / whole
    cells = [
        Cell("x".join(map(str, info.shape)) or "scalar"),
        Cell(codec_label(info.codec)),
        Cell(f"{n.bits:.2f}", n.bits),
        Cell(f"{n.size:,}", n.size),
        Cell(f"{share:.2f}", share),
        Cell(decibels(info.sqnr).removesuffix(" dB"), info.sqnr),
    ]
    if errors:
        cells.append(Cell(f"{n.largest:.3g}", n.largest))
    drawings = histograms(info.name, n.drawing) if n.drawing is not None else []
    return Row(info.name, cells, drawings)


def decibels(sqnr: float) -> str:
    """An SQNR with its unit."""
    return "exact" if sqnr == math.inf else f"{sqnr:.2f} dB"
