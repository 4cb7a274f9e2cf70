"""A checkpoint to a packed file."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .. import _format, _processors
from .._container import write_header
from .._manifest import Manifest
from .._require import require
from ..errors import TargetError
from ..sources import check_patterns, check_unchanged, open_source
from .atomic import atomic_write
from .frames import Frames
from .options import Options, as_pairs
from .tensor import encode_tensor

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from .._manifest import TensorInfo
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
        remarks: what a packager has to know of the source, a line each: a table that was chosen,
            tensors stored exactly because some of their values are not finite.

    """

    target: Path
    manifest: Manifest
    size: int
    seconds: float
    remarks: tuple[str, ...] = ()

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
    license: str | None = None,  # noqa: A002 - the manifest's word
    description: str | None = None,
    url: str | None = None,
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
        license: the model's, an SPDX expression; recorded, as are the next two.
        description: what the model is.
        url: where it comes from.
        scratch: where the target is while it is written, on its file system; its folder by default.
        threads: how many tensors are encoded at a time; the number of processors by default.
            The bytes do not depend on it.
        progress: called from time to time with the number of weights done, and of all.

    Raises:
        OptionError: an option is out of range, or a pattern matches nothing.
        SourceError: the source cannot be read, or changed while it was.
        TargetError: the target cannot be written, or is the source.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    begin = time.perf_counter()
    options = Options(
        bits=bits,
        layout=layout,
        key=key,
        drop=_tuple(drop),
        rename=as_pairs(rename),
        keep=_tuple(keep),
        license=license,
        description=description,
        url=url,
    )
    target = Path(target)
    threads = threads or _processors.available()
    check_target(Path(source), target)
    with open_source(source, options.reading) as opened:
        check_patterns("keep", options.keep, [tensor.name for tensor in opened.tensors])
        # The target is opened before the work begins, so that an hour's work is not lost to it.
        with atomic_write(target, scratch) as file, Frames(scratch or target.parent) as frames:
            with closing(encode_all(opened.tensors, options, threads, progress)) as encoded:
                tensors, remarks = _collect(opened.tensors, encoded, frames)
            check_unchanged(Path(source), opened)
            manifest = _manifest(opened, options, tensors)
            sizes = {str(number): size for number, size in enumerate(frames.sizes)}
            file.write(write_header(sizes, _format.dump(manifest)))
            frames.copy_to(file)
            size = file.tell()
    if opened.key is not None:
        remarks.insert(0, f"its state dict is the table {opened.key!r}")
    return Packed(target, manifest, size, time.perf_counter() - begin, tuple(remarks))


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


def encode_all(
    tensors: list[SourceTensor],
    options: Options,
    threads: int,
    progress: Progress | None = None,
) -> Generator[EncodedTensor]:
    """What `encode_tensor` makes of each, in order; several are at work at a time.

    Raises:
        SourceError: a tensor cannot be read.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    total = sum(tensor.count for tensor in tensors)
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        try:
            results = pool.map(lambda tensor: encode_tensor(tensor, options), tensors)
            for tensor, result in zip(tensors, results, strict=True):
                yield result
                done += tensor.count
                if progress:
                    progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _collect(
    tensors: list[SourceTensor], encoded: Iterable[EncodedTensor], frames: Frames
) -> tuple[tuple[TensorInfo, ...], list[str]]:
    """What the manifest says of each tensor, and what there is to remark; frames go to `frames`."""
    infos = []
    remarks = []
    for tensor, result in zip(tensors, encoded, strict=True):
        # Tensors that come to the same share an entry.
        entry = frames.add(result.frame, (tensor.shape, tensor.dtype, result.measures))
        infos.append(result.describe(tensor, entry))
        if result.non_finite:
            remarks.append(
                f"tensor {tensor.name!r} is stored exactly: {result.non_finite} of its "
                f"{tensor.count} values are not finite"
            )
    return tuple(infos), remarks


def _manifest(source: Source, options: Options, tensors: tuple[TensorInfo, ...]) -> Manifest:
    return Manifest(
        encoder=ENCODER_VERSION,
        zstd=".".join(map(str, require("zstandard", "build").ZSTD_VERSION)),
        source_format=source.format,
        source_sha256=source.sha256,
        options=options.to_table(),
        tensors=tensors,
    )
