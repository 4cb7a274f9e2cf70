"""`vggq inspect` of wheels and sdists that contain packed files, and of checkpoints."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from tests.helpers import save_npz
from vggq.packing.cli import main

Capture = pytest.CaptureFixture[str]


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of a table, by the first of each row."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}


def save_wheel(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def save_sdist(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


ARCHIVES = {"tiny-1.0-py3-none-any.whl": save_wheel, "tiny-1.0.tar.gz": save_sdist}


@pytest.mark.parametrize("name", ARCHIVES)
def test_inspect_shows_every_packed_file_of_an_archive(
    tmp_path: Path, packed: str, capsys: Capture, name: str
) -> None:
    path = tmp_path / name
    content = Path(packed).read_bytes()
    members = {"tiny/__init__.py": b"", "tiny/a.vggq": content, "tiny/b.vggq": content}
    ARCHIVES[name](path, members)
    assert main(["inspect", packed]) == 0
    alone = capsys.readouterr().out
    assert main(["inspect", str(path)]) == 0
    out, err = capsys.readouterr()
    expected = [alone.replace(f"{packed}: ", f"{path}: tiny/{model}.vggq: ", 1) for model in "ab"]
    assert out == "".join(expected)
    assert err == ""


@pytest.mark.parametrize("name", ARCHIVES)
def test_inspect_prints_one_json_document_for_an_archive(
    tmp_path: Path, packed: str, capsys: Capture, name: str
) -> None:
    ARCHIVES[name](tmp_path / name, {"tiny/a.vggq": Path(packed).read_bytes()})
    assert main(["inspect", packed, "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main(["inspect", str(tmp_path / name), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"models": [{"path": "tiny/a.vggq", **alone}]}


@pytest.mark.parametrize(
    ("name", "members", "message"),
    [
        ("a.whl", {"a.py": b""}, "contains no packed file, whose name ends in .vggq"),
        ("a.tar.gz", {"a.py": b""}, "contains no packed file, whose name ends in .vggq"),
        ("a.whl", None, "cannot be read as an archive: File is not a zip file"),
        ("a.tar.gz", None, "cannot be read as an archive: not a gzip file"),
    ],
)
def test_inspect_explains_archives_without_packed_files(
    tmp_path: Path, capsys: Capture, name: str, members: dict[str, bytes] | None, message: str
) -> None:
    path = tmp_path / name
    if members is None:
        path.write_bytes(b"what?")
    else:
        {".whl": save_wheel, ".gz": save_sdist}[path.suffix](path, members)
    assert main(["inspect", str(path)]) == 2
    assert capsys.readouterr() == ("", f"vggq: error: {path}: {message}\n")


def test_inspect_names_the_damaged_member(tmp_path: Path, packed: str, capsys: Capture) -> None:
    path = tmp_path / "a.whl"
    save_wheel(path, {"a.vggq": Path(packed).read_bytes()[:500]})
    assert main(["inspect", str(path)]) == 2
    assert capsys.readouterr().err.startswith(
        f"vggq: error: {path}: a.vggq: not a valid .vggq file"
    )


def test_inspect_recognizes_packed_files_of_any_name(
    tmp_path: Path, packed: str, capsys: Capture
) -> None:
    assert main(["inspect", packed]) == 0
    expected = capsys.readouterr().out
    for name in ("model.bin", "model", "model.safetensors"):
        shutil.copy(packed, tmp_path / name)
        assert main(["inspect", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out == expected.replace(packed, str(tmp_path / name))


def test_inspect_shows_the_tensors_of_a_checkpoint(
    tmp_path: Path, source: str, capsys: Capture
) -> None:
    assert main(["inspect", source]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{source}: npz, 3 tensors, 8.2 kB\n")
    table = rows(out)
    assert table["a.weight"] == ["50x40", "F32", "8.0", "kB"]
    assert table["count"] == ["scalar", "I64", "8", "B"]
    assert err == ""
    assert "\x1b" not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.npz"]


def save_odd(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["fine"] = np.zeros((2, 3), np.float32)
        file["text"] = "[red]x"
        file["gone"] = h5py.SoftLink("/nowhere")
        file.attrs["epoch"] = 3


def test_inspect_names_what_cannot_be_packed(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "m.h5"
    save_odd(path)
    assert main(["inspect", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: keras-hdf5, 3 tensors, 24 B\n")
    assert rows(out)["text"] == ["scalar", "object"]
    assert rows(out)["gone"] == ["unknown"]
    assert out.endswith(
        "cannot be packed: 'gone': a soft link to '/nowhere', which does not exist\n"
        "cannot be packed: 'text': strings are not supported\n"
    )
    assert err == f"vggq: {path}: not packed: the attributes 'epoch'\n"


def test_inspect_prints_one_json_document_for_a_checkpoint(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "m.h5"
    save_odd(path)
    assert main(["inspect", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    shown: dict[str, Any] = json.loads(out)
    assert shown["format"] == "keras-hdf5"
    assert shown["remarks"] == ["not packed: the attributes 'epoch'"]
    fine, gone, text = shown["tensors"]
    expected = {"name": "fine", "shape": [2, 3], "dtype": "F32", "bytes": 24, "problem": None}
    assert fine == expected
    assert gone["problem"] == "a soft link to '/nowhere', which does not exist"
    assert text["problem"] == "strings are not supported"


def test_inspect_reads_a_checkpoint_with_the_given_options(tmp_path: Path, capsys: Capture) -> None:
    path = save_npz(tmp_path / "m.npz", {"w": np.zeros((2, 3), ml_dtypes.bfloat16)})
    assert main(["inspect", str(path)]) == 0
    assert "cannot be packed: 'w': the file states only |V2" in capsys.readouterr().out
    assert main(["inspect", str(path), "--dtypes", "w=bfloat16"]) == 0
    assert rows(capsys.readouterr().out)["w"] == ["2x3", "BF16", "12", "B"]
    assert main(["inspect", str(path), "--layout", "torch"]) == 2
    assert "layout = 'torch' is for Keras sources only" in capsys.readouterr().err


@pytest.mark.torch
def test_inspect_shows_a_table_of_a_torch_checkpoint(tmp_path: Path, capsys: Capture) -> None:
    import torch  # noqa: PLC0415

    path = str(tmp_path / "m.pth")
    torch.save({"model": {"w": torch.zeros(3)}, "ema": {"w": torch.zeros(4)}}, path)
    assert main(["inspect", path]) == 0
    out, err = capsys.readouterr()
    assert rows(out)["w"][:2] == ["3", "F32"]
    assert f"vggq: {path}: the state dict is under the key 'model'\n" in err
    assert main(["inspect", path, "--key", "ema"]) == 0
    assert rows(capsys.readouterr().out)["w"][:2] == ["4", "F32"]


@pytest.mark.parametrize("name", ["model.vggq", "a.whl"])
def test_options_of_checkpoints_are_rejected_for_other_files(
    tmp_path: Path, packed: str, capsys: Capture, name: str
) -> None:
    path = packed if name == "model.vggq" else str(tmp_path / name)
    assert main(["inspect", path, "--key", "a", "--layout", "torch"]) == 2
    assert capsys.readouterr().err == (
        "vggq: error: layout: only valid with a checkpoint; key: only valid with a checkpoint\n"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.pth", "no such file"),
        ("gone.whl", "no such file"),
        ("weights/*.npz", "no such file; patterns are not supported, name one file"),
        (
            "notes.txt",
            (
                "unknown format; the supported formats have the suffixes .h5, .hdf5, .keras, "
                ".weights.json, .safetensors, .index.json, .pth, .pt, .bin, .npz, .npy, .onnx, "
                ".tflite"
            ),
        ),
    ],
)
def test_inspect_explains_files_that_it_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("hello")
    assert main(["inspect", name]) == 2
    assert capsys.readouterr() == ("", f"vggq: error: {name}: {message}\n")
