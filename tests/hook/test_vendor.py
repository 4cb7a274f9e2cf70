"""`vggq vendor`: a copy of the run-time half in a package, and what the hook makes of it."""

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

# The tests of the run-time half; what they pack with is the repository's own.
RUN_TIME_TESTS = (
    "test_attacks.py",
    "test_codecs.py",
    "test_container.py",
    "test_format.py",
    "test_load.py",
    "test_open_files.py",
    "test_roundtrip.py",
    "test_weights.py",
    "test_zstd.py",
)
OWN_NEEDS = PYPROJECT.replace(
    'dependencies = ["hatch-vggq"]',
    'dependencies = ["numpy>=1.26", "zstandard; python_version < \'3.14\'"]',
)


def test_a_copy_stands_alone(tmp_path: Path, packed: Path) -> None:
    """Without vggq on the path, under another name, and with relative imports only."""
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


def test_the_run_time_tests_pass_on_a_copy(tmp_path: Path) -> None:
    """The copy takes the library's name; only what packs is put beside it."""
    folder = tmp_path / "site" / "vggq"
    vendoring.vendor(folder)
    assert not (folder / "packing").exists()
    shutil.copytree(Path(vggq.__file__).parent / "packing", folder / "packing")
    tests = [str(ROOT / "tests" / name) for name in RUN_TIME_TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
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


def test_a_copy_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "_vggq"
    vendoring.vendor(folder)
    (folder / "stale.py").write_text("")
    vendoring.vendor(folder)
    assert not (folder / "stale.py").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["_vggq"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text("mine")
    with pytest.raises(TargetError, match="other is there, and is no copy of vggq"):
        vendoring.vendor(other)
    assert (other / "mine.py").read_text() == "mine"
    with pytest.raises(TargetError, match="cannot be written: Not a directory"):
        vendoring.vendor(other / "mine.py" / "deep")


def test_the_hook_sees_a_copy_and_asks_for_its_needs(project: Project) -> None:
    folder = project.root / "src" / "tiny" / "_vggq"
    vendoring.vendor(folder)
    project.configure(
        MODEL, PYPROJECT.replace('dependencies = ["hatch-vggq"]', "dependencies = []")
    )
    result = project.build()
    assert result.code == 1
    assert result.lines[2:4] == [
        'project.dependencies: the vendored copy of vggq needs numpy: add "numpy>=1.26"',
        (
            "project.dependencies: the vendored copy of vggq needs zstandard: add "
            "\"zstandard>=0.22; python_version < '3.14'\""
        ),
    ]
    project.configure(MODEL, OWN_NEEDS)
    result = project.build()
    assert result.code == 0, result.output
    assert {"tiny/_vggq/__init__.py", "tiny/_vggq/LICENSE"} <= wheel_names(project.wheel)


def test_a_copy_that_is_too_old(project: Project) -> None:
    folder = project.root / "src" / "tiny" / "_vggq"
    vendoring.vendor(folder)
    stamp = folder / vendoring.STAMP
    project.configure(MODEL, OWN_NEEDS)
    stamp.write_text(json.dumps({"hatch-vggq": "0.0.1", "format": 0}))
    result = project.build()
    assert result.code == 1
    assert (
        "src/tiny/_vggq: the copy of vggq 0.0.1 knows format version 0, and 1 is to be written: "
        "run `vggq vendor` again"
    ) in result.lines
    stamp.write_text("[]")
    result = project.build()
    assert result.code == 1
    assert "src/tiny/_vggq/vendored.json is not what `vggq vendor` writes" in result.output
    assert "Traceback" not in result.output
    assert not project.target.exists()


def test_a_copy_restores_what_its_package_ships(
    project: Project, arrays: dict[str, np.ndarray]
) -> None:
    vendoring.vendor(project.root / "src" / "tiny" / "_vggq")
    project.configure(MODEL, OWN_NEEDS)
    assert project.build().code == 0
    code = (
        "import sys; sys.modules['vggq'] = None; sys.path.insert(0, 'dist/' + sys.argv[1])\n"
        "from tiny._vggq import load; print(load('tiny', 'tiny.vggq')['steps'].tolist())"
    )
    result = project.run(sys.executable, "-c", code, project.wheel.name)
    assert result.output.strip() == str(arrays["steps"].tolist())
