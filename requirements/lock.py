"""Write the development environment down, with a digest of every file that may be installed.

::

    hatch run lock

What is asked for stands in pyproject.toml; what that comes to, in `requirements/default.txt`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def wanted(project: dict[str, Any]) -> list[str]:
    """All direct dependencies: the project's own, its extras', and those of `default`."""
    own = project["project"]
    extras = own["optional-dependencies"].values()
    environment = project["tool"]["hatch"]["envs"]["default"]["dependencies"]
    every = [*own["dependencies"], *(item for extra in extras for item in extra), *environment]
    return [item for item in every if not item.startswith("hatch-vggq")]


def main() -> None:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "asked.in")
        asked.write_text("\n".join(wanted(project)) + "\n", encoding="utf-8")
        compiled = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "--universal", "--quiet"),
                *("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"),
                *("--python-version", "3.11", str(asked), *sys.argv[1:]),
            ],
            check=True,
            stdout=subprocess.PIPE,
        )
    (HERE / "default.txt").write_bytes(compiled.stdout)


if __name__ == "__main__":
    main()
