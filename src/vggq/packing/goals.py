"""The goals that quantization can have: a width, an SQNR, or the size of the packed file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import os

MAX_BITS: Final = 8
MAX_SQNR: Final = 120
"""In dB. float32 cannot represent the restored weights much more precisely than this."""
OBJECTIVES: Final = ("relative", "overall")

Importance = Mapping[str, float]
"""Factors by which the squared error of each tensor counts, by final name; 1 if not listed."""


@dataclass(frozen=True, slots=True)
class Bits:
    """Give every quantized tensor a codebook of at most 2^bits centroids."""

    bits: int = MAX_BITS


@dataclass(frozen=True, slots=True)
class Sqnr:
    """Restore every quantized tensor with at least this SQNR in dB, in as few bytes as possible."""

    sqnr: float


@dataclass(frozen=True, slots=True)
class Size:
    """Minimize the error of a packed file of at most `size` bytes.

    Attributes:
        size: the maximum size of the file in bytes.
        objective: the error to minimize. "relative" is the sum over the tensors of error to
            energy; "overall" is the sum of all squared errors.
        importance: the factors, or the path of a JSON file with them; None for equal factors.

    """

    size: int
    objective: str = OBJECTIVES[0]
    importance: str | os.PathLike[str] | Importance | None = None

    @property
    def factors(self) -> Importance:
        """The factors, once they are read from their file; empty for equal factors."""
        return self.importance if isinstance(self.importance, Mapping) else {}


Goal = Bits | Sqnr | Size


def goal_to_table(goal: Goal) -> dict[str, Any]:
    """Return the goal as the manifest records it, by option name."""
    return asdict(goal)


@dataclass(frozen=True, slots=True)
class Override:
    """Another goal for the tensors whose names match a pattern."""

    match: str
    goal: Bits | Sqnr

    def to_table(self) -> dict[str, Any]:
        """Return the override as a configuration contains it."""
        return {"match": self.match} | goal_to_table(self.goal)
