"""Pack a checkpoint into a packed file."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

from .. import _load, _threads
from ..errors import OptionError, TargetError
from .atomic_file import atomic_write
from .encoder import Encoder
from .evaluations import recorded_evaluation
from .goals import Size
from .importance import check_factor_names
from .model_layout import plan_model
from .model_remarks import remark_rest
from .options import OptionKeywords, Options
from .sources import check_patterns, check_unchanged, open_source
from .summary import restored_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._manifest import Manifest
    from .encoder import EncodedFile, Progress
    from .sources import Source

SUFFIX: Final = ".vggq"


@dataclass(frozen=True, slots=True)
class Packed:
    """The result of packing.

    Attributes:
        target: the packed file.
        manifest: its manifest, with the measured SQNR.
        size: its bytes.
        seconds: wall-clock time that packing took.
        remarks: one line for each fact that a packager should know: the table that was chosen, what
            else of the checkpoint is not packed, or tensors that are stored exactly because some of
            their values are not finite.

    """

    target: Path
    manifest: Manifest
    size: int
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Bytes of what the packed file restores to, divided by its own bytes."""
        return restored_size(self.manifest) / self.size


def pack(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    scratch: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[OptionKeywords],
) -> Packed:
    """Quantize and compress a checkpoint into a packed file.

    Args:
        source: the checkpoint, in any format of `vggq.packing.sources`.
        target: the file to write, ending in .vggq; it is replaced at once, when all is done.
        scratch: the folder for the target while it is written, on the same file system; by
            default the folder of the target.
        threads: the number of tensors to encode at once; by default the number of processors.
            The bytes do not depend on it.
        progress: called from time to time with the number of weights done, and the total.
        **options: the options of packing: see `vggq.packing.OPTIONS`.

    Raises:
        OptionError: an option is invalid, a pattern matches nothing, or no packed file is as
            small as `size`; the message then has the minimum.
        SourceError: the source cannot be read, or changed while it was read.
        TargetError: the target cannot be written, or is the source.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    ready = Options(**options).with_importance_read()
    return pack_with(source, target, ready, scratch=scratch, threads=threads, progress=progress)


def pack_with(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: Options,
    *,
    scratch: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Do the same as `pack`, with options that are validated, and with the factors read."""
    begin = time.perf_counter()
    if threads is not None and threads < 1:
        raise OptionError([("threads", f"expected at least 1, found {threads}")])
    source, target = Path(source), Path(target)
    threads = threads or _threads.count_processors()
    check_target(source, target)
    with open_source(source, options.read) as opened:
        check_names(options, [tensor.name for tensor in (*opened.tensors, *opened.kept)])
        planned, layouts = plan_model(opened)
        encoder = Encoder(planned, options, scratch or target.parent, threads, progress, layouts)
        # The target is opened first, so that a long run is not lost if it cannot be written.
        with atomic_write(target, scratch) as file, encoder.encode() as encoded:
            check_unchanged(opened, options.read)
            encoded.write_to(file)
            written = file.tell()
    seconds = time.perf_counter() - begin
    remarks = (*_all_remarks(planned, encoded), *_remark_evaluation(target, options))
    return Packed(target, encoded.manifest, written, seconds, remarks)


def _remark_evaluation(target: Path, options: Options) -> list[str]:
    """Return a remark if what `evaluation` records was measured on other tensors."""
    if options.evaluation is None or recorded_evaluation(options.to_record(), _load.load(target)):
        return []
    return ["evaluation was measured on other tensors, so it is not shown; run vggq tune again"]


def check_names(options: Options, names: Sequence[str]) -> None:
    """Reject options that name tensors which do not exist.

    Args:
        options: the options, with the factors read.
        names: the final names of all tensors.

    Raises:
        OptionError: a pattern matches no name, or a factor is of no tensor.

    """
    for option, patterns in options.patterns().items():
        check_patterns(option, patterns, names)
    if isinstance(options.goal, Size):
        check_factor_names(options.goal.factors, names)


def _all_remarks(source: Source, encoded: EncodedFile) -> tuple[str, ...]:
    remarks = (*source.remarks, *encoded.remarks, *remark_rest(source, encoded.manifest))
    if source.chosen_key is None:
        return remarks
    return (f"the state dict is under the key {source.chosen_key!r}", *remarks)


def check_target(source: Path, target: Path) -> None:
    """Reject a target that would overwrite something else.

    Raises:
        TargetError: the target does not end in .vggq, is a directory, or is the source or in it.

    """
    if target.suffix != SUFFIX:
        raise TargetError(f"expected a name that ends in {SUFFIX}", path=target)
    if "\0" in str(target):
        raise TargetError("cannot be written: the name contains a NUL", path=repr(str(target)))
    try:
        if target.is_dir():
            raise TargetError("a directory, not a file", path=target)
        if target.exists() and source.exists() and target.samefile(source):
            raise TargetError("the target is the source itself", path=target)
        # `Path.is_dir` raises an error for some names.
        is_folder = os.path.isdir(source)  # noqa: PTH112
        if is_folder and target.resolve().is_relative_to(source.resolve()):
            raise TargetError("the target is in the folder that is the source", path=target)
    except OSError as error:
        raise TargetError(f"cannot be written: {error.strerror}", path=target) from error
