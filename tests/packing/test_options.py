"""The options of packing, and everything that is derived from their definitions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import save_npz
from vggq.errors import (
    MissingDependencyError,
    OptionError,
)
from vggq.packing import (
    MAX_BITS,
    OPTION_NAMES,
    OPTIONALLY_RECORDED,
    OPTIONS,
    Bits,
    Option,
    OptionKeywords,
    Options,
    flat_options,
    given_options,
    pack,
)
from vggq.packing.cli import main
from vggq.packing.goals import MAX_SQNR, OBJECTIVES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    return save_npz(tmp_path / "state.npz", state)


def test_options_report_every_problem_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        Options(bits=9, layout="tf", keep=("",))
    assert [key for key, _ in caught.value.problems] == ["bits", "keep", "layout"]
    assert str(caught.value).startswith("bits: expected an integer from 1 to 8, found 9; keep: ")


def test_options_reject_a_string_as_list_of_patterns(tmp_path: Path, source: Path) -> None:
    with pytest.raises(OptionError, match="keep: expected a list of patterns"):
        pack(source, tmp_path / "s.vggq", keep="*.bias")


RECORDED: list[dict[str, Any]] = [
    {},
    {"bits": 3, "layout": "torch", "key": "model", "drop": ["x"], "rename": [("a", "b")]},
    {"sqnr": 41.5, "dependent": False, "keep": ["a", "b"], "license": "MIT", "description": "d"},
    {"size": "15 MB", "url": "http://a"},
    {"key": ["encoder", "decoder"]},
    {"size": 1000, "objective": "overall", "importance": {"w": 2.5}},
    {"restore": "model", "keep": ["a"]},
    {"restore": "tensors", "drop": ["a"], "dtypes": {"*": "bfloat16"}},
    {"bits": 2, "tensors": [{"match": "a*", "sqnr": 30}, {"match": "b", "bits": 8}]},
    {"bits": 2, "scale": -1, "tensors": [{"match": "a", "scale": "rows"}]},
    {"scale": "columns", "tensors": [{"match": "a", "scale": "none", "bits": 8}]},
]


@pytest.mark.parametrize("keywords", RECORDED, ids=str)
def test_options_round_trip_through_the_record(keywords: Any) -> None:
    options = Options(**keywords)
    record = json.loads(json.dumps(options.to_record()))
    assert Options.from_record(record) == options
    given = given_options(record)
    assert set(given) == set(keywords) | (
        {"bits"} if not {"size", "sqnr"} & set(keywords) else set()
    )


def test_options_reject_unknown_and_renamed_names() -> None:
    unknown: Any = {"zzz": 1, "aim": "overall", "weights": {}}
    with pytest.raises(OptionError) as caught:
        Options(**unknown)
    assert caught.value.problems == [
        ("zzz", "unknown option"),
        ("aim", "renamed to 'objective'"),
        ("weights", "renamed to 'importance'"),
    ]


def test_license_without_packaging_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "packaging.licenses", None)
    assert Options(description="no license").provenance["license"] is None
    with pytest.raises(MissingDependencyError) as caught:
        Options(license="MIT")
    assert str(caught.value) == (
        "packaging.licenses is not installed: pip install 'hatch-vggq[build]'"
    )


def test_keyword_arguments_are_the_options() -> None:
    assert set(OptionKeywords.__annotations__) == set(OPTION_NAMES)


def test_record_has_every_option() -> None:
    evaluation = {"metric": "accuracy", "original": 1, "packed": 0.5, "sha256": "0" * 64}
    given = {"dtypes": {"*": "bfloat16"}, "include": ["*.json"], "exclude": ["onnx/*"]}
    options = Options(size=1000, restore="tensors", scale=1, evaluation=evaluation, **given)  # type: ignore[arg-type]
    flat = set(flat_options(options.to_record())) | {"bits", "sqnr"}
    assert flat == set(OPTION_NAMES)
    assert set(OPTION_NAMES) - set(flat_options(Options(size=1000).to_record())) == {
        "bits",
        "sqnr",
        *OPTIONALLY_RECORDED,
    }


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_rejects_an_object_by_name(option: Option) -> None:
    keywords: Any = {option.name: object()}
    with pytest.raises(OptionError) as caught:
        Options(**keywords)
    ((name, problem),) = caught.value.problems
    assert name == option.name
    assert problem.startswith("expected ")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_accepts_its_default(option: Option) -> None:
    keywords: Any = {option.name: option.default}
    assert Options(**keywords) == Options()


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.argument], ids=lambda o: o.name)
def test_command_line_has_every_option(option: Option, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pack", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"--{option.name}" in text
    assert option.help in text


def reference_rows() -> dict[str, str]:
    """Return the rows of the table of a model's keys on the reference page, by key."""
    page = (ROOT / "docs" / "hook.md").read_text(encoding="utf-8")
    table = page[page.index("| key of a model |") :].partition("\n\n")[0]
    rows = [line.split("|", 2) for line in table.splitlines()[2:]]
    return {key.strip().strip("`"): text for _, key, text in rows}


def test_reference_page_lists_the_options() -> None:
    assert set(reference_rows()) == {"source", "target", "sdist", *OPTION_NAMES}


def test_reference_page_states_limits_choices_and_defaults() -> None:
    rows = reference_rows()
    assert f"1 to {MAX_BITS}, {Bits().bits} by default" in rows["bits"]
    assert f"up to {MAX_SQNR}" in rows["sqnr"]
    assert f'`"{OBJECTIVES[0]}"` (the default)' in rows["objective"]
    for option in OPTIONS:
        assert all(f'"{choice}"' in rows[option.name] for choice in option.choices)


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"objective": "overall"}, ("objective", "only valid with size")),
        (
            {"restore": "model", "key": "ema"},
            (
                "key",
                "does not apply with restore = 'model': the whole file is restored",
            ),
        ),
        ({"sqnr": 20, "objective": "overall"}, ("objective", "only valid with size")),
        ({"importance": {"w": 2}}, ("importance", "only valid with size")),
        (
            {"bits": 3, "size": "1 MB"},
            ("size", "expected one of bits, sqnr, size, found bits and size"),
        ),
    ],
)
def test_options_reject_conflicts(keywords: Any, problem: tuple[str, str]) -> None:
    with pytest.raises(OptionError) as caught:
        Options(**keywords)
    assert caught.value.problems == [problem]


def test_options_report_all_that_conflict_with_restore() -> None:
    with pytest.raises(OptionError) as caught:
        Options(
            restore="model",
            layout="torch",
            key="ema",
            drop=["a"],
            rename={"a": "b"},
            dtypes={"a": "bfloat16"},
        )
    assert {name for name, _ in caught.value.problems} == {
        "layout",
        "key",
        "drop",
        "rename",
        "dtypes",
    }
