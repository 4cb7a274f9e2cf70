"""Scales on a device: each weight is multiplied by the scale of its slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .._codecs._scales import Slices


def multiply_by_scales(weights: torch.Tensor, slices: Slices, scales: torch.Tensor) -> None:
    """Multiply flat float32 weights in place; products beyond the range of float32 saturate.

    Args:
        weights: the weights, all finite.
        slices: the slices of the tensor.
        scales: the scale of each slice, on the device of the weights.

    """
    limit = torch.finfo(weights.dtype).max
    weights.view(-1, slices.scales, slices.run).mul_(scales[:, None]).clamp_(-limit, limit)
