"""Reading the members of artifacts."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from hatch_vggq.artifact_members import iter_members

if TYPE_CHECKING:
    from pathlib import Path


def test_iter_members_skips_the_folders_of_an_sdist(tmp_path: Path) -> None:
    path = tmp_path / "tiny-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("tiny-1.0/src")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        file = tarfile.TarInfo("tiny-1.0/src/a.py")
        file.size = 3
        archive.addfile(file, io.BytesIO(b"a=1"))
    found = [(member.name, member.size, member.read()) for member in iter_members(path)]
    assert found == [("src/a.py", 3, b"a=1")]
