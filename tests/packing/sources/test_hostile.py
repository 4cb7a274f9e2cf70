"""Hostile checkpoints are rejected quickly, in little memory, and without running code."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from tests.helpers import untraced
from tests.packing.sources.pickles import Call, save_archive, save_legacy, tensor_pickle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_SECONDS = 1
MAX_MEMORY = 200_000_000
TOUCH = "open('exploded', 'w').close()"


def nested_key(times: int) -> bytes:
    """Return a dict whose key is a tuple of 2^times items, nested `times` deep."""
    return b"\x80\x02})q\x000" + b"h\x00h\x00\x86q\x000" * times + b"h\x00K\x01s."


def repeated_list(times: int) -> bytes:
    """Return a list of n pairs, of which n ordered dicts are made."""
    pair = b"\x80\x02K\x01K\x02\x86q\x000](" + b"h\x00" * times + b"eq\x010"
    call = b"ccollections\nOrderedDict\nq\x020" + b"h\x02h\x01\x85R0" * times
    return pair + call + b"}."


def long_key(times: int) -> bytes:
    """Return a dict with a number of a million bits as a key, which is set n times."""
    number = b"\x8b" + (125_000).to_bytes(4, "little") + b"\x7f" * 125_000
    return b"\x80\x02" + number + b"q\x000}" + b"h\x00Ns" * times + b"."


DAMAGED = "damaged pickle: "
HOSTILE: dict[str, tuple[bytes, str]] = {
    "os.system": (
        pickle.dumps(Call(os.system, "touch exploded"), 2),
        f"the pickle refers to {os.system.__module__}.system, which no state dict needs",
    ),
    "builtins.eval": (
        pickle.dumps(Call(eval, TOUCH), 2),
        "the pickle refers to __builtin__.eval, which no state dict needs; no code was run",
    ),
    "builtins.eval, protocol 4": (
        pickle.dumps(Call(eval, TOUCH), 4),
        "the pickle refers to builtins.eval, which no state dict needs; no code was run",
    ),
    "a hostile argument of an allowed class": (
        b"\x80\x02ccollections\nOrderedDict\n(](X\x01\x00\x00\x00acos\nsystem\netR.",
        "the pickle refers to os.system",
    ),
    "a call of an allowed class with a number": (
        b"\x80\x02ccollections\nOrderedDict\nK\x07\x85R.",
        DAMAGED + "an ordered dict has no list of pairs",
    ),
    "100,000 calls of an allowed class with a long list": (
        repeated_list(100_000),
        "the pickle needs more work than any state dict",
    ),
    "a tensor built by a constant": (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nq\x00h\x00)}tR.",
        DAMAGED + "a tensor is built by an object that is not a function",
    ),
    "a tensor built by calls nested 5,000 deep": (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00ctorch\nTensor\nq\x010)q\x020"
        + b"(h\x00h\x01h\x02}tq\x020" * 5000
        + b"h\x00h\x02R.",
        DAMAGED,
    ),
    "a call of a dict": (b"\x80\x02})R.", DAMAGED + "it calls an object that is not a function"),
    "build on a function": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",
        DAMAGED + "expected a dict",
    ),
    "newobj": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "the pickle uses the opcode NEWOBJ"),
    "an extension": (b"\x80\x02\x82\x01.", "the pickle uses the opcode EXT1"),
    "a memo index of 2 GB": (b"\x80\x02Nr\xff\xff\xff\x7f.", "contains a NoneType"),
    "a key that takes forever to hash": (nested_key(80), "unsupported key type tuple"),
    "a key of a million bits": (long_key(100_000), "unsupported key type long int"),
    "200,000 nested marks": (
        b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".", "contains a tuple"
    ),
    "a string of 4 GB": (b"\x80\x02X\xff\xff\xff\xff", DAMAGED),
    "a name of 60 KB": (b"\x80\x02c" + b"a" * 60_000 + b"\nb\n.", "the pickle refers to aaa"),
    "a tuple without a mark": (b"\x80\x02t.", DAMAGED),
    "an empty stack": (b"\x80\x02.", DAMAGED),
    "an unknown opcode": (b"\x80\x02\xff", DAMAGED),
    "no end": (b"\x80\x02N", DAMAGED),
    "an invalid storage": (b"\x80\x02NQ.", DAMAGED + "None is not a storage"),
    "an untyped storage of a typed tensor": (
        tensor_pickle(0, (2,), (1,), 2).replace(b"FloatStorage", b"UntypedStorage"),
        DAMAGED + "a tensor has no storage",
    ),
}  # fmt: skip


def huge_tensor(path: Path) -> None:
    """Write a tensor of 2^60 elements with a storage of ten bytes."""
    save_archive(path, tensor_pickle(0, (2**60,), (1,), 10), **{"0": bytes(10)})


def huge_storage(path: Path) -> None:
    """Write the same, with 2^60 as the number of elements of the storage, too."""
    save_archive(path, tensor_pickle(0, (2**60,), (1,), 2**60), **{"0": bytes(10)})


def huge_broadcast(path: Path) -> None:
    save_archive(path, tensor_pickle(0, (2**30, 2**30), (0, 0), 10), **{"0": bytes(40)})


def torch_bomb(path: Path) -> None:
    """Write 128 MB of zeros, compressed to half a MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 27))


def npz_bomb(path: Path) -> None:
    arrays: dict[str, Any] = {"w": np.zeros((1 << 28) + 4, np.uint8)}
    np.savez_compressed(path, **arrays)


def long_pickle(path: Path) -> None:
    """Write a pickle above the size limit."""
    save_archive(path, bytes((1 << 27) + 1))


def traversal(path: Path) -> None:
    save_archive(path, pickle.dumps({}, 2), **{"../../evil": b"x"})


def huge_npy(path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,)}\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(10))


def huge_safetensors(path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2**51], "data_offsets": [0, 2**53]}
    header = json.dumps({"w": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(10))


def huge_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10))


FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "a tensor of 2^60 elements": (
        "a.pt", huge_tensor, "tensor 'w': extends beyond its storage of 10 elements"
    ),
    "a storage of 2^60 elements": ("b.pt", huge_storage, "10 bytes, but 4611686018427387904 are"),
    "a broadcast to 2^60 elements": ("c.pt", huge_broadcast, "broadcasts 10 elements to 11529215"),
    "a compressed pickle": ("d.pt", torch_bomb, "the record 'data.pkl' is compressed"),
    "a zip bomb in .npz": ("e.npz", npz_bomb, "to 268435588 bytes, as only a zip bomb does"),
    "a pickle of 128 MB": ("f.pt", long_pickle, "the record 'data.pkl' has 134217729 bytes"),
    "a record name that leads out of the archive": (
        "g.pt", traversal, "the record name 'archive/data/../../evil' leads out of the archive"
    ),
    "an array of 2^60 elements": ("h.npy", huge_npy, "but its shape needs 4611686018427387904"),
    "an entry of 2^53 bytes": ("i.safetensors", huge_safetensors, "is truncated: it has 109 bytes"),
    "a dataset of 4 TB": ("j.h5", huge_hdf5, "its shape needs 4398046511104 bytes"),
}  # fmt: skip

# Reads each file in its arguments, and prints the error, the time, and the peak memory since the
# previous file; writing to clear_refs resets the peak.
CHILD = """
import json, sys, time
from pathlib import Path
import h5py
from vggq.errors import SourceError
from vggq.packing.sources import open_source

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

for path in sys.argv[1:]:
    Path("/proc/self/clear_refs").write_text("5")
    begin = time.process_time()
    try:
        with open_source(path) as source:
            for tensor in source.tensors:
                tensor.read()
        error = None
    except SourceError as caught:
        error = str(caught)
    print(json.dumps([error, time.process_time() - begin, peak()]))
"""


@dataclass(frozen=True)
class Outcome:
    error: str | None
    seconds: float
    peak: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Outcome]:
    """Return the outcome of reading each file; one process reads them all."""
    paths: dict[str, Path] = {}
    for number, (label, (pickled, _)) in enumerate(HOSTILE.items()):
        paths[f"{label}, zip"] = save_archive(folder / f"z{number}.pt", pickled)
        paths[f"{label}, legacy"] = save_legacy(folder / f"l{number}.pt", pickled)
    for label, (name, write, _) in FILES.items():
        paths[label] = folder / name
        write(paths[label])
    command = [sys.executable, "-c", CHILD, *map(str, paths.values())]
    run = subprocess.run(
        command, cwd=folder, env=untraced(), check=True, stdout=subprocess.PIPE, timeout=120
    )
    found = [Outcome(*json.loads(line)) for line in run.stdout.splitlines()]
    return dict(zip(paths, found, strict=True))


EXPECTED = {
    **{
        f"{label}, {kind}": end for label, (_, end) in HOSTILE.items() for kind in ("zip", "legacy")
    },
    **{label: message for label, (_, _, message) in FILES.items()},
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from Linux")
@pytest.mark.parametrize("label", EXPECTED)
def test_hostile_files_are_rejected_and_not_run(
    outcomes: dict[str, Outcome], folder: Path, label: str
) -> None:
    outcome = outcomes[label]
    assert outcome.error is not None
    assert EXPECTED[label] in outcome.error
    assert len(outcome.error) < 1000
    assert outcome.seconds < MAX_SECONDS
    assert outcome.peak < MAX_MEMORY
    assert not (folder / "exploded").exists()


def test_unpickling_the_hostile_pickles_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this test, the tests above could pass with harmless pickles."""
    for label in ("os.system", "builtins.eval", "builtins.eval, protocol 4"):
        (tmp_path / label).mkdir()
        monkeypatch.chdir(tmp_path / label)
        pickle.loads(HOSTILE[label][0])
        assert (tmp_path / label / "exploded").exists()
