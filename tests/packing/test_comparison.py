"""Comparison of two sets of tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers import save_npz
from vggq.errors import HeaderError, OptionError, SourceError
from vggq.packing import compare, pack
from vggq.packing.comparison import overall_sqnr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from vggq.packing import Comparison

    State = dict[str, NDArray[Any]]


def packed_of(folder: Path, name: str, state: State, **options: Any) -> Path:
    source = save_npz(folder / f"{name}.npz", state)
    return pack(source, folder / f"{name}.vggq", **options).target


def compared(folder: Path, state: State, other: State) -> dict[str, Comparison]:
    """Pack two state dicts exactly, so that only their own differences count, and compare them."""
    a = packed_of(folder, "a", state, keep=["*"])
    b = packed_of(folder, "b", other, keep=["*"])
    return {c.name: c for c in compare(a, b)}


def test_compare_finds_a_file_equal_to_itself(packed: Path, state: State) -> None:
    found = compare(packed, packed)
    assert [c.name for c in found] == sorted(state)
    assert all(c.same and c.largest == 0 and c.sqnr == math.inf for c in found)
    assert overall_sqnr(found) == math.inf


def test_compare_with_the_source_gives_the_sqnr_of_the_manifest(
    tmp_path: Path, state: State
) -> None:
    source = save_npz(tmp_path / "s.npz", state)
    packed = pack(source, tmp_path / "s.vggq", bits=3)
    found = {c.name: c for c in compare(packed.target, source)}
    for info in packed.manifest.tensors:
        assert found[info.name].same is not info.quantized
        assert found[info.name].sqnr == pytest.approx(info.sqnr, abs=1e-6)
    assert overall_sqnr(found.values()) == pytest.approx(packed.manifest.sqnr, abs=1e-6)


def test_compare_uses_the_second_set_as_reference(tmp_path: Path) -> None:
    base = np.ones((4, 5), np.float32)
    found = compared(tmp_path, {"w": base * 3}, {"w": base * 2})["w"]
    assert (found.energy, found.noise, found.largest) == (80.0, 20.0, 1.0)
    assert found.sqnr == pytest.approx(10 * math.log10(4))
    assert found.within(6.0)
    assert not found.within(6.1)


def test_compare_reads_a_source_as_the_manifest_records(tmp_path: Path, state: State) -> None:
    options = {"drop": ["mask"], "rename": [("^conv", "c")]}
    packed = packed_of(tmp_path, "s", state, **options)
    names = [c.name for c in compare(packed, tmp_path / "s.npz")]
    assert names == ["c.bias", "c.weight", "half.weight", "steps"]


def test_compare_lists_tensors_that_one_side_lacks(tmp_path: Path) -> None:
    one, two = np.zeros(3), np.zeros((2, 2))
    found = compared(tmp_path, {"a": one, "both": two}, {"both": two, "b": one})
    shapes = {name: (c.shape, c.reference_shape) for name, c in found.items()}
    assert shapes == {"a": ((3,), None), "both": ((2, 2), (2, 2)), "b": (None, (3,))}
    assert [found[name].within(-math.inf) for name in ("a", "both", "b")] == [False, True, False]


@pytest.mark.parametrize(
    ("array", "other"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(4, np.float32), np.zeros(4, np.int32)),
        (np.array([2**53], np.int64), np.array([2**53 + 1], np.int64)),
        (np.array([True]), np.array([False])),
    ],
    ids=["shapes", "dtypes", "integers that float64 does not tell apart", "booleans"],
)
def test_within_is_false_for_any_tolerance_where_errors_are_undefined(
    tmp_path: Path, array: NDArray[Any], other: NDArray[Any]
) -> None:
    found = compared(tmp_path, {"w": array}, {"w": other})["w"]
    assert not found.same
    assert not found.within(-1000.0)


def test_compare_treats_equal_non_finite_values_as_equal(tmp_path: Path) -> None:
    array = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    found = compared(tmp_path, {"w": array}, {"w": array})["w"]
    assert found.same
    near = compared(tmp_path, {"w": array}, {"w": np.append(np.float32(2), array[1:])})["w"]
    assert (near.same, near.energy, near.noise, near.largest) == (False, 4.0, 1.0, 1.0)
    turned = compared(tmp_path, {"w": array}, {"w": -array})["w"]
    assert (turned.sqnr, turned.largest) == (-math.inf, math.inf)
    assert not turned.within(-1000.0)


def test_compare_measures_complex_tensors(tmp_path: Path) -> None:
    base = np.full((4, 5), 2 + 1j, np.complex64)
    odd = np.array([complex(np.nan, 1), complex(1, np.inf)])
    state = {"w": base, "odd": odd, "scalar": np.array(1j)}
    found = compared(tmp_path, state | {"w": base + 1j}, state)
    assert (found["w"].energy, found["w"].noise, found["w"].largest) == (100.0, 20.0, 1.0)
    assert found["w"].floating
    assert not found["w"].same
    assert found["odd"].same
    assert found["scalar"].same
    assert found["odd"].sqnr == math.inf
    assert compared(tmp_path, {"w": odd}, {"w": odd.conj()})["w"].sqnr == -math.inf


def test_compare_reports_progress(packed: Path) -> None:
    calls: list[tuple[int, int]] = []
    compare(packed, packed, lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]


def test_compare_rejects_unsuitable_files(tmp_path: Path, packed: Path, state: State) -> None:
    with pytest.raises(HeaderError, match=r"not a valid \.vggq file"):
        compare(tmp_path / "state.npz", packed)
    with pytest.raises(SourceError, match=r"gone\.npz: no such file"):
        compare(packed, tmp_path / "gone.npz")
    dropping = packed_of(tmp_path, "d", state, drop=["mask"])
    other = save_npz(tmp_path / "other.npz", {"w": np.zeros(3)})
    with pytest.raises(OptionError, match="drop: the pattern 'mask' matches no tensor"):
        compare(dropping, other)
