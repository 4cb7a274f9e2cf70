"""Measure readers in this process; `restore_measure.py` starts it.

    python benchmarks/restore_worker.py '{"cases": [["READER", "PATH", THREADS]], ...}'

The request and the printed answer are JSON. Libraries are imported and modules are made before the
time is taken, and the result is freed after it. No library is imported before the number of cores
is limited: numpy starts threads for the cores that it finds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_readers import (
    FILE_READERS,
    MODEL_READERS,
    RESOURCE_READERS,
    Load,
    touch_pages,
)
from restore_torch_readers import CUDA_READERS, MODULE_READERS

if TYPE_CHECKING:
    from collections.abc import Iterable

READERS = {
    reader.name: reader
    for reader in (
        *FILE_READERS, *MODEL_READERS, *RESOURCE_READERS, *MODULE_READERS, *CUDA_READERS
    )
}  # fmt: skip


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.argv[1])
    limit_cores(request["cores"])
    cases = request["cases"]
    if request["rounds"]:
        answer: Any = time_rounds([prepare(*case) for case in cases], request["rounds"])
    else:
        ((name, path, threads),) = cases
        load = prepare(name, path, threads)
        time.sleep(request["pause"])
        answer = measure_load(load, Path(path), request["compare"], touch=READERS[name].lazy)
    print(json.dumps(answer))


def limit_cores(cores: int) -> None:
    """Let this process, and libraries that are imported later, use a number of cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def prepare(name: str, path: str, threads: int | None) -> Load:
    """Import what a reader needs, and return its load."""
    return READERS[name].prepare(Path(path), threads)


def measure_load(load: Load, path: Path, compared: str | None, *, touch: bool) -> dict[str, Any]:
    """Return the figures of a single load, the first of this process.

    Args:
        load: the load.
        path: the file that it reads.
        compared: a packed file whose values are compared with the result, bit for bit; or None.
        touch: also measure the load with a read of every page after it.

    """
    reset_peak()
    before = read_memory("VmRSS")
    begin = time.perf_counter()
    result = load()
    seconds = time.perf_counter() - begin
    peak = read_memory("VmHWM")
    if touch:
        touch_pages(result)
    answer = {
        "seconds": seconds,
        "touched": time.perf_counter() - begin if touch else None,
        "memory": peak - before if peak and before else None,
        "result": count_bytes(result),
        "file": path.stat().st_size if path.is_file() else None,
        "mapped": is_mapped(path),
        "equal": are_equal(result, compared) if compared else None,
    }
    if hasattr(result, "close"):
        result.close()
    return answer


def time_rounds(loads: list[Load], rounds: int) -> list[list[float]]:
    """Return the seconds of each load in every round, after one round of warm-up."""
    times: list[list[float]] = [[] for _ in loads]
    for index in range(rounds + 1):
        for load, seconds in zip(loads, times, strict=True):
            begin = time.perf_counter()
            result = load()
            elapsed = time.perf_counter() - begin
            del result
            if index:
                seconds.append(elapsed)
    return times


def reset_peak() -> None:
    """Reset VmHWM to the memory in use; some sandboxes have no such file."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def read_memory(field: str) -> int | None:
    """Return a field of /proc/self/status in bytes, or None if the system has none."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def is_mapped(path: Path) -> bool | None:
    """Whether a file, or one in a folder, is mapped here; None if the system does not tell."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    # The sixth column of a line is the path of the mapped file.
    mapped = [Path(line.split(maxsplit=5)[5]) for line in lines if line.count("/")]
    return any(found.is_relative_to(path.resolve()) for found in mapped)


def count_bytes(result: Any) -> int | None:
    """Return the bytes of tensors or of a bytes object, or None for another result."""
    if isinstance(result, bytes):
        return len(result)
    values: Iterable[Any] = result.values() if isinstance(result, dict) else [result]
    sizes = [getattr(value, "nbytes", None) for value in values]
    return None if None in sizes else sum(sizes)  # type: ignore[arg-type]


def are_equal(tensors: dict[str, Any], packed: str) -> bool:
    """Whether tensors of any device have the names and the bits of a packed file's arrays."""
    import numpy as np  # noqa: PLC0415

    import vggq  # noqa: PLC0415

    expected = vggq.load(packed)
    return tensors.keys() == expected.keys() and all(
        np.array_equal(tensors[name].detach().cpu().numpy().view(np.uint8), array.view(np.uint8))
        for name, array in expected.items()
    )


if __name__ == "__main__":
    main()
