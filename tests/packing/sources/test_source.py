"""Errors of a format name the file and the tensor that they are about."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.helpers import save_npz
from vggq._reader import Reader
from vggq.errors import SourceError
from vggq.packing.sources import Contents, Format, ReadOptions, open_source
from vggq.packing.sources.keras.hdf5 import open_contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Broken(io.BytesIO):
    def read(self, _: int | None = -1) -> bytes:
        raise OSError("the disk is gone")


def test_open_turns_read_errors_into_source_errors_with_the_path(tmp_path: Path) -> None:
    @contextmanager
    def opener(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
        with open_contents(Broken(b"some"), path, read_options, list) as contents:
            yield contents

    fmt = Format("broken", (), bool, opener)
    with (
        pytest.raises(SourceError, match=r"w\.h5: cannot be read: the disk is gone$"),
        fmt.open(tmp_path / "w.h5", ReadOptions()),
    ):
        pass


def test_list_files_adds_the_path_to_errors(tmp_path: Path) -> None:
    def list_files(path: Path) -> list[Path]:
        Reader(Broken(b"some"), "w.h5").read_at(0, 1)
        return [path]

    @contextmanager
    def opener(path: Path, _: ReadOptions) -> Iterator[Contents]:
        yield Contents([])

    fmt = Format("broken", (), bool, opener, file_lister=list_files)
    with pytest.raises(SourceError) as caught:
        fmt.list_files(tmp_path / "w.h5")
    assert caught.value.path == tmp_path / "w.h5"


def test_read_errors_name_the_file_and_the_tensor_of_several_open_sources(tmp_path: Path) -> None:
    """The error of one open source is not attributed to another one."""
    paths = [save_npz(tmp_path / f"{name}.npz", {"w": np.zeros(100_000)}) for name in "ab"]
    with open_source(paths[0]) as first, open_source(paths[1]) as second:
        assert second.tensors[0].read().size == 100_000
        content = bytearray(paths[0].read_bytes())
        # Beyond the buffer of the open file: 128 KiB in Python 3.14.
        content[500_000] ^= 1
        paths[0].write_bytes(content)
        with pytest.raises(SourceError, match="Bad CRC-32") as caught:
            first.tensors[0].read()
    assert caught.value.path == paths[0]
    assert caught.value.tensor == "w"
