"""What torch makes of the weights of Keras's recurrent layers.

The gates of an LSTM are i, f, c, o in Keras, and i, f, g, o in torch, which are the same; those of
a GRU are z, r, h in Keras, and r, z, n in torch.
https://keras.io/api/layers/recurrent_layers
https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ._layer import KerasLayer, TorchTensor
from ._parts import zeros

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


def lstm(layer: KerasLayer) -> Iterator[TorchTensor]:
    return _recurrent(layer, (0, 1, 2, 3))


def simple_rnn(layer: KerasLayer) -> Iterator[TorchTensor]:
    return _recurrent(layer, (0,))


def gru(layer: KerasLayer) -> Iterator[TorchTensor]:
    """Only with two biases: the other kind resets the state before it multiplies."""
    bias = layer.weights.get("bias")
    # A file without options tells the two kinds by their biases alone.
    told = layer.config.get("reset_after", False) if layer.config else bias is not None
    if not told or (bias is not None and bias.ndim != 2):
        raise layer.refuse("has reset_after = False, of which torch has no counterpart")
    if bias is not None and bias.shape[0] != 2:
        raise layer.misshapen("bias")
    return _recurrent(layer, (1, 0, 2))


def _recurrent(layer: KerasLayer, order: Sequence[int]) -> Iterator[TorchTensor]:
    """One layer of torch's; `order` is that of Keras's gates in torch."""
    gates = len(order) * layer.weights["recurrent_kernel"].shape[0]
    for ours in layer.weights:
        if layer.weights[ours].shape[-1] != gates:
            raise layer.misshapen(ours)
    for ours, theirs in (("kernel", "weight_ih_l0"), ("recurrent_kernel", "weight_hh_l0")):
        dataset = layer.weights[ours]
        yield TorchTensor(theirs, dataset, dataset.shape[::-1], partial(_gates, order=order))
    if "bias" in layer.weights:
        yield from _biases(layer.weights["bias"], order)


def _biases(bias: Any, order: Sequence[int]) -> Iterator[TorchTensor]:
    """Both of torch's, which are added up where Keras has one."""
    shape = bias.shape[-1:]
    if bias.ndim == 1:
        yield TorchTensor("bias_ih_l0", bias, shape, partial(_gates, order=order))
        yield TorchTensor("bias_hh_l0", bias, shape, zeros, "F32")
        return
    for row, theirs in enumerate(("bias_ih_l0", "bias_hh_l0")):
        yield TorchTensor(theirs, bias, shape, partial(_gates, order=order, row=row))


def _gates(values: NDArray[Any], order: Sequence[int], row: int | None = None) -> NDArray[Any]:
    """The blocks of the last axis, one a gate, in torch's order along the first."""
    rows = (values if row is None else values[row]).T
    blocks = rows.reshape(len(order), -1, *rows.shape[1:])
    return blocks[list(order)].reshape(rows.shape)
