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


@dataclass(frozen=True, slots=True)
class Effort:
    """The search for the levels of dependent quantization: how thorough it is.

    Attributes:
        states: the number of states; 1 for independent levels.
        passes: the number of times to quantize; each pass knows the rates of the one before.

    """

    states: int
    passes: int = 1


EFFORTS: Final = {"fast": Effort(8), "default": Effort(256), "best": Effort(256, passes=2)}
INDEPENDENT: Final = Effort(1)

SCALES: Final = ("none", "channels", "rows", "columns")
"""The words for an axis whose slices get scales; an axis number may take their place."""

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
    """Another goal, or other scales, for the tensors whose names match a pattern.

    Attributes:
        match: the pattern.
        goal: the goal; None for the model's.
        scale: the axis whose slices get scales; None for the model's.

    """

    match: str
    goal: Bits | Sqnr | None = None
    scale: str | int | None = None

    def to_table(self) -> dict[str, Any]:
        """Return the override as a configuration contains it."""
        goal = goal_to_table(self.goal) if self.goal else {}
        scale = {} if self.scale is None else {"scale": self.scale}
        return {"match": self.match} | goal | scale
