"""Whole runs of `vggq tune` on a small model."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import vggq
from tests.onnx_models import save_model
from tests.packing.tuning import toy
from vggq.errors import OptionError, SourceError, TargetError
from vggq.packing import Options, Size, pack, pack_with, recorded_evaluation
from vggq.packing.tuning import (
    TuneGoal,
    TuneSettings,
    measure_sensitivity,
    option_lines,
    parse_goal,
    render_table,
    tune,
    write_result,
)
from vggq.packing.tuning.candidates import find_factors
from vggq.packing.tuning.evaluation import Judge
from vggq.packing.user_function import import_function

if TYPE_CHECKING:
    from pathlib import Path

    from vggq.packing.tuning import Tuned

TOY = "tests.packing.tuning.toy"
OPTIONS = Options(dependent=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return toy.write_source(tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> TuneSettings:
    toy.CALLS.clear()
    return TuneSettings(f"{TOY}:count_calls", trials=12, cache=tmp_path / "cache")


def _summarize(tuned: Tuned) -> Any:
    return (tuned.options.to_record(), tuned.best, tuned.finalists, tuned.history)


def _measure(path: Path) -> dict[str, float]:
    judge = Judge(import_function(f"{TOY}:outputs"))
    judge.measure_original(toy.make_state())
    return dict(judge.measure(vggq.load(path)))


def test_size_gives_a_file_within_it_that_is_not_worse_than_the_objectives(
    source: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    size = 9000
    tuned = tune(source, settings, TuneGoal("size", size), OPTIONS)
    packed = write_result(source, tuned, tmp_path / "out")
    assert packed.size == tuned.best.trial.size <= size
    found = _measure(packed.target)
    assert found == dict(tuned.best.trial.metrics)
    # Both objectives were packed for the same size, with a record of the evaluation like its own.
    untuned = {f.label: f for f in tuned.finalists if f.plan is None}
    for objective in ("relative", "overall"):
        options = untuned[objective].options
        assert options.goal == Size(size, objective)
        target = tmp_path / f"{objective}.vggq"
        pack_with(source, target, options)
        assert _measure(target) == dict(untuned[objective].trial.metrics)
        assert found["error"] <= _measure(target)["error"]


def test_size_has_room_for_a_metric_with_a_long_name(
    source: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    name = "negative_mean_absolute_error_of_the_outputs_for_fixed_inputs"
    settings = replace(settings, evaluation=f"{TOY}:{name}", trials=4)
    tuned = tune(source, settings, TuneGoal("size", 9005), OPTIONS)
    assert tuned.best.trial.size <= 9005
    # A record that was measured on other tensors would be a remark.
    assert write_result(source, tuned, tmp_path / "out").remarks == ()


def test_codebooks_that_just_fit_are_a_candidate(source: Path, settings: TuneSettings) -> None:
    size = pack(source, source.parent / "codebooks.vggq", bits=4, dependent=False).size
    tuned = tune(source, replace(settings, trials=0), TuneGoal("size", size), OPTIONS)
    (codebooks,) = [f for f in tuned.finalists if f.label == "codebooks, 4 bits"]
    assert codebooks.trial.size == size
    assert codebooks.options.evaluation is None
    assert all(f.trial.size <= size for f in tuned.finalists)


@pytest.mark.parametrize("share", [0.9, 1.1, 3, 30, 1000, "10 GB"])
def test_size_about_that_of_the_source_gives_the_file_of_pack(
    source: Path, settings: TuneSettings, tmp_path: Path, share: float | str
) -> None:
    size = share if isinstance(share, str) else int(share * source.stat().st_size)
    tuned = tune(source, replace(settings, trials=0), parse_goal(size=size), OPTIONS)
    found = vggq.load(write_result(source, tuned, tmp_path / "out").target)
    packed = vggq.load(pack(source, tmp_path / "packed.vggq", size=size, dependent=False).target)
    if share == 0.9:
        assert 0 < tuned.best.trial.metrics["error"] < 1e-5
        return
    state = toy.make_state()
    assert state.keys() == found.keys() == packed.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)
        np.testing.assert_array_equal(packed[name], array)
    # Nothing is left to search: only `relative` and `overall` were packed.
    assert tuned.history == ()
    assert len(tuned.finalists) == 2


@pytest.mark.parametrize("offset", [200, 1000])
def test_size_with_few_quantized_weights_beside_large_exact_tensors(
    settings: TuneSettings, tmp_path: Path, offset: int
) -> None:
    rng = np.random.default_rng(2)
    state: dict[str, Any] = {"weight": rng.standard_normal((32, 40)).astype(np.float32)}
    state["ids"] = rng.integers(0, 1 << 31, 50_000, dtype=np.int32)
    source = tmp_path / "ids.npz"
    np.savez(source, **state)
    settings = replace(settings, evaluation=f"{TOY}:weight_times_two", trials=4)
    with pytest.raises(OptionError, match=r"too small: the minimum is size = \d+"):
        tune(source, settings, parse_goal(size=1000), OPTIONS)
    with pytest.raises(OptionError) as caught:
        tune(source, settings, parse_goal(size=100_000), OPTIONS)
    minimum = int(str(caught.value).split("size = ")[1].split(",")[0])
    tuned = tune(source, settings, parse_goal(size=minimum + offset), OPTIONS)
    assert tuned.best.trial.size <= minimum + offset


def test_bound_gives_the_smallest_file_that_meets_it(
    source: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    tuned = tune(source, settings, parse_goal(at_least=0.999), OPTIONS)
    packed = write_result(source, tuned, tmp_path / "out")
    found = _measure(packed.target)["cosine"]
    assert found == tuned.best.trial.metrics["cosine"] >= 0.999
    stricter = tune(source, settings, parse_goal(at_least=0.99999), OPTIONS)
    assert stricter.best.trial.size > packed.size


def test_accuracy_of_a_number_is_within_a_share(source: Path, settings: TuneSettings) -> None:
    settings = replace(settings, evaluation=f"{TOY}:accuracy")
    tuned = tune(source, settings, parse_goal(within="10%"), OPTIONS)
    assert tuned.best.trial.metrics["accuracy"] >= 0.9
    exact = tune(source, settings, parse_goal(within="0%"), OPTIONS)
    assert exact.best.trial.metrics["accuracy"] == 1.0
    assert exact.best.trial.size > tuned.best.trial.size


def test_metric_of_several_is_picked_by_name(source: Path, settings: TuneSettings) -> None:
    settings = replace(settings, evaluation=f"{TOY}:losses", metric="mean")
    tuned = tune(source, settings, parse_goal(at_most=1.1), OPTIONS)
    assert tuned.best.trial.metrics["mean"] <= 1.1
    with pytest.raises(OptionError, match="metric: the function returns several; name one of mean"):
        tune(source, replace(settings, metric=None), parse_goal(at_most=1.1), OPTIONS)
    with pytest.raises(OptionError, match="no metric 'x'; found mean, other"):
        tune(source, replace(settings, metric="x"), parse_goal(at_most=1.1), OPTIONS)


def test_goal_that_cannot_be_met_says_what_was_reached(
    source: Path, settings: TuneSettings
) -> None:
    settings = replace(settings, evaluation=f"{TOY}:accuracy")
    with pytest.raises(OptionError, match=r"have accuracy 1, the best .* at least 2 cannot be met"):
        tune(source, settings, parse_goal(at_least=2.0), OPTIONS)
    with pytest.raises(OptionError, match=r"too small: the minimum is size = \d+"):
        tune(source, settings, parse_goal(size=100), OPTIONS)


def test_goal_against_the_direction_of_the_metric_is_rejected(
    source: Path, settings: TuneSettings
) -> None:
    settings = replace(settings, metric="error")
    with pytest.raises(OptionError, match="better if it is lower; use --at-most"):
        tune(source, settings, parse_goal(at_least=0.5), OPTIONS)
    settings = replace(settings, metric="cosine")
    with pytest.raises(OptionError, match="better if it is higher; use --at-least"):
        tune(source, settings, parse_goal(at_most=0.5), OPTIONS)


def test_same_seed_gives_the_same_result(source: Path, settings: TuneSettings) -> None:
    runs = [
        tune(source, replace(settings, cache=source.parent / name), TuneGoal("size", 9000), OPTIONS)
        for name in ("one", "two")
    ]
    assert _summarize(runs[0]) == _summarize(runs[1])
    assert runs[0].evaluations == runs[1].evaluations > 0


def test_run_that_was_interrupted_goes_on_and_gives_the_same(
    source: Path, settings: TuneSettings
) -> None:
    goal = TuneGoal("size", 9000)
    whole = tune(source, replace(settings, cache=source.parent / "whole"), goal, OPTIONS)
    interrupted = replace(settings, evaluation=f"{TOY}:interrupted")
    toy.CALLS.clear()
    with pytest.raises(KeyboardInterrupt):
        tune(source, interrupted, goal, OPTIONS)
    calls = len(toy.CALLS)
    resumed = tune(source, interrupted, goal, OPTIONS)
    assert _summarize(resumed) == _summarize(whole)
    # The call that was interrupted is repeated, and so are those with the original.
    assert resumed.evaluations == whole.evaluations - (calls - 3)


def test_finished_run_evaluates_only_the_original_again(
    source: Path, settings: TuneSettings
) -> None:
    first = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    toy.CALLS.clear()
    again = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    assert (again.evaluations, len(toy.CALLS)) == (0, 2)
    assert _summarize(again) == _summarize(first)


def test_lines_of_the_cache_with_foreign_keys_are_ignored(
    source: Path, settings: TuneSettings
) -> None:
    first = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    assert settings.cache is not None
    (path,) = settings.cache.iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[::2]:
        line["result"]["foreign"] = 1
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    again = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    assert again.evaluations == len(lines[::2]) > 1
    assert _summarize(again) == _summarize(first)


def test_other_weights_have_other_results(source: Path, settings: TuneSettings) -> None:
    goal = parse_goal(within=0)
    measure_sensitivity(source, settings, goal, OPTIONS)
    calls = len(toy.CALLS)
    state = toy.make_state()
    state["second.weight"] *= 2
    save_file(state, source)
    measure_sensitivity(source, settings, goal, OPTIONS)
    assert len(toy.CALLS) == 2 * calls


def test_other_data_of_the_function_have_other_results(
    source: Path, settings: TuneSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy, "SCALES", [tmp_path / "scales.npy"])
    settings = replace(settings, evaluation=f"{TOY}:outputs_for_file")
    scales = np.ones(32)
    counts = []
    for changed in (1.0, 1.0, 1.5):
        scales[3] = changed
        np.save(tmp_path / "scales.npy", scales)
        toy.CALLS.clear()
        measure_sensitivity(source, settings, parse_goal(within=0), OPTIONS)
        counts.append(len(toy.CALLS))
    assert counts[0] == counts[2] > 2
    assert counts[1] == 2


def test_time_limit_ends_the_search_with_a_result(source: Path, settings: TuneSettings) -> None:
    limited = replace(settings, trials=1000, time_limit=1e-9)
    tuned = tune(source, limited, TuneGoal("size", 9000), OPTIONS)
    assert tuned.best.trial.size <= 9000
    assert len(tuned.history) < 20


def test_time_limit_ends_the_search_for_a_bound(source: Path, settings: TuneSettings) -> None:
    settings = replace(settings, evaluation=f"{TOY}:accuracy", cache=source.parent / "limited")
    goal = parse_goal(within="10%")
    tuned = tune(source, replace(settings, time_limit=1e-9), goal, OPTIONS)
    assert tuned.best.trial.metrics["accuracy"] >= 0.9
    assert len({label for label, *_ in tuned.history}) == 1
    whole = tune(source, settings, goal, OPTIONS)
    assert len({label for label, *_ in whole.history}) > 1
    assert whole.best.trial.size <= tuned.best.trial.size


def test_folder_that_cannot_be_created_is_an_error(source: Path, settings: TuneSettings) -> None:
    tuned = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    with pytest.raises(TargetError, match="cannot be created: Not a directory"):
        write_result(source, tuned, source / "folder")


def test_source_that_has_changed_since_the_run_is_an_error(
    source: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    tuned = tune(source, replace(settings, trials=0), TuneGoal("size", 9000), OPTIONS)
    state = toy.make_state()
    state["second.weight"] *= 2
    save_file(state, source)
    with pytest.raises(SourceError, match="gives other tensors than those that were evaluated"):
        write_result(source, tuned, tmp_path / "out")
    assert not (tmp_path / "out" / "tuned.toml").exists()


def test_model_is_judged_by_the_path_of_the_restored_file(
    tmp_path: Path, settings: TuneSettings
) -> None:
    source = save_model(tmp_path / "model.onnx")
    settings = replace(settings, evaluation=f"{TOY}:onnx_outputs")
    tuned = tune(source, settings, parse_goal(at_most=0.02), Options())
    packed = write_result(source, tuned, tmp_path / "out")
    assert packed.size == tuned.best.trial.size
    judge = Judge(import_function(f"{TOY}:onnx_outputs"))
    judge.measure_original(source)
    with vggq.as_file(packed.target) as restored:
        assert restored.suffix == ".onnx"
        assert dict(judge.measure(restored)) == dict(tuned.best.trial.metrics)
    assert 0 < tuned.best.trial.metrics["error"] <= 0.02


def test_tensor_without_effect_is_named_and_still_restored(
    source: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    tuned = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    assert [s.group.names for s in tuned.sensitivities.unused] == [("unused.weight",)]
    packed = write_result(source, tuned, tmp_path / "out")
    (info,) = [t for t in packed.manifest.tensors if t.name == "unused.weight"]
    assert info.sqnr > 6
    assert 'drop = ["unused.weight"]' in render_table("toy.safetensors", tuned)


@pytest.mark.parametrize("function", ["sign", "fails_with_zeros"])
def test_tensor_that_only_zeros_would_change_is_used(
    source: Path, settings: TuneSettings, function: str
) -> None:
    settings = replace(settings, evaluation=f"{TOY}:{function}")
    found = measure_sensitivity(source, settings, parse_goal(within=0), OPTIONS)
    assert {s.group.names for s in found.unused} == {("first.weight",), ("unused.weight",)}
    (used,) = [s for s in found.groups if not s.is_unused]
    assert found.unfelt == (used,)
    factors = find_factors(found.groups, allow_unused=True)
    assert 0 < 1000 * factors["unused.weight"] < factors["second.weight"]


def test_only_tensors_without_any_effect_count_nearly_nothing(
    source: Path, settings: TuneSettings
) -> None:
    found = measure_sensitivity(source, settings, parse_goal(within=0), OPTIONS)
    felt = [replace(s, factor=0.0) if s.group.label == "first.weight" else s for s in found.groups]
    energies = {s.group.label: s.group.energy for s in felt}
    factors = find_factors(felt, allow_unused=True)
    shares = {name: factors[name] * energies[name] for name in factors}
    assert shares["first.weight"] == pytest.approx(shares["second.weight"])
    assert shares["unused.weight"] == pytest.approx(1e-4 * shares["second.weight"])


@pytest.mark.parametrize("allow_unused", [False, True])
@pytest.mark.parametrize(
    ("function", "metric", "problem"),
    [
        ("constant", None, "gives the same result for any weights; does it use its argument?"),
        ("constant_outputs", None, "gives the same result for any weights; does it use its"),
        ("losses", "other", "gives the same other for any weights; choose another --metric"),
    ],
)
def test_function_that_ignores_the_weights_is_rejected(
    source: Path,
    settings: TuneSettings,
    function: str,
    metric: str | None,
    problem: str,
    *,
    allow_unused: bool,
) -> None:
    place = f"{TOY}:{function}"
    settings = replace(settings, evaluation=place, metric=metric, allow_unused=allow_unused)
    for goal in (parse_goal(within="1%"), parse_goal(size=9000)):
        with pytest.raises(OptionError) as caught:
            tune(source, settings, goal, OPTIONS)
        assert f"eval: {place!r} {problem}" in str(caught.value)


@pytest.mark.parametrize("function", ["any_layer", "fails_without_layers"])
def test_function_that_feels_only_all_tensors_together_is_used(
    source: Path, settings: TuneSettings, function: str
) -> None:
    settings = replace(settings, evaluation=f"{TOY}:{function}")
    found = measure_sensitivity(source, settings, parse_goal(within=0), OPTIONS)
    assert len(found.unused) == len(found.groups) == 3


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("random_number", "random_number 0.[0-9]+ and then 0.[0-9]+ for the same original weights"),
        ("random_outputs", "arrays that differ by an error of 0.0[0-9]+ for the same original"),
    ],
)
def test_random_function_is_rejected(
    source: Path, settings: TuneSettings, function: str, problem: str
) -> None:
    settings = replace(settings, evaluation=f"{TOY}:{function}")
    with pytest.raises(OptionError, match=f"{function}' returned {problem}.*must be determin"):
        tune(source, settings, parse_goal(size=9000), OPTIONS)


@pytest.mark.parametrize("function", ["seeded_outputs", "noisy_outputs", "changes_its_argument"])
def test_seeded_random_numbers_and_rounding_errors_are_no_difference(
    source: Path, settings: TuneSettings, function: str
) -> None:
    settings = replace(settings, evaluation=f"{TOY}:{function}")
    found = measure_sensitivity(source, settings, parse_goal(within=0), OPTIONS)
    assert found.groups[0].effect > 0


def test_effect_is_larger_for_more_noise(source: Path, settings: TuneSettings) -> None:
    found = measure_sensitivity(source, settings, parse_goal(within=0), OPTIONS)
    for s in found.groups:
        if not s.is_unused:
            assert s.factor > 0
            assert s.measurements[1].noise > s.measurements[0].noise
            assert s.measurements[1].effect > s.measurements[0].effect


def test_table_packs_the_same_file(source: Path, settings: TuneSettings, tmp_path: Path) -> None:
    tomllib = pytest.importorskip("tomllib")
    tuned = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    out = tmp_path / "out"
    packed = write_result(source, tuned, out)
    text = (out / "tuned.toml").read_text()
    (table,) = tomllib.loads(text)["tool"]["hatch"]["build"]["hooks"]["vggq"]["models"]
    options = {key: value for key, value in table.items() if key not in ("source", "target")}
    if "importance" in options:
        options["importance"] = out / options["importance"]
    again = pack(source, tmp_path / "again.vggq", **options)
    assert again.remarks == packed.remarks == ()
    assert again.target.read_bytes() == packed.target.read_bytes()


def test_evaluation_is_recorded_and_shown_only_for_its_tensors(
    source: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    tuned = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    packed = write_result(source, tuned, tmp_path / "out")
    with vggq.open(packed.target) as weights:
        found = recorded_evaluation(weights.manifest.options, weights)
    assert found is not None
    assert (found.metric, found.original) == ("error", 0.0)
    assert found.packed == tuned.best.trial.metrics["error"]
    other = pack(source, tmp_path / "other.vggq", bits=4, evaluation=tuned.options.evaluation)
    assert other.remarks[-1].startswith("evaluation was measured on other tensors")
    with vggq.open(other.target) as weights:
        assert recorded_evaluation(weights.manifest.options, weights) is None


def test_factors_are_above_zero(source: Path, settings: TuneSettings, tmp_path: Path) -> None:
    settings = replace(settings, allow_unused=True)
    tuned = tune(source, settings, TuneGoal("size", 9000), OPTIONS)
    goal = tuned.options.goal
    assert isinstance(goal, Size)
    assert all(factor > 0 for factor in goal.factors.values())
    write_result(source, tuned, tmp_path / "out")
    if goal.factors:
        assert json.loads((tmp_path / "out" / "importance.json").read_text()) == goal.factors


def test_tied_tensors_are_one_group(tmp_path: Path, settings: TuneSettings) -> None:
    state = toy.make_state()
    source = tmp_path / "tied.npz"
    arrays: Any = {**state, "copy": state["second.weight"]}
    np.savez(source, **arrays)
    found = measure_sensitivity(source, settings, parse_goal(within=0), OPTIONS)
    groups = {s.group.names: s.group for s in found.groups}
    assert groups.keys() == {("first.weight",), ("copy", "second.weight"), ("unused.weight",)}
    assert groups["copy", "second.weight"].copies == {"second.weight"}
    assert groups["copy", "second.weight"].count == state["second.weight"].size


def test_plans_of_tied_tensors_fill_the_size(tmp_path: Path, settings: TuneSettings) -> None:
    state = toy.make_state()
    source = tmp_path / "tied.npz"
    arrays: Any = {**state, "copy": state["second.weight"]}
    np.savez(source, **arrays)
    tuned = tune(source, replace(settings, trials=0), TuneGoal("size", 9000), OPTIONS)
    sizes = [f.trial.size for f in tuned.finalists if f.plan is not None]
    assert len(sizes) == 2
    assert all(8900 <= size <= 9000 for size in sizes)


def test_table_selects_the_files_of_a_folder() -> None:
    options = Options(restore="model", include=["*.json", "a*"], exclude=["b*"])
    table = tomllib.loads("\n".join(option_lines(options)))
    assert table["include"] == ["*.json", "a*"]
    assert table["exclude"] == ["b*"]


def test_table_has_names_with_unusual_characters() -> None:
    options = Options(drop=["\U000e0001\x1b*"])
    assert tomllib.loads("\n".join(option_lines(options)))["drop"] == ["\U000e0001\x1b*"]
