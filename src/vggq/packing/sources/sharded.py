"""Checkpoints in several files, with an index that maps each tensor to a file.

``model.safetensors.index.json`` and ``pytorch_model.bin.index.json``, as Hugging Face's libraries
write them: ``{"metadata": {…}, "weight_map": {tensor: file}}``, in the folder of the shards.
https://huggingface.co/docs/transformers/big_models#sharded-checkpoints
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from ...errors import SourceError
from . import safetensors, torch
from ._shard_index import is_file_name, list_files, merge_shards, open_shards, read_index
from ._source import Contents, Format, ReadOptions, SourceTensor, reject_options, unsupported_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHARD_FORMATS: Final = (safetensors.FORMAT, *torch.FORMATS)


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    weight_map = _read_weight_map(path)
    with ExitStack() as stack:
        options = ReadOptions(restore=read_options.restore)
        shards = open_shards(stack, path, weight_map.values(), _SHARD_FORMATS, options)
        yield merge_shards(_list_tensors(weight_map, shards), shards.values())


def _list_tensors(weight_map: dict[str, str], shards: dict[str, Contents]) -> list[SourceTensor]:
    """Return all tensors; one that the index does not list has a problem."""
    found = {
        shard: {tensor.name: tensor for tensor in contents.tensors}
        for shard, contents in shards.items()
    }
    for name, shard in weight_map.items():
        if name not in found[shard]:
            raise SourceError(f"missing from {shard}, where weight_map lists it", tensor=name)
    unlisted = [
        unsupported_tensor(name, f"found in {shard}, where weight_map does not list it")
        for shard, tensors in found.items()
        for name in tensors
        if weight_map.get(name) != shard
    ]
    return [found[shard][name] for name, shard in weight_map.items()] + unlisted


def _list_files(path: Path) -> list[Path]:
    return list_files(path, _read_weight_map(path).values())


def _read_weight_map(path: Path) -> dict[str, str]:
    weight_map, _ = read_index(path)
    if not all(map(is_file_name, weight_map.values())):
        raise SourceError("weight_map must map each tensor to the name of a file in this folder")
    return weight_map


def _matches(head: bytes) -> bool:
    return head.lstrip()[:1] == b"{"


FORMAT: Final = Format("sharded", (".index.json",), _matches, _open, file_lister=_list_files)
