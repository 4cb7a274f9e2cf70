"""The benchmark of restoring: what its readers return, and how it measures them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

import vggq
from vggq.packing import pack

from .helpers import save_npz

if TYPE_CHECKING:
    from .conftest import BuildOnce

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")

ROOT: Final = Path(__file__).resolve().parents[1]
BENCHMARKS: Final = ROOT / "benchmarks"
SIDE: Final = 256
STEM: Final = "model"

# Each reader with the suffix of its file, and whether its tensors are views of the mapped file.
READERS: Final = {
    "vggq.load": (".vggq", False),
    "safetensors.numpy.load_file": (".safetensors", False),
    "numpy.load, npz": (".npz", False),
    "numpy.load, npy": (".npy", False),
    "numpy.load(mmap_mode='r'), npy": (".npy", True),
}
TORCH_READERS: Final = {
    "vggq.torch.load": (".vggq", False),
    "safetensors.torch.load_file": (".safetensors", True),
    "torch.load": (".pth", False),
    "torch.load(mmap=True)": (".pth", True),
}
RESOURCE_READERS: Final = {
    "vggq.load(package, resource)": ("installed", "stored.zip", "deflated.zip"),
    "safetensors.numpy.load_file, importlib.resources.as_file": ("installed",),
    "safetensors.numpy.load, Traversable.read_bytes": ("stored.zip", "deflated.zip"),
    "numpy.load, Traversable.read_bytes": ("stored.zip", "deflated.zip"),
}

# Prints whether the file is mapped after the load, and whether overwriting it changes the values.
PROBE: Final = """
import gc, json, sys
import numpy as np
from restore_worker import prepare
name, path, target = sys.argv[1:]
result = prepare(name, path, None)()
gc.collect()
with open("/proc/self/maps") as file:
    mapped = target in file.read()
tensors = result.values() if isinstance(result, dict) else [result]
before = [np.array(tensor) for tensor in tensors]
with open(target, "r+b") as file:
    size = file.seek(0, 2)
    file.seek(0)
    file.write(bytes(size))
after = [np.array(tensor) for tensor in tensors]
changed = not all(map(np.array_equal, before, after))
print(json.dumps([mapped, changed, sum(value.size for value in before)]))
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(BENCHMARKS), *sys.path]))


@pytest.fixture
def packed(build_once: BuildOnce) -> Path:
    def fill(folder: Path) -> None:
        rng = np.random.default_rng(0)
        state = {f"{n}.weight": rng.standard_normal((SIDE, SIDE), np.float32) for n in range(3)}
        pack(save_npz(folder / "source.npz", state), folder / f"{STEM}.vggq")

    return build_once("restore-benchmark", fill) / f"{STEM}.vggq"


@pytest.fixture
def files(packed: Path, tmp_path: Path) -> Path:
    """Return a folder with a model in every format but torch's."""
    from restore_files import copy_packed, write_packages, write_rivals  # noqa: PLC0415

    copy_packed(packed.parent, tmp_path, [STEM])
    write_rivals(tmp_path / packed.name)
    write_packages(tmp_path, STEM)
    return tmp_path


def probe(reader: str, path: Path, target: Path) -> list[Any]:
    command = [sys.executable, "-c", PROBE, reader, str(path), str(target.resolve())]
    found: list[Any] = json.loads(subprocess.check_output(command))
    return found


def test_every_reader_of_a_file_is_probed() -> None:
    import restore_readers  # noqa: PLC0415

    readers = restore_readers.FILE_READERS
    assert {r.name: (r.suffix, r.lazy) for r in readers} == READERS | TORCH_READERS
    assert {r.name for r in readers if r.torch} == set(TORCH_READERS)
    assert [r.name for r in restore_readers.RESOURCE_READERS] == list(RESOURCE_READERS)


@pytest.mark.parametrize("reader", READERS)
def test_only_lazy_readers_keep_the_file_mapped_and_depend_on_it(reader: str, files: Path) -> None:
    suffix, lazy = READERS[reader]
    path = files / f"{STEM}{suffix}"
    assert probe(reader, path, path) == [lazy, lazy, 3 * SIDE**2]


@pytest.mark.torch
@pytest.mark.parametrize("reader", TORCH_READERS)
def test_only_lazy_torch_readers_keep_the_file_mapped_and_depend_on_it(
    reader: str, packed: Path, files: Path
) -> None:
    from restore_files import write_torch  # noqa: PLC0415

    write_torch(files / packed.name)
    suffix, lazy = TORCH_READERS[reader]
    path = files / f"{STEM}{suffix}"
    assert probe(reader, path, path) == [lazy, lazy, 3 * SIDE**2]


@pytest.mark.parametrize(
    ("reader", "entry"),
    [(name, entry) for name, all_ in RESOURCE_READERS.items() for entry in all_],
)
def test_no_reader_of_a_resource_keeps_the_file_mapped_or_depends_on_it(
    reader: str, entry: str, files: Path
) -> None:
    suffixes = {"vggq": ".vggq", "safetensors": ".safetensors", "numpy": ".npz"}
    suffix = suffixes[reader.partition(".")[0]]
    path = files / entry
    target = path / "benchmark_model" / f"model{suffix}" if entry == "installed" else path
    assert probe(reader, path, target) == [False, False, 3 * SIDE**2]


@pytest.mark.parametrize(
    "reader", [*READERS, *(pytest.param(name, marks=pytest.mark.torch) for name in TORCH_READERS)]
)
def test_readers_return_the_values_of_the_packed_file(
    reader: str, packed: Path, files: Path
) -> None:
    from restore_files import write_torch  # noqa: PLC0415
    from restore_worker import prepare  # noqa: PLC0415

    if reader in TORCH_READERS:
        write_torch(files / packed.name)
    suffix, _ = (READERS | TORCH_READERS)[reader]
    found = prepare(reader, str(files / f"{STEM}{suffix}"), None)()
    expected = vggq.load(packed)
    if not isinstance(found, dict):
        found = dict(zip(expected, found.reshape(3, SIDE, SIDE), strict=True))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(np.asarray(found[name]), array)


def test_first_loads_report_time_memory_and_mapping(files: Path) -> None:
    from restore_measure import Case, measure_first_loads  # noqa: PLC0415

    cases = [
        Case("vggq.load", files / f"{STEM}.vggq"),
        Case("numpy.load(mmap_mode='r'), npy", files / f"{STEM}.npy", label="mapped"),
    ]
    table = measure_first_loads("part", "title", cases, "vggq.load", cores=1, rounds=2)
    assert table.ratio("vggq.load") == 1
    ours, mapped, touched = table.rows
    assert [ours.mapped, mapped.mapped] == [False, True]
    assert ours.result == 3 * SIDE**2 * 4
    assert ours.memory is not None
    assert ours.memory > ours.result
    assert ours.file == (files / f"{STEM}.vggq").stat().st_size
    assert [len(row.seconds) for row in table.rows] == [2, 2, 2]
    assert min(ours.seconds) > 0
    assert [row.reader for row in table.rows[1:]] == ["mapped", "mapped, then every page read"]
    assert [row.is_lazy for row in table.rows] == [False, True, False]
    assert all(a > b > 0 for a, b in zip(touched.seconds, mapped.seconds, strict=True))


def test_repeated_loads_alternate_in_one_process(files: Path) -> None:
    from restore_measure import Case, measure_repeated_loads  # noqa: PLC0415

    cases = [Case("vggq.load", files / f"{STEM}.vggq", threads=1)]
    table = measure_repeated_loads("part", "title", cases, "vggq.load", cores=1, rounds=3)
    assert [len(row.seconds) for row in table.rows] == [3]


@pytest.mark.torch
def test_compared_bits_find_a_changed_value(packed: Path) -> None:
    import torch  # noqa: PLC0415
    from restore_worker import are_equal  # noqa: PLC0415

    tensors = {name: torch.from_numpy(array) for name, array in vggq.load(packed).items()}
    assert are_equal(tensors, str(packed))
    tensors["1.weight"].view(torch.int32)[3, 4] ^= 1
    assert not are_equal(tensors, str(packed))
    del tensors["1.weight"]
    assert not are_equal(tensors, str(packed))


@pytest.mark.torch
def test_module_readers_fill_a_module_with_the_values_of_the_packed_file(
    packed: Path, files: Path
) -> None:
    from restore_torch_readers import make_module  # noqa: PLC0415
    from restore_worker import are_equal  # noqa: PLC0415

    import vggq.torch  # noqa: PLC0415

    module = make_module(packed)
    assert not are_equal(module.state_dict(), str(packed))
    vggq.torch.load_into(module, packed)
    assert are_equal(module.state_dict(), str(packed))


def make_packed_files(folder: Path, packed: Path) -> None:
    from restore_files import RECIPES  # noqa: PLC0415

    folder.mkdir()
    for stem in RECIPES:
        (folder / f"{stem}.vggq").write_bytes(packed.read_bytes())


def run_benchmark(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / "restore.py"), "no.h5", "--packed", str(folder)]
    return subprocess.check_output([*command, "--rounds", "2", *arguments], text=True)


def test_benchmark_measures_given_packed_files_and_adds_to_its_results(
    packed: Path, tmp_path: Path
) -> None:
    from restore_results import Results  # noqa: PLC0415

    make_packed_files(tmp_path / "packed", packed)
    results = tmp_path / "r.json"
    arguments = ["--json", str(results), "--cores", "1", "--parts"]
    printed = run_benchmark(tmp_path / "packed", *arguments, "import")
    assert "import vggq" in printed
    run_benchmark(tmp_path / "packed", *arguments, "small,import")
    read = Results.read(results)
    assert read.machine["cores"] == "1"
    assert [table.part for table in read.tables] == ["import", "import", "small"]
    assert read.tables[2].title == "3,000 small tensors, 1 core"


def test_benchmark_leaves_out_parts_without_their_packed_files(
    packed: Path, tmp_path: Path
) -> None:
    make_packed_files(tmp_path / "packed", packed)
    (tmp_path / "packed" / "small.vggq").unlink()
    printed = run_benchmark(tmp_path / "packed", "--parts", "small")
    assert "small: left out" in printed
    assert "has no small.vggq" in printed


def test_benchmark_does_not_mix_the_results_of_two_machines(packed: Path, tmp_path: Path) -> None:
    from restore_results import Results  # noqa: PLC0415

    make_packed_files(tmp_path / "packed", packed)
    Results({"processor": "another"}).write(tmp_path / "r.json")
    with pytest.raises(subprocess.CalledProcessError):
        run_benchmark(tmp_path / "packed", "--parts", "import", "--json", str(tmp_path / "r.json"))
    assert Results.read(tmp_path / "r.json").machine == {"processor": "another"}


@pytest.mark.slow
@pytest.mark.torch
def test_benchmark_measures_every_part_that_needs_no_gpu(packed: Path, tmp_path: Path) -> None:
    from restore_files import copy_packed, write_torch  # noqa: PLC0415
    from restore_parts import PARTS  # noqa: PLC0415
    from restore_results import Results  # noqa: PLC0415

    make_packed_files(tmp_path / "packed", packed)
    copy_packed(packed.parent, tmp_path, [STEM])
    write_torch(tmp_path / packed.name)
    model = tmp_path / "packed" / "vgg19-model.vggq"
    pack(tmp_path / f"{STEM}.pth", model, restore="model")
    parts = [name for name, part in PARTS.items() if part.needs != "cuda"]
    run_benchmark(
        tmp_path / "packed", "--parts", ",".join(parts), "--json", str(tmp_path / "r.json")
    )
    found = {table.part for table in Results.read(tmp_path / "r.json").tables}
    assert found == set(parts)


def test_worker_imports_no_library_before_it_limits_the_cores() -> None:
    code = "import sys, restore_worker; print({'numpy', 'torch', 'vggq'}.isdisjoint(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=BENCHMARKS, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "True"
