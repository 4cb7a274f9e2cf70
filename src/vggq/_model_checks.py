"""Rules that relate the members, pieces and blocks of a model to each other and to the tensors."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Final

from . import _dtypes
from ._member_paths import find_collision, find_path_problem
from ._model_info import WHOLE_FOLDER
from .errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._manifest import TensorInfo
    from ._model_info import Member, Model

MAX_MEMBERS: Final = 4096
"""Maximum number of files of a model, and of its empty folders."""

MAX_BLOCK_SIZE: Final = 1 << 23
"""Maximum bytes of a part of the rest: the memory that restoring a file in pieces takes."""


def check_model(model: Model, tensors: Sequence[TensorInfo]) -> None:
    """Check that a model can be restored, each byte from one place and each file to its own path.

    The entries of the blocks are checked with those of the tensors, by `check_entries`.

    Raises:
        ManifestError: it cannot be.

    """
    _check_paths(model)
    for member in model.members:
        _check_member_size(member)
    _check_rest(model)
    _check_tensors(model, tensors)


def _check_paths(model: Model) -> None:
    paths = [member.path for member in model.members]
    if not 1 <= len(paths) <= MAX_MEMBERS:
        raise ManifestError(f"the model has {len(paths)} members, expected 1 to {MAX_MEMBERS}")
    if len(model.folders) > MAX_MEMBERS:
        raise ManifestError(
            f"the model has {len(model.folders)} empty folders, expected at most {MAX_MEMBERS}"
        )
    for path in (*paths, *model.folders):
        if problem := find_path_problem(path):
            raise ManifestError(f"path {short(path)} of a member {problem}")
    # An empty folder contains no member, and is in no other empty folder.
    if collision := find_collision([*paths, *model.folders]):
        first, second = map(short, collision)
        raise ManifestError(f"members {first} and {second} cannot be in one folder on every system")
    if model.main not in {*paths, WHOLE_FOLDER}:
        raise ManifestError(f"main is {short(model.main)}, which is no member")


def _check_member_size(member: Member) -> None:
    size = sum(piece.size for piece in member.pieces)
    if size != member.size:
        raise ManifestError(
            f"member {short(member.path)}: size is {member.size}, but its pieces have {size} bytes"
        )


def _check_rest(model: Model) -> None:
    for block in model.rest:
        if not 1 <= block.size <= MAX_BLOCK_SIZE:
            raise ManifestError(
                f"a block of the rest has {block.size} bytes, expected 1 to {MAX_BLOCK_SIZE}"
            )
    stored = sum(block.size for block in model.rest)
    if model.rest_size != stored:
        raise ManifestError(
            f"the members use {model.rest_size} bytes of the rest, which has {stored}"
        )


def _check_tensors(model: Model, tensors: Sequence[TensorInfo]) -> None:
    restored: set[int] = set()
    for piece in (piece for member in model.members for piece in member.pieces):
        if piece.tensor in restored:
            raise ManifestError("is in two pieces", tensor=tensors[piece.tensor].name)
        if piece.tensor is not None:
            restored.add(piece.tensor)
            _check_piece(tensors[piece.tensor])
    # An alias has the bytes of another tensor, and an empty tensor none.
    entries = {tensors[index].entry for index in restored}
    for tensor in tensors:
        if tensor.count and tensor.entry not in entries:
            raise ManifestError("is in no piece", tensor=tensor.name)


def _check_piece(tensor: TensorInfo) -> None:
    if not tensor.count:
        raise ManifestError("is in a piece, but has no bytes", tensor=tensor.name)
    if tensor.source_dtype in _dtypes.NARROW and tensor.stored_dtype != tensor.source_dtype:
        raise ManifestError(
            f"stored_dtype is {tensor.stored_dtype!r}, but the model holds {tensor.source_dtype!r}",
            tensor=tensor.name,
        )
