"""The hook uses only public names of the library."""

from __future__ import annotations

import ast
import importlib
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def imported_names(module: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports from the library."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("vggq"))
        elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("vggq."):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", sorted((ROOT / "hatch_vggq").glob("*.py")), ids=lambda p: p.name)
def test_hook_imports_only_public_names(module: Path) -> None:
    for name in imported_names(module):
        assert not [part for part in name.split(".") if part.startswith("_")], name
        parent, _, attribute = name.rpartition(".")
        if parent:
            library = importlib.import_module(parent)
            is_submodule = (ROOT / "src" / f"{name.replace('.', '/')}.py").is_file()
            assert is_submodule or attribute in getattr(library, "__all__", vars(library)), name
