"""Tensors in containers of a torch checkpoint, the choice of its state dict, and the remarks."""

from __future__ import annotations

import pickle
import re
import warnings
from collections import OrderedDict, defaultdict, deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import vggq
from tests.packing.sources.pickles import STORAGE, save_archive
from vggq.errors import OptionError, SourceError
from vggq.packing import pack, verify_against
from vggq.packing.cli import main
from vggq.packing.options import Options
from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Key = str | tuple[str, ...] | None
    Save = Callable[[Any], Path]


class Pair(NamedTuple):
    first: Any
    second: Any


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    torch = pytest.importorskip("torch")

    def write(root: Any) -> Path:
        path = tmp_path / "m.pth"
        torch.save(root, path, _use_new_zipfile_serialization=request.param)
        return path

    return write


def number(value: float) -> Any:
    """Return a tensor of one value."""
    import torch  # noqa: PLC0415

    return torch.tensor(float(value))


def module() -> Any:
    import torch  # noqa: PLC0415

    return torch.nn.Linear(2, 2)


def read(path: Path, key: Key = None) -> dict[str, float]:
    """Return the value of each tensor."""
    with open_source(path, ReadOptions(key=key)) as source:
        return {tensor.name: tensor.read().item() for tensor in source.tensors}


def remarks(path: Path, key: Key = None, drop: tuple[str, ...] = ()) -> tuple[str, ...]:
    with open_source(path, ReadOptions(key=key, drop=drop)) as source:
        return source.remarks


def error_of(path: Path, key: Key = None) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, key)
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


def default_dict(items: dict[str, Any]) -> defaultdict[str, Any]:
    return defaultdict(list, items)


CONTAINERS: dict[str, tuple[Callable[[], Any], dict[str, float]]] = {
    "a list": (lambda: [number(1), number(2)], {"c.0": 1, "c.1": 2}),
    "a tuple": (lambda: (number(1), number(2)), {"c.0": 1, "c.1": 2}),
    "a dict": (lambda: {"x": number(1), "y": number(2)}, {"c.x": 1, "c.y": 2}),
    "an ordered dict": (lambda: OrderedDict(x=number(1)), {"c.x": 1}),
    "a default dict": (lambda: default_dict({"x": number(1)}), {"c.x": 1}),
    "a deque": (lambda: deque([number(1), number(2)], maxlen=9), {"c.0": 1, "c.1": 2}),
    "numbers as keys": (lambda: {0: number(1), 7: number(2)}, {"c.0": 1, "c.7": 2}),
    "a list of dicts": (lambda: [{"x": number(1)}, {"x": number(2)}], {"c.0.x": 1, "c.1.x": 2}),
    "a dict of lists": (lambda: {"x": [number(1)], "y": (number(2),)}, {"c.x.0": 1, "c.y.0": 2}),
    "lists of lists": (lambda: [[[number(1)], [number(2)]]], {"c.0.0.0": 1, "c.0.1.0": 2}),
    "other objects between": (lambda: [3, number(1), "x", {"n": None}], {"c.1": 1}),
}


@pytest.mark.torch
@pytest.mark.parametrize("label", CONTAINERS)
def test_tensors_in_containers_get_joined_names(save: Save, label: str) -> None:
    make, expected = CONTAINERS[label]
    state = {"b": number(9), "c": make()}
    assert read(save(state), ".") == {"b": 9, **expected}
    for root, key in (
        ({"model": state, "epoch": 3}, "model"),
        ({"model": {"params": state}, "epoch": 3}, "model.params"),
        ({"runs": [{"best": state}]}, "runs.0.best"),
    ):
        assert read(save(root), key) == {"b": 9, **expected}
        if not key.startswith("runs"):
            assert read(save(root)) == {"b": 9, **expected}


@pytest.mark.torch
def test_finds_tensors_that_are_only_in_containers(save: Save) -> None:
    assert read(save({"blocks": [number(1), number(2)]})) == {"blocks.0": 1, "blocks.1": 2}
    assert read(save({"b": number(3), "blocks": [number(1)]})) == {"b": 3, "blocks.0": 1}
    path = save({"model": {"blocks": [number(1)]}, "epoch": 3})
    assert read(path) == {"blocks.0": 1}
    path = save({"model": {"a": {"b": {"c": number(1)}}}, "epoch": 3})
    assert read(path) == {"a.b.c": 1}
    path = save({"model": {"a": {"b": {"c": number(1)}}}, "history": [number(2)]})
    assert read(path) == {"a.b.c": 1}
    path = save({"mine": {"a": {"b": {"c": number(1)}}}, "history": [number(2)]})
    assert error_of(path).startswith("several dicts contain tensors; set `key` to one of '.', 'mi")


@pytest.mark.torch
def test_state_dict_of_quantized_modules_can_be_packed_without_the_quantized_weights(
    save: Save,
) -> None:
    """torch stores their weights in a tuple."""
    import torch  # noqa: PLC0415

    with warnings.catch_warnings():
        # torch warns that they are deprecated.
        warnings.simplefilter("ignore")
        weight = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)
    path = save({"fc.scale": number(1), "fc._packed_params": (weight, number(2))})
    assert error_of(path).startswith("tensor 'fc._packed_params.0': a quantized tensor is not")
    with open_source(path, ReadOptions(drop=("fc._packed_params.0",))) as source:
        names = [tensor.name for tensor in source.tensors]
    assert names == ["fc._packed_params.1", "fc.scale"]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: {"a.b": number(1), "a": {"b": number(2)}}, "a.b"),
        (lambda: {"a.0": number(1), "a": [number(2)]}, "a.0"),
        (lambda: {"a": {"b.c": number(1), "b": {"c": number(2)}}}, "a.b.c"),
        (lambda: {0: number(1), "0": number(2)}, "0"),
    ],
)
def test_open_rejects_joined_names_that_are_equal(
    save: Save, make: Callable[[], Any], name: str
) -> None:
    assert error_of(save(make()), ".") == f"2 tensors have the name {name!r}"


@pytest.mark.torch
def test_packed_file_has_the_joined_names(save: Save, tmp_path: Path) -> None:
    import torch  # noqa: PLC0415

    weights = [torch.randn(40, 50), torch.randn(40, 50)]
    path = save({"blocks": weights, "layer": [{"bias": torch.randn(50)}]})
    packed = pack(path, tmp_path / "m.vggq", keep=["blocks.1"], rename={"^layer": "head"})
    restored = vggq.load(packed.target)
    assert list(restored) == ["blocks.0", "blocks.1", "head.0.bias"]
    assert restored["blocks.0"].shape == (40, 50)
    np.testing.assert_array_equal(restored["blocks.1"], weights[1].numpy())
    with vggq.open(packed.target) as opened:
        verify_against(opened, path)


# What is not packed.


@pytest.mark.torch
def test_one_remark_names_everything_that_is_not_packed(save: Save) -> None:
    state = {"w": number(1), "step": 7, "names": ["a"]}
    path = save(
        {
            "epoch": 3,
            "args": SimpleNamespace(lr=1),
            "state_dict": state,
            "optimizer": {"state": {0: {"m": number(2)}}},
            "ema": number(3),
            "nothing": None,
            "no schedulers": [],
            "no text": "",
        }
    )
    expected = (
        "not packed: 'optimizer' (with tensors), 'ema' (a tensor), 'state_dict.step', "
        "'state_dict.names', 'epoch', 'args' (types.SimpleNamespace)"
    )
    assert remarks(path) == (expected.replace("state_dict.", ""),)
    assert remarks(path, "state_dict") == remarks(path)


@pytest.mark.torch
def test_remark_names_what_is_beside_a_nested_state_dict(save: Save) -> None:
    other = {"w": number(2)}
    path = save({"model": {"best": {"w": number(1)}, "last": other, "n": 3}, "epoch": 3})
    assert remarks(path, "model.best") == (
        "not packed: 'model.last' (with tensors), 'model.n', 'epoch'",
    )
    assert remarks(path, ("model.best", "model.last")) == ("not packed: 'model.n', 'epoch'",)
    assert remarks(path, "model") == ("not packed: 'n', 'epoch'",)
    assert remarks(save({"w": number(1)})) == ()


@pytest.mark.torch
def test_remark_is_short_for_many_objects_and_long_names(save: Save) -> None:
    path = save({"w": number(1), "x" * 1000: 3, **{str(index): index for index in range(99)}})
    (remark,) = remarks(path)
    assert remark.startswith(f"not packed: '{'x' * 60}…', '0', '1', ")
    assert remark.endswith("'6' and 92 more")


@pytest.mark.torch
def test_pack_shows_the_remark(
    save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save({"model": {"w": number(1)}, "epoch": 3})
    packed = pack(path, tmp_path / "m.vggq")
    assert packed.remarks == ("the state dict is under the key 'model'", "not packed: 'epoch'")
    main(["pack", str(path), str(tmp_path / "m.vggq")])
    assert f"{path}: not packed: 'epoch'" in capsys.readouterr().err


# Objects that hold tensors.


@pytest.mark.torch
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: Pair(number(1), 2), f"{__name__}.Pair"),
        (lambda: SimpleNamespace(weight=number(1)), "types.SimpleNamespace"),
        (lambda: {"deep": [SimpleNamespace(weight=[number(1)])]}, "types.SimpleNamespace"),
        (module, "torch.nn.modules.linear.Linear"),
    ],
)
def test_objects_with_tensors_in_the_state_dict_are_rejected_by_name_unless_dropped(
    save: Save, make: Callable[[], Any], kind: str
) -> None:
    path = save({"state_dict": {"w": number(1), "odd": make()}})
    message = error_of(path)
    assert message.startswith("tensor 'odd")
    assert f": an object of {kind}, which holds tensors, is not supported" in message
    assert message.endswith("`drop` can leave it out")
    with open_source(path, ReadOptions(drop=("odd*",))) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]


@pytest.mark.torch
def test_objects_with_tensors_beside_the_state_dict_are_named(save: Save) -> None:
    path = save({"state_dict": {"w": number(1)}, "ema": module()})
    assert read(path) == {"w": 1}
    assert remarks(path) == ("not packed: 'ema' (torch.nn.modules.linear.Linear)",)


@pytest.mark.torch
def test_a_pickled_module_is_not_replaced_by_the_state_of_its_optimizer(save: Save) -> None:
    state = {0: {"exp_avg": number(1)}}
    for optimizer in ({"state": state}, state[0]):
        message = error_of(save({"model": module(), "optimizer": optimizer}))
        assert message.startswith(
            "the key 'model' is that of an object of torch.nn.modules.linear.Linear, whose tensors "
            "are not read: no code was run; save the model's state dict instead: "
            "torch.save(model.state_dict(), path)"
        )
        assert message.endswith(", or set `key` to 'optimizer'")


@pytest.mark.torch
def test_storages_in_the_state_dict_are_rejected_by_name_unless_dropped(save: Save) -> None:
    import torch  # noqa: PLC0415

    path = save({"w": number(1), "odd": torch.ones(2).untyped_storage()})
    assert error_of(path).startswith("tensor 'odd': a storage is not supported; ")
    with open_source(path, ReadOptions(drop=("odd",))) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]


@pytest.mark.torch
def test_keys_that_are_no_names_are_rejected_only_for_tensors(save: Save) -> None:
    odd = {(1, 2): 3, frozenset([1]): 4, 1 << 90: 5, SimpleNamespace: 6, 1.5: 7, b"x": 8, None: 9}
    assert read(save({"model": {"w": number(1)}, "odd": odd})) == {"w": 1}
    assert read(save({"model": {"w": number(1), **odd}})) == {"w": 1}
    path = save({"model": {"w": number(1), (1, 2): number(2)}})
    assert error_of(path).startswith("tensor '<tuple>': a tensor with a tuple as its key is not")
    with open_source(path, ReadOptions(drop=("<tuple>",))) as source:
        assert [tensor.name for tensor in source.tensors] == ["w"]


# Containers that a pickle nests too often.


def tensor_opcodes() -> bytes:
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n"
        + STORAGE % b"K\x01"
        + b"K\x00K\x01\x85K\x01\x85\x89NtR"
    )


@pytest.mark.parametrize(
    "nested",
    [
        b"]q\x01(%sh\x01e",
        b"}q\x01(X\x01\x00\x00\x00a%sX\x01\x00\x00\x00bh\x01u",
        b"%s\x85q\x01" + b"0h\x01h\x01\x86q\x01" * 60,
        b"]" * 100 + b"%s" + b"a" * 100,
    ],
    ids=["a list in itself", "a dict in itself", "2^60 names", "100 lists"],
)
def test_open_rejects_containers_that_are_nested_too_often(tmp_path: Path, nested: bytes) -> None:
    pickled = b"\x80\x02}X\x05\x00\x00\x00model" + nested.replace(b"%s", tensor_opcodes()) + b"s."
    path = save_archive(tmp_path / "m.pt", pickled, **{"0": bytes(4)})
    assert error_of(path, "model") == (
        "the containers of the state dict are nested too often; save a dict of tensors instead"
    )


def test_containers_in_themselves_are_harmless_beside_the_state_dict(tmp_path: Path) -> None:
    loop = b"X\x04\x00\x00\x00loop]q\x01h\x01a"
    pickled = b"\x80\x02}(X\x01\x00\x00\x00w" + tensor_opcodes() + loop + b"u."
    path = save_archive(tmp_path / "m.pt", pickled, **{"0": np.float32(5).tobytes()})
    assert read(path) == {"w": 5}
    assert remarks(path) == ("not packed: 'loop'",)


# The key.


@pytest.mark.torch
def test_several_keys_become_prefixes(save: Save) -> None:
    path = save({"encoder": {"w": number(1)}, "decoder": {"w": number(2)}, "epoch": 3})
    keys = ("encoder", "decoder")
    assert read(path, keys) == {"decoder.w": 2, "encoder.w": 1}
    assert remarks(path, keys) == ("not packed: 'epoch'",)
    assert read(path, ("encoder",)) == {"encoder.w": 1}
    assert read(path, "encoder") == {"w": 1}
    assert read(path, ".") == {"decoder.w": 2, "encoder.w": 1}
    path = save({"model": {"a": {"w": number(1)}, "b": [number(2)]}})
    assert read(path, ("model.a", "model.b")) == {"model.a.w": 1, "model.b.0": 2}


@pytest.mark.torch
def test_open_rejects_keys_without_tensors(save: Save) -> None:
    path = save(
        {"a": {"w": number(1)}, "b": {"w": number(2)}, "config": {"lr": 1}, "epoch": 3,
         "net": module(), "x": None}
    )  # fmt: skip
    places = "tensors are under 'a', 'b'"
    assert error_of(path, "config") == (
        f"the key 'config' is that of a dict without tensors; {places}"
    )
    assert error_of(path, "epoch") == f"the key 'epoch' is that of an int, not of a dict; {places}"
    assert error_of(path, "a.w") == f"the key 'a.w' is that of a tensor, not of a dict; {places}"
    assert error_of(path, ("a", "c")) == f"nothing in the checkpoint has the key 'c'; {places}"
    assert error_of(path, "net") == (
        "the key 'net' is that of an object of torch.nn.modules.linear.Linear, which is not read; "
        "save the model's state dict instead: torch.save(model.state_dict(), path)"
    )
    assert error_of(path, "x" * 300).startswith(
        f"nothing in the checkpoint has the key '{'x' * 60}…'"
    )


@pytest.mark.torch
def test_items_of_a_list_can_be_the_state_dict(save: Save) -> None:
    path = save([{"w": number(1)}, {"w": number(2)}])
    assert error_of(path) == (
        "contains a list, not a state dict; set `key` to the index of an item, or to '.' for all "
        "of them"
    )
    assert read(path, "1") == {"w": 2}
    assert read(path, ".") == {"0.w": 1, "1.w": 2}
    assert (
        error_of(path, "2")
        == "nothing in the checkpoint has the key '2'; tensors are under '0', '1'"
    )


@pytest.mark.torch
def test_message_names_a_few_of_many_candidates(save: Save) -> None:
    path = save({f"{index:0200}": {"w": number(1)} for index in range(50)})
    message = error_of(path)
    assert "and 44 more" in message
    assert len(message) < 1000


@pytest.mark.torch
def test_packed_file_records_several_keys_as_a_list(save: Save, tmp_path: Path) -> None:
    path = save({"a": {"w": number(1)}, "b": {"w": number(2)}})
    packed = pack(path, tmp_path / "m.vggq", key=["a", "b"])
    assert packed.manifest.options["key"] == ["a", "b"]
    assert Options.from_record(packed.manifest.options) == Options(key=("a", "b"))
    assert list(vggq.load(packed.target)) == ["a.w", "b.w"]
    with vggq.open(packed.target) as opened:
        verify_against(opened, path)
    assert pack(path, tmp_path / "m.vggq", key="a").manifest.options["key"] == "a"


@pytest.mark.torch
def test_command_line_repeats_the_key(save: Save, tmp_path: Path) -> None:
    path, target = save({"a": {"w": number(1)}, "b": {"w": number(2)}}), tmp_path / "m.vggq"
    for arguments, key, names in (
        (["--key", "a"], "a", ["w"]),
        (["--key", "a", "--key", "b"], ["a", "b"], ["a.w", "b.w"]),
    ):
        main(["pack", str(path), str(target), *arguments])
        with vggq.open(target) as weights:
            assert weights.manifest.options["key"] == key
            assert list(weights) == names


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "expected the key of a dict, or a list of keys, found ''"),
        ([], "expected the key of a dict, or a list of keys, found []"),
        (["a", ""], "expected the key of a dict, or a list of keys, found ['a', '']"),
        (["a", 3], "expected the key of a dict, or a list of keys, found ['a', 3]"),
        ({"a": 1}, "expected the key of a dict, or a list of keys, found {'a': 1}"),
        (["a", "b", "a"], "expected a list of different keys, found 'a' twice"),
        (["a", "."], "expected keys of dicts in the checkpoint, found '.' in a list"),
    ],
)
def test_options_reject_invalid_keys(key: Any, problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options(key=key)
    assert caught.value.problems == [("key", problem)]


def test_other_formats_reject_several_keys(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros(3))
    assert error_of(tmp_path / "w.npy", ("a", "b")) == (
        "key = ['a', 'b'] is for torch checkpoints only, and this file is npy"
    )


# numpy arrays in the state dict.


@pytest.mark.torch
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_arrays_in_the_state_dict_are_packed(tmp_path: Path, protocol: int) -> None:
    import torch  # noqa: PLC0415

    arrays: dict[str, NDArray[Any]] = {
        "plain": np.arange(6, dtype="f4").reshape(2, 3),
        "Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">i4"),
        "strided": np.arange(9)[::2],
        "scalar": np.array(3, np.uint16),
        "empty": np.zeros((0, 3), np.float16),
        "mask": np.array([True, False]),
        "complex": np.array([1 + 2j]),
        "bytes": np.arange(256, dtype=np.uint8),
    }
    path = tmp_path / "m.pth"
    torch.save({"model": {"w": torch.ones(1), **arrays}}, path, pickle_protocol=protocol)
    with open_source(path) as source:
        found = {tensor.name: tensor.read() for tensor in source.tensors}
    assert set(found) == {"w", *arrays}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.torch
def test_a_checkpoint_of_numpy_arrays_alone_is_read(save: Save) -> None:
    path = save({"model": {"w": np.array([5], np.float32), "names": np.array(["a"])}, "epoch": 3})
    assert read(path) == {"w": 5}
    assert remarks(path)[0].startswith("not packed: 'names' (numpy.")


@pytest.mark.torch
def test_numpy_arrays_beside_the_state_dict_do_not_make_it_ambiguous(save: Save) -> None:
    path = save({"mine": {"w": number(1)}, "statistics": {"mean": np.ones(3)}})
    assert read(path) == {"w": 1}
    assert remarks(path) == ("not packed: 'statistics'",)


def test_numpy_array_is_left_out_if_its_sizes_are_impossible(tmp_path: Path) -> None:
    array = pickle.dumps(np.arange(3, dtype="<f4"), 2)[2:-1]
    changed = array.replace(b"K\x03\x85", b"K\x04\x85")
    assert changed != array
    tensor = b"X\x01\x00\x00\x00w" + tensor_opcodes()
    # numpy before 2.0 has another name for the module.
    older, newer = (
        re.sub(rb"numpy\._?core", core, array) for core in (b"numpy.core", b"numpy._core")
    )
    for content, names in ((older, ["a", "w"]), (newer, ["a", "w"]), (changed, ["w"])):
        pickled = b"\x80\x02}(X\x01\x00\x00\x00a" + content + tensor + b"u."
        path = save_archive(tmp_path / "m.pt", pickled, **{"0": bytes(4)})
        with open_source(path) as source:
            assert [tensor.name for tensor in source.tensors] == names
