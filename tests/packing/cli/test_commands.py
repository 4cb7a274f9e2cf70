"""The `vggq` command, called like its console script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

import vggq
from tests.helpers import save_npz
from vggq.packing import pack
from vggq.packing.cli import main
from vggq.packing.sources import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray


LONG_NAME = "l" * 300


def test_pack_prints_sizes_and_records_its_options(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "m.vggq")
    assert main(["pack", source, target, "--bits", "4", "--keep", "*.bias"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{target}: 8.2 kB of weights in ")
    assert out.count("\n") == 1
    assert err == "vggq: SQNR is not accuracy; `vggq tune` checks the answers of the model\n"
    with vggq.open(target) as weights:
        assert weights.manifest.options == {
            "quantization": {
                "bits": 4,
                "dependent": True,
                "effort": "default",
                "tensors": [],
                "keep": ["*.bias"],
            },
            "layout": None,
            "key": None,
            "drop": [],
            "rename": [],
            "license": None,
            "description": None,
            "url": None,
        }


def test_pack_drops_and_renames_tensors(tmp_path: Path, source: str) -> None:
    target = str(tmp_path / "m.vggq")
    options = ["--drop", "count", "--rename", "^a=b", "--rename", "t$=t=1"]
    assert main(["pack", source, target, *options]) == 0
    assert sorted(vggq.load(target)) == ["b.bias", "b.weight=1"]


def test_pack_prints_remarks_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save_npz(tmp_path / "m.npz", {"w": np.full((40, 40), np.nan, np.float32)})
    remark = "tensor 'w' is stored exactly: 1600 of its 1600 values are not finite"
    assert main(["pack", str(source), str(tmp_path / "m.vggq"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == f"vggq: {source}: {remark}\n"
    assert json.loads(out)["remarks"] == [remark]


def test_pack_json_has_the_sizes_of_the_file(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "m.vggq"
    assert main(["pack", source, str(target), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["bytes"] == target.stat().st_size
    assert figures["float32_bytes"] == 4 * 2050 + 8
    assert figures["ratio"] == pytest.approx(figures["float32_bytes"] / figures["bytes"], abs=1e-4)
    assert figures["sqnr"] == figures["worst_sqnr"] > 40


def test_pack_replaces_the_target_only_if_it_succeeds(
    tmp_path: Path, source: str, packed: str, arrays: dict[str, NDArray[Any]]
) -> None:
    old = Path(packed).read_bytes()
    assert main(["pack", source, packed, "--keep", "nothing"]) == 2
    assert Path(packed).read_bytes() == old
    assert main(["pack", source, packed, "--bits", "2"]) == 0
    assert len(Path(packed).read_bytes()) < len(old)
    assert {path.name for path in tmp_path.iterdir()} == {"model.npz", "model.vggq"}


def test_inspect_prints_every_tensor(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", packed]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["a.bias", "50", "F32", "raw"] in [row[:4] for row in rows]
    assert ["a.weight", "50x40", "F32", "codebook", "256"] in [row[:5] for row in rows]
    (count,) = (row for row in rows if row[:1] == ["count"])
    assert count == ["count", "scalar", "I64", "raw", *count[4:6], "exact", "exact"]
    assert "from npz, sha256 " in out
    assert "\x1b" not in out


def test_pack_records_the_provenance_and_inspect_prints_it(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "m.vggq")
    given = ["--license", "CC-BY-4.0", "--description", "\x1b[2Jé", "--url", "https://a.org/ü?b=1"]
    assert main(["pack", source, target, *given]) == 0
    capsys.readouterr()
    assert main(["inspect", target]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("; bits = 8")
    assert lines[2:5] == [
        "license = 'CC-BY-4.0'",
        "description = '\\x1b[2Jé'",
        "url = 'https://a.org/ü?b=1'",
    ]
    assert main(["inspect", target, "--json"]) == 0
    options = json.loads(capsys.readouterr().out)["options"]
    assert (options["license"], options["description"]) == ("CC-BY-4.0", "\x1b[2Jé")


def test_inspect_prints_short_codec_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Print the taps of a grid only, so that 80 columns are enough for the names."""
    pattern = np.random.default_rng(1).standard_normal((60, 30, 1, 1))
    kernels = pattern + np.random.default_rng(2).standard_normal((60, 30, 3, 3)) / 9
    arrays = {"smooth": kernels.astype(np.float32), "rough": kernels[..., 0, 0].astype(np.float32)}
    source, target = save_npz(tmp_path / "m.npz", arrays), str(tmp_path / "m.vggq")
    assert main(["pack", str(source), target, "--sqnr", "20"]) == 0
    capsys.readouterr()
    assert main(["inspect", target]) == 0
    rows = {row.split()[0]: row for row in capsys.readouterr().out.splitlines() if "F32" in row}
    assert rows["rough"].split()[2:4] == ["F32", "grid"]
    assert " grid of 9 " in rows["smooth"]


def test_inspect_json_has_every_tensor(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", packed, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [tensor["name"] for tensor in shown["tensors"]] == ["a.bias", "a.weight", "count"]
    assert [tensor["sqnr"] is None for tensor in shown["tensors"]] == [True, False, True]
    assert shown["tensors"][1]["codec"] == {"name": "codebook", "centroids": 256}


def test_inspect_prints_markup_in_names_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_npz(tmp_path / "odd.npz", {"[red]x[/red]": np.zeros(3)})
    target = str(tmp_path / "odd.vggq")
    assert main(["pack", str(source), target]) == 0
    assert main(["inspect", target]) == 0
    assert "[red]x[/red]" in capsys.readouterr().out


def test_verify_accepts_a_file_and_its_source(
    packed: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", packed]) == 0
    assert capsys.readouterr().out == f"{packed}: 3 tensors are valid\n"
    assert main(["verify", packed, "--against", source]) == 0
    expected = f"{packed}: 3 tensors are valid, and match {source} within the recorded error\n"
    assert capsys.readouterr().out == expected
    assert main(["verify", packed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": packed,
        "tensors": 3,
        "members": [],
        "against": None,
    }


def test_verify_rejects_a_changed_source(
    tmp_path: Path,
    packed: str,
    arrays: dict[str, NDArray[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arrays["a.bias"][7] += 1
    other = save_npz(tmp_path / "other.npz", arrays)
    assert main(["verify", packed, "--against", str(other)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"vggq: error: {packed}: tensor 'a.bias': stored exactly, but different from the source\n"
    )


def test_verify_rejects_damaged_bytes(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(Path(packed).read_bytes())
    damaged[-1] ^= 1
    Path(packed).write_bytes(damaged)
    assert main(["verify", packed]) == 1
    assert capsys.readouterr().err.startswith(f"vggq: error: {packed}: tensor 'count': ")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_unpack_writes_the_arrays_of_load(tmp_path: Path, packed: str, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    assert main(["unpack", packed, str(out)]) == 0
    if suffix == ".npz":
        with np.load(out) as archive:
            found: dict[str, NDArray[Any]] = dict(archive)
    else:
        found = safetensors.numpy.load_file(out)
    expected = vggq.load(packed)
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("name", "suffix", "message"),
    [
        ("a\0b", "npz", "tensor 'a\\x00b': a name that zip archives cannot store; unpack to .safe"),
        ("ü" * 32_766, "npz", "…': a name that zip archives cannot store; unpack to .safetensors"),
        ("__metadata__", "safetensors", "a name that safetensors reserves; unpack to .npz"),
    ],
)
def test_unpack_rejects_names_that_the_format_cannot_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, suffix: str, message: str
) -> None:
    source = tmp_path / "s.npz"
    save_npz(source, {"a": np.arange(3)})
    packed = str(tmp_path / "s.vggq")
    assert main(["pack", str(source), packed, "--rename", f"^a$={name}"]) == 0
    capsys.readouterr()
    out = tmp_path / f"out.{suffix}"
    assert main(["unpack", packed, str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_control_characters_in_names_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_npz(tmp_path / "s.npz", {"a": np.ones((40, 40), np.float32) * 0.1})
    packed = str(tmp_path / "s.vggq")
    for options in ([], ["--keep", "*"]):
        assert main(["pack", str(source), packed, "--rename", "^a$=\x1b]0;a\x07[b]", *options]) == 0
        assert main(["inspect", packed]) == 0
        out, err = capsys.readouterr()
        assert "\\x1b]0;a\\x07[b]" in out
        assert "\x1b" not in out + err


def library_stores(values: np.ndarray) -> bool:
    """Return whether the installed safetensors can store an array of this dtype."""
    try:
        safetensors.numpy.save({"w": values})
    except (KeyError, ValueError, safetensors.SafetensorError):
        return False
    return True


def test_unpack_writes_complex_arrays_that_the_format_can_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dtype in (np.complex64, np.complex128):
        values = np.array([1 + 2j, 3 - 4j], dtype)
        packed = pack(save_npz(tmp_path / "s.npz", {"w": values}), tmp_path / "s.vggq").target
        for suffix in ("npz", "safetensors"):
            out = tmp_path / f"out.{suffix}"
            stored = main(["unpack", str(packed), str(out)]) == 0
            assert stored == (suffix == "npz" or library_stores(values))
            if stored:
                with open_source(out) as source:
                    np.testing.assert_array_equal(source.tensors[0].read(), values)
    assert "safetensors cannot store the tensors (" in capsys.readouterr().err


def test_unpack_to_npz_writes_names_that_savez_reserves(tmp_path: Path) -> None:
    names = ["file", "args", "a/b", "dot.", "allow_pickle", "größe"]
    arrays = {name: np.full(3, index) for index, name in enumerate(names)}
    source = tmp_path / "names.safetensors"
    safetensors.numpy.save_file(arrays, source)
    packed, out = str(tmp_path / "names.vggq"), tmp_path / "out.npz"
    assert main(["pack", str(source), packed]) == 0
    assert main(["unpack", packed, str(out)]) == 0
    with np.load(out) as archive:
        assert {name: array.tolist() for name, array in archive.items()} == {
            name: array.tolist() for name, array in arrays.items()
        }


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["pack", "gone.npz", "t.vggq"], "vggq: error: gone.npz: no such file"),
        (
            ["pack", f"{LONG_NAME}.npz", "t.vggq"],
            f"vggq: error: {LONG_NAME}.npz: cannot be read: File name too long",
        ),
        (
            ["pack", "{source}", f"{LONG_NAME}.vggq"],
            f"vggq: error: {LONG_NAME}.vggq: cannot be written: File name too long",
        ),
        (
            ["pack", "a\0.npz", "t.vggq"],
            "vggq: error: 'a\\x00.npz' cannot be read: embedded null byte",
        ),
        (["pack", "{source}", "t.bin"], "vggq: error: t.bin: expected a name that ends in .vggq"),
        (
            ["pack", "{source}", "t.vggq", "--bits", "9"],
            "vggq: error: bits: expected an integer from 1 to 8, found 9",
        ),
        (
            ["pack", "{source}", "t.vggq", "--keep", "*.bais"],
            "vggq: error: keep: the pattern '*.bais' matches no tensor; did you mean 'a.bias'?",
        ),
        (
            ["pack", "{source}", "t.vggq", "--rename", "abc"],
            "vggq: error: rename: expected REGEX=TEXT, found 'abc'",
        ),
        (
            ["pack", "{source}", "t.vggq", "--url", "a.org"],
            "vggq: error: url: expected a URL such as 'https://example.org/model', found 'a.org'",
        ),
        (["pack", "{source}", "."], "vggq: error: .: expected a name that ends in .vggq"),
        (
            ["inspect", "gone.vggq"],
            "vggq: error: gone.vggq: no such file",
        ),
        (
            ["inspect", "{junk}"],
            (
                "vggq: error: {junk}: not a valid .vggq file: "
                "not valid JSON: Expecting value: line 1 column 1 (char 0)"
            ),
        ),
        (
            ["unpack", "{packed}", "out.pth"],
            "vggq: error: out.pth: expected a name that ends in .safetensors or .npz",
        ),
    ],
)
def test_errors_are_one_line_with_exit_code_2_and_leave_no_files(
    tmp_path: Path,
    source: str,
    packed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    junk = tmp_path / "junk.vggq"
    junk.write_bytes(bytes(20))
    before = sorted(tmp_path.rglob("*"))
    places = {"source": source, "packed": packed, "junk": str(junk)}
    assert main([argument.format(**places) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == line.format(**places) + "\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["pack", "a", "b", "--bits", "x"], "argument --bits: invalid int value: 'x'"),
        (["pack", "a"], "the following arguments are required: TARGET"),
        (["pack", "a", "b", "--aim", "x"], "argument --aim: renamed to --objective; see"),
        (["sweep", "a", "--weights=x"], "argument --weights: renamed to --importance; see"),
        (["pack", "a", "b", "--independent"], "--independent: renamed to --no-dependent; see"),
        (["pakc"], "argument COMMAND: invalid choice: 'pakc'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1


def test_missing_rich_raises_an_error_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["inspect", "x"]) == 2
    expected = "vggq: error: rich is not installed: pip install 'hatch-vggq[cli]'\n"
    assert capsys.readouterr().err == expected


def test_closed_pipe_ends_the_command_without_an_error_message(packed: str) -> None:
    """Close the read end of the pipe before the command prints anything."""
    code = f"import sys; from vggq.packing.cli import main; sys.exit(main(['inspect', {packed!r}]))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
