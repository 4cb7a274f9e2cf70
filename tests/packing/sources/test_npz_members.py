"""Members of an .npz archive that are no arrays."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from vggq.errors import SourceError
from vggq.packing.sources import FORMATS, ReadOptions, identify_format, open_source
from vggq.packing.sources._members import CHECKPOINT_SUFFIXES

from .problems import problem_of

if TYPE_CHECKING:
    from pathlib import Path

NESTED = "a checkpoint in the archive, which is not read"


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(6.0))
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {"inner": np.arange(3)}
    np.savez(file, **arrays)
    return file.getvalue()


def hdf5() -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["w"] = np.arange(3)
    return content.getvalue()


def save(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def read(path: Path, *drop: str) -> tuple[list[str], tuple[str, ...]]:
    with open_source(path, ReadOptions(drop=drop)) as source:
        for tensor in source.tensors:
            np.testing.assert_array_equal(tensor.read(), np.arange(6.0))
        return [tensor.name for tensor in source.tensors], source.remarks


def test_other_members_are_named_in_one_remark(tmp_path: Path) -> None:
    texts = {f"{index}.txt": b"?" for index in range(7)}
    members = {"README.md": b"# weights", "data/": b"", "data/w.npy": npy(), **texts}
    path = save(tmp_path / "m.npz", members)
    assert read(path) == (
        ["data/w"],
        ("not packed: the members 'README.md', '0.txt', '1.txt', '2.txt', '3.txt' and 3 more",),
    )


def test_an_array_needs_no_suffix(tmp_path: Path) -> None:
    """numpy reads a member by its first bytes."""
    path = save(tmp_path / "m.npz", {"w": npy(), "b.npy": npy()})
    assert set(np.load(path)) == {"w", "b"}
    assert read(path) == (["b", "w"], ())


def test_a_member_may_have_no_name(tmp_path: Path) -> None:
    """In Python, a name ends at a null character."""
    path = save(tmp_path / "m.npz", {"#": b"?", "w.npy": npy()})
    path.write_bytes(path.read_bytes().replace(b"#", b"\0"))
    assert read(path) == (["w"], ("not packed: the members ''",))


@pytest.mark.parametrize("first", ["README.md", "data/"])
def test_an_archive_may_start_with_another_member(tmp_path: Path, first: str) -> None:
    path = save(tmp_path / "m.npz", {first: b"", "w.npy": npy()})
    assert identify_format(path).name == "npz"
    assert read(path)[0] == ["w"]


def test_an_archive_without_arrays_is_not_npz(tmp_path: Path) -> None:
    path = save(tmp_path / "m.npz", {"a.txt": b"", "b.txt": b".npy"})
    with pytest.raises(SourceError, match="the suffix is that of npz, but the content is not npz"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("inner.npz", npz()),
        ("inner", npz()),
        ("inner.h5", b""),
        ("inner", hdf5()),
        ("Inner.SafeTensors", b"?"),
        ("a/pytorch_model.bin", b"?"),
    ],
)
def test_another_checkpoint_is_an_error_or_dropped(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = save(tmp_path / "m.npz", {"w.npy": npy(), name: content})
    with pytest.raises(SourceError) as caught:
        read(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith(f"tensor {name!r}: ")
    assert problem_of(message, count=1) == NESTED
    assert read(path, name) == (["w"], ())


def test_the_suffixes_are_those_of_all_formats() -> None:
    assert set(CHECKPOINT_SUFFIXES) == {suffix for fmt in FORMATS for suffix in fmt.suffixes}


def test_other_records_of_a_keras_archive_are_named_or_errors(tmp_path: Path) -> None:
    members = {
        "metadata.json": b"{}",
        "config.json": b"{}",
        "model.weights.h5": hdf5(),
        "assets/": b"",
        "assets/vocabulary.txt": b"a",
        "assets/table.npz": npz(),
    }
    path = save(tmp_path / "m.keras", members)
    with pytest.raises(SourceError) as caught, open_source(path):
        pass
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith("tensor 'assets/table.npz': ")
    assert problem_of(message, count=1) == NESTED
    with open_source(path, ReadOptions(drop=["assets/*"])) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]
        expected = "not packed: the records 'config.json', 'assets/vocabulary.txt'"
        assert source.remarks == (expected,)
