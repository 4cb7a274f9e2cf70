"""Parsing of the hook's configuration, and the message for each error in it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from hatch_vggq.config import BASE_KEY, Config, Model, parse_config
from hatch_vggq.messages import BuildError
from vggq.packing import Options

GOOD = {"source": "weights/a.npz", "target": "src/a/a.vggq"}

LICENSE = "expected an SPDX expression such as 'CC-BY-4.0' or 'LicenseRef-My-Terms'"
URL = "expected a URL such as 'https://example.org/model'"


def errors_of(config: dict[str, Any]) -> list[str]:
    with pytest.raises(BuildError) as caught:
        parse_config(config)
    assert str(caught.value) == "\n".join(caught.value.lines)
    return caught.value.lines


def test_model_with_defaults() -> None:
    model = Model(f"{BASE_KEY}.models[0]", "weights/a.npz", "src/a/a.vggq", Options(), "packed")
    assert parse_config({"models": [GOOD]}) == Config((model,), 100 * 2**20)


def test_model_with_all_keys() -> None:
    table = GOOD | {
        "bits": 3,
        "layout": "torch",
        "key": "model",
        "drop": ["ema.*"],
        "rename": {"^module\\.": "", "a(b)": "\\1"},
        "keep": ["*.bias", "head.*"],
        "license": "CC-BY-4.0 OR LicenseRef-Mine",
        "description": "What it is.",
        "url": "https://example.org/a",
    }
    (model,) = parse_config({"models": [table]}).models
    assert model.options == Options(
        bits=3,
        layout="torch",
        key="model",
        drop=("ema.*",),
        rename=(("^module\\.", ""), ("a(b)", "\\1")),
        keep=("*.bias", "head.*"),
        license="CC-BY-4.0 OR LicenseRef-Mine",
        description="What it is.",
        url="https://example.org/a",
    )


def test_key_may_be_a_list() -> None:
    (model,) = parse_config({"models": [GOOD | {"key": ["encoder", "decoder"]}]}).models
    assert model.options == Options(key=("encoder", "decoder"))


def test_paths_are_normalized() -> None:
    paths = {"source": "./weights//a.npz", "target": "src\\a\\.\\a.vggq"}
    (model,) = parse_config({"models": [paths]}).models
    assert (model.source, model.target) == ("weights/a.npz", "src/a/a.vggq")


def test_source_may_be_outside_the_project() -> None:
    (model,) = parse_config({"models": [GOOD | {"source": "../weights/a.npz"}]}).models
    assert model.source == "../weights/a.npz"


@pytest.mark.parametrize("folder", ["-a", "(a)", "a", "..a", "..."])
def test_target_may_be_in_folders_with_unusual_names(folder: str) -> None:
    target = f"{folder}/a.vggq"
    assert parse_config({"models": [GOOD | {"target": target}]}).models[0].target == target


@pytest.mark.parametrize("key", ["source", "target"])
@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127 + "n"])
def test_names_of_255_bytes_are_accepted(key: str, name: str) -> None:
    path = f"{name}/{name}/a.vggq"
    (model,) = parse_config({"models": [GOOD | {key: path}]}).models
    assert getattr(model, key) == path


@pytest.mark.parametrize("key", ["source", "target"])
@pytest.mark.parametrize("path", ["n" * 256 + "/a.vggq", "a/" + "ü" * 126 + ".vggq", "a\0.vggq"])
def test_names_over_255_bytes_or_with_nul_are_rejected(key: str, path: str) -> None:
    expected = f"expected names of at most 255 bytes without NUL, found {path!r}"
    assert errors_of({"models": [GOOD | {key: path}]}) == [
        f"{BASE_KEY}.models[0].{key}: {expected}"
    ]


def test_models_with_one_source_need_the_same_sdist_value() -> None:
    other = {"source": "./weights/a.npz", "target": "src/b.vggq", "sdist": "source"}
    first, second = (f"{BASE_KEY}.models[{index}]" for index in (0, 1))
    for models, found, expected in (
        ([GOOD, other], "source", "packed"),
        ([other, GOOD], "packed", "source"),
    ):
        (error,) = errors_of({"models": models})
        problem = f"expected {expected!r}, as in {first} for the same source, found {found!r}"
        assert error == f"{second}.sdist: {problem}"
    # Equal strings that are different objects are accepted.
    alike = {"sdist": str(b"source", "ascii")}
    assert len(parse_config({"models": [GOOD | alike, other]}).models) == 2


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("size", "9" * 400, "expected a size from 1 byte to 2^53, found '9"),
        ("size", 2**53 + 2, "expected a size from 1 byte to 2^53, found 9007199254740994"),
        (
            "importance",
            {"a": 10**400},
            "expected a table of tensor names and factors above 0 such as",
        ),
        ("rename", {"a\\": "b"}, "'a\\\\' = 'b' is not a replacement: bad escape"),
        ("rename", {f"a{{{'9' * 30}}}": "b"}, "'a{999999999999999999999999999999}' = 'b' is not a"),
        ("target", "src/a.zip", "expected a path that ends in .vggq, found 'src/a.zip'"),
        ("target", "src/.vggq", "expected a path that ends in .vggq, found 'src/.vggq'"),
    ],
)
def test_extreme_values_are_rejected(key: str, value: Any, expected: str) -> None:
    (error,) = errors_of({"models": [GOOD | {key: value}]})
    assert error.startswith(f"{BASE_KEY}.models[0].{key}: {expected}")
    assert errors_of({"models": [GOOD], "size-limit": "9" * 400})


def test_parent_folders_in_a_target_are_resolved() -> None:
    assert parse_config({"models": [GOOD | {"target": "a/../b.vggq"}]}).models[0].target == "b.vggq"


def test_parsed_configuration_is_immutable() -> None:
    config = parse_config({"models": [GOOD]})
    for value in (config, config.models[0]):
        assert not hasattr(value, "__dict__")
        with pytest.raises(FrozenInstanceError):
            setattr(value, fields(value)[0].name, None)


def test_keys_of_hatchling_are_ignored() -> None:
    own = {
        "dependencies": ["x"],
        "require-runtime-dependencies": True,
        "require-runtime-features": ["y"],
        "enable-by-default": False,
    }
    assert len(parse_config(own | {"models": [GOOD]}).models) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bits": 9}, ".bits: expected an integer from 1 to 8, found 9"),
        ({"bits": 0}, ".bits: expected an integer from 1 to 8, found 0"),
        ({"bits": "8"}, ".bits: expected an integer from 1 to 8, found '8'"),
        ({"bits": 8.0}, ".bits: expected an integer from 1 to 8, found 8.0"),
        ({"bits": True}, ".bits: expected an integer from 1 to 8, found True"),
        ({"layout": "keras"}, ".layout: expected 'torch', found 'keras'"),
        ({"key": 3}, ".key: expected the key of a dict, or a list of keys, found 3"),
        ({"keep": "*.bias"}, ".keep: expected a list of patterns such as '*.bias', found '*.bias'"),
        (
            {"drop": "optimizer.*"},
            ".drop: expected a list of patterns such as '*.bias', found 'optimizer.*'",
        ),
        (
            {"rename": "a=b"},
            ".rename: expected a table of regular expressions and their replacements, found 'a=b'",
        ),
        (
            {"rename": {"a": 1}},
            (
                ".rename: expected a table of regular expressions and their replacements, "
                "found ('a', 1)"
            ),
        ),
        (
            {"rename": {"(": ""}},
            (
                ".rename: '(' = '' is not a replacement: missing ), unterminated subpattern at "
                "position 0"
            ),
        ),
        (
            {"rename": {"a": "\\1"}},
            (
                ".rename: 'a' = '\\\\1' is not a replacement: invalid group reference 1 at "
                "position 1"
            ),
        ),
        (
            {"rename": {"a": "\\g<x>"}},
            ".rename: 'a' = '\\\\g<x>' is not a replacement: unknown group name 'x'",
        ),
        ({"keep": [1]}, ".keep: expected a list of patterns such as '*.bias', found [1]"),
        ({"license": ""}, f".license: {LICENSE}, found ''"),
        ({"license": ["MIT"]}, f".license: {LICENSE}, found ['MIT']"),
        ({"license": "CC"}, f".license: {LICENSE}, found 'CC'"),
        ({"license": "MIT AND"}, f".license: {LICENSE}, found 'MIT AND'"),
        ({"license": "mit"}, ".license: expected 'MIT', found 'mit'"),
        ({"description": ""}, ".description: expected text, found ''"),
        ({"description": 3}, ".description: expected text, found 3"),
        ({"description": "\ud800"}, ".description: expected text, found '\\ud800'"),
        ({"url": "example.org"}, f".url: {URL}, found 'example.org'"),
        ({"url": "file:///etc/passwd"}, f".url: {URL}, found 'file:///etc/passwd'"),
        ({"url": "https://a b"}, f".url: {URL}, found 'https://a b'"),
        ({"url": 3}, f".url: {URL}, found 3"),
        ({"bit": 8}, ".bit: unknown key; did you mean 'bits'?"),
        # 'key' is similar as well, but less so.
        ({"kep": 8}, ".kep: unknown key; did you mean 'keep'?"),
        (
            {"zzz": 8},
            (
                ".zzz: unknown key; expected one of source, target, sdist, bits, sqnr, size, "
                "objective, importance, dependent, effort, scale, tensors, keep, layout, key, "
                "drop, rename, dtypes, restore, include, exclude, license, description, url, "
                "evaluation"
            ),
        ),
        ({"aim": "overall"}, ".aim: renamed to 'objective'"),
        ({"weights": "a.json"}, ".weights: renamed to 'importance'"),
        ({"sdist": "both"}, ".sdist: expected 'packed' or 'source', found 'both'"),
        (
            {"sdist": "source", "source": "../a.npz"},
            ".sdist: 'source' needs a source inside the project, found '../a.npz'",
        ),
        ({"source": ""}, ".source: expected the path of a file, found ''"),
        ({"source": 3}, ".source: expected the path of a file, found 3"),
        ({"target": None}, ".target: expected the path of a file, found nothing"),
        ({"target": "../a.vggq"}, ".target: expected a path inside the project, found '../a.vggq'"),
        (
            {"target": "src/../../a.vggq"},
            ".target: expected a path inside the project, found 'src/../../a.vggq'",
        ),
        ({"target": "/a.vggq"}, ".target: expected a path inside the project, found '/a.vggq'"),
        (
            {"target": "src/*.vggq"},
            ".target: expected the path of one file, found the pattern 'src/*.vggq'",
        ),
        (
            {"target": "src/a?.vggq"},
            ".target: expected the path of one file, found the pattern 'src/a?.vggq'",
        ),
        (
            {"target": "C:\\a.vggq"},
            ".target: expected a path inside the project, found 'C:\\\\a.vggq'",
        ),
        (
            {"target": "src/a/__init__.py"},
            ".target: expected a path that ends in .vggq, found 'src/a/__init__.py'",
        ),
        (
            {"source": "src/a/./a.vggq"},
            ".target: 'src/a/a.vggq' is the source itself",
        ),
    ],
)
def test_invalid_key_gives_one_line(change: dict[str, Any], expected: str) -> None:
    assert errors_of({"models": [GOOD | change]}) == [f"{BASE_KEY}.models[0]{expected}"]


@pytest.mark.parametrize(
    ("limit", "size"),
    [
        ("60 MB", 60 * 10**6),
        ("1 GiB", 2**30),
        ("1.5 kB", 1500),
        (123, 123),
        ("123", 123),
        ("7b", 7),
        (False, None),
    ],
)
def test_size_limit_is_parsed_to_bytes(limit: object, size: int | None) -> None:
    assert parse_config({"models": [GOOD], "size-limit": limit}).size_limit == size


@pytest.mark.parametrize("limit", ["", "MB", "-1", "60 XB", "60 MB MB", True, 1.5, [], "1e3"])
def test_invalid_size_limit_is_rejected(limit: object) -> None:
    (error,) = errors_of({"models": [GOOD], "size-limit": limit})
    assert error.startswith(f"{BASE_KEY}.size-limit: expected a size ")
    assert error.endswith(f", found {limit!r}")


def test_size_limit_of_zero_is_rejected() -> None:
    for limit in ("0 MB", 0):
        assert errors_of({"models": [GOOD], "size-limit": limit}) == [
            f"{BASE_KEY}.size-limit: expected a size from 1 byte to 2^53, found {limit!r}"
        ]


def test_sbom_must_be_a_boolean() -> None:
    assert parse_config({"models": [GOOD]}).sbom is True
    assert parse_config({"models": [GOOD], "sbom": False}).sbom is False
    assert errors_of({"models": [GOOD], "sbom": "no"}) == [
        f"{BASE_KEY}.sbom: expected true or false, found 'no'"
    ]


def test_missing_source_and_target_are_named() -> None:
    assert errors_of({"models": [{}]}) == [
        f"{BASE_KEY}.models[0].source: expected the path of a file, found nothing",
        f"{BASE_KEY}.models[0].target: expected the path of a file, found nothing",
    ]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, "nothing"),
        ({"models": []}, "[]"),
        ({"models": GOOD}, repr(GOOD)),
        ({"models": "a"}, "'a'"),
    ],
)
def test_models_must_be_an_array_of_tables(config: dict[str, Any], found: str) -> None:
    assert errors_of(config) == [f"{BASE_KEY}.models: expected an array of tables, found {found}"]


def test_model_must_be_a_table() -> None:
    assert errors_of({"models": [GOOD, 3]}) == [f"{BASE_KEY}.models[1]: expected a table, found 3"]


def test_two_models_with_one_target_are_rejected() -> None:
    again = {"source": "weights/b.npz", "target": "./src/a/a.vggq"}
    assert errors_of({"models": [GOOD, again]}) == [
        f"{BASE_KEY}.models[1].target: './src/a/a.vggq' is also the target of {BASE_KEY}.models[0]"
    ]


def test_equal_targets_are_found_among_eleven_models() -> None:
    tables = [GOOD | {"target": f"src/a/{number}.vggq"} for number in range(10)]
    assert errors_of({"models": [*tables, tables[9]]}) == [
        f"{BASE_KEY}.models[10].target: 'src/a/9.vggq' is also the target of {BASE_KEY}.models[9]"
    ]


def test_all_errors_are_reported_at_once() -> None:
    config = {
        "model": [],
        "models": [GOOD | {"bits": 9, "kep": []}, {"source": "x.npz", "target": "y"}, GOOD],
    }
    assert errors_of(config) == [
        f"{BASE_KEY}.model: unknown key; did you mean 'models'?",
        f"{BASE_KEY}.models[0].kep: unknown key; did you mean 'keep'?",
        f"{BASE_KEY}.models[0].bits: expected an integer from 1 to 8, found 9",
        f"{BASE_KEY}.models[1].target: expected a path that ends in .vggq, found 'y'",
        f"{BASE_KEY}.models[2].target: 'src/a/a.vggq' is also the target of {BASE_KEY}.models[0]",
    ]
