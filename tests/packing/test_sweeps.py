"""Packing one source with several options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers import save_npz
from vggq.errors import OptionError
from vggq.packing import Options, pack_with, simulate, sweep
from vggq.packing.sweeps import import_evaluation, original_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    return save_npz(tmp_path / "state.npz", state)


def test_sweep_gives_the_results_of_pack(tmp_path: Path, source: Path) -> None:
    ways = [Options(bits=2, keep=("half.*",)), Options(bits=5, drop=("mask",))]
    for variant, options in zip(sweep(source, ways), ways, strict=True):
        packed = pack_with(source, tmp_path / "one.vggq", options)
        assert variant.options == options
        assert (variant.manifest, variant.size) == (packed.manifest, packed.size)
        assert variant.ratio == packed.ratio
        assert variant.bits_per_weight == pytest.approx(
            8 * packed.size / (packed.manifest.float32_size / 4)
        )
        assert min(variant.pack_seconds, variant.restore_seconds) > 0


def test_sweep_leaves_no_files(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(list(sweep(source, [Options(bits=1), Options(bits=2)]))) == 2
    assert list(tmp_path.iterdir()) == [source]


def test_sweep_evaluates_the_restored_state_dicts(source: Path, state: State) -> None:
    judged: list[State] = []

    def evaluate(given: State) -> dict[str, float]:
        judged.append(given)
        return {"tensors": len(judged)}

    found = list(sweep(source, [Options(bits=1), Options(bits=3)], evaluate=evaluate))
    assert [variant.scores for variant in found] == [{"tensors": 1}, {"tensors": 2}]
    for given, bits in zip(judged, (1, 3), strict=True):
        for name, array in simulate(state, bits=bits).items():
            np.testing.assert_array_equal(given[name], array)


def test_original_state_has_the_restored_dtypes(source: Path, state: State) -> None:
    found = original_state(source, Options(drop=("mask",), rename=(("^conv", "c"),)))
    assert list(found) == ["c.bias", "c.weight", "half.weight", "steps"]
    assert found["half.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["half.weight"], state["half.weight"])


def test_sweep_reports_progress_over_all_variants(source: Path, state: State) -> None:
    calls: list[tuple[int, int]] = []
    ways = [Options(bits=1), Options(bits=2), Options(bits=3)]
    list(sweep(source, ways, progress=lambda done, total: calls.append((done, total))))
    total = 3 * sum(array.size for array in state.values())
    assert calls == sorted(calls)
    assert calls[-1] == (total, total)
    assert {whole for _, whole in calls} == {total}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    Path(tmp_path, "judge_of_sweep.py").write_text(
        "import numpy\n"
        "def lone(state): return numpy.float32(len(state))\n"
        "def several(state): return {'a': 1, 'b': numpy.inf}\n"
        "def text(state): return 'good'\n"
        "def leaves(state): raise SystemExit(0)\n"
        "def fails(state): raise ValueError('two\\nlines')\n"
        "def array(state): return numpy.zeros((30, 30))\n"
        "def later(state): return state\n"
        "number = 3\n"
    )
    # Without the current folder, which a command puts there.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *filter(None, sys.path)])
    monkeypatch.delitem(sys.modules, "judge_of_sweep", raising=False)
    return "judge_of_sweep"


def test_import_evaluation_names_a_single_score_after_the_function(module: str) -> None:
    assert import_evaluation(f"{module}:lone")({"w": 1}) == {"lone": 1.0}
    several = import_evaluation(f"{module}:several")({})
    assert several.pop("a") == 1.0  # type: ignore[attr-defined]
    assert list(several) == ["b"]


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("judge", "expected MODULE:FUNCTION, found 'judge'"),
        (":f", "expected MODULE:FUNCTION, found ':f'"),
        (
            "gone:f",
            (
                "'gone:f' cannot be imported: ModuleNotFoundError: No module named 'gone'; "
                "it is searched on sys.path"
            ),
        ),
        ("{m}:f", "'{m}:f' cannot be imported: AttributeError: module '{m}' has no attribute 'f'"),
        ("{m}:number", "'{m}:number' is not callable"),
        ("{m}:text", "text returned 'good', expected a number or a dict of numbers"),
        ("{m}:leaves", "'{m}:leaves' failed with the original weights: SystemExit: 0 ({m}.py:5)"),
        (
            "{m}:fails",
            "'{m}:fails' failed with the original weights: ValueError: two lines ({m}.py:6)",
        ),
    ],
)
def test_import_evaluation_rejects_unsuitable_functions(
    module: str, place: str, problem: str
) -> None:
    with pytest.raises(OptionError) as caught:
        import_evaluation(place.format(m=module))({})
    assert caught.value.problems == [("eval", problem.format(m=module))]


def test_evaluation_that_returns_an_array_is_told_what_takes_arrays(module: str) -> None:
    with pytest.raises(OptionError) as caught:
        import_evaluation(f"{module}:array")({})
    expected = (
        "array returned an array of shape (30, 30) and dtype float64, expected a number or a dict "
        "of numbers; for arrays use --each or `vggq tune`"
    )
    assert caught.value.problems == [("eval", expected)]


@pytest.mark.parametrize(
    ("first", "then", "problem"),
    [
        (1.0, float("nan"), "returned nan for the metric 'later' with restored weights"),
        ({"a": 1}, {"a": np.nan}, "returned nan for the metric 'a' with restored weights"),
        ({"a": np.nan}, None, "returned nan for the metric 'a' with the original weights"),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, "other scores .*: missing 'b', new 'c'"),
        ({"a": 1}, {"a": 1, "c": 2}, "other scores with restored weights .*: new 'c'"),
        (1.0, np.zeros(3), r"returned an array of shape \(3,\) .* use --each or `vggq tune`"),
        ({}, None, "returned an empty dict, expected a number or a dict of numbers"),
    ],
)
def test_evaluation_rejects_nan_and_scores_that_change(
    module: str, first: Any, then: Any, problem: str
) -> None:
    evaluate = import_evaluation(f"{module}:later")
    with pytest.raises(OptionError, match=problem):
        list(map(evaluate, (first, then)))
