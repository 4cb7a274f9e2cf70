"""Checkpoints in several files, and the index that says which tensor is in which.

``model.safetensors.index.json`` and ``pytorch_model.bin.index.json``, as Hugging Face's libraries
write them: ``{"metadata": {…}, "weight_map": {tensor: file}}``, the files beside the index.
https://huggingface.co/docs/transformers/big_models#sharded-checkpoints
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from ..._container import parse_json
from ...errors import HeaderError, SourceError
from . import safetensors, torch
from ._source import Contents, Format, ReadOptions, SourceTensor, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHARDS: Final = (safetensors.FORMAT, *torch.FORMATS)
_HEAD_BYTES: Final = 512
_MOST_BYTES: Final = 100_000_000


@contextmanager
def _open(path: Path, reading: ReadOptions) -> Iterator[Contents]:
    refuse(path, FORMAT.name, layout=reading.layout, key=reading.key)
    weight_map = _read(path)
    with ExitStack() as stack:
        found = {
            name: {tensor.name: tensor for tensor in _enter(stack, path.parent / name).tensors}
            for name in dict.fromkeys(weight_map.values())
        }
        yield Contents(_listed(path, weight_map, found))


def _enter(stack: ExitStack, shard: Path) -> Contents:
    try:
        with shard.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise SourceError(f"{shard} is listed in the index, and: {error.strerror}") from error
    fmt = next((fmt for fmt in _SHARDS if fmt.matches(head)), None)
    if fmt is None:
        raise SourceError(f"{shard} is neither safetensors nor torch's, as a shard has to be")
    return stack.enter_context(fmt.open(shard, ReadOptions()))


def _listed(
    path: Path, weight_map: dict[str, str], found: dict[str, dict[str, SourceTensor]]
) -> list[SourceTensor]:
    for shard, tensors in found.items():
        for name in tensors:
            if weight_map.get(name) != shard:
                raise SourceError(f"{path} does not list tensor {name!r} of {shard}")
    for name, shard in weight_map.items():
        if name not in found[shard]:
            raise SourceError(f"{path} lists tensor {name!r}, which {shard} does not hold")
    return [found[shard][name] for name, shard in weight_map.items()]


def _files(path: Path) -> list[Path]:
    names = dict.fromkeys(_read(path).values())
    shards = [path.parent / name for name in sorted(names)]
    for shard in shards:
        # Unlike Path's, this says of a name that is too long that there is no such file.
        if not os.path.isfile(shard):  # noqa: PTH113
            raise SourceError(f"{shard} is listed in the index, and there is no such file")
    return [path, *shards]


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            table = parse_json(file.read(_MOST_BYTES))
    except HeaderError as error:
        raise SourceError(f"{path} is no index of shards: {error}") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    weight_map = table.get("weight_map")
    if not isinstance(weight_map, dict) or not all(map(_is_name, weight_map.values())):
        raise SourceError(f"{path} has no weight_map of tensors to files beside it")
    return weight_map


def _is_name(value: Any) -> bool:
    """Whether a shard's name cannot lead out of the index's folder."""
    return (
        isinstance(value, str) and value not in {"", ".", ".."} and not set(value) & set("/\\:\0")
    )


def _matches(head: bytes) -> bool:
    return head.lstrip()[:1] == b"{"


FORMAT: Final = Format("sharded", (".index.json",), _matches, _open, files=_files)
