"""ONNX models: their tensors, with values in the model or in other files.

Read without the onnx library, which does not tell where the values are.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...._reader import Reader
from ....errors import SourceError
from .._remarks import remark_unpacked
from .._source import Contents, Format, reject_options
from ._data_files import DataFiles
from ._description import describe_tensors
from ._outline import read_outline
from ._wire import WireFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .._source import ReadOptions
    from ._outline import Outline

# protobuf has no magic number. A model starts with ONNX's format version, 3 or more since ONNX 1.0
# (a SavedModel of TensorFlow starts with 1), then the key of another field.
_MODEL_START: Final = re.compile(rb"\x08[\x03-\x7f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    with _open_file(path) as file:
        outline = read_outline(file)
        data_files = DataFiles(path, file, outline.tensors)
        tensors = describe_tensors(file, data_files, outline.tensors)
        # A restored model has everything else as well.
        is_complete = read_options.restore != "tensors"
        yield Contents(tensors, remarks=() if is_complete else _remark_leftovers(outline))


def _list_files(path: Path) -> list[Path]:
    """Return the model, and the other files with values of its tensors."""
    with _open_file(path) as file:
        return DataFiles(path, file, read_outline(file).tensors).paths


@contextmanager
def _open_file(path: Path) -> Iterator[WireFile]:
    try:
        binary = path.open("rb")
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from error
    with binary:
        yield WireFile(Reader(binary, path))


def _remark_leftovers(outline: Outline) -> tuple[str, ...]:
    """Return the remark on what is not packed if only tensors are."""
    nodes = outline.node_count
    return remark_unpacked(
        {
            f"graph of {nodes} nodes": [outline.graph] if nodes else [],
            "lists of numbers of its nodes": outline.long_lists,
            "functions": outline.functions,
            "metadata": outline.metadata,
        }
    )


def _matches(head: bytes) -> bool:
    return _MODEL_START.match(head) is not None


def _default_restore(_: Path) -> str:
    # Tensors without their graph are of no use to a program that runs the model.
    return "model"


FORMAT: Final = Format(
    "onnx",
    (".onnx",),
    _matches,
    _open,
    file_lister=_list_files,
    default_restore=_default_restore,
)
