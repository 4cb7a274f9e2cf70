"""The models that `fidelity.py` packs: VGG19, and two that are trained here in a minute or two.

Both learn the handwritten digits that ship with scikit-learn, with fixed seeds, and judge a state
dict by the digits that they have not seen. They have over a million weights each, so that headers
do not decide who is smallest, and no tensor too large for exact k-means.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from vggq.packing import Options
from vggq.packing.sweeps import original

if TYPE_CHECKING:
    from collections.abc import Callable

VGG19: Final = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
NAMES: Final = ("vgg19", "convnet", "transformer")

_SEED: Final = 0
_EPOCHS: Final = 12
_BATCH: Final = 64
_HELD_OUT: Final = 497
_WIDTH: Final = 128

State = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A state dict, and what it is worth: the share of held-out digits that it tells rightly."""

    name: str
    state: State
    accuracy: Callable[[State], float] | None = None


def find(name: str, folder: Path) -> Model:
    """One of the three; a trained one is kept in the folder."""
    if name == "vgg19":
        if not VGG19.exists():
            raise SystemExit(f"{VGG19} is not there: python sample_project/fetch_weights.py")
        return Model("VGG19", original(VGG19, Options(layout="torch")))
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
            found = module.eval()(images[:_HELD_OUT]).argmax(1)
        return float((found == targets[:_HELD_OUT]).float().mean())

    return Model("conv net" if name == "convnet" else "transformer", state, accuracy)


class ConvNet(nn.Module):
    """Eight 3x3 convolutions, with residuals, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(1, 64), _block(64, _WIDTH), nn.MaxPool2d(2))
        self.blocks = nn.ModuleList(_block(_WIDTH, _WIDTH) for _ in range(6))
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * _WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 10)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """From (batch, 64) to (batch, 10)."""
        found = self.stem(images.reshape(-1, 1, 8, 8))
        for block in self.blocks:
            found = found + block(found)
        scores: torch.Tensor = self.head(found)
        return scores


def _block(before: int, after: int) -> nn.Module:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class Transformer(nn.Module):
    """Six layers over the sixteen 2x2 patches of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, _WIDTH)
        self.places = nn.Parameter(torch.randn(16, _WIDTH) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                _WIDTH, 4, 4 * _WIDTH, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(6)
        )
        self.head = nn.Linear(_WIDTH, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """From (batch, 64) to (batch, 10)."""
        patches = images.reshape(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 16, 4)
        found = self.embed(patches) + self.places
        for layer in self.layers:
            found = layer(found)
        scores: torch.Tensor = self.head(found.mean(1))
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
