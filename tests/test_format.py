"""The manifest: there and back, and every rule of the format broken once."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vggq import _manifest_json
from vggq._codecs import Codebook, Raw
from vggq._container import Entry, Header
from vggq._manifest import Manifest, TensorInfo, sqnr
from vggq.errors import FormatError, ManifestError, UnsupportedError

from . import strategies

QUANTIZED = TensorInfo("w", (2, 3), "F16", "F32", 0, Codebook(4), 10.0, 0.1)
EXACT = TensorInfo("b", (3,), "I64", "I64", 1, Raw("I64"), 0.0, 0.0)
MANIFEST = Manifest(1, "1.5.7", "npz", "ab" * 32, {"bits": 2}, (QUANTIZED, EXACT))
ENTRIES = {"0": Entry("U8", (9,), 100, 9), "1": Entry("U8", (5,), 109, 5)}


def table() -> dict[str, Any]:
    text = _manifest_json.manifest_metadata(MANIFEST)["vggq"][64:]
    made: dict[str, Any] = json.loads(text)
    return made


def sealed(manifest: object) -> dict[str, str]:
    text = json.dumps(manifest)
    return {"vggq": hashlib.sha256(text.encode()).hexdigest() + text}


def refused(metadata: dict[str, str], entries: dict[str, Entry] = ENTRIES) -> FormatError:
    with pytest.raises(FormatError) as caught:
        _manifest_json.parse_manifest(Header(entries, metadata))
    return caught.value


def test_there_and_back() -> None:
    assert (
        _manifest_json.parse_manifest(Header(ENTRIES, _manifest_json.manifest_metadata(MANIFEST)))
        == MANIFEST
    )


measures = st.floats(0, 1e30)
quantized = st.builds(
    TensorInfo,
    name=strategies.names,
    shape=strategies.shapes,
    source_dtype=st.sampled_from(["F64", "F32", "F16", "BF16"]),
    stored_dtype=st.just("F32"),
    entry=st.just(0),
    codec=st.builds(Codebook, st.integers(1, 256)),
    energy=measures,
    noise=measures,
)


@settings(deadline=None)
@given(st.lists(quantized, min_size=1, max_size=4, unique_by=lambda tensor: tensor.name))
def test_any_tensors_there_and_back(tensors: list[TensorInfo]) -> None:
    numbered = tuple(
        TensorInfo(t.name, t.shape, t.source_dtype, t.stored_dtype, i, t.codec, t.energy, t.noise)
        for i, t in enumerate(tensors)
    )
    manifest = Manifest(3, "1.5.7", "keras-hdf5", "0" * 64, {"keep": ["é"]}, numbered)
    entries = {str(i): Entry("U8", (8,), i, 8) for i in range(len(numbered))}
    assert (
        _manifest_json.parse_manifest(Header(entries, _manifest_json.manifest_metadata(manifest)))
        == manifest
    )


def test_the_bytes_are_canonical() -> None:
    text = _manifest_json.manifest_metadata(MANIFEST)["vggq"][64:]
    assert text == json.dumps(table(), sort_keys=True, separators=(",", ":"))
    assert text.isascii()


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"a": "x", "b": "y"}])
def test_a_checkpoint_is_no_packed_file(metadata: dict[str, str]) -> None:
    assert str(refused(metadata)) == (
        "a safetensors file, but no packed one: its metadata has no key 'vggq'"
    )


def test_metadata_beside_the_manifest() -> None:
    assert str(refused({"vggq": "x", "format": "pt"})) == "its metadata has other keys than 'vggq'"


@pytest.mark.parametrize("value", ["1e999", "-1e999", '"\\ud800"', '{"\\ud800": 1}', "[[1e999]]"])
def test_options_that_are_no_json(value: str) -> None:
    text = json.dumps(table() | {"options": {"a": "HERE"}}).replace('"HERE"', value)
    seal = hashlib.sha256(text.encode()).hexdigest()
    assert str(refused({"vggq": seal + text})).startswith("manifest: options is {'a': ")


def test_every_altered_character_is_noticed() -> None:
    text = _manifest_json.manifest_metadata(MANIFEST)["vggq"]
    for position in range(len(text)):
        changed = text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :]
        error = refused({"vggq": changed})
        assert str(error) == "the manifest's SHA-256 does not match: it was altered"
    refused({"vggq": text[:-1]})
    refused({"vggq": text + "\ud800"})


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_names_the_release_that_reads_it(version: int) -> None:
    error = refused(sealed({"format": version, "reader": "0.9.0", "anything": "else"}))
    assert isinstance(error, UnsupportedError)
    assert str(error) == (
        f"the file is of format version {version}, and this reader knows 1: "
        "it takes hatch-vggq 0.9.0 or newer"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "1"}, "manifest: format is '1', expected a format version"),
        ({"format": True}, "manifest: format is True, expected a format version"),
        ({"format": 2, "reader": 3}, "manifest: reader is 3, expected a release"),
        ({"extra": 1}, "manifest: missing or unknown: 'extra'"),
        ({"encoder": -1}, "manifest: encoder is -1, expected a version"),
        ({"zstd": 1}, "manifest: zstd is 1, expected a version"),
        ({"options": []}, "manifest: options is [], expected a table"),
        ({"source": []}, "manifest: source is [], expected a table"),
        ({"source": {"format": "x"}}, "source: missing or unknown: 'sha256'"),
        ({"source": {"format": 1, "sha256": "0" * 64}}, "source: format is 1, expected a string"),
        ({"source": {"format": "x", "sha256": "0" * 63}}, "source: sha256 is '0000"),
        ({"source": {"format": "x", "sha256": "G" * 64}}, "source: sha256 is 'GGGG"),
        ({"tensors": {}}, "manifest: tensors is {}, expected a list"),
        ({"tensors": [3]}, "tensors[0]: expected a table with a name"),
        ({"tensors": [{"shape": []}]}, "tensors[0]: expected a table with a name"),
        ({"tensors": [{"name": "\ud800"}]}, "tensors[0]: expected a table with a name"),
    ],
)
def test_rules_of_the_manifest(change: dict[str, Any], message: str) -> None:
    error = refused(sealed(table() | change))
    assert isinstance(error, ManifestError)
    assert str(error).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "missing or unknown: 'extra'"),
        ({"shape": [2, -3]}, "shape is [2, -3], expected a list of sizes"),
        ({"shape": [2**30, 2**30]}, "shape is [1073741824, 1073741824], expected a list of sizes"),
        ({"shape": [2**53, 2**53, 0]}, "shape is [9007199254740992, 9007199254740992, 0], expec"),
        ({"shape": [1] * 33}, "shape is [1, 1, 1, 1, 1, 1, ...], expected a list of sizes"),
        ({"source_dtype": "C64"}, "source_dtype is 'C64', expected a known dtype"),
        ({"source_dtype": "I64"}, "source_dtype 'I64' cannot be quantized"),
        ({"stored_dtype": None}, "stored_dtype is None, expected a known dtype"),
        ({"stored_dtype": "F16"}, "stored_dtype is 'F16', expected 'F32'"),
        ({"entry": 1.0}, "entry is 1.0, expected an entry's number"),
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
        ({"codec": {"name": "codebook", "centroids": 4, "x": 1}}, "codec is {'centroids': 4,"),
        ({"codec": {"name": "raw", "x": 1}}, "codec is {'name': 'raw', 'x': 1}: raw has no"),
        ({"size": 19}, "size is 19, expected 18"),
        ({"size": 17}, "size is 17, expected 18"),
        ({"size": 18.0}, "size is 18.0, expected 18"),
        ({"energy": -1}, "energy is -1, expected a number of at least 0"),
        ({"energy": "1"}, "energy is '1', expected a number of at least 0"),
        ({"energy": True}, "energy is True, expected a number of at least 0"),
        ({"noise": 10**400}, "noise is 1000000000"),
    ],
)
def test_rules_of_a_quantized_tensor(change: dict[str, Any], message: str) -> None:
    changed = table()
    changed["tensors"][0] |= change
    error = refused(sealed(changed))
    assert isinstance(error, ManifestError)
    assert str(error).startswith(f"tensor 'w': {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stored_dtype": "I32"}, "size is 24, expected 12"),
        ({"stored_dtype": "U64"}, "stored_dtype is 'U64', expected 'I64'"),
        ({"energy": 1}, "energy and noise are not 0, and raw is exact"),
        ({"noise": 1}, "energy and noise are not 0, and raw is exact"),
    ],
)
def test_rules_of_an_exact_tensor(change: dict[str, Any], message: str) -> None:
    changed = table()
    changed["tensors"][1] |= change
    assert str(refused(sealed(changed))) == f"tensor 'b': {message}"


def test_an_infinite_number_is_no_measure() -> None:
    text = json.dumps(table()).replace('"noise": 0.1', '"noise": 1e999')
    metadata = {"vggq": hashlib.sha256(text.encode()).hexdigest() + text}
    assert str(refused(metadata)).startswith("tensor 'w': noise is inf, expected a number")


@pytest.mark.parametrize("energy", [math.nan, math.inf])
def test_what_is_no_number_is_not_written(energy: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _manifest_json.manifest_metadata(
            replace(MANIFEST, tensors=(replace(QUANTIZED, energy=energy), EXACT))
        )


def test_weights_that_are_not_of_their_codecs_form() -> None:
    changed = table()
    codec = {"name": "grid", "taps": 4, "rows": 1, "size": 50, "first": False, "dependent": False}
    changed["tensors"][0]["codec"] = codec
    expected = "tensor 'w': 6 weights are not 1 rows of 4 taps"
    error = refused(sealed(changed))
    assert isinstance(error, ManifestError)
    assert str(error) == expected


def test_more_tensors_than_small_numbers() -> None:
    tensors = tuple(replace(EXACT, name=str(number), entry=number) for number in range(300))
    manifest = replace(MANIFEST, tensors=tensors)
    entries = {str(number): ENTRIES["1"] for number in range(300)}
    assert (
        _manifest_json.parse_manifest(Header(entries, _manifest_json.manifest_metadata(manifest)))
        == manifest
    )


def test_json_that_is_none() -> None:
    text = '{"format": 1, "format": 1}'
    metadata = {"vggq": hashlib.sha256(text.encode()).hexdigest() + text}
    assert str(refused(metadata)).startswith("manifest: not valid JSON: a key stands twice")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"0": ENTRIES["0"], "2": ENTRIES["1"]}, "the entries are not numbered from 0"),
        ({"00": ENTRIES["0"], "1": ENTRIES["1"]}, "the entries are not numbered from 0"),
        ({"0": Entry("F32", (2,), 0, 8), "1": ENTRIES["1"]}, "entry 0 is not a list of bytes"),
        ({"0": Entry("U9", (9,), 100, 9), "1": ENTRIES["1"]}, "entry 0 is not a list of bytes"),
        ({"0": Entry("U8", (2, 4), 0, 8), "1": ENTRIES["1"]}, "entry 0 is not a list of bytes"),
        ({"0": ENTRIES["0"]}, "the tensors do not use all entries, or use more than there are"),
        (
            ENTRIES | {"2": ENTRIES["1"]},
            "the tensors do not use all entries, or use more than there are",
        ),
    ],
)
def test_rules_of_the_entries(entries: dict[str, Entry], message: str) -> None:
    assert str(refused(_manifest_json.manifest_metadata(MANIFEST), entries)) == message


def test_two_tensors_of_one_name() -> None:
    changed = table()
    changed["tensors"][1]["name"] = "w"
    assert str(refused(sealed(changed))) == "two tensors have one name"


def test_tied_tensors_have_to_be_alike() -> None:
    changed = table()
    changed["tensors"][1] = changed["tensors"][0] | {"name": "tied"}
    one = {"0": ENTRIES["0"]}
    assert len(_manifest_json.parse_manifest(Header(one, sealed(changed))).tensors) == 2
    changed["tensors"][1]["shape"] = [3, 2]
    expected = "tensor 'tied': entry 0 is that of 'w', which is not alike"
    assert str(refused(sealed(changed), one)) == expected


def test_what_a_manifest_tells() -> None:
    assert MANIFEST.float32_size == 4 * 6 + 8 * 3
    assert MANIFEST.worst == QUANTIZED
    assert MANIFEST.sqnr == QUANTIZED.sqnr == pytest.approx(20)
    assert math.isinf(EXACT.sqnr)
    assert EXACT.dtype == "int64"
    assert QUANTIZED.dtype == "float32"


@pytest.mark.parametrize(
    ("energy", "noise", "expected"),
    [
        (1, 0, math.inf),
        (0, 0, math.inf),
        (0, 1, -math.inf),
        (100, 1, 20),
        (1e308, 1e-308, 6160),
        (1e-308, 1e308, -6160),
    ],
)
def test_sqnr(energy: float, noise: float, expected: float) -> None:
    assert sqnr(energy, noise) == pytest.approx(expected)


@pytest.mark.parametrize(
    "entry",
    [Entry("BOOL", (9,), 100, 9), Entry("U8", (), 100, 9), Entry("U8", (3, 3), 100, 9)],
)
def test_an_entry_that_is_no_list_of_bytes(entry: Entry) -> None:
    message = "entry 0 is not a list of bytes"
    assert (
        str(refused(_manifest_json.manifest_metadata(MANIFEST), ENTRIES | {"0": entry})) == message
    )


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("over", [0, 1])
def test_the_most_that_an_entry_of_so_many_bytes_holds(number: int, over: int) -> None:
    """Four bytes hold 128 KiB, and not a byte more."""
    counts = [1, 1]
    counts[number] = (1 << 17) + over
    tensors = [
        TensorInfo(name, (count,), "U8", "U8", entry, Raw("U8"), 0.0, 0.0)
        for entry, (name, count) in enumerate(zip("ab", counts, strict=True))
    ]
    manifest = Manifest(1, "1", "npz", "0" * 64, {}, tuple(tensors))
    entries = {"0": Entry("U8", (4,), 0, 4), "1": Entry("U8", (7,), 4, 7)}
    if not over:
        assert (
            _manifest_json.parse_manifest(
                Header(entries, _manifest_json.manifest_metadata(manifest))
            )
            == manifest
        )
        return
    message = (
        f"tensor '{'ab'[number]}': size is 131073, which no entry of {(4, 7)[number]} bytes holds"
    )
    assert str(refused(_manifest_json.manifest_metadata(manifest), entries)) == message


@pytest.mark.parametrize("shapes", [((2,), (3,)), ((3,), (2,))])
def test_tensors_of_one_entry_that_differ(shapes: tuple[tuple[int], tuple[int]]) -> None:
    tensors = [
        TensorInfo(name, shape, "U8", "U8", 0, Raw("U8"), 0.0, 0.0)
        for name, shape in zip("ab", shapes, strict=True)
    ]
    manifest = Manifest(1, "1", "npz", "0" * 64, {}, tuple(tensors))
    message = "tensor 'b': entry 0 is that of 'a', which is not alike"
    assert (
        str(refused(_manifest_json.manifest_metadata(manifest), {"0": Entry("U8", (8,), 0, 8)}))
        == message
    )
