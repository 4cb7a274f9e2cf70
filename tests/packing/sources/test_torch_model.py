"""All tensors of torch files and their places, with torch as the judge of the spliced files."""

from __future__ import annotations

import io
import math
import os
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packing.sources.pickles import STORAGE as STORAGE_ID
from tests.packing.sources.pickles import Call, save_archive, save_legacy, tensor_pickle
from tests.packing.sources.splicing import Spliced, read_contents, splice
from tests.packing.sources.zips import Record, build_zip
from vggq._dtypes import STORAGE
from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, identify_format, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Save = Callable[[Any], Path]

pytestmark = pytest.mark.torch
torch: Any = pytest.importorskip("torch")

DTYPES: dict[str, str] = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "uint8": "U8", "bool": "BOOL",
    "int16": "I16", "complex64": "C64",
}  # fmt: skip
# torch writes float8 in its legacy format, and does not read it.
LEGACY_DTYPES = [name for name in DTYPES if not name.startswith("float8")]


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    def write(root: Any) -> Path:
        path = tmp_path / "m.pth"
        torch.save(root, path, _use_new_zipfile_serialization=request.param)
        return path

    return write


@pytest.fixture(autouse=True)
def ignore_warnings() -> Iterator[None]:
    """Ignore that TorchScript and quantization are deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def bytes_of(tensor: Any) -> bytes:
    """Return the elements of a tensor in C order."""
    plain = tensor.detach().resolve_conj().clone(memory_format=torch.contiguous_format).view(-1)
    return bytes(plain.view(torch.uint8).numpy()) if plain.numel() else b""


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors in dicts and lists, with their joined names."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from flatten(inner, f"{name}.{key}" if name else str(key))


def check(path: Path, *, weights_only: bool = True) -> Spliced:
    """Splice a checkpoint, and compare what torch and zipfile read from it with what was written.

    Tensors without a place must be views of those with one, or have the values of the source.
    """
    target = path.with_name("spliced.pth")
    spliced = splice(path, target)
    before = dict(flatten(torch.load(path, weights_only=weights_only)))
    after = dict(flatten(torch.load(target, weights_only=weights_only)))
    assert set(before) <= set(spliced.tensors)
    for name, tensor in after.items():
        assert spliced.tensors[name].shape in (tuple(tensor.shape), ())
        if name in spliced.written:
            assert bytes_of(tensor) == spliced.written[name]
    if zipfile.is_zipfile(target):
        with zipfile.ZipFile(target) as archive:
            assert archive.testzip() is None
    else:
        assert spliced.checksums == ()
    return spliced


def places(spliced: Spliced) -> set[str]:
    return set(spliced.written)


def draw_tensor(draw: st.DrawFn, pool: list[Any], dtypes: list[str]) -> Any:
    """Return a new tensor, a view of an earlier one, or an earlier one itself."""
    kind = draw(st.sampled_from(["new", "new", "tied", "row", "strided", "expanded", "middle"]))
    if kind == "new" or not pool:
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        dtype = getattr(torch, draw(st.sampled_from(dtypes)))
        pool.append(torch.randint(0, 2, shape).to(dtype))
        return pool[-1]
    other = draw(st.sampled_from(pool))
    if kind == "tied":
        return other
    if kind == "expanded":
        return other.expand(3, *other.shape)
    flat = other.view(-1)
    if kind == "middle":
        return flat[len(flat) // 3 : len(flat) // 3 * 2]
    return flat[::2] if kind == "strided" else flat[: len(flat) // 2]


@st.composite
def checkpoints(draw: st.DrawFn, *, is_zip: bool) -> dict[str, Any]:
    pool: list[Any] = []
    dtypes = list(DTYPES) if is_zip else LEGACY_DTYPES
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1))
    state = {name: draw_tensor(draw, pool, dtypes) for name in names}
    nested = [draw_tensor(draw, pool, dtypes) for _ in range(draw(st.integers(0, 3)))]
    return {"model": state, "list": nested, "epoch": 3, "optimizer": {"state": {0: dict(state)}}}


@pytest.mark.parametrize("is_zip", [True, False])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_places_of_random_checkpoints_are_those_of_torch(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, *, is_zip: bool
) -> None:
    root = data.draw(checkpoints(is_zip=is_zip))
    path = tmp_path_factory.mktemp("random") / "m.pth"
    torch.save(root, path, _use_new_zipfile_serialization=is_zip)
    spliced = check(path)
    assert set(spliced.tensors) == {name for name, _ in flatten(root)}
    ranges: dict[tuple[int, int], list[Any]] = {}
    for name, tensor in flatten(root):
        found = spliced.tensors[name]
        assert found.dtype == DTYPES[str(tensor.dtype).removeprefix("torch.")]
        assert spliced.values[name] == bytes_of(tensor)
        if found.place is not None:
            assert tensor.is_contiguous()
            key = (found.place.start, found.place.start + found.place.size)
            ranges.setdefault(key, []).append(tensor)
    ends = [0]
    for start, end in sorted(ranges):
        assert start >= ends[-1]
        ends.append(end)
    for tied in ranges.values():
        assert len({(tensor.data_ptr(), tensor.shape, tensor.dtype) for tensor in tied}) == 1
    check_completeness(root, spliced)


def check_completeness(root: Any, spliced: Spliced) -> None:
    """Check that each storage without views of a part has a place for its whole tensor."""
    for name, tensor in flatten(root):
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes > 0
        if whole and tensor.is_contiguous():
            same = [
                other
                for other, found in flatten(root)
                if found.data_ptr() == tensor.data_ptr() and found.shape != tensor.shape
            ]
            assert name in spliced.written or same


def test_optimizers_and_nested_containers_have_places(save: Save) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    root = {
        "state_dict": module.state_dict(), "optimizer": optimizer.state_dict(),
        "ema": [torch.ones(2), {"x": (torch.ones(3),)}],
    }  # fmt: skip
    spliced = check(save(root))
    names = {name for name, _ in flatten(root)}
    assert places(spliced) == names == set(spliced.tensors)
    assert {"state_dict.0.weight", "optimizer.state.0.exp_avg", "ema.1.x.0"} <= names


def test_a_single_tensor_and_a_list_have_places(save: Save) -> None:
    path = save(torch.arange(3.0))
    target = path.with_name("spliced.pth")
    assert set(splice(path, target).written) == {"tensor"}
    assert bytes_of(torch.load(target)) == splice(path, target).written["tensor"]
    assert places(check(save([torch.ones(2), torch.ones(3)]))) == {"0", "1"}


class Net(torch.nn.Module):  # type: ignore[misc]
    """A module with tensors of every kind of attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
        self.shared = self.blocks[0]
        self.scale = torch.nn.Parameter(torch.randn(4))
        self.tied = self.scale
        self.missing: Any = torch.nn.Parameter(torch.randn(1))
        self.register_parameter("none", None)
        self.register_buffer("scratch", torch.randn(4), persistent=False)
        self.plain = torch.arange(4.0)
        self.lists = [torch.ones(4)]
        self.named = {"a": torch.ones(4)}
        self.rnn = torch.nn.LSTM(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x)).mean(dim=(2, 3))
        for block in self.blocks:
            x = block(x)
        x = self.rnn(self.shared(x))[0] * self.scale + self.tied
        x = x + self.scratch + self.plain + self.lists[0] + self.named["a"]
        return x + torch.tensor([1.5, 2.5, 3.5, 4.5])


def test_whole_modules_have_the_names_of_their_state_dict(save: Save) -> None:
    module = Net()
    path = save(module)
    target = path.with_name("spliced.pth")
    spliced = splice(path, target)
    restored = torch.load(target, weights_only=False)
    state = restored.state_dict()
    assert set(state) <= places(spliced)
    for name, tensor in state.items():
        assert bytes_of(tensor) == spliced.written[name]
    for name, tensor in (
        ("scratch", restored.scratch), ("plain", restored.plain), ("lists.0", restored.lists[0]),
        ("named.a", restored.named["a"]),
    ):  # fmt: skip
        assert bytes_of(tensor) == spliced.written[name]
    assert "model.conv.weight" in places(splice(save({"model": module, "epoch": 1}), target))


class Slotted:
    __slots__ = ("weight",)

    def __init__(self) -> None:
        self.weight = torch.ones(3)


class Table(dict):  # type: ignore[type-arg]
    pass


class Items(list):  # type: ignore[type-arg]
    pass


def test_attributes_and_items_of_objects_have_places(save: Save) -> None:
    items = Items([torch.ones(2), torch.ones(3)])
    items.extra = torch.ones(4)  # type: ignore[attr-defined]
    table = Table(w=torch.ones(5), inner={"v": torch.ones(6)})
    called = Call(Slotted, torch.ones(7))
    path = save({"slots": Slotted(), "items": items, "table": table, "called": called})
    names = ["slots.weight", "items.0", "items.1", "items.extra", "table.w", "table.inner.v",
             "called.0"]  # fmt: skip
    assert places(splice(path, path.with_name("spliced.pth"))) == set(names)


def test_names_are_unique_and_valid(save: Save) -> None:
    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return self is other

        def __reduce__(self) -> tuple[Any, ...]:
            return (os.getcwd, ())

    root = {
        "a.b": torch.ones(1), "a": {"b": torch.ones(2)}, 1: torch.ones(3), "1": torch.ones(4),
        "": torch.ones(5), "a.b#2": torch.ones(6), "\udcff": torch.ones(7),
        (1, 2): torch.ones(8), (2, 1): torch.ones(9), None: torch.ones(10),
    }  # fmt: skip
    contents = read_contents(save(root))
    assert [(tensor.name, tensor.count) for tensor in contents.tensors] == [
        ("a.b", 1), ("a.b#3", 2), ("1", 3), ("1#2", 4), ("tensor", 5), ("a.b#2", 6),
        ("\\udcff", 7), ("<tuple>", 8), ("<tuple>#2", 9), ("None", 10),
    ]  # fmt: skip
    assert all(tensor.place is not None for tensor in contents.tensors)


def test_repeated_containers_give_a_name_for_each_path(save: Save) -> None:
    state = {"w": torch.ones(3)}
    spliced = check(save({"model": state, "best": state}))
    assert places(spliced) == {"model.w", "best.w"}
    assert spliced.tensors["model.w"].place == spliced.tensors["best.w"].place


def test_containers_in_themselves_are_visited_once(save: Save) -> None:
    root: dict[str, Any] = {"w": torch.ones(3)}
    root["self"] = root
    root["list"] = [root, torch.ones(2)]
    path = save(root)
    assert places(splice(path, path.with_name("spliced.pth"))) == {"w", "list.1"}


BASE = torch.arange(24.0)
VIEWS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "parts": ({"a": BASE[:6], "b": BASE[6:20].view(2, 7)}, {"a", "b"}),
    "the whole and its parts": ({"a": BASE[:6], "b": BASE, "c": BASE[6:]}, {"b"}),
    "overlapping parts": ({"a": BASE[:10], "b": BASE[8:24]}, {"b"}),
    "a part beside an overlap": (
        {"a": BASE[:12], "b": BASE[10:14], "c": BASE[12:20]}, {"a", "c"}
    ),
    "other shapes": ({"a": BASE, "b": BASE.view(4, 6)}, {"a"}),
    "a transposed view": ({"a": BASE.view(4, 6).t()}, set()),
    "a transposed view and the whole": ({"a": BASE.view(4, 6).t(), "b": BASE}, {"b"}),
    "a row and a column of size 1": (
        {"a": BASE[:5].view(1, 5), "b": BASE[5:9].view(4, 1), "c": BASE[9:12].view(1, 3).t()},
        {"a", "b", "c"},
    ),
    "every second element": ({"a": BASE[::2], "b": BASE[1::2]}, set()),
    "an expanded view": ({"a": BASE[:1].expand(5)}, set()),
    "an empty tensor": ({"a": BASE[:0], "b": BASE}, {"b"}),
    "a scalar": ({"a": BASE[3], "b": BASE[:3]}, {"a", "b"}),
    "channels last": (
        {"a": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last)}, set()
    ),
    "a conjugated view": ({"a": torch.ones(3, dtype=torch.complex64).conj()}, set()),
    "a negated view": (
        {"a": torch.ones(3, dtype=torch.complex64).conj().imag, "b": BASE}, {"b"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", VIEWS)
def test_views_have_a_place_only_without_doubt(save: Save, label: str) -> None:
    root, expected = VIEWS[label]
    spliced = check(save(root))
    assert places(spliced) == expected
    for name in set(root) - expected:
        assert spliced.tensors[name].problem or not spliced.tensors[name].count


def test_tensors_of_other_kinds_stay_in_the_rest(save: Save) -> None:
    class Sub(torch.Tensor):  # type: ignore[misc]
        pass

    Sub.__qualname__ = "Sub"
    globals()["Sub"] = Sub
    root = {
        "w": torch.ones(3),
        "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "sparse": torch.eye(2).to_sparse(), "sub": torch.ones(3).as_subclass(Sub),
        "complex32": torch.ones(3).to(torch.complex32), "array": np.arange(3.0),
        "storage": torch.ones(4).untyped_storage(),
    }  # fmt: skip
    path = save(root)
    spliced = splice(path, path.with_name("spliced.pth"))
    assert places(spliced) == {"w"}
    assert set(spliced.tensors) == set(root)
    assert all(spliced.tensors[name].problem for name in set(root) - {"w"})


# torch does not save tensors of several dtypes that share a storage.
OTHER_DTYPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, set[str]]] = {
    "the same range": ((10,), (1,), 0, set()),
    "a part": ((2,), (1,), 3, set()),
    "a strided view": ((4,), (3,), 0, set()),
    "the next elements": ((2,), (1,), 10, {"w", "v"}),
}


@pytest.mark.parametrize("label", OTHER_DTYPES)
def test_views_of_another_dtype_leave_no_place(tmp_path: Path, label: str) -> None:
    shape, strides, offset, expected = OTHER_DTYPES[label]
    first = tensor_pickle(0, (10,), (1,), 12)
    second = tensor_pickle(offset, shape, strides, 12).replace(b"FloatStorage", b"IntStorage")
    pickled = first[:-1] + second[3:].replace(b"X\x01\x00\x00\x00w", b"X\x01\x00\x00\x00v", 1)
    contents = read_contents(save_archive(tmp_path / "m.pt", pickled, **{"0": bytes(48)}))
    assert [(tensor.name, tensor.dtype) for tensor in contents.tensors] == [
        ("w", "F32"), ("v", "I32")
    ]  # fmt: skip
    assert {tensor.name for tensor in contents.tensors if tensor.place is not None} == expected


def test_a_storage_beside_its_tensor_keeps_the_place_if_it_has_a_dtype(save: Save) -> None:
    tensor = torch.ones(4)
    path = save([tensor, tensor.storage()])
    assert places(splice(path, path.with_name("spliced.pth"))) == {"0"}


def test_an_untyped_storage_beside_its_tensor_leaves_no_place(tmp_path: Path) -> None:
    pickled = b"\x80\x02}q\x00" + tensor_pickle(0, (10,), (1,), 10)[3:]
    storage = STORAGE_ID[1:].replace(b"FloatStorage", b"UntypedStorage") % b"K\x28"
    pickled = pickled[:-1] + b"X\x01\x00\x00\x00s" + storage + b"s."
    contents = read_contents(save_archive(tmp_path / "m.pt", pickled, **{"0": bytes(40)}))
    assert [(tensor.name, tensor.place) for tensor in contents.tensors] == [
        ("w", None),
        ("s", None),
    ]


def script(module: Any, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module), path)
    return path


def run_spliced(target: Path, x: Any) -> tuple[Any, dict[str, Any]]:
    """Return the output of a spliced module, and its state."""
    loaded = torch.jit.load(target)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
    return loaded(x), loaded.state_dict()


X = torch.linspace(-1, 1, 2 * 3 * 36).view(2, 3, 6, 6)


@pytest.mark.parametrize("kind", ["script", "trace", "mobile"])
def test_spliced_torchscript_runs(tmp_path: Path, kind: str) -> None:
    module = Net().eval()
    path, target = tmp_path / "m.pt", tmp_path / "spliced.pt"
    if kind == "mobile":
        torch.jit.script(module)._save_for_lite_interpreter(str(path))
    elif kind == "trace":
        del module.tied, module.shared
        module.tied, module.shared = torch.nn.Parameter(torch.ones(4)), torch.nn.Linear(4, 4)
        torch.jit.save(torch.jit.trace(module, X), path)
    else:
        script(module, path)
    spliced = splice(path, target)
    output, state = run_spliced(target, X)
    assert set(state) <= places(spliced)
    for name, tensor in state.items():
        assert bytes_of(tensor) == spliced.written[name]
    assert places(spliced) == set(spliced.tensors)
    if kind == "trace":
        assert {f"constants.{index}" for index in range(3)} <= places(spliced)
        return
    module.load_state_dict({name: state[name] for name in module.state_dict()})
    for name, target_tensor in (
        ("scratch", module.scratch), ("plain", module.plain), ("lists.0", module.lists[0]),
        ("named.a", module.named["a"]),
    ):  # fmt: skip
        target_tensor.copy_(torch.frombuffer(bytearray(spliced.written[name]), dtype=torch.float32))
    torch.testing.assert_close(output, module(X))


@pytest.mark.parametrize("is_optimized", [True, False])
def test_frozen_torchscript_has_its_constants(tmp_path: Path, *, is_optimized: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Sigmoid(), torch.nn.Linear(5, 2))
    scripted = torch.jit.freeze(torch.jit.script(module.eval()))
    path, target = tmp_path / "m.pt", tmp_path / "spliced.pt"
    torch.jit.save(torch.jit.optimize_for_inference(scripted) if is_optimized else scripted, path)
    spliced = splice(path, target)
    assert places(spliced) == {f"constants.{index}" for index in range(4)}
    by_shape = {tuple(sorted(tensor.shape)): name for name, tensor in spliced.tensors.items()}
    for parameter in module.parameters():
        name = by_shape[tuple(sorted(parameter.shape))]
        values = torch.frombuffer(bytearray(spliced.written[name]), dtype=torch.float32)
        shape = spliced.tensors[name].shape
        # Weights are transposed for inference.
        is_transposed = shape != tuple(parameter.shape)
        assert not is_transposed or is_optimized
        parameter.data = values.view(shape).t() if is_transposed else values.view(shape)
    x = torch.linspace(-1, 1, 18).view(3, 6)
    torch.testing.assert_close(run_spliced(target, x)[0], module(x))
    assert error_of(path, "tensors").startswith(
        "a TorchScript archive without parameters and buffers"
    )


def error_of(path: Path, restore: str) -> str:
    with pytest.raises(SourceError) as caught, open_source(path, ReadOptions(restore=restore)):
        pass
    assert caught.value.path == path
    return caught.value.reason


def test_tensors_of_torchscript_are_those_of_its_state_dict(tmp_path: Path) -> None:
    path = script(Net(), tmp_path / "m.pt")
    expected = torch.jit.load(path).state_dict()
    with open_source(path, ReadOptions(restore="tensors")) as source:
        assert {tensor.name for tensor in source.tensors} == set(expected)
        for tensor in source.tensors:
            assert tensor.read().tobytes() == bytes_of(expected[tensor.name])
        assert source.remarks == ("not packed: the tensors 'plain', 'lists.0', 'named.a'",)


def test_attributes_of_torchscript_with_any_name_are_found(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ParameterList([torch.ones(2), torch.ones(3)])
            self.table = torch.nn.ModuleDict({"x y": torch.nn.Linear(2, 2), "é": torch.nn.PReLU()})
            self.class_ = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.class_

    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.trace(Odd(), torch.ones(1)), path)
    expected = torch.jit.load(path).state_dict()
    assert len(expected) == 6
    with open_source(path, ReadOptions(restore="tensors")) as source:
        assert {tensor.name for tensor in source.tensors} == set(expected)


def test_tensors_of_torchscript_have_no_key(tmp_path: Path) -> None:
    path = script(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    with (
        pytest.raises(SourceError, match=r"`key` is for checkpoints of torch.save, and this file"),
        open_source(path, ReadOptions(restore="tensors", key="model")),
    ):
        pass


def test_restore_is_model_for_torchscript_only(tmp_path: Path) -> None:
    def default(path: Path) -> str:
        return identify_format(path).default_restore(path)

    path = script(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    assert default(path) == "model"
    content = path.read_bytes()
    with open_source(path) as source:
        assert {tensor.name for tensor in source.tensors} == {"weight", "bias"}
        assert all(tensor.place is not None for tensor in source.tensors)
    for is_zip in (True, False):
        torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=is_zip)
        assert default(path) == "tensors"
    for size in (len(content) // 2, len(content) - 1, len(content) - 30):
        path.write_bytes(content[:size])
        assert default(path) == "tensors"
        assert error_of(path, "model").startswith("damaged archive: ")
    path.write_bytes(build_zip(Record("a/data.pkl", b""), Record("b/constants.pkl", b"")))
    assert default(path) == "tensors"


@pytest.mark.parametrize("extra_files", [{"config.json": "{}"}, {"labels/é.txt": b"\xff"}])
def test_torchscript_with_extra_files_has_places(
    tmp_path: Path, extra_files: dict[str, Any]
) -> None:
    path = tmp_path / "m.pt"
    module = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(module, str(path), _extra_files=extra_files)
    with open_source(path) as source:
        assert source.restore == "model"
        assert {tensor.name for tensor in source.tensors} == {"weight", "bias"}


def test_torchscript_with_sorted_records_is_recognized(tmp_path: Path) -> None:
    original, path = script(torch.nn.Linear(2, 2), tmp_path / "o.pt"), tmp_path / "m.pt"
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as archive:
        for name in sorted(source.namelist()):
            archive.writestr(name, source.read(name))
    with open_source(path) as opened:
        assert {tensor.name for tensor in opened.tensors} == {"weight", "bias"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_that_are_written_again_have_places_if_stored(tmp_path: Path, method: int) -> None:
    original, path = tmp_path / "o.pth", tmp_path / "m.pth"
    torch.save({"w": torch.zeros(300), "b": torch.zeros(3).half()}, original)
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("o")
        for info in source.infolist():
            archive.writestr(info.filename, source.read(info))
    spliced = check(path)
    assert places(spliced) == ({"w", "b"} if method == zipfile.ZIP_STORED else set())
    assert len(spliced.checksums) == len(places(spliced))
    # In the local header and in the central directory.
    assert all(len(checksum.fields) == 2 for checksum in spliced.checksums)


def test_zip64_descriptors_of_unseekable_output_are_found(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.content += bytes(data)
            return len(data)

    original, path = tmp_path / "o.pth", tmp_path / "m.pth"
    torch.save({"w": torch.zeros(300)}, original)
    pipe: Any = Pipe()
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(pipe, "w") as archive:
        for info in source.infolist():
            with archive.open(info.filename, "w", force_zip64=True) as record:
                record.write(source.read(info))
    path.write_bytes(pipe.content)
    spliced = check(path)
    assert places(spliced) == {"w"}
    assert [len(checksum.fields) for checksum in spliced.checksums] == [2]


def test_big_endian_archives_have_no_places(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    values = np.arange(10, dtype=">f4")
    records = (
        Record("a/data.pkl", tensor_pickle(0, (10,), (1,), 10)),
        Record("a/byteorder", b"big"),
        Record("a/data/0", values.tobytes()),
    )
    path.write_bytes(build_zip(*records))
    spliced = splice(path, tmp_path / "spliced.pt")
    assert spliced.written == {}
    assert spliced.tensors["w"].problem
    assert spliced.values["w"] == np.arange(10, dtype="<f4").tobytes()


def test_records_that_are_missing_or_short_give_no_place(tmp_path: Path) -> None:
    pickled = tensor_pickle(0, (10,), (1,), 10)
    for records in ({}, {"0": bytes(39)}):
        (tensor,) = read_contents(save_archive(tmp_path / "m.pt", pickled, **records)).tensors
        assert tensor.place is None


NESTED = "the containers of the checkpoint are nested too often"
TENSOR = tensor_pickle(0, (1,), (1,), 1)[len(b"\x80\x02}X\x01\x00\x00\x00w") : -2]


def doubled(times: int, pair: bytes) -> bytes:
    return b"\x80\x02" + TENSOR + b"q\x000" + (pair + b"q\x000") * times + b"h\x00."


@pytest.mark.parametrize("write", [save_archive, save_legacy])
@pytest.mark.parametrize("pair", [b"](h\x00h\x00e", b"cunknown\nClass\nh\x00h\x00\x86R"])
def test_endless_names_are_bounded(
    tmp_path: Path, pair: bytes, write: Callable[[Path, bytes], Path]
) -> None:
    with open_source(
        write(tmp_path / "m.pt", doubled(80, pair)), ReadOptions(restore="model")
    ) as source:
        assert 2 <= len(source.tensors) + len(source.kept) < 100_000


def test_torchscript_nested_in_itself_is_rejected(tmp_path: Path) -> None:
    state = b"}X\x01\x00\x00\x00ah\x00sb"
    records = [
        Record("m/data.pkl", b"\x80\x02c__torch__\nM\n)\x81q\x00" + state + b"."),
        Record("m/constants.pkl", b"\x80\x02)."),
        Record("m/code/__torch__.py", b"class M(Module):\n  __parameters__ = []\n"),
    ]
    path = tmp_path / "m.pt"
    path.write_bytes(build_zip(*records))
    assert error_of(path, "tensors") == NESTED
    path.write_bytes(build_zip(*records[:2]))
    assert error_of(path, "tensors") == "the record 'code/__torch__.py' is missing"


def test_sizes_of_places_are_those_of_the_dtype(save: Save) -> None:
    root = {name: torch.ones(5).to(getattr(torch, name)) for name in DTYPES}
    path = save(root)
    spliced = splice(path, path.with_name("spliced.pth"))
    for name, tensor in spliced.tensors.items():
        assert tensor.place is not None
        assert tensor.place.size == math.prod(tensor.shape) * STORAGE[DTYPES[name]].itemsize
