"""Metrics of what the function of a user returns: numbers, or arrays to compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..user_result import (
    ORIGINAL,
    RESTORED,
    check_same_names,
    describe_error,
    evaluation_error,
    is_number,
    read_numbers,
    show_result,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ERROR: Final = "error"
COSINE: Final = "cosine"
"""The metrics of arrays: relative L2 error against the original's, and cosine of the worst row."""

_EXPECTED: Final = "a number, a dict of numbers, or arrays"
Metrics = Mapping[str, float]


def check_numbers(name: str, result: object, what: str) -> dict[str, float]:
    """Return a number, or a table of numbers, as metrics by name.

    Args:
        name: the name of the function.
        result: what it returned.
        what: the weights that it returned it for, for the message.

    Raises:
        OptionError: the result is something else, or not finite.

    """
    metrics = read_numbers(name, result, _EXPECTED)
    for key, value in metrics.items():
        if not np.isfinite(value):
            raise evaluation_error(f"{name} returned {value} for the metric {key!r} with {what}")
    return metrics


def as_arrays(name: str, result: object, what: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an array, or of a list or dict of arrays, by index or name.

    Args:
        name: the name of the function.
        result: what it returned.
        what: the weights that it returned it for, for the message.

    Raises:
        OptionError: the result is something else, or has values that are not finite.

    """
    if isinstance(result, Mapping):
        items = {str(key): value for key, value in result.items()}
    elif isinstance(result, list | tuple) and not (result and all(map(is_number, result))):
        items = {str(index): value for index, value in enumerate(result)}
    else:
        return {"0": _as_array(name, result, f"with {what}")}
    if not items:
        raise evaluation_error(f"{name} returned nothing to compare: {show_result(result)}")
    return {key: _as_array(name, v, f"for {key!r} with {what}") for key, v in items.items()}


def _as_array(name: str, value: Any, where: str) -> NDArray[Any]:
    shown = show_result(value)
    problem = f"{name} returned {shown}, expected {_EXPECTED}"
    try:
        array = _to_array(value)
        # V is that of the narrow types of ml_dtypes.
        is_real = array.dtype.kind in "biufV"
        array = array.astype(np.float64) if is_real else array
    # Tensors without data and arrays larger than the memory raise errors of several classes.
    except Exception as error:
        raise evaluation_error(f"{problem}: {describe_error(error)}") from error
    if not is_real:
        raise evaluation_error(f"{problem} of real numbers ({where})")
    if not array.size:
        raise evaluation_error(f"{name} returned nothing to compare {where}: {shown} is empty")
    if not np.isfinite(array).all():
        raise evaluation_error(f"{name} returned an array with NaN or infinity {where}")
    return array


def _to_array(value: Any) -> NDArray[Any]:
    """Return an array or a tensor as an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            # numpy has no such dtype.
            value = value.float()
    return np.asarray(value)


def summarize_arrays(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return texts that differ for other arrays, but not for other rounding errors."""
    norm = float(np.sqrt(sum(np.square(array).sum() for array in arrays.values())))
    rng = np.random.default_rng(0)
    products = (array.ravel() @ rng.standard_normal(array.size) for array in arrays.values())
    shapes = [f"{key} {array.shape}" for key, array in arrays.items()]
    return [*shapes, f"{norm:.4g}", f"{sum(products) / (norm or 1.0):.3f}"]


def compare_arrays(
    name: str, expected: dict[str, NDArray[Any]], found: dict[str, NDArray[Any]]
) -> dict[str, float]:
    """Return the error and the worst cosine of arrays.

    Raises:
        OptionError: the arrays have other shapes, or their difference is not finite.

    """
    _check_shapes(name, expected, found)
    pairs = [_scale(expected[key], found[key]) for key in expected]
    with np.errstate(over="ignore", invalid="ignore"):
        errors = [_relative_error(*pair) for pair in pairs]
        cosine = min(_worst_cosine(*pair) for pair in pairs)
        error = float(np.sqrt(np.mean(errors)))
    if not np.isfinite([error, cosine]).all():
        raise evaluation_error(
            f"{name} returned arrays too large to compare with those for the original weights"
        )
    return {ERROR: error, COSINE: cosine}


def _check_shapes(
    name: str, expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]
) -> None:
    check_same_names(name, "arrays", found, expected)
    for key, array in found.items():
        if array.shape != expected[key].shape:
            label = f" for {key!r}" if len(expected) > 1 else ""
            raise evaluation_error(
                f"{name} returned an array of shape {array.shape}{label} with {RESTORED}, but of "
                f"shape {expected[key].shape} with {ORIGINAL}"
            )


def _scale(expected: NDArray[Any], found: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both arrays divided by a power of two, so that squares are in the range of floats."""
    exponent = np.frexp(np.abs(expected).max())[1]
    return np.ldexp(expected, -exponent), np.ldexp(found, -exponent)


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
