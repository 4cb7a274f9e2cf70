"""All tensors of a source to the entries of a packed file, and their manifest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .._container import write_header
from .._manifest import Manifest
from .._manifest_json import manifest_metadata
from ..errors import OptionError
from .codecs.raw import is_kept
from .encoded_tensor import encode_tensor
from .frame_spool import FrameSpool
from .optional import require
from .size_search import COARSEST, search
from .sizes import megabytes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from .._manifest import TensorInfo
    from .encoded_tensor import EncodedTensor
    from .options import Options
    from .sources import Source, SourceTensor

ENCODER_VERSION: Final = 1
"""Raised when the same source and options come to give other bytes than in a release before."""

Progress = Callable[[int, int], None]
"""Called with the number of weights done and of all."""

# What a level takes beyond the log2 of its spread in steps, with some for escapes.
_BITS_OF_A_STEP: Final = 2.3
_BYTE: Final = 8
# Half of a tensor's energy is error.
_LOST_BELOW: Final = 3


@dataclass(frozen=True, slots=True)
class Entries:
    """What a packed file is made of.

    Attributes:
        manifest: what it will say of itself.
        header: its first bytes, with the manifest.
        frames: what follows them; open until whoever made it closes it.
        remarks: what a packager has to know of the tensors, a line each.

    """

    manifest: Manifest
    header: bytes
    frames: FrameSpool
    remarks: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the packed file."""
        return len(self.header) + sum(self.frames.sizes)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A source, and how it is to be encoded.

    Attributes:
        source: open.
        options: what is asked for.
        folder: where frames wait that are too many for memory.
        threads: how many tensors are encoded at a time.
        progress: called from time to time. Nobody knows how many attempts a size takes: each gets
            half of what was left.

    """

    source: Source
    options: Options
    folder: Path
    threads: int
    progress: Progress | None = None

    @contextmanager
    def entries(self) -> Iterator[Entries]:
        """The entries, within the size if one is asked for.

        Raises:
            OptionError: no packed file is as small as that.
            SourceError: a tensor cannot be read.
            MissingDependencyError: a library of the `build` extra is not installed.

        """
        if self.options.size is None:
            with FrameSpool(self.folder) as frames:
                yield self._encode(frames, 1.0, self.progress)
            return
        with ExitStack() as stack:
            yield self._fit(self.options.size, stack)

    def _fit(self, budget: int, stack: ExitStack) -> Entries:
        kept: list[tuple[Entries, ExitStack]] = []
        fidelities: dict[int, float] = {}
        attempts = itertools.count()

        def size_of(scale: float) -> int:
            attempt = stack.enter_context(ExitStack())
            frames = attempt.enter_context(FrameSpool(self.folder))
            part = _attempt(self.progress, next(attempts)) if self.progress else None
            entries = self._encode(frames, 2.0**scale, part)
            fidelities[entries.size] = entries.manifest.sqnr
            if entries.size > budget or (kept and entries.size < kept[0][0].size):
                attempt.close()
            else:
                for _, other in kept:
                    other.close()
                kept[:] = [(entries, attempt)]
            return entries.size

        smallest = search(size_of, budget, self._shared, self._first_scale(budget))
        if not kept:
            # In bytes, since a rounded one may not be met either; the header, a multiple of eight
            # bytes, has the size in it, of more digits than that which was asked for.
            problem = (
                f"{megabytes(budget)} cannot be met: the smallest is size = {smallest + 8}, "
                f"at an SQNR of {fidelities[smallest]:.2f} dB"
            )
            raise OptionError([("size", problem)])
        if self.progress:
            whole = sum(tensor.count for tensor in self.source.tensors)
            self.progress(whole, whole)
        return kept[0][0]

    @property
    def _shared(self) -> int:
        """Weights that the size is shared among."""
        return sum(tensor.count for tensor in self._sharing())

    def _sharing(self) -> list[SourceTensor]:
        goals = ((tensor, self.options.goal(tensor.name)) for tensor in self.source.tensors)
        return [
            tensor
            for tensor, goal in goals
            if goal.bits is None and goal.sqnr is None and not is_kept(tensor, self.options.keep)
        ]

    def _first_scale(self, budget: int) -> float:
        """A guess, as if all weights of a tensor were of one size and nothing else took bytes."""
        tensors = self._sharing()
        count = sum(tensor.count for tensor in tensors)
        if not count:
            return COARSEST
        bits = budget * _BYTE / count
        roots = sum(tensor.count * math.log2(tensor.count) / 2 for tensor in tensors) / count
        return _BITS_OF_A_STEP - 1 - bits - roots

    def _encode(self, frames: FrameSpool, scale: float, progress: Progress | None) -> Entries:
        tensors, options = self.source.tensors, self.options
        with closing(encode_all(tensors, options, self.threads, progress, scale)) as encoded:
            infos, remarks = _collect(tensors, encoded, frames)
        manifest = Manifest(
            encoder=ENCODER_VERSION,
            zstd=".".join(map(str, require("zstandard", "build").ZSTD_VERSION)),
            source_format=self.source.format,
            source_sha256=self.source.sha256,
            options=options.to_table(),
            tensors=infos,
        )
        sizes = {str(number): size for number, size in enumerate(frames.sizes)}
        header = write_header(sizes, manifest_metadata(manifest))
        return Entries(manifest, header, frames, remarks)


def _attempt(progress: Progress, number: int) -> Progress:
    """The progress of an attempt as that of the whole search, which never goes back."""
    left = 0.5**number
    return lambda done, total: progress(int(total * (1 - left) + done * left / 2), total)


def encode_all(
    tensors: list[SourceTensor],
    options: Options,
    threads: int,
    progress: Progress | None = None,
    scale: float = 1.0,
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
            results = pool.map(lambda tensor: encode_tensor(tensor, options, scale), tensors)
            for tensor, result in zip(tensors, results, strict=True):
                yield result
                done += tensor.count
                if progress:
                    progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _collect(
    tensors: list[SourceTensor], encoded: Iterable[EncodedTensor], frames: FrameSpool
) -> tuple[tuple[TensorInfo, ...], tuple[str, ...]]:
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
    remarks += _lost(infos)
    return tuple(infos), tuple(remarks)


def _lost(infos: list[TensorInfo]) -> list[str]:
    """A line where tensors were quantized to little more than zeros."""
    lost = sorted((info.sqnr, info.name) for info in infos if info.sqnr < _LOST_BELOW)
    if not lost:
        return []
    worst, name = lost[0]
    quantized = sum(info.quantized for info in infos)
    how_many = f"{len(lost)} of {quantized} quantized tensors are all but lost"
    way_out = "ask for more, or give it a goal in `tensors`"
    return [
        f"{how_many}, under {_LOST_BELOW} dB: {name!r} at {worst:.2f} dB is the worst; {way_out}"
    ]
