"""Fuzz every target for some time, continue after findings, and count them.

::

    python -m tests.fuzz.run [--seconds N] [--work FOLDER] [TARGET]...

The folder `--work` has the growing corpus, the findings, and a log of each target. The exit status
is 1 if anything was found.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import corpus

_COUNTED: Final = re.compile(r"^#(\d+)\s.*cov: (\d+)", re.MULTILINE)
# HDF5 allocates up to 4 GiB for a string before it looks for it (SECURITY.md).
_MEMORY_LIMIT: Final = 12_000  # MB
# Starting takes a few seconds itself.
_MIN_SECONDS: Final = 10
_TOTAL: Final = re.compile(r"stat::number_of_executed_units: (\d+)")


@dataclass
class Tally:
    """The results of one target."""

    executions: int = 0
    edges: int = 0
    findings: int = 0


def fuzz(target: str, seconds: float, timeout: int, work: Path) -> Tally:
    """Run one target until it has used its processor time, and start it again after findings."""
    tally = Tally()
    findings = work / "findings" / target
    findings.mkdir(parents=True, exist_ok=True)
    begin = _processor_seconds()
    while (left := begin + seconds - _processor_seconds()) > 0:
        log = _run_once(target, max(_MIN_SECONDS, int(left)), timeout, work)
        _count(log, tally)
        if not _COUNTED.search(log):
            raise SystemExit(f"{target} does not start:\n{log}")
    # Slow inputs are not findings, because the machine may be busy; timeouts are.
    tally.findings = sum(not path.name.startswith("slow-unit") for path in findings.iterdir())
    return tally


def _processor_seconds() -> float:
    """Return the processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run_once(target: str, seconds: int, timeout: int, work: Path) -> str:
    command = [sys.executable, "-m", "tests.fuzz.harness", target, str(work / target)]
    limits = [
        f"-max_total_time={seconds}",
        f"-timeout={timeout}",
        f"-rss_limit_mb={_MEMORY_LIMIT}",
    ]
    names = [f"-artifact_prefix={work}/findings/{target}/", "-print_final_stats=1"]
    done = subprocess.run(
        [*command, *limits, *names, "-max_len=65536"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    log = done.stdout.decode(errors="replace")
    with (work / f"{target}.log").open("a") as file:
        file.write(log)
    return log


def _count(log: str, tally: Tally) -> None:
    seen = [tuple(map(int, found)) for found in _COUNTED.findall(log)]
    totals = [int(found) for found in _TOTAL.findall(log)]
    tally.executions += max([*totals, *(number for number, _ in seen)], default=0)
    tally.edges = max([tally.edges, *(edges for _, edges in seen)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz.run")
    parser.add_argument("--seconds", type=float, default=180, help="processor time for each target")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one input")
    parser.add_argument("--work", type=Path, help="folder for the corpus; a new one by default")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="vggq-fuzz-"))
    corpus.make(work)
    targets = arguments.targets or sorted(
        path.name for path in work.iterdir() if path.is_dir() and path.name != "findings"
    )
    tallies = {}
    for target in targets:
        tallies[target] = tally = fuzz(target, arguments.seconds, arguments.timeout, work)
        print(
            f"{target:16} {tally.executions:>10,} executions {tally.edges:>6} edges "
            f"{tally.findings:>3} findings",
            flush=True,
        )
    whole = sum(tally.executions for tally in tallies.values())
    found = sum(tally.findings for tally in tallies.values())
    print(f"{'all':16} {whole:>10,} executions, {found} findings, in {work}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
