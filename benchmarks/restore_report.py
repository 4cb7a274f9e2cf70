"""Write docs/speed.md, docs/restore.png and README's tables from the results of `restore.py`.

    python benchmarks/restore_report.py [RESULTS.json ...]

Without files, those in `benchmarks/results/` are used, one for each machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from restore_chart import draw_chart
from restore_page import format_page
from restore_readme import format_block, replace_block
from restore_results import Results

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"


def main() -> None:
    """Write the pages and the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="RESULTS.json")
    files = parser.parse_args().files or sorted(RESULTS.glob("*.json"))
    if not files:
        parser.error(f"no results: {RESULTS} has no JSON file")
    write_report([Results.read(path) for path in files], ROOT)


def write_report(results: list[Results], root: Path) -> None:
    """Write the pages and the chart of a project's folder."""
    readme = root / "README.md"
    text = replace_block(readme.read_text(encoding="utf-8"), format_block(results))
    readme.write_text(text, encoding="utf-8")
    (root / "docs" / "speed.md").write_text(format_page(results), encoding="utf-8")
    draw_chart(results, root / "docs" / "restore.png")


if __name__ == "__main__":
    main()
