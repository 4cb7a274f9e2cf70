"""The remark on what is stored exactly because it is outside the tensors of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._dtypes import STORAGE
from .sizes import megabytes

if TYPE_CHECKING:
    from .._manifest import Manifest
    from .._model_info import Member
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
    content = "graph and other data"
    if source.root is not None:
        content = f"{_list_largest(model.members)} and other files"
    described = _describe_rest(source.kept, content)
    return (f"{share} is stored exactly, outside its tensors: {described}",)


def _list_largest(members: tuple[Member, ...]) -> str:
    """Return the files that have the most bytes outside of tensors."""
    largest = sorted(members, key=lambda member: member.rest_size, reverse=True)[:_MAX_TENSORS]
    return ", ".join(f"{member.path!r} ({megabytes(member.rest_size)})" for member in largest)


def _describe_rest(kept: tuple[SourceTensor, ...], content: str) -> str:
    """Return the largest tensors in the rest, with the reason why each is there.

    Args:
        kept: the tensors in the rest.
        content: what else is there.

    """
    if not kept:
        return content
    largest = sorted(kept, key=_count_bytes, reverse=True)[:_MAX_TENSORS]
    parts = [
        f"{tensor.name!r} ({megabytes(_count_bytes(tensor))}: {tensor.problem})"
        for tensor in largest
    ]
    if others := len(kept) - len(largest):
        parts.append(f"{others} more tensors")
    return f"{', '.join(parts)}, {content}"


def _count_bytes(tensor: SourceTensor) -> int:
    """Return the bytes of a tensor; 0 if its dtype is not known."""
    return tensor.count * STORAGE[tensor.dtype].itemsize if tensor.dtype in STORAGE else 0
