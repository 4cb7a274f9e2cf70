"""The command `vggq init`: what it prints, asks and writes."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import pytest

from vggq.packing.cli import main

PYPROJECT = '[project]\nname = "tiny"  # [red]x\nversion = "1"\nrequires-python = ">=3.8"\n'
REMARK = (
    "vggq: project.requires-python: '>=3.8' admits Pythons that hatch-vggq does not support; write "
    "'>=3.11', or add a marker to the dependency: \"hatch-vggq; python_version >= '3.11'\"\n"
)
DIFF = """\
--- pyproject.toml
+++ pyproject.toml
@@ -1,4 +1,13 @@
+[build-system]
+requires = ["hatchling", "hatch-vggq"]
+build-backend = "hatchling.build"
+
 [project]
 name = "tiny"  # [red]x
 version = "1"
 requires-python = ">=3.8"
+dependencies = ["hatch-vggq>=0.1.0"]
+
+[[tool.hatch.build.hooks.vggq.models]]
+source = "model.npz"
+target = "tiny/model.vggq"
--- /dev/null
+++ .gitignore
@@ -0,0 +1,2 @@
+*.vggq
+/model.npz
"""
USAGE = """
The lines of Python in your package:

    import vggq

    arrays = vggq.load("tiny", "model.vggq")  # a dict of numpy arrays

"""


@pytest.fixture
def project(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the checkpoint model.npz, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "__init__.py").touch()
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_without_a_terminal_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(project)
    assert main(["init"]) == 1
    out, err = capsys.readouterr()
    assert out == DIFF + USAGE
    assert err == REMARK + "vggq: nothing was written; add --yes to write the changes\n"
    assert content(project) == before


def test_yes_writes_and_another_run_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "model.npz", "--yes"]) == 0
    wrote = "wrote pyproject.toml, .gitignore; now change your code as shown, and build as always, "
    wrote += "for example with "
    assert capsys.readouterr() == (f"{DIFF}{USAGE}{wrote}`python -m build`\n", REMARK)
    after = content(project)
    assert main(["init", "model.npz", "--project", str(project)]) == 0
    assert capsys.readouterr().out == f"nothing to change: the project is set up\n{USAGE}"
    assert content(project) == after


@pytest.mark.parametrize(
    ("answer", "code"), [("y", 0), (" Yes ", 0), ("n", 1), ("", 1), (EOFError(), 1)]
)
def test_terminal_is_asked(
    project: Path, monkeypatch: pytest.MonkeyPatch, answer: str | EOFError, code: int
) -> None:
    def ask(prompt: str) -> str:
        assert prompt == "Write these changes? [y/N] "
        if isinstance(answer, EOFError):
            raise answer
        return answer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(builtins, "input", ask)
    before = content(project)
    assert main(["init"]) == code
    assert (content(project) == before) == bool(code)


def test_interrupt_at_the_question_writes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(builtins, "input", interrupt)
    before = content(project)
    assert main(["init"]) == 130
    assert capsys.readouterr().err.endswith("vggq: interrupted\n")
    assert content(project) == before


def test_missing_tomlkit_raises_an_error_with_the_install_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    Path("pyproject.toml").write_text(head + PYPROJECT)
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    assert main(["init"]) == 2
    expected = "vggq: error: tomlkit is not installed: pip install 'hatch-vggq[cli]'\n"
    assert capsys.readouterr().err == expected


def test_errors_name_the_file_and_the_next_step(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(project)
    assert main(["init", "gone.pth"]) == 2
    assert capsys.readouterr().err.endswith("gone.pth: no such file\n")
    assert main(["init", "--project", "tiny"]) == 2
    assert "tiny/pyproject.toml: no such file; run `vggq init` in" in capsys.readouterr().err
    assert content(project) == before
