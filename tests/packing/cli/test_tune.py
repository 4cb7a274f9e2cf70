"""The commands `vggq tune` and `vggq sweep --each`."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

import vggq
from tests.packing.tuning import toy
from vggq.packing.cli import main
from vggq.packing.sizes import megabytes

if TYPE_CHECKING:
    from pathlib import Path

TOY = "tests.packing.tuning.toy"


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    toy.CALLS.clear()
    source = str(toy.write_source(tmp_path))
    cache = str(tmp_path / "cache")
    return ["tune", source, "--cache", cache, "--trials", "4", "--no-dependent"]


def _fail(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line of an error."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_files_and_summary(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert main([*command, "--eval", f"{TOY}:outputs", "--size", "9 kB", "-o", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "the best error within 9.0 kB: error 0." in out
    assert "unused.weight has no effect on error" in err
    names = {path.name for path in folder.iterdir()}
    assert names >= {"tuned.vggq", "tuned.toml", "report.html"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4  # two charts, each for light and for dark pages
    for text in ("Effect and SQNR", "Size and error", "first.weight", "which are not shown: 1."):
        assert text in page


def test_factors_are_written_named_and_removed(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    table, factors = folder / "tuned.toml", folder / "importance.json"
    arguments = [*command, "--eval", f"{TOY}:outputs"]
    assert main([*arguments, "--at-most", "0.1"]) == 0
    out = capsys.readouterr().out
    assert 'importance = "importance.json"' in out
    last = "pass -o FOLDER to write the packed file, tuned.toml, importance.json and the report"
    assert out.splitlines()[-1] == last
    assert main([*arguments, "--at-most", "0.1", "-o", str(folder)]) == 0
    out = capsys.readouterr().out.replace("\n", "")
    assert out.endswith(f"paste {table} into pyproject.toml, and copy {factors} next to it")
    assert factors.is_file()
    (folder / "other.json").touch()
    assert main([*arguments, "--size", "1 MB", "-o", str(folder)]) == 0
    assert capsys.readouterr().out.replace("\n", "").endswith(f"paste {table} into pyproject.toml")
    assert not factors.exists()
    assert (folder / "other.json").exists()
    assert main([*arguments, "--size", "1 MB"]) == 0
    last = "pass -o FOLDER to write the packed file, tuned.toml and the report"
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_remark_has_the_bytes_of_an_unused_tensor_in_the_packed_file(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    arguments = ["--eval", f"{TOY}:outputs", "--at-most", "0.3", "-o", str(folder)]
    assert main([*command, *arguments]) == 0
    err = capsys.readouterr().err
    packed = folder / "tuned.vggq"
    with vggq.open(packed) as opened:
        stored = opened.stored_size("unused.weight")
    share = 100 * stored / packed.stat().st_size
    assert f"unused.weight has no effect on error ({megabytes(stored)}, {share:.0f} % of" in err


def test_result_is_shown_with_the_packed_file(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, page = tmp_path / "out" / "tuned.vggq", tmp_path / "page.html"
    assert (
        main([*command, "--eval", f"{TOY}:outputs", "--size", "9 kB", "-o", str(packed.parent)])
        == 0
    )
    capsys.readouterr()
    assert main(["inspect", str(packed)]) == 0
    assert "evaluation: error 0." in capsys.readouterr().out
    assert main(["inspect", str(packed), "--json"]) == 0
    evaluation = json.loads(capsys.readouterr().out)["evaluation"]
    assert (evaluation["metric"], evaluation["original"]) == ("error", 0)
    assert main(["report", str(packed), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "error, original" in text
    assert f"{evaluation['packed']:.6g}" in text
    assert evaluation["sha256"] not in text


def test_json_has_the_result(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--eval", f"{TOY}:outputs", "--at-most", "0.1", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["metric"] == "error"
    assert table["packed"]["error"] <= 0.1
    assert [t["tensors"] for t in table["tensors"] if t["unused"]] == [["unused.weight"]]


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("missing", "cannot be imported: AttributeError"),
        ("raises", "failed with the original weights: ValueError: no images"),
        ("returns_nan", "returned nan for the metric 'returns_nan'"),
        ("returns_text", "returned 'good, 4', expected a number"),
        (
            "returns_other_shapes",
            "an array of shape (32, 48) with restored weights, but of shape (48, 32)",
        ),
        ("returns_nan_later", "returned an array with NaN or infinity"),
    ],
)
def test_bad_functions_are_one_line(
    command: list[str], function: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _fail([*command, "--eval", f"{TOY}:{function}", "--size", "9 kB"], capsys)
    assert line.startswith("vggq: error: eval: ")
    assert problem in line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "goal: expected one of --size, --at-least, --at-most, --within, found none"),
        (["--size", "9 kB", "--within", "1%"], "goal: expected one of"),
        (["--within", "much"], "within: expected a share such as 0.5%, found 'much'"),
        (["--within", "5"], "within: expected a share below 100 %, such as 5%, found '5'"),
        (["--within", "100%"], "within: expected a share below 100 %, such as 5%, found '100%'"),
        (["--within=-1%"], "within: expected a share such as 0.5%, found '-1%'"),
        (["--at-least", "nan"], "at-least: expected a number, found nan"),
        (["--at-least", "2"], "cannot be met"),
        (["--size", "100"], "is too small: the minimum is size = "),
        (["--size", "9 kB", "--metric", "x"], "metric: no metric 'x'; found error, cosine"),
    ],
)
def test_bad_goals_are_one_line(
    command: list[str], arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in _fail([*command, "--eval", f"{TOY}:outputs", *arguments], capsys)


@pytest.mark.parametrize("option", ["--at-least", "--at-most"])
def test_bound_that_is_no_number_is_one_line(
    command: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--eval", f"{TOY}:outputs", option, "99%"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument {option}: expected a number such as 0.99, found '99%'" in line


@pytest.mark.parametrize("time", ["", "5x", "-1s", "nan"])
def test_bad_time_is_rejected(command: list[str], time: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--eval", f"{TOY}:outputs", "--size", "9 kB", f"--time-limit={time}"])
    assert caught.value.code == 2


@pytest.mark.parametrize("seed", ["", "x", "-1", str(2**32)])
def test_bad_seed_is_rejected(command: list[str], seed: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--eval", f"{TOY}:outputs", "--size", "9 kB", f"--seed={seed}"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--metric", "loss", "--size", "9 kB"], 1),
        (["--metric", "loss", "--within", "5%"], 1),
        (["--metric", "loss", "--within", "5%", "--lower-is-better"], 0),
        (["--metric", "loss", "--at-most", "1.2"], 0),
        (["--metric", "accuracy", "--within", "5%"], 0),
    ],
)
def test_loss_of_which_more_counts_as_better_has_one_remark(
    command: list[str], arguments: list[str], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--eval", f"{TOY}:scores", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err.count("pass --lower-is-better") == count
    assert "--lower-is-better" not in out


def test_result_that_is_probably_worse_has_a_remark(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--eval", f"{TOY}:distance", "--within", "5%"]) == 0
    err = capsys.readouterr().err
    assert re.search(r"distance [\d.]+ counts as better than 0.1 of the original weights", err)
    assert err.count("pass --lower-is-better") == 1


def test_interrupted_run_goes_on(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*command, "--eval", f"{TOY}:interrupted", "--size", "9 kB", "--json"]
    assert main(arguments) == 130
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == (
        "",
        ["vggq: interrupted; run the same command again to go on"],
    )
    assert main(arguments) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["bytes"] <= 9000


def test_folder_that_is_a_file_is_an_error_before_the_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = ["--eval", f"{TOY}:count_calls", "--size", "9 kB", "-o", str(tmp_path / "file")]
    assert "a file, not a folder" in _fail([*command, *arguments], capsys)
    assert toy.CALLS == []


def test_sweep_of_each_tensor(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = command[1]
    cache = ["--cache", str(tmp_path / "cache"), "--no-dependent"]
    assert main(["sweep", source, "--eval", f"{TOY}:outputs", "--each", *cache, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert len(table["tensors"]) == 3
    assert "each: only valid with --eval" in _fail(["sweep", source, "--each"], capsys)
    arguments = ["sweep", source, "--eval", f"{TOY}:outputs", "--each", "--bits", "4"]
    assert "bits: does not apply with --each" in _fail(arguments, capsys)
    arguments = ["sweep", source, "--eval", f"{TOY}:outputs", "--each", "--scale", "rows"]
    assert "scale: does not apply with --each" in _fail(arguments, capsys)
    arguments = ["sweep", source, "--eval", f"{TOY}:accuracy", "--lower-is-better"]
    assert "lower-is-better: only valid with --each" in _fail(arguments, capsys)


def test_json_is_alone_on_stdout(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--eval", f"{TOY}:prints", "--size", "9 kB", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["metric"] == "error"
    assert "printed" in err


def test_file_above_the_folder_is_an_error_before_the_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    arguments = ["--eval", f"{TOY}:count_calls", "--size", "9 kB", "-o", str(tmp_path / "out/x")]
    assert "out: cannot be created: a file, not a folder" in _fail([*command, *arguments], capsys)
    assert not toy.CALLS


def test_folder_without_permission_is_an_error_before_the_work(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An administrator may write to every folder.
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    arguments = ["--eval", f"{TOY}:count_calls", "--size", "9 kB", "-o", str(tmp_path / "out/x")]
    line = _fail([*command, *arguments], capsys)
    assert f"{tmp_path}: cannot be written: no permission, or a read-only disk" in line
    assert not toy.CALLS


@pytest.mark.parametrize("name", ["page.html", "new/folder/page.html"])
def test_page_of_a_sweep_without_permission_is_an_error_before_the_work(
    command: list[str],
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An administrator may write to every folder.
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    out = ["-o", str(tmp_path / name)]
    line = _fail(["sweep", command[1], "--eval", f"{TOY}:count_calls", *out], capsys)
    assert f"{tmp_path}: cannot be written: no permission, or a read-only disk" in line
    assert not toy.CALLS


def test_page_of_a_sweep_below_a_file_is_an_error_before_the_work(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--eval", f"{TOY}:count_calls", "-o", f"{command[1]}/page.html"]
    assert "cannot be created: a file, not a folder" in _fail(
        ["sweep", command[1], *arguments], capsys
    )
    assert not toy.CALLS


def test_sweep_of_each_tensor_of_a_folder_selects_files(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(command[1], folder / "toy.safetensors")
    shutil.copy(command[1], folder / "copy.safetensors")
    arguments = ["--eval", f"{TOY}:folder_outputs", "--each", *command[2:4], "--json"]
    assert main(["sweep", str(folder), *arguments, "--exclude", "copy.*"]) == 0
    tensors = json.loads(capsys.readouterr().out)["tensors"]
    names = {name for group in tensors for name in group["tensors"]}
    assert names == {"first.weight", "second.weight", "unused.weight"}
