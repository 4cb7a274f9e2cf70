"""Packages that ship ONNX models, fetched from the index and built with the hook.

Their weights are not part of this repository. Each package runs in onnxruntime, first with its own
models and then with the restored ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from .real_images import draw_pages
from .real_packages import (
    NUDENET,
    RAPIDOCR,
    build_wheel,
    changed_lines,
    create_project,
    download,
    run_installed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from .real_packages import Package

pytestmark = [pytest.mark.slow, pytest.mark.onnxruntime]

# The detector of rapidocr counts a pixel as text above this value.
THRESHOLD = 0.3


def outputs_before_and_after(
    package: Package, folder: Path, max_size: float
) -> list[dict[str, NDArray[Any]]]:
    """Return the outputs of the package on the index, and of the one that the hook builds.

    Args:
        package: the package.
        folder: a new folder.
        max_size: the maximum size of the wheel that is built.

    """
    original = download(package, folder)
    project = create_project(folder / "project", package, original)
    assert len(changed_lines(package, original, project)) <= 2
    built = build_wheel(package, project)
    assert built.stat().st_size <= max_size
    wheels = {"before": original, "after": built}
    return [run_installed(wheel, package, folder / name) for name, wheel in wheels.items()]


def relative_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the relative L2 distance of two arrays."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_nudenet_with_8_bits_differs_by_less_than_one_percent(tmp_path: Path) -> None:
    before, after = outputs_before_and_after(NUDENET, tmp_path, 3.2e6)
    assert list(before) == list(after)
    errors = [relative_error(after[name], before[name]) for name in before if "output" in name]
    assert len(errors) == 5
    assert 0 < max(errors) <= 0.01
    found = [name for name in before if "classes" in name]
    assert any(before[name].size for name in found)
    for name in found:
        np.testing.assert_array_equal(after[name], before[name])


def test_rapidocr_with_other_goals_for_11_layers_reads_the_same_text(tmp_path: Path) -> None:
    before, after = outputs_before_and_after(RAPIDOCR, tmp_path, 4.3e6)
    assert list(before) == list(after)
    pages = list(draw_pages())
    assert len(pages) == 10
    for number, page in enumerate(pages):
        assert without_spaces(before[f"text.{number}"]) == without_spaces(page.lines)
        assert list(after[f"text.{number}"]) == list(before[f"text.{number}"])
        old, new = before[f"map.{number}"], after[f"map.{number}"]
        assert relative_error(new, old) > 0
        assert np.mean((old > THRESHOLD) == (new > THRESHOLD)) >= 0.995


def without_spaces(lines: Iterable[str]) -> list[str]:
    """Return sorted lines without spaces, which rapidocr often misses."""
    return sorted(line.replace(" ", "") for line in lines)
