"""Loading where threads, warnings or numpy's settings are not the usual ones."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vggq
from vggq.errors import OptionError, PackedFileError, VggqError
from vggq.packing import pack

from .helpers import assert_same_arrays, save_safetensors, untraced

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack tensors that are large enough for threads of their own, and values of every kind.

    Among the values are subnormal numbers, NaN that signal, and values beyond the range of float32
    and float16.
    """
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((600, 500)).astype("<f4")
    patterns = rng.integers(0, 1 << 32, 300_000, dtype="<u4")
    tensors = {
        "a": ("F32", weights),
        "b": ("F32", weights[::-1] * np.float32(1e-38)),
        "c": ("F32", weights * np.float32(1e5)),
        "patterns": ("F32", patterns),
        "double": ("F64", np.array([1e300, 1e-310, np.nan, np.inf, 1e-45])),
        "half": ("F16", patterns.astype("<u2")),
        "brain": ("BF16", patterns[:70_000].astype("<u2")),
        "float8": ("F8_E4M3", np.arange(256, dtype=np.uint8)),
        "grid": ("F32", weights[:50] * np.float32(1e-6)),
    }
    source = save_safetensors(folder / "s.safetensors", tensors)
    goals = [{"match": "grid", "sqnr": 30}, {"match": "c", "sqnr": 41}, {"match": "b", "bits": 4}]
    return pack(source, folder / "s.vggq", tensors=goals).target


LOAD = """\
import sys, threading
import vggq
def load():
    try:
        arrays = vggq.load(sys.argv[1], threads=4)
        print(len(arrays), float(arrays["a"].sum()))
    except BaseException as error:
        print(repr(error))
"""

SURROUNDINGS = {
    "a thread that outlives the main thread": """
main = threading.main_thread()
threading.Thread(target=lambda: (main.join(), load())).start()
""",
    "a function that runs at exit": """
import atexit
atexit.register(load)
""",
    "a function that runs at exit, after a pool of threads was used": """
import atexit, concurrent.futures
atexit.register(load)
concurrent.futures.ThreadPoolExecutor(1).submit(int).result()
""",
    "a finalizer": """
import weakref
class Model: pass
model = Model()
weakref.finalize(model, load)
""",
    "a daemon thread": """
thread = threading.Thread(target=load, daemon=True)
thread.start()
thread.join()
""",
    "no memory for the stacks of threads": """
threading.stack_size(1 << 46)
try:
    threading.Thread(target=int).start()
except RuntimeError:
    load()
""",
    # As in a container; the limit does not apply to the root user.
    "a limit of processes": """
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (0, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
load()
""",
    "weights that are read at exit": """
import atexit
weights = vggq.open(sys.argv[1])
def read():
    arrays = dict(weights)
    print(len(arrays), float(arrays["a"].sum()))
atexit.register(read)
""",
}


PACK = """\
import sys, threading
from vggq.packing import pack
threading.stack_size(1 << 46)
try:
    threading.Thread(target=int).start()
except RuntimeError:
    pack(sys.argv[1], sys.argv[2], threads=4)
"""


def test_pack_where_no_thread_can_be_started(large: Path, tmp_path: Path) -> None:
    source, target = large.with_name("s.safetensors"), tmp_path / "s.vggq"
    expected = pack(source, tmp_path / "expected.vggq").target.read_bytes()
    command = [sys.executable, "-c", PACK, str(source), str(target)]
    subprocess.run(command, env=untraced(), check=True, timeout=120)
    assert target.read_bytes() == expected


@pytest.mark.parametrize("code", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_load_with_few_threads_or_late(large: Path, code: str) -> None:
    arrays = vggq.load(large)
    command = [sys.executable, "-c", LOAD + code, str(large)]
    done = subprocess.run(
        command, env=untraced(), capture_output=True, text=True, check=False, timeout=120
    )
    expected = f"{len(arrays)} {float(arrays['a'].sum())}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16", "float64", "source"])
@pytest.mark.parametrize("threads", [1, 4])
def test_settings_of_numpy_and_warnings_do_not_matter(
    large: Path, dtype: Any, threads: int
) -> None:
    expected = vggq.load(large, dtype=dtype, threads=threads)
    out = {name: np.ones_like(array) for name, array in expected.items()}
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_arrays(vggq.load(large, dtype=dtype, threads=threads), expected)
        vggq.load(large, dtype=dtype, threads=threads, out=out)
    assert_same_arrays(out, expected)


def test_settings_of_numpy_are_left_as_they_are(large: Path) -> None:
    with np.errstate(all="raise", under="print"):
        before = np.geterr()
        with vggq.open(large) as weights:
            assert len(dict(weights)) == 9
        assert np.geterr() == before


def test_strict_interpreter(large: Path) -> None:
    """Development mode, warnings as errors, comparisons of bytes with text as errors."""
    code = "import sys, vggq; print(len(vggq.load(sys.argv[1], threads=2)))"
    for options in (["-X", "dev", "-W", "error", "-bb"], ["-OO"], ["-I"]):
        command = [sys.executable, *options, "-c", code, str(large)]
        done = subprocess.run(command, env=untraced(), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "9\n", "")


def test_thread_of_a_small_stack_loads(large: Path) -> None:
    expected = vggq.load(large)
    found = {}
    before = threading.stack_size(1 << 18)
    try:
        thread = threading.Thread(target=lambda: found.update(vggq.load(large)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert_same_arrays(found, expected)


# Arguments that raise errors of their own


class BadPath:
    """A path that cannot be converted."""

    def __init__(self, result: object) -> None:
        self._result = result

    def __fspath__(self) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class BadFile:
    """A file whose methods return values of other types."""

    def __init__(self, size: object, data: object) -> None:
        self._size = size
        self._data = data

    def seek(self, *_: int) -> object:
        return self._size

    def tell(self) -> object:
        return self._size

    def read(self, _: int) -> object:
        return self._data


@pytest.mark.parametrize(
    "source",
    [
        BadPath(b"bytes"),
        BadPath(None),
        BadPath(RuntimeError("no path")),
        BadFile(None, b""),
        BadFile("9", b""),
        BadFile(9, "text that is not bytes"),
        BadFile(9, None),
        BadFile(9, 9),
    ],
    ids=lambda source: repr(vars(source)),
)
def test_sources_that_break_their_protocol(source: Any) -> None:
    with pytest.raises(PackedFileError, match=r"cannot be (opened|read): ."):
        vggq.open(source)


@pytest.mark.parametrize("package", [5, None, object(), "", ".", "no such", "__main__", ["x"]])
def test_packages_that_do_not_exist(package: Any) -> None:
    with pytest.raises(PackedFileError):
        vggq.open(package, "w.vggq")


@pytest.mark.parametrize("error", [RuntimeError, KeyError, FileNotFoundError, AttributeError])
def test_package_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    name = f"fails_with_{error.__name__.lower()}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(f"raise {error.__name__}('the reason')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PackedFileError, match=r"cannot be opened: .*the reason"):
        vggq.open(name, "w.vggq")


class BadDtype:
    """An argument whose attribute `dtype` raises an error."""

    @property
    def dtype(self) -> Any:
        raise RuntimeError("no dtype")


@pytest.mark.parametrize("dtype", [BadDtype(), {"names": ["a"]}, [1], "a5", "f4,f4", 4.5, ()])
def test_dtypes_that_numpy_cannot_read(packed: Path, dtype: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OptionError, match=r"^dtype: expected float16, float32, "):
            vggq.load(packed, dtype=dtype)


@pytest.mark.parametrize("out", [[], np.zeros(3), 5, "text"])
def test_out_that_is_no_mapping(packed: Path, out: Any) -> None:
    with pytest.raises(OptionError, match=r"^out: expected arrays by name, found "):
        vggq.load(packed, out=out)


def test_number_of_threads_that_is_no_integer(packed: Path) -> None:
    threads: Any = "4"
    with pytest.raises(VggqError, match=r"^threads: expected an integer, found '4'$"):
        vggq.load(packed, threads=threads)
