"""Verify packed files against their checksums and their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from vggq.errors import (
    DataError,
    VerificationError,
)
from vggq.packing import (
    verify,
    verify_against,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


def test_verify_decodes_every_tensor(packed: Path) -> None:
    seen: list[str] = []
    with vggq.open(packed) as weights:
        verify(weights, seen.append)
        assert seen == list(weights)
    data = bytearray(packed.read_bytes())
    data[-3] ^= 1
    with vggq.open(bytes(data)) as weights, pytest.raises(DataError, match="tensor 'steps': "):
        verify(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("steps"), "only in the packed file: steps"),
        (lambda s: s.update(new=np.zeros(1)), "only in the source: new"),
        (
            lambda s: s["conv.bias"].__setitem__(0, 9),
            "tensor 'conv.bias': stored exactly, but different from the source",
        ),
        (
            lambda s: s["conv.weight"].__setitem__((0, 0), 9),
            "tensor 'conv.weight': the error is not the one in the manifest",
        ),
        (
            lambda s: s["conv.weight"].__setitem__((0, 0), np.nan),
            "tensor 'conv.weight': the error is not the one in the manifest",
        ),
        (
            lambda s: s.update({"conv.weight": s["conv.weight"].T}),
            (
                "tensor 'conv.weight': packed from F32 of shape (40, 30), "
                "the source has F32 of shape (30, 40)"
            ),
        ),
        (
            lambda s: s.update({"conv.weight": s["conv.weight"].astype("f8")}),
            (
                "tensor 'conv.weight': packed from F32 of shape (40, 30), "
                "the source has F64 of shape (40, 30)"
            ),
        ),
    ],
)
def test_verify_against_rejects_a_changed_source(
    packed: Path, state: State, tmp_path: Path, change: Any, message: str
) -> None:
    with vggq.open(packed) as weights:
        verify_against(weights, save_npz(tmp_path / "same.npz", state))
        change(state)
        with pytest.raises(VerificationError) as caught:
            verify_against(weights, save_npz(tmp_path / "other.npz", state))
    assert str(caught.value).startswith(message)
