"""How much the error of each tensor counts where a size is shared: names and factors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Container

Weights = Mapping[str, float]

_MOST: Final = sys.float_info.max
_EXPECTED: Final = 'a table of names and factors above 0 such as { "conv1.weight": 2.5 }'


def weights_problem(value: object) -> str | None:
    """What is wrong with factors, or with the path of a file of them, if anything."""
    if value is None or (isinstance(value, str | os.PathLike) and os.fspath(value)):
        return None
    if not isinstance(value, Mapping):
        return f"expected {_EXPECTED}, or the path of a JSON file of them, found {value!r}"
    wrong = [(name, factor) for name, factor in value.items() if not _is_sound(name, factor)]
    return f"expected {_EXPECTED}, found {wrong[0][0]!r}: {wrong[0][1]!r}" if wrong else None


def _is_sound(name: object, factor: object) -> bool:
    return isinstance(name, str) and type(factor) in (int, float) and 0 < factor <= _MOST  # type: ignore[operator]


def read_weights(
    value: str | os.PathLike[str] | Weights | None, folder: str | os.PathLike[str] = ""
) -> Weights | None:
    """Factors as they are, or from a JSON file whose path is relative to a folder.

    Raises:
        OptionError: the file cannot be read, or holds anything else.

    """
    if not isinstance(value, str | os.PathLike):
        return value
    try:
        found: object = json.loads(Path(folder, value).read_bytes())
    except OSError as error:
        problem = f"{os.fspath(value)!r} cannot be read: {error.strerror}"
        raise OptionError([("weights", problem)]) from error
    except (ValueError, RecursionError) as error:
        problem = f"{os.fspath(value)!r} is no JSON: {error}"
        raise OptionError([("weights", problem)]) from error
    if isinstance(found, str) or found is None:
        problem = f"expected {_EXPECTED}, found {found!r}"
    else:
        problem = weights_problem(found) or ""
    if problem or not isinstance(found, Mapping):
        raise OptionError([("weights", f"{os.fspath(value)!r}: {problem}")])
    return found


def check_weights(weights: Weights, names: Container[str]) -> None:
    """Refuse factors of what is not there.

    Raises:
        OptionError: one or more names are of no tensor.

    """
    if idle := [name for name in weights if name not in names]:
        raise OptionError([("weights", f"{name!r} is no tensor") for name in idle])
