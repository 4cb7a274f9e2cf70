"""Compare the time to restore packed files with the time to read their floats in other formats.

    hatch run full:bench-restore --json RESULTS.json [--parts numpy,torch,...] [--packed FOLDER]

Most tables have the first load of a new process, which is what an import costs: the operating
system clears each page of memory at its first use. The readers take turns, and ratios are ratios of
medians. All files were just written, and are in the page cache. Every reader is used as its
documentation says.

Packed files that are missing in the folder are packed there, and then used by later runs: delete
them after a change of the format. With the folder of another machine, the benchmark needs only
numpy, safetensors and, for some parts, torch. If the JSON file exists, the parts that are measured
are replaced in it. `restore_report.py` makes the pages and the chart from such files.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from restore_cases import Setting, core_counts
from restore_files import WEIGHTS, copy_packed, pack_missing
from restore_machine import describe_machine
from restore_page import format_machine, format_table
from restore_parts import PARTS
from restore_results import Results

if TYPE_CHECKING:
    from restore_parts import Part

PACKED: Final = Path(__file__).with_name("weights") / "restore"
ROUNDS: Final = 9


def main() -> int:
    """Measure the parts, print their tables, and write them to a JSON file if requested."""
    arguments = parse_arguments()
    if arguments.source.exists():
        stems = {stem for name in arguments.parts for stem in PARTS[name].stems}
        pack_missing(arguments.packed, arguments.source, stems)
    results = open_results(arguments.json)
    print(format_machine(results.machine), flush=True)
    for name in arguments.parts:
        problem = find_problem(PARTS[name], arguments.packed, results.machine)
        if problem:
            print(f"\n{name}: left out, {problem}", flush=True)
        else:
            measure_part(name, arguments, results)
    return 0


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    listed = "; ".join(f"{name}: {part.help}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, default=WEIGHTS, metavar="VGG19.h5")
    parser.add_argument("--packed", type=Path, default=PACKED, help="folder of packed files")
    parser.add_argument("--parts", type=parse_parts, default=list(PARTS), help=listed)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of a row ({ROUNDS})")
    parser.add_argument("--cores", type=int, help="the number of cores to use; all by default")
    parser.add_argument("--on", choices=["1", "all"], help="only on one core, or only on all")
    parser.add_argument("--json", type=Path, help="file of results to write, or to add to")
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    counts = core_counts()
    arguments.on = {w: n for w, n in counts.items() if w.startswith(arguments.on or "")}
    return arguments


def parse_parts(text: str) -> list[str]:
    """Parse the names of parts, separated by commas."""
    names = text.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        message = f"no such part: {', '.join(unknown)}; expected some of {', '.join(PARTS)}"
        raise argparse.ArgumentTypeError(message)
    return names


def open_results(path: Path | None) -> Results:
    """Return the results of the JSON file, or new ones; the file has to be from this machine."""
    machine = describe_machine()
    if path is None or not path.exists():
        return Results(machine)
    results = Results.read(path)
    if results.machine != machine:
        sys.exit(f"{path}: measured on another machine, or with other libraries; delete it")
    return results


def find_problem(part: Part, packed: Path, machine: dict[str, str]) -> str:
    """Return why a part cannot be measured here, or an empty text."""
    missing = [f"{stem}.vggq" for stem in part.stems if not (packed / f"{stem}.vggq").exists()]
    if missing:
        return f"{packed} has no {', '.join(missing)}"
    if part.needs == "cuda" and "GPU" not in machine:
        return "torch finds no GPU"
    if part.needs == "torch" and "torch" not in machine:
        return "torch is not installed"
    return ""


def measure_part(name: str, arguments: argparse.Namespace, results: Results) -> None:
    """Measure a part, print its tables, and add them to the results and to their file."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy_packed(arguments.packed, Path(folder), PARTS[name].stems)
        setting = Setting(Path(folder), arguments.rounds, arguments.on)
        for table in PARTS[name].measure(setting):
            print(f"\n{format_table(table)}", flush=True)
            results.replace_tables([table])
            if arguments.json:
                results.write(arguments.json)
    print(f"\n{name}: {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
