"""The command `vggq compare`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import save_npz
from vggq.packing.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def rows(out: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}


def test_file_equals_itself(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", packed, packed]) == 0
    expected = "3 tensors, 0 differ; 3 not listed (--all lists them); SQNR exact\n"
    assert capsys.readouterr() == (expected, "")


def test_all_lists_equal_tensors_with_the_largest_first(
    packed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", packed, packed, "--all"]) == 0
    out, err = capsys.readouterr()
    assert rows(out)["a.weight"] == ["50x40", "50x40", "equal", "exact", "0"]
    names = [line.split()[0] for line in out.splitlines() if " equal " in line]
    assert names == ["a.weight", "a.bias", "count"]
    assert out.splitlines()[-1] == "3 tensors, 0 differ; SQNR exact"
    assert (err, out.count("\x1b")) == ("", 0)


def test_packed_file_must_come_first(
    packed: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", source, packed]) == 2
    assert capsys.readouterr().err == (
        f"vggq: error: {source}: not a packed file, which must come first: "
        f"`vggq compare {packed} {source}`\n"
    )


def test_file_differs_from_its_source_unless_within_the_tolerance(
    packed: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", packed, source]) == 1
    out, err = capsys.readouterr()
    assert rows(out)["a.weight"][2] == "differs"
    assert not rows(out).keys() & {"a.bias", "count"}
    assert "\n3 tensors, 1 differ; 2 not listed (--all lists them); SQNR " in out
    assert err == "vggq: error: 1 of 3 tensors differ: 'a.weight'\n"
    assert main(["compare", packed, source, "--tolerance", "40"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 tensors, 0 differ; 3 not listed (--all lists them); SQNR 4")
    assert main(["compare", packed, source, "--tolerance", "40", "--all"]) == 0
    assert rows(capsys.readouterr().out)["a.weight"][2] == "close"
    assert main(["compare", packed, source, "--tolerance", "80"]) == 1
    expected = "vggq: error: 1 of 3 tensors differ, with a tolerance of 80 dB: 'a.weight'\n"
    assert capsys.readouterr().err == expected


def test_json_has_the_difference_of_every_tensor(
    tmp_path: Path,
    packed: str,
    arrays: dict[str, NDArray[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = save_npz(tmp_path / "other.npz", {**arrays, "count": arrays["a.bias"]})
    assert main(["compare", packed, str(other), "--json", "--tolerance", "40"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["tolerance"], shown["within"]) == (40, False)
    bias, weight, count = shown["tensors"]
    assert bias == {
        "name": "a.bias",
        "shape_a": [50],
        "shape_b": [50],
        "same": True,
        "within": True,
        "sqnr": None,
        "largest_error": 0.0,
    }
    assert weight["within"]
    # Tensors that are stored exactly do not count, as in the manifest.
    assert shown["sqnr"] == weight["sqnr"] > 40
    assert 0 < weight["largest_error"] < 0.2
    assert (count["within"], count["sqnr"], count["largest_error"]) == (False, None, None)


def test_missing_tensors_differ(
    tmp_path: Path,
    packed: str,
    arrays: dict[str, NDArray[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    del arrays["count"]
    other = save_npz(tmp_path / "[b]other.npz", {**arrays, "[b]": arrays["a.bias"]})
    assert main(["compare", packed, str(other), "--tolerance", "0"]) == 1
    out, err = capsys.readouterr()
    assert rows(out)["count"] == ["scalar", "missing", "differs"]
    assert rows(out)["[b]"] == ["missing", "50", "differs"]
    assert err.endswith("2 of 4 tensors differ, with a tolerance of 0 dB: 'count', '[b]'\n")


@pytest.mark.parametrize("value", ["many", "nan"])
def test_tolerance_must_be_a_number(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compare", "a", "b", "--tolerance", value])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "argument --tolerance: " in err
    assert repr(value) in err
    assert err.count("\n") == 1
