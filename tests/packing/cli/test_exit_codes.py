"""Exit codes as listed in docs/cli.md, and output that suits scripts, pipes and terminals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.test_docs import section
from vggq.packing.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND: Final = (
    sys.executable,
    "-u",
    "-c",
    "import sys; from vggq.packing.cli import main; sys.exit(main())",
)


def listed_codes() -> list[int]:
    return [
        int(c)
        for c in re.findall(r"^\| (\d+) \|", section("docs/cli.md", "## Exit codes"), re.MULTILINE)
    ]


def run(*arguments: str) -> int:
    return subprocess.run([*COMMAND, *arguments], check=False, capture_output=True).returncode


def succeed(packed: str, source: str) -> set[int]:
    return {
        run("verify", packed, "--against", source),
        run("compare", packed, packed),
        run("--version"),
    }


def answer_no(packed: str, source: str) -> set[int]:
    Path("pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\n')
    Path("a").mkdir()
    Path("a/__init__.py").touch()
    damaged = bytearray(Path(packed).read_bytes())
    damaged[-1] ^= 1
    Path("damaged.vggq").write_bytes(damaged)
    return {
        run("compare", packed, source),
        run("verify", "damaged.vggq"),
        run("init", source),
    }


def fail(packed: str, source: str) -> set[int]:
    Path("damaged.vggq").write_bytes(Path(packed).read_bytes()[:-1])
    return {
        run("verify", "gone.vggq"),
        run("compare", packed, "gone.npz"),
        run("inspect", "damaged.vggq"),
        run("pack", source),
        run("pack", source, "t.vggq", "--bits", "9"),
        run("init", "--project", "gone"),
        run("no-command"),
    }


def interrupt(packed: str, source: str) -> set[int]:
    """Interrupt a command that waits: its input is a pipe without a writer yet."""
    os.mkfifo("pipe.npz")
    # A shell ignores this signal in what it starts in the background, which children inherit.
    handle = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    *python, code = COMMAND
    command = [*python, handle + code, "inspect", "pipe.npz"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    with Path("pipe.npz").open("wb"):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err == b"vggq: interrupted\n"
    return {process.returncode}


def close_pipe(packed: str, source: str) -> set[int]:
    process = subprocess.Popen([*COMMAND, "inspect", packed], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    return {process.wait()}


CASES: Final[dict[int, Callable[[str, str], set[int]]]] = {
    0: succeed,
    1: answer_no,
    2: fail,
    130: interrupt,
    141: close_pipe,
}


def test_every_listed_exit_code_is_tested() -> None:
    assert listed_codes() == list(CASES)


@pytest.mark.parametrize("code", CASES)
def test_exit_codes_are_as_listed(
    code: int, tmp_path: Path, packed: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if code == 130 and not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    assert CASES[code](packed, source) == {code}


def quiet_calls(packed: str, source: str) -> list[tuple[list[str], int]]:
    return [
        (["pack", source, "q.vggq"], 0),
        (["verify", packed], 0),
        (["compare", packed, packed], 0),
        (["report", packed, "-o", "q.html"], 0),
        (["unpack", packed, "q.npz"], 0),
        (["vendor", "q"], 0),
        (["init", source, "--yes"], 0),
        (["init"], 0),
    ]


def test_quiet_commands_print_nothing(
    tmp_path: Path,
    packed: str,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\n')
    Path("a").mkdir()
    Path("a/__init__.py").touch()
    for arguments, code in quiet_calls(packed, source):
        assert main([*arguments, "--quiet"]) == code
        assert capsys.readouterr() == ("", ""), arguments
    assert Path("q.vggq").exists()
    assert Path("q.html").exists()
    assert main(["verify", packed]) == 0
    assert capsys.readouterr().out == f"{packed}: 3 tensors are valid\n"


def test_quiet_commands_print_errors(
    packed: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", packed, source, "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "vggq: error: 1 of 3 tensors differ: 'a.weight'\n"


def test_quiet_and_json_exclude_each_other(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", packed, "--json", "--quiet"])
    assert caught.value.code == 2
    assert "not allowed with argument --json" in capsys.readouterr().err


def run_in_terminal(arguments: list[str], **variables: str) -> bytes:
    """Return what a command prints on a terminal of 80 columns."""
    import pty  # noqa: PLC0415 - not on Windows

    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "80", **variables},
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        # Linux reports the end of a terminal as an error.
        pass
    os.close(ours)
    process.wait()
    return shown


COLOR: Final = re.compile(rb"\x1b\[[0-9;]*3[0-9]")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_diffs_have_colors_in_a_terminal_unless_no_color_is_set(
    tmp_path: Path, source: str
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\n')
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "__init__.py").touch()
    arguments = ["init", source, "--project", str(tmp_path)]
    assert COLOR.search(run_in_terminal(arguments))
    assert not COLOR.search(run_in_terminal(arguments, NO_COLOR="1"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_is_shown_in_a_terminal_only(tmp_path: Path, source: str) -> None:
    arguments = ["pack", source, str(tmp_path / "p.vggq")]
    assert b"packing" in run_in_terminal(arguments)
    assert b"packing" not in run_in_terminal(arguments, TERM="dumb")
    done = subprocess.run(
        [*COMMAND, *arguments],
        check=True,
        capture_output=True,
        env={**os.environ, "FORCE_COLOR": "1"},
    )
    assert (
        done.stderr == b"vggq: SQNR is not accuracy; `vggq tune` checks the answers of the model\n"
    )


def test_tables_in_pipes_have_their_full_width(packed: str) -> None:
    """FORCE_COLOR makes rich take the pipe for a terminal."""
    done = subprocess.run(
        [*COMMAND, "inspect", packed],
        check=True,
        capture_output=True,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "20"},
    )
    (row,) = (line for line in done.stdout.splitlines() if line.lstrip().startswith(b"a.weight"))
    assert row.split()[:5] == [b"a.weight", b"50x40", b"F32", b"codebook", b"256"]
