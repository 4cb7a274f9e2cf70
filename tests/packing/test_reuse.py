"""Reuse of packed files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers import save_npz
from tests.onnx_models import save_model
from vggq.errors import (
    SourceError,
)
from vggq.packing import (
    Options,
    is_current,
    pack,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    return save_npz(tmp_path / "state.npz", state)


def test_is_current(tmp_path: Path, source: Path, state: State) -> None:
    target = tmp_path / "s.vggq"
    options = Options(bits=5, keep=("*.bias",))
    assert not is_current(target, source, options)
    pack(source, target, bits=5, keep=["*.bias"])
    assert is_current(target, source, options)
    assert not is_current(target, source, Options(bits=5))
    assert not is_current(target, source, Options(bits=4, keep=("*.bias",)))
    assert not is_current(target, source, options, encoder_version=99)
    sound = target.read_bytes()
    target.write_bytes(sound[:-1])
    assert not is_current(target, source, options)
    target.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert not is_current(target, source, options)
    pack(source, target, bits=5, keep=["*.bias"])
    state["steps"] += 1
    save_npz(source, state)
    assert not is_current(target, source, options)
    source.unlink()
    with pytest.raises(SourceError):
        is_current(target, source, options)


def test_model_under_another_name_is_not_current(tmp_path: Path) -> None:
    source, options = save_model(tmp_path / "rec.onnx"), Options(bits=4)
    target = pack(source, tmp_path / "m.vggq", bits=4).target
    assert is_current(target, source, options)
    assert not is_current(target, source.rename(tmp_path / "det.onnx"), options)


@pytest.mark.parametrize("restore", ["tensors", "model"])
def test_array_in_a_renamed_file_is_not_current(tmp_path: Path, restore: str) -> None:
    source, options = tmp_path / "w.npy", Options(bits=4, restore=restore)
    np.save(source, np.arange(9.0))
    target = pack(source, tmp_path / "m.vggq", bits=4, restore=restore).target
    assert is_current(target, source, options)
    assert not is_current(target, source.rename(tmp_path / "v.npy"), options)
