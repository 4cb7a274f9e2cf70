"""Restoring packed files against reading their raw floats, and against the seed's way.

    hatch run full:bench-restore [VGG19.h5] [--chart docs/restore.png]

Ratios are of medians, the spread is between the quartiles, and the files are in the page cache
unless it says cold. What a way takes depends on the memory it is given, so there are three states:

- The first load of a fresh process, which is what an import pays; with it the peak of its memory.
- A packed file and its rival in turn in one process: the system takes memory back and gives it
  out again, as it happens to any process.
- Every way in turn with all memory at hand: the C library was told to keep what was freed. Left
  to itself it does so or not, by what else the process has taken, and the ratios with it.

Each is pinned to one core and then to none. Cold, and into a module, are as the second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import safetensors.numpy
from restore_models import (
    BASE,
    INTO,
    RIVAL,
    SEED,
    WAYS,
    Files,
    load_of,
    small_tensors,
    transformer,
)

from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
TURNS = Path(__file__).with_name("restore_turns.py")
ROUNDS = 15
SLOW_ROUNDS = 3
FRESH_ROUNDS = 15
VGG19: dict[str, Any] = {"layout": "torch"}
WIDTHS: dict[str, dict[str, Any]] = {f"width {bits}": {"bits": bits} for bits in range(7, 0, -1)}
GRIDS: dict[str, dict[str, Any]] = {
    "grid, 41.36 dB": {"sqnr": 41.36, "dependent": False},
    "dependent grid, 41.36 dB": {"sqnr": 41.36},
}
# glibc's: nothing is mapped alone, nothing given back, and threads share what there is.
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36), "MALLOC_ARENA_MAX": "1"}
FIRST = (BASE, "vggq.torch.load", RIVAL, "torch.load", "numpy.load")

Times = dict[str, list[float]]


def main() -> int:
    """Print the tables, and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=WEIGHTS)
    parser.add_argument("--chart", type=Path)
    arguments = parser.parse_args()
    if not arguments.source.exists():
        print(f"{arguments.source} is not there: python sample_project/fetch_weights.py")
        return 1
    with tempfile.TemporaryDirectory() as name:
        run(make_models(arguments.source, Path(name)), arguments.chart)
    return 0


def make_models(source: Path, folder: Path) -> list[Files]:
    """VGG19 in every way of packing, a transformer's shapes, and many small tensors."""
    vgg19, *others = models = [
        Files.at(folder, name) for name in ("VGG19", "transformer", "3,000 small tensors")
    ]
    vgg19.make(source, **VGG19)
    for name, options in (WIDTHS | GRIDS).items():
        pack(source, vgg19.packed_as(name), **VGG19, **options)
    for files, state in zip(others, (transformer(), small_tensors()), strict=True):
        path = folder / "source.safetensors"
        safetensors.numpy.save_file(state, path)
        files.make(path)
    return models


def run(models: Sequence[Files], chart: Path | None) -> None:
    """All measurements, in the order of the tables."""
    vgg19, small = models[0], models[2]
    grids = [load_of(name) for name in GRIDS]
    drawn = {}
    everything = os.sched_getaffinity(0)
    for cores in ({min(everything)}, everything):
        os.sched_setaffinity(0, cores)
        on = f"{len(cores)} core{'s' * (len(cores) > 1)}"
        for files, ways in ((vgg19, (*FIRST, *grids)), (small, FIRST)):
            title = f"{files.name}, first load, {on}"
            drawn[title] = print_first_loads(files, title, ways)
        for files, others in ((vgg19, grids), (models[1], []), (small, [])):
            times = turns(files, [BASE, *others, RIVAL])
            print_table(f"{files.name} and its rival in turn, {on}", times)
        for files in models:
            times = turns(files, WAYS, memory=KEPT)
            if files is vgg19:
                times |= turns(files, [SEED], SLOW_ROUNDS, memory=KEPT)
            drawn[f"{files.name}, memory at hand, {on}"] = times
            print_table(f"{files.name}, memory at hand, {on}", times)
    os.sched_setaffinity(0, {min(everything)})
    cold = turns(vgg19, [BASE, RIVAL, "torch.load"], cold=True)
    print_table("VGG19 from a cold page cache, 1 core", cold)
    widths = [BASE, *map(load_of, WIDTHS), *grids, RIVAL]
    print_table("VGG19 at every width, memory at hand, 1 core", turns(vgg19, widths, memory=KEPT))
    print_table("VGG19 into a module, 1 core", turns(vgg19, [BASE, INTO]))
    os.sched_setaffinity(0, everything)
    if chart:
        draw(drawn, chart)


def turns(
    files: Files,
    ways: Sequence[str],
    rounds: int = ROUNDS,
    *,
    cold: bool = False,
    memory: dict[str, str] | None = None,
) -> Times:
    """Seconds of each way, in turn in one process; `memory`: what the C library is told."""
    options = [f"--rounds={rounds}", *(["--cold"] if cold else [])]
    times: Times = measured(files, [*options, *ways], memory or {})
    return times


def measured(files: Files, arguments: Sequence[str], memory: dict[str, str]) -> Any:
    """What `restore_turns.py` prints."""
    command = [sys.executable, str(TURNS), str(files.packed.parent), files.name, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | memory)
    return json.loads(done.stdout)


def print_table(title: str, seconds: Times) -> None:
    """Medians, spreads and ratios as a Markdown table."""
    base = statistics.median(seconds[BASE])
    rival = statistics.median(seconds[RIVAL]) if RIVAL in seconds else None
    print(f"\n| {title} | median | quartiles | / `{BASE}` | / safetensors |")
    print("|---|---:|---:|---:|---:|")
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        against = f"{median / rival:.2f}" if rival else ""
        print(
            f"| `{name}` | {median * 1e3:.1f} ms | {low * 1e3:.1f} to {high * 1e3:.1f} "
            f"| {median / base:.2f} | {against} |",
            flush=True,
        )


def print_first_loads(files: Files, title: str, ways: Sequence[str]) -> Times:
    """Time and peak memory of the first load of fresh processes, in turn."""
    floats = files.raw.stat().st_size
    seconds: Times = {name: [] for name in ways}
    peaks = {}
    for _ in range(FRESH_ROUNDS):
        for name in ways:
            taken, peaks[name] = measured(files, ["--first", name], {})
            seconds[name].append(taken)
    print_table(title, seconds)
    print("\n| peak memory | in all | over the floats |\n|---|---:|---:|")
    for name, peak in peaks.items():
        print(f"| `{name}` | {peak / 1e6:.1f} MB | {(peak - floats) / 1e6:.1f} MB |", flush=True)
    return seconds


def draw(tables: dict[str, Times], path: Path) -> None:
    """Medians of every way, a panel for each table."""
    rows = -(-len(tables) // 2)
    figure, panels = plt.subplots(rows, 2, figsize=(11, 2.8 * rows), layout="constrained")
    for axes, (title, seconds) in zip(panels.T.flat, tables.items(), strict=False):
        quick = {n: statistics.median(v) * 1e3 for n, v in seconds.items() if n != SEED}
        colours = ["#0b6e4f" if name.startswith("vggq") else "#9aa5b1" for name in quick]
        bars = axes.barh(list(quick), list(quick.values()), color=colours)
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("ms, median; less is better", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
