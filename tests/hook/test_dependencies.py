"""The check of a package's dependencies, for every environment that the package admits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import packaging.markers
import pytest
from packaging.requirements import Requirement

from hatch_vggq.config import Model
from hatch_vggq.dependencies import Metadata, check_dependencies
from hatch_vggq.environments import holds, list_environments, supported_pythons
from hatch_vggq.messages import BuildError
from vggq.packing import Options, vendoring

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL = Model("models[0]", "weights/a.npz", "src/tiny/a.vggq", Options())
NUMPY = "numpy>=1.26"
ZSTANDARD = "zstandard>=0.22; python_version < '3.14'"
BUILDERS = {
    "3.11 on Linux": {"python_version": "3.11", "python_full_version": "3.11.7"},
    "3.14 on Linux": {"python_version": "3.14", "python_full_version": "3.14.0"},
    "3.14 on Windows": {
        "python_version": "3.14",
        "python_full_version": "3.14.0",
        "sys_platform": "win32",
        "os_name": "nt",
        "platform_system": "Windows",
        "platform_machine": "AMD64",
    },
}


@pytest.fixture(params=BUILDERS)
def builder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make packaging believe that it runs with another Python or system."""
    real = packaging.markers.default_environment()
    changed = {**real, **BUILDERS[request.param]}
    monkeypatch.setattr(packaging.markers, "default_environment", lambda: dict(changed))
    assert packaging.markers.Marker("python_version >= '3.14'").evaluate() == (
        changed["python_version"] == "3.14"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src/tiny").mkdir(parents=True)
    (tmp_path / "src/tiny/__init__.py").write_text("")
    return tmp_path


@pytest.fixture
def vendored(root: Path) -> Path:
    vendoring.vendor(root / "src/tiny/_vggq")
    return root


def check(
    root: Path, dependencies: Sequence[str] | None, requires_python: str = ""
) -> tuple[list[str], list[str]]:
    """Return the problems and the warnings."""
    try:
        return [], check_dependencies(root, [MODEL], Metadata(dependencies, requires_python))
    except BuildError as error:
        return error.lines, []


@pytest.mark.usefixtures("builder")
def test_lines_that_the_error_asks_for_are_accepted_by_every_builder(vendored: Path) -> None:
    problems, _ = check(vendored, [])
    asked = [problem.split('add "')[1].removesuffix('"') for problem in problems]
    assert asked == [NUMPY, ZSTANDARD]
    assert check(vendored, asked) == ([], [])


@pytest.mark.usefixtures("builder")
def test_line_that_the_error_asks_for_is_accepted_without_a_copy(root: Path) -> None:
    ((problem,), _) = check(root, [])
    assert check(root, [problem.split('add "')[1].removesuffix('"')]) == ([], [])


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize(
    ("marker", "requires_python"),
    [
        ("python_version < '3.12'", ""),
        ("python_version >= '3.14'", ""),
        ("python_version > '3.14'", ">=3.11"),
        ("python_version == '3.15'", ">=3.11"),
        ("python_version >= '3.25'", ""),
        ("'3.12' <= python_version", ""),
        ("python_version in '3.12 3.13'", ""),
        ("python_version == '3.11.*'", ""),
        ("python_version ~= '3.12'", ""),
        ("python_full_version == '3.12.4'", ""),
        ("python_full_version > '3.12.4'", "<3.12.6"),
        ("python_full_version < '3.11.4'", ""),
        ("python_version < '3.12'", "==3.11.4"),
        ("sys_platform == 'win32'", ""),
        ("sys_platform == 'darwin' and platform_machine == 'arm64'", ""),
        ("sys_platform == 'freebsd14'", ""),
        ("sys_platform == 'emscripten' and platform_machine == 'wasm32'", ""),
        ("sys_platform != 'linux'", ""),
        ("'linux' in sys_platform", ""),
        ("os_name == 'nt'", ""),
        ("os_name == 'java'", ""),
        ("platform_system == 'Windows'", ""),
        ("platform_machine == 'riscv64'", ""),
        ("platform_machine not in 'x86_64 aarch64 arm64 AMD64'", ""),
        ("implementation_name == 'pypy'", ""),
        ("platform_python_implementation == 'GraalVM'", ""),
        ("implementation_version >= '7.3'", ""),
        ("platform_release >= '5.10'", ""),
        ("platform_version == '#1 SMP'", ""),
        ("extra != 'x'", ""),
        ("extra == 'x' or python_version >= '3.11'", ""),
        ("sys_platform == 'win32' and python_version < '3.12'", ">=3.11.2,<3.14"),
    ],
)
def test_requirement_that_an_environment_can_have_is_accepted(
    root: Path, marker: str, requires_python: str
) -> None:
    problems, _ = check(root, [f"hatch-vggq; {marker}"], requires_python)
    assert problems == []


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize(
    ("marker", "requires_python"),
    [
        ("python_version < '3'", ""),
        ("python_version < '3.11'", ""),
        ("python_version == '3.10'", ">=3.9"),
        ("python_version >= '3.14'", ">=3.11,<3.14"),
        ("python_full_version == '3.12.4'", ">=3.13"),
        ("python_full_version == '3.12.4'", "!=3.12.4"),
        ("python_full_version < '3.11.4'", ">=3.11.4"),
        ("sys_platform == 'win32' and os_name == 'posix'", ""),
        ("platform_system == 'Darwin' and platform_machine == 'AMD64'", ""),
        ("implementation_name == 'cpython' and platform_python_implementation == 'PyPy'", ""),
        ("sys_platform == 'win32' and sys_platform == 'linux'", ""),
        ("extra == 'x'", ""),
        ("extra == 'x' and python_version >= '3.11'", ""),
        ("python_version < '3.12'", ">=3.12"),
    ],
)
def test_requirement_that_no_environment_can_have_is_rejected(
    root: Path, marker: str, requires_python: str
) -> None:
    ((problem,), _) = check(root, [f"hatch-vggq; {marker}"], requires_python)
    assert problem.startswith(
        "project.dependencies: the package needs hatch-vggq to restore its weights, and "
        "'hatch-vggq; "
    )
    assert problem.endswith(' never installs it by default; write "hatch-vggq>=0.1.0"')


def test_marker_that_no_installer_can_evaluate_does_not_count(root: Path) -> None:
    marker = Requirement("x; 'a' in sys_platform").marker
    assert marker is not None
    assert not holds(marker, {})
    environment = list_environments("", [marker])[0]
    assert holds(Requirement("x; 'l' in sys_platform").marker, environment)
    undefined = Requirement("x; platform_machine ~= 'x'").marker
    assert not holds(undefined, environment)


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        (
            ["hatch-vggq<0.1; python_version < '3.13'", "hatch-vggq==0.0.1; os_name == 'nt'"],
            "'hatch-vggq<0.1; python_version < \"3.13\"' excludes every release that reads",
        ),
        (
            ["hatch-vggq>=0.1", "hatch-vggq<0.1"],
            "'hatch-vggq>=0.1' and 'hatch-vggq<0.1' exclude every release that reads",
        ),
        (
            ["hatch-vggq; extra == 'a'", "hatch-vggq; extra == 'b'"],
            (
                "the package needs hatch-vggq to restore its weights, and 'hatch-vggq; extra == "
                '"a"\' and \'hatch-vggq; extra == "b"\' never installs it by default'
            ),
        ),
    ],
)
def test_several_requirements_are_judged_together(
    root: Path, dependencies: list[str], expected: str
) -> None:
    ((problem,), _) = check(root, dependencies)
    assert problem.startswith(f"project.dependencies: {expected}")


def test_requirement_may_have_other_bounds_in_each_environment(root: Path) -> None:
    new = "hatch-vggq>=0.1; python_version >= '3.12'"
    assert check(root, [new, "hatch-vggq>=0.2,<1; python_version < '3.12'"]) == ([], [])


@pytest.mark.parametrize(
    ("dependencies", "requires_python", "where"),
    [
        (["hatch-vggq; sys_platform == 'win32'"], "", "on Linux and macOS"),
        (["hatch-vggq; sys_platform == 'win32'"], ">=3.13", "on Linux and macOS"),
        (["hatch-vggq; python_version < '3.13'"], "", "with Python 3.13 and 3.14"),
        (["hatch-vggq; python_version < '3.13'"], ">=3.12,<3.14", "with Python 3.13"),
        (
            ["hatch-vggq; python_version < '3.14' or sys_platform != 'win32'"],
            "",
            "with Python 3.14 on Windows",
        ),
        (
            [
                "hatch-vggq; sys_platform == 'linux'",
                "hatch-vggq; sys_platform == 'win32' and python_version >= '3.14'",
            ],
            ">=3.13",
            "on macOS and with Python 3.13 on Windows",
        ),
        (["hatch-vggq; platform_machine == 'riscv64'"], "", "everywhere"),
        (
            ["hatch-vggq; python_version < '3.14'", "hatch-vggq<0.1; python_version >= '3.14'"],
            "",
            "with Python 3.14",
        ),
    ],
)
def test_environments_without_a_requirement_are_a_warning(
    root: Path, dependencies: list[str], requires_python: str, where: str
) -> None:
    expected = (
        f"vggq: project.dependencies: hatch-vggq is missing {where}, where the package cannot "
        "restore its weights"
    )
    assert check(root, dependencies, requires_python) == ([], [expected])


def test_copy_needs_zstandard_only_below_python_3_14(vendored: Path) -> None:
    assert check(vendored, [NUMPY], ">=3.14") == ([], [])
    ((problem,), _) = check(vendored, [NUMPY], ">=3.13")
    assert problem.endswith(f'needs zstandard; add "{ZSTANDARD}"')
    for line in ("zstandard", "zstandard>=0.23", "zstandard; python_version < '3.20'"):
        assert check(vendored, [NUMPY, line], ">=3.11") == ([], [])
    narrow = [NUMPY, "zstandard; python_version < '3.13'"]
    assert check(vendored, narrow, ">=3.11,<3.13") == ([], [])
    warning = (
        "vggq: project.dependencies: zstandard is missing with Python 3.13, where the package "
        "cannot restore its weights"
    )
    assert check(vendored, narrow, ">=3.11,<3.14") == ([], [warning])


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [
        (
            "zstandard; python_version >= '3.14'",
            (
                "the vendored copy of vggq needs zstandard, and 'zstandard; python_version >= "
                '"3.14"\' never installs it by default; write'
            ),
        ),
        (
            "zstandard<0.20",
            "'zstandard<0.20' excludes every release that the vendored copy of vggq can use; write",
        ),
    ],
)
def test_copy_rejects_requirements_that_cannot_serve_it(
    vendored: Path, dependency: str, expected: str
) -> None:
    ((problem,), _) = check(vendored, [NUMPY, dependency])
    assert problem == f'project.dependencies: {expected} "{ZSTANDARD}"'


def test_copy_is_found_in_the_packages_if_the_model_is_outside_them(vendored: Path) -> None:
    outside = Model("models[0]", "weights/a.npz", "gen/a.vggq", Options())
    metadata = Metadata([NUMPY, ZSTANDARD])
    with pytest.raises(BuildError, match="the package needs hatch-vggq"):
        check_dependencies(vendored, [outside], metadata)
    assert check_dependencies(vendored, [outside], metadata, [vendored / "src/tiny"]) == []


@pytest.mark.parametrize(
    ("requires_python", "pythons"),
    [
        (">=3.9", "3.9 and 3.10"),
        (">=3.10,<3.13", "3.10"),
        (">=3.10.2", "3.10"),
        (">=2.7,!=3.0.*,!=3.1.*,!=3.2.*,!=3.3.*,!=3.4.*,!=3.5.*,!=3.6.*", None),
        (">=3.11", ""),
        ("~=3.11", ""),
        (">3.10", "3.10"),
        ("", ""),
    ],
)
def test_requires_python_below_the_supported_pythons_is_a_warning(
    root: Path, vendored: Path, requires_python: str, pythons: str | None
) -> None:
    assert str(supported_pythons()) == ">=3.11"
    problems, warnings = check(vendored, [NUMPY, ZSTANDARD], requires_python)
    assert problems == []
    if pythons:
        (warning,) = warnings
        assert warning == (
            f"vggq: project.requires-python: {requires_python!r} admits Python {pythons}, which "
            'the vendored copy of hatch-vggq does not support; write ">=3.11"'
        )
    else:
        assert len(warnings) == (pythons is None)


def test_old_pythons_matter_only_where_hatch_vggq_is_installed(root: Path) -> None:
    _, (warning,) = check(root, ["hatch-vggq"], ">=3.8")
    assert warning == (
        "vggq: project.requires-python: '>=3.8' admits Python 3.8, 3.9 and 3.10, which hatch-vggq "
        'does not support; write ">=3.11"'
    )
    assert check(root, ["hatch-vggq; python_version >= '3.11'"], ">=3.8") == ([], [])


@pytest.mark.parametrize("requires_python", ["<3.11", ">=3.8,<3.11", "==3.10.*", "==2.7.18"])
def test_requires_python_without_a_supported_python_is_an_error(
    vendored: Path, requires_python: str
) -> None:
    expected = (
        f"project.requires-python: {requires_python!r} admits no Python that hatch-vggq supports; "
        'write ">=3.11"'
    )
    for dependencies in ([NUMPY, ZSTANDARD], [], None):
        assert check(vendored, dependencies, requires_python) == ([expected], [])


def test_unknown_dependencies_are_not_checked(root: Path, vendored: Path) -> None:
    assert check(vendored, None) == ([], [])
    assert check(root, None, ">=3.12") == ([], [])
