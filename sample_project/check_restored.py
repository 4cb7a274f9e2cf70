"""Restore VGG19 in an environment that has only the sample's wheel, and measure the time.

The script prints JSON: times in seconds, and the third-party packages that were imported.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def main(out: str) -> None:
    """Restore VGG19, write the arrays to `out` (.npz), and print the figures."""
    modules_before = set(sys.modules)
    begin = time.perf_counter()
    import vgg19_style  # noqa: PLC0415

    import_seconds = time.perf_counter() - begin

    import numpy as np  # noqa: PLC0415

    import vggq  # noqa: PLC0415

    save_npz: Any = np.savez
    save_npz(out, **vgg19_style.weights)

    def restore() -> None:
        vggq.load("vgg19_style", "vgg19.vggq")

    def read_floats() -> None:
        with np.load(out) as arrays:
            dict(arrays)

    # The two alternate, so that other work on the machine slows down both.
    pairs = [(time_call(restore), time_call(read_floats)) for _ in range(9)]
    restore_times, read_times = zip(*pairs, strict=True)
    figures = {
        "import_seconds": import_seconds,
        "restore_seconds": statistics.median(restore_times),
        "raw_seconds": statistics.median(read_times),
        "third_party": find_distributions(set(sys.modules) - modules_before),
    }
    print(json.dumps(figures))


def find_distributions(modules: set[str]) -> list[str]:
    """Return the names of the distributions that provide the modules, in alphabetical order."""
    distributions = packages_distributions()
    return sorted({distributions[name][0] for name in modules if name in distributions})


def time_call(function: Callable[[], None]) -> float:
    """Return the seconds that one call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(sys.argv[1])
