"""Files of plans, and the encoded tensors that are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.packing.tuning import toy
from vggq.packing import Options
from vggq.packing.encoded_tensor import EncodedTensor
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.tuning.plan_encoder import FrameStore, PlanEncoder
from vggq.packing.tuning.plans import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("first.weight", "second.weight", "unused.weight")
PLAN = {"first.weight": Choice(-64, 1), "second.weight": Choice(-96)}


@pytest.fixture
def encoder(tmp_path: Path) -> Iterator[PlanEncoder]:
    with open_source(toy.write_source(tmp_path), ReadOptions()) as source:
        yield PlanEncoder(source, (), Options(dependent=False), 1, NAMES)


def read(encoder: PlanEncoder) -> tuple[int, bytes]:
    with encoder.encode(PLAN) as encoded:
        return encoded.size, encoded.header


def make_frame(size: int) -> EncodedTensor:
    return EncodedTensor("raw", 0.0, 0.0, "F32", bytes(size))  # type: ignore[arg-type]


def test_store_forgets_the_oldest_frames() -> None:
    store = FrameStore(max_bytes=100)
    for number in range(4):
        store.put(("w", Choice(number)), make_frame(40))
    kept = [number for number in range(4) if store.get(("w", Choice(number)))]
    assert kept == [2, 3]
    store.put(("large", None), make_frame(101))
    assert store.get(("large", None)) is None
    assert store.get(("w", Choice(3)))


def test_file_does_not_depend_on_what_is_kept(encoder: PlanEncoder) -> None:
    first = read(encoder)
    assert read(encoder) == first
    forgetful = replace(encoder, _store=FrameStore(max_bytes=0))
    assert read(forgetful) == read(forgetful) == first


def test_size_of_a_plan_is_estimated_well(encoder: PlanEncoder) -> None:
    size, _ = read(encoder)
    assert encoder.estimate_size(PLAN) == pytest.approx(size, abs=300)
    encoder.learn(PLAN, {name: m.size for name, m in encoder.measure(PLAN).items()})
    assert encoder.predict_size(PLAN) == encoder.estimate_size(PLAN)
    finer = {name: choice.move(-32) for name, choice in PLAN.items()}
    # One bit more for each of 2560 and 2048 weights.
    assert encoder.predict_size(finer) - encoder.predict_size(PLAN) == (2560 + 2048) // 8
