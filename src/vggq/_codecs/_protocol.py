"""The interface of a codec, which the manifest parser and the decoder rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer


class Codec(Protocol):
    """The decoding half of a codec, with the parameters of one tensor.

    The content is the decompressed entry of the tensor. A caller validates it before decoding it.
    """

    NAME: ClassVar[str]

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the manifest stores them."""
        ...

    def content_size(self, count: int) -> int:
        """Return the bytes of content of a tensor with `count` elements.

        Raises:
            ValueError: no tensor of this many elements has these parameters.

        """
        ...

    def validate(self, content: Buffer, count: int) -> None:
        """Validate content of the right size for `count` elements.

        Raises:
            ValueError: the content is damaged.

        """
        ...

    def decode_into(self, content: Buffer, out: NDArray[Any]) -> None:
        """Decode validated content into `out`, a contiguous one-dimensional array.

        The dtype of `out` is any floating-point dtype, or the dtype the tensor is restored as.
        """
        ...
