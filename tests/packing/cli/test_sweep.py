"""`vggq sweep`."""

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
from vggq.packing.cli.sweep_goals import parse_fidelities, parse_sizes, parse_widths

JUDGE = "def spread(state): return {'spread': float(state['a.weight'].std()), 'bad': float('inf')}"


def test_a_row_for_each_width(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", source, "--bits", "1-8"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines() if " bit" in line]
    assert [row[:2] for row in rows] == [
        ["1", "bit"],
        *([str(bits), "bits"] for bits in range(2, 9)),
    ]
    assert (err, out.count("\x1b")) == ("", 0)


def test_as_json_it_is_what_packing_gives(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--drop", "count", "--rename", "^a=b", "--independent", "--json"]
    goals = ["--bits", "3,5", "--sqnr", "20,33.5", "--size", "3 kB"]
    assert main(["sweep", source, *goals, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    figures = ["bytes", "ratio", "sqnr", "worst", "pack_seconds", "restore_seconds"]
    asked = ["bits"] * 2 + ["sqnr_target"] * 2 + ["size_target"]
    assert [list(one) for one in found] == [[name, *figures] for name in asked]
    for one, name in zip(found, asked, strict=True):
        target = tmp_path / "m.vggq"
        goal = [f"--{name.removesuffix('_target')}", str(one[name])]
        assert main(["pack", source, str(target), *goal, *options]) == 0
        packed = json.loads(capsys.readouterr().out)
        assert one["bytes"] == target.stat().st_size
        assert (one["sqnr"], one["worst"]) == (packed["sqnr"], packed["worst_sqnr"])
        assert one["ratio"] == packed["ratio"]
    assert [one[name] for one, name in zip(found, asked, strict=True)] == [3, 5, 20, 33.5, 3000]
    assert [one["worst"] >= one["sqnr_target"] for one in found[2:4]] == [True, True]


def test_aim_and_weights_are_for_the_sizes(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.json"
    weights.write_text('{"a.weight": 2}')
    goals = ["--bits", "2", "--size", "2 kB, 3 kB", "--aim", "overall", "--weights", str(weights)]
    assert main(["sweep", source, *goals]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "." in line]
    assert rows == [["2", "bits"], ["2.0", "kB"], ["3.0", "kB"]]


def test_nothing_quantized_has_no_worst(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", source, "--bits", "2", "--keep", "*", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["sqnr"], found["worst"]) == (None, None)


def test_a_tasks_own_judgement_from_the_folder_it_is_run_in(tmp_path: Path, source: str) -> None:
    Path(tmp_path, "judge.py").write_text(JUDGE)
    code = "import sys; from vggq.packing.cli import main; sys.path.remove(''); sys.exit(main())"
    command = [sys.executable, "-c", code, "sweep", source, "--bits", "1", "--eval", "judge:spread"]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    heading, _, first, second = [line for line in shown.stdout.splitlines() if line.strip()]
    assert heading.split()[-2:] == ["spread", "bad"]
    assert first.split()[:3] == ["not", "at", "all"]
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
def test_widths(text: str, widths: list[int]) -> None:
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
def test_fidelities(text: str, decibels: list[float]) -> None:
    assert parse_fidelities(text) == decibels


@pytest.mark.parametrize(
    "text",
    ["", "0", "121", "-5", "nan", "10-40", "10-40:0", "40-10:5", "1-9:nan", "inf", "a", "1,"],
)
def test_what_is_no_list_of_fidelities(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_fidelities(text)
    expected = "expected decibels above 0 and up to 120 such as 20,30,40 or 10-45:5, found "
    assert caught.value.problems == [("sqnr", f"{expected}{text!r}")]


def test_sizes() -> None:
    assert parse_sizes("1 MB,500kB, 1000 KB") == [500_000, 1_000_000]
    with pytest.raises(OptionError, match=r"size: expected a size such as '60 MB', .* found ''"):
        parse_sizes("1 MB,")


@pytest.mark.parametrize("text", ["", "0", "9", "1-9", "5-3", "5-3,4", "1-2-3", "a", "-1", "1,,2"])
def test_what_is_no_list_of_widths(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_widths(text)
    expected = f"expected widths from 1 to 8 such as 1-8 or 2,4,6, found {text!r}"
    assert caught.value.problems == [("bits", expected)]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--bits", "0"], "bits: expected widths from 1 to 8 such as 1-8 or 2,4,6, found '0'"),
        (["--bits", ""], "bits: expected widths from 1 to 8 such as 1-8 or 2,4,6, found ''"),
        (["--aim", "overall"], "aim: it is for a size only"),
        (["--sqnr", "20", "--aim", "overall"], "aim: it is for a size only"),
        (["--weights", "w.json"], "weights: they are for a size only"),
        (
            ["--size", "100"],
            "size: 100 B cannot be met: the smallest is size = 1600, at an SQNR of 0.00 dB",
        ),
        (["--eval", "judge"], "eval: expected module:function, found 'judge'"),
        (["--keep", "no"], "keep: the pattern 'no' matches no tensor"),
        (["--rename", "abc"], "rename: expected REGEX=TEXT, found 'abc'"),
    ],
)
def test_an_error_is_one_line(
    source: str, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert main(["sweep", source, *arguments]) == 1
    out, error = capsys.readouterr()
    rounded = re.sub(r"size = (\d+)", lambda found: f"size = {round(int(found[1]), -2)}", error)
    assert (out, rounded) == ("", f"vggq: error: {line}\n")


def test_the_source_is_left_as_it_was(tmp_path: Path, source: str) -> None:
    before = Path(source).read_bytes()
    assert main(["sweep", source, "--bits", "1"]) == 0
    assert Path(source).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
    with pytest.raises(vggq.VggqError):
        vggq.open(source)
