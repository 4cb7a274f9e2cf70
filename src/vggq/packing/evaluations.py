"""The option `evaluation`: what `vggq tune` has measured, on which restored tensors."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPECTED: Final = (
    'expected a table such as { metric = "accuracy", original = 0.98, packed = 0.97, sha256 = "…" }'
)
_DIGEST: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A metric that was measured on a packed file.

    Attributes:
        metric: its name.
        original: its value with the original weights.
        packed: its value with the restored weights.
        sha256: the digest of the restored tensors, by `digest_tensors`.

    """

    metric: str
    original: float
    packed: float
    sha256: str

    def to_table(self) -> dict[str, Any]:
        """Return the evaluation as a configuration contains it."""
        return asdict(self)

    def describe(self) -> str:
        """Return the metric with both values."""
        return f"{self.metric} {self.packed:.6g} (original {self.original:.6g})"


def parse_evaluation(value: object) -> dict[str, Any]:
    """Validate the table of an evaluation.

    Raises:
        ValueError: the value is not such a table.

    """
    if not isinstance(value, Mapping) or value.keys() != Evaluation.__annotations__.keys():
        raise ValueError(f"{_EXPECTED}, found {value!r}")
    texts = isinstance(value["metric"], str) and value["metric"]
    numbers = all(_is_finite(value[key]) for key in ("original", "packed"))
    digest = isinstance(value["sha256"], str) and _DIGEST.fullmatch(value["sha256"])
    if not (texts and numbers and digest):
        raise ValueError(f"{_EXPECTED}, found {dict(value)!r}")
    return dict(value)


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def digest_tensors(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of restored tensors, with their names, dtypes and shapes."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        head = f"{name}\0{array.dtype.str}\0{list(array.shape)}\0"
        sha256.update(head.encode("utf-8", "surrogatepass"))
        sha256.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def recorded_evaluation(
    options: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> Evaluation | None:
    """Return the evaluation that a manifest's options record.

    Args:
        options: the options of the manifest.
        tensors: the restored tensors, which are read only if there is an evaluation.

    Returns:
        None if it is missing, or was measured on other tensors.

    """
    try:
        table = parse_evaluation(options.get("evaluation"))
    except ValueError:
        return None
    found = Evaluation(**table)
    return found if digest_tensors(tensors) == found.sha256 else None
