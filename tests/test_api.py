"""The public names, and the modules that importing them loads."""

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

NOT_NEEDED = {
    "h5py",
    "hatch_vggq",
    "hatchling",
    "kmeans1d",
    "ml_dtypes",
    "onnx",
    "rich",
    "safetensors",
    "torch",
    "pathlib",
    "vggq._model_info",
    "vggq.packing",
}
ZSTD = {"backports.zstd", "zstandard"}


@pytest.mark.parametrize("module", [vggq, vggq.packing, vggq.packing.sources])
def test_all_lists_the_public_names(module: ModuleType) -> None:
    names = [name for name in dir(module) if not name.startswith("_") and name != "annotations"]
    public = [name for name in names if not isinstance(getattr(module, name), ModuleType)]
    assert sorted(public) == sorted(module.__all__)


def test_tree_of_errors_in_the_docstring_matches_the_classes() -> None:
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
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert drawn == classes
    assert all(issubclass(getattr(errors, name), errors.VggqError) for name in classes)


def test_missing_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("vggq.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(errors.MissingDependencyError, match=r"needs torch: .*torch") as caught:
        importlib.import_module("vggq.torch")
    assert isinstance(caught.value, ImportError)


def modules_after(code: str) -> set[str]:
    """Return the names of the modules that a new process has imported after running code."""
    script = f"{code}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import vggq", "import vggq.errors"])
def test_import_loads_nothing_that_restoring_does_not_need(code: str) -> None:
    modules = modules_after(code)
    assert "vggq" in modules
    assert not (modules - modules_after("import numpy")) & (NOT_NEEDED | ZSTD)


def test_load_imports_nothing_that_it_does_not_need(packed: Path) -> None:
    modules = modules_after(f"import vggq; vggq.load({str(packed)!r})")
    assert "vggq._load" in modules
    assert not (modules - modules_after("import numpy")) & NOT_NEEDED
