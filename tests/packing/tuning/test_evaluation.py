"""The function of the user, and the metrics of what it returns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.packing.tuning import toy
from vggq.errors import OptionError
from vggq.packing.tuning.evaluation import Judge
from vggq.packing.user_function import Function, import_function
from vggq.packing.user_result import describe_error, show_result

TOY = "tests.packing.tuning.toy"


def _judge(first: Any, then: Any = None) -> Judge:
    results = iter([first, then])
    judge = Judge(Function("m:score", lambda _: next(results)))
    judge.measure_original({})
    return judge


def test_function_is_imported() -> None:
    found = import_function(f"{TOY}:outputs")
    assert found.name == "outputs"
    assert found.file is not None
    assert found.file.name == "toy.py"


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("nothing", "expected MODULE:FUNCTION, found 'nothing'"),
        (
            "no_such_module:f",
            "cannot be imported: ModuleNotFoundError: .*; it is searched .*sys.path",
        ),
        (f"{TOY}.x:f", "cannot be imported: ModuleNotFoundError: .*; it is searched .*sys.path"),
        (f"{TOY}:missing", "cannot be imported: AttributeError"),
        (f"{TOY}:acuracy", "cannot be imported: AttributeError: .*; did you mean 'accuracy'?"),
        ("judge.py:f", r"found 'judge.py:f'; did you mean 'judge:f'\?"),
        ("./judge.py:f", r"did you mean 'judge:f'\?"),
        ("sub/judge:f", r"did you mean 'sub.judge:f'\?"),
        ("sub\\judge.py:f", r"did you mean 'sub.judge:f'\?"),
        ("../judge.py:f", "a module is named without its folder and .py, and is searched"),
        ("C:\\a\\judge.py:f", "a module is named without its folder and .py, and is searched"),
        (f"{TOY}:CALLS", "is not callable"),
    ],
)
def test_function_that_cannot_be_imported_is_one_line(place: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem) as caught:
        import_function(place)
    assert "\n" not in str(caught.value)


def test_module_that_fails_is_one_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_evaluation.py").write_text("raise SystemExit('two\\nlines')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(OptionError, match="SystemExit: two lines"):
        import_function("failing_evaluation:f")


def test_library_that_the_module_lacks_is_named_with_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking_evaluation.py").write_text("\nimport no_such_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(OptionError) as caught:
        import_function("lacking_evaluation:f")
    expected = (
        "'lacking_evaluation:f' cannot be imported: ModuleNotFoundError: No module named "
        "'no_such_library' (lacking_evaluation.py:2); install it in the environment of vggq"
    )
    assert caught.value.problems == [("eval", expected)]


def test_current_folder_is_named_only_if_it_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [path for path in sys.path if path]
    for path, expected in (
        (others, "; it is searched on sys.path"),
        (["", *others], "; it is searched in the current folder and on sys.path"),
    ):
        monkeypatch.setattr(sys, "path", path)
        with pytest.raises(OptionError) as caught:
            import_function("no_such_module:f")
        assert str(caught.value).endswith(expected)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.array(0.5), np.int64(3)])
def test_number_is_a_metric_with_the_name_of_the_function(value: Any) -> None:
    judge = _judge(value, value)
    assert judge.original == {"score": float(value)}
    assert judge.measure({}) == judge.original
    assert not judge.gives_arrays


def test_numbers_are_metrics_by_name() -> None:
    assert _judge({"a": 1, "b": 2.5}).original == {"a": 1.0, "b": 2.5}


def test_equal_arrays_have_no_error() -> None:
    judge = _judge([np.ones((2, 3)), np.zeros(4)], [np.ones((2, 3)), np.zeros(4)])
    assert judge.gives_arrays
    assert judge.measure({}) == {"error": 0.0, "cosine": 1.0}


def test_error_is_relative_and_cosine_is_of_the_worst_row() -> None:
    judge = _judge(np.array([[3.0, 4.0], [0.0, 5.0]]), np.array([[3.0, 4.0], [5.0, 0.0]]))
    found = judge.measure({})
    assert found["error"] == pytest.approx(1.0)
    assert found["cosine"] == pytest.approx(0.0)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e6, 1e6)),
    st.floats(0.1, 10),
)
def test_cosine_ignores_a_factor_and_error_does_not(array: Any, factor: float) -> None:
    judge = _judge(array, array * factor)
    found = judge.measure({})
    norm = np.sqrt(np.square(array).sum())
    if norm > 1e-100:
        assert found["error"] == pytest.approx(abs(factor - 1), abs=1e-6)
        assert -1 <= found["cosine"] <= 1


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ("good", "returned 'good', expected a number, a dict of numbers, or arrays"),
        (None, "returned None, expected a number"),
        ({}, "returned"),
        ([], "returned nothing to compare"),
        (float("nan"), "returned nan for the metric 'score' with the original weights"),
        ({"a": float("inf")}, "returned inf for the metric 'a'"),
        (
            np.array([1.0, np.nan]),
            "returned an array with NaN or infinity with the original weights",
        ),
        (np.zeros((0, 9)), r"nothing to compare with the original .*\(0, 9\) .* is empty"),
        ([np.ones(2), np.zeros((3, 0))], "nothing to compare for '1' with the original weights"),
        (np.zeros(3, complex), r"shape \(3,\) and dtype complex128, expected .* of real numbers"),
        ({"a": "text"}, "returned 'text'"),
        (np.array(["text"]), "expected a number"),
        (np.str_("0.5"), "returned np.str_|returned '0.5'"),
        (np.complex128(1j), "expected a number"),
        (10**400, "expected a number, a dict of numbers, or arrays: OverflowError"),
        (np.broadcast_to(np.zeros(1), 1 << 45), "expected a number, .*: .*MemoryError"),
        (toy.Unprintable(), "returned a Unprintable, expected a number"),
        ({"a": np.zeros((9, 9)), "b": "text"}, "expected a number"),
        ([{"a": np.eye(9)}], "expected a number"),
        (np.array("text"), r"returned an array of shape \(\) and dtype <U4 \(text\), expected"),
        ({"a": np.str_("text")}, "returned"),
        (np.full((3, 3), 1j), "expected a number"),
    ],
)
def test_other_results_are_one_line(result: Any, problem: str) -> None:
    with pytest.raises(OptionError, match=problem) as caught:
        _judge(result)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "then", "problem"),
    [
        (
            np.zeros((2, 3)),
            np.zeros((3, 2)),
            r"an array of shape \(3, 2\) with restored weights, but of shape \(2, 3\) with the",
        ),
        (
            {"a": np.ones(2), "b": np.ones(3)},
            {"a": np.ones(2), "b": np.ones(4)},
            r"an array of shape \(4,\) for 'b' with restored weights",
        ),
        ([np.zeros(2)], [np.zeros(2), np.zeros(2)], "than with the original weights: new '1'"),
        ({"a": 1}, {"b": 1}, "returned other metrics with restored .*: missing 'a', new 'b'"),
        (
            {"a": np.ones(2), "b": np.ones(2)},
            {"b": np.ones(2), "c": np.ones(2)},
            "returned other arrays with restored .*: missing 'a', new 'c'",
        ),
        (
            {str(number): np.ones(2) for number in range(9)},
            {"0": np.ones(2)},
            "missing '1', '2', '3' and 5 more",
        ),
        (1.0, "text", "returned 'text' with restored weights, but numbers with the original"),
        (
            1.0,
            np.ones((9, 2)),
            r"an array of shape \(9, 2\) and dtype float64 with restored weights, but numbers with",
        ),
        (np.ones(2), 3.5, "returned 3.5 with restored weights, but arrays with the original"),
        (np.ones(2), {"a": 3.5}, "returned a dict with 'a': 3.5 with restored weights, but arrays"),
        (1.0, float("nan"), "returned nan for the metric 'score' with restored weights"),
        (np.ones(2), np.array([1, np.inf]), "NaN or infinity with restored weights"),
        (np.ones(2), np.array([1, 1e300]), "too large to compare"),
        (np.zeros(2), np.array([1, 1e300]), "too large to compare"),
    ],
)
def test_results_that_differ_from_the_original_are_rejected(
    first: Any, then: Any, problem: str
) -> None:
    judge = _judge(first, then)
    with pytest.raises(OptionError, match=problem):
        judge.measure({})


@pytest.mark.torch
def test_bfloat16_tensors_are_compared() -> None:
    import torch  # noqa: PLC0415

    judge = _judge(torch.ones(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16))
    assert judge.measure({}) == {"error": 0.0, "cosine": 1.0}


@pytest.mark.torch
@pytest.mark.parametrize(("shape", "error"), [((), "RuntimeError"), ((3,), "NotImplementedError")])
def test_tensors_without_data_are_one_line(shape: tuple[int, ...], error: str) -> None:
    import torch  # noqa: PLC0415

    with pytest.raises(OptionError, match=f"expected a number, .*: {error}") as caught:
        _judge(torch.zeros(shape, device="meta"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_huge_and_tiny_arrays_are_compared(factor: float) -> None:
    found = _judge(np.array([3.0, 4.0]) * factor, np.array([3.0, 3.0]) * factor).measure({})
    assert found["error"] == pytest.approx(0.2)
    assert found["cosine"] == pytest.approx(0.98994949)


def test_names_of_metrics_are_printable() -> None:
    assert _judge({"a\nb\x1b": 1.0}).original == {"a\\nb\\x1b": 1.0}


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), pytest.fail.Exception("no")])
def test_function_that_exits_is_an_error(error: BaseException) -> None:
    def leave(_: object) -> None:
        raise error

    with pytest.raises(OptionError, match="'m:f' failed with the original weights"):
        Judge(Function("m:f", leave)).measure_original({})


def test_failure_has_the_last_line_of_the_user() -> None:
    function = import_function(f"{TOY}:fails_with_zeros")
    with pytest.raises(OptionError) as caught:
        Judge(function).measure_original({"second.weight": np.zeros(3)})
    lines = Path(toy.__file__).read_text(encoding="utf-8").splitlines()
    number = lines.index("    return 1 / sign(state)") + 1
    assert str(caught.value).endswith(f"division by zero (toy.py:{number})")


@pytest.mark.parametrize(
    ("call", "argument", "problem"),
    [
        (lambda path: path["w"], Path("m.onnx"), "gets the path of the restored model, because"),
        (lambda path: path.items(), Path("m.onnx"), 'packed as a model (restore = "model"); for'),
        (
            open,
            {"w": np.ones(9)},
            "gets a dict of arrays, because this source is packed as tensors",
        ),
        (
            lambda state: Path(str(state) * 99).read_text(encoding="utf-8"),
            {"w": np.ones(999)},
            "gets a dict of arrays",
        ),
    ],
)
def test_function_for_the_other_kind_of_source_is_told_what_it_gets(
    call: Any, argument: Any, problem: str
) -> None:
    with pytest.raises(OptionError) as caught:
        Judge(Function("m:f", call)).measure_original(argument)
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "1., 1." not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "argument"),
    [(lambda state: state["w"], {}), (lambda path: path.read_bytes(), Path("no such file"))],
)
def test_other_failures_have_no_hint_about_the_argument(call: Any, argument: Any) -> None:
    with pytest.raises(OptionError) as caught:
        Judge(Function("m:f", call)).measure_original(argument)
    assert "the function gets" not in str(caught.value)


def test_results_are_shown_without_the_values_of_arrays() -> None:
    array = np.full((899, 10), 4.43, np.float32)
    assert show_result(array) == "an array of shape (899, 10) and dtype float32"
    assert show_result({"a": [array, array], "b": {}}) == (
        "a dict with 'a': a list of an array of shape (899, 10) and dtype float32; "
        "an array of shape (899, 10) and dtype float32; 'b': an empty dict"
    )
    assert show_result([0.5] * 9) == "a list of 0.5; 0.5; 0.5; … (9 items)"
    assert show_result([[[array]]]) == "a list of a list of a list of 1 items"
    error = describe_error(ValueError(f"bad value: {array!r}"))
    assert error == "ValueError: bad value: array(…"


def test_interrupt_of_the_function_stays_one() -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Judge(Function("m:f", interrupt)).measure_original({})


def test_current_folder_is_the_same_after_a_call(tmp_path: Path) -> None:
    before = Path.cwd()
    Function("m:f", lambda _: os.chdir(tmp_path)).run({}, "the weights")
    assert Path.cwd() == before


def test_function_that_raises_is_one_line() -> None:
    judge = Judge(import_function(f"{TOY}:raises"))
    with pytest.raises(OptionError, match="ValueError: no images for 0 tensors") as caught:
        judge.measure_original({})
    assert "\n" not in str(caught.value)


def test_bfloat16_outputs_of_torch_are_arrays() -> None:
    torch = pytest.importorskip("torch")
    outputs = torch.tensor([[1.0, -2.5]], dtype=torch.bfloat16)
    judge = _judge(outputs, outputs)
    assert judge.gives_arrays
    assert judge.measure({}) == {"error": 0.0, "cosine": 1.0}


def test_seed_is_set_for_a_function_that_imports_torch_itself() -> None:
    pytest.importorskip("torch")
    code = (
        "from vggq.packing.tuning.evaluation import Judge\n"
        "from vggq.packing.user_function import Function\n"
        "def f(_):\n"
        "    import torch\n"
        "    return float(torch.rand(()))\n"
        "judge = Judge(Function('m:f', f), seed=3)\n"
        "assert judge.measure_original({}) == judge.measure({})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_seed_makes_random_evaluations_repeatable() -> None:
    judge = Judge(Function("m:f", lambda _: float(np.random.random())), seed=3)  # noqa: NPY002
    assert judge.measure_original({}) == judge.measure({})
