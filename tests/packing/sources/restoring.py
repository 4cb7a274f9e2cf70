"""Pack the files of a source, restore them, and compare them with the source."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import vggq
from vggq._dtypes import convert
from vggq.packing import pack, verify, verify_against
from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from vggq.packing import Packed


@dataclass(frozen=True)
class Restored:
    """A packed model and what it restores.

    Attributes:
        packed: the packed file with quantized tensors.
        path: the main file, with restored tensors.
        values: the loaded tensors by name.
        kept: the reason for each tensor that stays in the rest of the files, by name.

    """

    packed: Packed
    path: Path
    values: dict[str, NDArray[Any]]
    kept: dict[str, str]

    @property
    def quantized(self) -> set[str]:
        """The names of the tensors that are quantized."""
        return {info.name for info in self.packed.manifest.tensors if info.quantized}


def check_restored(source: Path, folder: Path, *, rewritten: bool = False, **goal: Any) -> Restored:
    """Restore a model, and compare it with its source outside of tensors and checksums.

    Args:
        source: the main file.
        folder: a folder for the packed and the restored files.
        rewritten: whether the files that are restored are uncompressed copies of the source.
        goal: the options for quantization; by default `bits = 3`.

    """
    folder.mkdir()
    originals, blanks = _read_originals(source)
    is_copy = any(original != (source.parent / name).read_bytes() for name, original in
                  originals.items())  # fmt: skip
    assert is_copy == rewritten
    exact = pack(source, folder / "exact.vggq", restore="model", **_keep_all(source))
    assert _restore(exact.target) == originals
    packed = pack(source, folder / "m.vggq", restore="model", **(goal or {"bits": 3}))
    with vggq.open(packed.target) as weights:
        verify(weights)
        verify_against(weights, source)
    restored = _restore(packed.target)
    assert restored.keys() == originals.keys()
    for name, content in restored.items():
        assert _blank(content, blanks[name]) == _blank(originals[name], blanks[name])
        (folder / name).write_bytes(content)
    _check_checksums(source, restored)
    values = vggq.load(packed.target)
    _check_values(source, values, packed)
    return Restored(packed, folder / source.name, values, read_kept(source))


def _keep_all(source: Path) -> dict[str, Any]:
    with open_source(source, ReadOptions(restore="model")) as opened:
        # A pattern that matches nothing is an error.
        return {"keep": ["*"]} if opened.tensors or opened.kept else {}


def read_kept(source: Path) -> dict[str, str]:
    """Return the reason for each tensor that stays in the rest of the files."""
    with open_source(source, ReadOptions(restore="model")) as opened:
        return {tensor.name: tensor.problem or "" for tensor in opened.kept}


def _restore(target: Path) -> dict[str, bytes]:
    with vggq.open(target) as weights:
        names = [member.path for member in weights.members]
    return {name: vggq.read_bytes(target, member=name) for name in names}


def _read_originals(source: Path) -> tuple[dict[str, bytes], dict[str, list[tuple[int, int]]]]:
    """Return the bytes of each file, and the ranges of its tensors and checksums, by name."""
    with open_source(source, ReadOptions(restore="model")) as opened:
        names = [file.name for file in opened.files]
        contents = [file.read_bytes() for file in opened.restored_files]
        ranges: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
        for tensor in opened.tensors:
            if tensor.place is not None:
                ranges[names[tensor.place.member]].append((tensor.place.start, tensor.place.size))
        for checksum in opened.checksums:
            ranges[names[checksum.member]] += [(field, 4) for field in checksum.fields]
        return dict(zip(names, contents, strict=True)), ranges


def _blank(content: bytes, ranges: list[tuple[int, int]]) -> bytes:
    blank = bytearray(content)
    for start, size in ranges:
        blank[start : start + size] = bytes(size)
    return bytes(blank)


def _check_checksums(source: Path, restored: Mapping[str, bytes]) -> None:
    with open_source(source, ReadOptions(restore="model")) as opened:
        for checksum in opened.checksums:
            content = restored[opened.files[checksum.member].name]
            crc = zlib.crc32(content[checksum.start : checksum.start + checksum.size])
            assert len(checksum.fields) >= 2
            for field in checksum.fields:
                assert content[field : field + 4] == crc.to_bytes(4, "little")


def _check_values(source: Path, values: Mapping[str, NDArray[Any]], packed: Packed) -> None:
    """Compare what is not quantized with the source."""
    quantized = {info.name for info in packed.manifest.tensors if info.quantized}
    with open_source(source, ReadOptions(restore="model")) as opened:
        for tensor in opened.tensors:
            if tensor.name in values and tensor.name not in quantized:
                expected = convert(tensor.read(), tensor.dtype)
                assert values[tensor.name].tobytes() == expected.tobytes()


def assert_loaded(found: NDArray[Any], loaded: NDArray[Any]) -> None:
    """Compare an array that a library reads from a restored file with what `load` gives."""
    assert found.shape == loaded.shape
    assert found.astype(loaded.dtype).tobytes() == loaded.tobytes()


def random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return values of a dtype; floating-point ones are finite."""
    values: NDArray[Any] = rng.standard_normal(shape)
    if np.dtype(dtype).kind in "biu":
        values = rng.integers(0, 2, shape)
    elif np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return np.asarray(values).astype(dtype)
