"""The axis of a tensor whose slices get scales, by the option `scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import OptionError
from .codecs.raw import is_stored_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .options import Options
    from .sources import SourceTensor

_AXES: Final = {"none": None, "rows": 0, "columns": 1}
# Kernels of convolutions have at least one axis besides those of the channels.
_MIN_KERNEL_AXES: Final = 3


def check_axes(tensors: Iterable[SourceTensor], options: Options) -> None:
    """Check that every quantized tensor has the axis that the option `scale` names.

    Raises:
        OptionError: one or more tensors do not.

    """
    problems = []
    for tensor in tensors:
        if not is_stored_exactly(tensor, options.keep):
            try:
                find_axis(tensor, options.scale_for(tensor.name))
            except ValueError as error:
                problems.append(("scale", str(error)))
    if problems:
        raise OptionError(problems)


def find_axis(tensor: SourceTensor, scale: str | int) -> int | None:
    """Return the axis whose slices get scales, from 0.

    Args:
        tensor: a tensor of at least two dimensions.
        scale: the value of the option.

    Returns:
        The axis; None for no scales, also if there would be only one slice.

    Raises:
        ValueError: the tensor has no such axis.

    """
    axis = _resolve_axis(tensor, scale)
    if axis is None:
        return None
    dimensions = len(tensor.shape)
    if not -dimensions <= axis < dimensions:
        raise ValueError(f"tensor {tensor.name!r} of shape {list(tensor.shape)} has no axis {axis}")
    return axis % dimensions if tensor.shape[axis] > 1 else None


def _resolve_axis(tensor: SourceTensor, scale: str | int) -> int | None:
    if isinstance(scale, int):
        return scale
    return _channel_axis(tensor) if scale == "channels" else _AXES[scale]


def _channel_axis(tensor: SourceTensor) -> int | None:
    """Return the axis of the output channels; None if the tensor is no kernel of a convolution."""
    if len(tensor.shape) < _MIN_KERNEL_AXES:
        return None
    if not tensor.channels_last:
        return 0
    # The last axis of the kernels of a depthwise convolution is usually 1.
    return -1 if tensor.shape[-1] > 1 else -2
