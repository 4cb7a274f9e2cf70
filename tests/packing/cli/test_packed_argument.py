"""Commands that need a packed file explain other files, and say how to get a packed file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packing.cli.test_inspect import save_sdist, save_wheel
from vggq.packing.cli import main

Capture = pytest.CaptureFixture[str]

COMMANDS: dict[str, list[str]] = {
    "verify": ["verify", "{file}"],
    "unpack": ["unpack", "{file}", "out.npz"],
    "compare": ["compare", "{file}", "{source}"],
    "report": ["report", "{file}", "-o", "out.html"],
}
ALL_COMMANDS = pytest.mark.parametrize("command", COMMANDS)
ARCHIVES = {
    "a.whl": (save_wheel, "zipfile"),
    "a.zip": (save_wheel, "zipfile"),
    "a.tar.gz": (save_sdist, "tarfile"),
}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(command: str, file: str, source: str) -> int:
    return main([part.format(file=file, source=source) for part in COMMANDS[command]])


@ALL_COMMANDS
@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_explained(
    packed: str, source: str, capsys: Capture, command: str, name: str
) -> None:
    save, module = ARCHIVES[name]
    content = Path(packed).read_bytes()
    save(Path(name), {"tiny/a.py": b"", "tiny/a.vggq": content, "tiny/b.vggq": content})
    before = sorted(Path().iterdir())
    assert run(command, name, source) == 2
    assert capsys.readouterr() == (
        "",
        (
            f"vggq: error: {name}: an archive, not a packed file; it contains tiny/a.vggq, "
            f"tiny/b.vggq: extract it with `python -m {module} -e {name} FOLDER`, or look at it "
            f"with `vggq inspect {name}`\n"
        ),
    )
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_suggested_commands_work(packed: str, source: str, capsys: Capture, name: str) -> None:
    save, module = ARCHIVES[name]
    save(Path(name), {"tiny/a.vggq": Path(packed).read_bytes()})
    run("verify", name, source)
    message = capsys.readouterr().err
    extract, inspect = message.split("`")[1::2]
    assert extract.split() == ["python", "-m", module, "-e", name, "FOLDER"]
    subprocess.run([sys.executable, *extract.split()[1:]], check=True, capture_output=True)
    assert run("verify", "FOLDER/tiny/a.vggq", source) == 0
    assert main(inspect.split()[1:]) == 0


@ALL_COMMANDS
def test_many_names_of_an_archive_are_counted(source: str, capsys: Capture, command: str) -> None:
    names = ["a\x1b[31m.vggq", *(f"{number}.vggq" for number in range(8))]
    save_wheel(Path("a.whl"), dict.fromkeys(names, b""))
    assert run(command, "a.whl", source) == 2
    shown = r"it contains a\x1b[31m.vggq, 0.vggq, 1.vggq, 2.vggq, 3.vggq and 4 more: extract"
    assert shown in capsys.readouterr().err


@ALL_COMMANDS
def test_archives_without_packed_files_are_explained(
    source: str, capsys: Capture, command: str
) -> None:
    save_wheel(Path("a.whl"), {"a.py": b""})
    assert run(command, "a.whl", source) == 2
    expected = "vggq: error: a.whl: contains no packed file, whose name ends in .vggq\n"
    assert capsys.readouterr().err == expected


def test_an_archive_as_the_reference_is_explained(packed: str, capsys: Capture) -> None:
    save_wheel(Path("a.whl"), {"a.vggq": Path(packed).read_bytes()})
    for files in ((packed, "a.whl"), ("a.whl", packed)):
        assert main(["compare", *files]) == 2
        assert "a.whl: an archive, not a packed file; it contains" in capsys.readouterr().err


@ALL_COMMANDS
def test_checkpoints_are_explained(source: str, capsys: Capture, command: str) -> None:
    assert run(command, source, source) == 2
    assert capsys.readouterr() == (
        "",
        (
            f"vggq: error: {source}: a checkpoint of the format npz, not a packed file; pack it "
            f"first: `vggq pack {source} model.vggq`\n"
        ),
    )


@ALL_COMMANDS
def test_safetensors_checkpoints_are_explained(packed: str, capsys: Capture, command: str) -> None:
    assert main(["unpack", packed, "m.safetensors"]) == 0
    capsys.readouterr()
    assert run(command, "m.safetensors", "m.safetensors") == 2
    assert "m.safetensors: a checkpoint of the format safetensors, not" in capsys.readouterr().err


@ALL_COMMANDS
@pytest.mark.parametrize("name", ["model.safetensors", "a.zip", "model", "b.vggq"])
def test_packed_files_of_any_name_are_accepted(
    packed: str, source: str, command: str, name: str
) -> None:
    shutil.copy(packed, name)
    assert run(command, name, packed) == 0


@ALL_COMMANDS
@pytest.mark.parametrize("name", ["model.safetensors", "model", "b.vggq"])
def test_damaged_packed_files_are_not_taken_for_checkpoints(
    packed: str, source: str, capsys: Capture, command: str, name: str
) -> None:
    Path(name).write_bytes(Path(packed).read_bytes()[:-1])
    assert run(command, name, source) == (1 if command == "verify" else 2)
    expected = f"vggq: error: {name}: not a valid .vggq file: the file is truncated: "
    assert capsys.readouterr().err.startswith(expected)


@ALL_COMMANDS
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.bin", None, "no such file"),
        ("gone.whl", None, "no such file"),
        ("gone.vggq", None, "no such file"),
        ("notes.txt", b"hello", "not a valid .vggq file: "),
        (
            "m.bin",
            b"version https://git-lfs.github.com/spec/v1\noid",
            "not a valid .vggq file: a Git LFS pointer; run `git lfs pull`",
        ),
    ],
)
def test_other_files_keep_their_errors(
    source: str, capsys: Capture, command: str, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert run(command, name, source) == (1 if command == "verify" and content else 2)
    assert capsys.readouterr().err.startswith(f"vggq: error: {name}: {message}")


def test_only_a_checkpoint_must_be_the_second_file(packed: str, capsys: Capture) -> None:
    shutil.copy(packed, "model.bin")
    assert main(["compare", "model.bin", packed]) == 0
    capsys.readouterr()
    Path("junk.vggq").write_bytes(bytes(20))
    for name, message in (
        ("gone.npz", "no such file"),
        ("junk.vggq", "not a valid .vggq file: not valid JSON"),
    ):
        assert main(["compare", name, packed]) == 2
        assert capsys.readouterr().err.startswith(f"vggq: error: {name}: {message}")
