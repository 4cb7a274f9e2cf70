"""One packer at one rate on one model: bytes in a wheel, fidelity, accuracy, seconds.

Every packer keeps the same tensors exactly: those of fewer than two dimensions or 1,000 weights.
"""

from __future__ import annotations

import math
import os
import statistics
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors.numpy import load, save

import vggq
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fidelity_models import Model, State
    from fidelity_peers import Peer

_LEAST: Final = 1000
_FRESH: Final = 2
_RESTORES: Final = 9
_SECONDS: Final = 3.0
# A wheel is DEFLATE without a level.
_DEFLATE: Final = 6


@dataclass(frozen=True)
class Point:
    """What one packer made of one model at one rate.

    Attributes:
        packer: its name.
        setting: the rate in its own terms.
        size: bytes in a wheel.
        bits: of those, for each weight of the model.
        overall: SQNR of all quantized tensors together, in dB.
        worst: that of the worst of them.
        relative: of the mean over the tensors of error / energy, in dB.
        accuracy: the model's own, if it has one.
        pack: seconds, on all cores.
        restore: seconds on one core, a median.

    """

    packer: str
    setting: str
    size: int
    bits: float
    overall: float
    worst: float
    relative: float
    accuracy: float | None
    pack: float
    restore: float


def is_quantized(values: Any) -> bool:
    """Whether the packers are to quantize a tensor."""
    return bool(values.ndim >= 2 and values.size >= _LEAST and values.dtype == np.float32)


def quantized(state: State) -> State:
    """The tensors that are."""
    return {name: values for name, values in state.items() if is_quantized(values)}


def weights_of(model: Model) -> int:
    """How many weights a model has, those that are kept exactly included."""
    return sum(values.size for values in model.state.values())


def ours(model: Model, source: Path, packer: str, setting: str, options: dict[str, Any]) -> Point:
    """Pack with some options of our own."""
    target = source.with_name("ours.vggq")
    packed = pack(source, target, **options)
    with one_core():
        restored, seconds = timed(lambda: vggq.load(target))
    size = in_wheel(target.read_bytes())
    return point(model, (packer, setting), size, restored, (packed.seconds, seconds))


def theirs(model: Model, peer: Peer) -> Point:
    """Pack with a peer."""
    begin = time.perf_counter()
    content = _store(model, peer)
    packed = time.perf_counter() - begin
    with one_core():
        restored, seconds = timed(lambda: _restore(model, peer, content))
    return point(model, (peer.name, peer.setting), in_wheel(content), restored, (packed, seconds))


def _store(model: Model, peer: Peer) -> bytes:
    tensors = quantized(model.state)
    deviation = deviation_of(tensors)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        stored = threads.map(lambda values: peer.store(values, deviation), tensors.values())
        found = dict(zip(tensors, stored, strict=True))
    arrays = {
        f"{name}/{i}": np.ascontiguousarray(a) for name in found for i, a in enumerate(found[name])
    }
    return save(kept_exactly(model) | arrays)


def _restore(model: Model, peer: Peer, content: bytes) -> State:
    arrays, restored = load(content), {}
    for name, values in model.state.items():
        if name in arrays:
            restored[name] = arrays[name]
            continue
        parts = sorted(key for key in arrays if key.rpartition("/")[0] == name)
        restored[name] = peer.restore([arrays[key] for key in parts], values.shape)
    return restored


def kept_exactly(model: Model) -> State:
    """All other tensors."""
    return {name: values for name, values in model.state.items() if not is_quantized(values)}


def in_wheel(content: bytes) -> int:
    """Bytes that a file takes in a wheel: as it is, or deflated."""
    return min(len(content), len(zlib.compress(content, _DEFLATE)))


def point(
    model: Model,
    way: tuple[str, str],
    size: int,
    restored: State,
    seconds: tuple[float, float],
) -> Point:
    """Fidelity and accuracy of what was restored; a way is the packer and the setting."""
    shares, noises = [], []
    tensors = quantized(model.state)
    for name, values in tensors.items():
        noises.append(energy_of([values - restored[name]]))
        shares.append(noises[-1] / energy_of([values]))
    accuracy = model.accuracy(restored) if model.accuracy else None
    energy = energy_of(tensors.values())
    return Point(
        *way, size, size * 8 / weights_of(model),
        decibels(sum(noises) / energy), decibels(max(shares)), decibels(statistics.mean(shares)),
        accuracy, *seconds,
    )  # fmt: skip


def decibels(share: float) -> float:
    """Of noise in energy, as SQNR."""
    return -10 * math.log10(share) if share else math.inf


def deviation_of(tensors: State) -> float:
    """The root of the mean square of all weights."""
    return math.sqrt(energy_of(tensors.values()) / sum(v.size for v in tensors.values()))


def energy_of(arrays: Any) -> float:
    """The sum of squares."""
    return sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)


def timed(restore: Callable[[], State]) -> tuple[State, float]:
    """What it restores, and the median of up to nine times, three seconds in all or so.

    The first two do not count: memory is fresh.
    """
    times: list[float] = []
    while len(times) < _FRESH + _RESTORES and sum(times) < _SECONDS:
        begin = time.perf_counter()
        restored = restore()
        times.append(time.perf_counter() - begin)
    return restored, statistics.median(times[_FRESH:] or times)


@contextmanager
def one_core() -> Iterator[None]:
    """All on one core, threads that are started within included."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
