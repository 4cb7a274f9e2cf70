"""A checkpoint to a packed file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import _threads
from ..errors import OptionError, TargetError
from .atomic_file import atomic_write
from .encoder import Encoder
from .goals import AIMS
from .importance import check_weights
from .options import Options, as_pairs, as_patterns
from .sources import check_patterns, check_unchanged, open_source

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from .._manifest import Manifest
    from .encoder import Entries, Progress
    from .goals import Override
    from .importance import Weights
    from .sources import Source

SUFFIX: Final = ".vggq"


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
    bits: int | None = None,
    sqnr: float | None = None,
    size: int | str | None = None,
    aim: str = AIMS[0],
    dependent: bool = True,
    weights: str | os.PathLike[str] | Weights | None = None,
    tensors: Iterable[Override | Mapping[str, Any]] = (),
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
        source: the checkpoint, of any format of `vggq.packing.sources`.
        target: the file to write, ending in .vggq; it is replaced at once, when all is done.
        bits: 1 to 8; codebooks of 2^bits centroids. 8 where neither of the next two is given.
        sqnr: every quantized tensor is restored with at least so many decibels, in few bytes.
        size: the packed file has at most so many bytes, or "15 MB", and the least error for it.
        aim: which error: "relative" to each tensor's energy, or "overall".
        dependent: levels on a grid may depend on those before: a few percent smaller, slower to
            restore.
        weights: for a size, how much the error of each tensor counts, by name, 1 where it is not
            told; or a JSON file of that.
        tensors: other goals for some tensors, such as {"match": "conv1.*", "bits": 8}; the first
            that matches holds.
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
        OptionError: an option is out of range, a pattern matches nothing, or no packed file is as
            small as `size`; it says then what the smallest is.
        SourceError: the source cannot be read, or changed while it was.
        TargetError: the target cannot be written, or is the source.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    begin = time.perf_counter()
    options = Options.from_table(
        {
            "bits": bits,
            "sqnr": sqnr,
            "size": size,
            "aim": aim,
            "dependent": dependent,
            "weights": weights,
            "tensors": tuple(tensors),
            "layout": layout,
            "key": key,
            "drop": as_patterns(drop),
            "rename": as_pairs(rename),
            "keep": as_patterns(keep),
            "license": license,
            "description": description,
            "url": url,
        }
    ).loaded()
    if threads is not None and threads < 1:
        raise OptionError([("threads", f"expected at least 1, found {threads}")])
    target = Path(target)
    threads = threads or _threads.available()
    check_target(Path(source), target)
    with open_source(source, options.reading) as opened:
        names = [tensor.name for tensor in opened.tensors]
        for option, patterns in options.patterns.items():
            check_patterns(option, patterns, names)
        check_weights(options.factors, names)
        work = Encoder(opened, options, scratch or target.parent, threads, progress)
        # The target is opened before the work begins, so that an hour's work is not lost to it.
        with atomic_write(target, scratch) as file, work.entries() as entries:
            check_unchanged(Path(source), opened)
            file.write(entries.header)
            entries.frames.copy_to(file)
            written = file.tell()
    seconds = time.perf_counter() - begin
    return Packed(target, entries.manifest, written, seconds, _remarks(opened, entries))


def _remarks(source: Source, entries: Entries) -> tuple[str, ...]:
    if source.key is None:
        return entries.remarks
    return (f"its state dict is the table {source.key!r}", *entries.remarks)


def check_target(source: Path, target: Path) -> None:
    """Refuse a target that would destroy something.

    Raises:
        TargetError: it does not end in .vggq, is a folder, or is the source.

    """
    if target.suffix != SUFFIX:
        raise TargetError(f"{target} does not end in {SUFFIX}")
    if "\0" in str(target):
        raise TargetError(f"{str(target)!r} cannot be written: no file has a NUL in its name")
    try:
        if target.is_dir():
            raise TargetError(f"{target} is a directory")
        if target.exists() and source.exists() and target.samefile(source):
            raise TargetError(f"{target} is the source itself")
    except OSError as error:
        raise TargetError(f"{target} cannot be written: {error.strerror}") from error
