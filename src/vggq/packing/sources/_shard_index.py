"""The index of a checkpoint in several files, and its files, which are in the same folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from ..._json import parse_json
from ...errors import HeaderError, SourceError
from ._source import Contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from ._source import Format, ReadOptions, SourceTensor

_SHARD_HEAD_SIZE: Final = 1 << 17
_MAX_INDEX_SIZE: Final = 100_000_000


def read_index(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weight map of an index, and its metadata.

    Raises:
        SourceError: the file cannot be read, or is no index.

    """
    try:
        with path.open("rb") as file:
            table = parse_json(file.read(_MAX_INDEX_SIZE))
    except HeaderError as error:
        raise SourceError(f"not a valid shard index: {error.reason}") from error
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from error
    weight_map, metadata = table.get("weight_map"), table.get("metadata")
    if not isinstance(weight_map, dict):
        raise SourceError("weight_map must map each tensor to the name of a file in this folder")
    return weight_map, metadata if isinstance(metadata, dict) else {}


def is_file_name(value: Any) -> bool:
    """Return whether a value is a file name that cannot leave the folder of the index."""
    return (
        isinstance(value, str) and value not in {"", ".", ".."} and not set(value) & set("/\\:\0")
    )


def list_files(index: Path, names: Iterable[str]) -> list[Path]:
    """Return the index and its shards.

    Raises:
        SourceError: a shard does not exist.

    """
    shards = [index.parent / name for name in _order(names)]
    for shard in shards:
        # Unlike `Path.is_file`, this returns False for a name that is too long.
        if not os.path.isfile(shard):  # noqa: PTH113
            raise SourceError(f"no such file, but {index.name} lists it as a shard", path=shard)
    return [index, *shards]


def open_shards(
    stack: ExitStack,
    index: Path,
    names: Iterable[str],
    formats: Sequence[Format],
    read_options: ReadOptions,
) -> dict[str, Contents]:
    """Open all shards, which stay open until the stack is closed, and return them by name.

    Raises:
        SourceError: a shard cannot be read, or has none of the formats.

    """
    return {
        name: _open_shard(stack, index.parent / name, index, formats, read_options).as_member(
            member
        )
        for member, name in enumerate(_order(names), 1)
    }


def _order(names: Iterable[str]) -> list[str]:
    """Return the names of the shards in the order of a source's files."""
    return sorted(set(names))


def _open_shard(
    stack: ExitStack, shard: Path, index: Path, formats: Sequence[Format], read_options: ReadOptions
) -> Contents:
    try:
        with shard.open("rb") as file:
            head = file.read(_SHARD_HEAD_SIZE)
    except OSError as error:
        reason = f"cannot be read as a shard of {index.name}: {error.strerror}"
        raise SourceError(reason, path=shard) from error
    for fmt in formats:
        if fmt.matches(head):
            return stack.enter_context(fmt.open(shard, read_options))
    names = " or ".join(dict.fromkeys(fmt.name.removesuffix("-legacy") for fmt in formats))
    reason = f"not a {names} file, as a shard of {index.name} must be"
    raise SourceError(reason, path=shard)


def merge_shards(tensors: Sequence[SourceTensor], shards: Iterable[Contents]) -> Contents:
    """Return the contents of a checkpoint with the remarks and checksums of its shards."""
    shards = list(shards)
    remarks = dict.fromkeys(remark for shard in shards for remark in shard.remarks)
    checksums = tuple(checksum for shard in shards for checksum in shard.checksums)
    return Contents(list(tensors), remarks=tuple(remarks), checksums=checksums)
