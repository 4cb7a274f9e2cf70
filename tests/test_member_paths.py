"""Paths of a model's members: the same files on every system, and none outside the folder."""

from __future__ import annotations

import pytest

from vggq._member_paths import find_collision, find_path_problem

PLAIN = "is not a plain relative path"
RESERVED = "has a name that Windows reserves"
ENDING = "has a name that ends in a space or a dot"


@pytest.mark.parametrize(
    "path",
    [
        "model.onnx",
        "variables/variables.data-00000-of-00001",
        ".hidden/.x",
        "größe 1.bin",
        "a..b",
        "console.txt",
        "com.txt",
        "COM10",
        "nulls",
        "x" * 255,
        "/".join(["x" * 255] * 4),
        "x" * 253 + "é",
        "/".join("a" * 16),
        "日本語/重み.bin",
    ],
)
def test_ordinary_paths_are_accepted(path: str) -> None:
    assert find_path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", PLAIN),
        (".", PLAIN),
        ("..", PLAIN),
        ("../m.onnx", PLAIN),
        ("a/../../m.onnx", PLAIN),
        ("/etc/passwd", PLAIN),
        ("a//b", PLAIN),
        ("a/", PLAIN),
        ("./a", PLAIN),
        ("C:", "has the character ':', which a file name cannot have on every system"),
        ("C:/a", "has the character ':', which a file name cannot have on every system"),
        ("a\\b", "has the character '\\\\', which a file name cannot have on every system"),
        ("\\\\host\\a", "has the character '\\\\', which a file name cannot have on every system"),
        ("a\0", "has the character '\\x00', which a file name cannot have on every system"),
        ("a\nb", "has the character '\\n', which a file name cannot have on every system"),
        ("a\x1f", "has the character '\\x1f', which a file name cannot have on every system"),
        ("a\x7f", "has the character '\\x7f', which a file name cannot have on every system"),
        ("a\x9f", "has the character '\\x9f', which a file name cannot have on every system"),
        *(
            (f"a{c}b", f"has the character {c!r}, which a file name cannot have on every system")
            for c in '<>"|?*'
        ),
        ("a ", ENDING),
        ("a./b", ENDING),
        ("...", ENDING),
        ("CON", RESERVED),
        ("nul.txt", RESERVED),
        ("a/Aux.tar.gz", RESERVED),
        ("con .txt", RESERVED),
        ("prn", RESERVED),
        ("conin$", RESERVED),
        ("CONOUT$.x", RESERVED),
        ("com1", RESERVED),
        ("LPT9.bin", RESERVED),
        ("COM²", RESERVED),
        ("x" * 256, "has a name of more than 255 bytes in UTF-8"),
        ("x" * 254 + "é", "has a name of more than 255 bytes in UTF-8"),
        ("/".join(["x" * 255] * 4) + "/", "has more than 1024 bytes in UTF-8"),
        ("/".join("a" * 17), "has more than 16 parts"),
        ("a\udc80", "has lone surrogates"),
    ],
)
def test_other_paths_are_named(path: str, problem: str) -> None:
    path = path if "1024" not in problem else path + "x"
    assert find_path_problem(path) == problem


@pytest.mark.parametrize(
    "paths",
    [
        (),
        ("a", "b", "a.b", "c/a", "c/b", "d/a/a"),
        ("A/x", "a/y"),
        ("ab/c", "a/bc", "a/b"),
    ],
)
def test_paths_that_can_be_in_one_folder(paths: tuple[str, ...]) -> None:
    assert find_collision(paths) is None


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a"),
        ("a/b", "A/B"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("a", "a/b"),
        ("A", "a/b/c"),
        ("a/b", "a/B/c"),
        ("\u017f", "s"),
        ("\ufb01/x", "FI"),
    ],
)
def test_paths_that_collide_on_some_system(paths: tuple[str, str]) -> None:
    for ordered in (paths, paths[::-1]):
        found = find_collision(ordered)
        assert found is not None
        assert sorted(found) == sorted(paths)


def test_other_paths_do_not_hide_a_collision() -> None:
    paths = [f"d{n}/f{n}" for n in range(100)]
    assert find_collision([*paths, "D7"]) == ("D7", "d7/f7")
