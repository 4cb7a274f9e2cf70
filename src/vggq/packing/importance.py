"""The option `importance`: how much the error of each tensor counts when a size is shared."""

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

    from .goals import Importance

FACTORS_NAME: Final = "importance.json"
"""The name of the file that `vggq tune` writes."""
_MAX_FACTOR: Final = sys.float_info.max
_EXPECTED: Final = 'a table of tensor names and factors above 0 such as { "conv1.weight": 2.5 }'


def parse_importance(value: object) -> str | os.PathLike[str] | Importance:
    """Validate factors, or the path of a file with factors.

    Raises:
        ValueError: the value is neither.

    """
    if isinstance(value, str | os.PathLike) and os.fspath(value):
        return value
    if isinstance(value, Mapping):
        return parse_factors(value)
    raise ValueError(f"expected {_EXPECTED}, or the path of a JSON file with one, found {value!r}")


def parse_factors(value: object) -> Importance:
    """Validate a table of factors.

    Raises:
        ValueError: the value is not such a table.

    """
    if not isinstance(value, Mapping):
        raise ValueError(f"expected {_EXPECTED}, found {value!r}")  # noqa: TRY004
    for name, factor in value.items():
        if isinstance(name, str) and factor == 0 and type(factor) in (int, float):
            raise ValueError(
                f"factor 0 of {name!r} would ruin it without a word: expected a factor above 0; "
                f"leave a tensor out with drop if nothing uses it"
            )
        if not isinstance(name, str) or not _is_factor(factor):
            raise ValueError(f"expected {_EXPECTED}, found {name!r}: {factor!r}")
    return value


def _is_factor(value: object) -> bool:
    return type(value) in (int, float) and 0 < value <= _MAX_FACTOR  # type: ignore[operator]


def read_importance(
    path: str | os.PathLike[str], folder: str | os.PathLike[str] = ""
) -> Importance:
    """Read factors from a JSON file whose path is relative to `folder`.

    Raises:
        OptionError: the file cannot be read, or does not contain factors.

    """
    name = os.fspath(path)
    try:
        return parse_factors(json.loads(Path(folder, path).read_bytes()))
    except OSError as error:
        problem = f"{name!r} cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError) and Path(path).name == FACTORS_NAME:
            problem += "; copy it from the folder that `vggq tune` wrote"
        raise OptionError([("importance", problem)]) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = f"{name!r} is not valid JSON: {error}"
        raise OptionError([("importance", problem)]) from error
    except ValueError as error:
        raise OptionError([("importance", f"{name!r}: {error}")]) from error


def check_factor_names(importance: Importance, names: Container[str]) -> None:
    """Reject factors of tensors that do not exist.

    Raises:
        OptionError: one or more names match no tensor.

    """
    if unknown := [name for name in importance if name not in names]:
        raise OptionError([("importance", f"no tensor is named {name!r}") for name in unknown])
