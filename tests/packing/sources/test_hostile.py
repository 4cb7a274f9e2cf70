"""Hostile checkpoints are rejected quickly, in little memory, and without running code."""

from __future__ import annotations

import io
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
from tests.packing.sources.zips import CENTRAL, END, LOCAL
from vggq.errors import SourceError
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_SECONDS = 1
MAX_MEMORY = 200_000_000
TOUCH = "open('exploded', 'w').close()"
COMMAND = b"X\x0e\x00\x00\x00touch exploded"
CALL = b"cos\nsystem\n" + COMMAND + b"\x85R"


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


TENSOR = tensor_pickle(0, (1,), (1,), 1)[len(b"\x80\x02}X\x01\x00\x00\x00w") : -2]


def under_model(pickled: bytes) -> bytes:
    """Return a dict with a pickled value, and with no other."""
    return b"\x80\x02}X\x05\x00\x00\x00model" + pickled + b"s."


def doubled(times: int, pair: bytes) -> bytes:
    """Return a tensor in objects of which each has the one before twice, as memo 0."""
    return TENSOR + b"q\x000" + (pair + b"q\x000") * times + b"h\x00"


def repeated_arguments(times: int) -> bytes:
    """Return n calls of an unknown class with the same 100,000 arguments."""
    arguments = b"(" + b"K\x01" * 100_000 + b"tq\x000cunknown\nClass\nq\x010"
    return b"\x80\x02" + arguments + b"](" + b"h\x01h\x00R" * times + b"e."


def repeated_dict(times: int) -> bytes:
    """Return a dict of n times the same dict, of 20,000 dicts."""
    inner = b"".join(b"M" + number.to_bytes(2, "little") + b"}" for number in range(20_000))
    outer = b"".join(b"M" + number.to_bytes(2, "little") + b"h\x00" for number in range(times))
    return b"\x80\x02}(" + inner + b"uq\x000}(" + outer + b"u."


def long_names(times: int) -> bytes:
    """Return n tensors in a list under a key of 100,000 characters."""
    key = b"X" + (100_000).to_bytes(4, "little") + b"k" * 100_000
    return TENSOR + b"q\x000}" + key + b"](" + b"h\x00" * times + b"es"


DAMAGED = "damaged pickle: "
NESTED = "the containers of the state dict are nested too often"
NO_TENSORS = "none of its dicts contains tensors"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "os.system": (
        pickle.dumps(Call(os.system, "touch exploded"), 2),
        f"contains an object of {os.system.__module__}.system, not a state dict: no code was run",
    ),
    "builtins.eval": (
        pickle.dumps(Call(eval, TOUCH), 2),
        "contains an object of __builtin__.eval, not a state dict: no code was run",
    ),
    "builtins.eval, protocol 4": (
        pickle.dumps(Call(eval, TOUCH), 4),
        "contains an object of builtins.eval, not a state dict: no code was run",
    ),
    "a hostile argument of an allowed class": (
        b"\x80\x02ccollections\nOrderedDict\n(](](X\x01\x00\x00\x00a" + CALL + b"eetR.",
        NO_TENSORS,
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
        DAMAGED + "a function has no attributes",
    ),
    "a call within a state dict": (
        b"\x80\x02}X\x01\x00\x00\x00w" + CALL + b"s.", NO_TENSORS
    ),
    "newobj": (b"\x80\x02" + CALL[:-1] + b"\x81.", "contains an object of os.system, not a"),
    "obj": (b"\x80\x02(cos\nsystem\n" + COMMAND + b"o.", "contains an object of os.system, not a"),
    "inst": (b"\x80\x02(" + COMMAND + b"ios\nsystem\n.", "contains an object of os.system, not a"),
    "an extension": (b"\x80\x02\x82\x01.", "contains a reference to the copyreg extension 1, not"),
    "a module": (b"\x80\x02cexploded\nmain\n)R.", "contains an object of exploded.main, not a"),
    "an out-of-band buffer": (b"\x80\x05\x97.", "the pickle uses the opcode NEXT_BUFFER"),
    "a memo index of 2 GB": (b"\x80\x02Nr\xff\xff\xff\x7f.", "contains a NoneType"),
    "a key that takes forever to hash": (nested_key(80), NO_TENSORS),
    "a key of a million bits": (long_key(100_000), NO_TENSORS),
    "a global whose name takes forever to write": (
        b"\x80\x04]q\x000" + b"](h\x00h\x00eq\x000" * 80 + b"h\x00\x8c\x01a\x93.",
        DAMAGED + "the name of a global is not a string",
    ),
    "a function that takes forever to hash": (
        b"\x80\x02K\x01\x85q\x000" + b"h\x00h\x00\x86q\x000" * 80
        + b"ctorch._tensor\n_rebuild_from_type_v2\n(h\x00ctorch\nTensor\n)NtR.",
        DAMAGED + "a tensor is built by an object that is not a function",
    ),
    "a storage that takes forever to show": (
        b"\x80\x02K\x01\x85q\x000" + b"cunknown\nClass\nh\x00h\x00\x86Rq\x000" * 80 + b"h\x00Q.",
        DAMAGED + "<unknown.Class> is not a storage",
    ),
    "2^80 names in lists": (under_model(doubled(80, b"](h\x00h\x00e")), NESTED),
    "2^80 names in objects": (
        under_model(doubled(80, b"cunknown\nClass\nh\x00h\x00\x86R")),
        "the key 'model' is that of an object of unknown.Class, whose tensors are not read",
    ),
    "names of 5 GB": (under_model(long_names(50_000)), NESTED),
    "a dict in itself": (b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s.", NO_TENSORS),
    "a tensor in 50,000 lists": (under_model(b"]" * 50_000 + TENSOR + b"a" * 50_000), NESTED),
    "100,000 calls of an unknown class with many arguments": (
        repeated_arguments(100_000), "contains a list, not a state dict"
    ),
    "60,000 names of a dict with 20,000 dicts": (repeated_dict(60_000), NO_TENSORS),
    "50,000 calls of an allowed class in calls": (
        b"\x80\x02](" + b"K\x01K\x02\x86" * 30_000 + b"e\x85q\x000ccollections\nOrderedDict\nq\x010"
        b"ctorch\nTensor\nq\x020ctorch._tensor\n_rebuild_from_type_v2\nq\x030"
        + b"h\x03(h\x01h\x02h\x00NtR0" * 50_000 + b"}.",
        DAMAGED + "a tensor is built by an object that is not a function",
    ),
    "200,000 nested marks": (
        b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".", "contains a tuple"
    ),
    "a string of 4 GB": (b"\x80\x02X\xff\xff\xff\xff", DAMAGED),
    "a name of 60 KB": (b"\x80\x02c" + b"a" * 60_000 + b"\nb\n)R.", "contains an object of aaa"),
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


NESTED_MODEL = "the containers of the checkpoint are nested too often"
# Pickles that need much work if all of their tensors get names.
MODELS: dict[str, tuple[bytes, str]] = {
    "a tensor in 100,000 lists": (
        b"\x80\x02" + b"]" * 100_000 + TENSOR + b"a" * 100_000 + b".", NESTED_MODEL
    ),
    "a tensor in 50,000 objects": (
        b"\x80\x02cunknown\nClass\nq\x000" + b"h\x00(" * 50_000 + TENSOR + b"tR" * 50_000 + b".",
        NESTED_MODEL,
    ),
    "names of 5 GB in a list": (b"\x80\x02" + long_names(50_000) + b".", NESTED_MODEL),
    "150,000 names": (
        b"\x80\x02" + TENSOR + b"q\x000](" + b"h\x00" * 150_000 + b"e.", NESTED_MODEL
    ),
    # Only the first ones get names.
    "10,000 names of a list of 10,000 tensors": (
        b"\x80\x02" + TENSOR + b"q\x000](" + b"h\x00" * 10_000 + b"eq\x010]("
        + b"h\x01" * 10_000 + b"e.",
        "",
    ),
}  # fmt: skip
# The same errors, whether the files are restored or only their tensors.
INDEPENDENT = (DAMAGED, "the pickle ", "the record ")


def huge_tensor(path: Path) -> None:
    """Write a tensor of 2^60 elements with a storage of ten bytes."""
    save_archive(path, tensor_pickle(0, (2**60,), (1,), 10), **{"0": bytes(10)})


def huge_storage(path: Path) -> None:
    """Write the same, with 2^60 as the number of elements of the storage, too."""
    save_archive(path, tensor_pickle(0, (2**60,), (1,), 2**60), **{"0": bytes(10)})


def huge_broadcast(path: Path) -> None:
    save_archive(path, tensor_pickle(0, (2**30, 2**30), (0, 0), 10), **{"0": bytes(40)})


def torch_bomb(path: Path) -> None:
    """Write 128 MB of opcodes, compressed to half a MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N" * ((1 << 27) - 2))


def storage_bomb(path: Path) -> None:
    """Write 512 MB of zeros, compressed to half a MB."""
    count = 1 << 27
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor_pickle(0, (1,), (1,), count))
        with archive.open("archive/data/0", "w", force_zip64=True) as storage:
            for _ in range(count >> 18):
                storage.write(bytes(1 << 20))


def npz_bomb(path: Path) -> None:
    arrays: dict[str, Any] = {"w": np.zeros((1 << 28) + 4, np.uint8)}
    np.savez_compressed(path, **arrays)


def keras_bomb(path: Path) -> None:
    """Write 512 MB of zeros as the weights, compressed to half a MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as weights:
            for _ in range(1 << 9):
                weights.write(bytes(1 << 20))


def many_bombs(path: Path) -> None:
    """Write 50 arrays of 40 MB, of which none is a bomb by itself."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (41943040,)}\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", start + bytes(41943040))
    info, data = archive.infolist()[0], content.getvalue()
    offset = 30 + len(info.filename)
    packed = data[offset : offset + info.compress_size]
    parts, directory = [], []
    position = 0
    for number in range(50):
        name = f"{number}.npy".encode()
        sizes = (info.CRC, info.compress_size, info.file_size, len(name), 0)
        local = LOCAL.pack(b"PK\x03\x04", 20, 0, 8, 0, 33, *sizes) + name + packed
        central = (20, 20, 0, 8, 0, 33, *sizes, 0, 0, 0, 0, position)
        directory.append(CENTRAL.pack(b"PK\x01\x02", *central) + name)
        parts.append(local)
        position += len(local)
    listed = b"".join(directory)
    end = END.pack(b"PK\x05\x06", 0, 0, 50, 50, len(listed), position, 0)
    path.write_bytes(b"".join(parts) + listed + end)


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
    "a compressed pickle": ("d.pt", torch_bomb, "to 134217728 bytes, as only a zip bomb does"),
    "a compressed storage": ("k.pt", storage_bomb, "to 536870912 bytes, as only a zip bomb does"),
    "a zip bomb in .npz": ("e.npz", npz_bomb, "to 268435588 bytes, as only a zip bomb does"),
    "a pickle of 128 MB": ("f.pt", long_pickle, "the record 'data.pkl' has 134217729 bytes"),
    "a record name that leads out of the archive": (
        "g.pt", traversal, "the record name 'archive/data/../../evil' leads out of the archive"
    ),
    "an array of 2^60 elements": ("h.npy", huge_npy, "but its shape needs 4611686018427387904"),
    "an entry of 2^53 bytes": ("i.safetensors", huge_safetensors, "is truncated: it has 109 bytes"),
    "a dataset of 4 TB": ("j.h5", huge_hdf5, "its shape needs 4398046511104 bytes"),
    "a zip bomb in .keras": ("l.keras", keras_bomb, "to 536870912 bytes, as only a zip bomb does"),
}  # fmt: skip

# Files that can be restored, because what is hostile in them is kept exactly.
KEPT: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a dataset of 4 TB": ("j.h5", huge_hdf5),
    "50 arrays of 40 MB, compressed to 2 MB": ("m.npz", many_bombs),
}

# Reads each file in its arguments, whose path follows what is restored. Prints the error, the time,
# and the peak memory since the previous file; writing to clear_refs resets the peak.
CHILD = """
import json, sys, time
from pathlib import Path
import h5py
from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, open_source

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

for argument in sys.argv[1:]:
    restore, path = argument.split(":", 1)
    Path("/proc/self/clear_refs").write_text("5")
    begin = time.process_time()
    try:
        with open_source(path, ReadOptions(restore=restore)) as source:
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
def outcomes(folder: Path) -> dict[tuple[str, str], Outcome]:
    """Return the outcome of reading each file, and restoring it; one process reads them all."""
    paths: dict[str, Path] = {}
    for number, (label, (pickled, _)) in enumerate((HOSTILE | MODELS).items()):
        paths[f"{label}, zip"] = save_archive(folder / f"z{number}.pt", pickled)
        paths[f"{label}, legacy"] = save_legacy(folder / f"l{number}.pt", pickled)
    for label, (name, write, _) in FILES.items():
        paths[label] = folder / name
        write(paths[label])
    keys = [("tensors", label) for label in EXPECTED]
    for label, (name, write_kept) in KEPT.items():
        paths[label] = folder / name
        write_kept(paths[label])
    keys += [("model", label) for label in paths]
    arguments = [f"{restore}:{paths[label]}" for restore, label in keys]
    command = [sys.executable, "-c", CHILD, *arguments]
    run = subprocess.run(
        command, cwd=folder, env=untraced(), check=True, stdout=subprocess.PIPE, timeout=240
    )
    found = [Outcome(*json.loads(line)) for line in run.stdout.splitlines()]
    return dict(zip(keys, found, strict=True))


def with_kinds(expected: dict[str, str]) -> dict[str, str]:
    return {
        f"{label}, {kind}": end for label, end in expected.items() for kind in ("zip", "legacy")
    }


EXPECTED = {
    **with_kinds({label: end for label, (_, end) in HOSTILE.items()}),
    **{label: message for label, (_, _, message) in FILES.items()},
}
EXPECTED_OF_MODELS = {
    **{label: end for label, end in EXPECTED.items() if end.startswith(INDEPENDENT)},
    **with_kinds({label: end for label, (_, end) in MODELS.items()}),
    **{
        label: end
        for label, (name, _, end) in FILES.items()
        if not name.endswith(".pt") and label not in KEPT
    },
}
MODEL_LABELS = [*with_kinds(dict.fromkeys([*HOSTILE, *MODELS], "")), *FILES]


def check_limits(outcome: Outcome, folder: Path) -> None:
    assert len(outcome.error or "") < 1000
    assert outcome.seconds < MAX_SECONDS
    assert outcome.peak < MAX_MEMORY
    assert not (folder / "exploded").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from Linux")
@pytest.mark.parametrize("label", EXPECTED)
def test_hostile_files_are_rejected_and_not_run(
    outcomes: dict[tuple[str, str], Outcome], folder: Path, label: str
) -> None:
    outcome = outcomes["tensors", label]
    assert outcome.error is not None
    assert EXPECTED[label] in outcome.error
    check_limits(outcome, folder)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from Linux")
@pytest.mark.parametrize("label", MODEL_LABELS)
def test_hostile_files_that_are_restored_are_not_run(
    outcomes: dict[tuple[str, str], Outcome], folder: Path, label: str
) -> None:
    """A file is rejected, or restored without looking into its objects."""
    outcome = outcomes["model", label]
    assert EXPECTED_OF_MODELS.get(label, "") in (outcome.error or "")
    check_limits(outcome, folder)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from Linux")
@pytest.mark.parametrize("label", KEPT)
def test_hostile_content_is_kept_exactly(
    outcomes: dict[tuple[str, str], Outcome], folder: Path, label: str
) -> None:
    outcome = outcomes["model", label]
    assert outcome.error is None
    check_limits(outcome, folder)


@pytest.mark.parametrize("label", [label for label in EXPECTED_OF_MODELS if label in FILES])
def test_hostile_files_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    name, write, _ = FILES[label]
    source = tmp_path / name
    write(source)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(SourceError):
        pack(source, tmp_path / "m.vggq", restore="model")
    assert not (tmp_path / "m.vggq").exists()
    assert not list((tmp_path / "temporary").iterdir())


def test_unpickling_the_hostile_pickles_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this test, the tests above could pass with harmless pickles."""
    for label in ("os.system", "builtins.eval", "builtins.eval, protocol 4"):
        (tmp_path / label).mkdir()
        monkeypatch.chdir(tmp_path / label)
        pickle.loads(HOSTILE[label][0])
        assert (tmp_path / label / "exploded").exists()
