"""Fetch the models of both samples, build their wheels, install them, and check the results.

::

    python demo.py [vgg19] [onnx]

`hatch run demo` runs this script. Everything but the fetched models is in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import demo_onnx
import demo_vgg19

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]


class Sample(NamedTuple):
    """A sample package.

    Attributes:
        project: its folder.
        model: what is fetched, in words.
        fetch: fetches it, and returns an exit code.
        check: prints the figures of the model, and returns an exit code. It is called with the
            Python of an environment and the wheel that is installed there.

    """

    project: Path
    model: str
    fetch: Callable[[], int]
    check: Callable[[Path, Path], int]


SAMPLES = {
    "vgg19": Sample(demo_vgg19.PROJECT, demo_vgg19.MODEL, demo_vgg19.fetch, demo_vgg19.check),
    "onnx": Sample(demo_onnx.PROJECT, demo_onnx.MODEL, demo_onnx.fetch, demo_onnx.check),
}


def main(argv: list[str] | None = None) -> int:
    """Run every step for the named samples, or for both; return 1 if a step fails."""
    parser = argparse.ArgumentParser(description="Build and check the samples.")
    parser.add_argument("samples", nargs="*", metavar="SAMPLE", help="vgg19 or onnx (default both)")
    names = parser.parse_args(argv).samples or list(SAMPLES)
    if unknown := [name for name in names if name not in SAMPLES]:
        parser.error(f"no sample {unknown[0]!r}; expected vgg19 or onnx")
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        print_step("The wheel of hatch-vggq")
        build_project_wheel(ROOT, wheels)
        return max([run_sample(name, wheels) for name in names])


def run_sample(name: str, wheels: Path) -> int:
    """Fetch, build, install and check a sample; return 1 if a step fails."""
    sample = SAMPLES[name]
    print_step(f"{name}: 1. Fetch {sample.model}")
    if sample.fetch():
        return 1
    print_step(f"{name}: 2. Build the wheel")
    wheel = build_project_wheel(sample.project, wheels)
    print_step(f"{name}: 3. Install the wheel and its dependencies in a new environment")
    python = install_in_environment(wheels / f"{name}-environment", wheel)
    print_step(f"{name}: 4. Restore the model in that environment")
    return sample.check(python, wheel)


def print_step(title: str) -> None:
    """Print the title of a step."""
    print(f"\n{title}", flush=True)


def build_project_wheel(project: Path, wheels: Path) -> Path:
    """Build a project's wheel in an isolated environment, and return the path of the wheel.

    Args:
        project: the folder of the project.
        wheels: the folder for the wheel, where pip also finds the wheels that it needs.

    """
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(wheels), str(project)]
    before = set(wheels.glob("*.whl"))
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {wheels}".strip()
    subprocess.run(command, check=True, env=os.environ | {"PIP_FIND_LINKS": links})
    return (set(wheels.glob("*.whl")) - before).pop()


def install_in_environment(environment: Path, wheel: Path) -> Path:
    """Install a wheel in a new virtual environment, and return the path of its Python."""
    venv.create(environment, with_pip=True)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(scripts / "python"), "-m", "pip", "--disable-pip-version-check"]
    links = ["--find-links", str(wheel.parent)]
    subprocess.run([*pip, "install", "--quiet", *links, str(wheel)], check=True)
    subprocess.run([*pip, "list"], check=True)
    return scripts / "python"


if __name__ == "__main__":
    sys.exit(main())
