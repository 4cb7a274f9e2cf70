"""Reuse of packed files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import save_npz
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
