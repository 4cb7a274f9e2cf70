"""Write the result of a run: the packed file, the factors, and the table for pyproject.toml."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ... import _load
from ...errors import SourceError, TargetError
from ..atomic_file import atomic_write
from ..evaluations import digest_tensors
from ..goals import Bits, Size
from ..importance import FACTORS_NAME
from ..packer import pack_with

if TYPE_CHECKING:
    from ..goals import Importance
    from ..options import Options
    from ..packer import Packed
    from .records import Sensitivities, Tuned

PACKED_NAME: Final = "tuned.vggq"
TABLE_NAME: Final = "tuned.toml"
REPORT_NAME: Final = "report.html"


def write_result(source: str | os.PathLike[str], tuned: Tuned, folder: Path) -> Packed:
    """Pack the chosen options, and write the files to paste into a project.

    If the options have no factors, their file from an earlier run is removed.

    Args:
        source: the checkpoint.
        tuned: the result of the run.
        folder: the folder to write to, which is created.

    Raises:
        SourceError: the source cannot be read, or is not the one that was evaluated.
        TargetError: a file cannot be written.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"cannot be created: {error.strerror}", path=folder) from error
    packed = pack_with(source, folder / PACKED_NAME, tuned.options)
    if digest_tensors(_load.load(packed.target)) != tuned.best.trial.sha256:
        problem = "gives other tensors than those that were evaluated; run the command again"
        raise SourceError(problem, path=source)
    _write_factors(folder / FACTORS_NAME, factors_of(tuned.options))
    _write(folder / TABLE_NAME, render_table(os.fspath(source), tuned))
    return packed


def factors_of(options: Options) -> Importance:
    """Return the factors that the table reads from a file; empty if it needs none."""
    return options.goal.factors if isinstance(options.goal, Size) else {}


def _write_factors(path: Path, factors: Importance) -> None:
    if factors:
        _write(path, json.dumps(dict(factors), indent=2, ensure_ascii=False) + "\n")
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TargetError(f"cannot be removed: {error.strerror}", path=path) from error


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "surrogatepass"))


def render_table(source: str, tuned: Tuned) -> str:
    """Return the table of the model for pyproject.toml."""
    objective, trial = tuned.objective, tuned.best.trial
    value = objective.value(trial.metrics)
    lines = [
        (
            f"# {objective.metric}: {value:.6g}, original {objective.original:.6g}; "
            f"{trial.size:,} bytes"
        ),
        *_comment_unused(tuned.sensitivities),
        "[[tool.hatch.build.hooks.vggq.models]]",
        f"source = {_quote(source.replace(os.sep, '/'))}",
        f"target = {_quote(f'src/mypackage/{Path(source).stem}.vggq')}",
        *option_lines(tuned.options),
    ]
    return "\n".join(lines) + "\n"


def _comment_unused(sensitivities: Sensitivities) -> list[str]:
    names = [name for s in sensitivities.unused for name in s.group.names]
    if not names:
        return []
    shown = ", ".join(_quote(name) for name in names)
    return [f"# Without any effect on the evaluation: drop = [{shown}]"]


def option_lines(options: Options) -> list[str]:
    """Return the lines of TOML for options, apart from the source and the target."""
    goal = options.goal
    lines = []
    if isinstance(goal, Size):
        lines += [f"size = {goal.size}", f"objective = {_quote(goal.objective)}"]
        if goal.factors:
            lines.append(f"importance = {_quote(FACTORS_NAME)}")
    elif isinstance(goal, Bits):
        lines.append(f"bits = {goal.bits}")
    if not options.dependent:
        lines.append("dependent = false")
    if options.effort != "default":
        lines.append(f"effort = {_quote(options.effort)}")
    lines += _override_lines(options)
    if options.keep:
        lines.append(f"keep = {_list(options.keep)}")
    return lines + _reading_lines(options) + _evaluation_lines(options)


def _evaluation_lines(options: Options) -> list[str]:
    if options.evaluation is None:
        return []
    items = ", ".join(f"{key} = {_value(value)}" for key, value in options.evaluation.items())
    return [f"evaluation = {{ {items} }}"]


def _override_lines(options: Options) -> list[str]:
    if not options.overrides:
        return []
    rows = [
        f"  {{ match = {_quote(override.match)}, scale = {_value(override.scale)} }},"
        for override in options.overrides
    ]
    return ["tensors = [", *rows, "]"]


def _reading_lines(options: Options) -> list[str]:
    read = options.read
    lines = []
    if read.layout is not None:
        lines.append(f"layout = {_quote(read.layout)}")
    if read.key is not None:
        lines.append(f"key = {_quote(read.key) if isinstance(read.key, str) else _list(read.key)}")
    patterns = {"drop": read.drop, "include": read.include, "exclude": read.exclude}
    lines += [f"{name} = {_list(values)}" for name, values in patterns.items() if values]
    for name, pairs in (("rename", read.rename), ("dtypes", read.dtypes)):
        if pairs:
            items = ", ".join(f"{_quote(one)} = {_quote(other)}" for one, other in pairs)
            lines.append(f"{name} = {{ {items} }}")
    if read.restore is not None:
        lines.append(f"restore = {_quote(read.restore)}")
    return lines


def _value(value: object) -> str:
    return _quote(value) if isinstance(value, str) else str(value)


def _list(values: Any) -> str:
    return f"[{', '.join(_quote(value) for value in values)}]"


def _quote(text: str) -> str:
    """Return a basic string of TOML, whose escapes are those of JSON for these characters."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
