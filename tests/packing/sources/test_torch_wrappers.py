"""Tensors that a torch checkpoint has in wrappers: of devices, of old releases, of subclasses."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.packing.sources.pickles import LEGACY_HEAD, STORAGE, Call, save_archive
from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    torch = pytest.importorskip("torch")

    def write(root: Any) -> Path:
        path = tmp_path / "m.pth"
        torch.save(root, path, _use_new_zipfile_serialization=request.param)
        return path

    return write


def read(path: Path) -> dict[str, NDArray[Any]]:
    with open_source(path) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def assert_droppable_error(path: Path, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(path)
    assert caught.value.tensor == "odd"
    assert caught.value.reason == f"{message}; `drop` can leave it out"
    with open_source(path, ReadOptions(drop=("odd",))) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]


DEVICES = {
    "float32": lambda t: from_cpu(t.arange(6.0).view(2, 3), t.float32),
    "bfloat16": lambda t: from_cpu(t.randn(9).bfloat16(), t.bfloat16),
    "int64": lambda t: from_cpu(t.arange(3), t.int64),
    "complex64": lambda t: from_cpu(t.randn(3, dtype=t.complex64), t.complex64),
    "a parameter": lambda t: from_cpu(t.nn.Parameter(t.ones(3)), t.float32),
    "a strided view": lambda t: from_cpu(t.arange(9.0)[::2], t.float32),
    "float32 to float16": lambda t: from_cpu(t.tensor([1 / 3, 1e9, -1e-9]), t.float16),
    "float32 to bfloat16": lambda t: from_cpu(t.randn(99), t.bfloat16),
    "float64 to bfloat16": lambda t: from_cpu(near_tie(8), t.bfloat16),
    "float64 to float16": lambda t: from_cpu(near_tie(11), t.float16),
    "float64 to float32": lambda t: from_cpu(t.tensor([1e300, 1 / 3]).double(), t.float32),
    "float16 to float64": lambda t: from_cpu(t.randn(9).half(), t.float64),
    "bfloat16 to float32": lambda t: from_cpu(t.randn(9).bfloat16(), t.float32),
}  # fmt: skip


def near_tie(bits: int) -> Any:
    """Return float64 values that are rounded otherwise by way of float32."""
    import torch  # noqa: PLC0415

    return torch.tensor([1 + 2.0**-bits, 1 + 2.0**-bits + 2.0**-40], dtype=torch.float64)


def from_cpu(tensor: Any, dtype: Any) -> Any:
    """Return an object that is pickled as torch pickles the tensors of XLA, MAIA and MTIA."""
    import torch  # noqa: PLC0415

    rebuild = torch._utils._rebuild_device_tensor_from_cpu_tensor
    return Call(rebuild, tensor, dtype, "cpu", False)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("label", "zipped"),
    # From the legacy format, torch converts the values before it has read them.
    [
        (label, zipped)
        for label in DEVICES
        for zipped in (True, False)
        if zipped or " to " not in label
    ],
)
def test_tensors_of_devices_are_read_as_torch_does(
    tmp_path: Path, label: str, *, zipped: bool
) -> None:
    import torch  # noqa: PLC0415

    torch.manual_seed(0)
    path = tmp_path / "m.pth"
    torch.save({"w": DEVICES[label](torch)}, path, _use_new_zipfile_serialization=zipped)
    expected = torch.load(path, weights_only=True)["w"].detach()
    found = read(path)["w"]
    if expected.dtype == torch.bfloat16:
        expected = expected.view(torch.uint16)
    assert found.dtype == expected.numpy().dtype
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("function", ["_rebuild_device_tensor_from_numpy", "_rebuild_xla_tensor"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_of_devices_are_read_from_numpy_arrays(
    tmp_path: Path, function: str, protocol: int
) -> None:
    """torch before 2.6 pickled a bfloat16 tensor of XLA as a float32 array."""
    import torch  # noqa: PLC0415

    rebuild = getattr(torch._utils, function)
    values = torch.randn(40, 50)
    root = {
        "w": Call(rebuild, values.numpy(), torch.float32, "cpu", False),
        "b": Call(rebuild, values.bfloat16().float().numpy(), torch.bfloat16, "cpu", False),
        "n": Call(rebuild, np.arange(3), torch.int64, "cpu", True),
    }
    path = tmp_path / "m.pth"
    torch.save(root, path, pickle_protocol=protocol)
    found = read(path)
    np.testing.assert_array_equal(found["w"], values.numpy())
    np.testing.assert_array_equal(found["b"], values.bfloat16().view(torch.uint16).numpy())
    assert found["n"].tolist() == [0, 1, 2]


@pytest.mark.torch
def test_converted_tensors_are_read_from_the_legacy_format(tmp_path: Path) -> None:
    """torch itself converts the values before it has read them, and gives others."""
    import torch  # noqa: PLC0415

    values = torch.randn(99)
    path = tmp_path / "m.pth"
    root = {"w": from_cpu(values, torch.float16)}
    torch.save(root, path, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read(path)["w"], values.half().numpy())


@pytest.mark.torch
@pytest.mark.parametrize(
    ("saved", "loaded", "names"),
    [
        ("float32", "int32", ("F32", "I32")),
        ("int64", "float32", ("I64", "F32")),
        ("uint8", "bool", ("U8", "BOOL")),
        ("float32", "float8_e4m3fn", ("F32", "F8_E4M3")),
        ("float8_e5m2", "bfloat16", ("F8_E5M2", "BF16")),
        ("float32", "complex64", ("F32", "C64")),
        ("float32", "float8_e8m0fnu", ("F32", "float8_e8m0fnu")),
    ],
)
def test_conversions_of_other_dtypes_are_rejected_unless_dropped(
    save: Callable[[Any], Path], saved: str, loaded: str, names: tuple[str, str]
) -> None:
    import torch  # noqa: PLC0415

    values = torch.ones(3).to(getattr(torch, saved))
    path = save({"w": torch.ones(1), "odd": from_cpu(values, getattr(torch, loaded))})
    assert_droppable_error(
        path,
        f"a tensor of {names[0]} that torch converts to {names[1]} when loading is not supported; "
        "save tensor.cpu() instead",
    )


@pytest.mark.torch
def test_conversions_of_numpy_arrays_of_other_dtypes_are_rejected_unless_dropped(
    save: Callable[[Any], Path],
) -> None:
    import torch  # noqa: PLC0415

    rebuild = torch._utils._rebuild_device_tensor_from_numpy
    odd = Call(rebuild, np.arange(3), torch.float32, "cpu", False)
    assert_droppable_error(
        save({"w": torch.ones(1), "odd": odd}),
        "a tensor of I64 that torch converts to F32 when loading is not supported; save "
        "tensor.cpu() instead",
    )


@pytest.mark.torch
def test_parameters_with_attributes_are_read(save: Callable[[Any], Path]) -> None:
    import torch  # noqa: PLC0415

    weight = torch.nn.Parameter(torch.arange(3.0))
    weight.note = "an attribute"
    assert read(save({"w": weight}))["w"].tolist() == [0, 1, 2]


UNSUPPORTED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a subclass": (
        lambda t: t.ones(2).as_subclass(make_subclass()),
        (
            f"a tensor of {__name__}.Subclass is not supported; save a plain tensor of "
            "torch.Tensor instead"
        ),
    ),
    "a wrapper": (
        lambda t: Call(
            t._utils._rebuild_wrapper_subclass,
            *(make_subclass(), t.float32, (2,), (1,), 0, t.strided, "cpu", False),
        ),
        (
            f"a tensor of {__name__}.Subclass is not supported; save a plain tensor of "
            "torch.Tensor instead"
        ),
    ),
    "an uninitialized parameter": (
        lambda t: t.nn.UninitializedParameter(),
        (
            "a parameter that is not initialized is not supported; save the model after its first "
            "forward pass instead"
        ),
    ),
    "a meta tensor": (
        lambda t: t.ones(2, device="meta"),
        (
            "a tensor on the device 'meta', which has no values, is not supported; save the model "
            "with its weights loaded instead"
        ),
    ),
    "bits": (
        lambda t: t.ones(4, dtype=t.uint8).view(t.bits8),
        "the dtype bits8 is not supported",
    ),
}


def make_subclass() -> Any:
    import torch  # noqa: PLC0415

    # The pickle has the name of the class.
    globals()["Subclass"] = type("Subclass", (torch.Tensor,), {"__module__": __name__})
    return globals()["Subclass"]


@pytest.mark.torch
@pytest.mark.parametrize("label", UNSUPPORTED)
def test_tensors_without_plain_data_are_rejected_by_name_unless_dropped(
    save: Callable[[Any], Path], label: str
) -> None:
    import torch  # noqa: PLC0415

    make, message = UNSUPPORTED[label]
    assert_droppable_error(save({"w": torch.ones(1), "odd": make(torch)}), message)


# What releases of torch before 0.4 wrote: objects of classes, made without or with a state.
_STATE = STORAGE % b"K\x06" + b"K\x00K\x02K\x03\x86K\x03K\x01\x86t"
_REBUILT = b"ctorch._utils\n_rebuild_tensor\n" + _STATE + b"R"
_PARAMETER = b"ctorch.nn.parameter\nParameter\n"
OLD = {
    "Tensor": b"ctorch\nTensor\n)\x81" + _STATE + b"b",
    "FloatTensor": b"ctorch\nFloatTensor\n)\x81" + _STATE + b"b",
    "FloatTensor, called": b"ctorch\nFloatTensor\n)R" + _STATE + b"b",
    "FloatTensor of a GPU": b"ctorch.cuda\nFloatTensor\n)\x81" + _STATE + b"b",
    "storage of a GPU": _REBUILT.replace(b"ctorch\nFloatS", b"ctorch.cuda\nFloatS"),
    "Parameter": _PARAMETER + _REBUILT + b"\x88\x86\x81",
    "Parameter, called": _PARAMETER + _REBUILT + b"\x88\x86R",
    "Parameter with three states": _PARAMETER + _REBUILT + b"\x88\x86\x81\x88N}\x87b",
    "Parameter with five states": _PARAMETER + b")\x81(" + _REBUILT + b"NN\x88}tb",
    "Parameter of a FloatTensor": (
        _PARAMETER + b"ctorch\nFloatTensor\n)\x81" + _STATE + b"b\x88\x86\x81"
    ),
}  # fmt: skip


def save_old(path: Path, tensor: bytes) -> Path:
    pickled = b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s."
    save_archive(path, pickled, **{"0": np.arange(6, dtype="<f4").tobytes()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/version", b"3\n")
    return path


@pytest.mark.parametrize("label", OLD)
def test_tensors_of_old_releases_are_read(tmp_path: Path, label: str) -> None:
    values = read(save_old(tmp_path / "m.pt", OLD[label]))["w"]
    np.testing.assert_array_equal(values, np.arange(6).reshape(2, 3))


@pytest.mark.torch
@pytest.mark.parametrize("label", sorted(set(OLD) - {"FloatTensor of a GPU"}))
def test_torch_reads_the_same_from_tensors_of_old_releases(tmp_path: Path, label: str) -> None:
    import torch  # noqa: PLC0415

    path = save_old(tmp_path / "m.pt", OLD[label])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.load(path, weights_only=True)["w"].detach().numpy()
    np.testing.assert_array_equal(read(path)["w"], expected)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (b"ctorch\nFloatTensor\n)\x81", "torch.FloatTensor without a storage"),
        (b"ctorch\nFloatTensor\n]K\x01a\x85R", "torch.FloatTensor without a storage"),
        (_PARAMETER + b"K\x01\x85\x81", "torch.nn.parameter.Parameter without a storage"),
        (_PARAMETER + b")\x81(NNNNNtb", "torch.nn.parameter.Parameter without a storage"),
    ],
)
def test_old_tensors_without_values_are_rejected(
    tmp_path: Path, tensor: bytes, message: str
) -> None:
    with pytest.raises(SourceError, match="tensor 'w': ") as caught:
        read(save_old(tmp_path / "m.pt", tensor))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"FloatStorage", b"QUInt1x8Storage", "the dtype torch.QUInt1x8Storage is not supported"),
        (
            STORAGE % b"K\x06",
            b"(ctorch.storage\n_load_from_bytes\nU\x01x\x85R",
            (
                "a tensor that torch.storage._load_from_bytes stores is not supported; save the "
                "checkpoint with torch.save instead"
            ),
        ),
    ],
)
def test_unknown_storages_are_rejected_by_name(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    path = save_old(tmp_path / "m.pt", _REBUILT.replace(old, new))
    with pytest.raises(SourceError) as caught:
        read(path)
    assert caught.value.reason == f"{message}; `drop` can leave it out"


def test_unknown_storages_of_legacy_files_are_rejected_by_name(tmp_path: Path) -> None:
    """The size of their elements is needed to find the storages that follow."""
    tensor = _REBUILT.replace(b"FloatStorage", b"QUInt1x8Storage")
    pickled = b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"s."
    path = tmp_path / "m.pt"
    path.write_bytes(LEGACY_HEAD + pickled + pickle.dumps(["0"], 2) + bytes(32))
    with pytest.raises(SourceError) as caught:
        read(path)
    assert caught.value.reason == (
        "the size of the elements of a torch.QUInt1x8Storage is not known; load the checkpoint "
        "with torch and save it again"
    )


@pytest.mark.torch
def test_complex_tensors_are_stored_exactly(save: Callable[[Any], Path], tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    import vggq.torch  # noqa: PLC0415
    from vggq.packing import pack  # noqa: PLC0415

    state = {
        "single": torch.randn(40, 50, dtype=torch.complex64),
        "double": torch.randn(40, 50, dtype=torch.complex128),
        "conjugated": torch.randn(40, 50, dtype=torch.complex64).conj(),
        "transposed": torch.randn(40, 50, dtype=torch.complex64).mT,
        "adjoint": torch.randn(40, 50, dtype=torch.complex64).mH,
        "odd": torch.tensor([complex(-0.0, float("inf")), complex(float("nan"), -0.0)]),
    }
    packed = pack(save(state), tmp_path / "m.vggq")
    assert not any(tensor.quantized for tensor in packed.manifest.tensors)
    arrays, tensors = vggq.load(packed.target), vggq.torch.load(packed.target)
    halves = vggq.load(packed.target, dtype="float16")
    for name, tensor in state.items():
        expected = tensor.resolve_conj().contiguous().numpy()
        for found in (arrays[name], tensors[name].numpy(), halves[name]):
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            assert found.tobytes() == expected.tobytes()
