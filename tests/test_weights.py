"""`vggq.open` and the lazy mapping that it returns."""

from __future__ import annotations

import copy
import importlib
import importlib.resources
import io
import multiprocessing
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import errors
from vggq.packing import pack

from .helpers import assert_same_arrays, save_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


def test_weights_are_close_to_the_source_or_equal(packed: Path, state: State) -> None:
    with vggq.open(packed) as weights:
        assert list(weights) == sorted(state)
        for name, array in weights.items():
            expected = state[name]
            assert array.shape == expected.shape
            assert array.dtype == (np.float32 if expected.dtype.kind == "f" else expected.dtype)
            assert array.flags.writeable
            np.testing.assert_allclose(array, expected, atol=0.05 if expected.ndim == 2 else 0)


class RecordedReads(io.BytesIO):
    """A file that records the sizes of its reads."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[int | None] = []

    def read(self, size: int | None = -1) -> bytes:
        self.reads.append(size)
        return super().read(size)


def test_open_decodes_nothing_before_a_tensor_is_looked_up(packed: Path) -> None:
    file = RecordedReads(packed.read_bytes())
    with vggq.open(file) as weights:
        header_reads = len(file.reads)
        assert list(weights) == ["conv.bias", "conv.weight", "half.weight", "mask", "steps"]
        assert len(weights) == 5
        assert "conv.bias" in weights
        assert "nope" not in weights
        assert weights.tensors["half.weight"].shape == (40, 30)
        assert weights.tensors["half.weight"].source_dtype == "F16"
        assert weights.tensors["half.weight"].dtype == np.float32
        assert weights.tensors["mask"].dtype == bool
        assert weights.size == packed.stat().st_size
        assert len(file.reads) == header_reads
        assert weights["steps"] == 7
        assert file.reads[header_reads:] == [weights.stored_size("steps")]


def test_repr_has_the_path_and_the_number_of_tensors(packed: Path) -> None:
    with vggq.open(packed) as weights:
        assert weights.name == str(packed)
        assert repr(weights) == f"<vggq.Weights of {packed}: 5 tensors>"


def test_each_look_up_returns_a_new_array(packed: Path) -> None:
    with vggq.open(packed) as weights:
        first = weights["conv.weight"]
        kept = first.copy()
        first[:] = 0
        np.testing.assert_array_equal(weights["conv.weight"], kept)


def test_unknown_tensor_is_named(packed: Path) -> None:
    with vggq.open(packed) as weights:
        with pytest.raises(errors.UnknownTensorError) as caught:
            weights["a'b"]
        assert isinstance(caught.value, KeyError)
        assert str(caught.value) == f'{packed}: no tensor is named "a\'b"'
        with pytest.raises(errors.UnknownTensorError):
            weights.stored_size("nope")
        assert weights.get("nope") is None


def test_closed_weights_keep_names_and_decoded_arrays(packed: Path) -> None:
    with vggq.open(packed) as weights:
        array = weights["conv.bias"]
    weights.close()
    with pytest.raises(errors.ClosedError) as caught:
        weights["conv.bias"]
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == f"{packed}: the file is closed"
    assert array.shape == (40,)
    assert "conv.bias" in weights


def test_invalid_file_is_closed_and_named(tmp_path: Path) -> None:
    """If the file were left open, its ResourceWarning would fail the test."""
    path = tmp_path / "broken.vggq"
    path.write_bytes(b"\0" * 20)
    with pytest.raises(errors.HeaderError) as caught:
        vggq.open(path)
    assert str(caught.value).startswith(f"{path}: not a valid .vggq file: not valid JSON")


def test_threads_look_up_tensors_of_one_file(packed: Path) -> None:
    expected = vggq.load(packed)
    with vggq.open(packed) as weights, ThreadPoolExecutor(8) as pool:
        names = [name for name in weights for _ in range(40)]
        for name, array in zip(names, pool.map(weights.__getitem__, names), strict=True):
            np.testing.assert_array_equal(array, expected[name])


# Copies, also in other processes


def pickled(weights: vggq.Weights) -> vggq.Weights:
    copied: vggq.Weights = pickle.loads(pickle.dumps(weights))
    return copied


Duplicate = Callable[[vggq.Weights], vggq.Weights]


@pytest.fixture(params=[pickled, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def duplicate(request: pytest.FixtureRequest) -> Duplicate:
    """Return a function that copies weights."""
    function: Duplicate = request.param
    return function


def test_copy_has_a_file_of_its_own(packed: Path, duplicate: Duplicate) -> None:
    expected = vggq.load(packed)
    weights = vggq.open(packed)
    copied = duplicate(weights)
    assert type(copied) is vggq.Weights
    assert (copied.name, copied.size) == (weights.name, weights.size)
    assert copied.manifest == weights.manifest
    weights.close()
    assert_same_arrays(dict(copied), expected)
    again = duplicate(copied)
    copied.close()
    assert_same_arrays(dict(again), expected)
    again.close()
    again.close()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_opens_the_file_again(packed: Path, protocol: int) -> None:
    with vggq.open(packed) as weights:
        data = pickle.dumps(weights, protocol)
    assert len(data) < 1000
    with pickle.loads(data) as copied:
        assert_same_arrays(dict(copied), vggq.load(packed))


def test_copy_is_closed_with_its_last_reference(packed: Path, duplicate: Duplicate) -> None:
    """If the file were left open, its ResourceWarning would fail the test."""
    with vggq.open(packed) as weights:
        before = set(Path("/proc/self/fd").iterdir())
        copied = duplicate(weights)
        assert copied["steps"] == 7
        del copied
        assert set(Path("/proc/self/fd").iterdir()) == before


def test_relative_path_is_found_from_another_folder(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duplicate: Duplicate
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(packed.parent)
    with vggq.open(packed.name) as weights:
        monkeypatch.chdir("elsewhere")
        with duplicate(weights) as copied:
            assert copied.name == str(packed)
            assert copied["steps"] == 7


def test_max_bytes_is_kept(packed: Path, duplicate: Duplicate) -> None:
    with vggq.open(packed, max_bytes=100_000) as weights:
        large = packed.with_name("large.npz")
        save_npz(large, {"w": np.zeros((300, 300), np.float32)})
        pack(large, packed)
        with pytest.raises(
            errors.LimitError, match=r"need 360000 bytes of .*, max_bytes is 100000"
        ):
            duplicate(weights)


def test_file_that_was_changed_is_validated(packed: Path, duplicate: Duplicate) -> None:
    with vggq.open(packed) as weights:
        packed.write_bytes(packed.read_bytes()[:-1])
        with pytest.raises(errors.HeaderError, match=f"^{packed}: not a valid .vggq file"):
            duplicate(weights)
        packed.unlink()
        with pytest.raises(errors.PackedFileError, match=f"^{packed}: no such file$"):
            duplicate(weights)


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_bytes_are_copied(packed: Path, form: Callable[[bytes], Any], duplicate: Duplicate) -> None:
    with vggq.open(form(packed.read_bytes())) as weights, duplicate(weights) as copied:
        assert copied.name == weights.name
        assert_same_arrays(dict(copied), vggq.load(packed))


@pytest.mark.parametrize("kind", ["package", "module", "traversable", "zip", "traversable in zip"])
def test_resource_of_a_package_is_opened_again(
    packed: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, duplicate: Duplicate
) -> None:
    name = f"copied_{kind.replace(' ', '_')}"
    site = tmp_path / "site"
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text("")
    (site / name / "w.vggq").write_bytes(packed.read_bytes())
    if "zip" in kind:
        site = Path(shutil.make_archive(str(tmp_path / "site"), "zip", site))
    monkeypatch.syspath_prepend(site)
    sys.modules.pop(name, None)
    module = importlib.import_module(name)
    traversable = importlib.resources.files(name) / "w.vggq"
    arguments: Any = {
        "module": (module, "w.vggq"),
        "traversable": (traversable,),
        "traversable in zip": (traversable,),
    }.get(kind, (name, "w.vggq"))
    with vggq.open(*arguments) as weights, duplicate(weights) as copied:
        assert_same_arrays(dict(copied), vggq.load(packed))
        if not kind.startswith("traversable"):
            assert copied.name == weights.name == f"'w.vggq' in package {name!r}"
            assert str(site).encode() not in pickle.dumps(weights)


def test_resource_of_the_main_module_is_opened_by_its_path(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duplicate: Duplicate
) -> None:
    """Another process has another main module."""
    folder = tmp_path / "site" / "used_as_main"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "w.vggq").write_bytes(packed.read_bytes())
    monkeypatch.syspath_prepend(folder.parent)
    sys.modules.pop(folder.name, None)
    monkeypatch.setitem(sys.modules, "__main__", importlib.import_module(folder.name))
    with vggq.open("__main__", "w.vggq") as weights:
        assert weights.name == "'w.vggq' in package '__main__'"
        with duplicate(weights) as copied:
            assert copied.name == str(folder / "w.vggq")


def open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def open_member(path: Path) -> IO[bytes]:
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "w.vggq")
    return zipfile.ZipFile(archive).open("w.vggq")


@pytest.mark.parametrize("opener", [open_file, open_member, lambda p: io.BytesIO(p.read_bytes())])
def test_open_file_cannot_be_opened_again(
    packed: Path, opener: Callable[[Path], IO[bytes]], duplicate: Duplicate
) -> None:
    with opener(packed) as file, vggq.open(file) as weights:
        with pytest.raises(errors.PackedFileError) as caught:
            duplicate(weights)
        reason = "cannot be pickled or copied, because it was opened from a file object; "
        advice = "open a path, a package's resource or bytes"
        assert str(caught.value) == f"{weights.name}: {reason}{advice}"
        assert weights["steps"] == 7


def test_closed_weights_cannot_be_copied(packed: Path, duplicate: Duplicate) -> None:
    weights = vggq.open(packed)
    weights.close()
    with pytest.raises(errors.ClosedError) as caught:
        duplicate(weights)
    assert str(caught.value) == f"{packed}: cannot be pickled or copied: the file is closed"


class Dataset:
    """An object that has weights, as the data sets of torch's loaders may have."""

    def __init__(self, weights: vggq.Weights) -> None:
        self.weights = weights

    def sums(self, names: list[str]) -> list[float]:
        return [float(self.weights[name].sum()) for name in names]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_worker_process_receives_weights(packed: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    names = ["conv.weight", "steps"]
    with vggq.open(packed) as weights, ProcessPoolExecutor(2, context) as pool:
        tasks = [pool.submit(Dataset(weights).sums, names) for _ in range(6)]
        expected = Dataset(weights).sums(names)
        assert all(task.result() == expected for task in tasks)


def test_errors_of_a_worker_process_arrive(packed: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with vggq.open(packed) as weights, ProcessPoolExecutor(1, context) as pool:
        task = pool.submit(Dataset(weights).sums, ["no such"])
        with pytest.raises(errors.UnknownTensorError) as caught:
            task.result()
        assert str(caught.value) == f"{packed}: no tensor is named 'no such'"
        with vggq.open(io.BytesIO(packed.read_bytes())) as unnamed:
            refused = pool.submit(Dataset(unnamed).sums, ["steps"])
            with pytest.raises(errors.PackedFileError, match="cannot be pickled or copied"):
                refused.result()
