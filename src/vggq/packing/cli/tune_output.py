"""Output of `tune` and `sweep --each`: remarks, the table of tensors, and JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..metrics import format_sqnr
from ..sizes import megabytes
from ..tuning import stored_bytes
from .console import escape_cell, make_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ..tuning import Sensitivities, Sensitivity, Trial, Tuned


def remarks_of(sensitivities: Sensitivities, packed: Trial | None = None) -> list[str]:
    """Return remarks about tensors without effect, and about those that a metric hardly feels.

    Args:
        sensitivities: the sensitivity of the model.
        packed: the trial of the packed file; None if nothing was packed.

    """
    remarks = [
        f"{s.group.label} has no effect on {sensitivities.objective.metric} "
        f"({_describe_bytes(s, packed)}); if nothing else uses it, leave it out with drop"
        for s in sensitivities.unused
    ]
    if count := len(sensitivities.unfelt):
        remarks.append(
            f"{sensitivities.objective.metric} is too coarse to feel {count} of "
            f"{len(sensitivities.groups)} tensors alone; return the model's outputs as arrays"
        )
    return remarks


def _describe_bytes(s: Sensitivity, packed: Trial | None) -> str:
    if packed is None:
        return f"{megabytes(s.size)} when measured"
    stored = stored_bytes(s.group, packed)
    return f"{megabytes(stored)}, {100 * stored / packed.size:.0f} % of the file"


def sensitivity_table(groups: Sequence[Sensitivity]) -> Table:
    """Return the table of tensors, those with the largest effect first."""
    table = make_table(("tensor", "scales"), ("size", "SQNR dB", "effect", "per MB", "factor"))
    for s in groups:
        table.add_row(
            escape_cell(s.group.label),
            "none" if s.axis is None else f"axis {s.axis}",
            megabytes(s.size),
            format_sqnr(s.sqnr),
            f"{s.effect:.3g}",
            f"{s.effect / s.size * 1e6:.3g}" if s.size else "",
            f"{s.factor:.3g}",
        )
    return table


def sensitivity_as_json(groups: Sequence[Sensitivity]) -> list[dict[str, Any]]:
    """Return the sensitivity of each group for JSON."""
    return [
        {
            "tensors": list(s.group.names),
            "effect": s.effect,
            "factor": s.factor,
            "bytes": s.size,
            "sqnr": None if math.isinf(s.sqnr) else round(s.sqnr, 4),
            "axis": s.axis,
            "unused": s.is_unused,
        }
        for s in groups
    ]


def tuned_as_json(tuned: Tuned) -> dict[str, Any]:
    """Return the result of a run for JSON."""
    best = tuned.best
    return {
        "metric": tuned.objective.metric,
        "original": tuned.sensitivities.original,
        "packed": dict(best.trial.metrics),
        "bytes": best.trial.size,
        "chosen": best.label,
        "options": best.options.to_record()["quantization"],
        "files": [
            {"label": f.label, "bytes": f.trial.size, "metrics": dict(f.trial.metrics)}
            for f in tuned.finalists
        ],
        "tensors": sensitivity_as_json(tuned.sensitivities.groups),
        "evaluations": tuned.evaluations,
        "seconds": round(tuned.seconds, 2),
    }
