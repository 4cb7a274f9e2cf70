"""The model in the manifest's JSON: writing and parsing."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from . import _fields as fields
from ._json import is_count
from ._model_info import Member, Model, Piece, RestBlock
from .errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ._manifest import TensorInfo

_MODEL_KEYS: Final = {"main", "members", "rest"}
_OPTIONAL_KEYS: Final = {"folders"}
_MEMBER_KEYS: Final = {"path", "size", "sha256", "pieces"}
_BLOCK_KEYS: Final = {"entry", "size"}


def model_to_table(model: Model) -> dict[str, Any]:
    """Return the value of the manifest's key `model`."""
    return {
        "main": model.main,
        "members": [_member_to_table(member) for member in model.members],
        "rest": [{"entry": block.entry, "size": block.size} for block in model.rest],
        **({"folders": list(model.folders)} if model.folders else {}),
    }


def _member_to_table(member: Member) -> dict[str, Any]:
    return {
        "path": member.path,
        "size": member.size,
        "sha256": member.sha256,
        "pieces": [
            {"rest": piece.size} if piece.tensor is None else {"tensor": piece.tensor}
            for piece in member.pieces
        ],
    }


def model_from_table(table: object, tensors: Sequence[TensorInfo]) -> Model:
    """Parse the value of the manifest's key `model`.

    Args:
        table: the parsed JSON.
        tensors: the tensors of the manifest, whose sizes the pieces have.

    Raises:
        ManifestError: the value is not of the form that docs/format.md describes.

    """
    table = _require_object(table, "model", _MODEL_KEYS, _OPTIONAL_KEYS)
    prefix = "model: "
    members = fields.require_field(table, "members", fields.is_list, "a list", prefix)
    rest = fields.require_field(table, "rest", fields.is_list, "a list", prefix)
    return Model(
        main=fields.require_field(table, "main", fields.is_text, "a path", prefix),
        members=tuple(_parse_member(index, item, tensors) for index, item in enumerate(members)),
        rest=tuple(_parse_block(index, item) for index, item in enumerate(rest)),
        folders=tuple(_parse_folders(table.get("folders", []))),
    )


def _require_object(
    table: object, name: str, keys: set[str], optional: Collection[str] = ()
) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ManifestError(f"{name} is {short(table)}, expected an object")
    fields.require_keys(table, keys | (table.keys() & set(optional)), f"{name}: ")
    return table


def _parse_folders(value: object) -> list[str]:
    if not isinstance(value, list) or not all(map(fields.is_text, value)):
        raise ManifestError(f"model: folders is {short(value)}, expected a list of paths")
    return value


def _parse_member(index: int, table: object, tensors: Sequence[TensorInfo]) -> Member:
    name = f"members[{index}]"
    table = _require_object(table, name, _MEMBER_KEYS)
    prefix = f"{name}: "
    pieces = fields.require_field(table, "pieces", fields.is_list, "a list", prefix)
    return Member(
        path=fields.require_field(table, "path", fields.is_text, "a path", prefix),
        size=fields.require_field(table, "size", is_count, "a number of bytes", prefix),
        sha256=fields.require_field(
            table, "sha256", fields.is_digest, "64 hexadecimal digits", prefix
        ),
        pieces=tuple(_parse_piece(piece, tensors, name) for piece in pieces),
    )


def _parse_piece(table: object, tensors: Sequence[TensorInfo], member: str) -> Piece:
    if isinstance(table, dict) and len(table) == 1:
        ((kind, value),) = table.items()
        if kind == "rest" and is_count(value) and value > 0:
            return Piece(value)
        if kind == "tensor" and is_count(value) and value < len(tensors):
            return Piece(tensors[value].source_size, value)
    raise ManifestError(
        f"{member}: a piece is {short(table)}, expected a size of at least 1 as `rest`, or the "
        "index of a tensor as `tensor`"
    )


def _parse_block(index: int, table: object) -> RestBlock:
    name = f"rest[{index}]"
    table = _require_object(table, name, _BLOCK_KEYS)
    prefix = f"{name}: "
    return RestBlock(
        entry=fields.require_field(table, "entry", is_count, "the index of an entry", prefix),
        size=fields.require_field(table, "size", is_count, "a number of bytes", prefix),
    )
