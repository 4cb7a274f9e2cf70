"""TFLite models: their tensors, with values in the model.

Read without a library for flatbuffers, which would not validate the file.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...._reader import Reader
from ....errors import SourceError
from .._remarks import remark_unpacked
from .._source import Contents, Format, reject_options
from ._description import describe_tensors
from ._flatbuffer import FlatFile
from ._outline import read_outline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .._source import ReadOptions
    from ._outline import Outline

_IDENTIFIER: Final = b"TFL3"


@contextmanager
def _open(path: Path, read_options: ReadOptions) -> Iterator[Contents]:
    reject_options(FORMAT.name, layout=read_options.layout, key=read_options.key)
    try:
        binary = path.open("rb")
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from error
    with binary:
        file = FlatFile(Reader(binary, path))
        outline = read_outline(file)
        tensors = describe_tensors(file, outline)
        # A restored model has everything else as well.
        is_complete = read_options.restore != "tensors"
        yield Contents(tensors, remarks=() if is_complete else _remark_leftovers(outline))


def _remark_leftovers(outline: Outline) -> tuple[str, ...]:
    """Return the remark on what is not packed if only tensors are."""
    count = outline.operator_count
    return remark_unpacked(
        {
            "graph": [f"{count} operators"] if count else [],
            "metadata": outline.metadata,
        }
    )


def _matches(head: bytes) -> bool:
    return head[4:8] == _IDENTIFIER


def _default_restore(_: Path) -> str:
    # Tensors without their graph are of no use to a program that runs the model.
    return "model"


FORMAT: Final = Format("tflite", (".tflite",), _matches, _open, default_restore=_default_restore)
