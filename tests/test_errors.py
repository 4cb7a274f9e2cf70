"""Errors: their parts, and how these are rendered."""

from __future__ import annotations

import pickle
from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest

from vggq.errors import OptionError, SourceError, VggqError

POSIX_ROOT = PurePosixPath("/home/me/project")
WINDOWS_ROOT = PureWindowsPath(r"C:\Users\me\project")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, "no such file"),
        ({"path": PurePosixPath("a/b.pth")}, "a/b.pth: no such file"),
        ({"tensor": "conv1.weight"}, "tensor 'conv1.weight': no such file"),
        ({"path": PurePosixPath("b.pth"), "tensor": "w"}, "b.pth: tensor 'w': no such file"),
    ],
)
def test_message_has_the_path_then_the_tensor_then_the_reason(
    parts: dict[str, PurePath | str], expected: str
) -> None:
    error = SourceError("no such file", **parts)  # type: ignore[arg-type]
    assert str(error) == error.render() == expected


@pytest.mark.parametrize(
    ("root", "path", "shown"),
    [
        (POSIX_ROOT, POSIX_ROOT / "weights" / "a.pth", "weights/a.pth"),
        (POSIX_ROOT, PurePosixPath("/home/me/project2/a.pth"), "/home/me/project2/a.pth"),
        (POSIX_ROOT, POSIX_ROOT / ".." / "a.pth", "../a.pth"),
        (WINDOWS_ROOT, WINDOWS_ROOT / "weights" / "a.pth", "weights/a.pth"),
        (WINDOWS_ROOT, PureWindowsPath(r"c:\users\ME\project\weights\a.pth"), "weights/a.pth"),
        (WINDOWS_ROOT, PureWindowsPath(r"D:\Users\me\project\a.pth"), r"D:\Users\me\project\a.pth"),
        (WINDOWS_ROOT, WINDOWS_ROOT.parent / "a.pth", r"C:\Users\me\a.pth"),
    ],
)
def test_render_shows_paths_below_the_root_relative_to_it(
    root: PurePath, path: PurePath, shown: str
) -> None:
    error = SourceError("no such file", path=path)
    assert error.render(root) == f"{shown}: no such file"
    assert str(error) == f"{path}: no such file"


def test_render_does_not_shorten_names_that_are_text() -> None:
    error = VggqError("no such file", path="/home/me/project/a.vggq")
    assert error.render(POSIX_ROOT) == "/home/me/project/a.vggq: no such file"


def test_very_long_tensor_names_are_shortened() -> None:
    name = "encoder.layers.11.self_attn.q_proj.weight" * 3
    assert str(VggqError("damaged", tensor=name)) == f"tensor {name!r}: damaged"
    assert len(str(VggqError("damaged", tensor="x" * 1_000_000))) < 250


def test_locate_adds_parts_and_keeps_those_that_are_known() -> None:
    error = SourceError("no such file", tensor="inner")
    assert error.locate(path=PurePosixPath("a.pth"), tensor="outer") is error
    assert str(error.locate(path=PurePosixPath("b.pth"))) == "a.pth: tensor 'inner': no such file"


def test_option_error_lists_all_problems_and_can_be_pickled() -> None:
    problems = [("bits", "expected an integer, found 9.5"), ("keep", "matches no tensor")]
    error = OptionError(problems)
    assert str(error) == "bits: expected an integer, found 9.5; keep: matches no tensor"
    assert pickle.loads(pickle.dumps(error)).problems == problems
