"""The models that `fidelity.py` packs: VGG19, MiniLM, and a small net of each kind.

MiniLM is a published transformer, a sentence encoder of six layers. The two small models are
trained here, in a minute or two, on the handwritten digits that ship with scikit-learn, with fixed
seeds. Their accuracy is measured on held-out digits. Each has over a million weights, so that the
size of a header does not matter, and no tensor that is too large for exact k-means.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from fetch_minilm import WEIGHTS
from safetensors.numpy import load_file
from sklearn.datasets import load_digits
from torch import nn

from vggq.packing import Options
from vggq.packing.sweeps import original_state

if TYPE_CHECKING:
    from collections.abc import Callable

VGG19_PATH: Final = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
MODEL_NAMES: Final = ("vgg19", "minilm", "convnet", "transformer")

_SEED: Final = 0
_EPOCHS: Final = 12
_BATCH: Final = 64
_HELD_OUT: Final = 497
_WIDTH: Final = 128

State = dict[str, Any]


@dataclass(frozen=True)
class BenchmarkModel:
    """A model to pack.

    Attributes:
        name: the name in the report.
        state: the state dict as arrays.
        accuracy: returns the share of held-out digits that a state dict classifies correctly;
            None for VGG19 and MiniLM.

    """

    name: str
    state: State
    accuracy: Callable[[State], float] | None = None


def load_model(name: str, folder: Path) -> BenchmarkModel:
    """Return one of the models; a small one is trained first if the folder does not contain it."""
    if name == "vgg19":
        if not VGG19_PATH.exists():
            raise SystemExit(
                f"{VGG19_PATH}: no such file; run `python sample_project/fetch_weights.py`"
            )
        return BenchmarkModel("VGG19", original_state(VGG19_PATH, Options(layout="torch")))
    if name == "minilm":
        if not WEIGHTS.exists():
            raise SystemExit(f"{WEIGHTS}: no such file; run `python benchmarks/fetch_minilm.py`")
        return BenchmarkModel("MiniLM", load_file(WEIGHTS))
    torch.manual_seed(_SEED)
    module: nn.Module = ConvNet() if name == "convnet" else Transformer()
    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(_SEED).permutation(len(digits))
    images = torch.tensor(pixels[order] / 16, dtype=torch.float32)
    targets = torch.tensor(digits[order])
    trained = folder / "trained.pth"
    if not trained.exists():
        _train(module, images[_HELD_OUT:], targets[_HELD_OUT:])
        torch.save(module.state_dict(), trained)
    state = {key: value.numpy().copy() for key, value in torch.load(trained).items()}

    def accuracy(restored: State) -> float:
        module.load_state_dict({key: torch.from_numpy(value) for key, value in restored.items()})
        with torch.inference_mode():
            predicted = module.eval()(images[:_HELD_OUT]).argmax(1)
        return float((predicted == targets[:_HELD_OUT]).float().mean())

    return BenchmarkModel("conv net" if name == "convnet" else "transformer", state, accuracy)


class ConvNet(nn.Module):
    """A network of eight 3x3 convolutions, six of them residual, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(1, 64), _block(64, _WIDTH), nn.MaxPool2d(2))
        self.blocks = nn.ModuleList(_block(_WIDTH, _WIDTH) for _ in range(6))
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * _WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 10)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores of shape (batch, 10) for images of shape (batch, 64)."""
        features = self.stem(images.reshape(-1, 1, 8, 8))
        for block in self.blocks:
            features = features + block(features)
        scores: torch.Tensor = self.head(features)
        return scores


def _block(in_channels: int, out_channels: int) -> nn.Module:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class Transformer(nn.Module):
    """A transformer of six layers over the sixteen 2x2 patches of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, _WIDTH)
        self.positions = nn.Parameter(torch.randn(16, _WIDTH) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                _WIDTH, 4, 4 * _WIDTH, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(6)
        )
        self.head = nn.Linear(_WIDTH, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores of shape (batch, 10) for images of shape (batch, 64)."""
        patches = images.reshape(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
        features = self.embed(patches) + self.positions
        for layer in self.layers:
            features = layer(features)
        scores: torch.Tensor = self.head(features.mean(1))
        return scores


def _train(module: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> None:
    steps = _EPOCHS * -(-len(images) // _BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(images)).split(_BATCH):
            loss = nn.functional.cross_entropy(module(images[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
