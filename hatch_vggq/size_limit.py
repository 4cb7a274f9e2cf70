"""Explain why an artifact is over `size-limit`, and what would make it fit."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import vggq
from vggq.packing import (
    MAX_BITS,
    Bits,
    megabytes,
    recorded_options,
    restored_size,
    stored_rest_size,
)

from .artifact_members import read_members
from .config import BASE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LISTED_TENSORS: Final = 3
_NOTABLE_SHARE: Final = 0.1
_ZIP_HEADER_SIZE: Final = 64
_NOTHING_FITS: Final = (
    "  no value of bits would make it fit: split the package, or ask the index for a higher limit"
)


@dataclass(frozen=True, slots=True)
class _StoredTensor:
    """A tensor's share of a packed file.

    Attributes:
        name: the tensor's name.
        size: stored bytes.
        bits: the width of its codes if the model's `bits` decides it, else 0.
        quality: how it is stored, in words.

    """

    name: str
    size: int
    bits: int
    quality: str


def explain_excess(
    artifact: Path, limit: int, targets: list[Path], expected: set[str]
) -> Iterator[str]:
    """Yield the lines of the error for an artifact that is over its limit.

    Args:
        artifact: a wheel or an sdist.
        limit: the maximum size in bytes.
        targets: the packed files in the artifact.
        expected: the names in the artifact of these, and of sources that it is meant to contain.

    """
    size = artifact.stat().st_size
    yield (
        f"{BASE_KEY}.size-limit: {artifact.name} is {megabytes(size)}, over the limit of "
        f"{megabytes(limit)}"
    )
    tensors = [tensor for target in targets for tensor in _read_tensors(target)]
    largest = sorted(tensors, key=lambda tensor: (tensor.size, tensor.name), reverse=True)
    for tensor in largest[:_LISTED_TENSORS]:
        yield f"  {megabytes(tensor.size)} {tensor.name}, {tensor.quality}"
    yield from (line for target in targets for line in _name_rest(target, limit))
    yield from _name_other_file(artifact, expected, limit)
    yield from _suggest_options(targets, tensors, size, limit)
    yield from (_describe_request(target) for target in targets)


def _name_other_file(artifact: Path, expected: set[str], limit: int) -> Iterator[str]:
    """Yield a line for the largest other file, if it takes a notable share of the limit."""
    others = [
        (member.size, member.name)
        for member in read_members(artifact)
        if member.name not in expected and ".dist-info/" not in member.name
    ]
    size, name = max(others, default=(0, ""))
    if size > limit * _NOTABLE_SHARE:
        yield (
            f"  {megabytes(size)} {name}, before compression; exclude it if the package does not "
            "need it"
        )


def _name_rest(target: Path, limit: int) -> Iterator[str]:
    """Yield a line for the rest of a model, if it takes a notable share of the limit."""
    with vggq.open(target) as weights:
        size = stored_rest_size(weights)
    if size > limit * _NOTABLE_SHARE:
        yield f"  {megabytes(size)} of {target.name} outside the model's tensors, stored exactly"


def _read_tensors(target: Path) -> Iterator[_StoredTensor]:
    """Yield the tensors of a packed file; tied tensors, which are stored once, appear once."""
    with vggq.open(target) as weights:
        options = recorded_options(weights.manifest)
        for tensor in {tensor.entry: tensor for tensor in weights.tensors.values()}.values():
            goal = options.goal_for(tensor.name)
            bits = goal.bits if isinstance(goal, Bits) and tensor.quantized else 0
            quality = f"{bits} bits" if bits else f"SQNR {tensor.sqnr:.1f} dB"
            yield _StoredTensor(
                tensor.name,
                weights.stored_size(tensor.name),
                0 if options.has_own_goal(tensor.name) else bits,
                quality if tensor.quantized else "stored exactly",
            )


def _suggest_options(
    targets: list[Path], tensors: Sequence[_StoredTensor], size: int, limit: int
) -> list[str]:
    """Return lines with the options of a model that would make the artifact fit."""
    target_size = _size_that_fits(targets[0], size, limit) if len(targets) == 1 else 0
    by_size = (
        [f"  size = {target_size} would fit: {megabytes(target_size)} for the packed file"]
        if target_size > 0
        else []
    )
    if not any(tensor.bits for tensor in tensors):
        return by_size or [_NOTHING_FITS]
    by_bits = _suggest_bits(tensors, size, limit)
    return [by_bits, *by_size] if by_bits else [_NOTHING_FITS]


def _size_that_fits(target: Path, size: int, limit: int) -> int:
    """Return a safe estimate of the bytes that a packed file may have in an artifact of `limit`."""
    # Compression reduces the header of a packed file, and little else of it.
    others = size - len(zlib.compress(target.read_bytes()))
    # Deflate expands data by at most a thousandth; the headers of the zip file come on top.
    return (limit - others) * 999 // 1000 - _ZIP_HEADER_SIZE


def _suggest_bits(tensors: Sequence[_StoredTensor], size: int, limit: int) -> str | None:
    for bits in range(MAX_BITS - 1, 0, -1):
        # Stored bytes shrink faster than in proportion to the bits, so the estimate is safe.
        saved = sum(
            tensor.size * (tensor.bits - bits) // tensor.bits
            for tensor in tensors
            if tensor.bits > bits
        )
        if size - saved <= limit:
            return f"  bits = {bits} would fit: about {megabytes(size - saved)}, by estimate"
    return None


def _describe_request(target: Path) -> str:
    with vggq.open(target) as weights:
        restored, packed = restored_size(weights.manifest), weights.size
        form = "restored" if weights.members else "as float32"
    return (
        f"  for a request to the index: {target.name} is {megabytes(restored)} {form} and "
        f"{megabytes(packed)} packed ({restored / packed:.2f}x)"
    )
