"""Rules that relate several fields of a manifest, each broken once."""

from __future__ import annotations

from typing import Any

import pytest

from vggq._codecs import Raw
from vggq._container import Entry, Header
from vggq._manifest import Manifest, TensorInfo
from vggq._manifest_json import manifest_to_metadata, parse_manifest
from vggq.errors import ManifestError

from .manifests import (
    ENTRIES,
    MANIFEST,
    manifest_table,
    parse_error,
    restore_manifest,
    to_metadata,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_dtype": "I64"}, "source_dtype 'I64' cannot be quantized"),
        ({"stored_dtype": "BF16"}, "stored_dtype is 'BF16', expected 'F32' or 'F16'"),
        (
            {"source_dtype": "F64", "stored_dtype": "F64"},
            "stored_dtype is 'F64', expected 'F32'",
        ),
        ({"size": 19}, "size is 19, expected 18"),
        ({"size": 17}, "size is 17, expected 18"),
        ({"size": 18.0}, "size is 18.0, expected 18"),
    ],
)
def test_rules_of_a_quantized_tensor(change: dict[str, Any], message: str) -> None:
    changed = manifest_table()
    changed["tensors"][0] |= change
    error = parse_error(to_metadata(changed))
    assert isinstance(error, ManifestError)
    assert str(error) == f"tensor 'w': {message}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_dtype": "I32", "stored_dtype": "I32"}, "size is 24, expected 12"),
        ({"stored_dtype": "I32"}, "stored_dtype is 'I32', expected 'I64'"),
        ({"stored_dtype": "U64"}, "stored_dtype is 'U64', expected 'I64'"),
        ({"energy": 1}, "energy and noise must be 0 for codec raw, which is exact"),
        ({"noise": 1}, "energy and noise must be 0 for codec raw, which is exact"),
    ],
)
def test_rules_of_an_exact_tensor(change: dict[str, Any], message: str) -> None:
    changed = manifest_table()
    changed["tensors"][1] |= change
    assert str(parse_error(to_metadata(changed))) == f"tensor 'b': {message}"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"0": ENTRIES["0"], "2": ENTRIES["1"]},
            "the entries are not named 0, 1, 2 and so on",
        ),
        (
            {"00": ENTRIES["0"], "1": ENTRIES["1"]},
            "the entries are not named 0, 1, 2 and so on",
        ),
        ({"0": ENTRIES["0"]}, "the tensors do not use exactly the entries of the file"),
        (
            ENTRIES | {"2": ENTRIES["1"]},
            "the tensors do not use exactly the entries of the file",
        ),
    ],
)
def test_rules_of_the_entries(entries: dict[str, Entry], message: str) -> None:
    assert str(parse_error(manifest_to_metadata(MANIFEST), entries)) == message


@pytest.mark.parametrize(
    "entry",
    [
        Entry("F32", (2,), 0, 8),
        Entry("U9", (9,), 100, 9),
        Entry("BOOL", (9,), 100, 9),
        Entry("U8", (), 100, 9),
        Entry("U8", (2, 4), 0, 8),
        Entry("U8", (3, 3), 100, 9),
    ],
)
def test_entry_has_to_be_a_list_of_bytes(entry: Entry) -> None:
    error = parse_error(manifest_to_metadata(MANIFEST), ENTRIES | {"0": entry})
    assert str(error) == "entry 0 is not one-dimensional of dtype U8"


def test_two_tensors_of_one_name() -> None:
    changed = manifest_table()
    changed["tensors"][1]["name"] = "w"
    assert str(parse_error(to_metadata(changed))) == "two tensors have the same name"


def test_tied_tensors_have_the_same_description() -> None:
    changed = manifest_table()
    changed["tensors"][1] = changed["tensors"][0] | {"name": "tied"}
    one = {"0": ENTRIES["0"]}
    assert len(parse_manifest(Header(one, to_metadata(changed))).tensors) == 2
    changed["tensors"][1]["shape"] = [3, 2]
    error = parse_error(to_metadata(changed), one)
    assert str(error) == "tensor 'tied': shares entry 0 with 'w', but is described differently"


def exact_tensor(name: str, count: int, entry: int) -> TensorInfo:
    return TensorInfo(name, (count,), "U8", "U8", entry, Raw("U8"), 0.0, 0.0)


@pytest.mark.parametrize("counts", [(2, 3), (3, 2)])
def test_tied_tensors_of_different_shapes_are_rejected(counts: tuple[int, int]) -> None:
    tensors = tuple(exact_tensor(name, count, 0) for name, count in zip("ab", counts, strict=True))
    metadata = manifest_to_metadata(Manifest(1, "1", "npz", "0" * 64, {}, tensors))
    error = parse_error(metadata, {"0": Entry("U8", (8,), 0, 8)})
    assert str(error) == "tensor 'b': shares entry 0 with 'a', but is described differently"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("excess", [0, 1])
def test_content_has_at_most_128_kib_for_each_four_bytes_of_an_entry(
    number: int, excess: int
) -> None:
    counts = [1, 1]
    counts[number] = (1 << 17) + excess
    tensors = tuple(exact_tensor(name, counts[entry], entry) for entry, name in enumerate("ab"))
    manifest = Manifest(1, "1", "npz", "0" * 64, {}, tensors)
    entries = {"0": Entry("U8", (4,), 0, 4), "1": Entry("U8", (7,), 4, 7)}
    if not excess:
        assert restore_manifest(manifest, entries) == manifest
        return
    name, stored = "ab"[number], (4, 7)[number]
    assert str(parse_error(manifest_to_metadata(manifest), entries)) == (
        f"tensor {name!r}: size is 131073, but an entry of {stored} bytes has at most 131072 bytes "
        "of content"
    )
