"""The options of packing, each declared once.

The keys of the hook, the keyword arguments of `pack`, the options of the command line and the
manifest's record are derived from `OPTIONS`; tests compare `OptionKeywords` and the reference page
with it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict, Unpack

from ..errors import OptionError
from . import option_values as values
from .evaluations import parse_evaluation
from .goals import (
    EFFORTS,
    INDEPENDENT,
    OBJECTIVES,
    SCALES,
    Bits,
    Effort,
    Goal,
    Importance,
    Override,
    Size,
    Sqnr,
    goal_to_table,
)
from .importance import parse_importance, read_importance
from .sizes import parse_size
from .sources import ReadOptions, find_restore_conflicts, matches_any


@dataclass(frozen=True, slots=True)
class Option:
    """An option of packing.

    Attributes:
        name: the name, the same everywhere.
        scope: whether the option concerns the goal, any quantization, reading the source, or
            the recorded provenance of the model, or what was measured on it.
        parse: validates a value and returns it in its final type; raises ValueError.
        default: the value if the option is not given.
        help: one line for the command line and the reference page.
        metavar: the placeholder on the command line.
        argument: how the command line reads it; "texts" is a text, or a list if it is repeated;
            None if the command line has no such option.

    """

    name: str
    scope: Literal["goal", "quantization", "reading", "provenance", "evaluation"]
    parse: Callable[[Any], Any]
    default: Any
    help: str
    metavar: str | None = None
    argument: (
        Literal["integer", "number", "text", "texts", "choice", "flag", "list", "pairs", "axis"]
        | None
    ) = None
    choices: tuple[str, ...] = ()


OPTIONS: Final = (
    Option(
        "bits", "goal", values.parse_bits, None,
        "bits per weight: a codebook of at most 2^N centroids for each tensor; the default goal, "
        "with 8 bits", "N", "integer",
    ),
    Option(
        "sqnr", "goal", values.parse_sqnr, None,
        "minimum SQNR in dB of every quantized tensor", "DB", "number",
    ),
    Option(
        "size", "goal", parse_size, None,
        "maximum size of the packed file, with the least error for it", "SIZE", "text",
    ),
    Option(
        "objective", "goal", values.parse_objective, OBJECTIVES[0],
        "with size: the error to minimize, relative to the energy of each tensor, or overall",
        None, "choice", OBJECTIVES,
    ),
    Option(
        "importance", "goal", parse_importance, None,
        "with size: a JSON file of tensor names and the factor by which the error of each counts, "
        "1 if not listed", "FILE", "text",
    ),
    Option(
        "dependent", "quantization", values.parse_dependent, True,
        "with sqnr or size: use dependent quantization, for files a few percent smaller that "
        "take longer to restore", None, "flag",
    ),
    Option(
        "effort", "quantization", values.parse_effort, "default",
        "with dependent quantization: how much time packing may take for a smaller file",
        None, "choice", tuple(EFFORTS),
    ),
    Option(
        "scale", "quantization", values.parse_scale, SCALES[0],
        "axis of the quantized tensors whose slices get scales of their own: its number, rows "
        "(the first axis), columns (the second), channels (the output channels of convolutions), "
        "or none", "AXIS", "axis",
    ),
    Option(
        "tensors", "quantization", values.parse_overrides, (),
        'other goals or scales for some tensors, such as { match = "conv1.*", bits = 8 }; the '
        "first match applies",
    ),
    Option(
        "keep", "quantization", values.parse_patterns, (),
        "final names of tensors to store exactly, such as '*.bias'; can be repeated",
        "PATTERN", "list",
    ),
    Option(
        "layout", "reading", values.parse_layout, None,
        "give tensors of a Keras source the names and axes that torch uses",
        None, "choice", values.LAYOUTS,
    ),
    Option(
        "key", "reading", values.parse_key, None,
        "the key of the state dict in a torch checkpoint; can be repeated, to pack several with "
        "their keys as prefixes", "NAME", "texts",
    ),
    Option(
        "drop", "reading", values.parse_patterns, (),
        "names of tensors to leave out; can be repeated", "PATTERN", "list",
    ),
    Option(
        "rename", "reading", values.parse_rename, (),
        "replacement in every tensor name, such as '^module\\.='; can be repeated",
        "REGEX=TEXT", "pairs",
    ),
    Option(
        "dtypes", "reading", values.parse_dtypes, (),
        f"dtype of the tensors whose dtype a numpy or HDF5 file does not state, such as "
        f"'*.weight=bfloat16': {', '.join(values.DECLARABLE_DTYPES)}; can be repeated",
        "PATTERN=DTYPE", "pairs",
    ),
    Option(
        "restore", "reading", values.parse_restore, None,
        "restore the files of the source, with the quantized values in them, or only their tensors;"
        " 'model' by default for ONNX, TorchScript, TFLite and folders",
        None, "choice", values.RESTORES,
    ),
    Option(
        "include", "reading", values.parse_patterns, (),
        "paths in a folder of the files to pack, such as '*.json'; can be repeated; by default all",
        "PATTERN", "list",
    ),
    Option(
        "exclude", "reading", values.parse_patterns, (),
        "paths in a folder of the files to leave out, such as 'onnx/*'; can be repeated",
        "PATTERN", "list",
    ),
    Option(
        "license", "provenance", values.parse_license, None,
        "license of the model, recorded in the packed file", "SPDX", "text",
    ),
    Option(
        "description", "provenance", values.parse_description, None,
        "description of the model, recorded in the packed file", "TEXT", "text",
    ),
    Option(
        "url", "provenance", values.parse_url, None,
        "origin of the model, recorded in the packed file", "URL", "text",
    ),
    Option(
        "evaluation", "evaluation", parse_evaluation, None,
        "what `vggq tune` has measured: the metric, its values and the digest of the tensors",
    ),
)  # fmt: skip

OPTION_NAMES: Final = tuple(option.name for option in OPTIONS)
GOALS: Final = ("bits", "sqnr", "size")
RENAMED: Final = {"aim": "objective", "weights": "importance"}
"""Former names of options, which are rejected with the new name."""

OPTIONALLY_RECORDED: Final[dict[str, Any]] = {
    "scale": SCALES[0], "dtypes": [], "restore": None, "include": [], "exclude": [],
    "evaluation": None,
}  # fmt: skip
"""The options that the manifest records only if they are given, and the values of the others."""

_READING: Final = tuple(option.name for option in OPTIONS if option.scope == "reading")
_DEFAULTS: Final = {option.name: option.default for option in OPTIONS}


class OptionKeywords(TypedDict, total=False):
    """The options as keyword arguments of `pack`, `simulate` and `Options`."""

    bits: int | None
    sqnr: float | None
    size: int | str | None
    objective: str
    importance: str | os.PathLike[str] | Importance | None
    dependent: bool
    effort: str
    scale: str | int
    tensors: Iterable[Override | Mapping[str, Any]]
    keep: Iterable[str]
    layout: str | None
    key: str | Iterable[str] | None
    drop: Iterable[str]
    rename: Mapping[str, str] | Iterable[tuple[str, str]]
    dtypes: Mapping[str, str] | Iterable[tuple[str, str]]
    restore: str | None
    include: Iterable[str]
    exclude: Iterable[str]
    license: str | None
    description: str | None
    url: str | None
    evaluation: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, init=False)
class Options:
    """Validated options for one model.

    Attributes:
        goal: the goal for tensors without an override.
        dependent: whether to use dependent quantization where the goal is an SQNR or a size.
        effort: how much time dependent quantization may take, a key of `EFFORTS`.
        scale: the axis whose slices get scales, by number or by a word of `SCALES`.
        overrides: other goals or scales for some tensors; the first whose pattern matches applies.
        keep: patterns of the final names of tensors to store exactly.
        read: the options for the reader of the source.
        provenance: license, description and URL of the model; None where not given.
        evaluation: what `vggq tune` has measured, as a table; None if not given.

    """

    goal: Goal
    dependent: bool
    effort: str
    scale: str | int
    overrides: tuple[Override, ...]
    keep: tuple[str, ...]
    read: ReadOptions
    provenance: dict[str, str | None]
    evaluation: dict[str, Any] | None

    def __init__(self, **keywords: Unpack[OptionKeywords]) -> None:
        """Validate the options.

        Raises:
            OptionError: options are unknown, invalid or in conflict; all of them at once.
            MissingDependencyError: `license` is given, and packaging is not installed.

        """
        parsed = _parse(dict(keywords))
        self._set(
            goal=_goal_of(parsed),
            dependent=parsed["dependent"],
            effort=parsed["effort"],
            scale=parsed["scale"],
            overrides=parsed["tensors"],
            keep=parsed["keep"],
            read=ReadOptions(**{option: parsed[option] for option in _READING}),
            provenance={name: parsed[name] for name in PROVENANCE},
            evaluation=parsed["evaluation"],
        )

    def _set(self, **attributes: object) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def with_goal(self, goal: Goal) -> Options:
        """Return the same options with another goal."""
        changed = copy.copy(self)
        changed._set(goal=goal)  # noqa: SLF001 - its own class
        return changed

    def with_evaluation(self, evaluation: Mapping[str, Any] | None) -> Options:
        """Return the same options with what was measured on the packed file."""
        changed = copy.copy(self)
        changed._set(evaluation=evaluation)  # noqa: SLF001 - its own class
        return changed

    def with_scale(self, axis: int | None) -> Options:
        """Return the same options with scales along an axis, or none, and without overrides."""
        changed = copy.copy(self)
        scale = SCALES[0] if axis is None else axis
        changed._set(scale=scale, overrides=())  # noqa: SLF001 - its own class
        return changed

    def with_storage(
        self, goal: Goal, overrides: tuple[Override, ...], keep: tuple[str, ...]
    ) -> Options:
        """Return the same options with another goal, other overrides and other patterns to keep."""
        changed = self.with_goal(goal)
        changed._set(overrides=overrides, keep=keep)  # noqa: SLF001 - its own class
        return changed

    def with_importance_read(self, folder: str | os.PathLike[str] = "") -> Options:
        """Return the options with the factors themselves in place of the path of their file.

        Args:
            folder: the folder that the path is relative to.

        Raises:
            OptionError: the file cannot be read, or does not contain factors.

        """
        goal = self.goal
        if not isinstance(goal, Size) or not isinstance(goal.importance, str | os.PathLike):
            return self
        factors = read_importance(goal.importance, folder)
        return self.with_goal(Size(goal.size, goal.objective, factors))

    @property
    def search(self) -> Effort:
        """The search for levels that `dependent` and `effort` choose."""
        return EFFORTS[self.effort] if self.dependent else INDEPENDENT

    def goal_for(self, name: str) -> Goal:
        """Return the goal for the tensor of this final name."""
        return self._goal_override(name) or self.goal

    def has_own_goal(self, name: str) -> bool:
        """Whether an override gives the tensor of this final name a goal of its own."""
        return self._goal_override(name) is not None

    def scale_for(self, name: str) -> str | int:
        """Return the axis of the tensor of this final name whose slices get scales."""
        found = self._override_for(name)
        return self.scale if found is None or found.scale is None else found.scale

    def _goal_override(self, name: str) -> Goal | None:
        found = self._override_for(name)
        return found.goal if found else None

    def _override_for(self, name: str) -> Override | None:
        """Return the first override whose pattern matches."""
        found = (item for item in self.overrides if matches_any(name, [item.match]))
        return next(found, None)

    def patterns(self) -> dict[str, list[str]]:
        """Return the patterns that must each match a final name, by option."""
        return {"keep": list(self.keep), "tensors": [item.match for item in self.overrides]}

    def to_record(self) -> dict[str, Any]:
        """Return the options as the manifest records them: those of quantization as one table."""
        return {
            "quantization": {
                **goal_to_table(self.goal),
                "dependent": self.dependent,
                "effort": self.effort,
                **self._scale_record(),
                "tensors": [override.to_table() for override in self.overrides],
                "keep": list(self.keep),
            },
            "layout": self.read.layout,
            "key": list(self.read.key) if isinstance(self.read.key, tuple) else self.read.key,
            "drop": list(self.read.drop),
            "rename": [list(pair) for pair in self.read.rename],
            **self._optional_record(),
            **self.provenance,
        }

    def _scale_record(self) -> dict[str, str | int]:
        """Return the option `scale` if it is given."""
        return {} if self.scale == _DEFAULTS["scale"] else {"scale": self.scale}

    def _optional_record(self) -> dict[str, Any]:
        """Return the options of reading that few files need, and no others record."""
        dtypes = [list(pair) for pair in self.read.dtypes]
        patterns = {name: list(getattr(self.read, name)) for name in ("include", "exclude")}
        found = {
            "dtypes": dtypes,
            "restore": self.read.restore,
            **patterns,
            "evaluation": self.evaluation,
        }
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Options:
        """Return the options that a manifest records.

        Raises:
            OptionError: the record was written by another version.

        """
        return cls(**flat_options(record))


PROVENANCE: Final = tuple(option.name for option in OPTIONS if option.scope == "provenance")


def flat_options(record: Mapping[str, Any]) -> Any:
    """Return a manifest's record as a flat table of options by name."""
    quantization = record.get("quantization")
    others = {name: value for name, value in record.items() if name != "quantization"}
    return {**quantization, **others} if isinstance(quantization, Mapping) else dict(record)


def given_options(record: Mapping[str, Any]) -> dict[str, object]:
    """Return the options of a manifest's record that differ from their defaults."""
    return {
        name: value
        for name, value in flat_options(record).items()
        if name not in _DEFAULTS or value not in (_DEFAULTS[name], [])
    }


def _parse(table: Mapping[str, Any]) -> dict[str, Any]:
    parsed = dict(_DEFAULTS)
    problems = [(name, _unknown(name)) for name in table if name not in _DEFAULTS]
    for option in OPTIONS:
        value = table.get(option.name, option.default)
        if value == option.default and type(value) is type(option.default):
            continue
        try:
            parsed[option.name] = option.parse(value)
        except ValueError as error:
            problems.append((option.name, str(error)))
    if problems := problems or _conflicts(parsed):
        raise OptionError(problems)
    return parsed


def _unknown(name: str) -> str:
    return f"renamed to {RENAMED[name]!r}" if name in RENAMED else "unknown option"


def _conflicts(parsed: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = [name for name in GOALS if parsed[name] is not None]
    if len(given) > 1:
        return [(given[1], f"expected one of {', '.join(GOALS)}, found {' and '.join(given)}")]
    without_size = [] if "size" in given else ["objective", "importance"]
    misplaced = [name for name in without_size if parsed[name] != _DEFAULTS[name]]
    problems = [(name, "only valid with size") for name in misplaced]
    return problems or find_restore_conflicts(parsed["restore"], parsed)


def _goal_of(parsed: Mapping[str, Any]) -> Goal:
    if parsed["size"] is not None:
        return Size(parsed["size"], parsed["objective"], parsed["importance"])
    if parsed["sqnr"] is not None:
        return Sqnr(parsed["sqnr"])
    return Bits() if parsed["bits"] is None else Bits(parsed["bits"])
