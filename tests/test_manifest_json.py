"""Writing and parsing manifests, with an example of each rule for single fields."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from importlib.abc import MetaPathFinder
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vggq._codecs import Codebook, Raw
from vggq._container import Entry, Header
from vggq._manifest import Manifest, TensorInfo
from vggq._manifest_json import manifest_to_metadata, parse_manifest
from vggq.errors import ManifestError, UnsupportedError

from . import strategies
from .manifests import (
    ENTRIES,
    EXACT,
    MANIFEST,
    QUANTIZED,
    manifest_table,
    parse_error,
    restore_manifest,
    to_metadata,
    with_digest,
)


def test_manifest_is_restored() -> None:
    assert restore_manifest(MANIFEST, ENTRIES) == MANIFEST


sums = st.floats(0, 1e30)
quantized = st.builds(
    TensorInfo,
    name=strategies.names,
    shape=strategies.shapes,
    source_dtype=st.sampled_from(["F64", "F32", "F16", "BF16"]),
    stored_dtype=st.just("F32"),
    entry=st.just(0),
    codec=st.builds(Codebook, st.integers(1, 256)),
    energy=sums,
    noise=sums,
)


@settings(deadline=None)
@given(st.lists(quantized, min_size=1, max_size=4, unique_by=lambda tensor: tensor.name))
def test_any_tensors_are_restored(tensors: list[TensorInfo]) -> None:
    numbered = tuple(replace(tensor, entry=index) for index, tensor in enumerate(tensors))
    manifest = Manifest(3, "1.5.7", "keras-hdf5", "0" * 64, {"keep": ["é"]}, numbered)
    entries = {str(index): Entry("U8", (8,), index, 8) for index in range(len(numbered))}
    assert restore_manifest(manifest, entries) == manifest


def test_many_tensors_are_restored() -> None:
    """More entries than CPython has small integers, which are one object for each value."""
    tensors = tuple(replace(EXACT, name=str(number), entry=number) for number in range(300))
    manifest = replace(MANIFEST, tensors=tensors)
    entries = {str(number): ENTRIES["1"] for number in range(300)}
    assert restore_manifest(manifest, entries) == manifest


def test_json_is_canonical() -> None:
    text = manifest_to_metadata(MANIFEST)["vggq"][64:]
    assert text == json.dumps(manifest_table(), sort_keys=True, separators=(",", ":"))
    assert text.isascii()


@pytest.mark.parametrize("energy", [math.nan, math.inf])
def test_numbers_that_json_lacks_are_not_written(energy: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        manifest_to_metadata(replace(MANIFEST, tensors=(replace(QUANTIZED, energy=energy), EXACT)))


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"a": "x", "b": "y"}])
def test_checkpoint_is_not_a_packed_file(metadata: dict[str, str]) -> None:
    assert str(parse_error(metadata)) == (
        "a safetensors file, but not a packed file: its metadata has no key 'vggq'"
    )


def test_other_metadata_is_rejected() -> None:
    error = parse_error({"vggq": "x", "format": "pt"})
    assert str(error) == "its metadata has keys other than 'vggq'"


def test_every_changed_character_is_detected() -> None:
    text = manifest_to_metadata(MANIFEST)["vggq"]
    for position in range(len(text)):
        changed = text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :]
        error = parse_error({"vggq": changed})
        expected = "the SHA-256 of the manifest does not match: the file was modified"
        assert str(error) == expected
    parse_error({"vggq": text[:-1]})
    parse_error({"vggq": text + "\ud800"})


@pytest.mark.parametrize("member", ['"format": 1', '"noise": 0.1', '"centroids": 4'])
def test_key_that_an_object_has_twice_is_rejected(member: str) -> None:
    text = json.dumps(manifest_table())
    assert member in text
    error = parse_error(with_digest(text.replace(member, f"{member}, {member}", 1)))
    assert str(error) == "manifest: not valid JSON: an object has a key twice"


@pytest.mark.parametrize("value", ["1e999", "-1e999", '"\\ud800"', '{"\\ud800": 1}', "[[1e999]]"])
def test_options_that_are_not_portable_json(value: str) -> None:
    text = json.dumps(manifest_table() | {"options": {"a": "HERE"}}).replace('"HERE"', value)
    assert str(parse_error(with_digest(text))).startswith("manifest: options is {'a': ")


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_options_of_more_than_32_levels_are_rejected(begin: str, end: str) -> None:
    """Deeper levels would exceed Python's limit of recursion, some of them only after parsing."""
    template = json.dumps(manifest_table() | {"options": {"a": "HERE"}})

    def metadata(levels: int) -> dict[str, str]:
        value = begin * (levels - 1) + "1" + end * (levels - 1)
        return with_digest(template.replace('"HERE"', value))

    assert parse_manifest(Header(ENTRIES, metadata(32))).options["a"]
    for levels in (33, 34, 100, *range(200, 1000, 20), 100_000):
        assert isinstance(parse_error(metadata(levels)), ManifestError)
    expected = ", expected an object of at most 32 levels"
    assert str(parse_error(metadata(33))).endswith(expected)


@pytest.mark.parametrize("version", [0, 2])
def test_another_format_version_names_the_release_that_reads_it(version: int) -> None:
    table = {"format": version, "reader": "0.9.0", "anything": "else"}
    error = parse_error(to_metadata(table))
    assert isinstance(error, UnsupportedError)
    assert str(error) == (
        f"format version {version}, but this release reads version 1; "
        "install hatch-vggq 0.9.0 or later"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "1"}, "manifest: format is '1', expected a format version"),
        ({"format": True}, "manifest: format is True, expected a format version"),
        ({"format": 2, "reader": 3}, "manifest: reader is 3, expected a release"),
        ({"extra": 1}, "manifest: unknown keys: 'extra'"),
        ({"encoder": -1}, "manifest: encoder is -1, expected a version"),
        ({"zstd": 1}, "manifest: zstd is 1, expected a version"),
        ({"options": []}, "manifest: options is [], expected an object"),
        ({"source": []}, "manifest: source is [], expected an object"),
        ({"source": {"format": "x"}}, "source: missing keys: 'sha256'"),
        ({"source": {"format": 1, "sha256": "0" * 64}}, "source: format is 1, expected a string"),
        ({"source": {"format": "x", "sha256": "0" * 63}}, "source: sha256 is '0000"),
        ({"source": {"format": "x", "sha256": "G" * 64}}, "source: sha256 is 'GGGG"),
        ({"tensors": {}}, "manifest: tensors is {}, expected a list"),
        ({"tensors": [3]}, "manifest: tensors[0]: expected an object with a name"),
        ({"tensors": [{"shape": []}]}, "manifest: tensors[0]: expected an object with a name"),
        ({"tensors": [{"name": "\ud800"}]}, "manifest: tensors[0]: expected an object with a name"),
    ],
)
def test_rules_of_the_manifest(change: dict[str, Any], message: str) -> None:
    error = parse_error(to_metadata(manifest_table() | change))
    assert isinstance(error, ManifestError)
    assert str(error).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "unknown keys: 'extra'"),
        ({"shape": [2, -3]}, "shape is [2, -3], expected a list of sizes"),
        ({"shape": [2**30, 2**30]}, "shape is [1073741824, 1073741824], expected a list of sizes"),
        ({"shape": [2**53, 2**53, 0]}, "shape is [9007199254740992, 9007199254740992, 0], expec"),
        ({"shape": [1] * 33}, "shape is [1, 1, 1, 1, 1, 1, ...], expected a list of sizes"),
        ({"source_dtype": "C32"}, "source_dtype is 'C32', expected a known dtype"),
        ({"source_dtype": "C64"}, "source_dtype 'C64' cannot be quantized"),
        ({"source_dtype": "C128"}, "source_dtype 'C128' cannot be quantized"),
        ({"stored_dtype": None}, "stored_dtype is None, expected a known dtype"),
        ({"entry": 1.0}, "entry is 1.0, expected the index of an entry"),
        ({"codec": "codebook"}, "codec is 'codebook': expected one of raw, codebook"),
        ({"codec": {"name": "huffman"}}, "codec is {'name': 'huffman'}: expected one of raw,"),
        ({"codec": {"name": []}}, "codec is {'name': []}: expected one of raw, codebook"),
        ({"codec": {"name": "codebook"}}, "codec is {'name': 'codebook'}: expected centroids"),
        (
            {"codec": {"name": "codebook", "centroids": 0}},
            "codec is {'centroids': 0, 'name': 'codebook'}: expected centroids from 1 to 256",
        ),
        ({"codec": {"name": "codebook", "centroids": 257}}, "codec is {'centroids': 257,"),
        ({"codec": {"name": "codebook", "centroids": True}}, "codec is {'centroids': True,"),
        ({"codec": {"name": "codebook", "centroids": 4.0}}, "codec is {'centroids': 4.0,"),
        ({"codec": {"name": "codebook", "centroids": [4]}}, "codec is {'centroids': [4], 'name'"),
        ({"codec": {"name": "codebook", "centroids": 4, "x": {}}}, "codec is {'centroids': 4,"),
        ({"codec": {"name": "codebook", "centroids": 4, "x": 1}}, "codec is {'centroids': 4,"),
        ({"codec": {"name": "raw", "x": 1}}, "codec is {'name': 'raw', 'x': 1}: raw takes no"),
        ({"codec": {"name": "raw", "x": []}}, "codec is {'name': 'raw', 'x': []}: raw takes no"),
        ({"energy": -1}, "energy is -1, expected a number of at least 0"),
        ({"energy": "1"}, "energy is '1', expected a number of at least 0"),
        ({"energy": True}, "energy is True, expected a number of at least 0"),
        ({"noise": 10**400}, "noise is 1000000000"),
    ],
)
def test_rules_of_a_tensor(change: dict[str, Any], message: str) -> None:
    changed = manifest_table()
    changed["tensors"][0] |= change
    error = parse_error(to_metadata(changed))
    assert isinstance(error, ManifestError)
    assert error.tensor == "w"
    assert str(error).startswith(f"tensor 'w': {message}")


@pytest.mark.parametrize("number", [True, 1.0])
def test_parameter_of_another_type_than_the_equal_one_of_another_tensor(number: object) -> None:
    changed = manifest_table()
    codec = {"name": "codebook", "centroids": 1}
    first = changed["tensors"][0] | {"codec": codec, "size": 5}
    second = first | {"name": "second", "entry": 1}
    changed["tensors"] = [first, second]
    tensors = parse_manifest(Header(ENTRIES, to_metadata(changed))).tensors
    assert [tensor.codec for tensor in tensors] == [Codebook(1), Codebook(1)]
    second["codec"] = codec | {"centroids": number}
    assert str(parse_error(to_metadata(changed))) == (
        f"tensor 'second': codec is {{'centroids': {number}, 'name': 'codebook'}}: "
        "expected centroids from 1 to 256"
    )


def test_equal_tables_of_raw_tensors_of_different_dtypes() -> None:
    tensors = tuple(
        TensorInfo(dtype, (3,), dtype, dtype, entry, Raw(dtype), 0.0, 0.0)
        for entry, dtype in enumerate(["I64", "U8"])
    )
    manifest = replace(MANIFEST, tensors=tensors)
    assert restore_manifest(manifest, ENTRIES) == manifest


def test_shape_that_the_codec_cannot_have() -> None:
    changed = manifest_table()
    codec = {"name": "grid", "taps": 4, "rows": 1, "size": 50, "first": False, "dependent": 1}
    changed["tensors"][0]["codec"] = codec
    error = parse_error(to_metadata(changed))
    assert isinstance(error, ManifestError)
    assert str(error) == (
        "tensor 'w': 6 weights cannot be split into 1 rows of vectors of 4 weights"
    )


def test_missing_key_of_a_tensor_is_named() -> None:
    changed = manifest_table()
    del changed["tensors"][0]["noise"]
    assert str(parse_error(to_metadata(changed))) == "tensor 'w': missing keys: 'noise'"


def test_infinite_noise_is_rejected() -> None:
    text = json.dumps(manifest_table()).replace('"noise": 0.1', '"noise": 1e999')
    error = parse_error(with_digest(text))
    assert str(error).startswith("tensor 'w': noise is inf, expected a number")


def test_parsing_searches_for_no_module_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # A search takes the import lock of the module. A process that is forked meanwhile would wait
    # for the lock forever.
    searched: list[str] = []

    class Recorder(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            searched.append(name)

    restore_manifest(MANIFEST, ENTRIES)
    monkeypatch.setattr(sys, "meta_path", [Recorder(), *sys.meta_path])
    restore_manifest(MANIFEST, ENTRIES)
    assert searched == []
