"""Comparisons of the files of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vggq.packing import FileComparison, compare_files, pack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch


def save_archive(path: Path, epoch: int) -> Path:
    """Write a torch archive, which has checksums over its tensors and over its pickle."""
    import torch  # noqa: PLC0415

    path.parent.mkdir()
    generator = torch.Generator().manual_seed(2)
    torch.save({"w": torch.randn(50, 40, generator=generator), "epoch": epoch}, path)
    return path


def test_checksums_over_tensors_do_not_count(tmp_path: Path) -> None:
    source = save_archive(tmp_path / "sources" / "m.pth", 3)
    size = source.stat().st_size
    packed, other = (
        pack(source, tmp_path / f"{bits}.vggq", bits=bits, restore="model").target
        for bits in (8, 3)
    )
    for reference in (packed, other, source):
        assert compare_files(packed, reference) == [FileComparison("m.pth", size, size, same=True)]


def test_change_outside_the_tensors_counts(tmp_path: Path) -> None:
    source = save_archive(tmp_path / "sources" / "m.pth", 3)
    changed = save_archive(tmp_path / "changed" / "m.pth", 4)
    size = source.stat().st_size
    assert changed.stat().st_size == size
    packed = pack(source, tmp_path / "a.vggq", restore="model").target
    other = pack(changed, tmp_path / "b.vggq", restore="model").target
    for reference in (changed, other):
        assert compare_files(packed, reference) == [FileComparison("m.pth", size, size, same=False)]


def test_files_are_compared_only_if_both_are_models(tmp_path: Path) -> None:
    source = save_archive(tmp_path / "sources" / "m.pth", 3)
    model = pack(source, tmp_path / "model.vggq", restore="model").target
    tensors = pack(source, tmp_path / "tensors.vggq").target
    for pair in ((model, tensors), (tensors, model), (tensors, source)):
        assert compare_files(*pair) == []
