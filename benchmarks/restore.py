"""Restoring packed files against reading their raw floats, and against the seed's way.

    hatch run full:bench-restore [VGG19.h5] [--chart docs/restore.png]

Every way takes its turn in each round of one process, pinned to one core and then to none, with
the files in the page cache; ratios are of medians, and the spread is between the quartiles. Cold
rounds drop the pages of the file before each. The seed's way takes seconds, so it has three rounds.
In one process memory is used again, in part; the first load of a fresh process, which is what an
import pays, has a table of its own, and so has its peak memory, less what there was before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import safetensors.numpy
import torch
from restore_models import Files, Way, small_tensors, transformer

import vggq
import vggq.torch
from vggq.encode import pack

WEIGHTS = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
ROUNDS = 15
SLOW_ROUNDS = 3
FRESH_ROUNDS = 9
BASE = "vggq.load"
RIVAL = "safetensors.numpy.load_file"
GRIDS: dict[str, dict[str, Any]] = {
    "grid, 41.36 dB": {"sqnr": 41.36, "dependent": False},
    "dependent grid, 41.36 dB": {"sqnr": 41.36},
}

Times = dict[str, list[float]]


def main() -> int:
    """Print the tables, and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=WEIGHTS)
    parser.add_argument("--chart", type=Path)
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        return print_once(*arguments.once)
    if not arguments.source.exists():
        print(f"{arguments.source} is not there: python sample_project/fetch_weights.py")
        return 1
    with tempfile.TemporaryDirectory() as name:
        run(arguments.source, Path(name), arguments.chart)
    return 0


def run(source: Path, folder: Path, chart: Path | None) -> None:
    """All measurements, in the order of the tables."""
    models = make_models(source, folder)
    packed = pack_all_ways(source, folder)
    drawn = {}
    everything = os.sched_getaffinity(0)
    for files in models:
        for cores in ({min(everything)}, everything):
            os.sched_setaffinity(0, cores)
            torch.set_num_threads(len(cores))
            times = measure(files.ways(), ROUNDS)
            if files is models[0]:
                times |= measure({"the seed's table[codes.tolist()]": files.seed()}, SLOW_ROUNDS)
            drawn[f"{files.name}, {plural(len(cores))}"] = times
            print_table(f"{files.name}, {plural(len(cores))}", times)
    os.sched_setaffinity(0, {min(everything)})
    torch.set_num_threads(1)
    print_table("VGG19 from a cold page cache, 1 core", measure_cold(models[0]))
    ways: dict[str, Way] = {name: partial(vggq.load, path) for name, path in packed.items()}
    ways[RIVAL] = models[0].ways()[RIVAL]
    print_table("VGG19 in every way of packing, 1 core", measure(ways, ROUNDS))
    print_table("VGG19 into a module, 1 core", measure(into_module(models[0]), ROUNDS))
    for cores in ({min(everything)}, everything):
        os.sched_setaffinity(0, cores)
        for files, grids in ((models[0], {name: packed[name] for name in GRIDS}), (models[2], {})):
            title = f"{files.name}, first load, {plural(len(cores))}"
            drawn[title] = print_first_loads(files, title, grids)
    if chart:
        draw(drawn, chart)


def make_models(source: Path, folder: Path) -> list[Files]:
    """VGG19, a transformer's shapes, and many small tensors."""
    models = [Files.of("VGG19", source, folder, layout="torch")]
    for name, state in (("transformer", transformer()), ("3,000 small tensors", small_tensors())):
        path = folder / "source.safetensors"
        safetensors.numpy.save_file(state, path)
        models.append(Files.of(name, path, folder))
    return models


def pack_all_ways(source: Path, folder: Path) -> dict[str, Path]:
    """VGG19 at every width and on grids."""
    options = {plural(bits, "bit"): {"bits": bits} for bits in range(8, 0, -1)} | GRIDS
    return {
        name: pack(source, folder / f"{name}.vggq", layout="torch", **option).target
        for name, option in options.items()
    }


def into_module(files: Files) -> dict[str, Way]:
    """The same weights straight into a module's parameters."""
    module = torch.nn.Module()
    for name, array in vggq.load(files.packed).items():
        layer, _, kind = name.partition(".")
        if not hasattr(module, layer):
            module.add_module(layer, torch.nn.Module())
        parameter = torch.nn.Parameter(torch.empty(array.shape))
        getattr(module, layer).register_parameter(kind, parameter)
    return {
        BASE: files.ways()[BASE],
        "vggq.torch.load_into": lambda: vggq.torch.load_into(module, files.packed),
    }


def measure(ways: dict[str, Way], rounds: int) -> Times:
    """Seconds of each round of each way, in turn, after one round that does not count."""
    seconds: Times = {name: [] for name in ways}
    for count in range(rounds + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if count:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def measure_cold(files: Files) -> Times:
    """The same, with the pages of the file dropped before each."""
    ways = files.ways()
    places = {BASE: files.packed, RIVAL: files.safetensors, "torch.load": files.torch}
    seconds: Times = {name: [] for name in places}
    for _ in range(ROUNDS // 2):
        for name, path in places.items():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            begin = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def plural(count: int, what: str = "core") -> str:
    """So many of something."""
    return f"{count} {what}{'s' * (count > 1)}"


def print_table(title: str, seconds: Times) -> None:
    """Medians, spreads and ratios as a Markdown table."""
    base = statistics.median(seconds.get(BASE) or next(iter(seconds.values())))
    rival = statistics.median(seconds[RIVAL]) if RIVAL in seconds else None
    print(f"\n| {title} | median | quartiles | / first | / safetensors |")
    print("|---|---:|---:|---:|---:|")
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        against = f"{median / rival:.2f}" if rival else ""
        print(
            f"| `{name}` | {median * 1e3:.1f} ms | {low * 1e3:.1f} to {high * 1e3:.1f} "
            f"| {median / base:.2f} | {against} |",
            flush=True,
        )


def print_first_loads(files: Files, title: str, grids: dict[str, Path]) -> Times:
    """Time and peak memory of the first load of fresh processes, in turn."""
    floats = files.raw.stat().st_size
    others = {f"{BASE}, {name}": path for name, path in grids.items()}
    paths = {BASE: files.packed, "vggq.torch.load": files.packed, **others,
             RIVAL: files.safetensors, "torch.load": files.torch,
             "numpy.load": files.npz}  # fmt: skip
    seconds: Times = {name: [] for name in paths}
    peaks = {}
    for _ in range(FRESH_ROUNDS):
        for name, path in paths.items():
            command = [sys.executable, __file__, "--once", name.split(",")[0], str(path)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            took, peaks[name] = json.loads(done.stdout)
            seconds[name].append(took)
    print_table(title, seconds)
    print("\n| peak memory | in all | over the floats |\n|---|---:|---:|")
    for name, peak in peaks.items():
        print(f"| `{name}` | {peak / 1e6:.1f} MB | {(peak - floats) / 1e6:.1f} MB |", flush=True)
    return seconds


def print_once(name: str, path: str) -> int:
    """Seconds of one way of reading one file, and by how much it raised the process's peak."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    way = Files("", *[Path(path)] * 5).ways()[name]
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident()
    begin = time.perf_counter()
    kept = way()
    seconds = time.perf_counter() - begin
    print(json.dumps((seconds, resident("VmHWM") - before)))
    return 0 if kept else 1


def resident(field: str = "VmRSS") -> int:
    """Bytes of memory that this process has, or had at its peak, mapped files included."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def draw(tables: dict[str, Times], path: Path) -> None:
    """Medians of every way, a panel for each table."""
    rows = -(-len(tables) // 2)
    figure, panels = plt.subplots(rows, 2, figsize=(11, 2.8 * rows), layout="constrained")
    for axes, (title, seconds) in zip(panels.flat, tables.items(), strict=False):
        quick = {n: statistics.median(v) * 1e3 for n, v in seconds.items() if "seed" not in n}
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
