"""Fuzzing with atheris: any bytes give arrays or a VggqError.

::

    python -m tests.fuzz.harness TARGET [CORPUS] [-option of libFuzzer]...
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import atheris

with atheris.instrument_imports(include=["vggq", "pickletools", "zipfile"]):
    import vggq
    from vggq._codecs._trellis import STATES
    from vggq._container import build_header
    from vggq.errors import SourceError, VggqError
    from vggq.packing.compression import compress
    from vggq.packing.sources import FORMATS, ReadOptions, list_source_files, open_source

import safetensors.numpy

from . import corpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from vggq.packing.sources import SourceTensor

# A source may have larger tensors without storing them (a fill value, a broadcast). They are not
# read here.
_MAX_ELEMENTS: Final = 1 << 20
_MAX_BYTES: Final = 1 << 24
_KERAS: Final = (".h5", ".keras")

_MANIFEST: Final = corpus.manifest_of(corpus.packed(bits=2))
_FRAMES: Final = corpus.frames_of(corpus.packed(bits=2))
_MODEL_FRAMES: Final = corpus.frames_of(corpus.MODEL)


def _load(data: bytes) -> None:
    """Load a file, and compare the arrays with the manifest and with single look-ups."""
    with suppress(VggqError), vggq.open(data, max_bytes=_MAX_BYTES) as weights:
        restored = vggq.load(data, threads=1, max_bytes=_MAX_BYTES)
        for name, tensor in weights.tensors.items():
            array = restored[name]
            assert (array.shape, array.dtype) == (tensor.shape, tensor.dtype)
            assert array.tobytes() == weights[name].tobytes()


def _file(manifest: bytes, frames: list[bytes]) -> bytes:
    digest = hashlib.sha256(manifest).hexdigest()
    text = digest + manifest.decode("utf-8", "surrogateescape")
    sizes = {str(number): len(frame) for number, frame in enumerate(frames)}
    return build_header(sizes, {"vggq": text}) + b"".join(frames)


def _manifest(data: bytes) -> None:
    """Load a file with this manifest, a valid digest, and valid entries."""
    _load(_file(data, _FRAMES))


def _model(data: bytes) -> None:
    """Restore the files of a model in each way, and compare them."""
    with suppress(VggqError), vggq.open(data, max_bytes=_MAX_BYTES) as weights:
        files = {}
        for member in weights.members:
            restored = vggq.read_bytes(data, member=member.path, max_bytes=_MAX_BYTES)
            assert len(restored) == member.size
            files[member.path] = restored
        if weights.manifest.model is not None:
            _write_model(data, weights.manifest.model.main, files)


def _write_model(data: bytes, main: str, files: dict[str, bytes]) -> None:
    """Write a model, and compare its files with those that were restored to memory."""
    with vggq.as_file(data, max_bytes=_MAX_BYTES) as path:
        root = path if main == "." else path.parents[main.count("/")]
        found = [file for file in root.rglob("*") if not file.is_dir()]
        written = {file.relative_to(root).as_posix(): file.read_bytes() for file in found}
    assert written == files
    assert not root.exists()


def _model_manifest(data: bytes) -> None:
    """Restore a model with this manifest, a valid digest, and valid entries."""
    _model(_file(data, _MODEL_FRAMES))


def _frame(data: bytes) -> None:
    """Load a file whose largest entry is replaced."""
    largest = max(_FRAMES, key=len)
    _load(_file(_MANIFEST, [data if frame is largest else frame for frame in _FRAMES]))


def _content(codec: dict[str, object], shape: list[int], content: bytes) -> None:
    """Load a file with one tensor of this content, with a valid checksum."""
    tensor = {"name": "w", "source_dtype": "F32", "stored_dtype": "F32", "entry": 0}
    measures = {"energy": 0, "noise": 0, "size": len(content)}
    table = json.loads(_MANIFEST)
    table["tensors"] = [tensor | measures | {"codec": codec, "shape": shape}]
    _load(_file(json.dumps(table).encode(), [compress(content)]))


def _codebook(data: bytes) -> None:
    k, count, scales, run = (*data[:4], 0, 0, 0, 0)[:4]
    width = next(width for width in (1, 2, 4, 8) if k < 1 << width)
    # At most a few thousand codes fewer than the content has room for.
    room = max(0, len(data) - 4 - 2 * scales - 4 * (k + 1)) * 8 // width
    shape = [room // 256 * 256 + count if room >= 256 else room]
    slices = {"scales": scales, "run": run + 1} if scales else {}
    _content({"name": "codebook", "centroids": k + 1, **slices}, shape, data[4:])


def _grid(data: bytes) -> None:
    taps, rows, flags, *vectors, scales, run = (*data[:7], *[0] * 7)[:7]
    first, dependent = bool(flags & 1), STATES[(flags >> 1) % len(STATES)]
    codec = {"name": "grid", "taps": taps + 1, "rows": rows + 1, "size": len(data[7:])}
    slices = {"scales": scales, "run": run + 1} if scales else {}
    sizes = [(rows + 1) * int.from_bytes(vectors, "little"), taps + 1]
    _content(
        codec | {"first": first, "dependent": dependent, **slices},
        sizes[:: -1 if first else 1],
        data[7:],
    )


def _read_options(suffix: str) -> list[ReadOptions]:
    """Return the options for files with a suffix: every layout, and everything to restore."""
    layouts = (None, "torch") if suffix in _KERAS else (None,)
    restored = ("tensors", "model")
    return [ReadOptions(layout, restore=restore) for layout in layouts for restore in restored]


def _check_place(tensor: SourceTensor, files: list[bytes]) -> None:
    """Read a tensor, and compare the values with the bytes at its place."""
    values = tensor.read().tobytes()
    if tensor.place is not None:
        start, end = tensor.place.start, tensor.place.start + tensor.place.size
        assert files[tensor.place.member][start:end] == values


def _source(suffix: str) -> Callable[[bytes], None]:
    """Return a function that reads a checkpoint with all options that matter for its format."""
    folder = Path(tempfile.mkdtemp(prefix="vggq-fuzz-"))
    (folder / "s.safetensors").write_bytes(safetensors.numpy.save(corpus.SMALL))
    (folder / "s.weights.h5").write_bytes(corpus.hdf5(corpus.KERAS_WEIGHTS))
    path = folder / f"fuzzed{suffix}"
    options = _read_options(suffix)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for read_options in options:
            with suppress(VggqError), open_source(path, read_options) as source:
                files = [file.read_bytes() for file in source.restored_files]
                for tensor in source.tensors:
                    if tensor.count <= _MAX_ELEMENTS:
                        _check_place(tensor, files)
                for checksum in source.checksums:
                    file = files[checksum.member]
                    assert len({file[field : field + 4] for field in checksum.fields}) == 1
        with suppress(SourceError):
            list_source_files(path)

    return read


def _within(suffix: str, wrap: Callable[[bytes], bytes]) -> Callable[[bytes], None]:
    """Return a function that reads a checkpoint which contains the data, with valid checksums."""
    read = _source(suffix)
    return lambda data: read(wrap(data))


_HDF5: Final = corpus.hdf5(corpus.KERAS_WEIGHTS)

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "reader": _load,
    "manifest": _manifest,
    "model": _model,
    "model-manifest": _model_manifest,
    "frame": _frame,
    "codebook": _codebook,
    "grid": _grid,
    "torch-pickle": _within(".pt", corpus.torch_zip),
    "npz-member": _within(".npz", corpus.npz_of),
    "keras-config": _within(".keras", lambda data: corpus.keras_of(data, _HDF5)),
    "keras-weights": _within(".keras", lambda data: corpus.keras_of(corpus.KERAS_CONFIG, data)),
    **{fmt.name: _source(fmt.suffixes[0]) for fmt in FORMATS},
}


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
