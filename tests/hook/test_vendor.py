"""`vggq vendor`: a copy of the run time in a package, and how the hook checks it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vggq
from vggq.errors import TargetError
from vggq.packing import vendoring
from vggq.packing.cli import main

from .conftest import MODEL, PYPROJECT, ROOT, Project, wheel_names

if TYPE_CHECKING:
    import numpy as np

# Every other tests/test_*.py tests the run time, so that a new or renamed one is not forgotten.
OTHER_TESTS = {
    "test_docs.py",
    "test_experiment.py",
    "test_onnx_sample.py",
    "test_page_code.py",
    "test_sample.py",
}
HEAD_FOR_COPY = PYPROJECT.replace(
    'dependencies = ["hatch-vggq"]',
    'dependencies = ["numpy>=1.26", "zstandard; python_version < \'3.14\'"]',
)


def file_names(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_vendor_copies_everything_except_packing(tmp_path: Path) -> None:
    vendoring.vendor(tmp_path / "_vggq")
    library = file_names(Path(vggq.__file__).parent)
    run_time = {name for name in library if not name.startswith("packing/")}
    assert file_names(tmp_path / "_vggq") == run_time | {"LICENSE", vendoring.STAMP}


def test_copy_works_under_another_name_without_vggq(tmp_path: Path, packed: Path) -> None:
    folder = tmp_path / "site" / "somebody" / "_vggq"
    assert main(["vendor", str(folder)]) == 0
    assert "MIT License" in (folder / "LICENSE").read_text()
    for module in folder.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) vggq\b", module.read_text(), re.MULTILINE), module
    code = (
        "import sys, numpy; sys.modules['vggq'] = None\n"
        f"from somebody._vggq import load; print(sorted(load({str(packed)!r})))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path / "site", check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(sorted(vggq.load(packed)))


@pytest.mark.slow
def test_run_time_tests_pass_with_a_copy_in_place_of_the_library(tmp_path: Path) -> None:
    """Run them with the copy as `vggq`; `packing`, which they pack with, is added to it."""
    folder = tmp_path / "site" / "vggq"
    vendoring.vendor(folder)
    assert not (folder / "packing").exists()
    shutil.copytree(Path(vggq.__file__).parent / "packing", folder / "packing")
    tests = {path.name: str(path) for path in (ROOT / "tests").glob("test_*.py")}
    assert set(tests) > OTHER_TESTS
    selected = ["-m", "not torch", *(tests[name] for name in sorted(set(tests) - OTHER_TESTS))]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selected]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    where = "import vggq; print(vggq.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where],
        env=os.environ | {"PYTHONPATH": str(folder.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(folder / "__init__.py")


def test_vendor_replaces_a_copy_but_no_other_folder(tmp_path: Path) -> None:
    folder = tmp_path / "_vggq"
    vendoring.vendor(folder)
    (folder / "stale.py").write_text("")
    vendoring.vendor(folder)
    assert not (folder / "stale.py").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["_vggq"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("mine")
    with pytest.raises(TargetError, match="other: exists and is not a copy of vggq"):
        vendoring.vendor(other)
    assert (other / "mine.py").read_text() == "mine"
    with pytest.raises(TargetError, match="cannot be written: Not a directory"):
        vendoring.vendor(other / "mine.py" / "deep")


def test_build_asks_for_the_dependencies_of_a_copy(project: Project) -> None:
    folder = project.root / "src" / "tiny" / "_vggq"
    vendoring.vendor(folder)
    project.configure(
        MODEL, PYPROJECT.replace('dependencies = ["hatch-vggq"]', "dependencies = []")
    )
    result = project.build()
    assert result.code == 1
    assert result.lines[:2] == [
        'project.dependencies: the vendored copy of vggq needs numpy; add "numpy>=1.26"',
        (
            "project.dependencies: the vendored copy of vggq needs zstandard; add "
            "\"zstandard>=0.22; python_version < '3.14'\""
        ),
    ]
    project.configure(MODEL, HEAD_FOR_COPY)
    result = project.build()
    assert result.code == 0, result.output
    assert {"tiny/_vggq/__init__.py", "tiny/_vggq/LICENSE"} <= wheel_names(project.wheel)


def test_build_rejects_a_copy_that_is_too_old_or_damaged(project: Project) -> None:
    folder = project.root / "src" / "tiny" / "_vggq"
    vendoring.vendor(folder)
    stamp = folder / vendoring.STAMP
    project.configure(MODEL, HEAD_FOR_COPY)
    stamp.write_text(json.dumps({"hatch-vggq": "0.0.1", "format": 0}))
    result = project.build()
    assert result.code == 1
    assert (
        "src/tiny/_vggq: the copy of vggq 0.0.1 reads format version 0, but this build writes "
        "version 1; run `vggq vendor` again"
    ) in result.lines
    stamp.write_text("[]")
    result = project.build()
    assert result.code == 1
    assert "src/tiny/_vggq/vendored.json: not a file that `vggq vendor` writes" in result.output
    assert "Traceback" not in result.output
    assert not project.target.exists()


def test_copy_restores_the_weights_of_its_wheel(
    project: Project, arrays: dict[str, np.ndarray]
) -> None:
    vendoring.vendor(project.root / "src" / "tiny" / "_vggq")
    project.configure(MODEL, HEAD_FOR_COPY)
    assert project.build().code == 0
    code = (
        "import sys; sys.modules['vggq'] = None; sys.path.insert(0, 'dist/' + sys.argv[1])\n"
        "from tiny._vggq import load; print(load('tiny', 'tiny.vggq')['steps'].tolist())"
    )
    result = project.run(sys.executable, "-c", code, project.wheel.name)
    assert result.output.strip() == str(arrays["steps"].tolist())
