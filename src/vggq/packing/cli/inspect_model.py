"""Show the files of a packed model for ``vggq inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._model_info import WHOLE_FOLDER
from ..sizes import megabytes
from ..summary import printable, stored_rest_size, weights_size
from .console import escape_cell, make_table, print_line, print_table

if TYPE_CHECKING:
    from ..._model_info import Model
    from ..._weights import Weights


def print_model(weights: Weights) -> None:
    """Print the files that a packed file restores, if it holds a model."""
    model = weights.manifest.model
    if model is None:
        return
    print_line(
        f"restores {_describe_files(model)}; {megabytes(model.rest_size)} outside its tensors, "
        f"stored in {megabytes(stored_rest_size(weights))}"
    )
    table = make_table(("file",), ("size", "weights", "outside tensors"))
    for member in weights.members:
        table.add_row(
            escape_cell(member.path),
            megabytes(member.size),
            megabytes(weights_size(member, weights.manifest.tensors)),
            megabytes(member.rest_size),
        )
    print_table(table)


def _describe_files(model: Model) -> str:
    if model.main == WHOLE_FOLDER:
        folders = len(model.folders)
        empty = f" and {folders} empty folder{'' if folders == 1 else 's'}" if folders else ""
        return f"a folder with {_count_files(len(model.members))}{empty}"
    others = len(model.members) - 1
    return printable(model.main) + (f" and {_count_files(others)} beside it" if others else "")


def _count_files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def model_as_json(weights: Weights) -> dict[str, Any] | None:
    """Return the model of a packed file for JSON; None if it holds only tensors."""
    model, tensors = weights.manifest.model, weights.manifest.tensors
    if model is None:
        return None
    return {
        "main": model.main,
        "bytes": model.size,
        "stored_rest_bytes": stored_rest_size(weights),
        "folders": list(model.folders),
        "members": [
            {
                "path": member.path,
                "bytes": member.size,
                "weights_bytes": weights_size(member, tensors),
                "rest_bytes": member.rest_size,
                "sha256": member.sha256,
            }
            for member in model.members
        ],
    }
