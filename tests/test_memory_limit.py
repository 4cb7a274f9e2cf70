"""The memory limit `max_bytes`, enforced before anything large is allocated."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq.errors import HeaderError, LimitError, ManifestError, OptionError
from vggq.packing import pack

from .helpers import save_npz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("options", "needed"),
    [({}, 24_000), ({"dtype": "float16"}, 24_000), ({"dtype": "float64"}, 40_000)],
)
def test_load_needs_the_larger_of_restored_and_decompressed_size(
    tmp_path: Path, options: dict[str, Any], needed: int
) -> None:
    """Tied tensors count once. float64 counts with its own size even if restored as float32."""
    values = np.arange(4000, dtype=np.float32)
    state: dict[str, NDArray[Any]] = {"a": values, "tied": values, "d": np.ones(1000)}
    path = pack(save_npz(tmp_path / "s.npz", state), tmp_path / "s.vggq", keep=["a"]).target
    assert vggq.load(path, max_bytes=needed, **options).keys() == state.keys()
    with pytest.raises(LimitError) as caught:
        vggq.load(path, max_bytes=needed - 1, **options)
    assert str(caught.value) == (
        f"{path}: its tensors need {needed} bytes of memory, max_bytes is {needed - 1}"
    )


def test_open_rejects_files_over_max_bytes(packed: Path) -> None:
    with vggq.open(packed) as weights:
        size = weights.manifest.float32_size
    vggq.open(packed, max_bytes=2 * size).close()
    with pytest.raises(LimitError, match=f"its tensors need .* max_bytes is {size // 2}$"):
        vggq.open(packed, max_bytes=size // 2)


def test_long_header_counts_with_the_memory_of_parsing_it() -> None:
    text = json.dumps({"__metadata__": {"vggq": "x" * 70_000}}).encode()
    data = len(text).to_bytes(8, "little") + text
    with pytest.raises(LimitError, match=f"its header needs {25 * len(text)} bytes of memory, max"):
        vggq.open(data, max_bytes=25 * len(text) - 1)
    with pytest.raises(ManifestError, match="SHA-256 of the manifest does not match"):
        vggq.open(data, max_bytes=25 * len(text))


def test_impossible_header_length_is_a_header_error_with_any_limit() -> None:
    with pytest.raises(HeaderError, match="exceeds the file"):
        vggq.open(b"\xff" * 8, max_bytes=1)


def test_max_bytes_has_to_be_an_integer(packed: Path) -> None:
    with pytest.raises(OptionError, match="max_bytes: expected a number of bytes, found '1'"):
        vggq.open(packed, max_bytes="1")  # type: ignore[arg-type]


def test_tensor_that_a_32_bit_system_cannot_address(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allocating it would raise an error that is neither a VggqError nor a MemoryError."""
    monkeypatch.setattr(sys, "maxsize", 4799)
    with pytest.raises(LimitError) as caught:
        vggq.open(packed)
    assert str(caught.value) == (
        f"{packed}: tensor 'conv.weight': needs 4800 bytes of memory, this system can address 4799"
    )
    monkeypatch.setattr(sys, "maxsize", 4800)
    assert vggq.load(packed)["half.weight"].nbytes == 4800
