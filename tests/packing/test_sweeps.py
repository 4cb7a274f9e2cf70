"""The same source, packed in several ways."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers import save_npz
from vggq.errors import OptionError
from vggq.packing import Options, pack, simulate, sweep
from vggq.packing.sweeps import find_evaluation, original

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


@pytest.fixture
def source(tmp_path: Path, state: State) -> Path:
    return save_npz(tmp_path / "state.npz", state)


def test_every_way_is_what_packing_gives(tmp_path: Path, source: Path) -> None:
    ways = [Options(2, keep=("half.*",)), Options(5, drop=("mask",))]
    for variant, options in zip(sweep(source, ways), ways, strict=True):
        packed = pack(source, tmp_path / "one.vggq", **options.to_table())
        assert variant.options == options
        assert (variant.manifest, variant.size) == (packed.manifest, packed.size)
        assert variant.ratio == packed.ratio
        assert variant.bits_per_weight == pytest.approx(
            8 * packed.size / (packed.manifest.float32_size / 4)
        )
        assert min(variant.pack_seconds, variant.restore_seconds) > 0


def test_nothing_is_left_behind(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(list(sweep(source, [Options(1), Options(2)]))) == 2
    assert list(tmp_path.iterdir()) == [source]


def test_the_judgement_is_of_what_is_restored(source: Path, state: State) -> None:
    judged: list[State] = []

    def evaluate(given: State) -> dict[str, float]:
        judged.append(given)
        return {"tensors": len(judged)}

    found = list(sweep(source, [Options(1), Options(3)], evaluate=evaluate))
    assert [variant.scores for variant in found] == [{"tensors": 1}, {"tensors": 2}]
    for given, bits in zip(judged, (1, 3), strict=True):
        for name, array in simulate(state, bits=bits).items():
            np.testing.assert_array_equal(given[name], array)


def test_the_original_is_as_it_would_be_restored(source: Path, state: State) -> None:
    found = original(source, Options(drop=("mask",), rename=(("^conv", "c"),)))
    assert list(found) == ["c.bias", "c.weight", "half.weight", "steps"]
    assert found["half.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["half.weight"], state["half.weight"])


def test_progress_is_of_all_ways(source: Path, state: State) -> None:
    calls: list[tuple[int, int]] = []
    ways = [Options(1), Options(2), Options(3)]
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
        "def several(state): return {'a': 1, 'b': numpy.nan}\n"
        "def text(state): return 'good'\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "judge_of_sweep", raising=False)
    return "judge_of_sweep"


def test_a_lone_number_gets_the_functions_name(module: str) -> None:
    assert find_evaluation(f"{module}:lone")({"w": 1}) == {"lone": 1.0}
    several = find_evaluation(f"{module}:several")({})
    assert several.pop("a") == 1.0  # type: ignore[attr-defined]
    assert list(several) == ["b"]


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("judge", "expected module:function, found 'judge'"),
        (":f", "expected module:function, found ':f'"),
        ("gone:f", "'gone:f' cannot be imported: No module named 'gone'"),
        ("{m}:f", "'{m}:f' cannot be imported: module '{m}' has no attribute 'f'"),
        ("{m}:number", "'{m}:number' is not callable"),
        ("{m}:text", "text gave 'good', expected a number or a dict of numbers"),
    ],
)
def test_no_such_judgement(module: str, place: str, problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        find_evaluation(place.format(m=module))({})
    assert caught.value.problems == [("eval", problem.format(m=module))]
