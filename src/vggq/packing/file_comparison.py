"""Compare the restored files of a packed model with those of another one, or of a source."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _weights
from .._model import as_file
from .._model_info import WHOLE_FOLDER
from .model_layout import plan_model
from .packer import SUFFIX
from .sources import open_source
from .verification import hash_with_tensors, recorded_options

if TYPE_CHECKING:
    import os

    from .._model_info import Member
    from .._weights import Weights
    from .model_layout import MemberLayout
    from .sources import Source


@dataclass(frozen=True, slots=True)
class FileComparison:
    """The comparison of a restored file with a file of the reference.

    Attributes:
        path: the path of the file; the main file may have another name in the reference.
        size: the bytes of the restored file; None if the packed file has no such file.
        reference_size: the bytes of the file of the reference; None if it has no such file.
        same: whether the files are equal outside their tensors and the checksums over them.

    """

    path: str
    size: int | None
    reference_size: int | None
    same: bool


def compare_files(
    packed: str | os.PathLike[str], reference: str | os.PathLike[str]
) -> list[FileComparison]:
    """Compare the files that a packed file restores with those of another one, or of a source.

    Args:
        packed: a packed file.
        reference: another packed file (its name ends in .vggq), or a checkpoint. A packed file is
            restored to a temporary folder.

    Returns:
        One comparison for each file of either side; none if one of the sides is not a model, so
        that only its tensors can be compared.

    Raises:
        PackedFileError, FormatError: a packed file cannot be read.
        SourceError: the source cannot be read.
        VerificationError: the manifest's options were recorded by another version.
        TargetError: the temporary folder cannot be written.

    """
    with ExitStack() as stack:
        weights = stack.enter_context(_weights.open(packed))
        model = weights.manifest.model
        source = _open_reference(Path(reference), weights, stack) if model else None
        if model is None or source is None or not source.restores_model:
            return []
        planned, layouts = plan_model(source)
        references = {layout.path: layout for layout in layouts}
        if model.main != WHOLE_FOLDER and source.root is None:
            # The main file, whose layout is the first one, may have another name.
            references = {layout.path: layout for layout in layouts[1:]} | {model.main: layouts[0]}
        members = {member.path: member for member in model.members}
        return [
            _compare(weights, planned, path, members.get(path), references.get(path))
            for path in members | references
        ]


def _open_reference(path: Path, weights: Weights, stack: ExitStack) -> Source | None:
    """Open a source, or the model that a packed file restores; None if it holds only tensors."""
    read_options = recorded_options(weights.manifest).read
    if path.suffix == SUFFIX:
        with _weights.open(path) as other:
            if not other.members:
                return None
        path = stack.enter_context(as_file(path))
        # Only files that the patterns select are restored.
        read_options = replace(read_options, restore="model", include=(), exclude=())
    return stack.enter_context(open_source(path, read_options))


def _compare(
    weights: Weights,
    source: Source,
    path: str,
    member: Member | None,
    layout: MemberLayout | None,
) -> FileComparison:
    if member is None or layout is None:
        sizes = (member.size if member else None, layout.size if layout else None)
        return FileComparison(path, *sizes, same=False)
    same = _is_same(weights, member, source, layout)
    return FileComparison(path, member.size, layout.size, same)


def _is_same(weights: Weights, member: Member, source: Source, layout: MemberLayout) -> bool:
    """Return whether a file of the source, with the tensors of a packed file, is the member."""
    names = [source.tensors[gap.tensor].name for gap in layout.gaps]
    infos = [weights.tensors.get(name) for name in names]
    sizes = [info.source_size if info else None for info in infos]
    if member.size != layout.size or sizes != [gap.size for gap in layout.gaps]:
        return False
    return hash_with_tensors(layout, weights, source) == member.sha256
