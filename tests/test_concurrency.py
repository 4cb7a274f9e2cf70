"""Many at once, some cut short, and files that change underneath."""

from __future__ import annotations

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
    """Two tensors that are large enough for threads of their own, and small ones."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    shapes = {"a": (40, 50), "b": (512, 512), "c": (30, 40), "d": (600, 512)}
    state = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return pack(save_npz(folder / "s.npz", state), folder / "s.vggq", bits=5).target


def digests(path: Path, *, lazily: bool) -> dict[str, bytes]:
    """All arrays' bytes, which tell more than a digest where they differ."""
    if not lazily:
        return {name: array.tobytes() for name, array in vggq.load(path, threads=4).items()}
    with vggq.open(path) as weights:
        return {name: weights[name].tobytes() for name in reversed(list(weights))}


@pytest.mark.parametrize("lazily", [True, False])
def test_many_threads_load_one_file(model: Path, *, lazily: bool) -> None:
    expected = digests(model, lazily=lazily)
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda _: digests(model, lazily=lazily), range(2 * THREADS))
        assert all(arrays == expected for arrays in found)


def test_many_threads_share_one_opened_file(model: Path) -> None:
    expected = digests(model, lazily=True)
    with vggq.open(model) as weights, ThreadPoolExecutor(THREADS) as pool:
        names = sorted(expected) * 20
        for name, array in zip(names, pool.map(weights.__getitem__, names), strict=True):
            assert array.tobytes() == expected[name]


def both(path: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    return digests(path, lazily=True), digests(path, lazily=False)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_many_processes_load_one_file(model: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        found = list(pool.map(both, [model] * PROCESSES))
    assert found == [both(model)] * PROCESSES


def test_a_process_that_is_forked_reads_what_its_parent_opened(model: Path) -> None:
    """Parent and children have one position in the file between them: none may rely on it."""
    expected = digests(model, lazily=True)
    with vggq.open(model) as weights:
        children = [fork(lambda: check(weights, expected, 100)) for _ in range(PROCESSES)]
        check(weights, expected, 100)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES


def check(weights: vggq.Weights, expected: dict[str, bytes], times: int) -> None:
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
try:
    print("begins", flush=True)
    while not interrupts:
        vggq.load(path, threads=threads)
except KeyboardInterrupt:
    pass
restored = vggq.load(path, threads=threads)
print(interrupts, sum(float(array.sum()) for array in restored.values()))
"""


@pytest.mark.parametrize("threads", [1, 4])
def test_a_load_that_is_interrupted_at_any_moment(large: Path, threads: int) -> None:
    """Whichever moment the signal falls on; Python drops one that falls into a destructor."""
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
def test_an_interrupted_load_leaves_nothing_broken(
    large: Path, monkeypatch: pytest.MonkeyPatch, threads: int, *, into: bool
) -> None:
    """The main thread is interrupted by one that decodes, while or before it waits for that."""
    expected = digests(large, lazily=True)
    out = {name: np.empty_like(array) for name, array in vggq.load(large).items()} if into else None
    begun, first, interrupted = threading.Event(), threading.Lock(), threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    def write(content: Any, tensor: TensorInfo, array: Any) -> None:
        if tensor.name == "a":
            begun.set()
        else:
            assert begun.wait(60)
            if first.acquire(blocking=False):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert interrupted.wait(60)
        decode(content, tensor, array)

    decode = _decode.decode_into
    monkeypatch.setattr(_decode, "decode_into", write)
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


def test_an_interrupted_look_up_gives_the_lock_back(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vggq.open(model.read_bytes()) as weights:
        expected = weights["w0"].tobytes()
        with monkeypatch.context() as patch:
            patch.setattr("vggq._reader._read", interrupt)
            with pytest.raises(KeyboardInterrupt):
                weights["w0"]
        assert weights["w0"].tobytes() == expected


def interrupt(*_: object) -> bytes:
    raise KeyboardInterrupt


def test_a_file_that_is_replaced_while_it_is_open(model: Path, tmp_path: Path) -> None:
    """Who opened it reads the old one to its end; who opens it anew reads the new one."""
    path = tmp_path / "m.vggq"
    path.write_bytes(model.read_bytes())
    source = save_npz(tmp_path / "new.npz", {"other": np.arange(3)})
    expected = digests(model, lazily=True)
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
        print(type(error).__name__, str(error).split(": ")[1])
"""


@pytest.mark.parametrize("left", [0.0, 0.3, 0.9])
def test_a_file_that_is_truncated_while_it_is_open(
    model: Path, tmp_path: Path, left: float
) -> None:
    """Every tensor is whole or a DataError; nothing is mapped, so that no signal kills."""
    path = tmp_path / "m.vggq"
    data = model.read_bytes()
    path.write_bytes(data)
    command = [sys.executable, "-c", TRUNCATED, str(path), str(int(left * len(data)))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    whole = {f"{name} {float(array.sum())}" for name, array in vggq.load(model).items()}
    torn = {f"DataError tensor {name!r}" for name in vggq.load(model)}
    lines = set(done.stdout.splitlines())
    assert len(lines) == len(whole)
    assert lines <= whole | torn
    assert lines & torn


def test_a_file_that_is_overwritten_while_it_is_open(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vggq"
    data = model.read_bytes()
    path.write_bytes(data)
    with vggq.open(path) as weights:
        path.write_bytes(bytes(len(data)))
        for name in weights:
            with pytest.raises(DataError, match=name):
                weights[name]


def test_a_load_from_a_file_that_changes_all_the_time(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vggq"
    data = model.read_bytes()
    expected = digests(model, lazily=False)
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
                assert digests(path, lazily=False) == expected
                outcomes.add("whole")
            except VggqError as error:
                outcomes.add(type(error).__name__)
        changing.result()
    assert digests(path, lazily=False) == expected
    assert outcomes <= {"whole", "HeaderError", "DataError", "PackedFileError"}
