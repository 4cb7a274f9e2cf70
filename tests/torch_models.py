"""A torch module, and functions that compare tensors, for the tests of `vggq.torch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vggq.packing import pack
from vggq.torch._transfer import Transfers

from .helpers import save_npz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

nn: Any = torch.nn


class Small(nn.Module):  # type: ignore[misc]
    """A module with parameters, a batch norm, and buffers in and outside the state dict."""

    def __init__(self, width: int = 40, outputs: int = 30) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 5)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, outputs)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("scratch", torch.ones(7), persistent=False)

    def forward(self, images: Any) -> Any:
        return self.head(self.norm(self.conv(images)).mean((2, 3))) * self.scale


def arrays_of(module: Any) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def pack_state(
    folder: Path, state: dict[str, NDArray[Any]], name: str = "w", **options: Any
) -> Path:
    return pack(save_npz(folder / f"{name}.npz", state), folder / f"{name}.vggq", **options).target


def pack_small(folder: Path) -> Path:
    """Pack the state dict of a `Small` module."""
    torch.manual_seed(1)
    module = Small()
    module.norm.num_batches_tracked += 9
    module.scale += 1
    return pack_state(folder, arrays_of(module))


def assert_same_tensors(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Assert the same names, shapes, dtypes and values; NaN equals NaN."""
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        torch.testing.assert_close(
            found[name], tensor, rtol=0, atol=0, equal_nan=True, check_device=False
        )


def tensors_of(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def values_of(module: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def on_cpu(values: Any) -> Any:
    """Return values as a tensor on the CPU, as if that were another device."""
    return Transfers().move(values, torch.device("cpu"))
