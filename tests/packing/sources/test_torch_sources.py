"""torch checkpoints: read without torch, bit for bit what torch reads, and nothing is ever run."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from tests.packing.sources.pickles import LEGACY_HEAD, tensor_pickle, zipped
from vggq._reader import Reader
from vggq.errors import SourceError
from vggq.packing import pack
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources._zip import data_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def read(path: Path, key: str | None = None) -> dict[str, NDArray[Any]]:
    with open_source(path, ReadOptions(key=key)) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def error_of(path: Path, key: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, key)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


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


def test_records_that_are_not_torchs(tmp_path: Path) -> None:
    pickled = pickle.dumps({}, 2)
    path = zipped(tmp_path / "m.pt", pickled, **{"../../evil": b"x"})
    assert error_of(path) == "a record named 'archive/data/../../evil' leads out of the archive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    assert error_of(path) == "the record 'data.pkl' is compressed, as torch writes none"
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
@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickles(tmp_path: Path, kind: str, protocol: int) -> None:
    """And what may lie beside the weights in a checkpoint."""
    import torch  # noqa: PLC0415

    weight = torch.randn(3)
    weight.tag = "an attribute"
    rest = {
        "set": {1, 2}, "frozen": frozenset([3]), "bytes": b"a\xff", "array": bytearray(b"a"),
        "complex": 1j, "counter": Counter([1, 1]), "table": defaultdict(list, {1: [2]}),
        "dtype": torch.bfloat16, "device": torch.device("cpu"), "size": torch.Size([2, 3]),
        "long": 1 << 70, "none": None,
    }  # fmt: skip
    path = tmp_path / "m.pth"
    torch.save(
        {"w": weight, "b": torch.nn.Buffer(torch.ones(2)), "p": torch.nn.Parameter(weight), **rest},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=kind == "zip",
    )
    expected = torch.load(path, weights_only=False)
    assert expected["w"].tag == "an attribute"
    assert_same(read(path), {name: expected[name] for name in ("w", "b", "p")})


@pytest.mark.torch
def test_strings_of_python_2(tmp_path: Path) -> None:
    """What torchvision's classic files are of: byte strings, and ordered dicts of lists."""
    import torch  # noqa: PLC0415

    def text(value: str) -> bytes:
        content = value.encode()
        return b"U" + len(content).to_bytes(1, "little") + content

    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("7") + text("cpu") + b"K\x06NtQ"
    )
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x00K\x02K\x03\x86K\x03K\x01\x86tR"
    pair = b"](" + text("größe") + tensor + b"e"
    pickled = b"\x80\x02ccollections\nOrderedDict\n](" + pair + b"e\x85R."
    path = tmp_path / "m.pth"
    values = np.arange(6, dtype="<f4")
    keys = b"\x80\x02](" + text("7") + b"e."
    path.write_bytes(LEGACY_HEAD + pickled + keys + (6).to_bytes(8, "little") + values.tobytes())
    assert read(path)["größe"].tolist() == values.reshape(2, 3).tolist()
    assert_same(read(path), torch.load(path, weights_only=False))


@pytest.mark.torch
@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_records_of_every_alignment(tmp_path: Path, alignment: int) -> None:
    import torch  # noqa: PLC0415
    from torch.utils.serialization import config  # noqa: PLC0415

    path = tmp_path / "m.pth"
    with config.patch("save.storage_alignment", alignment):
        torch.save(states(), path)
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        infos = [info for info in archive.infolist() if "/data/" in info.filename]
        starts = [data_start(Reader(file, ""), info) for info in infos]
    assert all(start % alignment == 0 for start in starts)
    assert_same(read(path), torch.load(path))


@pytest.mark.torch
def test_what_torch_reads_of_a_big_endian_machine(tmp_path: Path) -> None:
    """torch's own archive, its storages turned as such a machine would have written them."""
    import torch  # noqa: PLC0415

    path = tmp_path / "m.pth"
    torch.save(states(), tmp_path / "little.pth")
    loaded = torch.load(tmp_path / "little.pth")
    turn_archive(tmp_path / "little.pth", path, storages_of(loaded))
    found = read(path)
    assert_same(found, loaded)
    # torch writes these as bytes, and so does not turn them back.
    for name in ("uint16", "uint32", "uint64"):
        del found[f"torch.{name}"]
    expected = torch.load(path)
    assert_same(found, {name: expected[name] for name in found})


def turn_archive(little: Path, big: Path, storages: list[Any]) -> None:
    widths = {f"data/{number}": tensor.element_size() for number, tensor in enumerate(storages)}
    with zipfile.ZipFile(little) as source, zipfile.ZipFile(big, "w") as target:
        for info in source.infolist():
            name, content = info.filename.partition("/")[2], source.read(info)
            if name == "byteorder":
                content = b"big"
            elif name in widths:
                width = widths[name]
                content = np.frombuffer(content, f"<u{width}").astype(f">u{width}").tobytes()
            target.writestr(info.filename, content)


def storages_of(state: dict[str, Any]) -> list[Any]:
    """One tensor of each storage, in the order in which they are first met."""
    seen: dict[int, Any] = {}
    for tensor in state.values():
        seen.setdefault(tensor.untyped_storage()._cdata, tensor)
    return list(seen.values())


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
    with open_source(path, ReadOptions(key=name)) as source:
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
def test_a_tensor_beside_the_state_dict_is_not_taken_for_it(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    state = {"w": torch.ones(2)}
    path = save({"step": torch.tensor(5), "model": state})
    with open_source(path) as source:
        assert (source.key, [tensor.name for tensor in source.tensors]) == ("model", ["w"])
    path = save({"step": torch.tensor(5), "mine": state})
    assert error_of(path) == "key: name the table to read; those with tensors are '.', 'mine'"
    assert list(read(path, "mine")) == ["w"]
    assert list(read(path, ".")) == ["step"]


@pytest.mark.torch
def test_what_a_module_keeps_beside_its_weights_is_no_state_dict(
    save: Callable[[Any], Path],
) -> None:
    import torch  # noqa: PLC0415

    path = save({"w": torch.ones(2), "norm._extra_state": {"seen": torch.zeros(1)}})
    assert list(read(path)) == ["w"]


@pytest.mark.torch
def test_a_table_in_a_table(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    state, other = {"w": torch.ones(2)}, {"w": torch.zeros(2)}
    path = save({"model": {"params": state}, "optimizer": {"state": {0: other}}})
    with open_source(path) as source:
        assert source.key == "model.params"
    assert read(path, "model.params")["w"].tolist() == [1, 1]
    path = save({"model": {"a": state, "b": other}})
    assert error_of(path) == (
        "key: name the table to read; those with tensors are 'model.a', 'model.b'"
    )
    assert read(path, "model.b")["w"].tolist() == [0, 0]
    assert error_of(path, "model.c") == (
        "key: there is no table 'model.c'; its tables are 'model', 'model.a', 'model.b'"
    )
    assert list(read(save({"a.b": state, "c": 1}), "a.b")) == ["w"]


@pytest.mark.torch
def test_a_whole_module_is_refused_by_name(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    for root in (torch.nn.Linear(2, 2), {"model": torch.nn.Linear(2, 2)}):
        message = error_of(save(root))
        assert "torch.nn.modules.linear.Linear" in message
        assert "torch.save(model.state_dict(), path)" in message


@pytest.mark.torch
def test_a_torchscript_archive_says_how_to_export(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    path, other = tmp_path / "m.pt", tmp_path / "other.pt"
    with warnings.catch_warnings():
        # torch means to give them up.
        warnings.simplefilter("ignore")
        module = torch.nn.Linear(300, 300)
        torch.jit.script(module).save(path)
        follow(error_of(path), "it is a TorchScript archive", path, other)
    assert_same(read(other), module.state_dict())


@pytest.mark.torch
@pytest.mark.parametrize("name", ["m.pt2", "m.pt", "m"])
def test_an_exported_program_says_how_to_export(tmp_path: Path, name: str) -> None:
    import torch  # noqa: PLC0415

    module = torch.nn.Linear(300, 300)
    path, other = tmp_path / name, tmp_path / "other.pt"
    with path.open("wb") as file:
        torch.export.save(torch.export.export(module, (torch.ones(1, 300),)), file)
    follow(error_of(path), "it is a program of torch.export", path, other)
    assert_same(read(other), module.state_dict())


def follow(message: str, what: str, path: Path, other: Path) -> None:
    """Do what an error says."""
    import torch  # noqa: PLC0415

    told, _, way_out = message.partition(": save its state dict, ")
    assert told == what
    with path.open("rb") as file:
        exec(way_out, {"torch": torch, "path": file, "other": other})


@pytest.mark.torch
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.zeros(2, dtype=t.complex64), "of complex64, which is not supported"),
        (lambda t: t.zeros(2, dtype=t.complex128), "of complex128, which is not supported"),
        (lambda t: t.zeros(2, dtype=t.complex32), "of complex32, which is not supported"),
        (
            lambda t: t.zeros(2).to(t.float8_e4m3fnuz),
            "of float8_e4m3fnuz, which is not supported",
        ),
        (
            lambda t: t.quantize_per_tensor(t.zeros(2), 0.1, 0, t.qint8),
            "quantized, which is not supported: save tensor.dequantize()",
        ),
        (
            lambda t: t.quantize_per_channel(t.eye(2), t.ones(2), t.zeros(2), 0, t.quint8),
            "quantized, which is not supported: save tensor.dequantize()",
        ),
        (
            lambda t: t.eye(2).to_sparse(),
            "sparse, which is not supported: save tensor.to_dense()",
        ),
        (
            lambda t: t.eye(2).to_sparse_csr(),
            "sparse, which is not supported: save tensor.to_dense()",
        ),
        (
            lambda t: t.nested.nested_tensor([t.ones(2), t.ones(3)]),
            "nested, which is not supported: save tensor.to_padded_tensor(0)",
        ),
        (
            lambda t: t.ones(2, device="meta"),
            (
                "of the device 'meta', without values, which is not supported: save the model with "
                "its weights loaded"
            ),
        ),
        # Its storage has it without the sign.
        (
            lambda t: t.full((2,), 1 + 2j).conj().imag,
            "a view that negates, which is not supported: save tensor.resolve_neg()",
        ),
    ],
)
def test_odd_tensors_are_refused_by_name(
    save: Callable[[Any], Path], make: Callable[[Any], Any], message: str
) -> None:
    import torch  # noqa: PLC0415

    with warnings.catch_warnings():
        # torch means to give some of them up.
        warnings.simplefilter("ignore")
        path = save({"fine": torch.ones(2), "odd": make(torch)})
    assert error_of(path) == f"tensor 'odd' is {message}"


@pytest.mark.torch
def test_packing_a_checkpoint_loads_no_torch(save: Callable[[Any], Path], tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    state = {"w": torch.randn(50, 40), "b": torch.randn(50)}
    path = save({"model": state, "epoch": 1})
    code = (
        "import sys; from vggq.packing import pack; pack(sys.argv[1], sys.argv[2]); "
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
    from vggq.packing.sources.torch._pickle import Pickle  # noqa: PLC0415

    file = io.BytesIO(pickle.dumps({"a": [1, (2.5, None, True)]}, 2) + b"rest")
    assert Pickle({}, lambda pid: pid).load(file) == {"a": [1, (2.5, None, True)]}
    assert file.read() == b"rest"
