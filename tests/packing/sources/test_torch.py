"""torch checkpoints are read without torch, bit for bit as torch reads them."""

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
from tests.packing.sources.pickles import LEGACY_HEAD, save_archive, tensor_pickle
from vggq._reader import Reader
from vggq.errors import SourceError
from vggq.packing import pack
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources._zip import data_offset
from vggq.packing.sources.torch._interpreter import PickleInterpreter

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
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


def test_reads_a_strided_tensor(tmp_path: Path) -> None:
    values = np.arange(12, dtype="<f4")
    path = save_archive(
        tmp_path / "m.pt", tensor_pickle(1, (2, 3), (1, 4), 12), **{"0": values.tobytes()}
    )
    np.testing.assert_array_equal(read(path)["w"], [[1, 5, 9], [2, 6, 10]])


def test_archive_of_a_big_endian_machine_is_read(tmp_path: Path) -> None:
    values = np.arange(12, dtype=">f4")
    path = save_archive(
        tmp_path / "m.pt", tensor_pickle(0, (12,), (1,), 12), **{"0": values.tobytes()}
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", b"big")
    np.testing.assert_array_equal(read(path)["w"], np.arange(12))


BROADCAST = (
    "tensor 'w': broadcasts 10 elements to 1152921504606846976, more than the limit of 16777216; "
    "`drop` can leave it out"
)


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "count", "message"),
    [
        (0, (2**60,), (1,), 10, "tensor 'w': extends beyond its storage of 10 elements"),
        (0, (2**60,), (0,), 10, BROADCAST),
        (1, (10,), (1,), 10, "tensor 'w': extends beyond its storage of 10 elements"),
        (0, (2, 5), (6, 1), 10, "tensor 'w': extends beyond its storage of 10 elements"),
        (-1, (2,), (1,), 10, "damaged pickle: a tensor has an invalid shape"),
        (0, (2,), (-1,), 10, "damaged pickle: a tensor has an invalid shape"),
        (0, (2, 2), (1,), 10, "damaged pickle: a tensor has an invalid shape"),
        (0, (1,) * 33, (1,) * 33, 10, "damaged pickle: a tensor has an invalid shape"),
    ],
)
def test_open_rejects_tensors_that_do_not_fit_their_storage(
    tmp_path: Path,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    count: int,
    message: str,
) -> None:
    pickled = tensor_pickle(offset, shape, strides, count)
    assert error_of(save_archive(tmp_path / "m.pt", pickled, **{"0": bytes(40)})) == message


def test_read_rejects_a_record_shorter_than_its_storage(tmp_path: Path) -> None:
    path = save_archive(tmp_path / "m.pt", tensor_pickle(0, (100,), (1,), 100), **{"0": bytes(40)})
    with pytest.raises(SourceError, match="the record 'data/0' has 40 bytes, but 400 are"):
        read(path)


def test_open_rejects_archives_that_torch_does_not_write(tmp_path: Path) -> None:
    pickled = pickle.dumps({}, 2)
    path = save_archive(tmp_path / "m.pt", pickled, **{"../../evil": b"x"})
    assert error_of(path) == "the record name 'archive/data/../../evil' leads out of the archive"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("b/data.pkl", pickled)
    assert error_of(path) == (
        "found 2 folders with a record data.pkl in the zip archive, expected 1"
    )


def test_open_rejects_legacy_files_of_big_endian_machines(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    head = LEGACY_HEAD.replace(b"\x88", b"\x89")
    path.write_bytes(head + pickle.dumps({}, 2) + pickle.dumps([], 2))
    assert (
        error_of(path) == "written on a big-endian machine; load it with torch, and save it again"
    )


# The tests below write with torch, and compare the results with what torch reads.


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
                torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.complex128,
            )
        },
        "conjugated": torch.tensor([1 + 2j, complex(0.0, -0.0)]).conj(),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    }  # fmt: skip


def assert_same(found: dict[str, NDArray[Any]], state: dict[str, Any]) -> None:
    import torch  # noqa: PLC0415

    assert set(found) == set(state)
    for name, tensor in state.items():
        values = tensor.detach().resolve_conj().contiguous()
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
def test_reads_every_dtype_and_view(tmp_path: Path, kind: str) -> None:
    import torch  # noqa: PLC0415

    state, path = states(), tmp_path / "m.pth"
    if kind == "legacy":
        # torch cannot read these in the legacy format, although it writes them.
        for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"):
            del state[f"torch.{name}"]
    torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    assert_same(read(path), torch.load(path))


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_every_pickle_protocol_and_ignores_other_objects(
    tmp_path: Path, kind: str, protocol: int
) -> None:
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
def test_reads_byte_strings_of_python_2(tmp_path: Path) -> None:
    """torchvision's oldest files contain byte strings, and ordered dicts made of lists."""
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
def test_reads_records_of_any_alignment(tmp_path: Path, alignment: int) -> None:
    import torch  # noqa: PLC0415
    from torch.utils.serialization import config  # noqa: PLC0415

    path = tmp_path / "m.pth"
    with config.patch("save.storage_alignment", alignment):
        torch.save(states(), path)
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        infos = [info for info in archive.infolist() if "/data/" in info.filename]
        starts = [data_offset(Reader(file, ""), info) for info in infos]
    assert all(start % alignment == 0 for start in starts)
    assert_same(read(path), torch.load(path))


@pytest.mark.torch
def test_reads_big_endian_archives_as_torch_does(tmp_path: Path) -> None:
    """The archive is one of torch whose storages have swapped bytes."""
    import torch  # noqa: PLC0415

    path = tmp_path / "m.pth"
    torch.save(states(), tmp_path / "little.pth")
    loaded = torch.load(tmp_path / "little.pth")
    swap_bytes(tmp_path / "little.pth", path, storages_of(loaded))
    found = read(path)
    assert_same(found, loaded)
    # torch writes these as untyped bytes, which it does not swap.
    for name in ("uint16", "uint32", "uint64"):
        del found[f"torch.{name}"]
    expected = torch.load(path)
    assert_same(found, {name: expected[name] for name in found})


def swap_bytes(little: Path, big: Path, storages: list[Any]) -> None:
    # The bytes of the real and of the imaginary part are swapped separately.
    widths = {
        f"data/{number}": tensor.element_size() // (1 + tensor.is_complex())
        for number, tensor in enumerate(storages)
    }
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
    """Return one tensor for each storage, in the order of their first tensors."""
    seen: dict[int, Any] = {}
    for tensor in state.values():
        seen.setdefault(tensor.untyped_storage()._cdata, tensor)
    return list(seen.values())


@pytest.mark.torch
def test_reads_the_state_dict_of_a_module(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    path = save(module.state_dict())
    assert_same(read(path), module.state_dict())


@pytest.mark.torch
@pytest.mark.parametrize("name", ["state_dict", "model", "anything"])
def test_finds_the_only_nested_state_dict(save: Callable[[Any], Path], name: str) -> None:
    import torch  # noqa: PLC0415

    state = {"w": torch.randn(3)}
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
    path = save({name: state, "optimizer": optimizer, "epoch": 3, "best": 0.5, "note": None})
    assert_same(read(path), state)
    assert_same(read(path, name), state)
    with open_source(path) as source:
        assert source.chosen_key == name
    with open_source(path, ReadOptions(key=name)) as source:
        assert source.chosen_key is None


@pytest.mark.torch
def test_open_asks_for_a_key_if_several_dicts_have_tensors(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    path = save({"ema": {"w": torch.zeros(2)}, "raw": {"w": torch.ones(2)}, "n": {}})
    assert error_of(path) == (
        "several dicts contain tensors; set `key` to one of 'ema', 'raw', or to a list such as "
        "['ema', 'raw'] to pack several, with their keys as prefixes"
    )
    assert read(path, "raw")["w"].tolist() == [1, 1]
    assert error_of(path, "nope") == (
        "nothing in the checkpoint has the key 'nope'; tensors are under 'ema', 'raw'"
    )


@pytest.mark.torch
def test_open_rejects_checkpoints_without_a_state_dict(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    assert error_of(save({"epoch": 3})) == "none of its dicts contains tensors"
    assert error_of(save({"epoch": 3}), "model") == (
        "nothing in the checkpoint has the key 'model'; no dict contains tensors"
    )
    assert error_of(save([3])) == "contains a list, not a state dict"
    assert error_of(save(None)) == "contains a NoneType, not a state dict"
    assert error_of(save(torch.zeros(1))) == "contains a tensor, not a state dict"


@pytest.mark.torch
def test_a_tensor_next_to_the_state_dict_is_not_mistaken_for_it(
    save: Callable[[Any], Path],
) -> None:
    import torch  # noqa: PLC0415

    state = {"w": torch.ones(2)}
    path = save({"step": torch.tensor(5), "model": state})
    with open_source(path) as source:
        assert (source.chosen_key, [tensor.name for tensor in source.tensors]) == ("model", ["w"])
    path = save({"step": torch.tensor(5), "mine": state})
    assert error_of(path) == (
        "several dicts contain tensors; set `key` to one of '.', 'mine' ('.' is the whole "
        "checkpoint)"
    )
    assert list(read(path, "mine")) == ["w"]
    assert list(read(path, ".")) == ["mine.w", "step"]


@pytest.mark.torch
def test_the_extra_state_of_a_module_is_not_mistaken_for_the_state_dict(
    save: Callable[[Any], Path],
) -> None:
    import torch  # noqa: PLC0415

    path = save({"w": torch.ones(2), "norm._extra_state": {"seen": torch.zeros(1), "n": 3}})
    with open_source(path) as source:
        assert [tensor.name for tensor in source.tensors] == ["norm._extra_state.seen", "w"]
        assert source.chosen_key is None
        assert source.remarks == ("not packed: 'norm._extra_state.n'",)


@pytest.mark.torch
def test_finds_state_dicts_two_levels_deep(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    state, other = {"w": torch.ones(2)}, {"w": torch.zeros(2)}
    path = save({"model": {"params": state}, "optimizer": {"state": {0: other}}})
    with open_source(path) as source:
        assert source.chosen_key == "model.params"
    assert read(path, "model.params")["w"].tolist() == [1, 1]
    path = save({"model": {"a": state, "b": other}})
    assert error_of(path).startswith(
        "several dicts contain tensors; set `key` to one of 'model.a', 'model.b', or to a list"
    )
    assert read(path, "model.b")["w"].tolist() == [0, 0]
    assert sorted(read(path, "model")) == ["a.w", "b.w"]
    assert error_of(path, "model.c") == (
        "nothing in the checkpoint has the key 'model.c'; tensors are under 'model.a', 'model.b'"
    )
    assert list(read(save({"a.b": state, "c": 1}), "a.b")) == ["w"]


@pytest.mark.torch
def test_open_rejects_pickled_modules_with_advice(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    for root in (torch.nn.Linear(2, 2), {"model": torch.nn.Linear(2, 2)}):
        message = error_of(save(root))
        assert "torch.nn.modules.linear.Linear" in message
        assert "torch.save(model.state_dict(), path)" in message


@pytest.mark.torch
@pytest.mark.parametrize("name", ["m.pt2", "m.pt", "m"])
def test_advice_for_exported_programs_works(tmp_path: Path, name: str) -> None:
    import torch  # noqa: PLC0415

    module = torch.nn.Linear(300, 300)
    path, other = tmp_path / name, tmp_path / "other.pt"
    with path.open("wb") as file:
        torch.export.save(torch.export.export(module, (torch.ones(1, 300),)), file)
    follow_advice(error_of(path), "a program of torch.export", path, other)
    assert_same(read(other), module.state_dict())


def follow_advice(message: str, expected: str, path: Path, other: Path) -> None:
    """Run the code in an error message."""
    import torch  # noqa: PLC0415

    problem, _, code = message.partition("; save its state dict instead: ")
    assert problem == expected
    with path.open("rb") as file:
        exec(code, {"torch": torch, "path": file, "other": other})


@pytest.mark.torch
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.zeros(2, dtype=t.complex32), "the dtype complex32 is not supported"),
        (
            lambda t: t.zeros(2).to(t.float8_e4m3fnuz),
            "the dtype float8_e4m3fnuz is not supported",
        ),
        (
            lambda t: t.quantize_per_tensor(t.zeros(2), 0.1, 0, t.qint8),
            "a quantized tensor is not supported; save tensor.dequantize() instead",
        ),
        (
            lambda t: t.quantize_per_channel(t.eye(2), t.ones(2), t.zeros(2), 0, t.quint8),
            "a quantized tensor is not supported; save tensor.dequantize() instead",
        ),
        (
            lambda t: t.eye(2).to_sparse(),
            "a sparse tensor is not supported; save tensor.to_dense() instead",
        ),
        (
            lambda t: t.eye(2).to_sparse_csr(),
            "a sparse tensor is not supported; save tensor.to_dense() instead",
        ),
        (
            lambda t: t.nested.nested_tensor([t.ones(2), t.ones(3)]),
            "a nested tensor is not supported; save tensor.to_padded_tensor(0) instead",
        ),
        (
            lambda t: t.ones(2, device="meta"),
            (
                "a tensor on the device 'meta', which has no values, is not supported; save the "
                "model with its weights loaded instead"
            ),
        ),
        # The storage contains the values without the sign.
        (
            lambda t: t.full((2,), 1 + 2j).conj().imag,
            "a negated view is not supported; save tensor.resolve_neg() instead",
        ),
    ],
)
def test_open_rejects_unsupported_tensors_with_advice_unless_dropped(
    save: Callable[[Any], Path], make: Callable[[Any], Any], message: str
) -> None:
    import torch  # noqa: PLC0415

    with warnings.catch_warnings():
        # torch warns that some of these are deprecated.
        warnings.simplefilter("ignore")
        path = save({"fine": torch.ones(2), "odd": make(torch)})
    assert error_of(path) == f"tensor 'odd': {message}; `drop` can leave it out"
    with open_source(path, ReadOptions(drop=["odd"])) as source:
        assert [tensor.name for tensor in source.tensors] == ["fine"]


@pytest.mark.torch
def test_packing_a_checkpoint_does_not_import_torch(
    save: Callable[[Any], Path], tmp_path: Path
) -> None:
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


def test_interpreter_reads_no_byte_after_its_pickle() -> None:
    """The legacy format stores several pickles one after the other."""

    file = io.BytesIO(pickle.dumps({"a": [1, (2.5, None, True)]}, 2) + b"rest")
    assert PickleInterpreter({}, lambda pid: pid).load(file) == {"a": [1, (2.5, None, True)]}
    assert file.read() == b"rest"
