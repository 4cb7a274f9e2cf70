"""Golden files restore to the same bits in every release and on every machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import vggq
from tests.packed_models import Stored, expected_bytes
from vggq._codecs import Codebook, Grid, Raw
from vggq._codecs._stored_bands import parse_bands
from vggq._codecs._streams import SHIFTS
from vggq._codecs._trellis import STATES
from vggq._dtypes import FLOATING, STORAGE
from vggq._weights import underlying_file

from .make import CASES, EXPECTED, FOLDER, MODELS, described, pack_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTED: dict[str, Any] = json.loads(EXPECTED.read_text(encoding="utf-8"))


def test_no_file_is_missing_or_changed() -> None:
    assert set(LISTED) == {path.stem for path in FOLDER.glob("*.vggq")}
    assert set(LISTED) >= CASES.keys() | MODELS.keys()
    for name, listed in LISTED.items():
        data = (FOLDER / f"{name}.vggq").read_bytes()
        assert hashlib.sha256(data).hexdigest() == listed["sha256"], name


def tensors() -> Iterator[tuple[vggq.TensorInfo, bytes]]:
    for name in LISTED:
        with vggq.open(FOLDER / f"{name}.vggq") as weights:
            yield from (
                (tensor, bytes(underlying_file(weights).content(tensor.name)))
                for tensor in weights.tensors.values()
            )


def test_files_have_every_variant_of_every_codec() -> None:
    found = list(tensors())
    raw = {tensor.stored_dtype for tensor, _ in found if isinstance(tensor.codec, Raw)}
    assert raw == set(STORAGE)
    books = {tensor.codec for tensor, _ in found if isinstance(tensor.codec, Codebook)}
    assert {codec.width for codec in books} == {1, 2, 4, 8}
    assert any(codec.centroids < 1 << codec.width for codec in books)
    assert {codec.width for codec in books if codec.slices} == {1, 4, 8}
    grids = {tensor.codec for tensor, _ in found if isinstance(tensor.codec, Grid)}
    assert {codec.first for codec in grids if codec.slices and codec.taps > 1} == {False, True}
    assert {codec.taps > 1 for codec in grids if codec.slices} == {False, True}
    assert {(codec.first, codec.dependent) for codec in grids} == {
        (first, dependent) for first in (False, True) for dependent in STATES
    }
    assert (
        {codec.taps > 1 for codec in grids} == {codec.rows > 1 for codec in grids} == {True, False}
    )


def test_files_have_every_kind_of_band() -> None:
    kinds, escapes = set(), set()
    for tensor, content in tensors():
        if isinstance(codec := tensor.codec, Grid):
            bands = codec.split(content)[3]
            for group in parse_bands(bands, codec.taps, tensor.count // codec.taps):
                for kind, count in zip(group.kinds, group.counts, strict=True):
                    kinds.add((type(kind).__name__, kind.shift))
                    escapes.add((type(kind).__name__, count > 0))
    assert kinds == {("Runs", 0), *(("Plain", shift) for shift in SHIFTS)}
    assert escapes == {(kind, some) for kind in ("Runs", "Plain") for some in (True, False)}


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", sorted(LISTED))
def test_file_restores_the_listed_arrays(name: str, threads: int) -> None:
    arrays = vggq.load(FOLDER / f"{name}.vggq", threads=threads)
    found = {name: described(array) for name, array in arrays.items()}
    assert found == LISTED[name]["arrays"]


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_model_restores_the_listed_files(name: str, threads: int) -> None:
    path = FOLDER / f"{name}.vggq"
    digests = LISTED[name]["files"]
    with vggq.open(path) as weights:
        assert {member.path: member.sha256 for member in weights.members} == digests
    for member, digest in digests.items():
        content = vggq.read_bytes(path, member=member, threads=threads)
        assert hashlib.sha256(content).hexdigest() == digest, member


@pytest.mark.parametrize("name", sorted(MODELS))
def test_model_restores_the_listed_folders(name: str) -> None:
    with vggq.as_file(FOLDER / f"{name}.vggq") as path:
        root = path if path.is_dir() else path.parent
        empty = {
            folder.relative_to(root).as_posix()
            for folder in root.rglob("*")
            if folder.is_dir() and not any(folder.iterdir())
        }
    assert empty == set(LISTED[name].get("folders", []))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_files_of_a_model_have_the_rounded_values(name: str) -> None:
    """The expected bytes are calculated with ml_dtypes."""
    path = FOLDER / f"{name}.vggq"
    with vggq.open(path) as weights:
        for member in weights.members:
            content, offset = vggq.read_bytes(path, member=member.path), 0
            for piece in member.pieces:
                if piece.tensor is not None:
                    info = weights.manifest.tensors[piece.tensor]
                    stored = Stored(info, bytes(underlying_file(weights).content(info.name)))
                    found = content[offset : offset + piece.size]
                    assert found == expected_bytes(stored), info.name
                offset += piece.size


def test_models_have_every_codec_in_every_floating_point_dtype() -> None:
    found = set()
    for name in MODELS:
        with vggq.open(FOLDER / f"{name}.vggq") as weights:
            tensors = weights.tensors.values()
            found |= {(type(tensor.codec), tensor.source_dtype) for tensor in tensors}
    assert found >= {(codec, dtype) for codec in (Codebook, Grid) for dtype in FLOATING}


RESTORE = """\
import json
from tests.golden.make import FOLDER, expected
print(json.dumps({path.stem: expected(path) for path in FOLDER.glob("*.vggq")}))
"""

# These variables select the processor whose kernels OpenBLAS uses, and disable kernels of numpy.
MACHINES: list[dict[str, str]] = [
    {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"},
    {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "8"},
    {"OPENBLAS_CORETYPE": "Sandybridge", "OMP_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "1"},
    {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join(machine.values()))
def test_files_restore_the_listed_arrays_with_other_kernels(machine: dict[str, str]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", RESTORE]
    output = subprocess.run(command, check=True, env=os.environ | machine, stdout=subprocess.PIPE)
    assert json.loads(output.stdout) == LISTED


@pytest.mark.parametrize("name", sorted(CASES))
def test_packing_the_source_again_restores_the_same_arrays(name: str, tmp_path: Path) -> None:
    """The bytes of the file are also the same, if the version of zstd is."""
    packed = pack_case(name, tmp_path, tmp_path / "s.vggq")
    found = {name: described(array) for name, array in vggq.load(packed.target).items()}
    assert found == LISTED[name]["arrays"]
    with vggq.open(FOLDER / f"{name}.vggq") as golden:
        same_zstd = golden.manifest.zstd == packed.manifest.zstd
    digest = hashlib.sha256(packed.target.read_bytes()).hexdigest()
    assert (digest == LISTED[name]["sha256"]) or not same_zstd
