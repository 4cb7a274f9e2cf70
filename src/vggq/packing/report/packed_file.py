"""The page about a packed file."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ... import _weights
from ..evaluations import recorded_evaluation
from ..goals import MAX_BITS, Bits, Sqnr
from ..metrics import format_sqnr
from ..model_layout import plan_model
from ..options import given_options
from ..sizes import megabytes, size_limit_text
from ..sources import open_source
from ..summary import goal_kind, restored_size, weights_share
from ..sweeps import sweep
from ..verification import recorded_options
from .charts import draw_chart, rate_distortion_plot
from .file_table import make_file_table
from .page import Page, SizeBar, write_page
from .tensor_stats import collect_stats
from .tensor_table import make_tensor_table

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from ..._weights import Weights
    from .. import Variant
    from ..goals import Goal
    from .charts import Chart
    from .page import PageTable
    from .tensor_stats import TensorStats

    Advance = Callable[[int, int], None]
    StartStage = Callable[[str], Advance]

_MAX_POINTS: Final = 500
COMPARED_SQNRS: Final = (10.0, 20.0, 30.0, 40.0)
"""SQNRs in dB with which the source is packed on the grid, in addition to every width."""
_COMPARED_SETTINGS: Final = (
    f"codebooks of 1 to {MAX_BITS} bits, and a grid at "
    f"{', '.join(f'{sqnr:g}' for sqnr in COMPARED_SQNRS)} dB"
)


def report_file(
    file: str | os.PathLike[str],
    target: Path,
    *,
    against: str | os.PathLike[str] | None = None,
    other_settings: bool = True,
    histograms: int = 50,
    limit: int = 100 << 20,
    start_stage: StartStage = lambda _: lambda *_: None,
) -> None:
    """Write an HTML page about a packed file.

    Args:
        file: the packed file.
        target: the .html file to write or replace.
        against: the source of the packed file. With it, the page shows errors, and the sizes and
            SQNRs of other settings.
        other_settings: whether to pack the source with other settings.
        histograms: the number of tensors, the largest ones, that get histograms.
        limit: the maximum size in bytes of a file on the package index.
        start_stage: called with the name of each stage of the work; returns a function that is
            called with the amount done, and the total.

    Raises:
        PackedFileError, FormatError: the packed file cannot be read.
        SourceError: the source cannot be read.
        VerificationError: the packed file was packed from another source.
        TargetError: the page cannot be written.
        MissingDependencyError: a library of the `report` extra is not installed.

    """
    with ExitStack() as stack:
        weights = stack.enter_context(_weights.open(file))
        tensors = None
        if against is not None:
            read_options = recorded_options(weights.manifest).read
            source, _ = plan_model(stack.enter_context(open_source(against, read_options)))
            tensors = source.tensors
        stats = collect_stats(weights, tensors, histograms, start_stage("reading"))
        variants: list[Variant] = []
        if against is not None and other_settings:
            variants = _pack_with_other_settings(weights, against, start_stage)
        table = make_tensor_table(stats, weights.size, start_stage("drawing"))
        charts = _make_charts(weights, stats, variants)
        write_page(_make_page(Path(file).name, weights, table, charts, limit), target)


def _pack_with_other_settings(
    weights: Weights, source: str | os.PathLike[str], start_stage: StartStage
) -> list[Variant]:
    options = recorded_options(weights.manifest)
    goals: list[Goal] = [
        *(Bits(bits) for bits in range(1, MAX_BITS + 1)),
        *map(Sqnr, COMPARED_SQNRS),
    ]
    settings = [options.with_goal(goal) for goal in goals]
    return list(sweep(source, settings, progress=start_stage("packing with other settings")))


def _make_page(
    name: str, weights: Weights, table: PageTable, charts: Sequence[Chart], limit: int
) -> Page:
    manifest = weights.manifest
    given = given_options(manifest.options)
    shown = ", ".join(f"{key} = {value}" for key, value in given.items() if key != "evaluation")
    share = 100 * weights.size / limit
    size, limit_text = megabytes(weights.size), size_limit_text(limit)
    return Page(
        title=name,
        lead=f"Packed from {manifest.source_format}, sha256 {manifest.source_sha256}; {shown}.",
        facts=_list_facts(weights),
        files=make_file_table(weights),
        table=table,
        charts=charts,
        size_bar=SizeBar(
            weights.size, limit, f"{size}, {share:.2g} % of the index's limit of {limit_text}"
        ),
    )


def _list_facts(weights: Weights) -> list[tuple[str, str]]:
    manifest = weights.manifest
    quantized = [tensor for tensor in manifest.tensors if tensor.quantized]
    restored = restored_size(manifest)
    facts = [
        ("packed size", megabytes(weights.size)),
        ("restored size", megabytes(restored)),
        ("ratio", f"{restored / weights.size:.2f}x"),
        ("SQNR", format_sqnr(manifest.sqnr, " dB")),
        ("quantized tensors", f"{len(quantized)} of {len(manifest.tensors)}"),
    ]
    if manifest.model is not None:
        share = weights_share(manifest.model, manifest.tensors)
        facts.append(("weights of the model", f"{100 * share:.1f} %"))
    if evaluation := recorded_evaluation(manifest.options, weights):
        facts.append((evaluation.metric, f"{evaluation.packed:.6g}"))
        facts.append((f"{evaluation.metric}, original", f"{evaluation.original:.6g}"))
    if manifest.worst is not None:
        worst = manifest.worst
        facts.append((f"worst SQNR, {worst.name}", format_sqnr(worst.sqnr, " dB")))
    return facts


def _make_charts(
    weights: Weights, stats: Sequence[TensorStats], variants: Sequence[Variant]
) -> list[Chart]:
    manifest = weights.manifest
    if not math.isfinite(manifest.sqnr):
        return []
    file = (32 * weights.size / manifest.float32_size, manifest.sqnr)
    quantized = [s for s in stats if s.info.quantized and math.isfinite(s.info.sqnr)]
    shown = sorted(quantized, key=lambda s: s.size, reverse=True)[:_MAX_POINTS]
    points = [(s.bits_per_weight, s.info.sqnr) for s in shown]
    lines: dict[str, list[tuple[float, float]]] = {}
    for v in variants:
        if math.isfinite(v.manifest.sqnr):
            line = lines.setdefault(goal_kind(v.options.goal), [])
            line.append((v.bits_per_weight, v.manifest.sqnr))
    largest = "" if len(shown) == len(quantized) else f" (the {len(shown)} largest)"
    others = f", and of the same source with other settings: {_COMPARED_SETTINGS}" if lines else ""
    text = (
        f"This file takes {file[0]:.2f} bits per weight and has an SQNR of {file[1]:.2f} dB. The "
        f"other points are those of its quantized tensors{largest}{others}. The dashed line is "
        "the limit for independent Gaussian weights, which no codec exceeds: 6.02 dB per bit."
    )
    plot = rate_distortion_plot(points, file, lines)
    return [draw_chart("Rate and distortion", text, plot)]
