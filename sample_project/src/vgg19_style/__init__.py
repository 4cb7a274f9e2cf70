"""VGG19's convolutional layers, restored from the package itself.

``vgg19_style.weights`` is a dict of float32 numpy arrays with the names of the state dict of
`vgg19_style.model.VGG19`: kernels such as ``block1_conv1.weight`` of shape (out, in, 3, 3), and
biases such as ``block1_conv1.bias`` of shape (out,). The weights are restored at the first access
and kept in memory.
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
    import vggq  # noqa: PLC0415 - keeps the import of this package fast

    restored = globals()["weights"] = vggq.load(__name__, "vgg19.vggq")
    return restored
