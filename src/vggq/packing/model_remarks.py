"""The remark on what is stored exactly because it is outside the tensors of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._dtypes import STORAGE
from .sizes import megabytes

if TYPE_CHECKING:
    from .._manifest import Manifest
    from .sources import Source, SourceTensor

_LARGE_SHARE: Final = 0.1
_MAX_TENSORS: Final = 3


def remark_rest(source: Source, manifest: Manifest) -> tuple[str, ...]:
    """Return one remark if the rest is more than a tenth of a model, or none.

    Args:
        source: the source, of which `kept` names the tensors in the rest.
        manifest: the manifest of the packed file.

    """
    model = manifest.model
    if model is None:
        return ()
    rest = model.rest_size
    if rest <= _LARGE_SHARE * model.size:
        return ()
    share = f"{100 * rest / model.size:.0f} % of the model ({megabytes(rest)})"
    return (f"{share} is stored exactly, outside its tensors: {_describe_rest(source.kept)}",)


def _describe_rest(kept: tuple[SourceTensor, ...]) -> str:
    """Return the largest tensors in the rest, with the reason why each is there."""
    if not kept:
        return "graph and other data"
    largest = sorted(kept, key=_count_bytes, reverse=True)[:_MAX_TENSORS]
    parts = [
        f"{tensor.name!r} ({megabytes(_count_bytes(tensor))}: {tensor.problem})"
        for tensor in largest
    ]
    if others := len(kept) - len(largest):
        parts.append(f"{others} more tensors")
    return f"{', '.join(parts)}, graph and other data"


def _count_bytes(tensor: SourceTensor) -> int:
    """Return the bytes of a tensor; 0 if its dtype is not known."""
    return tensor.count * STORAGE[tensor.dtype].itemsize if tensor.dtype in STORAGE else 0
