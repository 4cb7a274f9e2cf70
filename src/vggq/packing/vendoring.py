"""Copy the run time into a package that does not want to depend on hatch-vggq."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._manifest_json import FORMAT_VERSION
from ..errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable

STAMP: Final = "vendored.json"

_DISTRIBUTION: Final = "hatch-vggq"
# Everything that packs is in this folder; the rest of the package is the run time.
_EXCLUDED: Final = ("packing", "__pycache__")


@dataclass(frozen=True, slots=True, order=True)
class Copy:
    """A vendored copy: its folder, its release of vggq, and the format version it reads."""

    folder: Path
    version: str
    format: int


def vendor(folder: Path) -> Copy:
    """Copy the run-time modules and the license into `folder`; an older copy is replaced.

    Raises:
        TargetError: the folder exists and is not such a copy, or cannot be written.

    """
    if folder.exists() and not (folder / STAMP).is_file():
        raise TargetError("exists and is not a copy of vggq; choose a new folder", path=folder)
    made = folder.with_name(f".{folder.name}.tmp")
    try:
        shutil.rmtree(made, ignore_errors=True)
        copy = _write(made)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise TargetError(f"cannot be written: {error.strerror}", path=folder) from error
    return Copy(folder, copy.version, copy.format)


def _write(folder: Path) -> Copy:
    ours = distribution(_DISTRIBUTION)
    copy = Copy(folder, ours.version, FORMAT_VERSION)
    run_time = Path(__file__).parents[1]
    shutil.copytree(run_time, folder, ignore=shutil.ignore_patterns(*_EXCLUDED))
    (folder / "LICENSE").write_text(ours.read_text("licenses/LICENSE") or "", encoding="utf-8")
    stamp = {_DISTRIBUTION: copy.version, "format": copy.format}
    (folder / STAMP).write_text(json.dumps(stamp) + "\n", encoding="utf-8")
    return copy


def find_copies(root: Path, target: Path, packages: Iterable[Path] = ()) -> list[Copy]:
    """Return the vendored copies in the package that contains a packed file.

    The package is the outermost folder below the root that has an ``__init__.py``. If no folder
    has one, the packed file's own folder and `packages` are searched.
    """
    package = None
    for folder in itertools.takewhile(lambda folder: folder != root, target.parents):
        if (folder / "__init__.py").is_file():
            package = folder
        elif package:
            break
    folders = [package] if package else [target.parent, *packages]
    stamps = {stamp for folder in folders if folder != root for stamp in folder.rglob(STAMP)}
    return [_read_stamp(stamp) for stamp in sorted(stamps)]


def _read_stamp(stamp: Path) -> Copy:
    try:
        table = json.loads(stamp.read_text(encoding="utf-8"))
        return Copy(stamp.parent, str(table[_DISTRIBUTION]), int(table["format"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetError(
            "not a file that `vggq vendor` writes; run it again", path=stamp
        ) from error


def run_time_requirements() -> list[str]:
    """Return the requirements of a copy at run time, which are those of hatch-vggq itself."""
    wanted = distribution(_DISTRIBUTION).requires or []
    return [text for text in wanted if "extra ==" not in text]
