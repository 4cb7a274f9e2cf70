"""Packing that fails halfway: the old file or the complete new one, and nothing else."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

from tests.helpers import save_npz
from vggq.errors import SourceError
from vggq.packing import atomic_file, pack
from vggq.packing.atomic_file import atomic_write, remove_leftovers
from vggq.packing.sources import _safetensors_header
from vggq.packing.sources import safetensors as safetensors_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

CHANGED = "changed while it was read; wait until it is complete, then build again"


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    return save_npz(tmp_path / "state.npz", state)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def leftover(target: Path, number: int = 0) -> Path:
    path = target.with_name(f".{target.name}.{number:08x}.tmp")
    path.write_bytes(b"half")
    return path


def test_atomic_write_removes_leftovers_of_a_killed_process(tmp_path: Path) -> None:
    target = tmp_path / "x[1]"
    leftover(target)
    other = leftover(tmp_path / "x1")
    with atomic_write(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == {"x[1]", other.name}


def test_remove_leftovers_keeps_the_file_of_a_running_process(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with atomic_write(target) as file:
        file.write(b"new")
        file.flush()
        os.utime(file.name, (0, 0))
        remove_leftovers(target)
    assert target.read_bytes() == b"new"


def test_atomic_write_creates_the_file_again_if_it_was_removed_before_locking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, flock = tmp_path / "x", fcntl.flock
    taken: list[str] = []

    def overtaken(file: Any, operation: int) -> None:
        if not taken:
            taken.append(file.name)
            Path(file.name).unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with atomic_write(target) as file:
        file.write(b"new")
    assert taken
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == {"x"}


def test_remove_leftovers_uses_the_age_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    target = tmp_path / "x"
    young, old = leftover(target, 1), leftover(target, 2)
    os.utime(old, (0, time.time() - 25 * 3600))
    with atomic_write(target) as file:
        file.write(b"new")
    assert names(tmp_path) == {"x", young.name}


def test_atomic_write_works_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_file, "fcntl", None)
    target = tmp_path / "x"
    leftover(target)
    with atomic_write(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == {"x"}


def rewritten(source: Path, state: State) -> None:
    state["steps"] = state["steps"] + 1
    save_npz(source, state)


def replaced(source: Path, state: State) -> None:
    state["steps"] = state["steps"] + 1
    save_npz(source.with_name("new.npz"), state).replace(source)


def cut_short(source: Path, state: State) -> None:
    os.truncate(source, source.stat().st_size - 1)


def gone(source: Path, state: State) -> None:
    source.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rewritten, CHANGED),
        (replaced, CHANGED),
        (cut_short, CHANGED),
        (gone, "no such file"),
    ],
)
def test_pack_rejects_a_source_that_changes_while_it_is_read(
    source: Path, state: State, change: Callable[[Path, State], None], message: str
) -> None:
    target = source.with_suffix(".vggq")
    old = pack(source, target).target.read_bytes()

    def once(done: int, whole: int) -> None:
        if done == whole:
            change(source, state)

    with pytest.raises(SourceError, match=message):
        pack(source, target, bits=4, progress=once)
    assert target.read_bytes() == old
    assert names(source.parent) - {source.name} == {target.name}


def test_pack_rejects_a_source_that_changes_between_header_and_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header would belong to the old file, and the tensors to the new one."""
    source = tmp_path / "s.safetensors"
    first, second = {"a": np.zeros(3), "b": np.ones(3)}, {"a": np.ones(3), "b": np.zeros(3)}
    safetensors.numpy.save_file(first, source)
    read_header = _safetensors_header.read_checkpoint_header

    def late(*arguments: Any) -> Any:
        header = read_header(*arguments)
        safetensors.numpy.save_file(second, tmp_path / "new")
        shutil.copyfile(tmp_path / "new", source)
        return header

    monkeypatch.setattr(safetensors_source, "read_checkpoint_header", late)
    with pytest.raises(SourceError, match=CHANGED):
        pack(source, tmp_path / "s.vggq")
    assert names(tmp_path) == {"s.safetensors", "new"}


def test_pack_rejects_a_shard_that_changes(tmp_path: Path) -> None:
    for name in "ab":
        safetensors.numpy.save_file({name: np.zeros(3)}, tmp_path / f"{name}.safetensors")
    index = tmp_path / "m.index.json"
    index.write_text('{"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}')

    def change(done: int, whole: int) -> None:
        safetensors.numpy.save_file({"b": np.ones(3)}, tmp_path / "b.safetensors")

    with pytest.raises(SourceError, match=CHANGED):
        pack(index, tmp_path / "m.vggq", progress=change)


# Mount a separate file system in a separate namespace.
MOUNTED = ["unshare", "--map-root-user", "--mount", sys.executable, "-c"]
mounting = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*MOUNTED, ""], check=False, capture_output=True).returncode != 0,
    reason="the system does not allow namespaces",
)

FULL = """\
import subprocess, sys
from pathlib import Path
from vggq.packing import frame_spool, pack
from vggq.errors import TargetError

frame_spool.MAX_IN_MEMORY = int(sys.argv[4])
small, large, folder = map(Path, sys.argv[1:4])
target = folder / "t.vggq"
for kilobytes in range(12, 80, 4):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", folder], check=True)
    old = pack(small, target).target.read_bytes()
    try:
        pack(large, target)
        assert target.read_bytes() != old
        print("written")
    except TargetError as error:
        assert target.read_bytes() == old
        print(str(error).removeprefix(f"{target}: "))
    assert list(folder.iterdir()) == [target]
    subprocess.run(["umount", folder], check=True)
"""


@mounting
@pytest.mark.parametrize("in_memory", [0, 10_000, 10_000_000])
def test_pack_keeps_the_old_target_on_a_full_disk(tmp_path: Path, in_memory: int) -> None:
    rng = np.random.default_rng(0)
    small = save_npz(tmp_path / "small.npz", {"a": np.zeros(3)})
    parts = {f"w{i}": rng.standard_normal(1000).astype(np.float32) for i in range(6)}
    large = save_npz(tmp_path / "large.npz", parts)
    (tmp_path / "disk").mkdir()
    arguments = [str(small), str(large), str(tmp_path / "disk"), str(in_memory)]
    done = subprocess.run([*MOUNTED, FULL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert set(lines) == {"cannot be written: No space left on device", "written"}
    assert lines == sorted(lines)


READ_ONLY = """\
import subprocess, sys
subprocess.run(["mount", "--bind", "-o", "ro", sys.argv[1], sys.argv[1]], check=True)
from vggq.packing.cli import main
sys.exit(main(["pack", *sys.argv[2:]]))
"""


@mounting
def test_pack_keeps_the_old_target_in_a_read_only_folder(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    target = pack(source, folder / "t.vggq").target
    old = target.read_bytes()
    command = [*MOUNTED, READ_ONLY, str(folder), str(source), str(target), "--bits", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == (f"vggq: error: {target}: cannot be written: Read-only file system\n")
    assert target.read_bytes() == old
    assert names(folder) == {"t.vggq"}


def without_root_rights(*command: str) -> list[str]:
    """Return a command that obeys file modes, which root would ignore."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]


@pytest.mark.parametrize(
    ("denied", "mode", "message"),
    [
        ("disk", 0o555, "{target}: cannot be written: Permission denied"),
        ("state.npz", 0o000, "{source}: cannot be read: Permission denied"),
    ],
)
def test_pack_reports_missing_permissions(
    tmp_path: Path, source: Path, denied: str, mode: int, message: str
) -> None:
    target = tmp_path / "disk" / "t.vggq"
    target.parent.mkdir()
    old = pack(source, target).target.read_bytes()
    (tmp_path / denied).chmod(mode)
    code = "import sys; from vggq.packing.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "pack", str(source), str(target), "--bits", "2"]
    done = subprocess.run(
        without_root_rights(*command), capture_output=True, text=True, check=False
    )
    (tmp_path / denied).chmod(0o755)
    line = message.format(target=target, source=source)
    assert done.stderr == f"vggq: error: {line}\n"
    assert target.read_bytes() == old
    assert names(target.parent) == {"t.vggq"}
