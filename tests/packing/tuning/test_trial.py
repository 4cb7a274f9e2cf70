"""Results of trials in a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from vggq.packing.tuning.trial import Trial, trial_from_record

if TYPE_CHECKING:
    from vggq.packing.tuning.trial import TrialKind

PLAN: dict[str, Any] = {
    "size": 9,
    "metrics": {"error": 0.5},
    "sizes": {"a": 3, "b": 4},
    "noises": {"a": 0.1, "b": 0.0},
}
PACKED: dict[str, Any] = {
    "size": 9,
    "metrics": {"error": 0.5},
    "sizes": {"a": 3, "b": 4},
    "sha256": "0" * 64,
}
RECORDS: dict[TrialKind, dict[str, Any]] = {"plan": PLAN, "packed": PACKED}


@pytest.mark.parametrize("kind", ["plan", "packed"])
def test_complete_record_is_a_trial(kind: TrialKind) -> None:
    record = RECORDS[kind]
    assert trial_from_record(kind, record, ["a", "b"], ["error"]) == Trial(**record)
    assert trial_from_record(kind, record, ["a"], ["error"]) == Trial(**record)


@pytest.mark.parametrize("kind", ["plan", "packed"])
def test_record_without_a_name_or_with_other_metrics_is_ignored(kind: TrialKind) -> None:
    record = RECORDS[kind]
    assert trial_from_record(kind, None, ["a"], ["error"]) is None
    assert trial_from_record(kind, record, ["a", "c"], ["error"]) is None
    assert trial_from_record(kind, record, ["a"], ["error", "cosine"]) is None
    assert trial_from_record(kind, record, ["a"], []) is None


@pytest.mark.parametrize("kind", ["plan", "packed"])
@pytest.mark.parametrize("value", [None, "9", [], {"a": "3", "b": 4}, True])
@pytest.mark.parametrize("key", ["size", "metrics", "sizes", "noises", "sha256", "foreign"])
def test_record_with_a_damaged_or_foreign_value_is_ignored(
    kind: TrialKind, key: str, value: object
) -> None:
    if (kind, key, value) == ("packed", "sha256", "9"):
        value = 9
    assert trial_from_record(kind, RECORDS[kind] | {key: value}, ["a", "b"], ["error"]) is None


@pytest.mark.parametrize("kind", ["plan", "packed"])
def test_record_without_a_key_is_ignored(kind: TrialKind) -> None:
    for key in RECORDS[kind]:
        record = {name: value for name, value in RECORDS[kind].items() if name != key}
        assert trial_from_record(kind, record, ["a", "b"], ["error"]) is None
