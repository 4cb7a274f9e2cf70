"""The settings of `restore.py`, and the rows that several of its parts share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from restore_measure import Case, measure_first_loads
from restore_torch_readers import LOAD_INTO_CUDA, SAFETENSORS_CUDA, VGGQ_CUDA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from restore_readers import Reader
    from restore_results import Table

GRIDS: Final = {"vgg19-grid": "grid", "vgg19-dependent": "dependent grid"}
"""The words for the packed files of VGG19 that are no codebooks."""

DEFAULT_THREADS: Final = "default"


@dataclass(frozen=True)
class Setting:
    """The files and numbers that all parts use.

    Attributes:
        folder: a temporary folder with copies of the packed files, for all files that are read.
        rounds: the number of runs of each row.
        cores: the numbers of cores to measure with, by their words in a title.

    """

    folder: Path
    rounds: int
    cores: dict[str, int]


def core_counts() -> dict[str, int]:
    """Return the numbers of cores to measure with, by their words in a title."""
    cores = len(os.sched_getaffinity(0))
    return {"1 core": 1} | ({"all cores": cores} if cores > 1 else {})


def thread_counts() -> list[int]:
    """Return 1, 2, 4 and so on up to the number of cores, and that number."""
    cores = len(os.sched_getaffinity(0))
    counts = [1 << n for n in range(cores.bit_length()) if 1 << n <= cores]
    return counts if cores in counts else [*counts, cores]


def with_grids(setting: Setting, reader: str) -> list[Case]:
    """Return the cases of a reader of packed files: codebooks, and both grids."""
    grids = [
        Case(reader, setting.folder / f"{stem}.vggq", f"{reader}, {words}")
        for stem, words in GRIDS.items()
    ]
    return [Case(reader, setting.folder / "vgg19.vggq"), *grids]


def rivals(setting: Setting, stem: str, readers: Sequence[Reader]) -> list[Case]:
    """Return the cases of readers of other formats."""
    return [Case(reader.name, setting.folder / f"{stem}{reader.suffix}") for reader in readers]


def first_loads(
    setting: Setting, part: str, title: str, cases: Sequence[Case], base: str
) -> Iterator[Table]:
    """Yield a table of first loads for each number of cores."""
    for words, cores in setting.cores.items():
        yield measure_first_loads(
            part, f"{title}, {words}", cases, base, cores=cores, rounds=setting.rounds
        )


def cuda_cases(setting: Setting) -> list[Case]:
    """Return the cases of loading to a GPU; the results are compared bit for bit."""
    packed = setting.folder / "vgg19.vggq"
    base = Case(SAFETENSORS_CUDA, setting.folder / "vgg19.safetensors", compare=packed)
    ours = [c for reader in (VGGQ_CUDA, LOAD_INTO_CUDA) for c in with_grids(setting, reader)]
    return [base, *(Case(c.reader, c.path, c.label, compare=c.path) for c in ours)]
