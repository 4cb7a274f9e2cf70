"""Folders as sources: which files are packed, and which tensors they have."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import safetensors.numpy

import vggq
from tests.onnx_models import make_model, save_model, save_split_model
from vggq._model_checks import MAX_MEMBERS
from vggq.errors import OptionError, SourceError, TargetError, VerificationError
from vggq.packing import (
    FileComparison,
    Packed,
    compare,
    compare_files,
    is_current,
    pack,
    verify_against,
)
from vggq.packing.cli import main as run
from vggq.packing.options import Options
from vggq.packing.sources import ReadOptions, hash_source, list_source_files, open_source
from vggq.packing.sources._stored_copy import REMARK as COMPRESSED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MODEL = ReadOptions(restore="model")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"


def make_weights(seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {
        "embed.weight": rng.standard_normal((70, 40)).astype(np.float32),
        "out.weight": rng.standard_normal((40, 30)).astype(np.float32),
        "out.bias": rng.standard_normal(30).astype(np.float32),
    }


def save_folder(root: Path) -> Path:
    """Write weights beside other files of all kinds, in folders too."""
    for folder in ("1_Pooling", "logs/old", "assets"):
        (root / folder).mkdir(parents=True)
    safetensors.numpy.save_file(make_weights(), root / "model.safetensors")
    (root / "config.json").write_text('{"hidden_size": 40}')
    (root / "1_Pooling" / "config.json").write_text("{}")
    (root / "assets" / "__init__.py").write_text("")
    (root / "assets" / "vocab.größe").write_bytes(bytes(range(256)))
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_folder(tmp_path / "minilm")


def pack_folder(folder: Path, **options: Any) -> Packed:
    return pack(folder, folder.parent / "m.vggq", **options)


def contents_of(folder: Path) -> dict[str, bytes | None]:
    """Return the bytes of all files by their path, and None for each empty folder."""
    found: dict[str, bytes | None] = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        if path.is_file():
            found[relative] = path.read_bytes()
        elif not list(path.iterdir()):
            found[relative] = None
    return found


def restored(packed: Packed) -> dict[str, bytes | None]:
    with vggq.as_file(packed.target) as path:
        return contents_of(path)


def outside_of_weights(contents: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    """Return the contents with the header alone of each safetensors file."""
    return {
        path: content[: 8 + int.from_bytes(content[:8], "little")]
        if content and path.endswith(".safetensors")
        else content
        for path, content in contents.items()
    }


def names_in(folder: Path, **options: Any) -> list[str]:
    files = list_source_files(folder, ReadOptions(**options))
    return [file.relative_to(folder).as_posix() for file in files]


def error_of(folder: Path, **options: Any) -> str:
    """Return the message with which a folder is refused, within a second and without a file."""
    before = time.process_time()
    with pytest.raises((SourceError, OptionError)) as caught:
        pack_folder(folder, **options)
    assert time.process_time() - before < 1
    assert not (folder.parent / "m.vggq").exists()
    return str(caught.value).replace(f"{folder}", "F")


def test_folder_with_everything_kept_is_restored_byte_for_byte(folder: Path) -> None:
    packed = pack_folder(folder, keep=["*"])
    assert restored(packed) == contents_of(folder)
    assert contents_of(folder)["logs/old"] is None


def test_restored_folder_differs_in_quantized_tensors_only(folder: Path) -> None:
    packed = pack_folder(folder)
    found = restored(packed)
    assert found != contents_of(folder)
    assert outside_of_weights(found) == outside_of_weights(contents_of(folder))
    content = found["model.safetensors"]
    assert content is not None
    expected = vggq.load(packed.target)
    for name, array in safetensors.numpy.load(content).items():
        np.testing.assert_array_equal(array, expected[name])
    assert {t.name for t in packed.manifest.tensors if t.quantized} == {
        "embed.weight",
        "out.weight",
    }
    assert packed.manifest.source_format == "folder"


def test_digest_does_not_depend_on_the_order_of_a_listing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, digest = list_source_files(folder), hash_source(folder)
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: Path) -> None:
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert list_source_files(folder) == files
    assert hash_source(folder) == digest


@pytest.mark.parametrize("change", ["content", "name", "new file", "new folder", "less"])
def test_digest_depends_on_every_file_and_folder(folder: Path, change: str) -> None:
    packed = pack_folder(folder)
    assert is_current(packed.target, folder, Options())
    if change == "content":
        (folder / "config.json").write_text('{"hidden_size": 41}')
    elif change == "name":
        (folder / "config.json").rename(folder / "settings.json")
    elif change == "new file":
        (folder / "LICENSE").write_text("")
    elif change == "new folder":
        (folder / "logs" / "new").mkdir()
    else:
        (folder / "logs" / "old").rmdir()
    assert not is_current(packed.target, folder, Options())
    with vggq.open(packed.target) as weights, pytest.raises(VerificationError):
        verify_against(weights, folder)


def test_folder_is_not_reused_for_other_patterns_or_for_a_file(folder: Path) -> None:
    packed = pack_folder(folder)
    assert not is_current(packed.target, folder, Options(exclude=["config.json"]))
    assert not is_current(packed.target, folder / "model.safetensors", Options())


def test_renamed_folder_is_the_same(folder: Path) -> None:
    packed = pack_folder(folder)
    renamed = folder.rename(folder.with_name("other"))
    assert is_current(packed.target, renamed, Options())


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (
            {},
            [
                "1_Pooling/config.json",
                "assets/__init__.py",
                "assets/vocab.größe",
                "config.json",
                "model.safetensors",
            ],
        ),
        ({"include": ["*.json"]}, ["1_Pooling/config.json", "config.json"]),
        (
            {"include": ["*.json"], "exclude": ["1_*"]},
            ["config.json"],
        ),
        (
            {"exclude": ["*.json", "assets/*"]},
            ["model.safetensors"],
        ),
    ],
)
def test_patterns_select_files(folder: Path, options: dict[str, Any], names: list[str]) -> None:
    assert names_in(folder, **options) == names


def test_patterns_select_empty_folders(folder: Path) -> None:
    for options in ({"exclude": ["logs*"]}, {"include": ["*.safetensors"]}):
        model = pack_folder(folder, **options).manifest.model
        assert model is not None
        assert model.folders == ()
    model = pack_folder(folder).manifest.model
    assert model is not None
    assert model.folders == ("logs/old",)
    assert model.main == "."


def test_folder_with_excluded_files_alone_is_not_empty(folder: Path) -> None:
    found = restored(pack_folder(folder, exclude=["1_Pooling/*"]))
    assert not [path for path in found if path.startswith("1_Pooling")]


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_pattern_that_matches_nothing(folder: Path, option: str) -> None:
    assert error_of(folder, **{option: ["confg.json"]}) == (
        f"{option}: the pattern 'confg.json' matches no file; did you mean 'config.json'?"
    )


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_patterns_of_files_are_for_folders_only(folder: Path, option: str) -> None:
    target = folder.parent / "m.vggq"
    with pytest.raises(OptionError) as caught:
        pack(folder / "model.safetensors", target, **{option: ["*"]})  # type: ignore[arg-type]
    assert str(caught.value) == f"{option}: only valid if the source is a folder"


def test_files_of_no_model_are_skipped_with_a_remark(folder: Path) -> None:
    expected = contents_of(folder)
    for path in (".git/HEAD", ".cache/huggingface/download/config.json.lock", "x/__pycache__/a"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("")
    for path in (".gitattributes", "assets/.DS_Store", "assets/.gitignore"):
        (folder / path).write_text("*")
    os.mkfifo(folder / ".cache" / "pipe")
    packed = pack_folder(folder, keep=["*"])
    # A folder with nothing else is an empty one.
    assert restored(packed) == expected | {"x": None}
    assert (
        "not packed: the files and folders '.cache', '.git', '.gitattributes', 'assets/.DS_Store', "
        "'assets/.gitignore' and 1 more"
    ) in packed.remarks


def test_programs_get_a_remark(folder: Path) -> None:
    assert pack_folder(folder).remarks == (
        "the folder has programs, which will ship: 'assets/__init__.py'",
    )
    (folder / "assets" / "__init__.py").unlink()
    assert pack_folder(folder).remarks == ()
    for path, content in {
        "run": b"#!/bin/sh\n",
        "lib.so.1": b"",
        "tool": b"\x7fELF",
        "modeling_x.py": b"",
        "win": b"MZ\0\0",
    }.items():
        (folder / path).write_bytes(content)
    (remark,) = pack_folder(folder).remarks
    assert remark == (
        "the folder has programs, which will ship: 'lib.so.1', 'modeling_x.py', 'run', 'tool', "
        "'win'"
    )


def cache_snapshot(folder: Path) -> Path:
    """Turn a folder into a snapshot in a cache of Hugging Face, whose files are links to blobs."""
    cache = folder.parent / "hub" / "models--x--minilm"
    snapshot, blobs = cache / "snapshots" / "ab12", cache / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.rglob("*"))):
        link = snapshot / path.relative_to(folder)
        if path.is_dir():
            link.mkdir(parents=True, exist_ok=True)
            continue
        blob = blobs / f"{number:040x}"
        shutil.copy(path, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_links_of_a_cache_snapshot_are_followed(folder: Path) -> None:
    snapshot = cache_snapshot(folder)
    assert (snapshot / "1_Pooling" / "config.json").is_symlink()
    packed = pack(snapshot, folder.parent / "s.vggq", keep=["*"])
    assert restored(packed) == contents_of(folder)
    assert hash_source(snapshot) == hash_source(folder)
    # The folder itself may be a link.
    link = folder.with_name("link")
    link.symlink_to(snapshot)
    assert hash_source(link) == hash_source(folder)


def test_external_data_in_a_cache_snapshot_is_found(folder: Path) -> None:
    (folder / "onnx").mkdir()
    save_split_model(folder / "onnx" / "model.onnx", seed=3)
    packed = pack(cache_snapshot(folder), folder.parent / "s.vggq", keep=["*"])
    assert restored(packed) == contents_of(folder)
    assert {"a", "b"} <= {tensor.name for tensor in packed.manifest.tensors}


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    (folder / "latest.json").symlink_to("1_Pooling/config.json")
    found = restored(pack_folder(folder))
    assert found["latest.json"] == b"{}"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("../outside.txt", "a link that leads outside of the folder; copy the file"),
        ("/etc/hostname", "a link that leads outside of the folder; copy the file"),
        ("missing", "a link that leads nowhere"),
        ("x", "a link that leads nowhere"),
        ("assets", "a link to a folder, which is not followed; copy the folder"),
        ("..", "a link that leads outside of the folder; copy the file"),
        (".", "a link to a folder, which is not followed; copy the folder"),
    ],
)
def test_other_links_are_refused_by_name(folder: Path, target: str, problem: str) -> None:
    (folder.parent / "outside.txt").write_text("secret")
    (folder / "x").symlink_to(target)
    assert error_of(folder) == f"F/x: {problem}"
    # It can be left out.
    assert "x" not in restored(pack_folder(folder, exclude=["x"]))


def make_junction(link: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create a junction; elsewhere than on Windows a link that looks like one to `os.scandir`."""
    if sys.platform == "win32":
        import _winapi  # noqa: PLC0415

        _winapi.CreateJunction(str(target), str(link))
        return
    link.symlink_to(target)
    scandir = os.scandir

    class Junction:
        name = link.name

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            assert not follow_symlinks
            return True

        def stat(self, *, follow_symlinks: bool) -> object:
            assert not follow_symlinks
            return SimpleNamespace(st_reparse_tag=0xA0000003)

    def scan(path: Path) -> Any:
        with scandir(path) as entries:
            found = [Junction() if entry.path == str(link) else entry for entry in entries]
        return nullcontext(found)

    monkeypatch.setattr(os, "scandir", scan)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("..", "a link that leads outside of the folder; copy the file"),
        ("assets", "a link to a folder, which is not followed; copy the folder"),
        (".", "a link to a folder, which is not followed; copy the folder"),
    ],
)
def test_junctions_are_refused_as_links(
    folder: Path, monkeypatch: pytest.MonkeyPatch, target: str, problem: str
) -> None:
    names = names_in(folder)
    make_junction(folder / "x", folder / target, monkeypatch)
    assert error_of(folder) == f"F/x: {problem}"
    assert names_in(folder, exclude=["x"]) == names


def test_file_of_a_folder_that_becomes_a_link_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "secret").write_text("")
    scandir = os.scandir

    def scan(path: Path) -> Any:
        if path == folder / "assets":
            shutil.rmtree(path)
            path.symlink_to("../other")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    problem = "a link that leads outside of the folder; copy the file"
    assert error_of(folder) == f"F/assets/secret: {problem}"


def test_blobs_of_another_cache_are_outside(folder: Path) -> None:
    snapshot = cache_snapshot(folder)
    blobs = folder.parent / "hub" / "models--x--other" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "secret").write_text("secret")
    (snapshot / "x").symlink_to("../../../models--x--other/blobs/secret")
    with pytest.raises(SourceError, match="a link that leads outside of the folder"):
        list_source_files(snapshot)


def test_pipes_are_refused_by_name(folder: Path) -> None:
    os.mkfifo(folder / "assets" / "pipe")
    assert error_of(folder) == "F/assets/pipe: not a regular file; `exclude` can leave it out"
    assert stat.S_ISFIFO((folder / "assets" / "pipe").stat().st_mode)


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "onnx/model.onnx_data"])
def test_pointers_of_git_lfs_are_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(POINTER)
    assert error_of(folder) == f"F/{name}: a Git LFS pointer, not the file; run `git lfs pull`"


def test_unreadable_folder_is_refused_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def fail(path: Path) -> Any:
        if path.name == "assets":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    assert error_of(folder) == "F/assets: cannot be read: Permission denied"


def test_too_many_files_and_folders(folder: Path) -> None:
    for number in range(MAX_MEMBERS):
        (folder / "assets" / f"{number}").write_bytes(b"")
    assert error_of(folder) == (
        f"F: more than {MAX_MEMBERS} files, the limit of a packed file; `exclude` leaves files out"
    )
    assert len(names_in(folder, exclude=["assets/*"])) == 3
    shutil.rmtree(folder / "assets")
    for number in range(MAX_MEMBERS):
        (folder / "empty" / f"{number}").mkdir(parents=True)
    assert error_of(folder).startswith(f"F: more than {MAX_MEMBERS} empty folders, the limit")


def test_too_deep_folders(folder: Path) -> None:
    deep = folder.joinpath(*"a" * 15)
    (deep / "b").mkdir(parents=True)
    (deep / "x").write_text("")
    names = names_in(folder, exclude=["*/b"])
    assert names[0].count("/") == 1
    assert f"{'a/' * 15}x" in names
    (deep / "b" / "x").write_text("")
    problem = "the path has more than 16 parts; `exclude` can leave it out"
    assert error_of(folder) == f"F/{'a/' * 15}b/x: {problem}"
    assert names_in(folder, exclude=["*/b/*"]) == names
    assert names_in(folder, include=["*.json"]) == ["1_Pooling/config.json", "config.json"]


def test_too_deep_empty_folders(folder: Path) -> None:
    folder.joinpath(*"a" * 17).mkdir(parents=True)
    assert error_of(folder).startswith(f"F/{'/'.join('a' * 17)}: the path has more than 16 parts")
    assert len(names_in(folder, exclude=["a/*"])) == 5


def test_folders_deeper_than_python_can_recurse(folder: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    folders = [folder / "/".join("a" * number) for number in range(1, depth)]
    names = names_in(folder)
    for path in folders:
        path.mkdir()
    try:
        assert names_in(folder, exclude=["a/*"]) == names
        assert "the path has more than 16 parts" in error_of(folder)
    finally:
        # Functions that remove a tree may recurse.
        for path in reversed(folders):
            path.rmdir()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["nul.txt"], "'nul.txt' has a name that Windows reserves"),
        (["a:b"], "'a:b' has the character ':', which a file name cannot have on every system"),
        (["Config.json"], "on some systems 'Config.json' and 'config.json' are one file"),
        (["a\nb"], "'a\\nb' has the character '\\n', which a file name cannot have"),
    ],
)
def test_names_that_cannot_be_restored(folder: Path, names: list[str], problem: str) -> None:
    for name in names:
        (folder / name).write_text("")
    assert problem in error_of(folder)


def test_name_that_is_no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.txt")).write_text("")
    assert "has lone surrogates" in error_of(folder)


def test_empty_folder_cannot_have_the_name_of_a_file_elsewhere(folder: Path) -> None:
    (folder / "CONFIG.json").mkdir()
    assert "on some systems 'config.json' and 'CONFIG.json' are one file" in error_of(folder)


def test_folder_without_files_or_without_tensors(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    problem = "no file of the folder is a model with tensors in a known format"
    assert error_of(folder) == f"F: {problem}"
    empty = folder / "logs"
    with pytest.raises(SourceError, match="the folder has no files"):
        pack(empty, folder.parent / "m.vggq")


def test_saved_model_is_refused_with_advice(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"")
    assert "looks like a TensorFlow model, which is not supported" in error_of(folder)


def test_damaged_model_file_is_refused_by_name(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    message = error_of(folder)
    assert message.startswith("F/model.safetensors: ")
    assert message.endswith("; `exclude` can leave the file out")


def test_file_whose_content_is_not_that_of_its_suffix_is_kept_exactly(folder: Path) -> None:
    (folder / "openvino_model.bin").write_bytes(np.random.default_rng(0).bytes(9000))
    (folder / "training.index.json").write_text("{}")
    packed = pack_folder(folder)
    found = restored(packed)
    assert found["openvino_model.bin"] == (folder / "openvino_model.bin").read_bytes()
    assert any("'openvino_model.bin' (9.0 kB)" in remark for remark in packed.remarks)
    assert (
        "stored exactly, because the content is not that of the suffix: 'openvino_model.bin'"
        in (packed.remarks)
    )


def test_data_file_with_the_suffix_of_a_model_is_not_misnamed(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    path, location = folder / "model.onnx", "model.bin"
    onnx.save(make_model(), path, save_as_external_data=True, location=location, size_threshold=0)
    packed = pack_folder(folder)
    assert restored(packed)[location] != (folder / location).read_bytes()
    assert not [text for text in packed.remarks if "not that of the suffix" in text]


def test_tensors_alone_cannot_be_packed_from_a_folder(folder: Path) -> None:
    assert error_of(folder, restore="tensors") == (
        "F: restore = 'tensors' is for files, and this is a folder; name the file with the weights,"
        " or the index of its shards, as the source"
    )
    for option in ({"drop": ["*"]}, {"layout": "torch"}, {"key": "model"}):
        assert "does not apply with restore = 'model'" in error_of(folder, **option)


def test_target_in_the_source_is_refused(folder: Path) -> None:
    for target in (folder / "m.vggq", folder / "assets" / "m.vggq"):
        with pytest.raises(TargetError, match="the target is in the folder that is the source"):
            pack(folder, target)
        assert not target.exists()


def save_torch(weights: Mapping[str, NDArray[Any]], path: Path) -> None:
    import torch  # noqa: PLC0415

    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, path)


@pytest.mark.torch
def test_files_with_the_same_tensors_are_named(folder: Path) -> None:
    save_torch(make_weights(), folder / "pytorch_model.bin")
    (remark,) = [text for text in pack_folder(folder).remarks if "same tensors" in text]
    assert remark == (
        "'pytorch_model.bin' holds the same tensors as 'model.safetensors'; "
        "exclude = ['pytorch_model.bin'] leaves it out; if your code loads it, exclude "
        "'model.safetensors' instead"
    )
    names = {tensor.name for tensor in pack_folder(folder).manifest.tensors}
    assert {"model.safetensors/out.bias", "pytorch_model.bin/out.bias"} <= names
    excluded = pack_folder(folder, exclude=["pytorch_model.bin"])
    assert not [text for text in excluded.remarks if "same tensors" in text]
    assert {tensor.name for tensor in excluded.manifest.tensors} == make_weights().keys()


@pytest.mark.torch
def test_transposed_tensors_are_the_same(folder: Path) -> None:
    arrays = {f"onnx::{name}": array.T.copy() for name, array in make_weights().items()}
    (folder / "alt").mkdir()
    safetensors.numpy.save_file(arrays, folder / "alt" / "[x].safetensors")
    save_torch(make_weights(), folder / "pytorch_model.bin")
    (remark,) = [text for text in pack_folder(folder).remarks if "same tensors" in text]
    assert remark == (
        "'alt/[x].safetensors', 'pytorch_model.bin' hold the same tensors as 'model.safetensors'; "
        "exclude = ['alt/[[]x].safetensors', 'pytorch_model.bin'] leaves them out; if your code "
        "loads one of them, exclude the others instead"
    )


def test_files_with_the_tensors_of_several_files_are_named(folder: Path) -> None:
    """The preferred files are those at the top of the folder, and those in safetensors."""
    (folder / "model.safetensors").unlink()
    (folder / "all").mkdir()
    safetensors.numpy.save_file(make_weights(), folder / "all" / "a.safetensors")
    np.savez(folder / "a.npz", **make_weights())  # type: ignore[arg-type]
    for number, (name, array) in enumerate(make_weights().items(), 1):
        safetensors.numpy.save_file({name: array}, folder / f"m-{number}-of-3.safetensors")
    (remark,) = [text for text in pack_folder(folder).remarks if "same tensors" in text]
    assert remark.startswith(
        "'all/a.safetensors', 'a.npz' hold the same tensors as 'm-1-of-3.safetensors', "
        "'m-2-of-3.safetensors'; exclude = ['all/a.safetensors', 'a.npz'] leaves them out"
    )


def test_data_files_of_a_duplicate_are_excluded_with_it(folder: Path) -> None:
    """Without its model, a data file would be stored exactly."""
    (folder / "onnx").mkdir()
    save_split_model(folder / "onnx" / "model.onnx")
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in make_model().graph.initializer}
    safetensors.numpy.save_file(arrays, folder / "same.safetensors")
    (remark,) = [text for text in pack_folder(folder).remarks if "same tensors" in text]
    exclude = ["onnx/model.onnx", "onnx/a", "onnx/b"]
    assert remark.startswith(
        f"'onnx/model.onnx' holds the same tensors as 'same.safetensors'; exclude = {exclude!r} "
    )
    packed = pack_folder(folder, exclude=exclude)
    assert not [text for text in packed.remarks if "same tensors" in text]
    assert not [name for name in restored(packed) if name.startswith("onnx")]


def test_data_files_of_another_model_are_not_excluded(folder: Path) -> None:
    save_split_model(folder / "model.onnx")
    shutil.copy(folder / "model.onnx", folder / "second.onnx")
    (remark,) = [text for text in pack_folder(folder).remarks if "same tensors" in text]
    assert remark.startswith(
        "'second.onnx' holds the same tensors as 'model.onnx'; exclude = ['second.onnx'] "
    )


def test_other_tensors_of_the_same_shapes_are_not_the_same(folder: Path) -> None:
    safetensors.numpy.save_file(make_weights(1), folder / "teacher.safetensors")
    assert not [text for text in pack_folder(folder).remarks if "same tensors" in text]


def test_names_are_those_of_the_files_unless_two_have_the_same(folder: Path) -> None:
    other = {"linear.weight": make_weights()["out.weight"], "out.bias": np.zeros(7, np.float32)}
    (folder / "2_Dense").mkdir()
    safetensors.numpy.save_file(other, folder / "2_Dense" / "model.safetensors")
    packed = pack_folder(folder, keep=["*"])
    assert {tensor.name for tensor in packed.manifest.tensors} == {
        "embed.weight",
        "linear.weight",
        "out.weight",
        "2_Dense/model.safetensors/out.bias",
        "model.safetensors/out.bias",
    }
    assert restored(packed) == contents_of(folder)


def test_external_data_of_an_onnx_model_belongs_to_it(folder: Path) -> None:
    save_split_model(folder / "model.onnx")
    packed = pack_folder(folder)
    found = restored(packed)
    names = {tensor.name for tensor in packed.manifest.tensors if tensor.quantized}
    assert {"a", "b", "embed.weight"} <= names
    assert found["a"] != (folder / "a").read_bytes()
    assert found["model.onnx"] == (folder / "model.onnx").read_bytes()
    assert error_of_excluded(folder) == (
        "F/b: belongs to 'model.onnx', but is not packed; `include` it, or `exclude` both"
    )


def error_of_excluded(folder: Path) -> str:
    (folder.parent / "m.vggq").unlink()
    return error_of(folder, exclude=["b"])


def test_data_file_of_two_models_is_kept_exactly(folder: Path) -> None:
    save_split_model(folder / "model.onnx")
    shutil.copy(folder / "model.onnx", folder / "copy.onnx")
    packed = pack_folder(folder, bits=2)
    found = restored(packed)
    for name in ("a", "b"):
        assert found[name] == (folder / name).read_bytes()
    assert any("its file belongs to several models" in remark for remark in packed.remarks)


def test_shards_are_read_without_their_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for number, (name, array) in enumerate(make_weights().items(), 1):
        safetensors.numpy.save_file({name: array}, folder / f"model-{number}-of-3.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    packed = pack_folder(folder)
    assert set(vggq.load(packed.target)) == make_weights().keys()
    assert restored(packed)["model.safetensors.index.json"] == b'{"weight_map": {}}'


def test_folder_that_changes_while_it_is_read(folder: Path) -> None:
    target = folder.parent / "m.vggq"

    def change(_done: int, _total: int) -> None:
        (folder / "config.json").write_text('{"hidden_size": 41}')

    with pytest.raises(SourceError) as caught:
        pack(folder, target, progress=change)
    assert str(caught.value) == (
        f"{folder}: changed while it was read; wait until it is complete, then build again"
    )
    assert not target.exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_addition_while_a_folder_is_read(folder: Path, kind: str) -> None:
    target = folder.parent / "m.vggq"

    def add(_done: int, _total: int) -> None:
        if kind == "file":
            (folder / "new").write_text("")
        else:
            (folder / "new").mkdir(exist_ok=True)

    with pytest.raises(SourceError, match="changed while it was read"):
        pack(folder, target, progress=add)
    assert not target.exists()


def test_excluded_file_may_be_added_while_a_folder_is_read(folder: Path) -> None:
    def add(_done: int, _total: int) -> None:
        (folder / "assets" / "log").write_text("")

    packed = pack(folder, folder.parent / "m.vggq", exclude=["assets/*"], progress=add)
    assert (folder / "assets" / "log").exists()
    assert "assets/log" not in restored(packed)


def test_comparisons_of_folders(folder: Path, tmp_path: Path) -> None:
    packed = pack_folder(folder, exclude=["1_Pooling/*"])
    other = pack(folder, tmp_path / "other.vggq", bits=4)
    names = {"assets/__init__.py", "assets/vocab.größe", "config.json", "model.safetensors"}
    for reference in (folder, packed.target):
        files = compare_files(packed.target, reference)
        assert {file.path for file in files} == names
        assert all(file.same for file in files)
    files = compare_files(packed.target, other.target)
    missing = FileComparison("1_Pooling/config.json", None, 2, same=False)
    assert [file for file in files if not file.same] == [missing]
    assert {c.name for c in compare(packed.target, folder)} == make_weights().keys()


def test_folder_and_file_are_compared_by_their_paths(folder: Path, tmp_path: Path) -> None:
    packed = pack_folder(folder, include=["model.safetensors"])
    model = save_model(tmp_path / "m.onnx")
    single = pack(model, tmp_path / "single.vggq")
    files = {file.path: file for file in compare_files(packed.target, single.target)}
    assert set(files) == {"m.onnx", "model.safetensors"}
    assert not any(file.same for file in files.values())


def test_commands_know_folders(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, out = str(tmp_path / "m.vggq"), tmp_path / "out"
    assert run(["pack", str(folder), target, "--exclude", "1_Pooling/*", "--keep", "*"]) == 0
    assert run(["verify", target, "--against", str(folder)]) == 0
    assert run(["compare", target, str(folder)]) == 0
    capsys.readouterr()
    assert run(["inspect", target]) == 0
    assert "restores a folder with 4 files and 1 empty folder; " in capsys.readouterr().out
    assert run(["inspect", str(folder), "--exclude", "1_Pooling/*"]) == 0
    assert "folder, 3 tensors, 16.1 kB; restored as a model of" in capsys.readouterr().out
    assert run(["unpack", target, str(out)]) == 0
    expected = contents_of(folder)
    del expected["1_Pooling/config.json"]
    assert contents_of(out) == expected
    assert run(["inspect", str(folder / "config.json")]) == 2


def test_tensors_are_open_while_the_block_lasts(folder: Path) -> None:
    with open_source(folder, MODEL) as source:
        for tensor in source.tensors:
            np.testing.assert_array_equal(tensor.read(), make_weights()[tensor.name])


def test_compressed_archive_in_a_folder_is_restored_without_compression(folder: Path) -> None:
    table = np.random.default_rng(3).standard_normal((80, 50)).astype(np.float32)
    np.savez_compressed(folder / "tables.npz", table=table)
    packed = pack_folder(folder)
    assert f"tables.npz: {COMPRESSED}" in packed.remarks
    with vggq.as_file(packed.target) as restored, np.load(restored / "tables.npz") as tables:
        np.testing.assert_array_equal(tables["table"], vggq.load(packed.target)["table"])
        assert (restored / "tables.npz").stat().st_size > table.nbytes


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_names_in_messages_are_escaped_and_explained(folder: Path) -> None:
    (folder / "a\nb\x1b").touch()
    message = error_of(folder)
    assert message.isprintable()
    assert "a\\nb\\x1b: cannot be restored" in message
    assert message.endswith("; rename it, or leave it out with `exclude`")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has only one of these files")
def test_names_that_look_the_same_are_shown_apart(folder: Path) -> None:
    for name in ("\u00e9", "e\u0301"):
        (folder / name).touch()
    assert r"'e\u0301' and '\xe9' are one file; rename it" in error_of(folder)
