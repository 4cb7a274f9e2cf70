"""Fuzzing by atheris: any bytes give arrays or a VggqError, and nothing else.

::

    python -m tests.fuzz.harness TARGET [CORPUS] [-option of libFuzzer]...
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import atheris

with atheris.instrument_imports(include=["vggq", "pickletools", "zipfile"]):
    import vggq
    from vggq._container import write_header
    from vggq.errors import SourceError, VggqError
    from vggq.sources import FORMATS, Reading, files, open_source

import safetensors.numpy

from . import corpus

if TYPE_CHECKING:
    from collections.abc import Callable

# What a source may claim without having it (a fill value, a broadcast) is not to be allocated here.
_MOST_ELEMENTS: Final = 1 << 20

_MANIFEST: Final = corpus.manifest_of(corpus.packed())
_FRAMES: Final = corpus.frames_of(corpus.packed())


def _load(data: bytes) -> None:
    with suppress(VggqError):
        vggq.load(data, threads=1)


def _file(manifest: bytes, frames: list[bytes]) -> bytes:
    seal = hashlib.sha256(manifest).hexdigest()
    text = seal + manifest.decode("utf-8", "surrogateescape")
    sizes = {str(number): len(frame) for number, frame in enumerate(frames)}
    return write_header(sizes, {"vggq": text}) + b"".join(frames)


def _manifest(data: bytes) -> None:
    """A manifest whose digest is right, over frames that are sound."""
    _load(_file(data, _FRAMES))


def _frame(data: bytes) -> None:
    """The largest entry is anything."""
    largest = max(_FRAMES, key=len)
    _load(_file(_MANIFEST, [data if frame is largest else frame for frame in _FRAMES]))


def _source(suffix: str) -> Callable[[bytes], None]:
    """A checkpoint by its file, read as it is and, where that can be, as torch wants it."""
    folder = Path(tempfile.mkdtemp(prefix="vggq-fuzz-"))
    (folder / "s.safetensors").write_bytes(safetensors.numpy.save(corpus.SMALL))
    path = folder / f"fuzzed{suffix}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for layout in (None, "torch") if suffix == ".h5" else (None,):
            with suppress(VggqError), open_source(path, Reading(layout)) as source:
                for tensor in source.tensors:
                    if tensor.count <= _MOST_ELEMENTS:
                        tensor.read()
        with suppress(SourceError):
            files(path)

    return read


def _torch_pickle(data: bytes) -> None:
    """A pickle in an archive whose checksums are right."""
    _READ_TORCH(corpus.torch_zip(data))


_READ_TORCH: Final = _source(".pt")

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "reader": _load,
    "manifest": _manifest,
    "frame": _frame,
    "torch-pickle": _torch_pickle,
    **{fmt.name: _source(fmt.suffixes[0]) for fmt in FORMATS},
}


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
