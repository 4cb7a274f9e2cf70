"""Builds that are killed, that run beside each other, and that may not write."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vggq
from tests.helpers import save_npz

from .conftest import MODEL, Project

if TYPE_CHECKING:
    from pathlib import Path

BUILD = """\
import sys
import hatchling.build
import vggq.packing
print("begins", flush=True)
hatchling.build.build_wheel(sys.argv[1])
"""
KILLS = 200


def start(project: Project, out: Path) -> subprocess.Popen[bytes]:
    """A build that has begun."""
    out.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=project.root,
        env=os.environ | {"TMPDIR": str(out)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begins\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> int:
    process.communicate()
    return process.returncode


def packed_in(out: Path) -> bytes:
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("tiny/tiny.vggq")


def tree(project: Project) -> set[str]:
    """Every file of the project, those in the scratch folder included."""
    found = {path.relative_to(project.root) for path in project.root.rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if path.suffix != ".pyc"}


def set_bits(project: Project, bits: int) -> None:
    project.configure(f"{MODEL}bits = {bits}\n")


@pytest.mark.slow
def test_killed_at_any_moment(project: Project, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"w{i}": rng.standard_normal((200, 200)).astype(np.float32) for i in range(8)}
    save_npz(project.source, arrays)
    whole = {}
    for bits in (8, 4):
        set_bits(project, bits)
        process = start(project, tmp_path / f"{bits}")
        begin = time.monotonic()
        assert finish(process) == 0
        whole[bits] = project.target.read_bytes()
    lasts = time.monotonic() - begin
    files = tree(project)
    chance = random.Random(1)
    seen, killed = set(), 0
    for number in itertools.count():
        bits = (8, 4)[number % 2]
        set_bits(project, bits)
        out = tmp_path / "out"
        process = start(project, out)
        time.sleep(lasts * chance.random())
        process.kill()
        # A build that ended before its moment was not killed, and does not count.
        killed += finish(process) != 0
        seen.add(project.target.read_bytes())
        shutil.rmtree(out)
        if number % 10 == 9:
            # Of either width in turn, so that both are there however slow the machine is.
            bits = (8, 4)[number // 10 % 2]
            set_bits(project, bits)
            assert finish(start(project, out)) == 0
            assert packed_in(out) == whole[bits]
            assert tree(project) == files
            shutil.rmtree(out)
        if killed == KILLS:
            break
    assert seen == set(whole.values())


def test_builds_beside_each_other(project: Project, tmp_path: Path) -> None:
    for bits in (8, 4):
        set_bits(project, bits)
        outs = [tmp_path / f"{bits}-{number}" for number in range(4)]
        processes = [start(project, out) for out in outs]
        assert [finish(process) for process in processes] == [0, 0, 0, 0]
        (packed,) = {packed_in(out) for out in outs}
        assert packed == project.target.read_bytes()
        assert vggq.open(packed).manifest.options["bits"] == bits
    assert not any(name.endswith(".tmp") for name in tree(project))


IN_READ_ONLY_TREE = """\
import subprocess, sys
subprocess.run(["mount", "--bind", "-o", "ro", ".", "."], check=True)
import os
os.chdir(os.getcwd())
import hatchling.build
print(hatchling.build.build_wheel(sys.argv[1]))
"""


def build_read_only(project: Project, out: Path) -> tuple[int, list[str]]:
    out.mkdir(exist_ok=True)
    mounted = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", IN_READ_ONLY_TREE]
    if subprocess.run([*mounted[:-1], ""], check=False, capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody make a namespace")
    result = project.run(*mounted, str(out), PYTHONDONTWRITEBYTECODE="1")
    return result.code, result.lines


def test_a_read_only_tree_that_has_to_be_written_to(project: Project, tmp_path: Path) -> None:
    before = tree(project)
    code, lines = build_read_only(project, tmp_path / "out")
    assert code == 1
    key = "tool.hatch.build.hooks.vggq.models[0].target"
    assert lines == [f"{key}: src/tiny/tiny.vggq cannot be written: Read-only file system"]
    assert tree(project) == before


@pytest.mark.parametrize("with_source", [True, False])
def test_a_read_only_tree_that_has_all(
    project: Project, tmp_path: Path, *, with_source: bool
) -> None:
    assert finish(start(project, tmp_path / "first")) == 0
    if not with_source:
        project.source.unlink()
    code, lines = build_read_only(project, tmp_path / "out")
    assert code == 0, lines
    assert packed_in(tmp_path / "out") == packed_in(tmp_path / "first")
