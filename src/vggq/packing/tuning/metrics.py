"""Metrics of what the function of a user returns: numbers, or arrays to compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ERROR: Final = "error"
COSINE: Final = "cosine"
ARRAY_METRICS: Final = (ERROR, COSINE)
"""The metrics of arrays: relative L2 error against the original's, and cosine of the worst row."""

_MAX_SHOWN: Final = 300
Metrics = Mapping[str, float]


def evaluation_error(problem: str) -> OptionError:
    """Return the error for an evaluation that fails."""
    return OptionError([("eval", problem)])


def is_number(value: object) -> bool:
    """Whether a value is a number, also as an array or a tensor of no dimensions."""
    if isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, int | float | np.integer | np.floating) or (
        getattr(value, "shape", None) == () and hasattr(value, "item")
    )


def is_table_of_numbers(value: object) -> bool:
    """Whether a value is a dict of numbers that is not empty."""
    return isinstance(value, Mapping) and bool(value) and all(map(is_number, value.values()))


def check_numbers(name: str, result: object) -> dict[str, float]:
    """Return a number, or a table of numbers, as metrics by name.

    Raises:
        OptionError: the result is something else, or not finite.

    """
    if not (is_number(result) or is_table_of_numbers(result)):
        raise evaluation_error(
            f"{name} returned {_shorten(result)}, expected a number, a dict of numbers, or arrays"
        )
    table: Mapping[Any, Any] = result if isinstance(result, Mapping) else {name: result}
    metrics = {str(key): float(value) for key, value in table.items()}
    for key, value in metrics.items():
        if not np.isfinite(value):
            raise evaluation_error(f"{name} returned {value} for the metric {key!r}")
    return metrics


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def as_arrays(name: str, result: object) -> dict[str, NDArray[Any]]:
    """Return the arrays of an array, or of a list or dict of arrays, by index or name.

    Raises:
        OptionError: the result is something else, or has values that are not finite.

    """
    if isinstance(result, Mapping):
        items = {str(key): value for key, value in result.items()}
    elif isinstance(result, list | tuple) and not (result and all(map(is_number, result))):
        items = {str(index): value for index, value in enumerate(result)}
    else:
        items = {"0": result}
    if not items:
        raise evaluation_error(f"{name} returned nothing to compare: {_shorten(result)}")
    return {key: _as_array(name, value) for key, value in items.items()}


def _as_array(name: str, value: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
        # V is that of the narrow types of ml_dtypes.
        array = array.astype(np.float64) if array.dtype.kind in "biufV" else np.empty(0)
    except (TypeError, ValueError):
        array = np.empty(0)
    if not array.size:
        raise evaluation_error(
            f"{name} returned {_shorten(value)}, expected a number, a dict of numbers, or arrays"
        )
    if not np.isfinite(array).all():
        raise evaluation_error(f"{name} returned an array with NaN or infinity")
    return array


def compare_arrays(
    name: str, expected: dict[str, NDArray[Any]], found: dict[str, NDArray[Any]]
) -> dict[str, float]:
    """Return the error and the worst cosine of arrays.

    Raises:
        OptionError: the arrays have other shapes.

    """
    shapes, others = ({k: v.shape for k, v in arrays.items()} for arrays in (expected, found))
    if shapes != others:
        raise evaluation_error(
            f"{name} returned arrays of the shapes {_list_shapes(others)}, but "
            f"{_list_shapes(shapes)} for the original weights"
        )
    errors = [_relative_error(expected[key], found[key]) for key in expected]
    cosine = min(_worst_cosine(expected[key], found[key]) for key in expected)
    return {ERROR: float(np.sqrt(np.mean(errors))), COSINE: cosine}


def _list_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes.values())


def _relative_error(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Return squared error / energy; the error itself if there is no energy."""
    error = float(np.square(found - expected).sum())
    return error / (float(np.square(expected).sum()) or 1.0)


def _worst_cosine(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Return the smallest cosine of two rows, which are the slices along the first axis."""
    rows = expected.shape[0] if expected.ndim > 1 else 1
    one, other = expected.reshape(rows, -1), found.reshape(rows, -1)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = (one * other).sum(axis=1)
    equal = (one == other).all(axis=1)
    cosines = np.divide(products, norms, out=np.zeros(rows), where=norms > 0)
    return float(np.clip(np.where(equal, 1.0, cosines), -1.0, 1.0).min())
