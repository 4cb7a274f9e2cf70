"""The time to import vggq and to load a small model, in new processes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from restore_measure import make_environment
from restore_results import Row, Table

if TYPE_CHECKING:
    from pathlib import Path

PART: Final = "import"
IMPORT_TITLE: Final = "Import, in a new process"
TINY_TITLE: Final = "Import and load of a small model, in a new process"
NUMPY: Final = "import numpy"
VGGQ: Final = "import vggq, after import numpy"
NUMPY_LOAD: Final = "import numpy; numpy.load, npz"
VGGQ_LOAD: Final = "import vggq; vggq.load"

# Prints the seconds of the import of numpy, of another statement, and of a load.
_SCRIPT: Final = """
import os, sys, time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
begin = time.perf_counter()
import numpy
numpy_done = time.perf_counter()
{statement}
imported = time.perf_counter()
result = {load}
loaded = time.perf_counter()
print([numpy_done - begin, imported - numpy_done, loaded - imported])
"""
_LOAD_VGGQ: Final = _SCRIPT.format(statement="import vggq", load="vggq.load(sys.argv[1])")
_LOAD_NPZ: Final = _SCRIPT.format(statement="", load="dict(numpy.load(sys.argv[1]))")


def measure_imports(packed: Path, npz: Path, rounds: int) -> list[Table]:
    """Return tables of imports, and of imports with a load, on one core.

    Args:
        packed: a small packed file.
        npz: its values.
        rounds: the number of processes for each.

    """
    times: dict[str, list[float]] = {name: [] for name in (NUMPY, VGGQ, NUMPY_LOAD, VGGQ_LOAD)}
    # The first round writes bytecode and fills the page cache.
    for index in range(rounds + 1):
        found = measure_once(packed, npz)
        for name, seconds in found.items():
            times[name].extend([seconds] if index else [])
    rows = {name: Row(name, seconds) for name, seconds in times.items()}
    return [
        Table(PART, IMPORT_TITLE, NUMPY, [rows[NUMPY], rows[VGGQ]]),
        Table(PART, TINY_TITLE, NUMPY_LOAD, [rows[NUMPY_LOAD], rows[VGGQ_LOAD]]),
    ]


def measure_once(packed: Path, npz: Path) -> dict[str, float]:
    """Return the seconds of each row, from one new process for each library."""
    numpy, vggq, load = _run(_LOAD_VGGQ, packed)
    npz_seconds = sum(_run(_LOAD_NPZ, npz))
    return {NUMPY: numpy, VGGQ: vggq, VGGQ_LOAD: numpy + vggq + load, NUMPY_LOAD: npz_seconds}


def _run(script: str, path: Path) -> list[float]:
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=make_environment())
    seconds: list[float] = json.loads(done.stdout)
    return seconds
