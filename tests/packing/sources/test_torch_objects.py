"""Plain objects in a torch checkpoint do not prevent reading it, and are never made."""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import operator
import pathlib
import pickle
import random
import re
import sys
import types
import uuid
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from tests.packing.sources.pickles import Call, save_archive, save_legacy, tensor_pickle
from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources.torch import _interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: int


class Slots:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = [3]


class Plain:
    def __init__(self) -> None:
        self.me = self

    def method(self) -> None: ...


class DictSubclass(dict[str, Any]):
    pass


class ListSubclass(list[Any]):
    pass


class TupleSubclass(tuple[Any, ...]):
    __slots__ = ()


class SetSubclass(set[Any]):
    pass


class IntSubclass(int):
    pass


class StrSubclass(str):
    __slots__ = ()


class Keywords:
    """An object whose class takes keyword arguments."""

    def __new__(cls, *, value: int) -> Self:
        del value
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {"value": 3}


class Everything:
    """An object whose pickle has a state, items of a list, and items of a dict."""

    def append(self, item: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def __reduce__(self) -> tuple[Any, ...]:
        return Everything, (), {"state": 1}, iter([1, 2]), iter([("key", 3)])


class Setter:
    """An object whose state is set by a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Setter, (), {"state": 1}, None, None, set_state


def set_state(target: object, state: object) -> None: ...


def loop() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def tuple_loop() -> tuple[Any, ...]:
    items: tuple[Any, ...] = (1, [], 2, 3)
    items[1].append(items)
    return items


OBJECTS: dict[str, Any] = {
    "Namespace": argparse.Namespace(lr=1, more=argparse.Namespace(steps=[1, {"a": (2,)}])),
    "SimpleNamespace": types.SimpleNamespace(a=1),
    "numpy float": np.float64(0.7),
    "numpy int": np.int64(3),
    "numpy bool": np.bool_(1),
    "numpy string": np.str_("x"),
    "numpy date": np.datetime64("2020-01-01"),
    "numpy dtype": np.dtype("f4,i4"),
    "numpy type": np.float32,
    "numpy function": np.add,
    "array": np.arange(6.0).reshape(2, 3),
    "array of strings": np.array(["a", "b"]),
    "array of objects": np.array([None, "x"], object),
    "array of records": np.zeros(2, "f4,i4"),
    "masked array": np.ma.array([1, 2], mask=[False, True]),
    "generator of numpy": np.random.default_rng(0),
    "state of numpy": np.random.RandomState(0),
    "path": pathlib.PurePosixPath("a/b"),
    "path of Windows": pathlib.PureWindowsPath("a/b"),
    "datetime": dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
    "date": dt.date(2020, 1, 2),
    "timedelta": dt.timedelta(3),
    "decimal": decimal.Decimal("1.5"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=3),
    "address": ipaddress.ip_address("127.0.0.1"),
    "enum": Colour.RED,
    "flags": Level.LOW | Level.HIGH,
    "dataclass": Frozen(3),
    "slots": Slots(),
    "plain": Plain(),
    "dict subclass": DictSubclass(a=1),
    "list subclass": ListSubclass([1, 2]),
    "tuple subclass": TupleSubclass((1, 2)),
    "set subclass": SetSubclass([1]),
    "int subclass": IntSubclass(3),
    "str subclass": StrSubclass("x"),
    "keywords": Keywords(value=3),
    "everything": Everything(),
    "setter": Setter(),
    "class": Plain,
    "builtin class": int,
    "function": set_state,
    "builtin function": len,
    "method": Plain().method,
    "method of a class": dict.fromkeys,
    "partial": functools.partial(set_state, 1),
    "itemgetter": operator.itemgetter(1),
    "exception": ValueError("x"),
    "pattern": re.compile("a"),
    "range": range(3),
    "slice": slice(1, 2),
    "ellipsis": ...,
    "complex": 1j,
    "bytes": b"a\xff",
    "no bytes": [b""],
    "bytearray": bytearray(b"a"),
    "set": {1, 2},
    "frozenset": frozenset([1]),
    "deque": collections.deque([1, 2], 3),
    "ordered dict": collections.OrderedDict(a=1),
    "default dict": collections.defaultdict(list, {1: [2]}),
    "counter": collections.Counter("aab"),
    "chain": collections.ChainMap({"a": 1}),
    "user dict": collections.UserDict(a=1),
    "array of Python": array.array("f", [1, 2]),
    "file": io.BytesIO(b"abc"),
    "random": random.Random(0),
    "random state": random.Random(0).getstate(),
    "long": 1 << 70,
    "very long": 1 << 20_000,
    "surrogate": "\ud800",
    "odd keys": {(1, (2,)): 1, frozenset([1]): 2, Colour.RED: 3, Plain: 4, 1 << 70: 5, b"": 6},
    "loop": loop(),
    "loop of tuples": tuple_loop(),
}


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def zipped(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.torch
@pytest.mark.parametrize("label", OBJECTS)
def test_plain_objects_are_left_out_and_named(tmp_path: Path, label: str, *, zipped: bool) -> None:
    import torch  # noqa: PLC0415

    path, odd = tmp_path / "m.pth", OBJECTS[label]
    state = {"w": torch.arange(3.0)}
    for protocol in range(2, 6):
        for root, key in (
            ({"model": state, "odd": odd}, None),
            ({"model": state, "odd": [odd]}, "model"),
            ({"odd": {"odd": odd}, "model": state}, "model"),
        ):
            torch.save(root, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
            with open_source(path, ReadOptions(key=key)) as source:
                (tensor,) = source.tensors
                assert tensor.read().tolist() == [0, 1, 2]
                assert source.remarks[0].startswith("not packed: 'odd'")


@pytest.mark.torch
def test_objects_of_torch_are_left_out_and_named(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    weight = torch.nn.Parameter(torch.ones(2))
    objects = {
        "size": torch.Size([2, 3]), "device": torch.device("cuda:0"), "dtype": torch.bfloat16,
        "layout": torch.strided, "loss": torch.nn.functional.mse_loss, "class": torch.nn.Linear,
        "schedule": torch.optim.lr_scheduler.StepLR(torch.optim.SGD([weight], 1), 1).state_dict(),
        "optimizer": torch.optim.SGD([weight], 1), "activation": torch.nn.ReLU(),
    }  # fmt: skip
    torch.save({"state_dict": {"w": torch.ones(3)}, **objects}, tmp_path / "m.pth")
    with open_source(tmp_path / "m.pth") as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]
        (remark,) = source.remarks
    assert remark == (
        "not packed: 'optimizer' (torch.optim.sgd.SGD), 'size', 'device' (torch.device), 'dtype', "
        "'layout', 'loss', 'class', 'schedule' and 1 more"
    )


@pytest.mark.torch
def test_plain_objects_in_the_state_dict_are_left_out_and_named(
    tmp_path: Path, *, zipped: bool
) -> None:
    import torch  # noqa: PLC0415

    without = {label: odd for label, odd in OBJECTS.items() if label != "array"}
    path = tmp_path / "m.pth"
    torch.save({"w": torch.ones(3), **without}, path, _use_new_zipfile_serialization=zipped)
    with open_source(path) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]
        (remark,) = source.remarks
    assert remark.startswith("not packed: 'Namespace' (argparse.Namespace), ")
    assert remark.endswith(f" and {len(without) - 8} more")


@pytest.mark.torch
def test_large_sets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a stand-in iterates over counts as work, and a pickle can repeat."""
    import torch  # noqa: PLC0415

    monkeypatch.setattr(_interpreter, "_MAX_ITEMS", 10)
    path = tmp_path / "m.pth"
    state = {"w": torch.ones(3)}
    torch.save({"model": state, "vocabulary": set(range(1000))}, path)
    with open_source(path) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]
    torch.save({"model": state, "odd": pickle_of_ordered_dict(11)}, path)
    with pytest.raises(SourceError, match="more work than any state dict"), open_source(path):
        pass


def pickle_of_ordered_dict(count: int) -> Call:
    return Call(collections.OrderedDict, [[str(index), 0] for index in range(count)])


@pytest.fixture
def explosive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a module that must not be imported."""
    (tmp_path / "explosive.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "explosive"
    assert "explosive" not in sys.modules


# Everything that the opcodes of a pickle can do with a class or a function, before the opcode that
# adds it to a dict.
USES = {
    "GLOBAL": b"cexplosive\nThing\n",
    "STACK_GLOBAL": b"\x8c\x09explosive\x8c\x05Thing\x93",
    "REDUCE": b"cexplosive\nThing\n)R",
    "REDUCE twice": b"cexplosive\nThing\n)R)R",
    "NEWOBJ": b"cexplosive\nThing\n)\x81",
    "NEWOBJ_EX": b"cexplosive\nThing\n)}\x92",
    "OBJ": b"(cexplosive\nThing\nK\x01o",
    "INST": b"(K\x01iexplosive\nThing\n",
    "BUILD": b"cexplosive\nThing\n)\x81}X\x01\x00\x00\x00aK\x01sb",
    "APPEND": b"cexplosive\nThing\n)\x81K\x01a",
    "APPENDS": b"cexplosive\nThing\n)\x81(K\x01K\x02e",
    "ADDITEMS": b"cexplosive\nThing\n)\x81(K\x01\x90",
    "SETITEM": b"cexplosive\nThing\n)\x81K\x01K\x02s",
    "SETITEMS": b"cexplosive\nThing\n)\x81(K\x01K\x02u",
    "EXT1": b"\x82\x01",
    "getattr": b"c__builtin__\ngetattr\ncexplosive\nThing\nX\x01\x00\x00\x00a\x86R",
    "a key": b"}cexplosive\nThing\nK\x01s",
    "a call of os.system": b"cos\nsystem\nX\x0f\x00\x00\x00touch explosive\x85R",
    "a call of eval": b"c__builtin__\neval\nX\x04\x00\x00\x00exit\x85R",
    "DUP and POP": b"cexplosive\nThing\n20",
    "POP_MARK": b"N(cexplosive\nThing\n1",
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("write", [save_archive, save_legacy])
def test_pickles_neither_import_nor_call_anything(
    tmp_path: Path, explosive: str, monkeypatch: pytest.MonkeyPatch, use: str, write: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    tensor = tensor_pickle(0, (0,), (1,), 0)[2:-2]
    odd = b"X\x03\x00\x00\x00odd" + USES[use] + b"s."
    path = write(tmp_path / "m.pt", b"\x80\x02" + tensor + b"s" + odd)
    with open_source(path) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]
    assert not (tmp_path / explosive).exists()


def test_classes_of_tensors_are_not_imported(tmp_path: Path, explosive: str) -> None:
    """An unknown class in the place of a function of torch is refused by name."""
    pickled = tensor_pickle(0, (2,), (1,), 2)
    for changed, message in (
        (
            pickled.replace(b"torch._utils\n_rebuild_tensor_v2", b"explosive\nrebuild"),
            "the key 'w' is that of an object of explosive.rebuild, whose tensors are not read",
        ),
        (
            pickled.replace(b"torch\nFloatStorage", b"explosive\nStorage"),
            "tensor 'w': the dtype explosive.Storage is not supported",
        ),
    ):
        path = save_archive(tmp_path / "m.pt", changed, **{"0": bytes(8)})
        with pytest.raises(SourceError) as caught, open_source(path):
            pass
        assert message in str(caught.value)
    assert explosive not in sys.modules


def test_a_pickled_object_is_named_instead_of_a_state_dict(tmp_path: Path) -> None:
    path = save_archive(tmp_path / "m.pt", pickle.dumps(Plain(), 2))
    for key in (None, "model", "."):
        with pytest.raises(SourceError) as caught, open_source(path, ReadOptions(key=key)):
            pass
        assert caught.value.reason == (
            f"contains an object of {__name__}.Plain, not a state dict: no code was run; save the "
            "model's state dict instead: torch.save(model.state_dict(), path)"
        )


# A state dict {"w": tensor} of an unknown subclass of dict, without the first and the last opcode.
_OWN_DICT = tensor_pickle(0, (0,), (1,), 0)[2:-1].replace(b"}", b"cexplosive\nDict\n)\x81", 1)
_UNDER_MODEL = b"}X\x05\x00\x00\x00model" + _OWN_DICT + b"s"
_PLAIN_DICT_ADVICE = "save its items as a plain dict instead: dict(state_dict)"


@pytest.mark.parametrize(
    ("pickled", "key", "problem"),
    [
        (
            _OWN_DICT,
            None,
            "contains an object of explosive.Dict, not a state dict: no code was run",
        ),
        (
            _UNDER_MODEL,
            None,
            (
                "the key 'model' is that of an object of explosive.Dict, whose tensors are not "
                "read: no code was run"
            ),
        ),
        (
            _UNDER_MODEL,
            "model",
            "the key 'model' is that of an object of explosive.Dict, which is not read",
        ),
        (
            _UNDER_MODEL,
            "model.net",
            (
                "nothing in the checkpoint has the key 'model.net'; the key 'model' is that of an "
                "object of explosive.Dict, whose tensors are not read: no code was run"
            ),
        ),
    ],
)
@pytest.mark.parametrize("write", [save_archive, save_legacy])
def test_an_unknown_subclass_of_dict_is_refused_by_name_as_the_state_dict(
    tmp_path: Path, explosive: str, pickled: bytes, key: str | None, problem: str, write: Any
) -> None:
    """Refuse it as `torch.load(weights_only=True)` does: the class may change its items."""
    path = write(tmp_path / "m.pt", b"\x80\x02" + pickled + b".")
    with pytest.raises(SourceError) as caught, open_source(path, ReadOptions(key=key)):
        pass
    assert caught.value.reason == f"{problem}; {_PLAIN_DICT_ADVICE}"
    assert explosive in problem


def test_an_unknown_subclass_of_dict_is_left_out_beside_the_state_dict(
    tmp_path: Path, explosive: str
) -> None:
    tensor = tensor_pickle(0, (0,), (1,), 0)[2:-1]
    state = b"}X\x05\x00\x00\x00model" + tensor + b"s"
    odd = b"X\x03\x00\x00\x00odd" + _OWN_DICT + b"s."
    path = save_archive(tmp_path / "m.pt", b"\x80\x02" + state + odd)
    with open_source(path, ReadOptions(key="model")) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]
        assert source.remarks == (f"not packed: 'odd' ({explosive}.Dict)",)


@pytest.mark.torch
def test_torch_refuses_an_unknown_subclass_of_dict_as_well(tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    path = tmp_path / "m.pth"
    for root in (DictSubclass(w=torch.ones(1)), {"model": DictSubclass(w=torch.ones(1))}):
        torch.save(root, path)
        with pytest.raises(pickle.UnpicklingError, match="DictSubclass"):
            torch.load(path, weights_only=True)
        with pytest.raises(SourceError) as caught, open_source(path):
            pass
        assert f"an object of {__name__}.DictSubclass" in caught.value.reason
        assert caught.value.reason.endswith(_PLAIN_DICT_ADVICE)
