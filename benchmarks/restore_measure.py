"""Start processes that load a model, alternately for each reader, and collect their figures."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from restore_readers import TOUCHED
from restore_results import Row, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WORKER: Final = Path(__file__).with_name("restore_worker.py")


def make_environment() -> dict[str, str]:
    """Return the environment of a measured process: one in which imports find bytecode.

    Installed packages have bytecode. The first process writes it if it is missing.
    """
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Case:
    """A row to measure.

    Attributes:
        reader: the name of the reader.
        path: the file that it reads.
        label: what the table calls it; the name of the reader if empty.
        threads: the number of threads; None for the reader's default.
        compare: a packed file with whose values the result is compared; or None.

    """

    reader: str
    path: Path
    label: str = ""
    threads: int | None = None
    compare: Path | None = None

    @property
    def name(self) -> str:
        """The name of the row."""
        return self.label or self.reader


def measure_first_loads(
    part: str,
    title: str,
    cases: Sequence[Case],
    base: str,
    *,
    cores: int,
    rounds: int,
    pause: float = 0,
) -> Table:
    """Measure the first load of a new process, for each case in every round, in any order.

    One load of each case comes before the rounds and is not timed: it reads the file into the
    page cache, and compares the result if the case says so.

    Args:
        part: the part of the benchmark.
        title: the title of the table.
        cases: what to measure.
        base: the row with which the table compares the others.
        cores: the number of cores to use.
        rounds: the number of processes for each case.
        pause: seconds between the imports and the load.

    """
    compared = [_run_case(case, cores, case.compare) for case in cases]
    answers: list[list[dict[str, Any]]] = [[] for _ in cases]
    for turn in range(rounds):
        # Shuffled: memory that the process before has given back may be faster to get.
        for index in random.Random(turn).sample(range(len(cases)), len(cases)):  # noqa: S311
            answers[index].append(_run_case(cases[index], cores, pause=pause))
    pairs = zip(cases, answers, compared, strict=True)
    rows = [row for case, found, first in pairs for row in _collect(case, found, first["equal"])]
    return Table(part, title, base, rows)


def measure_repeated_loads(
    part: str,
    title: str,
    cases: Sequence[Case],
    base: str,
    *,
    cores: int,
    rounds: int,
    environment: Mapping[str, str] | None = None,
) -> Table:
    """Measure loads that alternate in one process.

    The arguments are those of `measure_first_loads`, and additional environment variables.
    """
    times = _run(cases, cores, rounds=rounds, environment=environment)
    rows = [
        Row(case.name, seconds, equal=_compare(case, cores))
        for case, seconds in zip(cases, times, strict=True)
    ]
    return Table(part, title, base, rows)


def _compare(case: Case, cores: int) -> bool | None:
    """Return whether a case gives the bits that it is compared with, or None if it has none."""
    return _run_case(case, cores, case.compare)["equal"] if case.compare else None


def _run_case(
    case: Case, cores: int, compare: Path | None = None, *, pause: float = 0
) -> dict[str, Any]:
    answer: dict[str, Any] = _run([case], cores, compare=compare, pause=pause)
    return answer


def _run(
    cases: Sequence[Case],
    cores: int,
    *,
    rounds: int = 0,
    compare: Path | None = None,
    pause: float = 0,
    environment: Mapping[str, str] | None = None,
) -> Any:
    request = {
        "cases": [[case.reader, str(case.path), case.threads] for case in cases],
        "cores": cores,
        "rounds": rounds,
        "compare": str(compare) if compare else None,
        "pause": pause,
    }
    command = [sys.executable, str(_WORKER), json.dumps(request)]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        env={**make_environment(), **(environment or {})},
    )
    return json.loads(done.stdout)


def _collect(case: Case, answers: Sequence[dict[str, Any]], equal: bool | None) -> list[Row]:  # noqa: FBT001
    """Return the row of a case, and for a lazy reader the one with all pages read."""
    peaks = [answer["memory"] for answer in answers if answer["memory"] is not None]
    last = answers[-1]
    row = Row(
        case.name,
        [answer["seconds"] for answer in answers],
        max(peaks, default=None),
        last["result"],
        last["file"],
        last["mapped"],
        equal,
    )
    if last["touched"] is None:
        return [row]
    touched = [answer["touched"] for answer in answers]
    return [row, Row(case.name + TOUCHED, touched, mapped=last["mapped"])]
