"""Check that the argument of a command is a packed file, and explain what it is otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...errors import PackedFileError, SourceError
from .. import SUFFIX
from ..sources import identify_format
from ..summary import printable
from .packed_members import is_archive, is_packed, packed_names

_MAX_NAMES: Final = 5


def check_packed(file: str) -> None:
    """Reject wheels, other archives and checkpoints, with the command that gives a packed file.

    Whatever else is not a packed file is left to `vggq.open`, which says what is wrong with it.

    Raises:
        PackedFileError: the file is an archive or a checkpoint.

    """
    path = Path(file)
    if path.suffix == SUFFIX or is_packed(path):
        return
    if is_archive(path):
        raise PackedFileError(_describe_archive(path), path=path)
    try:
        name = identify_format(path).name
    except SourceError:
        return
    raise PackedFileError(
        f"a checkpoint of the format {name}, not a packed file; pack it first: "
        f"`vggq pack {path} {path.with_suffix(SUFFIX).name}`",
        path=path,
    )


def _describe_archive(path: Path) -> str:
    """Return what to do with the packed files of an archive, which has at least one."""
    names = [printable(name) for name in packed_names(path)]
    shown = ", ".join(names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    module = "zipfile" if path.suffix.lower() in (".whl", ".zip") else "tarfile"
    return (
        f"an archive, not a packed file; it contains {shown}{more}: extract it with "
        f"`python -m {module} -e {path} FOLDER`, or look at it with `vggq inspect {path}`"
    )
