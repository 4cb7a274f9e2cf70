"""The interface of a codec, on which the manifest and the decoder rely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer


class Codec(Protocol):
    """The decoder of a codec, with the parameters of one tensor.

    The content is the decompressed entry of the tensor. Validate it before decoding it, unless
    `VALIDATES` is true: then `decode_into` validates it, and raises the error of `validate` before
    it writes anything.
    """

    NAME: ClassVar[str]
    VALIDATES: ClassVar[bool]

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as the manifest stores them."""
        ...

    def content_size(self, count: int) -> int:
        """Return the bytes of the content of a tensor with `count` elements.

        Raises:
            ValueError: a tensor with `count` elements cannot have these parameters.

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

        The dtype of `out` is a floating-point dtype, or the dtype that the tensor is restored as.
        """
        ...
