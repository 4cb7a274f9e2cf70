"""`vggq init` on projects of many shapes: the planned changes, and builds of the results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
import safetensors.numpy

import vggq
from tests.helpers import save_npz, save_onnx, untraced
from tests.test_docs import code_blocks
from vggq.errors import OptionError, SourceError, TargetError
from vggq.packing.init import plan_setup, render_diff, write_changes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HATCHLING: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
PROJECT: Final = """
[project]
name = "my-package"
version = "1.0"  # the tag
requires-python = ">=3.11"
dependencies = ["numpy"]
"""
MODEL: Final = """
[[tool.hatch.build.hooks.vggq.models]]
source = "weights/model.npz"
target = "{}/model.vggq"
"""
REQUIRES: Final = 'requires = ["hatchling", "hatch-vggq"]'
DEPENDENCIES: Final = 'dependencies = ["numpy", "hatch-vggq>=0.1.0"]'


def make(root: Path, files: Mapping[str, str], source: str = "weights/model.npz") -> Path:
    """Write the files of a project, and a checkpoint."""
    for name, text in {source: "", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    save_npz(root / source, {"w": np.random.default_rng(1).standard_normal((40, 50))})
    return root


def set_up(root: Path, source: str | None = "weights/model.npz", **options: Any) -> dict[str, str]:
    """Write the planned changes, check that there are no others, and return them by path."""
    path = root / source if source else None
    plan = plan_setup(root, path, **options)
    write_changes(plan.changes)
    assert not plan_setup(root, path, **options).changes
    for change in plan.changes:
        assert change.path.read_bytes().decode() == change.new
    return {c.path.relative_to(root).as_posix(): c.new for c in plan.changes}


def build(root: Path) -> zipfile.ZipFile:
    """Build a wheel with hatchling, and check that the sdist can be built as well."""
    targets = [part for kind in ("sdist", "wheel") for part in ("-t", kind)]
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *targets],
        cwd=root,
        env=untraced(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (root / "dist").glob("*.whl")
    return zipfile.ZipFile(wheel)


def expected(text: str, folder: str) -> str:
    """Return a pyproject.toml of the usual form after `init`."""
    text = text.replace('requires = ["hatchling"]', REQUIRES)
    return text.replace('dependencies = ["numpy"]', DEPENDENCIES) + MODEL.format(folder)


SHIPPED: Final = {
    "flat": ("my_package", "", "my_package"),
    "src": ("src/my_package", "", "my_package"),
    "namespace": (
        "src/acme/vision",
        '\n[tool.hatch.build.targets.wheel]\npackages = ["src/acme"]\n',
        "acme.vision",
    ),
    "namespace-by-name": ("acme/my_package", "", "acme.my_package"),
    "only-include": (
        "src/other",
        '\n[tool.hatch.build.targets.wheel]\nonly-include = ["src/other"]\nsources = ["src"]\n',
        "other",
    ),
    "sources": (
        "code/inner",
        (
            '\n[tool.hatch.build.targets.wheel]\nonly-include = ["code"]\n'
            '\n[tool.hatch.build.targets.wheel.sources]\n"code" = "outer"\n'
        ),
        "outer.inner",
    ),
    "include": ("other", '\n[tool.hatch.build]\ninclude = ["/other/**/*.py"]\n', "other"),
}


@pytest.mark.build
@pytest.mark.parametrize("shape", SHIPPED)
def test_projects_of_hatchling_are_set_up_and_build(tmp_path: Path, shape: str) -> None:
    folder, tables, name = SHIPPED[shape]
    text = HATCHLING + PROJECT + tables
    root = make(tmp_path, {"pyproject.toml": text, f"{folder}/__init__.py": ""})
    changed = set_up(root)
    assert changed == {
        "pyproject.toml": expected(text, folder),
        ".gitignore": f"*.vggq{os.linesep}/weights/model.npz{os.linesep}",
    }
    usage = plan_setup(root, root / "weights/model.npz").usage
    assert f'vggq.load("{name}", "model.vggq")' in usage
    with build(root) as wheel:
        packed = wheel.read(f"{name.replace('.', '/')}/model.vggq")
        assert not [path for path in wheel.namelist() if path.endswith(".npz")]
    assert list(vggq.load(packed)) == ["w"]


@pytest.mark.build
def test_dynamic_version_and_other_tables_are_kept(tmp_path: Path) -> None:
    text = (
        HATCHLING
        + '\n[project]\nname = "dyn"\ndynamic = ["version"]\n\n[project.urls]\nx = "https://x.org"\n'
        + '\n[tool.hatch.version]\npath = "dyn/__init__.py"\n'
        + "\n# ruff\n[tool.ruff]\nline-length = 90\n"
    )
    root = make(tmp_path, {"pyproject.toml": text, "dyn/__init__.py": '__version__ = "3.1"\n'})
    changed = set_up(root)["pyproject.toml"]
    line = 'dependencies = ["hatch-vggq>=0.1.0"]\n'
    assert changed == text.replace('requires = ["hatchling"]', REQUIRES).replace(
        'name = "dyn"\n', f'name = "dyn"\n{line}'
    ) + MODEL.format("dyn")
    with build(root) as wheel:
        assert "dyn/model.vggq" in wheel.namelist()


@pytest.mark.build
def test_hatch_toml_gets_the_table(tmp_path: Path) -> None:
    settings = '[build.targets.wheel]\npackages = ["src/other"]\n\n[envs.test]\ninstaller = "uv"\n'
    files = {"pyproject.toml": HATCHLING + PROJECT, "hatch.toml": settings}
    root = make(tmp_path, {**files, "src/other/__init__.py": ""})
    changed = set_up(root)
    table = MODEL.format("src/other").replace("tool.hatch.", "")
    assert changed["hatch.toml"] == settings.replace("\n\n[envs", f"\n{table}\n[envs")
    assert changed["pyproject.toml"] == expected(HATCHLING + PROJECT, "x").removesuffix(
        MODEL.format("x")
    )
    with build(root) as wheel:
        assert "other/model.vggq" in wheel.namelist()


def test_hatch_toml_without_build_leaves_the_table_in_pyproject(tmp_path: Path) -> None:
    text = HATCHLING + PROJECT + '\n[tool.hatch.build]\nexclude = ["x"]\n'
    files = {"pyproject.toml": text, "hatch.toml": '[envs.test]\ninstaller = "uv"\n'}
    root = make(tmp_path, {**files, "my_package/__init__.py": ""})
    changed = set_up(root)
    assert set(changed) == {"pyproject.toml", ".gitignore"}
    assert changed["pyproject.toml"] == expected(text, "my_package")


def test_existing_tables_are_kept_and_another_model_follows_them(tmp_path: Path) -> None:
    first = expected(HATCHLING + PROJECT, "my_package") + "bits = 4  # enough\n"
    last = "\n# Settings of ruff.\n[tool.ruff]\nline-length = 90\n"
    files = {"pyproject.toml": first + last, ".gitignore": "*.vggq\nweights/\n"}
    root = make(tmp_path, {**files, "my_package/__init__.py": ""})
    assert set_up(root) == {}
    assert set_up(root, None) == {}
    save_npz(root / "weights" / "second.npz", {"v": np.arange(3)})
    table = MODEL.format("my_package").replace("model.", "second.")
    assert set_up(root, "weights/second.npz") == {"pyproject.toml": first + table + last}


def test_models_in_an_inline_array_get_an_inline_table(tmp_path: Path) -> None:
    line = '{ source = "weights/a.npz", target = "my_package/a.vggq" }'
    tables = f"\n[tool.hatch.build.hooks.vggq]\nmodels = [\n  {line},  # first\n]\n"
    text = expected(HATCHLING + PROJECT, "").removesuffix(MODEL.format("")) + tables
    root = make(tmp_path, {"pyproject.toml": text, "my_package/__init__.py": ""})
    changed = set_up(root)["pyproject.toml"]
    added = '{source = "weights/model.npz", target = "my_package/model.vggq"}'
    assert changed == text.replace("# first\n", f"# first\n  {added},\n")


def test_missing_pyproject_names_the_next_step(tmp_path: Path) -> None:
    make(tmp_path, {})
    with pytest.raises(TargetError, match="no such file; run `vggq init` in the folder of your"):
        plan_setup(tmp_path)
    (tmp_path / "setup.py").touch()
    with pytest.raises(
        TargetError, match=r"setuptools builds this project.*docs/without-hatch\.md"
    ):
        plan_setup(tmp_path)


OTHER_BACKENDS: Final = {
    "setuptools.build_meta": '[build-system]\nbuild-backend = "setuptools.build_meta"\n' + PROJECT,
    "setuptools": '[build-system]\nrequires = ["setuptools"]\n' + PROJECT,
    "poetry.core.masonry.api": '[build-system]\nbuild-backend = "poetry.core.masonry.api"\n'
    '[tool.poetry]\nname = "x"\n',
    "uv_build": '[build-system]\nbuild-backend = "uv_build"\n' + PROJECT,
}


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_other_build_backends_are_refused_with_the_page_to_read(
    tmp_path: Path, backend: str
) -> None:
    root = make(tmp_path, {"pyproject.toml": OTHER_BACKENDS[backend], "x/__init__.py": ""})
    with pytest.raises(TargetError) as caught:
        plan_setup(root, root / "weights/model.npz")
    message = caught.value.render(root)
    assert message.startswith(f"pyproject.toml: the build backend is {backend}, and the hook works")
    assert "docs/without-hatch.md" in message


@pytest.mark.parametrize("sign", ["setup.py", "setup.cfg", "[tool.setuptools]"])
def test_pyproject_without_a_build_system_may_belong_to_setuptools(
    tmp_path: Path, sign: str
) -> None:
    text = PROJECT + (f"\n{sign}\n" if "tool" in sign else "")
    files = {"pyproject.toml": text} | ({} if "tool" in sign else {sign: ""})
    with pytest.raises(TargetError, match="the build backend is setuptools"):
        plan_setup(make(tmp_path, files))


@pytest.mark.build
def test_hatchling_is_added_with_the_package_that_it_would_not_find(tmp_path: Path) -> None:
    text = PROJECT.lstrip()
    root = make(tmp_path, {"pyproject.toml": text, "src/other/__init__.py": ""})
    added = set_up(root)["pyproject.toml"]
    packages = '\n[tool.hatch.build.targets.wheel]\npackages = ["src/other"]\n'
    assert added == expected(f"{HATCHLING}\n{text}{packages}", "src/other")
    with build(root) as wheel:
        assert "other/model.vggq" in wheel.namelist()


@pytest.mark.build
def test_member_of_a_monorepo_uses_the_ignore_file_of_the_repository(tmp_path: Path) -> None:
    """A second .gitignore would hide the one of the repository from hatchling."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_bytes(b"__pycache__/\n/dist/")
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["libs/*"]\n')
    text = HATCHLING + PROJECT
    files = {"pyproject.toml": text, "my_package/__init__.py": ""}
    member = make(tmp_path / "libs" / "member", files)
    changed = plan_setup(member, member / "weights/model.npz").changes
    assert {change.path: change.new for change in changed} == {
        member / "pyproject.toml": expected(text, "my_package"),
        tmp_path / ".gitignore": "__pycache__/\n/dist/\n*.vggq\n/libs/member/weights/model.npz\n",
    }
    write_changes(changed)
    assert not plan_setup(member, member / "weights/model.npz").changes
    status = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--short", "-uall"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ".npz" not in status.stdout
    with build(member) as wheel:
        assert "my_package/model.vggq" in wheel.namelist()


def test_diff_on_the_page_is_what_init_shows(tmp_path: Path) -> None:
    (block,) = code_blocks("docs/cli.md", "diff")
    lines = block.rstrip().split("\n")
    old = [line[1:] for line in lines[3:] if line[:1] in (" ", "-", "") and line[:3] != "---"]
    files = {"pyproject.toml": "\n".join(old) + "\n", "src/mypackage/__init__.py": ""}
    root = make(tmp_path, files)
    (root / "weights" / "model.npz").unlink()
    weights = {"w": np.ones((40, 50), np.float32)}
    safetensors.numpy.save_file(weights, root / "weights" / "model.safetensors")
    plan = plan_setup(root)
    shown = [line.rstrip() for line in render_diff(plan.changes, root.resolve())]
    assert shown == [line.replace("model.pth", "model.safetensors").rstrip() for line in lines]
    assert plan.usage == code_blocks("docs/cli.md", "python")[0]


def test_source_outside_the_project_is_not_ignored(tmp_path: Path) -> None:
    files = {"pyproject.toml": HATCHLING + PROJECT, "my_package/__init__.py": ""}
    root = make(tmp_path / "project", files)
    save_npz(tmp_path / "far.npz", {"w": np.arange(4)})
    changed = set_up(root, "../far.npz")
    (model,) = tomllib.loads(changed["pyproject.toml"])["tool"]["hatch"]["build"]["hooks"]["vggq"][
        "models"
    ]
    assert model == {"source": "../far.npz", "target": "my_package/far.vggq"}
    assert changed[".gitignore"].split() == ["*.vggq"]


def test_source_is_found_if_it_is_the_only_one(tmp_path: Path) -> None:
    text = HATCHLING + PROJECT
    root = make(tmp_path, {"pyproject.toml": text, "my_package/__init__.py": ""})
    make(root, {}, ".venv/lib/other.npz")
    assert set_up(root, None)["pyproject.toml"] == expected(text, "my_package")


def test_several_sources_are_listed(tmp_path: Path) -> None:
    root = make(tmp_path, {"pyproject.toml": HATCHLING + PROJECT, "my_package/__init__.py": ""})
    make(root, {}, "weights/b.npz")
    with pytest.raises(
        SourceError, match=r"found 2 checkpoints: weights/b\.npz, weights/model\.npz"
    ):
        plan_setup(root)
    for name in ("b", "model"):
        (root / "weights" / f"{name}.npz").unlink()
    with pytest.raises(SourceError, match="found no checkpoint; name one: `vggq init SOURCE`"):
        plan_setup(root)


def test_folder_of_hugging_face_is_one_source(tmp_path: Path) -> None:
    files = {"pyproject.toml": HATCHLING + PROJECT, "my_package/__init__.py": ""}
    folder = {f"weights/bert/{name}": "{}" for name in ("config.json", "tokenizer.json")}
    root = make(tmp_path, files | folder, "weights/bert/model.npz")
    (root / "weights" / "bert" / "onnx").mkdir()
    save_npz(root / "weights" / "bert" / "onnx" / "model.npz", {"w": np.ones((40, 50))})
    plan = plan_setup(root, None)
    assert 'source = "weights/bert"' in plan.changes[0].new
    assert not plan.remarks
    (remark,) = plan_setup(root, root / "weights" / "bert" / "model.npz").remarks
    assert remark.startswith("weights/bert looks like a folder of Hugging Face: `vggq init weights")


def test_missing_requires_python_gets_a_remark(tmp_path: Path) -> None:
    project = PROJECT.replace('requires-python = ">=3.11"\n', "")
    root = make(tmp_path, {"pyproject.toml": HATCHLING + project, "my_package/__init__.py": ""})
    (remark,) = plan_setup(root, root / "weights" / "model.npz").remarks
    assert remark.startswith("project.requires-python: missing, which admits Pythons")
    assert remark.endswith("\"hatch-vggq; python_version >= '3.11'\"")


def test_one_module_is_no_package(tmp_path: Path) -> None:
    root = make(tmp_path, {"pyproject.toml": HATCHLING + PROJECT, "my_package.py": ""})
    with pytest.raises(TargetError, match="cannot tell which folder is the package"):
        plan_setup(root, root / "weights/model.npz")


def test_target_can_be_chosen(tmp_path: Path) -> None:
    text = HATCHLING + PROJECT
    root = make(tmp_path, {"pyproject.toml": text, "my_package/__init__.py": ""})
    changed = set_up(root, target="my_package/data/m.vggq")["pyproject.toml"]
    assert 'target = "my_package/data/m.vggq"' in changed
    assert 'vggq.load("my_package", "data/m.vggq")' in plan_setup(root).usage
    source = root / "weights/model.npz"
    with pytest.raises(OptionError, match=r"has my_package/data/m\.vggq already"):
        plan_setup(root, source, "my_package/n.vggq")
    for target in ("m.vggq", "/tmp/x/m.vggq", "../x/m.vggq", "my_package/m.bin"):
        with pytest.raises(OptionError, match="target: expected a"):
            plan_setup(root, make(root, {}, "o.npz") / "o.npz", target)
    with pytest.raises(OptionError, match="is that of another model"):
        plan_setup(root, root / "o.npz", "my_package/data/m.vggq")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("*.vggq", "has the character '\\*'"),
        ("a\nb.vggq", "has the character"),
        ("CON.vggq", "has a name that Windows reserves"),
        (f"{'n' * 300}.vggq", "255"),
    ],
)
def test_target_that_no_wheel_can_contain_is_rejected(
    tmp_path: Path, name: str, problem: str
) -> None:
    text = HATCHLING + PROJECT
    root = make(tmp_path, {"pyproject.toml": text, "my_package/__init__.py": ""})
    with pytest.raises(OptionError, match=f"target: expected another path: .*{problem}"):
        plan_setup(root, root / "weights/model.npz", f"my_package/{name}")


def test_target_below_a_file_is_rejected(tmp_path: Path) -> None:
    root = make(tmp_path, {"pyproject.toml": HATCHLING + PROJECT, "my_package/__init__.py": ""})
    with pytest.raises(OptionError, match=r"but my_package/__init__\.py is a file"):
        plan_setup(root, root / "weights/model.npz", "my_package/__init__.py/m.vggq")


@pytest.mark.parametrize("folder", [".", "my_package"])
def test_folder_that_contains_the_package_is_no_source(tmp_path: Path, folder: str) -> None:
    text = HATCHLING + PROJECT
    root = make(tmp_path, {"pyproject.toml": text, "my_package/__init__.py": ""})
    shutil.copy(root / "weights/model.npz", root / "my_package")
    with pytest.raises(SourceError, match="the folder contains the target my_package/"):
        plan_setup(root, root / folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pyproject_that_is_a_pipe_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pyproject.toml")
    with pytest.raises(TargetError, match="not a regular file"):
        plan_setup(tmp_path)


def test_dynamic_dependencies_old_pythons_and_replaced_tables_get_remarks(tmp_path: Path) -> None:
    text = (
        HATCHLING
        + '\n[project]\nname = "p"\nversion = "1"\ndynamic = ["dependencies"]\n'
        + 'requires-python = ">=3.9"\n\n[tool.hatch.build.targets.wheel.hooks.vggq]\nsbom = false\n'
    )
    root = make(tmp_path, {"pyproject.toml": text, "p/__init__.py": ""})
    remarks = plan_setup(root).remarks
    assert [remark.split(":")[0].split(" ")[0] for remark in remarks] == [
        "project.dependencies",
        "project.requires-python",
        "tool.hatch.build.targets.wheel.hooks.vggq",
    ]
    assert "write '>=3.11'" in remarks[1]
    changed = set_up(root)["pyproject.toml"]
    assert "hatch-vggq>=" not in changed


def test_vendored_copy_needs_no_dependency(tmp_path: Path) -> None:
    root = make(tmp_path, {"pyproject.toml": HATCHLING + PROJECT, "my_package/__init__.py": ""})
    (root / "my_package/_vggq").mkdir()
    stamp = '{"hatch-vggq": "0.1.0", "format": 1}'
    (root / "my_package/_vggq/vendored.json").write_text(stamp)
    assert DEPENDENCIES not in set_up(root)["pyproject.toml"]


def test_windows_line_ends_are_kept(tmp_path: Path) -> None:
    text = HATCHLING + PROJECT
    root = make(tmp_path, {"my_package/__init__.py": ""})
    (root / "pyproject.toml").write_bytes(text.replace("\n", "\r\n").encode())
    (root / ".gitignore").write_bytes(b"/dist/\r\n")
    changed = set_up(root)
    assert changed["pyproject.toml"] == expected(text, "my_package").replace("\n", "\r\n")
    assert changed[".gitignore"] == "/dist/\r\n*.vggq\r\n/weights/model.npz\r\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project\n", "not valid TOML"),
        ('[build-system]\nbuild-backend = "hatchling.build"\n', r'add requires = \["hatchling"\]'),
        (HATCHLING, r"has no table \[project\]"),
        ("\xff", "not valid"),
    ],
)
def test_unreadable_projects_are_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(TargetError, match=message) as caught:
        plan_setup(tmp_path)
    assert caught.value.path == tmp_path.resolve() / "pyproject.toml"


def test_onnx_with_other_files_uses_a_path(tmp_path: Path) -> None:
    root = make(tmp_path, {"pyproject.toml": HATCHLING + PROJECT, "my_package/__init__.py": ""})
    save_onnx(root / "weights/rec.onnx", {"w": np.zeros((40, 50), np.float32)})
    usage = plan_setup(root, root / "weights/rec.onnx").usage
    assert 'InferenceSession(vggq.read_bytes("my_package", "rec.vggq"))' in usage
