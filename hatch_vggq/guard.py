"""What is checked of a finished archive, before anyone can upload it."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Final

import vggq
from vggq._codecs import Codebook
from vggq.encode.goals import MAX_BITS
from vggq.encode.options import Options
from vggq.encode.sizes import megabytes
from vggq.sources import file_digest, matches

from .archive import members
from .config import BASE, ConfigurationError
from .plugin import source_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from .config import Config, Model

_WARN_FROM: Final = 0.9
_LARGEST: Final = 3
_MUCH: Final = 0.1
_SLACK: Final = 64
_NO_WAY_OUT: Final = "  no number of bits would fit: split the package, or ask for a higher limit"


def check(
    root: Path,
    config: Config,
    artifact: Path,
    digests: Mapping[str, str | None],
    *,
    shipped_as: Callable[[str], str],
) -> None:
    """Remove an archive that must not be published: hatchling has put it in its place already.

    Args:
        root: the project's.
        config: the hook's.
        artifact: a wheel or an sdist.
        digests: of each target the SHA-256 that was prepared.
        shipped_as: a file's path in the project to its path in the archive.

    Raises:
        ConfigurationError: the archive lacks a file, has the raw weights, or is too large.

    """
    errors = [
        error
        for model in config.models
        for error in (
            _left_out(root, model, artifact, digests, shipped_as) + _leaked(root, model, artifact)
        )
    ]
    errors = errors or list(_too_large(root, config, artifact, shipped_as))
    if errors:
        artifact.unlink()
        raise ConfigurationError(errors)


def find_warning(config: Config, artifact: Path) -> str | None:
    """A line where an archive comes near the limit."""
    size, limit = artifact.stat().st_size, config.size_limit
    if limit is None or size < _WARN_FROM * limit:
        return None
    return f"vggq: {artifact.name} is {megabytes(size)}, {100 * size // limit} % of size-limit"


def _ships(root: Path, model: Model, artifact: Path) -> list[str]:
    """What of a model belongs into an archive: its source's files or its target."""
    return source_paths(root, model) if _carries_source(model, artifact) else [model.target]


def _carries_source(model: Model, artifact: Path) -> bool:
    return model.sdist == "source" and artifact.suffix != ".whl"


def _left_out(
    root: Path,
    model: Model,
    artifact: Path,
    digests: Mapping[str, str | None],
    shipped_as: Callable[[str], str],
) -> list[str]:
    key = "source" if _carries_source(model, artifact) else "target"
    errors = []
    for wanted in _ships(root, model, artifact):
        expected = digests.get(wanted) or file_digest(root / wanted)
        found = _digest_in(artifact, shipped_as(wanted))
        if found is None:
            errors.append(
                f"{model.key}.{key}: {wanted} is not in {artifact.name}: the build target's "
                "packages, include or exclude leave it out"
            )
        elif found != expected:
            errors.append(
                f"{model.key}.{key}: {wanted} in {artifact.name} is not what this build prepared: "
                "it was written meanwhile, build again"
            )
    return errors


def _digest_in(artifact: Path, name: str) -> str | None:
    """The SHA-256 of an archive's member; None where it has none of that name."""
    found = (hashlib.sha256(m.read()).hexdigest() for m in members(artifact) if m.name == name)
    return next(found, None)


def _leaked(root: Path, model: Model, artifact: Path) -> list[str]:
    if not (root / model.source).is_file() or _carries_source(model, artifact):
        return []
    return [
        f"{model.key}.source: the raw weights {path} are in {artifact.name} as {name}: exclude them"
        for path in source_paths(root, model)
        for name in _copies(root / path, artifact)
    ]


def _copies(path: Path, artifact: Path) -> list[str]:
    """The members of an archive that are the same file."""
    size = path.stat().st_size
    alike = {
        member.name: hashlib.sha256(member.read()).hexdigest()
        for member in members(artifact)
        if member.size == size
    }
    # The file is read once more only where something has its size.
    sha256 = file_digest(path) if alike else None
    return [name for name, found in alike.items() if found == sha256]


def _too_large(
    root: Path, config: Config, artifact: Path, shipped_as: Callable[[str], str]
) -> Iterator[str]:
    size, limit = artifact.stat().st_size, config.size_limit
    if limit is None or size <= limit:
        return
    yield f"{BASE}.size-limit: {artifact.name} is {megabytes(size)}, over {megabytes(limit)}"
    targets = [root / m.target for m in config.models if not _carries_source(m, artifact)]
    largest = sorted((row for target in targets for row in _tensors(target)), reverse=True)
    for stored, name, _, how in largest[:_LARGEST]:
        yield f"  {megabytes(stored)} {name}, {how}"
    shipped = {shipped_as(path) for m in config.models for path in _ships(root, m, artifact)}
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
            own = any(matches(tensor.name, [other.match]) for other in options.tensors)
            name, stored = tensor.name, weights.stored_size(tensor.name)
            yield (
                stored,
                name,
                0 if own else bits or 0,
                how if tensor.quantized else "stored exactly",
            )


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
