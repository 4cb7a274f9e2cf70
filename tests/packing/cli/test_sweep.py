"""The command `vggq sweep`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vggq
from vggq.errors import OptionError
from vggq.packing.cli import main
from vggq.packing.cli.sweep_goals import parse_sizes, parse_sqnrs, parse_widths

EVALUATION = """\
def spread(state):
    return {"spread": float(state["a.weight"].std()), "bad": float("inf")}
"""


def test_table_has_a_row_for_each_width(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", source, "--bits", "1-8"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines() if " bit" in line]
    assert [row[:2] for row in rows] == [
        ["1", "bit"],
        *([str(bits), "bits"] for bits in range(2, 9)),
    ]
    assert (err, out.count("\x1b")) == ("", 0)


def test_json_has_the_results_of_packing(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--drop", "count", "--rename", "^a=b", "--no-dependent", "--json"]
    goals = ["--bits", "3,5", "--sqnr", "20,33.5", "--size", "3 kB"]
    assert main(["sweep", source, *goals, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    figures = ["bytes", "ratio", "sqnr", "worst", "pack_seconds", "restore_seconds"]
    keys = ["bits"] * 2 + ["sqnr_target"] * 2 + ["size_target"]
    assert [list(one) for one in found] == [[name, *figures] for name in keys]
    for one, name in zip(found, keys, strict=True):
        target = tmp_path / "m.vggq"
        goal = [f"--{name.removesuffix('_target')}", str(one[name])]
        assert main(["pack", source, str(target), *goal, *options]) == 0
        packed = json.loads(capsys.readouterr().out)
        assert one["bytes"] == target.stat().st_size
        assert (one["sqnr"], one["worst"]) == (packed["sqnr"], packed["worst_sqnr"])
        assert one["ratio"] == packed["ratio"]
    assert [one[name] for one, name in zip(found, keys, strict=True)] == [3, 5, 20, 33.5, 3000]
    assert [one["worst"] >= one["sqnr_target"] for one in found[2:4]] == [True, True]


def test_objective_and_importance_apply_to_sizes_only(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    importance = tmp_path / "importance.json"
    importance.write_text('{"a.weight": 2}')
    goals = ["--bits", "2", "--size", "2 kB, 3 kB"]
    options = ["--objective", "overall", "--importance", str(importance)]
    assert main(["sweep", source, *goals, *options]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "." in line]
    assert rows == [["2", "bits"], ["2.0", "kB"], ["3.0", "kB"]]


def test_json_has_no_sqnr_if_nothing_is_quantized(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", source, "--bits", "2", "--keep", "*", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["sqnr"], found["worst"]) == (None, None)


def test_evaluation_is_imported_from_the_current_folder(tmp_path: Path, source: str) -> None:
    Path(tmp_path, "scores.py").write_text(EVALUATION)
    code = "import sys; from vggq.packing.cli import main; sys.path.remove(''); sys.exit(main())"
    arguments = ["sweep", source, "--bits", "1", "--eval", "scores:spread"]
    command = [sys.executable, "-c", code, *arguments]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    heading, _, first, second = [line for line in shown.stdout.splitlines() if line.strip()]
    assert heading.split()[-2:] == ["spread", "bad"]
    assert first.split()[0] == "unquantized"
    assert float(first.split()[-2]) > float(second.split()[-2]) > 0
    assert second.split()[-1] == "inf"
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    original, packed = json.loads(done.stdout)
    assert (original["bits"], original["bytes"], original["ratio"]) == (32, 8208, 1.0)
    assert original["scores"]["spread"] > packed["scores"]["spread"]
    assert packed["scores"]["bad"] is None


@pytest.mark.parametrize(
    ("text", "widths"),
    [("8", [8]), ("1-8", list(range(1, 9))), ("6,2-3,2", [2, 3, 6]), (" 4 ", [4])],
)
def test_parse_widths_returns_each_width_once(text: str, widths: list[int]) -> None:
    assert parse_widths(text) == widths


@pytest.mark.parametrize(
    ("text", "decibels"),
    [
        ("40", [40]),
        ("30,20.5,30", [20.5, 30]),
        ("10-20:5", [10, 15, 20]),
        ("1-1.3:0.1,120", [1, 1.1, 1.2, 1.3, 120]),
        ("10-19:5", [10, 15]),
    ],
)
def test_parse_sqnrs_returns_each_sqnr_once(text: str, decibels: list[float]) -> None:
    assert parse_sqnrs(text) == decibels


@pytest.mark.parametrize(
    "text",
    ["", "0", "121", "-5", "nan", "10-40", "10-40:0", "40-10:5", "1-9:nan", "inf", "a", "1,"],
)
def test_parse_sqnrs_rejects_invalid_lists(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_sqnrs(text)
    expected = "expected decibels above 0 and up to 120 such as 20,30,40 or 10-45:5, found "
    assert caught.value.problems == [("sqnr", f"{expected}{text!r}")]


def test_parse_sizes_returns_each_size_once() -> None:
    assert parse_sizes("1 MB,500kB, 1000 KB") == [500_000, 1_000_000]
    with pytest.raises(OptionError, match=r"size: expected a size such as '60 MB', .* found ''"):
        parse_sizes("1 MB,")


@pytest.mark.parametrize("text", ["", "0", "9", "1-9", "5-3", "5-3,4", "1-2-3", "a", "-1", "1,,2"])
def test_parse_widths_rejects_invalid_lists(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_widths(text)
    expected = f"expected widths from 1 to 8 such as 1-8 or 2,4,6, found {text!r}"
    assert caught.value.problems == [("bits", expected)]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--bits", "0"], "bits: expected widths from 1 to 8 such as 1-8 or 2,4,6, found '0'"),
        (["--bits", ""], "bits: expected widths from 1 to 8 such as 1-8 or 2,4,6, found ''"),
        (["--objective", "overall"], "objective: only valid with size"),
        (["--sqnr", "20", "--objective", "overall"], "objective: only valid with size"),
        (["--importance", "w.json"], "importance: only valid with size"),
        (
            ["--size", "100"],
            "size: 100 B is too small: the minimum is size = 1600, with an SQNR of 0.00 dB",
        ),
        (["--eval", "scores"], "eval: expected MODULE:FUNCTION, found 'scores'"),
        (["--keep", "no"], "keep: the pattern 'no' matches no tensor"),
        (["--rename", "abc"], "rename: expected REGEX=TEXT, found 'abc'"),
    ],
)
def test_invalid_options_are_reported_in_one_line(
    source: str, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert main(["sweep", source, *arguments]) == 2
    out, error = capsys.readouterr()
    rounded = re.sub(r"size = (\d+)", lambda found: f"size = {round(int(found[1]), -2)}", error)
    assert (out, rounded) == ("", f"vggq: error: {line}\n")


def test_sweep_leaves_the_source_and_its_folder_unchanged(tmp_path: Path, source: str) -> None:
    before = Path(source).read_bytes()
    assert main(["sweep", source, "--bits", "1"]) == 0
    assert Path(source).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
    with pytest.raises(vggq.VggqError):
        vggq.open(source)
