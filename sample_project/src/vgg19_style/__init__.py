"""VGG19's convolutional layers, restored from the package itself.

``vgg19_style.weights`` is a dict of float32 numpy arrays, named as the state dict of
`vgg19_style.model.VGG19`: kernels as ``block1_conv1.weight`` of shape (out, in, 3, 3), biases as
``block1_conv1.bias`` of shape (out,). They are restored when they are first asked for, and kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    weights: dict[str, NDArray[np.float32]]

__all__ = ["weights"]


def __getattr__(name: str) -> Any:
    if name != "weights":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import vggq  # noqa: PLC0415 - importing the package stays free

    restored = globals()["weights"] = vggq.load(__name__, "vgg19.vggq")
    return restored
