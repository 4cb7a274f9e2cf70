"""Temporary storage of frames."""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from vggq.packing.frame_spool import FrameSpool

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("max_in_memory", [0, 3, 100])
def test_frame_spool_gives_the_same_bytes_from_memory_and_disk(
    tmp_path: Path, max_in_memory: int
) -> None:
    with closing(FrameSpool(tmp_path, max_in_memory)) as frames:
        indices = [frames.add(frame, "kind") for frame in (b"first", b"second", b"first")]
        indices.append(frames.add(b"first", "another kind"))
        file = io.BytesIO()
        frames.copy_to(file)
    assert indices == [0, 1, 0, 2]
    assert frames.sizes == [5, 6, 5]
    assert file.getvalue() == b"firstsecondfirst"
    assert names(tmp_path) == set()
