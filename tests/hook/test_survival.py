"""Builds that are killed, that run at the same time, or that cannot write."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vggq
from tests.helpers import save_npz, untraced
from vggq.packing import flat_options

from .conftest import MODEL, Project, read_packed_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUILD = """\
import sys
import hatchling.build
import vggq.packing
print("begins", flush=True)
hatchling.build.build_wheel(sys.argv[1])
"""
# Reads an output folder and a delay from each line, builds in a forked process, kills it after the
# delay unless that is null, and prints the exit code.
FORKING_BUILD = """\
import json, os, signal, sys, tempfile, time
import hatchling.build
import hatchling.builders.wheel
import vggq.packing
import hatch_vggq.session

for line in sys.stdin:
    out, delay = json.loads(line)
    tempfile.tempdir = out
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        try:
            hatchling.build.build_wheel(out)
            os._exit(0)
        finally:
            os._exit(1)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KILLS = 200


@contextmanager
def fork_builds(project: Project) -> Iterator[Callable[..., int]]:
    """Return a function that builds, or kills a build after a delay, and returns the exit code.

    Each build is a process of its own. All of them share the imports, which take longer.
    """
    with subprocess.Popen(
        [sys.executable, "-c", FORKING_BUILD],
        cwd=project.root,
        env=untraced(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def build(out: Path, delay: float | None = None) -> int:
            out.mkdir(exist_ok=True)
            print(json.dumps([str(out), delay]), file=stdin, flush=True)
            return int(stdout.readline())

        yield build


def start(project: Project, out: Path) -> subprocess.Popen[bytes]:
    """Start a build, and return its process once the build has begun."""
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
    return read_packed_file(wheel)


def tree(project: Project) -> set[str]:
    """Return all files of the project, including those in the scratch folder."""
    found = {path.relative_to(project.root) for path in project.root.rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if path.suffix != ".pyc"}


def set_bits(project: Project, bits: int) -> None:
    project.configure(f"{MODEL}bits = {bits}\n")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork processes")
def test_build_after_killed_builds_succeeds_and_leaves_no_files(
    project: Project, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"w{i}": rng.standard_normal((40, 40)).astype(np.float32) for i in range(8)}
    save_npz(project.source, arrays)
    whole = {}
    delays = random.Random(1)
    seen, killed = set(), 0
    with fork_builds(project) as build:
        for bits in (8, 4):
            set_bits(project, bits)
            begin = time.monotonic()
            assert build(tmp_path / f"{bits}") == 0
            duration = time.monotonic() - begin
            whole[bits] = project.target.read_bytes()
        files = tree(project)
        for number in itertools.count():
            bits = (8, 4)[number % 2]
            set_bits(project, bits)
            out = tmp_path / "out"
            # A build that ended earlier was not killed, and does not count.
            killed += build(out, duration * delays.random()) != 0
            seen.add(project.target.read_bytes())
            shutil.rmtree(out)
            if number % 10 == 9:
                # Alternate the widths, so that both are seen however slow the machine is.
                bits = (8, 4)[number // 10 % 2]
                set_bits(project, bits)
                assert build(out) == 0
                assert packed_in(out) == whole[bits]
                assert tree(project) == files
                shutil.rmtree(out)
            if killed == KILLS:
                break
    assert seen == set(whole.values())


def test_simultaneous_builds_give_the_same_packed_file(project: Project, tmp_path: Path) -> None:
    for bits in (8, 4):
        set_bits(project, bits)
        outs = [tmp_path / f"{bits}-{number}" for number in range(4)]
        processes = [start(project, out) for out in outs]
        assert [finish(process) for process in processes] == [0, 0, 0, 0]
        (packed,) = {packed_in(out) for out in outs}
        assert packed == project.target.read_bytes()
        with vggq.open(packed) as weights:
            assert flat_options(weights.manifest.options)["bits"] == bits
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
        pytest.skip("this system does not allow user namespaces")
    result = project.run(*mounted, str(out), PYTHONDONTWRITEBYTECODE="1")
    return result.code, result.lines


def test_build_fails_cleanly_if_it_cannot_write_the_target(
    project: Project, tmp_path: Path
) -> None:
    before = tree(project)
    code, lines = build_read_only(project, tmp_path / "out")
    assert code == 1
    key = "tool.hatch.build.hooks.vggq.models[0].target"
    assert lines == [f"{key}: src/tiny/tiny.vggq: cannot be written: Read-only file system"]
    assert tree(project) == before


@pytest.mark.parametrize("with_source", [True, False])
def test_build_in_a_read_only_tree_uses_a_current_packed_file(
    project: Project, tmp_path: Path, *, with_source: bool
) -> None:
    assert finish(start(project, tmp_path / "first")) == 0
    if not with_source:
        project.source.unlink()
    code, lines = build_read_only(project, tmp_path / "out")
    assert code == 0, lines
    assert packed_in(tmp_path / "out") == packed_in(tmp_path / "first")
