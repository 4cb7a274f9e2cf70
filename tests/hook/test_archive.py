"""What is read of archives."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from hatch_vggq.archive import members

if TYPE_CHECKING:
    from pathlib import Path


def test_folders_of_an_sdist_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / "tiny-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("tiny-1.0/src")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        file = tarfile.TarInfo("tiny-1.0/src/a.py")
        file.size = 3
        archive.addfile(file, io.BytesIO(b"a=1"))
    found = [(member.name, member.size, member.read()) for member in members(path)]
    assert found == [("src/a.py", 3, b"a=1")]
