"""Style transfer after Gatys, Ecker and Bethge.

"Image Style Transfer Using Convolutional Neural Networks", 2016,
https://doi.org/10.1109/CVPR.2016.265
"""

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
    """Paint the content image in the style of another image.

    L-BFGS minimizes the loss, and starts from the content image.

    Args:
        model: the network whose features are compared; average pooling gives smoother images.
        content: RGB from 0 to 1, of shape (1, 3, height, width).
        style: RGB from 0 to 1, of shape (1, 3, any height, any width).
        steps: the maximum number of evaluations of the loss.
        style_weight: the weight of the style's loss; the weight of the content's loss is 1.
        progress: called after each evaluation.

    Returns:
        RGB from 0 to 1, of the content's shape. The same inputs give the same image.

    """
    compute_loss = make_loss(model, content, style, style_weight)
    # L-BFGS flattens gradients with view(), which needs contiguous memory.
    image = content.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=steps, max_eval=steps, history_size=20)
    done = 0

    def evaluate() -> Tensor:
        nonlocal done
        optimizer.zero_grad()
        loss = compute_loss(image)
        loss.backward()
        done += 1
        if progress:
            progress(done, loss.item())
        return loss

    optimizer.step(evaluate)
    return image.detach().clamp(0, 1)


def make_loss(
    model: VGG19, content: Tensor, style: Tensor, style_weight: float = STYLE_WEIGHT
) -> Callable[[Tensor], Tensor]:
    """Return the loss that `transfer` minimizes, as a function of the image.

    The error of each layer is divided by the mean square of its target, so that the scale of a
    layer does not matter.

    Args:
        model: as for `transfer`.
        content: as for `transfer`.
        style: as for `transfer`.
        style_weight: as for `transfer`.

    """
    model.requires_grad_(requires_grad=False)
    with torch.no_grad():
        target = model.activations(content, [CONTENT_LAYER])[CONTENT_LAYER]
        grams = {k: compute_gram(v) for k, v in model.activations(style, STYLE_LAYERS).items()}

    def compute_loss(image: Tensor) -> Tensor:
        features = model.activations(image, [*STYLE_LAYERS, CONTENT_LAYER])
        content_loss = torch.nn.functional.mse_loss(features[CONTENT_LAYER], target)
        style_loss = sum(
            (torch.nn.functional.mse_loss(compute_gram(features[k]), g) / g.square().mean())
            for k, g in grams.items()
        )
        loss: Tensor = content_loss / target.square().mean() + style_weight * style_loss
        return loss

    return compute_loss


def compute_gram(features: Tensor) -> Tensor:
    """Return the Gram matrix (channels, channels) of features (1, channels, height, width)."""
    flat = features.flatten(2).squeeze(0)
    return flat @ flat.T / flat.shape[1]
