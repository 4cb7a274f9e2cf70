"""torch archives that another program has written again: compressed, or with folders."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.packing.sources.pickles import save_archive, tensor_pickle
from vggq.errors import SourceError
from vggq.packing.sources import identify_format, open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

VALUES = np.random.default_rng(0).standard_normal(60_000).astype("<f4")
# Every 20th value: a storage of which a tensor has only a part.
PICKLED = tensor_pickle(7, (2000,), (20,), VALUES.size)
EXPECTED = VALUES[7 : 7 + 40_000 : 20]
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def read(path: Path) -> NDArray[Any]:
    with open_source(path) as source:
        (tensor,) = source.tensors
        return tensor.read()


def error_of(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read(path)
    assert caught.value.path == path
    return caught.value.reason


def save_again(path: Path, method: int, *, level: int | None = None) -> Path:
    """Write the archive again, with another compression."""
    original = save_archive(path.with_suffix(".tmp"), PICKLED, **{"0": VALUES.tobytes()})
    with (
        zipfile.ZipFile(original) as source,
        zipfile.ZipFile(path, "w", method, compresslevel=level) as target,
    ):
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    return path


@pytest.mark.parametrize("method", METHODS)
def test_compressed_archives_are_read(tmp_path: Path, method: str) -> None:
    path = save_again(tmp_path / "m.pt", METHODS[method])
    assert identify_format(path).name == "torch"
    np.testing.assert_array_equal(read(path), EXPECTED)


def test_compressed_archives_are_read_by_several_threads(tmp_path: Path) -> None:
    path = save_again(tmp_path / "m.pt", zipfile.ZIP_DEFLATED)
    with open_source(path) as source, ThreadPoolExecutor(8) as pool:
        for values in pool.map(lambda _: source.tensors[0].read(), range(64)):
            np.testing.assert_array_equal(values, EXPECTED)


def add_folders(path: Path, folders: list[str], *, last: bool = False) -> None:
    """Write the archive again with entries for folders, first or last."""
    original = save_archive(path.with_suffix(".tmp"), PICKLED, **{"0": VALUES.tobytes()})
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target:
        contents = [(info.filename, source.read(info)) for info in source.infolist()]
        entries = [(name, b"") for name in folders]
        for name, content in contents + entries if last else entries + contents:
            target.writestr(name, content)


@pytest.mark.parametrize(
    "folders", [["archive/"], ["archive/", "archive/data/"], ["__MACOSX/", "__MACOSX/archive/"]]
)
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("name", ["m.pt", "m"])
def test_archives_with_folders_are_read(
    tmp_path: Path, folders: list[str], name: str, *, last: bool
) -> None:
    add_folders(tmp_path / name, folders, last=last)
    np.testing.assert_array_equal(read(tmp_path / name), EXPECTED)


def test_archive_of_an_unpacked_folder_is_read(tmp_path: Path) -> None:
    original = save_archive(tmp_path / "m.tmp", PICKLED, **{"0": VALUES.tobytes()})
    shutil.unpack_archive(original, tmp_path / "unpacked", "zip")
    made = shutil.make_archive(str(tmp_path / "made"), "zip", tmp_path / "unpacked", "archive")
    path = Path(made).rename(tmp_path / "m.pth")
    np.testing.assert_array_equal(read(path), EXPECTED)


@pytest.mark.torch
@pytest.mark.parametrize("method", METHODS)
def test_archives_of_torch_are_read_again(tmp_path: Path, method: str) -> None:
    import torch  # noqa: PLC0415

    state = {
        "w": torch.randn(40, 50), "t": torch.randn(40, 50).t(), "e": torch.zeros(0, 3),
        "b": torch.randn(9).bfloat16(), "zeros": torch.zeros(1000, 1000),
    }  # fmt: skip
    path = tmp_path / "m.pth"
    torch.save(state, tmp_path / "m.tmp")
    with (
        zipfile.ZipFile(tmp_path / "m.tmp") as source,
        zipfile.ZipFile(path, "w", METHODS[method]) as target,
    ):
        target.mkdir("m")
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    with open_source(path) as opened:
        found = {tensor.name: tensor.read() for tensor in opened.tensors}
    assert set(found) == set(state)
    for name, tensor in state.items():
        bits = tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
        np.testing.assert_array_equal(found[name], bits.numpy())


def damage_storage(content: bytearray) -> None:
    """Change a byte near the end of the storage, which the tensor does not have."""
    at = content.index(b"archive/data/0") + len("archive/data/0")
    end = content.index(b"PK\x01\x02", at)
    content[end - 100] ^= 1


def truncate(content: bytearray) -> None:
    del content[len(content) // 2 : len(content) // 2 + 50]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("damage", [damage_storage, truncate])
def test_damaged_archives_are_rejected(
    tmp_path: Path, method: str, damage: Callable[[bytearray], None]
) -> None:
    path = save_again(tmp_path / "m.pt", METHODS[method])
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    assert "damaged" in error_of(path)


def test_records_that_claim_another_size_are_rejected(tmp_path: Path) -> None:
    path = save_again(tmp_path / "m.pt", zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    size = VALUES.nbytes.to_bytes(4, "little")
    assert content.count(size) == 2
    for other, message in (
        (VALUES.nbytes + 4, "the record 'archive/data/0' is damaged: "),
        (VALUES.nbytes - 4, "the record 'archive/data/0' is damaged: "),
        (100, "the record 'data/0' has 100 bytes, but "),
        (1 << 29, "the record 'archive/data/0' would expand from "),
    ):
        path.write_bytes(content.replace(size, other.to_bytes(4, "little")))
        assert message in error_of(path)


def test_compressed_bombs_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    for size in (2_000_000, 100_000_000):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + b"N" * size)
        assert error_of(path).endswith(f"to {size + 2} bytes, as only a zip bomb does")


def test_a_small_pickle_may_be_compressed_to_any_size(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"note": "x" * 500_000}, 2))
    assert error_of(path) == "none of its dicts contains tensors"


def test_archives_in_other_layouts_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/", b"")
    assert error_of(path).endswith("but the content is not torch")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", b"3")
    assert error_of(path) == (
        "found 0 folders with a record data.pkl in the zip archive, expected 1"
    )
