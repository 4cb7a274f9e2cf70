"""The outputs of networks: each function takes inputs, and returns a function of the weights."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import fidelity_models
import numpy as np
import onnx
import onnxruntime
import torch
from network_inputs import ROOT
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    State = dict[str, Any]
    Outputs = Callable[[State], list[Any]]

HELD_OUT_DIGITS: Final = 497
"""The digits that the networks of the benchmark were not trained with."""


def vgg19_outputs(images: Sequence[Any]) -> Outputs:
    """Return the function that gives the feature maps that style transfer uses."""
    sys.path.insert(0, str(ROOT / "sample_project" / "src"))
    from vgg19_style.model import VGG19  # noqa: PLC0415 - its package is not installed
    from vgg19_style.transfer import CONTENT_LAYER, STYLE_LAYERS  # noqa: PLC0415

    layers = [*STYLE_LAYERS, CONTENT_LAYER]
    tensors = [torch.from_numpy(image) for image in images]

    def outputs(state: State) -> list[Any]:
        model = VGG19(state).eval()
        with torch.inference_mode():
            found = [model.activations(image, layers) for image in tensors]
        return [array.numpy() for features in found for array in features.values()]

    return outputs


def digits_outputs(name: str, indices: slice) -> Outputs:
    """Return the function that gives the logits of a trained network for some held-out digits."""
    module: nn.Module = (
        fidelity_models.ConvNet() if name == "convnet" else fidelity_models.Transformer()
    )
    pixels, _ = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    chosen = pixels[order][:HELD_OUT_DIGITS][indices]
    images = torch.tensor(chosen / 16, dtype=torch.float32)

    def outputs(state: State) -> list[Any]:
        module.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
        with torch.inference_mode():
            return [module.eval()(images).numpy()]

    return outputs


def resemblyzer_outputs(mels: Any) -> Outputs:
    """Return the function that gives the embeddings of voices, one array of all."""
    frames = torch.from_numpy(mels)

    def outputs(state: State) -> list[Any]:
        lstm, linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
        for prefix, module in (("lstm.", lstm), ("linear.", linear)):
            weights = {k: torch.from_numpy(v) for k, v in state.items() if k.startswith(prefix)}
            module.load_state_dict({k[len(prefix) :]: v for k, v in weights.items()})
        with torch.inference_mode():
            _, (hidden, _) = lstm(frames)
            raw = functional.relu(linear(hidden[-1]))
        return [(raw / raw.norm(dim=1, keepdim=True)).numpy()]

    return outputs


def crepe_outputs(frames: Any) -> Outputs:
    """Return the function that gives the activations of torchcrepe."""
    inputs = torch.from_numpy(frames)

    def outputs(state: State) -> list[Any]:
        weights = {name: torch.from_numpy(values) for name, values in state.items()}
        with torch.inference_mode():
            features = inputs
            for layer in range(1, 7):
                features = _crepe_layer(features, weights, layer)
            flat = features.permute(0, 2, 1, 3).reshape(len(features), -1)
            logits = functional.linear(
                flat, weights["classifier.weight"], weights["classifier.bias"]
            )
            return [torch.sigmoid(logits).numpy()]

    return outputs


def _crepe_layer(features: torch.Tensor, weights: dict[str, torch.Tensor], layer: int) -> Any:
    padding, stride = ((254, 254), (4, 1)) if layer == 1 else ((31, 32), (1, 1))
    kernel, bias = (weights[f"conv{layer}.{part}"] for part in ("weight", "bias"))
    padded = functional.pad(features, (0, 0, *padding))
    active = functional.relu(functional.conv2d(padded, kernel, bias, stride=stride))
    names = ("running_mean", "running_var", "weight", "bias")
    norm = (weights[f"conv{layer}_BN.{name}"] for name in names)
    return functional.max_pool2d(functional.batch_norm(active, *norm, eps=0.001), (2, 1), (2, 1))


def run_onnx(model: Any, inputs: Sequence[Any], *, logits: bool = False) -> list[Any]:
    """Return the outputs of an ONNX model; with `logits`, the input of its last softmax."""
    if logits:
        *_, softmax = (node for node in model.graph.node if node.op_type == "Softmax")
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(softmax.input[0]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Waiting threads of several sessions would take all processor time.
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    key = session.get_inputs()[0].name
    return [array for values in inputs for array in session.run(None, {key: values})]
