"""The commands, for packed files that restore a model."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from tests.onnx_models import save_model, save_split_model
from vggq.packing import pack
from vggq.packing.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

Capture = pytest.CaptureFixture[str]

NAMES = ["a", "b", "large.onnx"]


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """The packed file of a model in one file."""
    return pack(save_model(tmp_path / "rec.onnx"), tmp_path / "rec.vggq").target


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """The packed file of a model in three files."""
    source, *_ = save_split_model(tmp_path / "large.onnx")
    return pack(source, tmp_path / "large.vggq").target


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_pack_prints_the_size_of_the_model_and_its_share_of_weights(
    tmp_path: Path, capsys: Capture
) -> None:
    source = save_model(tmp_path / "rec.onnx")
    assert main(["pack", str(source), str(tmp_path / "rec.vggq")]) == 0
    size = source.stat().st_size
    share = 100 * 4 * (96 * 64 + 64 * 32) / size
    expected = f"rec.vggq: model of {size / 1000:.1f} kB, {share:.1f} % of it weights, in "
    assert expected in capsys.readouterr().out


def test_inspect_shows_the_files_of_a_model(split: Path, capsys: Capture) -> None:
    assert main(["inspect", str(split)]) == 0
    out = capsys.readouterr().out
    graph = split.with_suffix(".onnx").stat().st_size
    assert f"restores large.onnx and 2 files beside it; {graph} B outside its tensors" in out
    table = rows(out.partition("outside tensors")[2].partition("SQNR")[0])
    assert table["large.onnx"] == [str(graph), "B", "0", "B", str(graph), "B"]
    assert table["a"] == ["24.6", "kB", "24.6", "kB", "0", "B"]


def test_inspect_json_has_the_files_of_a_model(split: Path, capsys: Capture) -> None:
    assert main(["inspect", str(split), "--json"]) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert (model["main"], model["bytes"]) == (
        "large.onnx",
        sum(m["bytes"] for m in model["members"]),
    )
    with vggq.as_file(split) as path:
        found = {member["path"]: member for member in model["members"]}
        assert sorted(found) == NAMES
        for name, member in found.items():
            assert member["sha256"] == digest(path.with_name(name))
    assert found["b"]["weights_bytes"] == 4 * 64 * 32
    assert found["large.onnx"]["rest_bytes"] == found["large.onnx"]["bytes"]
    assert 0 < model["stored_rest_bytes"] < found["large.onnx"]["bytes"] + 20


def test_inspect_json_of_tensors_has_no_model(packed: str, capsys: Capture) -> None:
    assert main(["inspect", packed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] is None


def test_inspect_of_a_source_says_that_it_will_be_restored(split: Path, capsys: Capture) -> None:
    source = split.with_suffix(".onnx")
    size = sum(source.with_name(name).stat().st_size for name in NAMES)
    assert main(["inspect", str(source)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith(
        f"onnx, 2 tensors, 32.8 kB; restored as a model of {size / 1000:.1f} kB in 3 files"
    )
    assert main(["inspect", str(source), "--restore", "tensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restore"] == "tensors"
    assert main(["inspect", str(source), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restore"] == "model"


def test_verify_prints_the_digest_of_every_file(split: Path, capsys: Capture) -> None:
    assert main(["verify", str(split)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"{split}: 2 tensors are valid",
        f"{split}: 3 restored files have their recorded SHA-256",
    ]
    with vggq.as_file(split) as path:
        digests = {name: digest(path.with_name(name)) for name in NAMES}
    assert sorted(lines[2:]) == sorted(f"{value}  {name}" for name, value in digests.items())
    assert main(["verify", str(split), "--json"]) == 0
    members = json.loads(capsys.readouterr().out)["members"]
    assert {member["path"]: member["sha256"] for member in members} == digests


def test_verify_compares_a_model_with_its_source(single: Path, capsys: Capture) -> None:
    source = single.with_suffix(".onnx")
    assert main(["verify", str(single), "--against", str(source)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        f"{single}: 1 restored file has its recorded SHA-256, and equals the source outside "
        "quantized tensors and the checksums over them"
    )
    content = source.read_bytes()
    source.write_bytes(content.replace(b"MatMul", b"MatMux"))
    assert main(["verify", str(single), "--against", str(source)]) == 1
    assert capsys.readouterr().err == (
        f"vggq: error: {single}: the file 'rec.onnx' differs from the source outside its tensors\n"
    )


def test_unpack_writes_the_file_of_a_model(single: Path, tmp_path: Path, capsys: Capture) -> None:
    expected = vggq.read_bytes(single)
    for name in ("out.onnx", "new/folder/out.bin", "plain"):
        assert main(["unpack", str(single), str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes() == expected
    size = f"{len(expected) / 1000:.1f} kB"
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"{tmp_path / 'plain'}: restored rec.onnx, {size}"
    )


def test_unpack_writes_the_tensors_of_a_model_to_npz(single: Path, tmp_path: Path) -> None:
    assert main(["unpack", str(single), str(tmp_path / "out.npz")]) == 0
    with np.load(tmp_path / "out.npz") as archive:
        assert sorted(archive) == ["a", "b"]


@pytest.mark.parametrize("exists", [False, True])
def test_unpack_writes_several_files_to_a_new_or_empty_folder(
    split: Path, tmp_path: Path, capsys: Capture, *, exists: bool
) -> None:
    out = tmp_path / "deep" / "out"
    if exists:
        out.mkdir(parents=True)
    assert main(["unpack", str(split), str(out)]) == 0
    assert files_below(out.parent) == [f"out/{name}" for name in NAMES]
    with vggq.as_file(split) as path:
        for name in NAMES:
            assert (out / name).read_bytes() == path.with_name(name).read_bytes()
    printed = capsys.readouterr().out
    assert printed.startswith(f"{out}: restored 3 files, 33.")
    assert printed.endswith("; the main one is large.onnx\n")


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").write_text("")


def make_file(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize(
    ("model", "make", "problem"),
    [
        ("large", make_folder, "out: the folder is not empty; name a new one"),
        ("large", make_file, "out: a file; name a new folder"),
        ("rec", make_folder, f"out: a directory, not a file; write {Path('out/rec.onnx')}"),
    ],
)
def test_unpack_rejects_what_it_would_overwrite(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    model: str,
    make: Callable[[Path], None],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_split_model(Path("large.onnx"))
    save_model(Path("rec.onnx"))
    pack(f"{model}.onnx", "m.vggq")
    make(Path("out"))
    before = files_below(tmp_path)
    assert main(["unpack", "m.vggq", "out"]) == 2
    assert capsys.readouterr().err == f"vggq: error: {problem}\n"
    assert files_below(tmp_path) == before


def test_unpack_does_not_replace_the_packed_file(
    single: Path, tmp_path: Path, capsys: Capture
) -> None:
    content = single.read_bytes()
    (tmp_path / "link.onnx").symlink_to(single)
    for name in (single.name, "link.onnx"):
        out = tmp_path / name
        assert main(["unpack", str(single), str(out)]) == 2
        error = capsys.readouterr().err
        assert error == f"vggq: error: {out}: the target is the packed file itself\n"
    assert single.read_bytes() == content
    assert (tmp_path / "link.onnx").is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("packed_model", ["single", "split"])
def test_unpack_does_not_replace_a_special_file(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture, packed_model: str
) -> None:
    packed: Path = request.getfixturevalue(packed_model)
    out = tmp_path / "out"
    os.mkfifo(out)
    assert main(["unpack", str(packed), str(out)]) == 2
    assert capsys.readouterr().err == f"vggq: error: {out}: not a regular file\n"
    assert out.is_fifo()


@pytest.mark.parametrize("packed_model", ["single", "split"])
def test_unpack_rejects_an_impossible_name(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture, packed_model: str
) -> None:
    packed: Path = request.getfixturevalue(packed_model)
    before = files_below(tmp_path)
    assert main(["unpack", str(packed), str(tmp_path / ("x" * 300))]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vggq: error: ")
    assert ": cannot be written: " in error
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("packed_model", ["single", "split"])
def test_unpack_of_a_damaged_model_leaves_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture, packed_model: str
) -> None:
    packed: Path = request.getfixturevalue(packed_model)
    damaged = bytearray(packed.read_bytes())
    damaged[-1] ^= 1
    packed.write_bytes(damaged)
    before = files_below(tmp_path)
    assert main(["unpack", str(packed), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"vggq: error: {packed}: ")
    assert files_below(tmp_path) == before
    assert not (tmp_path / "out").exists()


def compare_json(capsys: Capture, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code = main(["compare", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_compare_shows_whether_files_differ_outside_their_tensors(
    single: Path, capsys: Capture
) -> None:
    source = single.with_suffix(".onnx")
    assert main(["compare", str(single), str(source), "--tolerance", "20"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\n1 file, 0 differ outside tensors; 1 not listed (--all lists them)\n")
    assert "rec.onnx" not in out
    assert main(["compare", str(single), str(source), "--tolerance", "20", "--all"]) == 0
    out = capsys.readouterr().out
    size = f"{source.stat().st_size / 1000:.1f}"
    assert rows(out)["rec.onnx"] == [size, "kB", size, "kB", "equal"]
    assert out.endswith("\n1 file, 0 differ outside tensors\n")
    other = source.with_name("other.onnx")
    other.write_bytes(source.read_bytes().replace(b"MatMul", b"MatMux"))
    for reference in (other, pack(other, single.with_name("other.vggq")).target):
        assert main(["compare", str(single), str(reference), "--tolerance", "20"]) == 1
        out, err = capsys.readouterr()
        assert rows(out)["rec.onnx"][-1] == "differs"
        assert err == "vggq: error: 1 of 1 files differ outside their tensors: 'rec.onnx'\n"


def test_compare_of_models_with_other_files_names_the_missing_ones(
    single: Path, split: Path, capsys: Capture
) -> None:
    code, table = compare_json(capsys, single, split, "--tolerance", "20")
    assert (code, table["within"]) == (1, False)
    found = {file["path"]: file for file in table["files"]}
    assert sorted(found) == ["a", "b", "rec.onnx"]
    assert found["a"]["bytes_a"] is None
    assert found["a"]["bytes_b"] == 4 * 96 * 64
    assert not any(file["same_outside_tensors"] for file in found.values())
    assert main(["compare", str(single), str(split), "--tolerance", "20"]) == 1
    lines = capsys.readouterr().out.splitlines()
    sizes = {name: max(f["bytes_a"] or 0, f["bytes_b"] or 0) for name, f in found.items()}
    listed = [name for line in lines for name in line.split()[:1] if name in found]
    assert [sizes[name] for name in listed] == sorted(sizes.values(), reverse=True)
    assert lines[-1] == "3 files, 3 differ outside tensors"


def test_compare_with_tensors_alone_compares_no_files(single: Path, capsys: Capture) -> None:
    target = single.with_name("tensors.vggq")
    tensors = pack(single.with_suffix(".onnx"), target, restore="tensors").target
    for pair in ((single, tensors), (tensors, single)):
        code, table = compare_json(capsys, *pair)
        assert (code, table["files"]) == (0, [])


def test_report_shows_the_files_of_a_model(split: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "r.html", str(split.with_suffix(".onnx"))
    assert main(["report", str(split), "--against", source, "--no-sweep", "-o", str(out)]) == 0
    page = out.read_text("utf-8")
    with vggq.open(split) as weights:
        size = sum(member.size for member in weights.members)
    assert f"<dt>restored size</dt><dd>{size / 1000:.1f} kB</dd>" in page
    for name in NAMES:
        assert f'<th scope="row">{name}</th>' in page
    assert " of the files are outside their tensors and stored exactly, in " in page


def test_report_of_tensors_alone_has_no_table_of_files(tmp_path: Path) -> None:
    source = save_npz(tmp_path / "s.npz", {"w": np.ones((40, 40), np.float32)})
    packed = pack(source, tmp_path / "s.vggq").target
    assert main(["report", str(packed), "-o", str(tmp_path / "r.html")]) == 0
    assert 'id="files"' not in (tmp_path / "r.html").read_text("utf-8")
