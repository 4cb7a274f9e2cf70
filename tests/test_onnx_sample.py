"""The second sample package, which ships an ONNX model and runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from onnx import helper, numpy_helper

from .test_docs import ROOT, code_blocks

if TYPE_CHECKING:
    from hatchling.builders.plugin.interface import BuilderInterface

SAMPLES: Final = ROOT / "sample_project"
SAMPLE: Final = SAMPLES / "onnx_sample"
PAGES: Final = ["README.md", "docs/models.md", "sample_project/onnx_sample/README.md"]
INPUTS: Final = 3 * 512
KIND_COUNT: Final = 113
LEFT_OUT: Final = ("weights", "dist", "experiment", "*.vggq", "__pycache__")
# Run the command of the package in the folder of the first argument.
COMMAND: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from filekind.cli import main; "
    "sys.exit(main(sys.argv[2:]))"
)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SAMPLE / "src")
    monkeypatch.syspath_prepend(SAMPLE)
    # Another test may have imported its own package of this name.
    for name in [name for name in sys.modules if name.partition(".")[0] == "filekind"]:
        monkeypatch.delitem(sys.modules, name)


def save_stand_in(path: Path) -> None:
    """Write a small model with the inputs and outputs of the real one.

    Its guess depends on the first byte alone: the kind of number n for byte n, if there is one.
    """
    numbers = np.arange(KIND_COUNT, dtype=np.float32)
    # -(x - n)² without its part x², which is the same for all kinds.
    weights = np.zeros((INPUTS, KIND_COUNT), np.float32)
    weights[0] = 2 * numbers
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["bytes", "w"], ["products"]),
            helper.make_node("Sub", ["products", "squares"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["target_label"]),
        ],
        "stand-in",
        [helper.make_tensor_value_info("bytes", onnx.TensorProto.FLOAT, [None, INPUTS])],
        [helper.make_tensor_value_info("target_label", onnx.TensorProto.FLOAT, [None, KIND_COUNT])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(numbers**2, "squares"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.parent.mkdir()
    onnx.save(model, path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of a copy of the sample with the stand-in, and return it unpacked."""
    project = tmp_path_factory.mktemp("sample") / "onnx_sample"
    shutil.copytree(SAMPLE, project, ignore=shutil.ignore_patterns(*LEFT_OUT))
    save_stand_in(project / "weights" / "magika.onnx")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(project.parent)]
    subprocess.run(command, cwd=project, check=True)
    (wheel,) = project.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(project.parent / "installed")
    return project.parent / "installed"


def run_command(installed: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, str(installed), *map(str, files)]
    return subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False)


@pytest.mark.build
def test_wheel_has_the_packed_model_and_not_its_source(installed: Path) -> None:
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*.*")}
    package = {name for name in names if name.startswith("filekind/")}
    modules = {f"filekind/{name}.py" for name in ("__init__", "cli", "features", "kinds")}
    assert package == modules | {"filekind/magika.vggq", "filekind/py.typed"}
    assert not [name for name in names if name.endswith((".onnx", "fetch_model.py"))]
    licenses = installed / "filekind-1.0.0.dist-info" / "licenses"
    assert {path.name for path in licenses.iterdir()} == {"LICENSE", "LICENSE-APACHE", "NOTICE.md"}


@pytest.mark.build
@pytest.mark.onnxruntime
def test_installed_command_runs_the_restored_model(installed: Path, tmp_path: Path) -> None:
    from filekind.kinds import KINDS  # noqa: PLC0415

    files = {tmp_path / f"{number}.bin": number for number in (0, 65, 112)}
    for path, number in files.items():
        path.write_bytes(bytes([number]) * 100)
    done = run_command(installed, *files, tmp_path / "gone")
    # The scores are -(x - n)², so that 56 % is the probability of the first byte's kind...
    inner = 1 / (1 + 2 * np.exp(-1.0) + 2 * np.exp(-4.0))
    # ... and the first and the last kind have neighbors on one side only.
    outer = 1 / (1 + np.exp(-1.0) + np.exp(-4.0))
    assert done.stdout.splitlines() == [
        f"{path}: {KINDS[number]} ({inner if number == 65 else outer:.0%})"
        for path, number in files.items()
    ]
    assert done.stderr == (
        f"filekind: {tmp_path / 'gone'}: cannot be read: No such file or directory\n"
    )
    assert done.returncode == 1


def test_import_loads_neither_onnxruntime_nor_vggq() -> None:
    code = "import sys, filekind; assert not {'onnxruntime', 'vggq'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=SAMPLE / "src", check=True)


@pytest.mark.parametrize("size", [0, 3, 511, 512, 513, 2000, 8703, 8704, 20_000])
def test_features_are_the_beginning_the_middle_and_the_end_without_whitespace(size: int) -> None:
    from filekind.features import read_features  # noqa: PLC0415

    content = np.random.default_rng(size).integers(33, 127, size, np.uint8)
    data = b" \n" + content.tobytes() + b"\t"
    features = read_features(data)
    assert (features.dtype, features.shape) == (np.dtype("float32"), (1, 1536))
    first, middle, last = features[0].reshape(3, 512)
    used = min(size, 512)
    padding = [256.0] * (512 - used)
    assert first.tolist() == [*content[:used], *padding]
    assert last.tolist() == [*padding, *content[size - used :]]
    left, begin = len(padding) // 2, (size - used) // 2
    assert middle.tolist() == [
        *padding[:left],
        *content[begin : begin + used],
        *padding[left:],
    ]


def test_fetch_extracts_the_model_of_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fetch_model  # noqa: PLC0415

    def download(folder: Path) -> bool:
        with zipfile.ZipFile(folder / fetch_model.WHEEL, "w") as archive:
            archive.writestr(fetch_model.MEMBER, "the model")
        return True

    model = tmp_path / "weights" / "magika.onnx"
    monkeypatch.setattr(fetch_model, "MODEL", model)
    monkeypatch.setattr(fetch_model, "download", download)
    assert fetch_model.main() == 0
    assert model.read_text() == "the model"
    monkeypatch.setattr(fetch_model, "download", pytest.fail)
    assert fetch_model.main() == 0


def test_fetch_fails_if_pip_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fetch_model  # noqa: PLC0415

    monkeypatch.setattr(fetch_model, "MODEL", tmp_path / "weights" / "magika.onnx")
    monkeypatch.setattr(fetch_model, "download", lambda _: False)
    assert fetch_model.main() == 1
    expected = "fetch_model: pip could not download magika==0.5.1; its messages are above\n"
    assert capsys.readouterr() == ("", expected)
    assert not (tmp_path / "weights").exists()


def tables(text: str) -> dict[str, Any]:
    """Return the tables of a pyproject.toml that the pages show."""
    found = tomllib.loads(text)
    dependencies = found.get("project", {}).get("dependencies")
    (model,) = found["tool"]["hatch"]["build"]["hooks"]["vggq"]["models"]
    return {"build": found.get("build-system"), "dependencies": dependencies, "model": model}


@pytest.mark.parametrize("page", PAGES)
def test_pages_show_the_configuration_and_the_code_of_the_sample(page: str) -> None:
    expected = tables((SAMPLE / "pyproject.toml").read_text())
    (shown,) = [tables(text) for text in code_blocks(page, "toml") if "magika.onnx" in text]
    assert shown == {key: value and expected[key] for key, value in shown.items()}
    (code,) = [text for text in code_blocks(page, "python") if "magika.vggq" in text]
    session = next(line for line in code.splitlines() if "InferenceSession" in line)
    assert session.removeprefix("session = ") in (SAMPLE / "src/filekind/__init__.py").read_text()


def included(builder: type[BuilderInterface[Any, Any]], project: Path) -> set[str]:
    """Return the paths that hatchling puts into an archive of a project."""
    found = builder(str(project)).recurse_included_files()
    return {Path(file.distribution_path).as_posix() for file in found}


def test_sample_is_in_the_sdist_of_the_project_but_not_in_archives_of_the_first_sample(
    tmp_path: Path,
) -> None:
    samples = tmp_path / "sample_project"
    shutil.copytree(SAMPLES, samples, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in (samples, samples / "onnx_sample"):
        for left_out in ("weights", "dist"):
            (folder / left_out).mkdir()
            (folder / left_out / "file").touch()
    (samples / "experiment").mkdir()
    (samples / "experiment" / "file").touch()
    paths = [path for path in samples.rglob("*") if path.is_file() and path.name != "file"]
    assert included(SdistBuilder, tmp_path) - {"pyproject.toml"} == {
        path.relative_to(tmp_path).as_posix() for path in paths
    }
    for builder in (SdistBuilder, WheelBuilder):
        found = included(builder, samples)
        assert any(name.endswith("vgg19_style/__init__.py") for name in found)
        assert not [name for name in found if "filekind" in name or "onnx_sample" in name]
