"""Checkpoints in several files, with an index that maps each tensor to a file.

``model.safetensors.index.json`` and ``pytorch_model.bin.index.json``, as Hugging Face's libraries
write them: ``{"metadata": {…}, "weight_map": {tensor: file}}``, in the folder of the shards.
https://huggingface.co/docs/transformers/big_models#sharded-checkpoints
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from ..._json import parse_json
from ...errors import HeaderError, SourceError
from . import safetensors, torch
from ._source import Contents, Format, ReadOptions, SourceTensor, reject_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHARD_FORMATS: Final = (safetensors.FORMAT, *torch.FORMATS)
_SHARD_HEAD_SIZE: Final = 512
_MAX_INDEX_SIZE: Final = 100_000_000


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    weight_map = _read_weight_map(path)
    with ExitStack() as stack:
        shards = {
            name: {tensor.name: tensor for tensor in _open_shard(stack, path, name).tensors}
            for name in dict.fromkeys(weight_map.values())
        }
        yield Contents(_merge_shards(weight_map, shards))


def _open_shard(stack: ExitStack, index: Path, name: str) -> Contents:
    path = index.parent / name
    try:
        with path.open("rb") as file:
            head = file.read(_SHARD_HEAD_SIZE)
    except OSError as error:
        reason = f"cannot be read as a shard of {index.name}: {error.strerror}"
        raise SourceError(reason, path=path) from error
    fmt = next((fmt for fmt in _SHARD_FORMATS if fmt.matches(head)), None)
    if fmt is None:
        reason = f"not a safetensors or torch file, as a shard of {index.name} must be"
        raise SourceError(reason, path=path)
    return stack.enter_context(fmt.open(path, ReadOptions()))


def _merge_shards(
    weight_map: dict[str, str], shards: dict[str, dict[str, SourceTensor]]
) -> list[SourceTensor]:
    for shard, tensors in shards.items():
        for name in tensors:
            if weight_map.get(name) != shard:
                reason = f"found in {shard}, where weight_map does not list it"
                raise SourceError(reason, tensor=name)
    for name, shard in weight_map.items():
        if name not in shards[shard]:
            raise SourceError(f"missing from {shard}, where weight_map lists it", tensor=name)
    return [shards[shard][name] for name, shard in weight_map.items()]


def _list_files(path: Path) -> list[Path]:
    names = dict.fromkeys(_read_weight_map(path).values())
    shards = [path.parent / name for name in sorted(names)]
    for shard in shards:
        # Unlike `Path.is_file`, this returns False for a name that is too long.
        if not os.path.isfile(shard):  # noqa: PTH113
            raise SourceError(f"no such file, but {path.name} lists it as a shard", path=shard)
    return [path, *shards]


def _read_weight_map(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            table = parse_json(file.read(_MAX_INDEX_SIZE))
    except HeaderError as error:
        raise SourceError(f"not a valid shard index: {error.reason}") from error
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from error
    weight_map = table.get("weight_map")
    if not isinstance(weight_map, dict) or not all(map(_is_file_name, weight_map.values())):
        raise SourceError("weight_map must map each tensor to the name of a file in this folder")
    return weight_map


def _is_file_name(value: Any) -> bool:
    """Return whether a value is a file name that cannot leave the folder of the index."""
    return (
        isinstance(value, str) and value not in {"", ".", ".."} and not set(value) & set("/\\:\0")
    )


def _matches(head: bytes) -> bool:
    return head.lstrip()[:1] == b"{"


FORMAT: Final = Format("sharded", (".index.json",), _matches, _open, file_lister=_list_files)
