"""TFLite models: their tensors with places, and hostile files."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from tests.packing.model_files import restore_members
from tests.tflite_models import Data, Model, Table, Vector, Writer, network
from vggq.errors import OptionError, SourceError, VggqError
from vggq.packing import Packed, pack, verify_against
from vggq.packing.cli import main as run
from vggq.packing.sources import ReadOptions, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from vggq.packing.sources import Source, SourceTensor

MODEL = ReadOptions(restore="model")
TENSORS = ReadOptions(restore="tensors")
# A number that occurs nowhere else in a file.
PLACEHOLDER = 0x1122334455667788
TOO_MANY = "damaged: more than 50000 tensors, graphs and metadata"
WEIGHTS = np.random.default_rng(3).standard_normal((40, 30)).astype(np.float32)


def save(folder: Path, model: Model | bytes) -> Path:
    path = folder / "m.tflite"
    path.write_bytes(model if isinstance(model, bytes) else model.build())
    return path


def pack_model(path: Path, **options: Any) -> Packed:
    return pack(path, path.with_suffix(".vggq"), **options)


def restored(packed: Packed) -> bytes:
    (content,) = restore_members(packed.target).values()
    assert vggq.read_bytes(packed.target) == content
    return content


def read(path: Path, options: ReadOptions = MODEL) -> Source:
    """Return a source, after its values were compared with the bytes at their places."""
    data = path.read_bytes()
    with open_source(path, options) as source:
        for tensor in source.tensors:
            values = tensor.read().tobytes()
            if tensor.place is not None:
                assert data[tensor.place.start :][: tensor.place.size] == values
        return source


def kept(path: Path) -> dict[str, str | None]:
    """Return the tensors that stay in the rest, and why."""
    return {tensor.name: tensor.problem for tensor in read(path).kept}


def blank(data: bytes, tensors: list[SourceTensor]) -> bytes:
    """Return a file with zeros in place of its tensors."""
    changed = bytearray(data)
    for tensor in tensors:
        assert tensor.place is not None
        start = tensor.place.start
        changed[start : start + tensor.place.size] = bytes(tensor.place.size)
    return bytes(changed)


def test_tensors_have_places(tmp_path: Path) -> None:
    source = read(save(tmp_path, network()))
    assert {t.name: (t.dtype, t.shape) for t in source.tensors} == {
        "bias": ("F32", (48,)),
        "first/kernel": ("F32", (48, 48)),
        "second/kernel": ("F16", (48, 48)),
        "third/kernel": ("I8", (48, 48)),
    }
    assert source.kept == ()
    assert source.restore == "model"
    assert source.format == "tflite"


def test_model_with_everything_kept_is_restored_byte_for_byte(tmp_path: Path) -> None:
    path = save(tmp_path, network())
    assert restored(pack_model(path, keep=["*"])) == path.read_bytes()


@pytest.mark.parametrize("goal", [{"bits": 8}, {"bits": 2}, {"sqnr": 41.0}], ids=str)
def test_restored_model_differs_in_quantized_tensors_only(
    tmp_path: Path, goal: dict[str, Any]
) -> None:
    path = save(tmp_path, network())
    packed = pack_model(path, **goal)
    data, content = path.read_bytes(), restored(packed)
    source = read(path)
    assert content != data
    assert blank(content, source.tensors) == blank(data, source.tensors)
    assert {t.name for t in packed.manifest.tensors if t.quantized} == {
        "first/kernel",
        "second/kernel",
    }
    with vggq.open(packed.target) as weights:
        verify_against(weights, path)


def run_interpreter(data: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
    interpreter.invoke()
    output: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


@pytest.mark.litert
@pytest.mark.parametrize("bits", [8, 6])
def test_interpreter_opens_the_restored_model(tmp_path: Path, bits: int) -> None:
    path = save(tmp_path, network())
    packed = pack_model(path, bits=bits)
    inputs = np.random.default_rng(1).standard_normal((1, 48)).astype(np.float32)
    expected = run_interpreter(path.read_bytes(), inputs)
    found = run_interpreter(restored(packed), inputs)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 0 < error < (0.02 if bits == 8 else 0.1)
    # The network is what its weights say, so the outputs are those of the restored weights.
    weights = vggq.load(packed.target)
    hidden = inputs @ weights["first/kernel"].T + weights["bias"]
    hidden = hidden @ weights["second/kernel"].T + weights["bias"]
    hidden = hidden @ (weights["third/kernel"].T * np.float32(0.002)) + weights["bias"]
    np.testing.assert_allclose(found, hidden, rtol=0.05, atol=0.05 * np.abs(hidden).max())


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Draw a model with tensors of any type and shape, of which some share buffers."""
    model = Model(graphs=draw(st.integers(1, 2)))
    for number in range(draw(st.integers(1, 6))):
        dtype = draw(st.sampled_from(["<f4", "<f2", "|i1", "|u1", "<i4", "<i8", "<f8", "|b1"]))
        shape = draw(st.lists(st.integers(0, 40), max_size=3))
        count = int(np.prod(shape))
        values = np.random.default_rng(number).integers(0, 2, count).astype(dtype)
        name = draw(st.sampled_from(["w", "größe", "", None, f"t{number}"]))
        index = model.add_constant(name, values.reshape(shape))
        if draw(st.booleans()):
            fields = dict(model.tensors[index].fields)
            fields[3] = Data(b"alias", 4)
            model.tensors.append(Table(fields))
    return model


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(models(), st.integers(1, 8))
def test_any_model_is_restored(tmp_path: Path, model: Model, bits: int) -> None:
    path = save(tmp_path, model)
    assert restored(pack_model(path, keep=["*"] if read(path).tensors else [])) == path.read_bytes()
    content = restored(pack_model(path, bits=bits))
    source = read(path)
    placed = [tensor for tensor in source.tensors if tensor.count]
    assert blank(content, placed) == blank(path.read_bytes(), placed)


@pytest.mark.litert
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 40, 64]))
def test_models_of_the_real_writer_are_restored(tmp_path: Path, seed: int, width: int) -> None:
    import flatbuffers  # noqa: PLC0415
    from ai_edge_litert.schema_py_generated import Model as Schema  # noqa: PLC0415
    from ai_edge_litert.schema_py_generated import ModelT  # noqa: PLC0415

    written = network(seed, width).build()
    builder = flatbuffers.Builder(len(written))
    builder.Finish(ModelT.InitFromObj(Schema.GetRootAs(written)).Pack(builder), b"TFL3")
    path = save(tmp_path, bytes(builder.Output()))
    source = read(path)
    assert [t.name for t in source.tensors] == [
        "bias",
        "first/kernel",
        "second/kernel",
        "third/kernel",
    ]
    assert restored(pack_model(path, keep=["*"])) == path.read_bytes()
    content = restored(pack_model(path))
    assert blank(content, source.tensors) == blank(path.read_bytes(), source.tensors)
    inputs = np.random.default_rng(seed).standard_normal((1, width)).astype(np.float32)
    expected = run_interpreter(path.read_bytes(), inputs)
    error = np.linalg.norm(run_interpreter(content, inputs) - expected)
    assert error < 0.03 * np.linalg.norm(expected)


def test_shared_buffer_is_one_tensor(tmp_path: Path) -> None:
    model = Model(graphs=2)
    buffer = model.add_buffer(WEIGHTS.tobytes())
    model.add_tensor("w", [40, 30], 0, buffer)
    model.add_tensor("reshaped", [30, 40], 0, buffer)
    source = read(save(tmp_path, model))
    assert [(t.name, t.shape) for t in source.tensors] == [("w", (40, 30))]
    assert source.kept == ()


def test_buffer_of_several_types_is_kept_exactly(tmp_path: Path) -> None:
    model = Model()
    buffer = model.add_buffer(WEIGHTS.tobytes())
    model.add_tensor("w", [40, 30], 0, buffer)
    model.add_tensor("bits", [40, 30], 2, buffer)
    path = save(tmp_path, model)
    assert kept(path) == {"w": "other tensors use its values in another type"}
    assert restored(pack_model(path, bits=1)) == path.read_bytes()


def test_names_of_tensors_are_different(tmp_path: Path) -> None:
    model = Model()
    for name in ("w", "w", None, "", "\udcff"):
        model.add_constant(name, WEIGHTS)
    names = [tensor.name for tensor in read(save(tmp_path, model)).tensors]
    assert sorted(names) == ["\\xff", "unnamed", "unnamed#2", "w", "w#2"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"type_number": 5}, "the dtype STRING is not supported"),
        ({"type_number": 17}, "the dtype INT4 is not supported"),
        ({"type_number": 99}, "the dtype number 99 is not supported"),
        ({"type_number": -1}, "the dtype number -1 is not supported"),
        ({"f6": Table({})}, "sparse tensors are not supported"),
        ({"shape": [-1, 30]}, "the shape [-1, 30] is invalid"),
        ({"shape": [1] * 33}, "tensors of more than 32 dimensions are not supported"),
        ({"shape": [40, 31]}, "its shape needs 4960 bytes, but it has 4800"),
        ({"f10": ("I", 1)}, "its values are in another file"),
    ],
)
def test_tensors_that_cannot_be_quantized_are_kept_exactly(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    model = Model()
    buffer = model.add_buffer(WEIGHTS.tobytes())
    arguments: dict[str, Any] = {"shape": [40, 30], "buffer": buffer}
    model.add_tensor("w", **arguments | change)
    model.add_constant("v", WEIGHTS)
    path = save(tmp_path, model)
    assert kept(path) == {"w": problem}
    content = restored(pack_model(path, bits=1))
    start = path.read_bytes().index(WEIGHTS.tobytes())
    assert content[start : start + WEIGHTS.nbytes] == WEIGHTS.tobytes()


def test_values_that_metadata_use_as_well_are_kept_exactly(tmp_path: Path) -> None:
    model = Model()
    model.add_constant("w", WEIGHTS)
    model.metadata = [Table({0: Data(b"min_runtime_version", 4), 1: ("I", 1)})]
    path = save(tmp_path, model)
    assert kept(path) == {"w": "no range of the file holds exactly its values"}


def test_values_after_the_flatbuffer(tmp_path: Path) -> None:
    """Models of more than 2 GB state an offset and a size instead of a vector."""
    model = Model()
    model.buffers.append(Table({1: ("Q", PLACEHOLDER), 2: ("Q", WEIGHTS.nbytes)}))
    model.add_tensor("w", [40, 30], 0, 1)
    data = model.build()
    start = len(data) + 5
    data = data.replace(struct.pack("<Q", PLACEHOLDER), struct.pack("<Q", start))
    path = save(tmp_path, data + bytes(5) + WEIGHTS.tobytes() + b"end")
    (tensor,) = read(path).tensors
    assert tensor.place is not None
    assert tensor.place.start == start
    assert restored(pack_model(path, keep=["*"])) == path.read_bytes()
    with pytest.raises(SourceError, match="truncated, or an offset is wrong"):
        read(save(tmp_path, data + WEIGHTS.tobytes()))


def test_values_that_overlap_the_structure_are_kept_exactly(tmp_path: Path) -> None:
    model = Model()
    model.buffers.append(Table({1: ("Q", 8), 2: ("Q", PLACEHOLDER)}))
    model.add_tensor("w", [25, 1], 0, 1)
    data = model.build().replace(struct.pack("<Q", PLACEHOLDER), struct.pack("<Q", 100))
    path = save(tmp_path, data)
    assert kept(path) == {"w": "no range of the file holds exactly its values"}
    assert restored(pack_model(path, bits=1)) == data


def test_tensors_alone_can_be_packed(tmp_path: Path) -> None:
    model = network()
    model.metadata = [Table({0: Data(b"min_runtime_version", 4), 1: ("I", 0)})]
    packed = pack_model(save(tmp_path, model), restore="tensors", drop=["bias"])
    assert packed.manifest.model is None
    assert {t.name for t in packed.manifest.tensors} == {
        "first/kernel",
        "second/kernel",
        "third/kernel",
    }
    assert packed.remarks == (
        "not packed: the graph '4 operators'; the metadata 'min_runtime_version'",
    )


def test_options_of_other_formats_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, network())
    with pytest.raises(OptionError, match="does not apply with restore = 'model', the default"):
        pack_model(path, drop=["bias"])
    with pytest.raises(SourceError, match="for torch checkpoints only, and this file is tflite"):
        pack_model(path, restore="tensors", key="model")


def test_commands_know_tflite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, network())
    assert run(["inspect", str(path)]) == 0
    assert "tflite, 4 tensors, 16.3 kB; restored as a model of 17.7 kB" in capsys.readouterr().out


def error_of(folder: Path, data: bytes) -> str:
    """Return the message with which a file is refused, within a second."""
    path = save(folder, data)
    before = time.process_time()
    with pytest.raises(SourceError) as caught:
        read(path)
    assert time.process_time() - before < 1
    return str(caught.value).removeprefix(f"{path}: ")


def test_every_truncation_is_an_error_or_does_not_matter(tmp_path: Path) -> None:
    """The last bytes may be padding, or the terminators of texts."""
    data = network(width=4).build()
    messages = set()
    for size in range(len(data)):
        path = save(tmp_path, data[:size])
        try:
            found = {tensor.name for tensor in read(path).tensors}
        except SourceError as error:
            messages.add(str(error).partition(": ")[2][:12])
        else:
            assert found == {"bias", "first/kernel", "second/kernel", "third/kernel"}
            assert size > len(data) - 4
    assert messages == {"the suffix i", "damaged: tru"}


def test_every_changed_byte_is_an_error_or_is_restored(tmp_path: Path) -> None:
    data = network(width=4).build()
    for position in range(len(data)):
        for value in (data[position] ^ 1, 0xFF):
            changed = bytearray(data)
            changed[position] = value
            path = save(tmp_path, bytes(changed))
            try:
                source = read(path)
            except VggqError:
                continue
            placed = [tensor for tensor in source.tensors if tensor.count]
            for tensor in placed:
                assert tensor.place is not None
                assert tensor.place.start >= 0
                assert tensor.place.start + tensor.place.size <= len(data)


def test_list_of_too_many_tensors(tmp_path: Path) -> None:
    graph = Table({0: Vector("I", [0] * 1_000_000)})
    data = Writer().write_root(Table({2: Vector("", [graph])}))
    assert error_of(tmp_path, data) == TOO_MANY


def test_too_many_tensors_in_several_graphs(tmp_path: Path) -> None:
    model = Model(graphs=2)
    model.tensors = 26_000 * [Table({0: Vector("i", [1])})]
    assert error_of(tmp_path, model.build()) == TOO_MANY


def test_many_tensors_are_read_in_time(tmp_path: Path) -> None:
    """The largest number of tensors that is read, all with the values of one buffer."""
    model = Model()
    buffer = model.add_buffer(WEIGHTS.tobytes())
    for number in range(49_000):
        model.add_tensor(f"t{number}", [40, 30], 0, buffer)
    path = save(tmp_path, model)
    before = time.process_time()
    (tensor,) = read(path).tensors
    assert tensor.name == "t0"
    assert time.process_time() - before < 3


@pytest.mark.parametrize("offset", [0, 4, 9, 2**31, 2**32 - 1])
def test_wrong_offset_of_the_root(tmp_path: Path, offset: int) -> None:
    data = bytearray(network(width=4).build())
    struct.pack_into("<I", data, 0, offset)
    assert error_of(tmp_path, bytes(data)).startswith("damaged: ")


def test_buffer_that_does_not_exist(tmp_path: Path) -> None:
    model = Model()
    model.add_constant("w", WEIGHTS)
    model.add_tensor("v", [40, 30], 0, 7)
    assert error_of(tmp_path, model.build()) == "damaged: number 7 of a list that has 2 is used"


@pytest.mark.parametrize("field", [2, 4, 6])
def test_list_longer_than_the_file(tmp_path: Path, field: int) -> None:
    root = {2: Vector("", []), 4: Vector("", [Table({})]), field: Vector("Q", [PLACEHOLDER])}
    data = bytearray(Writer().write_root(Table(root)))
    start = data.index(struct.pack("<Q", PLACEHOLDER)) - 4
    struct.pack_into("<I", data, start, 2**32 - 1)
    assert error_of(tmp_path, bytes(data)).startswith("damaged: truncated, or an offset is wrong")


def test_file_that_is_no_tflite_model(tmp_path: Path) -> None:
    for data in (b"", b"TFL3", b"\0\0\0\0TFL2" + bytes(100)):
        assert error_of(tmp_path, data).startswith("the suffix is that of tflite, but the ")
