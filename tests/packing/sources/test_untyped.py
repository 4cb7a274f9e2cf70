"""Tensors whose dtype a file does not state, and the option `dtypes` that declares it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from vggq.errors import OptionError, SourceError
from vggq.packing import is_current, pack, verify_against
from vggq.packing.cli import main
from vggq.packing.options import Options
from vggq.packing.sources import ReadOptions, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pairs = Sequence[tuple[str, str]]

VALUES = np.random.default_rng(5).standard_normal((40, 30)).astype(np.float32)
BFLOAT16 = VALUES.astype(ml_dtypes.bfloat16)


def read(path: Path, dtypes: Pairs = (), *drop: str) -> dict[str, tuple[str, NDArray[Any]]]:
    with open_source(path, ReadOptions(drop=drop, dtypes=dtypes)) as source:
        return {tensor.name: (tensor.dtype, tensor.read()) for tensor in source.tensors}


def problem(path: Path, dtypes: Pairs = ()) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, dtypes)
    return problem_of(str(caught.value).removeprefix(f"{path}: "))


def save_npy(path: Path, array: NDArray[Any]) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("dtype", "name"),
    [("bfloat16", "BF16"), ("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2")],
)
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_a_declared_dtype_is_read_bit_for_bit(
    tmp_path: Path, dtype: str, name: str, suffix: str, order: Any
) -> None:
    values = np.array(VALUES.astype(getattr(ml_dtypes, dtype)), order=order)
    path = tmp_path / f"w{suffix}"
    if suffix == ".npz":
        save_npz(path, {"w": values})
    else:
        save_npy(path, values)
    size = values.itemsize
    assert problem(path).startswith(
        f"the file states only |V{size} as its dtype, as numpy does for "
    )
    found, array = read(path, [("w", dtype)])["w"]
    assert found == name
    assert array.shape == values.shape
    assert array.tobytes() == values.tobytes()


def test_the_error_shows_the_declaration_to_write(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "m.npz", {"a[0].w": BFLOAT16})
    assert problem(path) == (
        "the file states only |V2 as its dtype, as numpy does for bfloat16, and for other types; "
        "if it is bfloat16, declare that: dtypes = { 'a[[]0].w' = 'bfloat16' }"
    )
    assert read(path, [("a[[]0].w", "bfloat16")])["a[0].w"][0] == "BF16"
    path = save_npz(tmp_path / "m.npz", {"w": VALUES.astype(ml_dtypes.float8_e4m3fn)})
    assert problem(path) == (
        "the file states only |V1 as its dtype, as numpy does for float8_e4m3fn and float8_e5m2, "
        "and for other types; if it is float8_e4m3fn or float8_e5m2, declare that: "
        "dtypes = { 'w' = 'float8_e4m3fn' }"
    )


def test_an_untyped_tensor_can_be_dropped(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "m.npz", {"w": BFLOAT16, "fine": VALUES})
    assert list(read(path, (), "w")) == ["fine"]


def test_the_first_pattern_of_the_right_size_applies(tmp_path: Path) -> None:
    arrays = {
        "a.scale": VALUES[0],
        "a.weight": VALUES.astype(ml_dtypes.float8_e5m2),
        "b.weight": BFLOAT16,
    }
    path = save_npz(tmp_path / "m.npz", arrays)
    dtypes = [("*", "bfloat16"), ("*.weight", "float8_e5m2"), ("a.*", "float8_e4m3fn")]
    assert {name: dtype for name, (dtype, _) in read(path, dtypes).items()} == {
        "a.scale": "F32",
        "a.weight": "F8_E5M2",
        "b.weight": "BF16",
    }
    assert problem(path, [("*", "bfloat16")]).startswith("the file states only |V1")


@pytest.mark.parametrize("pattern", ["w", "*", "gone"])
def test_a_pattern_must_match_a_tensor_without_a_dtype(tmp_path: Path, pattern: str) -> None:
    path = save_npz(tmp_path / "m.npz", {"w": VALUES})
    with pytest.raises(OptionError) as caught:
        read(path, [(pattern, "bfloat16")])
    message = f"the pattern {pattern!r} matches no tensor whose dtype the file does not state"
    assert caught.value.problems == [("dtypes", message)]


def test_bytes_of_other_sizes_and_int4_are_unsupported(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "m.npz", {"w": np.zeros(3, "V4")})
    assert problem(path, []) == "the dtype |V4 is not supported"
    path = save_npz(tmp_path / "m.npz", {"w": VALUES.astype(ml_dtypes.int4)})
    assert problem(path).startswith("the file states only |V1")


def test_dtypes_are_recorded_only_if_given(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "m.npz", {"w": BFLOAT16})
    packed = pack(path, tmp_path / "m.vggq", dtypes={"w": "bfloat16"})
    assert packed.manifest.options["dtypes"] == [["w", "bfloat16"]]
    options = Options.from_record(packed.manifest.options)
    assert options == Options(dtypes=[("w", "bfloat16")])
    assert options != Options()
    assert is_current(packed.target, path, options)
    assert not is_current(packed.target, path, Options())
    with vggq.open(packed.target) as weights:
        assert weights.tensors["w"].source_dtype == "BF16"
        verify_against(weights, path)
    restored = vggq.load(packed.target, dtype="source")["w"]
    assert restored.dtype == ml_dtypes.bfloat16
    assert "dtypes" not in Options().to_record()


@pytest.mark.parametrize(
    "value",
    [
        "bfloat16",
        {"w": "float16"},
        {"w": "BF16"},
        {"": "bfloat16"},
        {"w": 2},
        ["w"],
        [["w", "bfloat16", "x"]],
        3,
    ],
)
def test_options_reject_invalid_declarations(value: Any) -> None:
    with pytest.raises(OptionError) as caught:
        Options(dtypes=value)
    ((name, message),) = caught.value.problems
    assert name == "dtypes"
    assert message.startswith("expected a ")


def test_the_command_line_declares_dtypes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_npz(tmp_path / "m.npz", {"a": BFLOAT16, "b": VALUES.astype(ml_dtypes.float8_e5m2)})
    target = str(tmp_path / "m.vggq")
    given = ["--dtypes", "a=bfloat16", "--dtypes", "b=float8_e5m2"]
    assert main(["pack", str(path), target, *given]) == 0
    capsys.readouterr()
    assert main(["inspect", target, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["options"]["dtypes"] == [["a", "bfloat16"], ["b", "float8_e5m2"]]
    assert [tensor["source_dtype"] for tensor in shown["tensors"]] == ["BF16", "F8_E5M2"]
    assert main(["pack", str(path), target, "--dtypes", "a"]) == 2
    expected = "vggq: error: dtypes: expected PATTERN=DTYPE, found 'a'\n"
    assert capsys.readouterr().err == expected
