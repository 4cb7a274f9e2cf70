"""Run where only the wheel is installed: restore, measure, and write what was restored.

Prints JSON on stdout: seconds, and the third-party packages that were loaded.
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
    """Restore VGG19, write it to `out` (.npz) and print the figures."""
    before = set(sys.modules)
    begin = time.perf_counter()
    import vgg19_style  # noqa: PLC0415

    import_seconds = time.perf_counter() - begin

    import numpy as np  # noqa: PLC0415

    import vggq  # noqa: PLC0415

    save_npz: Any = np.savez
    save_npz(out, **vgg19_style.weights)

    def restore() -> None:
        vggq.load("vgg19_style", "vgg19.vggq")

    def read_raw() -> None:
        with np.load(out) as arrays:
            dict(arrays)

    restores, reads = zip(*((timed(restore), timed(read_raw)) for _ in range(9)), strict=True)
    known = packages_distributions()
    loaded = {known[name][0] for name in set(sys.modules) - before if name in known}
    print(
        json.dumps(
            {
                "import_seconds": import_seconds,
                "restore_seconds": statistics.median(restores),
                "raw_seconds": statistics.median(reads),
                "third_party": sorted(loaded),
            }
        )
    )


def timed(function: Callable[[], None]) -> float:
    """Seconds that one call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(sys.argv[1])
