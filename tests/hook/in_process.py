"""Build a project within the test's own process, which is faster than in a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from .conftest import Result

if TYPE_CHECKING:
    import pytest

    from .conftest import Project

BUILDERS: dict[str, Any] = {"wheel": WheelBuilder, "sdist": SdistBuilder}


def build_here(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    kind: str = "wheel",
    version: str = "standard",
    **arguments: Any,
) -> Result:
    """Build an artifact into `dist`, and return the exit code and what was printed."""
    builder = BUILDERS[kind](str(project.root))
    code = 0
    try:
        list(builder.build(directory=str(project.root / "dist"), versions=[version], **arguments))
    except SystemExit as error:
        code = int(error.code or 0)
    printed = capsys.readouterr()
    return Result(code, printed.out + printed.err)


def fail_here(project: Project, capsys: pytest.CaptureFixture[str], kind: str = "wheel") -> str:
    """Build an artifact that must be refused, check that no file is left, and return the output."""
    before = project.files()
    result = build_here(project, capsys, kind)
    assert result.code == 1, result.output
    assert project.files() == before
    return result.output.rstrip("\n")
