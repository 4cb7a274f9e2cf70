"""Builds that fail: no file is left, the old packed file is restored, and no traceback is shown."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import IO, NoReturn

import pytest
from hatchling.builders.wheel import WheelBuilder

from hatch_vggq import artifact, rollback, session
from hatch_vggq.hooks import VggqBuildHook
from vggq.errors import SourceError

from .conftest import MODEL, Project
from .in_process import build_here, fail_here

WHEEL = "tiny-1.0-py2.py3-none-any.whl"
SDIST = "tiny-1.0.tar.gz"
CUSTOM = "[tool.hatch.build.hooks.custom]\n"
HOOK = """\
import os, pathlib, shutil, sys, time
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
class Hook(BuildHookInterface):
    def {method}:
        {action}
"""
FINALIZE = "finalize(self, version, build_data, path)"
INITIALIZE = "initialize(self, version, build_data)"


def add_hook(project: Project, method: str, action: str, *, is_first: bool) -> None:
    """Add a build hook to the project, before or after the one of vggq."""
    (project.root / "hatch_build.py").write_text(HOOK.format(method=method, action=action))
    project.configure(f"{CUSTOM}{MODEL}bits = 4\n" if is_first else f"{MODEL}bits = 4\n{CUSTOM}")


@pytest.fixture(params=[False, True], ids=["without an old file", "with an old file"])
def before(
    request: pytest.FixtureRequest, project: Project, capsys: pytest.CaptureFixture[str]
) -> bytes | None:
    """Return the packed file of an earlier build, if there is one."""
    if not request.param:
        return None
    assert build_here(project, capsys).code == 0
    shutil.rmtree(project.root / "dist")
    return project.target.read_bytes()


def packed_file(project: Project) -> bytes | None:
    return project.target.read_bytes() if project.target.exists() else None


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("os.truncate(path, 0)", "damaged archive: "),
        ("pathlib.Path(path).write_bytes(b'text')", "damaged archive: "),
        ("os.truncate(path, os.path.getsize(path) - 40)", "damaged archive: "),
        ("os.remove(path); os.symlink(path, path)", "cannot be read: Too many levels of symbolic"),
        ("os.rename(path, path + '.new')", "no such file; another build hook has moved or removed"),
        ("os.remove(path)", "no such file; another build hook has moved or removed it"),
    ],
)
def test_archive_that_another_hook_has_damaged_is_removed(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    before: bytes | None,
    kind: str,
    action: str,
    expected: str,
) -> None:
    add_hook(project, FINALIZE, action, is_first=True)
    result = build_here(project, capsys, kind)
    assert result.code == 1
    name = {"wheel": WHEEL, "sdist": SDIST}[kind]
    assert result.lines[-1].startswith(f"{name}: {expected}")
    assert not os.path.lexists(project.root / "dist" / name)
    assert packed_file(project) == before


def test_archive_under_another_name_is_verified(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    naming = "[tool.hatch.build.targets.wheel]\nstrict-naming = false\n"
    sdist = "[tool.hatch.build.targets.sdist]\nstrict-naming = false\n"
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = 10\n"
    head = (project.root / "pyproject.toml").read_text().split("[[")[0]
    head = head.replace('"tiny"', '"Tiny"')
    add_hook(project, INITIALIZE, "build_data['tag'] = 'py3-none-win_amd64'", is_first=False)
    for tables, code in ((MODEL, 0), (limit + MODEL, 1)):
        project.configure(f"{naming}{sdist}{tables}{CUSTOM}", head)
        for kind, name in (
            ("wheel", "Tiny-1.0-py3-none-win_amd64.whl"),
            ("sdist", "Tiny-1.0.tar.gz"),
        ):
            result = build_here(project, capsys, kind)
            assert result.code == code, result.output
            path = project.root / "dist" / name
            assert path.exists() == (code == 0)
            path.unlink(missing_ok=True)


def raise_error(error: BaseException) -> object:
    def function(*_: object, **__: object) -> NoReturn:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "vggq: interrupted"),
        (MemoryError(), 1, "vggq: not enough memory"),
        (OSError(errno.ENOSPC, "No space left", "/tmp/x"), 1, "vggq: /tmp/x: No space left"),
        (OSError(errno.EIO, "Input/output error"), 1, "vggq: Input/output error"),
        (OSError("strange"), 1, "vggq: strange"),
        (
            KeyError("linkname"),
            1,
            (
                "vggq: unexpected KeyError: 'linkname'; please report this to "
                "https://github.com/hatch-vggq/hatch-vggq/issues with the traceback, which "
                "HATCH_VERBOSE=1 shows"
            ),
        ),
        (SourceError("gone", path="a.npz"), 1, "a.npz: gone"),
        (SystemExit(3), 3, None),
    ],
)
@pytest.mark.parametrize("place", ["verify_artifact", "_add_sbom", "prepare_model"])
def test_any_exception_undoes_the_build(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    before: bytes | None,
    place: str,
    error: BaseException,
    code: int,
    message: str | None,
) -> None:
    project.configure(f"{MODEL}bits = 4\n")
    owner = session.BuildSession if place == "_add_sbom" else session
    monkeypatch.setattr(owner, place, raise_error(error))
    result = build_here(project, capsys)
    assert result.code == code
    assert message is None or result.lines[-1] == message
    assert "Traceback" not in result.output
    assert not list(project.root.glob("dist/*"))
    assert packed_file(project) == before


def test_traceback_is_shown_if_requested(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HATCH_VERBOSE", "1")
    monkeypatch.setattr(artifact, "read_members", raise_error(KeyError("linkname")))
    output = fail_here(project, capsys)
    assert "Traceback (most recent call last)" in output
    assert output.splitlines()[-1].startswith("vggq: unexpected KeyError: 'linkname'")


def test_archive_that_cannot_be_removed_is_reported(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    # The folder in the place of the archive is not empty.
    action = "os.remove(path); os.makedirs(path + '/x')"
    add_hook(project, FINALIZE, action, is_first=True)
    result = build_here(project, capsys)
    assert result.code == 1
    assert result.lines[-2:] == [
        f"{WHEEL}: cannot be read: Is a directory",
        (f"vggq: {project.wheel} cannot be removed: Is a directory; do not publish it"),
    ]
    assert packed_file(project) is None


@pytest.mark.parametrize("failures", [1, 2])
def test_old_packed_file_is_restored_on_a_full_disk(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
) -> None:
    """Let writing fail: the first time, or always."""
    assert build_here(project, capsys).code == 0
    project.wheel.unlink()
    old = project.target.read_bytes()
    project.configure(f"[tool.hatch.build.hooks.vggq]\nsize-limit = 10\n{MODEL}bits = 4\n")
    left = iter(range(failures))

    def copy(source: IO[bytes], target: IO[bytes]) -> None:
        if next(left, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        shutil.copyfileobj(source, target)

    monkeypatch.setattr(rollback, "shutil", SimpleNamespace(copyfileobj=copy))
    result = build_here(project, capsys)
    assert result.code == 1
    if failures == 1:
        assert packed_file(project) == old
        assert "is lost" not in result.output
    else:
        assert packed_file(project) is None
        assert result.lines[-1] == (
            f"vggq: the previous packed file is lost: {project.target}: cannot be written: No "
            "space left on device"
        )
    assert not list(project.root.rglob("*.tmp"))


def test_new_folders_are_removed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    limit = "[tool.hatch.build.hooks.vggq]\nsize-limit = 10\n"
    project.configure(limit + MODEL.replace("tiny/tiny.vggq", "tiny/new/deep/tiny.vggq"))
    fail_here(project, capsys)
    assert not (project.root / "src/tiny/new").exists()
    # The same if the source cannot be packed.
    project.source.write_bytes(project.source.read_bytes()[:-9])
    fail_here(project, capsys)
    assert not (project.root / "src/tiny/new").exists()


def test_new_folder_that_contains_another_file_is_kept(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    action = "pathlib.Path(self.root, 'src/tiny/new/mine').write_text(''); os.remove(path)"
    add_hook(project, FINALIZE, action, is_first=True)
    tables = (project.root / "pyproject.toml").read_text()
    project.configure(tables.replace("tiny/tiny.vggq", "tiny/new/tiny.vggq"), "")
    assert build_here(project, capsys).code == 1
    assert [path.name for path in (project.root / "src/tiny/new").iterdir()] == ["mine"]


def test_full_disk_while_printing_undoes_the_build(project: Project, before: bytes | None) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    project.configure(f"{MODEL}bits = 4\n")
    build = f"exec {sys.executable} -m hatchling build -t wheel 2>/dev/full"
    assert project.run("/bin/sh", "-c", build).code != 0
    assert not list(project.root.glob("dist/*"))
    assert packed_file(project) == before


@pytest.mark.parametrize(
    ("method", "action", "is_first"),
    [
        (INITIALIZE, "raise RuntimeError('mine')", False),
        (INITIALIZE, "build_data['force_include']['gone'] = 'x'", False),
        (INITIALIZE, "build_data['sbom_files'].append('gone')", False),
        (FINALIZE, "raise RuntimeError('mine')", True),
        (FINALIZE, "sys.exit(3)", True),
        (FINALIZE, "raise KeyboardInterrupt", True),
    ],
)
def test_failure_outside_the_hook_restores_the_old_packed_file(
    project: Project, before: bytes | None, method: str, action: str, *, is_first: bool
) -> None:
    add_hook(project, method, action, is_first=is_first)
    result = project.build()
    assert result.code != 0
    assert "SQNR" in result.output
    assert packed_file(project) == before


@pytest.mark.parametrize("variables", [{"HATCH_BUILD_HOOKS_ONLY": "true"}, {}])
def test_packed_file_is_kept_if_only_the_hooks_run(
    project: Project, variables: dict[str, str]
) -> None:
    options = [] if variables else ["--hooks-only"]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", *options]
    result = project.run(*command, **variables)
    assert result.code == 0, result.output
    assert not list(project.root.glob("dist/*"))
    assert project.target.is_file()


def test_interrupted_build_restores_the_old_packed_file(
    project: Project, before: bytes | None
) -> None:
    """Interrupt a build like Ctrl-C does, while another hook waits after packing."""
    action = "pathlib.Path('waits').write_text(''); time.sleep(60)"
    add_hook(project, INITIALIZE, action, is_first=False)
    code = (
        "import os, signal, subprocess, sys, time\n"
        # Background jobs of a shell ignore the signal, and their processes inherit that.
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "build = [sys.executable, '-m', 'hatchling', 'build', '-t', 'wheel']\n"
        "process = subprocess.Popen(build)\n"
        "while not os.path.exists('waits'): time.sleep(0.05)\n"
        "process.send_signal(signal.SIGINT)\n"
        "sys.exit(process.wait() == 0)\n"
    )
    result = project.run(sys.executable, "-c", code)
    assert result.code == 0, result.output
    assert "KeyboardInterrupt" in result.output
    assert packed_file(project) == before


def test_missing_library_of_the_hook_is_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "hatch_vggq.session", None)
    with pytest.raises(SystemExit) as caught:
        assert WheelBuilder(str(project.root)).config.dependencies
    assert str(caught.value).startswith("vggq: ")
    assert str(caught.value).endswith("; install hatch-vggq and its dependencies again")
    assert capsys.readouterr().err == ""


def test_clean_that_fails_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        session, "remove_packed_file", raise_error(OSError(errno.EACCES, "Permission denied", "a"))
    )
    result = build_here(project, capsys, clean_only=True)
    assert (result.code, result.lines) == (1, ["vggq: a: Permission denied"])


def test_temporary_folder_of_a_failed_build_is_removed(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    add_hook(project, FINALIZE, "os.remove(path)", is_first=True)
    assert build_here(project, capsys).code == 1
    assert not list(tmp_path.glob("vggq-*"))


def test_hook_of_another_target_keeps_its_packed_file(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Call the hook as a builder of another kind does."""
    builder = WheelBuilder(str(project.root))
    table, root = builder.config.hook_config["vggq"], builder.root
    hook = VggqBuildHook(root, table, builder.config, builder.metadata, root, "binary")
    hook.initialize("bootstrap", {"artifacts": [], "force_include": {}})
    hook.finalize("bootstrap", {}, str(project.root / "dist"))
    del hook
    assert project.target.is_file()
    assert capsys.readouterr().err.startswith("vggq: src/tiny/tiny.vggq: ")
