"""Conversion of the weights of Keras's recurrent layers to tensors for torch.

An LSTM has its gates in the same order in both: i, f, c, o in Keras are i, f, g, o in torch. A GRU
has the order z, r, h in Keras, and r, z, n in torch.
https://keras.io/api/layers/recurrent_layers
https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ._feedforward import float32_zeros
from ._layer import KerasLayer, TorchTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


def convert_lstm(layer: KerasLayer) -> Iterator[TorchTensor]:
    return _convert_recurrent(layer, (0, 1, 2, 3))


def convert_simple_rnn(layer: KerasLayer) -> Iterator[TorchTensor]:
    return _convert_recurrent(layer, (0,))


def convert_gru(layer: KerasLayer) -> Iterator[TorchTensor]:
    """Convert a GRU with two biases; the other variant applies the reset gate before the matrix."""
    bias = layer.weights.get("bias")
    # A file without options shows the variant only by the number of its biases.
    reset_after = layer.config.get("reset_after", False) if layer.config else bias is not None
    if not reset_after or (bias is not None and bias.ndim != 2):
        raise layer.error("reset_after = False has no counterpart in torch")
    if bias is not None and bias.shape[0] != 2:
        raise layer.shape_error("bias")
    return _convert_recurrent(layer, (1, 0, 2))


def _convert_recurrent(layer: KerasLayer, gate_order: Sequence[int]) -> Iterator[TorchTensor]:
    """Yield the tensors of one layer; `gate_order` has the index in Keras of each gate of torch."""
    size = len(gate_order) * layer.weights["recurrent_kernel"].shape[0]
    for name, dataset in layer.weights.items():
        if dataset.shape[-1] != size:
            raise layer.shape_error(name)
    reorder = partial(_reorder_gates, gate_order=gate_order)
    for keras_name, torch_name in (
        ("kernel", "weight_ih_l0"),
        ("recurrent_kernel", "weight_hh_l0"),
    ):
        dataset = layer.weights[keras_name]
        yield TorchTensor(torch_name, dataset, dataset.shape[::-1], reorder)
    if "bias" in layer.weights:
        yield from _convert_biases(layer.weights["bias"], gate_order)


def _convert_biases(bias: Any, gate_order: Sequence[int]) -> Iterator[TorchTensor]:
    """Yield both biases of torch, which adds them up; if Keras has only one, the other is zero."""
    shape = bias.shape[-1:]
    reorder = partial(_reorder_gates, gate_order=gate_order)
    if bias.ndim == 1:
        yield TorchTensor("bias_ih_l0", bias, shape, reorder)
        yield TorchTensor("bias_hh_l0", bias, shape, float32_zeros, "F32")
        return
    for row, torch_name in enumerate(("bias_ih_l0", "bias_hh_l0")):
        yield TorchTensor(torch_name, bias, shape, partial(reorder, row=row))


def _reorder_gates(
    values: NDArray[Any], gate_order: Sequence[int], row: int | None = None
) -> NDArray[Any]:
    """Transpose the values, and put the blocks of the gates in torch's order on the first axis."""
    transposed = (values if row is None else values[row]).T
    gates = transposed.reshape(len(gate_order), -1, *transposed.shape[1:])
    return gates[list(gate_order)].reshape(transposed.shape)
