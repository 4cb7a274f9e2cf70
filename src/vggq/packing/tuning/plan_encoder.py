"""Encode a source by plans, and keep what is needed again."""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ..codecs import raw
from ..compression import compress
from ..encoded_tensor import EncodedTensor, encode_tensor, quantize_as_float32
from ..encoder import Encoder, encode_all
from ..goals import Size
from ..rounded_tensor import quantize_in_file
from .plans import POSITIONS_PER_OCTAVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..encoded_tensor import Quantize
    from ..encoder import EncodedFile
    from ..model_layout import MemberLayout
    from ..options import Options
    from ..sources import Source, SourceTensor
    from .plans import Choice, Plan

# No trial searches for a size: the largest that an option can have.
_ANY_SIZE: Final = 1 << 62
_MAX_KEPT: Final = 1 << 29
"""Bytes of encoded tensors to keep; the oldest are forgotten, and encoded again if needed."""

Key = tuple[str, "Choice | None"]


class Measured(NamedTuple):
    """The stored bytes and the squared error of a tensor with a choice."""

    size: int
    noise: float


@dataclass(slots=True)
class FrameStore:
    """Encoded tensors up to a number of bytes. Threads may share it."""

    max_bytes: int = _MAX_KEPT
    _frames: dict[Key, EncodedTensor] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Key) -> EncodedTensor | None:
        """Return an encoded tensor, or None."""
        return self._frames.get(key)

    def put(self, key: Key, encoded: EncodedTensor) -> None:
        """Keep an encoded tensor, and forget the oldest ones if there are too many bytes."""
        with self._lock:
            if key in self._frames or len(encoded.frame) > self.max_bytes:
                return
            self._frames[key] = encoded
            self._bytes += len(encoded.frame)
            while self._bytes > self.max_bytes:
                self._bytes -= len(self._frames.pop(next(iter(self._frames))).frame)


@dataclass(slots=True)
class PlanEncoder:
    """Encode one source by plans.

    Attributes:
        source: the open source.
        layouts: the files of the model to restore; none if only the tensors are restored.
        options: the options that are not tuned.
        threads: the number of tensors to encode at once.
        names: the tensors that can be quantized.
        copies: those that are stored with another one, since they are tied to it.

    """

    source: Source
    layouts: tuple[MemberLayout, ...]
    options: Options
    threads: int
    names: tuple[str, ...]
    copies: frozenset[str] = frozenset()
    _store: FrameStore = field(default_factory=FrameStore)
    _measured: dict[Key, Measured] = field(default_factory=dict)
    _known: dict[str, dict[tuple[int | None, int], int]] = field(default_factory=dict)
    _overhead: int | None = None

    @contextmanager
    def encode(self, plan: Plan, options: Options | None = None) -> Iterator[EncodedFile]:
        """Encode the source by a plan.

        Args:
            plan: the plan.
            options: the options that the file records; by default those that are not tuned.

        Raises:
            SourceError: a tensor cannot be read.

        """
        with tempfile.TemporaryDirectory() as folder:
            encoder = Encoder(
                self.source,
                options or self._trial_options(),
                Path(folder),
                self.threads,
                None,
                self.layouts,
                encode_tensor=self._follow(plan),
            )
            with encoder.encode_at(1.0) as encoded:
                yield encoded

    def measure(self, plan: Mapping[str, Choice | None]) -> dict[str, Measured]:
        """Return the stored bytes and the noise of tensors; None as a choice is exact storage."""
        missing = {
            name: choice for name, choice in plan.items() if (name, choice) not in self._measured
        }
        if missing:
            tensors = [tensor for tensor in self.source.tensors if tensor.name in missing]
            quantize = quantize_in_file if self.layouts else quantize_as_float32
            encode = self._follow(missing)
            for _ in encode_all(
                tensors,
                self._trial_options(),
                self.threads,
                quantize=quantize,
                encode_one=encode,
            ):
                pass
        return {name: self._measured[name, choice] for name, choice in plan.items()}

    def estimate_size(self, plan: Plan) -> int:
        """Return about the bytes of the packed file of a plan."""
        measured = self.measure({name: plan.get(name) for name in self._stored()})
        return self._find_overhead() + sum(m.size for m in measured.values())

    def learn(self, plan: Plan, sizes: Mapping[str, int]) -> None:
        """Remember the stored bytes of tensors for `predict_size`."""
        for name, choice in plan.items():
            self._known.setdefault(name, {})[choice.axis, choice.position] = sizes[name]

    def predict_size(self, plan: Plan) -> int:
        """Return about the bytes of the packed file of a plan, from those of similar plans.

        A step size that is twice as large saves one bit per weight. A tensor that was in no trial
        is encoded.
        """
        counts = {tensor.name: tensor.count for tensor in self.source.tensors}
        sizes = (self._predict_bytes(name, counts[name], plan.get(name)) for name in self._stored())
        return self._find_overhead() + sum(sizes)

    def measure_size(self, options: Options, plan: Plan) -> int:
        """Return the bytes of the file of a plan if it records these options."""
        with self.encode(plan, options) as encoded:
            return encoded.size

    def _stored(self) -> list[str]:
        """Return the tensors that can be quantized and take bytes of their own."""
        return [name for name in self.names if name not in self.copies]

    def _find_overhead(self) -> int:
        """Return the bytes of a packed file apart from the tensors that can be quantized."""
        if self._overhead is None:
            with self.encode({}) as encoded:
                measured = self.measure(dict.fromkeys(self._stored()))
                self._overhead = encoded.size - sum(m.size for m in measured.values())
        return self._overhead

    def _predict_bytes(self, name: str, count: int, choice: Choice | None) -> int:
        # Only results of trials are used, which an interrupted run has again when it goes on.
        known = [
            (abs(position - choice.position), position, size)
            for (axis, position), size in self._known.get(name, {}).items()
            if choice is not None and axis == choice.axis
        ]
        if choice is None or not known:
            return self.measure({name: choice})[name].size
        _, position, size = min(known)
        bits = (position - choice.position) / POSITIONS_PER_OCTAVE
        return max(size + round(bits * count / 8), 0)

    def _trial_options(self) -> Options:
        return self.options.with_goal(Size(_ANY_SIZE, "overall"))

    def _follow(self, plan: Mapping[str, Choice | None]) -> Callable[..., EncodedTensor]:
        """Return a function that encodes a tensor as the plan says, or takes the former result."""

        def encode(
            tensor: SourceTensor, options: Options, scale: float, quantize: Quantize
        ) -> EncodedTensor:
            del scale
            key = (tensor.name, plan.get(tensor.name))
            encoded = self._store.get(key)
            if encoded is None:
                encoded = _encode(tensor, options, key[1], quantize)
                self._store.put(key, encoded)
            self._measured[key] = Measured(len(encoded.frame), encoded.noise)
            return encoded

        return encode


def _encode(
    tensor: SourceTensor, options: Options, choice: Choice | None, quantize: Quantize
) -> EncodedTensor:
    if choice is None:
        codec, content = raw.encode(tensor.read(), tensor.dtype)
        return EncodedTensor(codec, 0.0, 0.0, tensor.dtype, compress(content))
    return encode_tensor(tensor, options.with_scale(choice.axis), choice.step, quantize)
