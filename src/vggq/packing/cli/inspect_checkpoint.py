"""Show the tensors of a checkpoint for ``vggq inspect``, before anything is packed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._dtypes import STORAGE
from ..sizes import megabytes
from ..sources import (
    UNKNOWN_DTYPE,
    identify_format,
    natural_sort_key,
    replace_files,
    resolve_restore,
    separate_tensors,
)
from ..summary import printable
from .console import (
    escape_cell,
    format_shape,
    make_table,
    print_json,
    print_line,
    print_remark,
    print_table,
)

if TYPE_CHECKING:
    from rich.table import Table

    from ..sources import Contents, ReadOptions, SourceTensor


def show_checkpoint(file: str, read_options: ReadOptions, *, as_json: bool) -> None:
    """Print the tensors of a checkpoint, also those that cannot be packed.

    Raises:
        SourceError: the file is no checkpoint, or cannot be read with these options.
        MissingDependencyError: the library that reads its format is not installed.

    """
    path = Path(file)
    fmt = identify_format(path, read_options)
    read_options = resolve_restore(path, fmt, read_options)
    files = fmt.list_files(path) if read_options.restore == "model" else []
    with fmt.open(path, read_options) as contents:
        tensors = sorted(_all_tensors(contents, files), key=natural_sort_key)
        if as_json:
            print_json(_as_json(fmt.name, contents, tensors, files))
            return
        size = megabytes(sum(map(_size, tensors)))
        plural = "" if len(tensors) == 1 else "s"
        restored = f"; restored as {_describe_files(files)}" if files else ""
        print_line(f"{file}: {fmt.name}, {len(tensors)} tensor{plural}, {size}{restored}")
        print_table(_as_table(tensors))
        _print_problems(tensors, "stored exactly" if files else "cannot be packed")
        for remark in _all_remarks(contents):
            print_remark(f"{file}: {remark}")


def _all_tensors(contents: Contents, files: list[Path]) -> list[SourceTensor]:
    """Return all tensors; those that stay in the rest of a model have a problem."""
    if not files:
        return contents.tensors
    restored = replace_files(files, contents.copies)
    replaceable, kept = separate_tensors(contents.tensors, contents.checksums, restored)
    return replaceable + kept


def _describe_files(files: list[Path]) -> str:
    size = megabytes(sum(file.stat().st_size for file in files))
    return f"a model of {size}" + (f" in {len(files)} files" if len(files) > 1 else "")


def _print_problems(tensors: list[SourceTensor], consequence: str) -> None:
    for tensor in tensors:
        if tensor.problem:
            print_line(f"{consequence}: {tensor.name!r}: {printable(tensor.problem)}")


def _all_remarks(contents: Contents) -> list[str]:
    key = contents.chosen_key
    chosen = [] if key is None else [f"the state dict is under the key {key!r}"]
    return [*chosen, *contents.remarks]


def _size(tensor: SourceTensor) -> int:
    """Return the bytes of a tensor's values; 0 if it cannot be packed."""
    return 0 if tensor.problem else tensor.count * STORAGE[tensor.dtype].itemsize


def _as_table(tensors: list[SourceTensor]) -> Table:
    table = make_table(("tensor", "shape", "dtype"), ("size",))
    for tensor in tensors:
        is_known = tensor.dtype != UNKNOWN_DTYPE
        table.add_row(
            escape_cell(tensor.name),
            format_shape(tensor.shape) if is_known else "",
            escape_cell(tensor.dtype),
            "" if tensor.problem else megabytes(_size(tensor)),
        )
    return table


def _as_json(
    fmt: str, contents: Contents, tensors: list[SourceTensor], files: list[Path]
) -> dict[str, Any]:
    return {
        "format": fmt,
        "restore": "model" if files else "tensors",
        "key": contents.chosen_key,
        "remarks": list(contents.remarks),
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "dtype": tensor.dtype,
                "bytes": _size(tensor),
                "problem": tensor.problem,
            }
            for tensor in tensors
        ],
    }
