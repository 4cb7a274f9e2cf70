"""Time the readers of one model in this process; `restore.py` starts it.

    python benchmarks/restore_worker.py FOLDER MODEL [--rounds N] [--cold] READER...
    python benchmarks/restore_worker.py FOLDER MODEL --first READER

The script prints JSON: the seconds of every round by reader, or, with `--first`, the seconds and
the peak memory in bytes of a single load. The time to free the result is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from restore_models import ModelFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restore_models import ModelReader


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("readers", nargs="+", metavar="READER")
    parser.add_argument("--rounds", type=int, default=1, help="timed rounds (1)")
    parser.add_argument("--cold", action="store_true", help="drop files from the page cache first")
    parser.add_argument("--first", action="store_true", help="measure a single load")
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    files = ModelFiles.in_folder(arguments.folder, arguments.model)
    if arguments.first:
        print(json.dumps(measure_first_load(files.reader(arguments.readers[0]))))
    else:
        rounds, cold = arguments.rounds, arguments.cold
        print(json.dumps(time_rounds(files, arguments.readers, rounds, cold=cold)))


def measure_first_load(read: ModelReader) -> tuple[float, int]:
    """Return the seconds of a load, and the bytes by which it raises the peak of memory."""
    # Resets the peak, VmHWM.
    Path("/proc/self/clear_refs").write_text("5")
    before = read_memory("VmRSS")
    seconds = time_reader(read)
    return seconds, read_memory("VmHWM") - before


def time_rounds(
    files: ModelFiles, names: Sequence[str], rounds: int, *, cold: bool
) -> dict[str, list[float]]:
    """Return the seconds of every round by reader, after one round of warm-up."""
    readers = {name: files.reader(name) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds + 1):
        for name, read in readers.items():
            if cold:
                drop_from_page_cache(files.path_of(name))
            seconds = time_reader(read)
            if index:
                times[name].append(seconds)
    return times


def time_reader(read: ModelReader) -> float:
    """Return the seconds of one load, without the time to free its result."""
    begin = time.perf_counter()
    result = read()
    seconds = time.perf_counter() - begin
    del result
    return seconds


def drop_from_page_cache(path: Path) -> None:
    """Write a file to disk and drop its pages from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_memory(field: str) -> int:
    """Return a field of /proc/self/status in bytes: VmRSS, or VmHWM for its peak."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
