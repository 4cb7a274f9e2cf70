"""What is public, and what importing it costs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import vggq
import vggq.packing
import vggq.packing.sources
from vggq import errors

if TYPE_CHECKING:
    from pathlib import Path

NOT_NEEDED = (
    "{'hatchling', 'hatch_vggq', 'kmeans1d', 'torch', 'h5py', 'onnx', 'safetensors', 'rich', "
    "'ml_dtypes'}"
)


@pytest.mark.parametrize("module", [vggq, vggq.packing, vggq.packing.sources])
def test_all_is_true(module: ModuleType) -> None:
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    # A function and a module of one name, such as encode.pack: the function is what counts.
    assert sorted(public) == sorted(module.__all__)


def test_every_error_is_a_vggq_error_and_in_the_tree() -> None:
    """The tree in the docstring is the one that the classes make."""
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│ ├└─]*)(\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            drawn[found[2]] = path[depth - 1] if depth else "Exception"
    classes = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type)
    }
    assert drawn == classes
    assert all(issubclass(getattr(errors, name), errors.VggqError) for name in classes)


def test_torch_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("vggq.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(errors.MissingDependencyError, match=r"needs torch: .*torch") as caught:
        importlib.import_module("vggq.torch")
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize(
    "code", ["import vggq", "import vggq; vggq.load({packed!r})", "import vggq.errors"]
)
def test_the_run_time_loads_nothing_that_it_does_not_need(packed: Path, code: str) -> None:
    script = (
        f"{code.format(packed=str(packed))}; import sys; print({NOT_NEEDED} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def test_the_import_loads_no_zstd_before_the_first_load() -> None:
    script = "import vggq, sys; print({'zstandard', 'backports.zstd'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"
