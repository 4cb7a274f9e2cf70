"""Small ONNX models: a file of its own, or a graph with external data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path


def make_model(*, notes: str = "", seed: int = 0) -> onnx.ModelProto:
    """Return a model that multiplies `x` by the matrices `a` and `b`.

    Args:
        notes: the documentation of the graph, which is outside its tensors.
        seed: the seed of the weights.

    """
    rng = np.random.default_rng(seed)
    weights = {
        "a": rng.standard_normal((96, 64)).astype(np.float32),
        "b": rng.standard_normal((64, 32)).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("MatMul", ["h", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 96])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 32])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
        doc_string=notes,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def save_model(path: Path, *, notes: str = "", seed: int = 0) -> Path:
    """Write a model in one file."""
    onnx.save(make_model(notes=notes, seed=seed), path)
    return path


def save_split_model(path: Path, *, seed: int = 0) -> list[Path]:
    """Write a model whose weights are in the files `a` and `b`, and return its three files."""
    onnx.save(
        make_model(seed=seed),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
    )
    return [path, path.with_name("a"), path.with_name("b")]
