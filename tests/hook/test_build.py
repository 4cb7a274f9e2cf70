"""Builds of a small project: what ships, the messages, and the errors."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import vggq
from tests.helpers import save_npz
from vggq.packing import flat_options, pack

from .conftest import MODEL, Project, extract_sdist, read_packed_file, sdist_names, wheel_names

KEY = "tool.hatch.build.hooks.vggq.models[0]"
DIST_INFO = {
    f"tiny-1.0.dist-info/{name}"
    for name in ("METADATA", "RECORD", "WHEEL", "sboms/hatch-vggq.cdx.json")
}


def test_wheel_has_the_packed_file_without_the_raw_weights(
    project: Project, arrays: dict[str, np.ndarray]
) -> None:
    result = project.build_with_front_end("-w")
    assert result.code == 0, result.output
    assert wheel_names(project.wheel) == {"tiny/__init__.py", "tiny/tiny.vggq", *DIST_INFO}
    restored = vggq.load(read_packed_file(project.wheel))
    assert set(restored) == set(arrays)
    np.testing.assert_array_equal(restored["steps"], arrays["steps"])
    np.testing.assert_array_equal(restored["layer.bias"], arrays["layer.bias"])
    np.testing.assert_allclose(restored["layer.weight"], arrays["layer.weight"], atol=0.1)


ADVICE = "vggq: SQNR is not accuracy; `vggq tune` checks the answers of the model"


def test_build_prints_sizes_sqnr_and_time_in_one_line(project: Project) -> None:
    line, advice = (line for line in project.build().lines if line.startswith("vggq:"))
    assert line.startswith("vggq: src/tiny/tiny.vggq: 8.5 kB of weights in ")
    assert "x), SQNR " in line
    assert line.endswith(" s")
    assert advice == ADVICE


def test_build_advises_once_to_judge_the_models(project: Project) -> None:
    other = MODEL.replace("tiny.vggq", "other.vggq")
    project.configure(MODEL + other)
    assert project.build().lines.count(ADVICE) == 1
    assert ADVICE not in project.build().lines
    project.configure(MODEL + 'keep = ["*"]\n')
    assert ADVICE not in project.build().lines


def test_build_warns_of_values_that_are_not_finite(
    project: Project, arrays: dict[str, np.ndarray]
) -> None:
    arrays["layer.weight"][0, :3] = np.inf
    save_npz(project.source, arrays)
    assert (
        "vggq: weights/tiny.npz: tensor 'layer.weight' is stored exactly: 3 of its 2048 values "
        "are not finite"
    ) in project.build().lines


def test_sdist_has_the_packed_file_without_the_raw_weights(project: Project) -> None:
    assert project.build("sdist").code == 0
    names = {name.removeprefix("tiny-1.0/") for name in sdist_names(project.sdist)}
    assert names == {
        ".gitignore",
        "PKG-INFO",
        "pyproject.toml",
        "src/tiny/__init__.py",
        "src/tiny/tiny.vggq",
    }


def test_raw_weights_inside_the_package_do_not_ship(project: Project) -> None:
    inside = project.root / "src" / "tiny" / "raw.npz"
    project.source.rename(inside)
    project.configure(MODEL.replace("weights/tiny.npz", "src/tiny/raw.npz"))
    result = project.build("sdist", "wheel")
    assert result.code == 0, result.output
    assert "tiny/raw.npz" not in wheel_names(project.wheel)
    assert "tiny-1.0/src/tiny/raw.npz" not in sdist_names(project.sdist)


def test_wheel_from_the_sdist_has_the_same_packed_file(project: Project) -> None:
    assert project.build("wheel").code == 0
    direct = read_packed_file(project.wheel)
    project.target.unlink()
    result = project.build("sdist", "wheel")
    assert result.code == 0, result.output
    assert read_packed_file(project.sdist) == direct
    assert read_packed_file(project.wheel) == direct


def test_build_without_the_source_uses_the_packed_file(project: Project) -> None:
    assert project.build().code == 0
    direct = read_packed_file(project.wheel)
    project.source.unlink()
    result = project.build()
    assert (
        "vggq: src/tiny/tiny.vggq: using the packed file: weights/tiny.npz is not in this tree"
    ) in result.lines
    assert (
        "vggq: weights/tiny.npz: no such file; src/tiny/tiny.vggq may have been packed from other "
        "weights"
    ) in result.lines
    assert read_packed_file(project.wheel) == direct


def test_editable_build_is_not_verified(project: Project) -> None:
    mode = '[tool.hatch.build]\ndev-mode-dirs = ["src"]\n'
    project.configure(f"{mode}[tool.hatch.build.hooks.vggq]\nsize-limit = 1\n{MODEL}")
    build = "import hatchling.build; hatchling.build.build_editable('dist')"
    result = project.run(sys.executable, "-c", build)
    assert result.code == 0, result.output
    assert project.target.is_file()
    names = wheel_names(project.wheel)
    assert "tiny/tiny.vggq" not in names
    assert any(name.endswith(".pth") for name in names)


def test_unreadable_source_is_an_error(project: Project) -> None:
    project.source.unlink()
    project.source.symlink_to(project.source.name)
    result = project.build_with_front_end("-w")
    assert result.code == 1
    problem = "cannot be read: Too many levels of symbolic links"
    assert f"{KEY}.source: weights/tiny.npz: {problem}" in result.lines
    assert "Traceback" not in result.output


def test_build_of_an_unpacked_sdist_does_not_warn_of_a_missing_source(project: Project) -> None:
    assert project.build("sdist").code == 0
    project.source.unlink()
    project.target.unlink()
    extract_sdist(project.sdist, project.root.parent)
    result = Project(project.root.parent / "tiny-1.0").build()
    assert result.code == 0, result.output
    assert "using the packed file" in result.output
    assert "no such file" not in result.output


def test_importance_is_read_from_a_file_of_the_project(project: Project) -> None:
    factors = project.root / "factors.json"
    project.configure(MODEL + 'size = "3 kB"\nimportance = "factors.json"\n')
    assert "importance: 'factors.json' cannot be read: No such file" in project.build().output
    factors.write_text('{"layer.weigth": 2}')
    assert "models[0].importance: no tensor is named 'layer.weigth'" in project.build().output
    factors.write_text('{"layer.weight": 2}')
    assert project.build().code == 0
    factors.write_text('{"layer.weight": 3}')
    assert project.build().code == 0
    with vggq.open(project.target) as weights:
        assert flat_options(weights.manifest.options)["importance"] == {"layer.weight": 3}
    # An sdist has no source, and may have no factors.
    project.source.unlink()
    factors.unlink()
    assert project.build().code == 0
    factors.write_text('{"layer.weight": 4}')
    assert "models[0].importance: " in project.build().output


def test_packed_file_with_declared_dtypes_needs_them(project: Project) -> None:
    """The manifest records `dtypes` only where it is given."""
    weights = np.zeros((40, 30), ml_dtypes.bfloat16)
    save_npz(project.source, {"layer.weight": weights})
    project.configure(MODEL + 'dtypes = { "*.weight" = "bfloat16" }\n')
    assert project.build().code == 0
    project.source.unlink()
    assert project.build().code == 0
    project.configure(MODEL)
    result = project.build()
    assert result.code == 1
    assert (
        f"{KEY}.dtypes: src/tiny/tiny.vggq was packed with [['*.weight', 'bfloat16']] instead of []"
    ) in result.output


def test_packed_file_with_other_options_is_an_error(project: Project) -> None:
    assert project.build().code == 0
    project.source.unlink()
    project.configure(MODEL + "bits = 4\n")
    result = project.build()
    assert result.code == 1
    assert (
        f"{KEY}.bits: src/tiny/tiny.vggq was packed with 8 instead of 4, and weights/tiny.npz is "
        "not in this tree to pack it again"
    ) in result.lines


def test_damaged_packed_file_is_an_error(project: Project) -> None:
    assert project.build().code == 0
    project.source.unlink()
    damaged = bytearray(project.target.read_bytes())
    damaged[-1] ^= 1
    project.target.write_bytes(damaged)
    result = project.build()
    assert result.code == 1
    assert any(
        line.startswith(f"{KEY}: src/tiny/tiny.vggq: tensor 'steps': ") for line in result.lines
    )


def test_second_build_reuses_the_packed_file(project: Project) -> None:
    assert project.build().code == 0
    before = project.target.stat().st_mtime_ns
    result = project.build()
    assert (
        "vggq: src/tiny/tiny.vggq: reused, because weights/tiny.npz and the options are unchanged"
        in result.lines
    )
    assert project.target.stat().st_mtime_ns == before


def test_outdated_packed_file_is_packed_again(
    project: Project, arrays: dict[str, np.ndarray]
) -> None:
    assert project.build().code == 0
    first = project.target.read_bytes()
    arrays["layer.weight"][0, 0] += 1
    save_npz(project.source, arrays)
    assert project.build().code == 0
    second = project.target.read_bytes()
    assert second != first
    project.configure(MODEL + "bits = 4\n")
    assert project.build().code == 0
    assert len(project.target.read_bytes()) < len(second)


def test_wheel_has_the_packed_files_of_two_models(
    project: Project, arrays: dict[str, np.ndarray]
) -> None:
    save_npz(project.root / "weights" / "other.npz", arrays)
    other = MODEL.replace("weights/tiny", "weights/other").replace("tiny.vggq", "sub/other.vggq")
    project.configure(MODEL + other)
    result = project.build()
    assert result.code == 0, result.output
    assert {"tiny/tiny.vggq", "tiny/sub/other.vggq"} <= wheel_names(project.wheel)


def test_configuration_can_be_in_hatch_toml(project: Project) -> None:
    project.configure("")
    hatch = MODEL.replace("tool.hatch.build", "build")
    (project.root / "hatch.toml").write_text(hatch)
    assert project.build().code == 0
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)


def test_table_of_a_build_target_replaces_the_global_one(project: Project) -> None:
    project.configure(
        MODEL + MODEL.replace("build.hooks", "build.targets.wheel.hooks") + "bits = 2\n"
    )
    assert project.build("sdist", "wheel").code == 0
    assert bits_of(read_packed_file(project.wheel)) == 2
    assert bits_of(read_packed_file(project.sdist)) == 8


def bits_of(packed: bytes) -> object:
    with vggq.open(packed) as weights:
        return flat_options(weights.manifest.options)["bits"]


def npz_bytes() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros((40, 40)))
    return buffer.getvalue()


def vggq_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.npz").write_bytes(npz_bytes())
        return pack(Path(folder, "a.npz"), Path(folder, "a.vggq")).target.read_bytes()


LONG = "l" * 300
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize(
    ("tables", "content", "expected"),
    [
        (
            'source = "gone.npz"',
            b"",
            (
                ".source: gone.npz: no such file, and no packed file src/tiny/tiny.vggq to use "
                "instead; get it with the project's download script or `git lfs pull`, or commit "
                "the packed file"
            ),
        ),
        (
            'source = "src"',
            b"",
            ".target: src/tiny/tiny.vggq: the target is in the folder that is the source",
        ),
        (
            'source = "n"',
            POINTER,
            ".source: n: a Git LFS pointer, not the weights; run `git lfs pull`",
        ),
        (
            'source = "n.npz"',
            POINTER,
            ".source: n.npz: a Git LFS pointer, not the weights; run `git lfs pull`",
        ),
        (
            'source = "n.foo"',
            b"?",
            (
                ".source: n.foo: unknown format; the supported formats have the suffixes .h5, "
                ".hdf5, .keras, .weights.json, .safetensors, .index.json, .pth, .pt, .bin, .npz, "
                ".npy, .onnx, .tflite"
            ),
        ),
        (
            'source = "n.npz"',
            b"",
            ".source: n.npz: the suffix is that of npz, but the file is empty",
        ),
        (
            'source = "n.vggq"',
            vggq_bytes(),
            (
                ".source: n.vggq: already a packed file; use the checkpoint that it was packed "
                "from, or the output of `vggq unpack`"
            ),
        ),
        (
            'source = "n.npz"',
            npz_bytes()[:900],
            ".source: n.npz: damaged .npz archive: File is not a zip file",
        ),
        (
            'source = "weights/tiny.npz"\nbits = 9',
            b"",
            ".bits: expected an integer from 1 to 8, found 9",
        ),
        (
            'source = "weights/tiny.npz"\nbits = "8"',
            b"",
            ".bits: expected an integer from 1 to 8, found '8'",
        ),
        (
            'source = "weights/tiny.npz"\nkeeps = []',
            b"",
            ".keeps: unknown key; did you mean 'keep'?",
        ),
        (
            'source = "weights/tiny.npz"\nkeep = ["*.bais"]',
            b"",
            ".keep: the pattern '*.bais' matches no tensor",
        ),
        (
            'source = "weights/tiny.npz"\nlayout = "torch"',
            b"",
            (
                ".source: weights/tiny.npz: layout = 'torch' is for Keras sources only, and this "
                "file is npz"
            ),
        ),
        (
            f'source = "{LONG}.npz"',
            b"",
            f".source: expected names of at most 255 bytes without NUL, found '{LONG}.npz'",
        ),
        (
            'source = "weights/tiny\\u0000.npz"',
            b"",
            (
                ".source: expected names of at most 255 bytes without NUL, found "
                "'weights/tiny\\x00.npz'"
            ),
        ),
        (
            'source = "weights/tiny.npz/a.npz"',
            b"",
            (
                ".source: weights/tiny.npz/a.npz: no such file, and no packed file "
                "src/tiny/tiny.vggq to use instead; get it with the project's download script or "
                "`git lfs pull`, or commit the packed file"
            ),
        ),
        (
            'source = "src/tiny/tiny.vggq"',
            b"",
            ".target: 'src/tiny/tiny.vggq' is the source itself",
        ),
    ],
)
def test_bad_input_gives_one_line_and_writes_nothing(
    project: Project, tables: str, content: bytes, expected: str
) -> None:
    name = tables.split('"')[1]
    if name.startswith("n"):
        (project.root / name).write_bytes(content)
    project.configure(
        f'[[tool.hatch.build.hooks.vggq.models]]\ntarget = "src/tiny/tiny.vggq"\n{tables}\n'
    )
    before = project.files()
    result = project.build()
    assert result.code == 1
    printed = [line for line in result.lines if line.startswith("tool.hatch")]
    assert printed == [f"{KEY}{expected}"]
    assert "Traceback" not in result.output
    assert project.files() == before


@pytest.mark.parametrize("target", ["../out.vggq", "src/../../out.vggq"])
def test_target_outside_the_project_is_an_error(project: Project, target: str) -> None:
    project.configure(MODEL.replace("src/tiny/tiny.vggq", target))
    result = project.build()
    assert result.code == 1
    assert f"{KEY}.target: expected a path inside the project, found '{target}'" in result.lines
    assert not (project.root.parent / "out.vggq").exists()


def test_target_behind_a_link_out_of_the_project_is_an_error(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (project.root / "src" / "tiny" / "link").symlink_to(tmp_path / "outside")
    project.configure(MODEL.replace("tiny/tiny.vggq", "tiny/link/tiny.vggq"))
    result = project.build()
    assert result.code == 1
    assert (
        f"{KEY}.target: src/tiny/link/tiny.vggq: outside the project, because a symbolic link "
        "leads there" in result.lines
    )
    assert not any((tmp_path / "outside").iterdir())


def test_two_models_with_one_target_are_an_error(project: Project) -> None:
    project.configure(MODEL + MODEL)
    result = project.build()
    assert result.code == 1
    second = KEY.replace("[0]", "[1]")
    assert f"{second}.target: 'src/tiny/tiny.vggq' is also the target of {KEY}" in result.lines


@pytest.mark.parametrize(
    ("suffix", "head", "needed"),
    [
        (".h5", b"\x89HDF\r\n\x1a\n", "['h5py>=3.10', 'kmeans1d>=0.4', 'zstandard>=0.22']"),
        (".onnx", b"\x08\x0a\x12\x00", "['kmeans1d>=0.4', 'zstandard>=0.22']"),
    ],
)
def test_build_requirements_depend_on_the_format_of_the_source(
    project: Project, suffix: str, head: bytes, needed: str
) -> None:
    result = project.run(sys.executable, "-c", REQUIRES)
    assert result.lines[-1] == "['kmeans1d>=0.4', 'zstandard>=0.22']"
    other = project.root / "weights" / f"tiny{suffix}"
    other.write_bytes(head)
    project.source.unlink()
    project.configure(MODEL.replace(".npz", suffix))
    result = project.run(sys.executable, "-c", REQUIRES)
    assert result.lines[-1] == needed
    other.unlink()
    result = project.run(sys.executable, "-c", REQUIRES)
    assert result.lines[-1] == "[]"


REQUIRES = "import hatchling.build; print(sorted(hatchling.build.get_requires_for_build_wheel()))"


def test_hook_module_imports_only_hatchling(project: Project) -> None:
    code = "import sys, hatch_vggq.hooks; print({'numpy', 'vggq', 'h5py'} & set(sys.modules))"
    assert project.run(sys.executable, "-c", code).lines == ["set()"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-m", "build"], ["-m", "pip", "wheel", ".", "-w", "dist"]])
def test_isolated_build_installs_its_requirements(
    project: Project, wheelhouse: Path, command: list[str]
) -> None:
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {wheelhouse}".strip()
    result = project.run(sys.executable, *command, PIP_FIND_LINKS=links)
    assert result.code == 0, result.output
    assert "tiny/tiny.vggq" in wheel_names(project.wheel)
