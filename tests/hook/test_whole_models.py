"""Builds of packages whose models are restored as files: ONNX in one and in several files."""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

import vggq
from tests.onnx_models import save_model, save_split_model

from .conftest import Project, extract_sdist, sdist_names, wheel_names
from .in_process import build_here, fail_here
from .test_sbom import parsed, read

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

KEY = "tool.hatch.build.hooks.vggq.models[0]"
WHEEL = "tiny-1.0-py2.py3-none-any.whl"
SINGLE = """
[[tool.hatch.build.hooks.vggq.models]]
source = "weights/rec.onnx"
target = "src/tiny/rec.vggq"
"""
SPLIT = """
[[tool.hatch.build.hooks.vggq.models]]
source = "weights/large.onnx"
target = "src/tiny/large.vggq"
"""
SPLIT_NAMES = ["a", "b", "large.onnx"]


@pytest.fixture
def single(project: Project) -> Project:
    """A project with an ONNX model in one file."""
    save_model(project.source.with_name("rec.onnx"))
    project.configure(SINGLE)
    return project


@pytest.fixture
def split(project: Project) -> Project:
    """A project with an ONNX model in three files."""
    save_split_model(project.source.with_name("large.onnx"))
    project.configure(SPLIT)
    return project


def packed_in(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"tiny/{name}")


def test_wheel_and_sdist_have_the_packed_models_alone(single: Project) -> None:
    save_split_model(single.source.with_name("large.onnx"))
    single.configure(SINGLE + SPLIT + 'keep = ["*"]\n')
    result = single.build("sdist", "wheel")
    assert result.code == 0, result.output
    line = (
        r"vggq: src/tiny/rec\.vggq: model of 3\d\.\d kB, 99\.\d % of it weights, in \d+\.\d kB \(.*"
    )
    assert any(re.fullmatch(line, printed) for printed in result.lines), result.output
    names = {name for name in wheel_names(single.wheel) if ".dist-info" not in name}
    assert names == {"tiny/__init__.py", "tiny/rec.vggq", "tiny/large.vggq"}
    shipped = {name for name in sdist_names(single.sdist) if "/src/" in name}
    assert shipped == {f"tiny-1.0/src/{name}" for name in names}
    assert not any("/weights/" in name for name in sdist_names(single.sdist))
    with vggq.as_file(packed_in(single.wheel, "large.vggq")) as path:
        assert path.name == "large.onnx"
        for name in SPLIT_NAMES:
            source = single.source.with_name(name)
            assert path.with_name(name).read_bytes() == source.read_bytes()
    restored = vggq.read_bytes(packed_in(single.wheel, "rec.vggq"))
    original = single.source.with_name("rec.onnx").read_bytes()
    assert len(restored) == len(original)
    assert restored != original


def test_wheel_from_the_sdist_has_the_same_packed_model(split: Project, tmp_path: Path) -> None:
    assert split.build("sdist", "wheel").code == 0
    extract_sdist(split.sdist, tmp_path)
    unpacked = Project(tmp_path / "tiny-1.0")
    result = unpacked.build()
    assert result.code == 0, result.output
    assert result.lines[0] == (
        "vggq: src/tiny/large.vggq: using the packed file: weights/large.onnx is not in this tree"
    )
    assert unpacked.wheel.read_bytes() == split.wheel.read_bytes()


def test_model_is_packed_again_if_any_of_its_files_changes(split: Project, capsys: Capture) -> None:
    reused = "reused, because weights/large.onnx and the options are unchanged"
    assert build_here(split, capsys).code == 0
    assert reused in build_here(split, capsys).output
    before = (split.target.parent / "large.vggq").read_bytes()
    data = split.source.with_name("b")
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.write_bytes(content)
    result = build_here(split, capsys)
    assert result.code == 0
    assert reused not in result.output
    assert (split.target.parent / "large.vggq").read_bytes() != before


def test_renamed_model_is_restored_under_its_new_name(single: Project, capsys: Capture) -> None:
    target = single.target.parent / "rec.vggq"
    assert build_here(single, capsys).code == 0
    source = single.source.with_name("rec.onnx")
    source.rename(source.with_name("det.onnx"))
    single.configure(SINGLE.replace("weights/rec", "weights/det"))
    assert "reused" not in build_here(single, capsys).output
    with vggq.open(target) as weights:
        assert [member.path for member in weights.members] == ["det.onnx"]


def test_data_file_under_another_name_is_an_error(split: Project, capsys: Capture) -> None:
    copy = split.root / "src" / "tiny" / "copy.bin"
    copy.write_bytes(split.source.with_name("b").read_bytes())
    assert (
        f"{KEY}.source: the raw weights weights/b are in {WHEEL} as tiny/copy.bin; exclude that "
        "file"
    ) in fail_here(split, capsys).splitlines()


def test_file_without_tensors_may_ship_beside_the_packed_file(
    split: Project, capsys: Capture
) -> None:
    graph = split.source.with_name("large.onnx")
    (split.root / "src" / "tiny" / "graph.onnx").write_bytes(graph.read_bytes())
    result = build_here(split, capsys)
    assert result.code == 0, result.output
    assert "tiny/graph.onnx" in wheel_names(split.wheel)


def test_files_of_a_model_inside_the_package_do_not_ship(project: Project, capsys: Capture) -> None:
    save_split_model(project.root / "src" / "tiny" / "large.onnx")
    project.configure(SPLIT.replace("weights/", "src/tiny/"))
    for kind in ("wheel", "sdist"):
        result = build_here(project, capsys, kind)
        assert result.code == 0, result.output
    names = wheel_names(project.wheel) | sdist_names(project.sdist)
    assert not any(name.endswith(("tiny/large.onnx", "tiny/a", "tiny/b")) for name in names)
    assert "tiny/large.vggq" in names


def test_sdist_source_ships_all_files_of_a_model(split: Project, tmp_path: Path) -> None:
    split.configure(SPLIT + 'sdist = "source"\n')
    assert split.build("sdist").code == 0
    names = sdist_names(split.sdist)
    assert {f"tiny-1.0/weights/{name}" for name in SPLIT_NAMES} <= names
    assert not any(name.endswith(".vggq") for name in names)
    extract_sdist(split.sdist, tmp_path)
    unpacked = Project(tmp_path / "tiny-1.0")
    assert unpacked.build().code == 0
    members = vggq.open(packed_in(unpacked.wheel, "large.vggq")).members
    assert sorted(member.path for member in members) == SPLIT_NAMES


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "weights/large.onnx: tensor 'b': its data file 'b' does not exist"),
        (b"1", "weights/large.onnx: tensor 'b': ends at byte 8192 of 'b', which has only 1 bytes"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "weights/b: a Git LFS pointer, not the weights; run `git lfs pull`",
        ),
    ],
)
def test_incomplete_model_is_an_error(
    split: Project, capsys: Capture, content: bytes | None, problem: str
) -> None:
    data = split.source.with_name("b")
    if content is None:
        data.unlink()
    else:
        data.write_bytes(content)
    assert fail_here(split, capsys) == f"{KEY}.source: {problem}"


@pytest.mark.parametrize(
    "option",
    ['drop = ["a"]', 'layout = "torch"', 'key = "a"', 'rename = { a = "c" }'],
)
@pytest.mark.parametrize("restore", ["", 'restore = "model"\n'])
def test_option_for_tensors_alone_is_an_error(
    single: Project, capsys: Capture, option: str, restore: str
) -> None:
    single.configure(f"{SINGLE}{option}\n{restore}")
    name = option.split(maxsplit=1)[0]
    default = ", the default for this file (restore = 'tensors' packs its tensors only)"
    reason = "" if restore else default
    assert fail_here(single, capsys) == (
        f"{KEY}.{name}: does not apply with restore = 'model'{reason}: the whole file is restored"
    )


def test_restore_tensors_packs_no_files(single: Project, capsys: Capture) -> None:
    single.configure(SINGLE + 'restore = "tensors"\ndrop = ["a"]\n')
    result = build_here(single, capsys)
    assert result.code == 0, result.output
    assert " kB of weights in " in result.output
    with vggq.open(single.target.parent / "rec.vggq") as weights:
        assert (list(weights), weights.members) == (["b"], ())


def test_checkpoint_of_arrays_can_be_restored_as_a_file(project: Project, capsys: Capture) -> None:
    project.configure(SINGLE.replace("rec.onnx", "tiny.npz") + 'restore = "model"\n')
    assert build_here(project, capsys).code == 0
    with vggq.open(project.root / "src" / "tiny" / "rec.vggq") as weights:
        (member,) = weights.members
    assert (member.path, member.size) == ("tiny.npz", project.source.stat().st_size)


@pytest.mark.parametrize(
    ("packed", "requested", "difference"),
    [
        ("", 'restore = "tensors"', "without it instead of 'tensors'"),
        ('restore = "model"', "", "with 'model' instead of without it"),
        ('restore = "model"', 'restore = "tensors"', "with 'model' instead of 'tensors'"),
    ],
)
def test_packed_file_with_another_restore_is_an_error(
    single: Project, capsys: Capture, packed: str, requested: str, difference: str
) -> None:
    single.configure(f"{SINGLE}{packed}\n")
    assert build_here(single, capsys).code == 0
    single.source.with_name("rec.onnx").unlink()
    single.configure(f"{SINGLE}{requested}\n")
    assert (
        f"{KEY}.restore: src/tiny/rec.vggq was packed {difference}, and weights/rec.onnx is not in "
        "this tree to pack it again"
    ) in fail_here(single, capsys)


def test_packed_model_with_another_digest_is_an_error(single: Project, capsys: Capture) -> None:
    assert build_here(single, capsys).code == 0
    single.source.with_name("rec.onnx").unlink()
    target = single.target.parent / "rec.vggq"
    damaged = bytearray(target.read_bytes())
    damaged[-1] ^= 1
    target.write_bytes(damaged)
    assert f"{KEY}: src/tiny/rec.vggq: " in fail_here(single, capsys)


def test_limit_names_what_is_outside_the_tensors(project: Project, capsys: Capture) -> None:
    notes = hashlib.shake_256(b"notes").hexdigest(20_000)
    size = save_model(project.source.with_name("rec.onnx"), notes=notes).stat().st_size
    project.configure(f"[tool.hatch.build.hooks.vggq]\nsize-limit = '20 kB'\n{SINGLE}")
    lines = fail_here(project, capsys).splitlines()
    (rest,) = [line for line in lines if "outside the model's tensors" in line]
    found = re.fullmatch(
        r"  ([0-9.]+) kB of rec\.vggq outside the model's tensors, stored exactly", rest
    )
    assert found is not None
    # Hexadecimal digits have four bits each.
    assert 20 <= float(found[1]) < 24
    assert lines[-1].startswith(
        f"  for a request to the index: rec.vggq is {size / 1000:.1f} kB restored and "
    )


def test_clean_removes_the_packed_model_alone(split: Project) -> None:
    before = split.files()
    assert split.build().code == 0
    result = split.run(sys.executable, "-m", "hatchling", "build", "--clean-only")
    assert result.code == 0, result.output
    assert split.files() - {f"dist/{WHEEL}"} == before


def test_editable_build_writes_the_packed_model(split: Project) -> None:
    split.configure(f'[tool.hatch.build]\ndev-mode-dirs = ["src"]\n{SPLIT}')
    build = "import hatchling.build; hatchling.build.build_editable('dist')"
    result = split.run(sys.executable, "-c", build)
    assert result.code == 0, result.output
    with vggq.as_file(split.target.parent / "large.vggq") as path:
        assert sorted(file.name for file in path.parent.iterdir()) == SPLIT_NAMES


def test_sbom_lists_every_file_of_a_model(split: Project) -> None:
    assert split.build().code == 0
    (model,) = parsed(read(split.wheel))["components"]
    with vggq.as_file(packed_in(split.wheel, "large.vggq")) as path:
        digests = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in path.parent.iterdir()
        }
        sizes = {file.name: str(file.stat().st_size) for file in path.parent.iterdir()}
    files = model["components"]
    assert [file["type"] for file in files] == ["file"] * 3
    assert {file["name"]: file["hashes"][0]["content"] for file in files} == digests
    assert {file["name"]: file["properties"][0]["value"] for file in files} == sizes


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_restored_by_default(project: Project, capsys: Capture) -> None:
    import torch  # noqa: PLC0415

    source = project.source.with_name("vad.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(64, 32)), str(source))
    project.configure(SINGLE.replace("rec.onnx", "vad.pt"))
    result = build_here(project, capsys)
    assert result.code == 0, result.output
    remark = r"vggq: weights/vad\.pt: \d+ % of the model \(.* kB\) is stored exactly, outside its "
    remark += "tensors: graph and other data"
    assert any(re.fullmatch(remark, line) for line in result.lines), result.output
    with vggq.as_file(project.target.parent / "rec.vggq") as path:
        assert path.name == "vad.pt"
        module = torch.jit.load(path)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
    assert module(torch.ones(64)).shape == (32,)
