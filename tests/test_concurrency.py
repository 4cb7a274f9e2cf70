"""Many threads and processes, interrupts, and files that change while they are open."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq import _decode
from vggq.errors import DataError, VggqError
from vggq.packing import pack

from .helpers import save_npz, untraced

if TYPE_CHECKING:
    from vggq._manifest import TensorInfo

THREADS, PROCESSES = 32, 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    state = {f"w{i}": rng.standard_normal((60, 70)).astype(np.float32) for i in range(8)}
    state |= {f"b{i}": rng.standard_normal(70).astype(np.float32) for i in range(4)}
    return pack(save_npz(folder / "s.npz", state), folder / "s.vggq", bits=5).target


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack small tensors, and two that are large enough for threads of their own."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    shapes = {"a": (40, 50), "b": (512, 512), "c": (30, 40), "d": (600, 512)}
    state = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return pack(save_npz(folder / "s.npz", state), folder / "s.vggq", bits=5).target


def contents(path: Path, *, lazily: bool) -> dict[str, bytes]:
    """Return the bytes of every array, loaded at once or looked up one by one."""
    if not lazily:
        return {name: array.tobytes() for name, array in vggq.load(path, threads=4).items()}
    with vggq.open(path) as weights:
        return {name: weights[name].tobytes() for name in reversed(list(weights))}


@pytest.mark.parametrize("lazily", [True, False])
def test_threads_load_one_file(model: Path, *, lazily: bool) -> None:
    expected = contents(model, lazily=lazily)
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda _: contents(model, lazily=lazily), range(2 * THREADS))
        assert all(arrays == expected for arrays in found)


def test_threads_share_one_open_file(model: Path) -> None:
    expected = contents(model, lazily=True)
    with vggq.open(model) as weights, ThreadPoolExecutor(THREADS) as pool:
        names = sorted(expected) * 20
        for name, array in zip(names, pool.map(weights.__getitem__, names), strict=True):
            assert array.tobytes() == expected[name]


def contents_both_ways(path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    return contents(path, lazily=True), contents(path, lazily=False)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_load_one_file(model: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        found = list(pool.map(contents_both_ways, [model] * PROCESSES))
    assert found == [contents_both_ways(model)] * PROCESSES


def test_forked_processes_read_the_file_that_their_parent_opened(model: Path) -> None:
    """Parent and children share the position in the file, so none may rely on it."""
    expected = contents(model, lazily=True)
    with vggq.open(model) as weights:
        children = [fork(lambda: compare(weights, expected, 100)) for _ in range(PROCESSES)]
        compare(weights, expected, 100)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES


def compare(weights: vggq.Weights, expected: dict[str, bytes], times: int) -> None:
    for _ in range(times):
        for name, content in expected.items():
            assert weights[name].tobytes() == content


def fork(work: Any) -> int:
    if child := os.fork():
        return child
    try:
        work()
    finally:
        os._exit(sys.exc_info()[0] is not None)


INTERRUPTED = """\
import signal, sys
import vggq
interrupts = 0
def interrupt(*_):
    global interrupts
    interrupts += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupt)
path, threads = sys.argv[1], int(sys.argv[2])
def load_until_interrupted():
    while not interrupts:
        vggq.load(path, threads=threads)
try:
    print("begins", flush=True)
    load_until_interrupted()
except KeyboardInterrupt:
    pass
restored = vggq.load(path, threads=threads)
print(interrupts, sum(float(array.sum()) for array in restored.values()))
"""


@pytest.mark.parametrize("threads", [1, 4])
def test_load_can_be_interrupted_at_any_time(large: Path, threads: int) -> None:
    """The script loads until it is interrupted, because Python ignores errors in destructors.

    The loop is in a function: in Python 3.12 and 3.13, an interrupt between two rounds of a `while`
    loop is not caught by a `try` statement around it.
    """
    expected = sum(float(array.sum()) for array in vggq.load(large).values())
    command = [sys.executable, "-c", INTERRUPTED, str(large), str(threads)]
    for number in range(6):
        with subprocess.Popen(
            command, env=untraced(), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
            time.sleep(0.007 * number)
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == f"1 {expected}\n"
        assert process.returncode == 0


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("into", [False, True])
def test_interrupted_load_leaves_no_threads_or_open_files(
    large: Path, monkeypatch: pytest.MonkeyPatch, threads: int, *, into: bool
) -> None:
    """A decoding thread interrupts the main thread, which waits for it or is about to."""
    expected = contents(large, lazily=True)
    out = {name: np.empty_like(array) for name, array in vggq.load(large).items()} if into else None
    begun, first, interrupted = threading.Event(), threading.Lock(), threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    def write(data: Any, tensor: TensorInfo, *others: Any) -> None:
        if tensor.name == "a":
            begun.set()
        else:
            assert begun.wait(60)
            if first.acquire(blocking=False):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert interrupted.wait(60)
        decode(data, tensor, *others)

    function = "decode_into" if into else "restore_entry"
    decode = getattr(_decode, function)
    monkeypatch.setattr(_decode, function, write)
    before = set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())
    handler = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            vggq.load(large, threads=threads, out=out)
    finally:
        signal.signal(signal.SIGINT, handler)
        monkeypatch.undo()
    assert (set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())) == before
    restored = vggq.load(large, threads=threads, out=out)
    assert {name: array.tobytes() for name, array in restored.items()} == expected


class InterruptedFile(io.BytesIO):
    """A file that raises KeyboardInterrupt on one read, once `interrupted` is set."""

    interrupted = False

    def read(self, size: int | None = -1) -> bytes:
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt
        return super().read(size)


def test_interrupted_look_up_releases_the_lock_of_the_file(model: Path) -> None:
    file = InterruptedFile(model.read_bytes())
    with vggq.open(file) as weights:
        expected = weights["w0"].tobytes()
        file.interrupted = True
        with pytest.raises(KeyboardInterrupt):
            weights["w0"]
        assert weights["w0"].tobytes() == expected


def test_replaced_file_is_read_to_its_end_by_those_who_opened_it(
    model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.vggq"
    path.write_bytes(model.read_bytes())
    source = save_npz(tmp_path / "new.npz", {"other": np.arange(3)})
    expected = contents(model, lazily=True)
    with vggq.open(path) as weights:
        pack(source, path)
        assert {name: weights[name].tobytes() for name in weights} == expected
    assert list(vggq.load(path)) == ["other"]


TRUNCATED = """\
import os, sys
import vggq
path, size = sys.argv[1], int(sys.argv[2])
weights = vggq.open(path)
os.truncate(path, size)
for name in weights:
    try:
        print(name, float(weights[name].sum()))
    except vggq.VggqError as error:
        print(type(error).__name__, error.tensor)
"""


@pytest.mark.parametrize("left", [0.0, 0.3, 0.9])
def test_truncated_file_gives_whole_tensors_or_data_errors(
    model: Path, tmp_path: Path, left: float
) -> None:
    """Files are not mapped into memory, which would kill the process with a signal."""
    path = tmp_path / "m.vggq"
    data = model.read_bytes()
    path.write_bytes(data)
    command = [sys.executable, "-c", TRUNCATED, str(path), str(int(left * len(data)))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    whole = {f"{name} {float(array.sum())}" for name, array in vggq.load(model).items()}
    torn = {f"DataError {name}" for name in vggq.load(model)}
    lines = set(done.stdout.splitlines())
    assert len(lines) == len(whole)
    assert lines <= whole | torn
    assert lines & torn


def test_overwritten_file_gives_data_errors(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vggq"
    data = model.read_bytes()
    path.write_bytes(data)
    with vggq.open(path) as weights:
        path.write_bytes(bytes(len(data)))
        for name in weights:
            with pytest.raises(DataError, match=name):
                weights[name]


def test_load_of_a_changing_file_gives_all_tensors_or_an_error(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vggq"
    data = model.read_bytes()
    expected = contents(model, lazily=False)
    path.write_bytes(data)
    end = time.monotonic() + 1
    outcomes = set()

    def change() -> None:
        while time.monotonic() < end:
            for cut in (0, len(data) // 2, len(data) - 1):
                os.truncate(path, cut)
                path.write_bytes(data)

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        while not changing.done():
            try:
                assert contents(path, lazily=False) == expected
                outcomes.add("whole")
            except VggqError as error:
                outcomes.add(type(error).__name__)
        changing.result()
    assert contents(path, lazily=False) == expected
    assert outcomes <= {"whole", "HeaderError", "DataError", "PackedFileError"}
