"""An archive over `size-limit`: what makes it large, and what would fit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import vggq
from vggq._codecs import Codebook
from vggq.packing.goals import MAX_BITS
from vggq.packing.options import Options
from vggq.packing.sizes import megabytes

from .archive import members
from .config import BASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGEST: Final = 3
_MUCH: Final = 0.1
_SLACK: Final = 64
_NO_WAY_OUT: Final = "  no number of bits would fit: split the package, or ask for a higher limit"


def excess(artifact: Path, limit: int, targets: list[Path], shipped: set[str]) -> Iterator[str]:
    """The lines for one that has more than its limit.

    Args:
        artifact: a wheel or an sdist.
        limit: in bytes.
        targets: the packed files that it has.
        shipped: the names in it of these, and of sources that it is to carry.

    """
    size = artifact.stat().st_size
    yield f"{BASE}.size-limit: {artifact.name} is {megabytes(size)}, over {megabytes(limit)}"
    largest = sorted((row for target in targets for row in _tensors(target)), reverse=True)
    for stored, name, _, how in largest[:_LARGEST]:
        yield f"  {megabytes(stored)} {name}, {how}"
    yield from _besides(artifact, shipped, limit)
    yield from _ways_out(targets, largest, size, limit)
    yield from (_request(target) for target in targets)


def _besides(artifact: Path, shipped: set[str], limit: int) -> Iterator[str]:
    """The largest of the files that are no packed ones, where it takes much of the limit."""
    others = [
        (member.size, member.name)
        for member in members(artifact)
        if member.name not in shipped and ".dist-info/" not in member.name
    ]
    size, name = max(others, default=(0, ""))
    if size > limit * _MUCH:
        yield f"  {megabytes(size)} {name}, before compression: exclude it, if it need not ship"


def _tensors(target: Path) -> Iterator[tuple[int, str, int, str]]:
    """Stored bytes, name, the model's bits where they hold for it (else 0) and the way, of each."""
    with vggq.open(target) as weights:
        options = Options.from_table(weights.manifest.options)
        for tensor in {tensor.entry: tensor for tensor in weights.tensors.values()}.values():
            bits = options.goal(tensor.name).bits if isinstance(tensor.codec, Codebook) else None
            how = f"{bits} bits" if bits else f"SQNR {tensor.sqnr:.1f} dB"
            shared = 0 if options.own_goal(tensor.name) else bits or 0
            stored = weights.stored_size(tensor.name)
            yield stored, tensor.name, shared, how if tensor.quantized else "stored exactly"


def _ways_out(
    targets: list[Path], tensors: list[tuple[int, str, int, str]], size: int, limit: int
) -> list[str]:
    """What to write instead into a model's table."""
    fits = _share(targets[0], size, limit) if len(targets) == 1 else 0
    share = f"  size = {fits} would fit: {megabytes(fits)} for the packed file"
    shares = [share] if fits > 0 else []
    if any(bits for _, _, bits, _ in tensors):
        width = _narrower(tensors, size, limit)
        return [width, *shares] if width else [_NO_WAY_OUT]
    return shares or [_NO_WAY_OUT]


def _share(target: Path, size: int, limit: int) -> int:
    """Bytes that a packed file may have in an archive of the limit, by a safe estimate."""
    # An archive compresses a packed file's header, and little else of it.
    others = size - len(zlib.compress(target.read_bytes()))
    # Nothing that is deflated grows by more than a thousandth; what names its size may.
    return (limit - others) * 999 // 1000 - _SLACK


def _narrower(tensors: list[tuple[int, str, int, str]], size: int, limit: int) -> str | None:
    for bits in range(MAX_BITS - 1, 0, -1):
        # Stored bytes fall faster than in proportion to the bits: this errs on the safe side.
        saved = sum(stored * (was - bits) // was for stored, _, was, _ in tensors if was > bits)
        if size - saved <= limit:
            return f"  bits = {bits} would fit: about {megabytes(size - saved)}, by estimate"
    return None


def _request(target: Path) -> str:
    with vggq.open(target) as weights:
        floats, packed = weights.manifest.float32_size, weights.size
    return (
        f"  for a request to the index: {target.name} is {megabytes(floats)} as float32 and "
        f"{megabytes(packed)} packed ({floats / packed:.2f}x)"
    )
