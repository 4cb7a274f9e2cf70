"""Files of this format that were written once are read to the same bits for ever, anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import vggq
from tests.helpers import save_safetensors
from vggq._codecs import Codebook, Grid, Raw
from vggq._codecs._bands import parse
from vggq._codecs._streams import SHIFTS
from vggq._dtypes import STORAGE
from vggq._weights import packed_file
from vggq.packing import pack

from .make import CASES, EXPECTED, FOLDER, described

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTED: dict[str, Any] = json.loads(EXPECTED.read_text(encoding="utf-8"))


def test_none_is_missing_and_none_was_altered() -> None:
    assert set(LISTED) == {path.stem for path in FOLDER.glob("*.vggq")} >= set(CASES)
    for name, listed in LISTED.items():
        data = (FOLDER / f"{name}.vggq").read_bytes()
        assert hashlib.sha256(data).hexdigest() == listed["sha256"], name


def tensors() -> Iterator[tuple[vggq.TensorInfo, bytes]]:
    for name in LISTED:
        with vggq.open(FOLDER / f"{name}.vggq") as weights:
            yield from (
                (tensor, bytes(packed_file(weights).content(tensor.name)))
                for tensor in weights.tensors.values()
            )


def test_every_codec_and_every_variant_of_one_is_among_them() -> None:
    found = list(tensors())
    raw = {tensor.stored_dtype for tensor, _ in found if isinstance(tensor.codec, Raw)}
    assert raw == set(STORAGE)
    books = {tensor.codec for tensor, _ in found if isinstance(tensor.codec, Codebook)}
    assert {codec.width for codec in books} == {1, 2, 4, 8}
    assert any(codec.centroids < 1 << codec.width for codec in books)
    grids = {tensor.codec for tensor, _ in found if isinstance(tensor.codec, Grid)}
    assert {(codec.first, codec.dependent) for codec in grids} == {
        (first, dependent) for first in (False, True) for dependent in (False, True)
    }
    assert (
        {codec.taps > 1 for codec in grids} == {codec.rows > 1 for codec in grids} == {True, False}
    )


def test_every_kind_of_band_is_among_them() -> None:
    kinds, escapes = set(), set()
    for tensor, content in tensors():
        if isinstance(codec := tensor.codec, Grid):
            for band in parse(codec._split(content)[3], codec.taps, tensor.count // codec.taps):
                kinds.add((type(band.kind).__name__, band.kind.shift))
                escapes.add((type(band.kind).__name__, band.escapes.size > 0))
    assert kinds == {("Runs", 0), *(("Plain", shift) for shift in SHIFTS)}
    assert escapes == {(kind, some) for kind in ("Runs", "Plain") for some in (True, False)}


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", sorted(LISTED))
def test_the_arrays(name: str, threads: int) -> None:
    arrays = vggq.load(FOLDER / f"{name}.vggq", threads=threads)
    found = {name: described(array) for name, array in arrays.items()}
    assert found == LISTED[name]["arrays"]


RESTORE = """\
import json
from tests.golden.make import FOLDER, expected
print(json.dumps({path.stem: expected(path) for path in FOLDER.glob("*.vggq")}))
"""

# OpenBLAS takes the kernels of a processor that it is told of, and numpy leaves out those of its
# own that it is told to.
MACHINES: list[dict[str, str]] = [
    {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"},
    {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "8"},
    {"OPENBLAS_CORETYPE": "Sandybridge", "OMP_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "1"},
    {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join(machine.values()))
def test_the_arrays_on_another_machine(machine: dict[str, str]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", RESTORE]
    output = subprocess.run(command, check=True, env=os.environ | machine, stdout=subprocess.PIPE)
    assert json.loads(output.stdout) == LISTED


@pytest.mark.parametrize("name", sorted(CASES))
def test_its_source_gives_it_again(name: str, tmp_path: Path) -> None:
    """The arrays with any version of the libraries; the bytes where zstd's is that of the file."""
    state, options = CASES[name]
    source = save_safetensors(tmp_path / "s.safetensors", state)
    packed = pack(source, tmp_path / "s.vggq", **options)
    found = {name: described(array) for name, array in vggq.load(packed.target).items()}
    assert found == LISTED[name]["arrays"]
    with vggq.open(FOLDER / f"{name}.vggq") as golden:
        same = golden.manifest.zstd == packed.manifest.zstd
    digest = hashlib.sha256(packed.target.read_bytes()).hexdigest()
    assert (digest == LISTED[name]["sha256"]) or not same
