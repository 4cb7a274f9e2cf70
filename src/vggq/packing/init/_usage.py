"""The lines of Python that use a packed file, by the kind of its source."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from ._sources import ModelSource

# Placeholders: PACKAGE and RESOURCE become the arguments of vggq's functions.
_ARRAYS: Final = """\
import vggq

arrays = vggq.load(PACKAGE, RESOURCE)  # a dict of numpy arrays
"""
_STATE_DICT: Final = """\
import vggq.torch

vggq.torch.load_into(module, PACKAGE, RESOURCE)  # a module that your code has made
# Without torch: arrays = vggq.load(PACKAGE, RESOURCE)
"""
_TORCHSCRIPT: Final = """\
import io

import torch
import vggq

module = torch.jit.load(io.BytesIO(vggq.read_bytes(PACKAGE, RESOURCE)))
"""
_ONNX: Final = """\
import onnxruntime
import vggq

session = onnxruntime.InferenceSession(vggq.read_bytes(PACKAGE, RESOURCE))
"""
_ONNX_FILES: Final = """\
import onnxruntime
import vggq

with vggq.as_file(PACKAGE, RESOURCE) as path:
    session = onnxruntime.InferenceSession(path)
"""
_TFLITE: Final = """\
import vggq
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_content=vggq.read_bytes(PACKAGE, RESOURCE))
"""
_SENTENCES: Final = """\
import vggq
from sentence_transformers import SentenceTransformer

with vggq.as_file(PACKAGE, RESOURCE) as folder:
    embedder = SentenceTransformer(str(folder))
"""
_TRANSFORMERS: Final = """\
import vggq
from transformers import AutoModel, AutoTokenizer

with vggq.as_file(PACKAGE, RESOURCE) as folder:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
"""
_PATH: Final = """\
import vggq

with vggq.as_file(PACKAGE, RESOURCE) as path:
    ...  # open the restored model at this path
"""
_FOR_BYTES: Final = {"onnx": _ONNX, "tflite": _TFLITE, "torch": _TORCHSCRIPT}


def show_usage(source: ModelSource, package: str, resource: str, *, in_torch: bool) -> str:
    """Return the lines of Python that use the packed file of a source.

    Args:
        source: the source.
        package: the package that contains the packed file.
        resource: the path of the packed file in the package, with slashes.
        in_torch: whether the weights are those of a torch module.

    """
    template = _choose(source, in_torch=in_torch)
    names = {"PACKAGE": package, "RESOURCE": resource}
    return re.sub(
        "PACKAGE|RESOURCE", lambda m: json.dumps(names[m[0]], ensure_ascii=False), template
    )


def _choose(source: ModelSource, *, in_torch: bool) -> str:
    if source.restore == "tensors":
        return _STATE_DICT if in_torch else _ARRAYS
    if source.default_restore == "tensors":
        return _PATH
    if source.path.is_dir():
        return _choose_for_folder(source.path)
    if source.format == "onnx" and len(source.files) > 1:
        return _ONNX_FILES
    return _FOR_BYTES.get(source.format, _PATH)


def _choose_for_folder(folder: Path) -> str:
    if (folder / "modules.json").is_file():
        return _SENTENCES
    return _TRANSFORMERS if (folder / "config.json").is_file() else _PATH
