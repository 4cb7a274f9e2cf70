"""Style transfer after Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural
Networks", 2016, https://doi.org/10.1109/CVPR.2016.265.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .model import VGG19

CONTENT_LAYER: Final = "block4_relu2"
STYLE_LAYERS: Final = tuple(f"block{block}_relu1" for block in range(1, 6))
STYLE_WEIGHT: Final = 3.0

Progress = Callable[[int, float], None]
"""Called with the number of evaluations so far and the loss."""


def transfer(
    model: VGG19,
    content: Tensor,
    style: Tensor,
    *,
    steps: int = 200,
    style_weight: float = STYLE_WEIGHT,
    progress: Progress | None = None,
) -> Tensor:
    """The content image in the style of the other, by L-BFGS from the content image.

    Args:
        model: gives the features; average pooling gives the smoother images.
        content: RGB from 0 to 1, of shape (1, 3, height, width).
        style: likewise, of any size.
        steps: the number of evaluations of the loss.
        style_weight: of the style's loss against the content's.
        progress: called after each evaluation.

    Returns:
        RGB from 0 to 1, of the content's shape. The same inputs give the same image.

    """
    loss_of = objective(model, content, style, style_weight)
    # L-BFGS wants its gradients without strides.
    image = content.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=steps, max_eval=steps, history_size=20)
    done = 0

    def evaluate() -> Tensor:
        nonlocal done
        optimizer.zero_grad()
        loss = loss_of(image)
        loss.backward()
        done += 1
        if progress:
            progress(done, loss.item())
        return loss

    optimizer.step(evaluate)
    return image.detach().clamp(0, 1)


def objective(
    model: VGG19, content: Tensor, style: Tensor, style_weight: float = STYLE_WEIGHT
) -> Callable[[Tensor], Tensor]:
    """The loss that `transfer` minimizes, as a function of the image.

    Args are as of `transfer`. Content and style count relative to the mean squares of what is to
    be met, so that layers of any scale weigh the same.
    """
    model.requires_grad_(requires_grad=False)
    with torch.no_grad():
        target = model.activations(content, [CONTENT_LAYER])[CONTENT_LAYER]
        grams = {k: gram(v) for k, v in model.activations(style, STYLE_LAYERS).items()}

    def loss_of(image: Tensor) -> Tensor:
        found = model.activations(image, [*STYLE_LAYERS, CONTENT_LAYER])
        content_loss = torch.nn.functional.mse_loss(found[CONTENT_LAYER], target)
        style_loss = sum(
            (torch.nn.functional.mse_loss(gram(found[k]), g) / g.square().mean())
            for k, g in grams.items()
        )
        loss: Tensor = content_loss / target.square().mean() + style_weight * style_loss
        return loss

    return loss_of


def gram(features: Tensor) -> Tensor:
    """Correlations of the channels, (channels, channels), of features (1, channels, h, w)."""
    flat = features.flatten(2).squeeze(0)
    return flat @ flat.T / flat.shape[1]
