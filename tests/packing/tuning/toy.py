"""A small model whose answers judge it, for the tests of `vggq tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

SCALES: list[Path] = []
"""The file with the scales of the outputs that `outputs_for_file` reads."""

CALLS: list[object] = []
"""The arguments of `count_calls`, in order."""


def make_state() -> State:
    """Return weights of two layers, and of a third that nothing uses."""
    rng = np.random.default_rng(0)
    spread = np.exp(rng.standard_normal((1, 40)))
    return {
        "first.weight": (rng.standard_normal((64, 40)) * spread).astype(np.float32),
        "first.bias": np.zeros(64, np.float32),
        "second.weight": rng.standard_normal((32, 64)).astype(np.float32),
        "unused.weight": rng.standard_normal((40, 64)).astype(np.float32),
    }


def write_source(folder: Path) -> Path:
    """Write the weights as a checkpoint."""
    path = folder / "toy.safetensors"
    save_file(make_state(), path)
    return path


def outputs(state: State) -> NDArray[Any]:
    """Return the outputs for fixed inputs."""
    inputs = np.random.default_rng(1).standard_normal((48, 40)).astype(np.float32)
    hidden = np.maximum(inputs @ state["first.weight"].T + state["first.bias"], 0)
    result: NDArray[Any] = hidden @ state["second.weight"].T
    return result


def outputs_for_file(state: State) -> NDArray[Any]:
    """Return the outputs, and record the call, with a scale that another file contains."""
    CALLS.append(state)
    scale = np.load(SCALES[0])
    result: NDArray[Any] = outputs(state) * scale
    return result


def count_calls(state: State) -> NDArray[Any]:
    """Do the same as `outputs`, and record the call."""
    CALLS.append(state)
    return outputs(state)


def weight_times_two(state: State) -> NDArray[Any]:
    """Return the double of a tensor."""
    result: NDArray[Any] = state["weight"] * 2
    return result


def accuracy(state: State) -> float:
    """Return the share of inputs whose largest output is that of the original."""
    labels = outputs(make_state()).argmax(axis=1)
    return float((outputs(state).argmax(axis=1) == labels).mean())


def sign(state: State) -> float:
    """Return a number that feels the second layer only if nothing is left of it."""
    return float(np.abs(state["second.weight"]).max() > 0.5)


def fails_with_zeros(state: State) -> float:
    """Do the same as `sign`, but raise an error."""
    return 1 / sign(state)


def losses(state: State) -> dict[str, float]:
    """Return two numbers of which less is better."""
    error = float(np.abs(outputs(state) - outputs(make_state())).mean())
    return {"mean": 1 + error, "other": 2.0}


def scores(state: State) -> dict[str, float]:
    """Return a loss, and a number of which more is better."""
    return {"loss": losses(state)["mean"], "accuracy": accuracy(state)}


def distance(state: State) -> float:
    """Return a loss whose name does not say so, far above 0."""
    return 0.1 + float(np.mean(np.abs(outputs(state) - outputs(make_state()))))


def negative_mean_absolute_error_of_the_outputs_for_fixed_inputs(state: State) -> float:
    """Return a number whose name and digits take many bytes in a record."""
    return -float(np.abs(outputs(state) - outputs(make_state())).mean()) / 3


def constant(state: State) -> float:
    """Return a number that does not depend on the weights."""
    return 0.5 * len(state)


def constant_outputs(state: State) -> NDArray[Any]:
    """Return the outputs of the original, whatever the weights are."""
    return outputs(make_state()) * len(state)


def any_layer(state: State) -> float:
    """Return a number that changes only if nothing is left of any matrix."""
    return float(any(array.any() for array in state.values()))


def fails_without_layers(state: State) -> float:
    """Do the same as `any_layer`, but raise an error."""
    return 1 / any_layer(state)


def random_number(state: State) -> float:
    """Return another number in every call."""
    return 0.1 * len(state) + 0.5 * float(np.random.default_rng().random())


def random_outputs(state: State) -> NDArray[Any]:
    """Return the outputs with noise that no seed determines."""
    return _add_noise(outputs(state), 0.05, np.random.default_rng())


def noisy_outputs(state: State) -> NDArray[Any]:
    """Return the outputs with noise as from another order of additions."""
    return _add_noise(outputs(state), 1e-6, np.random.default_rng())


def seeded_outputs(state: State) -> NDArray[Any]:
    """Return the outputs with noise by numpy's global generator, whose seed is set."""
    rng = np.random.default_rng(np.random.randint(1 << 30))  # noqa: NPY002
    return _add_noise(outputs(state), 0.05, rng)


def changes_its_argument(state: State) -> NDArray[Any]:
    """Return the outputs, and change the weights in place."""
    result = outputs(state)
    state.pop("second.weight")[:] = 0
    return result


def _add_noise(array: NDArray[Any], level: float, rng: np.random.Generator) -> NDArray[Any]:
    result: NDArray[Any] = array * (1 + level * rng.standard_normal(array.shape))
    return result


def onnx_outputs(path: Path) -> NDArray[Any]:
    """Return the product of a fixed input with the largest matrix of an ONNX model."""
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    largest = max((a for a in arrays if a.ndim == 2), key=lambda a: a.size)
    inputs = np.random.default_rng(1).standard_normal((8, largest.shape[0])).astype(np.float32)
    result: NDArray[Any] = inputs @ largest
    return result


def interrupted(state: State) -> NDArray[Any]:
    """Do the same as `count_calls`, and interrupt the eighth call."""
    result = count_calls(state)
    if len(CALLS) == 8:
        raise KeyboardInterrupt
    return result


def raises(state: State) -> float:
    raise ValueError(f"no\nimages for {len(state)} tensors")


def returns_nan(state: State) -> float:
    return float("nan") * len(state)


def returns_text(state: State) -> str:
    return f"good, {len(state)}"


def returns_other_shapes(state: State) -> NDArray[Any]:
    found = outputs(state)
    return found if np.array_equal(state["first.weight"], make_state()["first.weight"]) else found.T


def returns_nan_later(state: State) -> NDArray[Any]:
    found = outputs(state)
    if not np.array_equal(state["first.weight"], make_state()["first.weight"]):
        found[0] = np.nan
    return found


def folder_outputs(folder: Path) -> NDArray[Any]:
    """Return the outputs of the weights in a folder."""
    return outputs(load_file(folder / "toy.safetensors"))


def prints(state: State) -> NDArray[Any]:
    """Do the same as `outputs`, and print."""
    print("printed")  # noqa: T201
    return outputs(state)


class Unprintable:
    """A result that has no text."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError
