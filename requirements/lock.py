"""Lock the development environment: write pinned versions with the hashes of their files.

::

    hatch run lock

The script resolves the requirements in pyproject.toml and writes `requirements/default.txt`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
UV_OPTIONS = (
    "--universal", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
    "--no-emit-index-url", "--python-version", "3.11",
)  # fmt: skip


def main() -> None:
    """Write the lock file; arguments of the command line are passed on to uv."""
    pyproject = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = collect_requirements(pyproject)
    (HERE / "default.txt").write_bytes(resolve(requirements, sys.argv[1:]))


def collect_requirements(pyproject: dict[str, Any]) -> list[str]:
    """Return the requirements of the project, of its extras and of the environment `default`."""
    project = pyproject["project"]
    extras = project["optional-dependencies"].values()
    environment = pyproject["tool"]["hatch"]["envs"]["default"]["dependencies"]
    requirements = [
        *project["dependencies"],
        *(requirement for extra in extras for requirement in extra),
        *environment,
    ]
    return [item for item in requirements if not item.startswith("hatch-vggq")]


def resolve(requirements: list[str], arguments: list[str]) -> bytes:
    """Return the content of a requirements file that pins everything, with hashes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "requirements.in")
        path.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", *UV_OPTIONS, str(path), *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
