"""The help of the commands, the version, and the completion in shells."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
import zstandard

from tests.test_docs import COMMANDS
from vggq.packing.cli import _make_parser, main

if TYPE_CHECKING:
    from pathlib import Path

COMMAND: Final = "import sys; from vggq.packing.cli import main; sys.exit(main())"


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (
        action
        for action in _make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(action.choices)


def test_every_command_is_documented() -> None:
    assert tuple(commands()) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_ends_with_examples_that_can_be_parsed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    _, _, examples = capsys.readouterr().out.partition("\nexample")
    lines = [line.strip() for line in examples.splitlines()[1:]]
    calls = [call for line in lines for call in re.findall(r"\bvggq ([^)>#]+)", line)]
    assert len(calls) >= len(lines) > 0
    for call in calls:
        first, *arguments = shlex.split(call)
        assert first == command
        commands()[command].parse_args(arguments)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_no_escaped_percent_signs(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert "%%" not in capsys.readouterr().out


def test_help_has_percent_signs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    out = capsys.readouterr().out
    assert "--within 0.5% -o tuned" in out
    assert "such as 0.5%\n" in out


def test_version_names_the_zstd_that_packs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    zstd = ".".join(map(str, zstandard.ZSTD_VERSION))
    assert re.fullmatch(rf"vggq \d+\.\d+\.\d+\S*, zstd {re.escape(zstd)}\n", out)
    assert err == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["in"], ["init", "inspect"]),
        (["verify", "--a"], ["--against"]),
        (["pack", "--effort", ""], ["best", "default", "fast"]),
        (["completion", ""], ["bash", "zsh", "tcsh"]),
        (["verify", "mod"], ["model.pth"]),
        (["init", "--target", "mod"], ["model.pth"]),
    ],
)
def test_bash_completes_commands_options_and_paths(
    tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    (tmp_path / "model.pth").touch()
    script = subprocess.run(
        [sys.executable, "-c", COMMAND, "completion", "bash"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # `complete -p` names the function that the script has registered.
    script += f"""
COMP_WORDS=(vggq {shlex.join(words)}); COMP_CWORD={len(words)}
function=$(complete -p vggq | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function vggq {shlex.quote(words[-1])} "" 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert sorted(done.stdout.split()) == sorted(expected)


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_completion_scripts_name_every_command(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)


def test_missing_shtab_raises_an_error_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    expected = "vggq: error: shtab is not installed: pip install 'hatch-vggq[cli]'\n"
    assert capsys.readouterr().err == expected
