"""The result of a trial, and the check of one that a cache contains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ..user_result import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    TrialKind = Literal["plan", "packed"]

_OTHER_KEYS: Final = {
    "plan": ("metrics", "sizes", "noises"),
    "packed": ("metrics", "sizes", "sha256"),
}
"""The keys of a record besides the size: of a plan, and of a file packed by options."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a trial.

    Attributes:
        size: bytes of the packed file.
        metrics: the metrics of the restored weights.
        sizes: stored bytes of each quantized tensor; tied tensors share theirs.
        noises: the squared error of each quantized tensor; empty if the file was packed by options.
        sha256: the digest of the restored tensors; empty if the file was not packed by options.

    """

    size: int
    metrics: Mapping[str, float]
    sizes: Mapping[str, int] = field(default_factory=dict)
    noises: Mapping[str, float] = field(default_factory=dict)
    sha256: str = ""


def trial_from_record(
    kind: TrialKind, record: Mapping[str, Any] | None, names: Iterable[str], metrics: Iterable[str]
) -> Trial | None:
    """Return the trial that a cache contains, or None if it is missing, incomplete or damaged.

    Args:
        kind: the kind of the trial.
        record: the attributes of the trial; None if the cache has no record.
        names: the tensors whose sizes it must have.
        metrics: the metrics that it must have.

    """
    if record is None or record.keys() != {"size", *_OTHER_KEYS[kind]}:
        return None
    if not is_number(record["size"]) or not isinstance(record.get("sha256", ""), str):
        return None
    values, *tables = (record[key] for key in _OTHER_KEYS[kind] if key != "sha256")
    if not all(map(_is_table, (values, *tables))) or values.keys() != set(metrics):
        return None
    return Trial(**record) if all(set(names) <= table.keys() for table in tables) else None


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_number, value.values()))
