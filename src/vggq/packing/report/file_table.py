"""The table of a model's files on the page about a packed file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sizes import megabytes
from ..summary import stored_rest_size, weights_size
from .page import PageCell, PageRow, PageTable

if TYPE_CHECKING:
    from ..._model_info import Member
    from ..._weights import Weights


def make_file_table(weights: Weights) -> PageTable | None:
    """Return the table of the files that a packed file restores, the largest first.

    None if it holds only tensors.
    """
    model = weights.manifest.model
    if model is None:
        return None
    note = (
        f"{megabytes(model.rest_size)} of the files are outside their tensors and stored exactly, "
        f"in {megabytes(stored_rest_size(weights))} of the packed file."
    )
    headings = ("file", "bytes", "weights, bytes", "outside tensors, bytes")
    members = sorted(model.members, key=lambda member: member.size, reverse=True)
    rows = [_make_row(weights, member) for member in members]
    return PageTable("Files", headings, rows, note, descending="bytes")


def _make_row(weights: Weights, member: Member) -> PageRow:
    sizes = (member.size, weights_size(member, weights.manifest.tensors), member.rest_size)
    return PageRow(member.path, [PageCell(f"{size:,}", size) for size in sizes])
