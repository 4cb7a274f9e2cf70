"""torch checkpoints: read without torch, bit for bit what torch reads, and nothing is ever run."""

from __future__ import annotations

import io
import pickle
import random
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq.encode import pack
from vggq.errors import SourceError
from vggq.sources import Reading, open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def read(path: Path, key: str | None = None) -> dict[str, NDArray[Any]]:
    with open_source(path, Reading(key=key)) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def error_of(path: Path, key: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, key)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def zipped(path: Path, pickled: bytes, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in records.items():
            archive.writestr(f"archive/data/{name}", content)
    return path


# Pickles by hand: GLOBAL, then what is to be done with it.
STORAGE = (
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQ"
)


def tensor_pickle(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], held: int
) -> bytes:
    """A state dict {"w": tensor}, as torch pickles one, with any sizes."""

    def number(value: int) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    def sizes(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    return (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
        + STORAGE % number(held)
        + number(offset)
        + sizes(shape)
        + sizes(strides)
        + b"\x89NtRs."
    )


def test_a_tensor_by_hand(tmp_path: Path) -> None:
    values = np.arange(12, dtype="<f4")
    path = zipped(
        tmp_path / "m.pt", tensor_pickle(1, (2, 3), (1, 4), 12), **{"0": values.tobytes()}
    )
    np.testing.assert_array_equal(read(path)["w"], [[1, 5, 9], [2, 6, 10]])


def test_a_record_of_a_big_endian_machine(tmp_path: Path) -> None:
    values = np.arange(12, dtype=">f4")
    path = zipped(tmp_path / "m.pt", tensor_pickle(0, (12,), (1,), 12), **{"0": values.tobytes()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", b"big")
    np.testing.assert_array_equal(read(path)["w"], np.arange(12))


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "held", "message"),
    [
        (0, (2**60,), (1,), 10, "tensor 'w' reaches beyond its storage of 10 elements"),
        (0, (2**60,), (0,), 10, "tensor 'w' is broadcast from 10 elements to 1152921504606846976"),
        (1, (10,), (1,), 10, "tensor 'w' reaches beyond its storage of 10 elements"),
        (0, (2, 5), (6, 1), 10, "tensor 'w' reaches beyond its storage of 10 elements"),
        (-1, (2,), (1,), 10, "a damaged pickle: a tensor's sizes are none"),
        (0, (2,), (-1,), 10, "a damaged pickle: a tensor's sizes are none"),
        (0, (2, 2), (1,), 10, "a damaged pickle: a tensor's sizes are none"),
        (0, (1,) * 33, (1,) * 33, 10, "a damaged pickle: a tensor's sizes are none"),
    ],
)
def test_sizes_that_lie(
    tmp_path: Path,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    held: int,
    message: str,
) -> None:
    pickled = tensor_pickle(offset, shape, strides, held)
    assert error_of(zipped(tmp_path / "m.pt", pickled, **{"0": bytes(40)})) == message


def test_a_storage_that_is_shorter_than_its_pickle_says(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.pt", tensor_pickle(0, (100,), (1,), 100), **{"0": bytes(40)})
    with pytest.raises(SourceError, match="the record 'data/0' has 40 bytes, not 400"):
        read(path)


class Evil:
    """Pickles to a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def doubled(times: int) -> bytes:
    """A tuple of itself twice, `times` deep, put under a key."""
    return b"\x80\x02})q\x000" + b"h\x00h\x00\x86q\x000" * times + b"h\x00K\x01s."


HOSTILE: dict[str, tuple[bytes, str]] = {
    "os.system": (pickle.dumps(Evil(__import__("os").system, "touch exploded"), 2), ".system"),
    "builtins.eval": (
        pickle.dumps(Evil(eval, "open('exploded', 'w')"), 2),
        "the pickle names __builtin__.eval",
    ),
    "builtins.eval, protocol 4": (
        pickle.dumps(Evil(eval, "open('exploded', 'w')"), 4),
        "the pickle names builtins.eval",
    ),
    "an allowed class, a hostile argument": (
        b"\x80\x02ccollections\nOrderedDict\n(](X\x01\x00\x00\x00acos\nsystem\netR.",
        "the pickle names os.system",
    ),
    "an allowed class called with a number": (
        b"\x80\x02ccollections\nOrderedDict\nK\x07\x85R.",
        "a damaged pickle",
    ),
    "a call of a table": (b"\x80\x02})R.", "a damaged pickle: a call of what is no function"),
    "build on a function": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",
        "a damaged pickle: a dict was expected",
    ),
    "newobj": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "the pickle uses NEWOBJ"),
    "an extension": (b"\x80\x02\x82\x01.", "the pickle uses EXT1"),
    "a memo index of 2 GB": (b"\x80\x02Nr\xff\xff\xff\x7f.", "it holds a NoneType"),
    "a key that takes for ever to hash": (doubled(80), "a key of a table is a tuple"),
    "a string of 4 GB": (b"\x80\x02X\xff\xff\xff\xff", "a damaged pickle: "),
    "a tuple without a mark": (b"\x80\x02t.", "a damaged pickle: "),
    "nothing on the stack": (b"\x80\x02.", "a damaged pickle: "),
    "an unknown opcode": (b"\x80\x02\xff", "a damaged pickle: "),
    "no end": (b"\x80\x02N", "a damaged pickle: "),
    "a storage that is none": (b"\x80\x02NQ.", "a damaged pickle: None is no storage"),
    "a quantized tensor": (
        b"\x80\x02ctorch._utils\n_rebuild_qtensor\n.",
        "the pickle names torch._utils._rebuild_qtensor",
    ),
}


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pickled, message = HOSTILE[name]
    path = tmp_path / "m.pt"
    if kind == "zip":
        zipped(path, pickled)
    else:
        path.write_bytes(LEGACY_HEAD + pickled + pickle.dumps([], 2))
    tracemalloc.start()
    begin = time.process_time()
    try:
        assert message in error_of(path)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 1
    assert not Path("exploded").exists()


LEGACY_HEAD = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
)


def test_records_that_are_not_torchs(tmp_path: Path) -> None:
    pickled = pickle.dumps({}, 2)
    path = zipped(tmp_path / "m.pt", pickled, **{"../../evil": b"x"})
    assert error_of(path) == "a record named 'archive/data/../../evil' leads out of the archive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    assert error_of(path) == "the record 'archive/data.pkl' is compressed, as torch writes none"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("b/data.pkl", pickled)
    assert error_of(path) == "it is a zip archive without torch's data.pkl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/constants.pkl", pickled)
    assert error_of(path).startswith("it is a TorchScript archive: save its state dict")


def test_a_legacy_file_of_a_big_endian_machine(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    head = LEGACY_HEAD.replace(b"\x88", b"\x89")
    path.write_bytes(head + pickle.dumps({}, 2) + pickle.dumps([], 2))
    assert error_of(path) == "it was written on a big-endian machine: load and save it with torch"


# From here on the real library writes, and is held against.


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    torch = pytest.importorskip("torch")

    def write(root: Any) -> Path:
        path = tmp_path / "m.pth"
        torch.save(root, path, _use_new_zipfile_serialization=request.param)
        return path

    return write


def states() -> dict[str, Any]:
    import torch  # noqa: PLC0415

    torch.manual_seed(0)
    base = torch.randn(6, 8)
    flat = torch.arange(24.0)
    return {
        "plain": base,
        "transposed": base.t(),
        "strided": base[::2, 1::3],
        "expanded": base[0].expand(5, 8),
        "a row": base[3],
        "shared.1": flat[:12].view(3, 4),
        "shared.2": flat[12:].view(4, 3),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        **{
            str(dtype): torch.arange(10).to(dtype)
            for dtype in (
                torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16,
                torch.int32, torch.int64, torch.bool, torch.uint16, torch.uint32, torch.uint64,
                torch.float8_e4m3fn, torch.float8_e5m2,
            )
        },
        "odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    }  # fmt: skip


def assert_same(found: dict[str, NDArray[Any]], state: dict[str, Any]) -> None:
    import torch  # noqa: PLC0415

    assert set(found) == set(state)
    for name, tensor in state.items():
        values = tensor.detach().contiguous()
        if values.dtype == torch.bfloat16:
            values = values.view(torch.uint16)
        elif values.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
            values = values.view(torch.uint8)
        expected = values.numpy()
        assert found[name].shape == expected.shape
        assert found[name].dtype == expected.dtype
        assert found[name].tobytes() == expected.tobytes()


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_any_state_dict(tmp_path: Path, kind: str) -> None:
    import torch  # noqa: PLC0415

    state, path = states(), tmp_path / "m.pth"
    if kind == "legacy":
        # What torch writes of these in the old format it cannot read itself.
        for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"):
            del state[f"torch.{name}"]
    torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    assert_same(read(path), torch.load(path))


@pytest.mark.torch
def test_a_modules_state_dict(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    path = save(module.state_dict())
    assert_same(read(path), module.state_dict())


@pytest.mark.torch
@pytest.mark.parametrize("name", ["state_dict", "model", "anything"])
def test_a_nested_state_dict(save: Callable[[Any], Path], name: str) -> None:
    import torch  # noqa: PLC0415

    state = {"w": torch.randn(3)}
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
    path = save({name: state, "optimizer": optimizer, "epoch": 3, "best": 0.5, "note": None})
    assert_same(read(path), state)
    assert_same(read(path, name), state)
    with open_source(path) as source:
        assert source.key == name
    with open_source(path, Reading(key=name)) as source:
        assert source.key is None


@pytest.mark.torch
def test_which_state_dict_is_meant_has_to_be_clear(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    path = save({"ema": {"w": torch.zeros(2)}, "raw": {"w": torch.ones(2)}, "n": {}})
    assert error_of(path) == "key: name the table to read; those with tensors are 'ema', 'raw'"
    assert read(path, "raw")["w"].tolist() == [1, 1]
    assert error_of(path, "nope") == (
        "key: there is no table 'nope'; its tables are 'ema', 'n', 'raw'"
    )
    assert error_of(save({"epoch": 3})) == (
        "key: name the table to read; those with tensors are nothing"
    )
    assert error_of(save([torch.zeros(1)])) == "it holds a list, and no state dict"


@pytest.mark.torch
def test_a_whole_module_and_odd_dtypes_are_refused_by_name(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    message = error_of(save(torch.nn.Linear(2, 2)))
    assert "torch.nn.modules.linear.Linear" in message
    assert "torch.save(model.state_dict(), path)" in message
    path = save({"z": torch.zeros(2, dtype=torch.complex64)})
    assert "complex64, which is not supported" in error_of(path)
    with warnings.catch_warnings():
        # torch means to give them up.
        warnings.simplefilter("ignore")
        path = save({"q": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)})
    assert "torch._utils._rebuild_qtensor" in error_of(path)


@pytest.mark.torch
def test_truncations_and_flips(save: Callable[[Any], Path]) -> None:
    path = save(states())
    data = path.read_bytes()
    for length in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        with pytest.raises(SourceError):
            read(path)
    chance = random.Random(1)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with suppress(SourceError):
            read(path)


@pytest.mark.torch
def test_flips_in_a_zips_records_are_noticed(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    path = tmp_path / "m.pt"
    torch.save({"w": torch.randn(1000)}, path)
    expected = read(path)["w"]
    data = path.read_bytes()
    chance = random.Random(2)
    noticed = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read(path)["w"], expected)
        except SourceError:
            noticed += 1
    assert noticed > 200


@pytest.mark.torch
def test_packing_a_checkpoint_loads_no_torch(save: Callable[[Any], Path], tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    state = {"w": torch.randn(50, 40), "b": torch.randn(50)}
    path = save({"model": state, "epoch": 1})
    code = (
        "import sys; from vggq.encode import pack; pack(sys.argv[1], sys.argv[2]); "
        "assert 'torch' not in sys.modules"
    )
    target = tmp_path / "m.vggq"
    subprocess.run([sys.executable, "-c", code, str(path), str(target)], check=True)
    restored = vggq.load(target)
    np.testing.assert_array_equal(restored["b"], state["b"].numpy())
    np.testing.assert_allclose(restored["w"], state["w"].numpy(), atol=0.05)
    assert pack(path, target, key="model").manifest.options["key"] == "model"


def test_pickletools_reads_what_a_buffer_holds_and_no_more() -> None:
    """The interpreter leaves a file behind its pickle: the legacy format depends on it."""
    from vggq.sources.torch._pickle import Pickle  # noqa: PLC0415

    file = io.BytesIO(pickle.dumps({"a": [1, (2.5, None, True)]}, 2) + b"rest")
    assert Pickle({}, lambda pid: pid).load(file) == {"a": [1, (2.5, None, True)]}
    assert file.read() == b"rest"
