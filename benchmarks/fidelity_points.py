"""Measure a packer at one rate on one model: bytes in a wheel, fidelity, accuracy, seconds.

Every packer stores the same tensors exactly: those of fewer than two dimensions or 1,000 weights.
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

    from fidelity_models import BenchmarkModel, State
    from fidelity_peers import Peer

_MIN_QUANTIZED_WEIGHTS: Final = 1000
_WARMUP_ROUNDS: Final = 2
_MAX_TIMED_ROUNDS: Final = 9
_MAX_SECONDS: Final = 3.0
# Build backends compress wheels at zlib's default level.
_DEFLATE_LEVEL: Final = 6


@dataclass(frozen=True)
class Point:
    """The result of one packer at one rate on one model.

    Attributes:
        packer: the name of the packer.
        setting: the rate, in the packer's own terms.
        size: bytes in a wheel.
        bits: bits in a wheel per weight of the model.
        overall: SQNR of all quantized tensors together, in dB.
        worst: SQNR of the worst quantized tensor, in dB.
        relative: the mean over the tensors of error / energy, as SQNR in dB.
        accuracy: accuracy of the restored model, or None if the model has no such measure.
        pack: seconds to pack on all cores.
        restore: median of the seconds to restore on one core.

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
    """Whether packers quantize a tensor; other tensors are stored exactly."""
    large = values.ndim >= 2 and values.size >= _MIN_QUANTIZED_WEIGHTS
    return bool(large and values.dtype == np.float32)


def select_quantized(state: State) -> State:
    """Return the tensors of a state dict that packers quantize."""
    return {name: values for name, values in state.items() if is_quantized(values)}


def select_exact(model: BenchmarkModel) -> State:
    """Return the tensors of a model that packers store exactly."""
    return {name: values for name, values in model.state.items() if not is_quantized(values)}


def count_weights(model: BenchmarkModel) -> int:
    """Return the number of weights of a model, including those that are stored exactly."""
    return sum(values.size for values in model.state.values())


def measure_vggq(
    model: BenchmarkModel, source: Path, packer: str, setting: str, options: dict[str, Any]
) -> Point:
    """Pack a model with vggq and return its point.

    Args:
        model: the model.
        source: a file of the model.
        packer: the packer's name in the point.
        setting: the setting in the point.
        options: options of `vggq.packing.pack`.

    """
    target = source.with_name("model.vggq")
    packed = pack(source, target, **options)
    with pin_to_one_core():
        restored, seconds = time_restore(lambda: vggq.load(target))
    size = compute_wheel_size(target.read_bytes())
    return make_point(model, (packer, setting), size, restored, (packed.seconds, seconds))


def measure_peer(model: BenchmarkModel, peer: Peer) -> Point:
    """Pack a model with a peer and return its point."""
    begin = time.perf_counter()
    content = _pack_with_peer(model, peer)
    pack_seconds = time.perf_counter() - begin
    with pin_to_one_core():
        restored, seconds = time_restore(lambda: _restore_with_peer(model, peer, content))
    label, size = (peer.name, peer.setting), compute_wheel_size(content)
    return make_point(model, label, size, restored, (pack_seconds, seconds))


def _pack_with_peer(model: BenchmarkModel, peer: Peer) -> bytes:
    tensors = select_quantized(model.state)
    deviation = compute_rms(tensors)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        results = threads.map(lambda values: peer.store(values, deviation), tensors.values())
        stored = dict(zip(tensors, results, strict=True))
    arrays = {
        f"{name}/{index}": np.ascontiguousarray(array)
        for name in stored
        for index, array in enumerate(stored[name])
    }
    return save(select_exact(model) | arrays)


def _restore_with_peer(model: BenchmarkModel, peer: Peer, content: bytes) -> State:
    arrays, restored = load(content), {}
    for name, values in model.state.items():
        if name in arrays:
            restored[name] = arrays[name]
            continue
        parts = sorted(key for key in arrays if key.rpartition("/")[0] == name)
        restored[name] = peer.restore([arrays[key] for key in parts], values.shape)
    return restored


def compute_wheel_size(content: bytes) -> int:
    """Return the bytes that a file takes in a wheel: unchanged or deflated, the smaller one."""
    return min(len(content), len(zlib.compress(content, _DEFLATE_LEVEL)))


def make_point(
    model: BenchmarkModel,
    label: tuple[str, str],
    size: int,
    restored: State,
    seconds: tuple[float, float],
) -> Point:
    """Measure the fidelity and the accuracy of a restored model.

    Args:
        model: the original model.
        label: the packer and the setting.
        size: bytes in a wheel.
        restored: the restored state dict.
        seconds: the times to pack and to restore.

    """
    ratios, noises = [], []
    tensors = select_quantized(model.state)
    for name, values in tensors.items():
        noises.append(sum_squares([values - restored[name]]))
        ratios.append(noises[-1] / sum_squares([values]))
    accuracy = model.accuracy(restored) if model.accuracy else None
    overall = sum(noises) / sum_squares(tensors.values())
    return Point(
        *label, size, size * 8 / count_weights(model),
        to_sqnr(overall), to_sqnr(max(ratios)), to_sqnr(statistics.mean(ratios)),
        accuracy, *seconds,
    )  # fmt: skip


def to_sqnr(ratio: float) -> float:
    """Return a ratio of noise to energy as SQNR in dB."""
    return -10 * math.log10(ratio) if ratio else math.inf


def compute_rms(tensors: State) -> float:
    """Return the root mean square of all weights."""
    return math.sqrt(sum_squares(tensors.values()) / sum(v.size for v in tensors.values()))


def sum_squares(arrays: Any) -> float:
    """Return the sum of the squares of all elements, in float64."""
    return sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)


def time_restore(restore: Callable[[], State]) -> tuple[State, float]:
    """Return the restored state dict, and the median of the seconds of several rounds.

    There are two rounds of warm-up, in which the memory is new to the process, and up to nine
    timed rounds. No round starts after three seconds. If only warm-up rounds were run, they count.
    """
    times: list[float] = []
    while len(times) < _WARMUP_ROUNDS + _MAX_TIMED_ROUNDS and sum(times) < _MAX_SECONDS:
        begin = time.perf_counter()
        restored = restore()
        times.append(time.perf_counter() - begin)
    return restored, statistics.median(times[_WARMUP_ROUNDS:] or times)


@contextmanager
def pin_to_one_core() -> Iterator[None]:
    """Run on one core, with all threads that are started in the context."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
