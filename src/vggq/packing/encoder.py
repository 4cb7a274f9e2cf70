"""Encode all tensors of a source into the entries and the manifest of a packed file."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from .._container import build_header
from .._manifest import Manifest
from .._manifest_json import manifest_to_metadata
from .._memory_gate import MemoryGate
from .._threads import map_threaded
from ..errors import OptionError
from .codecs.raw import is_stored_exactly
from .compression import zstd_version
from .encoded_tensor import encode_tensor, quantize_as_float32
from .entries import store_tensors
from .frame_spool import FrameSpool
from .goals import Size
from .model_assembly import assemble_model
from .model_layout import group_aliases
from .rounded_tensor import quantize_in_file
from .scale_axes import check_axes
from .size_search import COARSEST, FINEST, SizeSearch
from .sizes import megabytes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from .._manifest import TensorInfo
    from .._model_info import Model
    from .encoded_tensor import EncodedTensor, Quantize
    from .model_layout import MemberLayout
    from .options import Options
    from .sources import Source, SourceTensor

ENCODER_VERSION: Final = 1
"""Incremented when the same source and options give other bytes than in an earlier release."""

EncodeTensor = Callable[["SourceTensor", "Options", float, "Quantize"], "EncodedTensor"]
"""Called with a tensor, the options, the scale and the function that quantizes it."""

Progress = Callable[[int, int], None]
"""Called with the number of weights done and the total."""

# Bits of a level beyond the log2 of its standard deviation in steps, including some for escapes.
_BITS_ABOVE_SPREAD: Final = 2.3
_BITS_PER_BYTE: Final = 8
# Encoding a weight takes about twelve bytes of memory.
_MAX_WEIGHTS_AT_WORK: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """The parts of a packed file.

    Attributes:
        manifest: the manifest.
        header: the first bytes of the file, which contain the manifest.
        frames: the bytes after the header; open until `close` is called.
        remarks: one line for each fact about the tensors that a packager should know.

    """

    manifest: Manifest
    header: bytes
    frames: FrameSpool
    remarks: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the packed file."""
        return len(self.header) + sum(self.frames.sizes)

    def write_to(self, file: IO[bytes]) -> None:
        """Write the packed file."""
        file.write(self.header)
        self.frames.copy_to(file)

    def close(self) -> None:
        """Delete the frames."""
        self.frames.close()


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encode a source with its options.

    Attributes:
        source: the open source.
        options: the options, with the factors of `importance` read.
        folder: the folder for frames that do not fit in memory.
        threads: the number of tensors to encode at once.
        progress: called from time to time. The number of attempts for a size is not known in
            advance, so each attempt takes half of the remaining progress.
        layouts: the files of the model to restore; none if only the tensors are restored.
        encode_tensor: encodes one tensor, as `encode_tensor` does.

    """

    source: Source
    options: Options
    folder: Path
    threads: int
    progress: Progress | None = None
    layouts: tuple[MemberLayout, ...] = ()
    encode_tensor: EncodeTensor = encode_tensor

    @contextmanager
    def encode_at(self, step: float) -> Iterator[EncodedFile]:
        """Encode the source with one step size where the goal is a size, whatever the size is.

        Args:
            step: the step size in units of `step_unit`.

        Raises:
            OptionError: a tensor lacks the axis that `scale` names.
            SourceError: a tensor cannot be read.
            MissingDependencyError: a library of the `build` extra is not installed.

        """
        check_axes(self.source.tensors, self.options)
        with closing(self._encode_once(step, self.progress)) as encoded:
            yield encoded

    @contextmanager
    def encode(self) -> Iterator[EncodedFile]:
        """Encode the source, within the size if the goal is a size; the file is closed at the end.

        Raises:
            OptionError: no packed file is as small as the size, or a tensor lacks the axis that
                `scale` names.
            SourceError: a tensor cannot be read.
            MissingDependencyError: a library of the `build` extra is not installed.

        """
        check_axes(self.source.tensors, self.options)
        goal = self.options.goal
        if isinstance(goal, Size):
            encoded = self._encode_within(goal.size)
        else:
            encoded = self._encode_once(1.0, self.progress)
        with closing(encoded):
            yield encoded

    def _encode_within(self, limit: int) -> EncodedFile:
        """Return the largest file within the limit among the attempts of a `SizeSearch`.

        Raises:
            OptionError: no attempt is within the limit.

        """
        search = self._new_search(limit)
        best: EncodedFile | None = None
        number = 0
        try:
            while (scale := search.propose()) is not None:
                attempt = self._encode_once(2.0**scale, self._progress_of_attempt(number))
                number += 1
                search.observe(attempt.size)
                best = _better_within(limit, best, attempt)
        except BaseException:
            if best is not None:
                best.close()
            raise
        if best is None:
            # The search ended at the coarsest scale: the last attempt is the smallest file.
            raise _too_small(limit, attempt)
        self._report_completion()
        return best

    def _new_search(self, limit: int) -> SizeSearch:
        tensors = _sharing_tensors(self.source, self.options)
        count = sum(tensor.count for tensor in tensors)
        return SizeSearch(limit, count, _guess_scale(tensors, count, limit))

    def _progress_of_attempt(self, number: int) -> Progress | None:
        progress = self.progress
        if progress is None:
            return None
        left = 0.5**number
        return lambda done, total: progress(int(total * (1 - left) + done * left / 2), total)

    def _report_completion(self) -> None:
        if self.progress:
            groups = group_aliases(self.source, self.options)
            total = sum(tensor.count for tensor, *_ in groups)
            self.progress(total, total)

    def _encode_once(self, scale: float, progress: Progress | None) -> EncodedFile:
        frames = FrameSpool(self.folder)
        try:
            infos, remarks = self._encode_tensors(scale, progress, frames)
            model = self._assemble_model(infos, frames)
            manifest = self._manifest(infos, model)
            sizes = {str(index): size for index, size in enumerate(frames.sizes)}
            header = build_header(sizes, manifest_to_metadata(manifest))
        except BaseException:
            frames.close()
            raise
        return EncodedFile(manifest, header, frames, remarks)

    def _assemble_model(self, infos: tuple[TensorInfo, ...], frames: FrameSpool) -> Model | None:
        if not self.layouts:
            return None
        return assemble_model(self.source, self.layouts, infos, frames)

    def _encode_tensors(
        self, scale: float, progress: Progress | None, frames: FrameSpool
    ) -> tuple[tuple[TensorInfo, ...], tuple[str, ...]]:
        """Store all frames, and return the description of each tensor and the remarks."""
        groups = group_aliases(self.source, self.options)
        quantize = quantize_in_file if self.layouts else quantize_as_float32
        tensors = [group[0] for group in groups]
        results = encode_all(
            tensors,
            self.options,
            self.threads,
            progress,
            scale,
            quantize=quantize,
            encode_one=self.encode_tensor,
        )
        with closing(results):
            infos, remarks = store_tensors(groups, results, frames)
        return tuple(infos[tensor.name] for tensor in self.source.tensors), remarks

    def _manifest(self, tensors: tuple[TensorInfo, ...], model: Model | None) -> Manifest:
        return Manifest(
            encoder=ENCODER_VERSION,
            zstd=zstd_version(),
            source_format=self.source.format,
            source_sha256=self.source.sha256,
            options=self.options.to_record(),
            tensors=tensors,
            model=model,
        )


def first_scale(source: Source, options: Options, limit: int) -> float:
    """Return log2 of the first step size that is tried for a size, in units of `step_unit`.

    Args:
        source: the open source.
        options: the options; the factors of `importance` do not matter.
        limit: the size in bytes.

    """
    tensors = _sharing_tensors(source, options)
    return _guess_scale(tensors, sum(tensor.count for tensor in tensors), limit)


def _sharing_tensors(source: Source, options: Options) -> list[SourceTensor]:
    """Return the tensors that share the size: quantized, and without a goal of their own."""
    return [
        tensor
        for tensor, *_ in group_aliases(source, options)
        if isinstance(options.goal_for(tensor.name), Size)
        and not is_stored_exactly(tensor, options.keep)
    ]


def _guess_scale(tensors: list[SourceTensor], count: int, limit: int) -> float:
    """Guess a scale, as if the weights of a tensor had one magnitude and nothing else took bytes.

    It is at least `FINEST`: the size may be far above that of the exact weights.

    Args:
        tensors: those that share the size.
        count: their weights.
        limit: the size in bytes.

    """
    if not count:
        return COARSEST
    bits = limit * _BITS_PER_BYTE / count
    roots = sum(tensor.count * math.log2(tensor.count) / 2 for tensor in tensors) / count
    return max(_BITS_ABOVE_SPREAD - 1 - bits - roots, FINEST)


def _better_within(
    limit: int, best: EncodedFile | None, attempt: EncodedFile
) -> EncodedFile | None:
    """Return the larger file within the limit, and close the other one."""
    if attempt.size > limit or (best is not None and attempt.size < best.size):
        attempt.close()
        return best
    if best is not None:
        best.close()
    return attempt


def _too_small(limit: int, smallest: EncodedFile) -> OptionError:
    # In bytes, since a rounded size might not be possible either. The header is a multiple of
    # eight bytes and contains the size, which may have more digits than the size that was given.
    problem = (
        f"{megabytes(limit)} is too small: the minimum is size = {smallest.size + 8}, "
        f"with an SQNR of {smallest.manifest.sqnr:.2f} dB"
    )
    return OptionError([("size", problem)])


def encode_all(
    tensors: list[SourceTensor],
    options: Options,
    threads: int,
    progress: Progress | None = None,
    scale: float = 1.0,
    *,
    quantize: Quantize = quantize_as_float32,
    encode_one: EncodeTensor = encode_tensor,
) -> Generator[EncodedTensor]:
    """Yield the result of `encode_one` for each tensor, in order, several at work at once.

    Raises:
        SourceError: a tensor cannot be read.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    counts = [tensor.count for tensor in tensors]
    gate = MemoryGate(_MAX_WEIGHTS_AT_WORK)
    done = 0

    def encode(tensor: SourceTensor) -> EncodedTensor:
        with gate.reserve(tensor.count):
            return encode_one(tensor, options, scale, quantize)

    results = map_threaded(
        encode,
        tensors,
        counts,
        threads,
        min_threaded=0,
        largest_first=False,
    )
    with closing(results):
        for count, result in zip(counts, results, strict=True):
            yield result
            done += count
            if progress:
                progress(done, sum(counts))
