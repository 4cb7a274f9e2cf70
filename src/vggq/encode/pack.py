"""A checkpoint to a packed file."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from .. import _format, _processors
from .._container import write_header
from .._manifest import Manifest
from .._require import require
from ..errors import TargetError
from ..sources import check_patterns, open_source
from .atomic import atomic_write
from .options import Options, as_pairs
from .tensor import encode_tensor

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..sources import Source, SourceTensor
    from .tensor import EncodedTensor

ENCODER_VERSION: Final = 1
"""Raised only when the same source and options come to give other bytes."""

SUFFIX: Final = ".vggq"

Progress = Callable[[int, int], None]
"""Called with the number of weights done and of all."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What packing came to.

    Attributes:
        target: the packed file.
        manifest: what it says of itself, the measured SQNR included.
        size: its bytes.
        seconds: wall-clock time that packing took.

    """

    target: Path
    manifest: Manifest
    size: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Bytes of the restored tensors to bytes of the packed file."""
        return self.manifest.float32_size / self.size


def pack(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    bits: int = 8,
    layout: str | None = None,
    key: str | None = None,
    drop: Iterable[str] = (),
    rename: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    keep: Iterable[str] = (),
    scratch: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Quantize and compress a checkpoint into a packed file.

    Args:
        source: the checkpoint: torch's (.pth, .pt, .bin), safetensors, Keras HDF5 or .npz.
        target: the file to write, ending in .vggq; it is replaced at once, when all is done.
        bits: 1 to 8; codebooks of 2^bits centroids.
        layout: "torch" turns a Keras source's names and axes into torch's.
        key: the table of a torch checkpoint that is the state dict, where that is not clear.
        drop: patterns of the names of tensors to leave out.
        rename: regular expressions, and what replaces them in every name, in order.
        keep: patterns of the final names of tensors to store exactly.
        scratch: where the target is while it is written, on its file system; its folder by default.
        threads: how many tensors are encoded at a time; the number of processors by default.
            The bytes do not depend on it.
        progress: called from time to time with the number of weights done, and of all.

    Raises:
        OptionError: an option is out of range, or a pattern matches nothing.
        SourceError: the source cannot be read.
        TargetError: the target cannot be written, or is the source.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    begin = time.perf_counter()
    options = Options(bits, layout, key, _tuple(drop), as_pairs(rename), _tuple(keep))
    target = Path(target)
    check_target(Path(source), target)
    with open_source(source, options.reading) as opened:
        check_patterns("keep", options.keep, [tensor.name for tensor in opened.tensors])
        encoded = _encode_all(opened.tensors, options, threads or _processors.available(), progress)
        manifest = _manifest(opened, options, encoded)
    with atomic_write(target, scratch) as file:
        size = _write(file, manifest, encoded)
    return Packed(target, manifest, size, time.perf_counter() - begin)


def _tuple(patterns: Iterable[str]) -> Sequence[str]:
    # A lone string would be taken for a list of one-letter patterns: it is for Options to refuse.
    return patterns if isinstance(patterns, str) else tuple(patterns)


def check_target(source: Path, target: Path) -> None:
    """Refuse a target that would destroy something.

    Raises:
        TargetError: it does not end in .vggq, is a folder, or is the source.

    """
    if target.suffix != SUFFIX:
        raise TargetError(f"{target} does not end in {SUFFIX}")
    if target.is_dir():
        raise TargetError(f"{target} is a directory")
    if target.exists() and source.exists() and target.samefile(source):
        raise TargetError(f"{target} is the source itself")


def _encode_all(
    tensors: list[SourceTensor], options: Options, threads: int, progress: Progress | None
) -> list[EncodedTensor]:
    total = sum(tensor.count for tensor in tensors)
    done = 0
    encoded = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            results: Iterator[EncodedTensor] = pool.map(
                lambda tensor: encode_tensor(tensor, options), tensors
            )
            for tensor, result in zip(tensors, results, strict=True):
                encoded.append(result)
                done += tensor.count
                if progress:
                    progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return encoded


def _manifest(source: Source, options: Options, encoded: list[EncodedTensor]) -> Manifest:
    rows = zip(source.tensors, encoded, _number(source, encoded), strict=True)
    return Manifest(
        encoder=ENCODER_VERSION,
        zstd=".".join(map(str, require("zstandard", "build").ZSTD_VERSION)),
        source_format=source.format,
        source_sha256=source.sha256,
        options=options.to_table(),
        tensors=tuple(result.describe(tensor, number) for tensor, result, number in rows),
    )


def _number(source: Source, encoded: list[EncodedTensor]) -> list[int]:
    """The entry of each tensor: those that come to the same share one."""
    entries: dict[object, int] = {}
    return [
        entries.setdefault((tensor.shape, tensor.dtype, result), len(entries))
        for tensor, result in zip(source.tensors, encoded, strict=True)
    ]


def _write(file: IO[bytes], manifest: Manifest, encoded: list[EncodedTensor]) -> int:
    pairs = zip(manifest.tensors, encoded, strict=True)
    frames = {tensor.entry: result.frame for tensor, result in pairs}
    sizes = {str(number): len(frame) for number, frame in frames.items()}
    file.write(write_header(sizes, _format.dump(manifest)))
    for frame in frames.values():
        file.write(frame)
    return file.tell()
