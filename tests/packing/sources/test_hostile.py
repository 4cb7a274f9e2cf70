"""Hostile checkpoints: refused by name, at once and in little memory, with nothing of them run."""

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
from tests.packing.sources.pickles import Call, legacy, tensor_pickle, zipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 1
BYTES = 200_000_000
TOUCH = "open('exploded', 'w').close()"


def doubled(times: int) -> bytes:
    """A tuple of itself twice, `times` deep, put under a key."""
    return b"\x80\x02})q\x000" + b"h\x00h\x00\x86q\x000" * times + b"h\x00K\x01s."


def again_and_again(times: int) -> bytes:
    """A list of so many pairs, of which as many ordered dicts are made."""
    pair = b"\x80\x02K\x01K\x02\x86q\x000](" + b"h\x00" * times + b"eq\x010"
    call = b"ccollections\nOrderedDict\nq\x020" + b"h\x02h\x01\x85R0" * times
    return pair + call + b"}."


def long_key(times: int) -> bytes:
    """A table with a number of a million bits for a key, and set so many times."""
    number = b"\x8b" + (125_000).to_bytes(4, "little") + b"\x7f" * 125_000
    return b"\x80\x02" + number + b"q\x000}" + b"h\x00Ns" * times + b"."


DAMAGED = "a damaged pickle: "
HOSTILE: dict[str, tuple[bytes, str]] = {
    "os.system": (
        pickle.dumps(Call(os.system, "touch exploded"), 2),
        f"the pickle names {os.system.__module__}.system, which is not of a state dict",
    ),
    "builtins.eval": (
        pickle.dumps(Call(eval, TOUCH), 2),
        "the pickle names __builtin__.eval, which is not of a state dict; nothing of it was run",
    ),
    "builtins.eval, protocol 4": (
        pickle.dumps(Call(eval, TOUCH), 4),
        "the pickle names builtins.eval, which is not of a state dict; nothing of it was run",
    ),
    "an allowed class, a hostile argument": (
        b"\x80\x02ccollections\nOrderedDict\n(](X\x01\x00\x00\x00acos\nsystem\netR.",
        "the pickle names os.system",
    ),
    "an allowed class called with a number": (
        b"\x80\x02ccollections\nOrderedDict\nK\x07\x85R.",
        DAMAGED + "an ordered dict of no pairs",
    ),
    "an allowed class, a list again and again": (
        again_and_again(100_000),
        "the pickle calls for more work than any state dict's",
    ),
    "a tensor made by what is no function": (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nq\x00h\x00)}tR.",
        DAMAGED + "a tensor that is made of none",
    ),
    "a tensor made by tensors without end": (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00ctorch\nTensor\nq\x010)q\x020"
        + b"(h\x00h\x01h\x02}tq\x020" * 5000
        + b"h\x00h\x02R.",
        DAMAGED,
    ),
    "a call of a table": (b"\x80\x02})R.", DAMAGED + "a call of what is no function"),
    "build on a function": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",
        DAMAGED + "a dict was expected",
    ),
    "newobj": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "the pickle uses NEWOBJ"),
    "an extension": (b"\x80\x02\x82\x01.", "the pickle uses EXT1"),
    "a memo index of 2 GB": (b"\x80\x02Nr\xff\xff\xff\x7f.", "it holds a NoneType"),
    "a key that takes for ever to hash": (doubled(80), "a key of a table is a tuple"),
    "a key of a million bits": (long_key(100_000), "a key of a table is a int"),
    "marks in marks": (b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".", "it holds a tuple"),
    "a string of 4 GB": (b"\x80\x02X\xff\xff\xff\xff", DAMAGED),
    "a name of 60 KB": (b"\x80\x02c" + b"a" * 60_000 + b"\nb\n.", "the pickle names aaa"),
    "a tuple without a mark": (b"\x80\x02t.", DAMAGED),
    "nothing on the stack": (b"\x80\x02.", DAMAGED),
    "an unknown opcode": (b"\x80\x02\xff", DAMAGED),
    "no end": (b"\x80\x02N", DAMAGED),
    "a storage that is none": (b"\x80\x02NQ.", DAMAGED + "None is no storage"),
    "a storage of another type than its tensor's": (
        tensor_pickle(0, (2,), (1,), 2).replace(b"FloatStorage", b"UntypedStorage"),
        DAMAGED + "a tensor without a storage",
    ),
}  # fmt: skip


def huge_tensor(path: Path) -> None:
    """2^60 elements, and a storage of ten bytes."""
    zipped(path, tensor_pickle(0, (2**60,), (1,), 10), **{"0": bytes(10)})


def huge_storage(path: Path) -> None:
    """The storage's count lies as well."""
    zipped(path, tensor_pickle(0, (2**60,), (1,), 2**60), **{"0": bytes(10)})


def huge_broadcast(path: Path) -> None:
    zipped(path, tensor_pickle(0, (2**30, 2**30), (0, 0), 10), **{"0": bytes(40)})


def torch_bomb(path: Path) -> None:
    """128 MB of zeros in half a MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 27))


def npz_bomb(path: Path) -> None:
    arrays: dict[str, Any] = {"w": np.zeros((1 << 28) + 4, np.uint8)}
    np.savez_compressed(path, **arrays)


def long_pickle(path: Path) -> None:
    """A pickle that is longer than is read into memory."""
    zipped(path, bytes((1 << 27) + 1))


def traversal(path: Path) -> None:
    zipped(path, pickle.dumps({}, 2), **{"../../evil": b"x"})


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
        "a.pt", huge_tensor, "tensor 'w' reaches beyond its storage of 10 elements"
    ),
    "a storage of 2^60 elements": ("b.pt", huge_storage, "has 10 bytes, not 4611686018427387904"),
    "a broadcast to 2^60 elements": ("c.pt", huge_broadcast, "is broadcast from 10 elements to "),
    "a zip bomb": ("d.pt", torch_bomb, "the record 'data.pkl' is compressed"),
    "a zip bomb of numpy's": ("e.npz", npz_bomb, "the record 'w.npy' would expand to 268435588"),
    "a pickle of 128 MB": ("f.pt", long_pickle, "the record 'data.pkl' has 134217729 bytes"),
    "a record that leads out": (
        "g.pt", traversal, "a record named 'archive/data/../../evil' leads out of the archive"
    ),
    "an array of 2^60 elements": ("h.npy", huge_npy, "has 10 bytes, not the 4611686018427387904"),
    "an entry of 2^53 bytes": ("i.safetensors", huge_safetensors, "cut short: it has 109 bytes"),
    "a dataset of 4 TB": ("j.h5", huge_hdf5, "says that it has 4398046511104 bytes, and has not"),
}  # fmt: skip

# Reads each file named in its arguments, and says what became of it: the most memory it has had
# since the file before (the system starts to count anew where it is told so), and the time it took.
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
    except SourceError as refusal:
        error = str(refusal)
    print(json.dumps([error, time.process_time() - begin, peak()]))
"""


@dataclass(frozen=True)
class Verdict:
    error: str | None
    seconds: float
    peak: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def verdicts(folder: Path) -> dict[str, Verdict]:
    """What becomes of every file in a process that does nothing else."""
    paths: dict[str, Path] = {}
    for number, (label, (pickled, _)) in enumerate(HOSTILE.items()):
        paths[f"{label}, zip"] = zipped(folder / f"z{number}.pt", pickled)
        paths[f"{label}, legacy"] = legacy(folder / f"l{number}.pt", pickled)
    for label, (name, write, _) in FILES.items():
        paths[label] = folder / name
        write(paths[label])
    command = [sys.executable, "-c", CHILD, *map(str, paths.values())]
    run = subprocess.run(
        command, cwd=folder, env=untraced(), check=True, stdout=subprocess.PIPE, timeout=120
    )
    found = [Verdict(*json.loads(line)) for line in run.stdout.splitlines()]
    return dict(zip(paths, found, strict=True))


EXPECTED = {
    **{
        f"{label}, {kind}": end for label, (_, end) in HOSTILE.items() for kind in ("zip", "legacy")
    },
    **{label: message for label, (_, _, message) in FILES.items()},
}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory was taken")
@pytest.mark.parametrize("label", EXPECTED)
def test_what_is_hostile_is_refused_and_not_run(
    verdicts: dict[str, Verdict], folder: Path, label: str
) -> None:
    verdict = verdicts[label]
    assert verdict.error is not None
    assert EXPECTED[label] in verdict.error
    assert len(verdict.error) < 1000
    assert verdict.seconds < SECONDS
    assert verdict.peak < BYTES
    assert not (folder / "exploded").exists()


def test_the_hostile_pickles_do_explode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise that nothing exploded would say nothing."""
    for label in ("os.system", "builtins.eval", "builtins.eval, protocol 4"):
        (tmp_path / label).mkdir()
        monkeypatch.chdir(tmp_path / label)
        pickle.loads(HOSTILE[label][0])
        assert (tmp_path / label / "exploded").exists()
