"""Ways of reading one model, in turn, in a process of its own; `restore.py` starts it.

    python benchmarks/restore_turns.py FOLDER MODEL [--rounds N] [--cold] WAY...
    python benchmarks/restore_turns.py FOLDER MODEL --first WAY

Prints JSON: the seconds of each way, or the seconds and the peak memory of one. What was read is
let go once the clock was read: the time it takes to free is no way's.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from restore_models import Files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restore_models import Way


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("ways", nargs="+")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--first", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    files = Files.at(arguments.folder, arguments.model)
    if arguments.first:
        print(json.dumps(first(files.way(arguments.ways[0]))))
    else:
        print(json.dumps(turns(files, arguments.ways, arguments.rounds, cold=arguments.cold)))


def first(way: Way) -> tuple[float, int]:
    """Seconds, and by how many bytes the process's peak rose."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident()
    seconds = timed(way)
    return seconds, resident("VmHWM") - before


def turns(files: Files, names: Sequence[str], rounds: int, *, cold: bool) -> dict[str, list[float]]:
    """Seconds of each round of each way, after one round that does not count."""
    ways = {name: files.way(name) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for count in range(rounds + 1):
        for name, way in ways.items():
            if cold:
                forget(files.read_by(name))
            taken = timed(way)
            if count:
                seconds[name].append(taken)
    return seconds


def timed(way: Way) -> float:
    """Seconds of one reading."""
    begin = time.perf_counter()
    kept = way()
    seconds = time.perf_counter() - begin
    del kept
    return seconds


def forget(path: Path) -> None:
    """Drop a file's pages from the cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(field: str = "VmRSS") -> int:
    """Bytes of memory that this process has, or had at its peak, mapped files included."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
