"""Reading the members of artifacts, and links in an sdist."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from hatch_vggq.artifact_members import Member, read_members
from hatch_vggq.messages import BuildError

from .conftest import MODEL, Project, sdist_names
from .in_process import build_here, fail_here

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEY = "tool.hatch.build.hooks.vggq.models[0]"
CONTENT = b"a=1"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ENTRY_TYPES = {
    "file": tarfile.REGTYPE,
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "folder": tarfile.DIRTYPE,
    "named pipe": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "contiguous file": tarfile.CONTTYPE,
    "unknown": b"Z",
}


def write_sdist(path: Path, entries: Sequence[tuple[str, str, str]]) -> Path:
    """Write an sdist from names below its top folder, types of entries, and targets of links."""
    with tarfile.open(path / "tiny-1.0.tar.gz", "w:gz") as archive:
        for name, kind, target in entries:
            info = tarfile.TarInfo(f"tiny-1.0/{name}")
            info.type, info.linkname = ENTRY_TYPES[kind], target
            has_content = kind in {"file", "contiguous file", "unknown"}
            info.size = len(CONTENT) if has_content else 0
            archive.addfile(info, io.BytesIO(CONTENT) if has_content else None)
    return path / "tiny-1.0.tar.gz"


FILE = ("src/a.py", "file", "")


@pytest.mark.parametrize(
    "entry",
    [
        ("src/b.py", "symbolic link", "a.py"),
        ("src/b.py", "symbolic link", "./a.py"),
        ("b/b.py", "symbolic link", "../src/a.py"),
        ("b/b.py", "symbolic link", "../../tiny-1.0/src//a.py"),
        ("src/b.py", "hard link", "tiny-1.0/src/a.py"),
        ("src/b.py", "hard link", "tiny-1.0/src/x/../a.py"),
    ],
)
@pytest.mark.parametrize("is_first", [False, True])
def test_link_has_the_content_of_its_file(
    tmp_path: Path, entry: tuple[str, str, str], *, is_first: bool
) -> None:
    entries = [entry, FILE] if is_first else [FILE, entry]
    members = read_members(write_sdist(tmp_path, entries), [3])
    assert sorted(members, key=lambda m: m.name) == sorted(
        [Member("src/a.py", 3, SHA256), Member(entry[0], 3, SHA256)], key=lambda m: m.name
    )


def test_links_to_links_are_followed(tmp_path: Path) -> None:
    entries = [
        FILE,
        ("b", "symbolic link", "src/c"),
        ("src/c", "symbolic link", "../d"),
        ("d", "hard link", "tiny-1.0/src/a.py"),
    ]
    members = read_members(write_sdist(tmp_path, entries), [3])
    assert {member.sha256 for member in members} == {SHA256}
    assert len(members) == 4


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("symbolic link", "../data/big.csv"),
        ("symbolic link", "/etc/passwd"),
        ("symbolic link", "../../../outside"),
        ("symbolic link", ""),
        ("symbolic link", "b"),
        ("hard link", "tiny-1.0/src/gone"),
        ("hard link", "tiny-1.0/b"),
    ],
)
def test_link_to_a_file_that_the_sdist_lacks_has_no_content(
    tmp_path: Path, kind: str, target: str
) -> None:
    members = read_members(write_sdist(tmp_path, [FILE, ("b", kind, target)]), [0, 3])
    assert [member.sha256 for member in members] == [SHA256, ""]
    assert members[1].link == target or kind == "hard link"


def test_links_in_a_circle_have_no_content(tmp_path: Path) -> None:
    entries = [("a", "symbolic link", "b"), ("b", "symbolic link", "a")]
    members = read_members(write_sdist(tmp_path, entries), [0])
    assert [(member.size, member.sha256) for member in members] == [(0, ""), (0, "")]


@pytest.mark.parametrize("kind", ["folder", "named pipe", "device", "block device"])
def test_entries_without_content_are_left_out(tmp_path: Path, kind: str) -> None:
    entries = [("src", kind, ""), FILE, ("link", "symbolic link", "src")]
    assert read_members(write_sdist(tmp_path, entries), [3]) == [Member("src/a.py", 3, SHA256)]


@pytest.mark.parametrize("kind", ["file", "contiguous file", "unknown"])
def test_digest_is_computed_for_requested_sizes_only(tmp_path: Path, kind: str) -> None:
    path = write_sdist(tmp_path, [("a", kind, "")])
    assert read_members(path) == [Member("a", 3)]
    assert read_members(path, [2, 4]) == [Member("a", 3)]
    assert read_members(path, {3}) == [Member("a", 3, SHA256)]


def test_wheel_has_no_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.mkdir("a")
        wheel.writestr("a/b", CONTENT)
    assert read_members(tmp_path / "a.whl", [3]) == [Member("a/b", 3, SHA256)]
    assert read_members(tmp_path / "a.whl") == [Member("a/b", 3)]


def test_member_without_a_name_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("#", CONTENT)
    path.write_bytes(path.read_bytes().replace(b"#", b"\0"))
    assert read_members(path) == [Member("", 3)]


def damage(data: bytes, how: str) -> bytes:
    half = len(data) // 2
    return {
        "empty": b"",
        "text": b"not an archive",
        "truncated": data[:half],
        "overwritten": data[:60] + b"\xff" * 80 + data[140:],
        "without its end": data[:-30],
    }[how]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("how", ["empty", "text", "truncated", "overwritten", "without its end"])
def test_damaged_archive_is_a_build_error(tmp_path: Path, kind: str, how: str) -> None:
    noise = os.urandom(1000)
    if kind == "wheel":
        path = tmp_path / "tiny.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("a", noise)
    else:
        path = tmp_path / "tiny.tar.gz"
        with tarfile.open(path, "w:gz") as sdist:
            info = tarfile.TarInfo("tiny/a")
            info.size = len(noise)
            sdist.addfile(info, io.BytesIO(noise))
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(BuildError) as caught:
        read_members(path, [1000])
    (line,) = caught.value.lines
    assert line.startswith((f"{path.name}: damaged archive: ", f"{path.name}: cannot be read: "))


def test_missing_or_unreadable_archive_is_a_build_error(tmp_path: Path) -> None:
    for name, expected in (
        ("gone.whl", "gone.whl: no such file; another build hook has moved or removed it"),
        ("folder.whl", "folder.whl: cannot be read: Is a directory"),
    ):
        (tmp_path / "folder.whl").mkdir(exist_ok=True)
        with pytest.raises(BuildError) as caught:
            read_members(tmp_path / name)
        assert caught.value.lines == [expected]


def make_entry(project: Project, kind: str) -> None:
    """Add a file of a kind to the project's folder `docs`, next to an excluded folder `data`."""
    docs, data = project.root / "docs", project.root / "data"
    docs.mkdir()
    data.mkdir()
    (data / "big.csv").write_text("x")
    entry = docs / "entry"
    match kind:
        case "link to an excluded file":
            entry.symlink_to("../data/big.csv")
        case "absolute link":
            entry.symlink_to(data / "big.csv")
        case "dangling link":
            entry.symlink_to("nowhere")
        case "link to itself":
            entry.symlink_to("entry")
        case "link to a folder":
            (project.root / "more").mkdir()
            (project.root / "more" / "x").write_text("x")
            entry.symlink_to("../more")
        case "hard link":
            (docs / "first").write_text("x")
            os.link(docs / "first", entry)
        case "named pipe":
            os.mkfifo(entry)


@pytest.mark.parametrize(
    "kind",
    [
        "link to an excluded file",
        "absolute link",
        "dangling link",
        "link to itself",
        "link to a folder",
        "hard link",
        "named pipe",
    ],
)
def test_sdist_with_unusual_files_is_built(
    project: Project, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    project.configure(f'{MODEL}[tool.hatch.build.targets.sdist]\nexclude = ["/data"]\n')
    make_entry(project, kind)
    result = build_here(project, capsys, "sdist")
    assert result.code == 0, result.output
    assert any(name.startswith("tiny-1.0/docs/entry") for name in sdist_names(project.sdist))


def test_hard_linked_packed_file_ships(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_here(project, capsys).code == 0
    # hatchling writes the second of two linked files as a link.
    os.link(project.target, project.root / "a.vggq")
    project.configure(f'{MODEL}[tool.hatch.build]\nartifacts = ["/a.vggq"]\n')
    result = build_here(project, capsys, "sdist")
    assert result.code == 0, result.output
    assert "reused" in result.output


@pytest.mark.parametrize("target", ["../outside.npz", "../data/tiny.npz"])
def test_linked_source_that_an_sdist_would_not_contain_is_an_error(
    project: Project, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    (project.root / "data").mkdir()
    real = project.source.parent / target
    project.source.rename(real)
    project.source.symlink_to(target)
    exclude = '[tool.hatch.build.targets.sdist]\nexclude = ["/data", "/outside.npz"]\n'
    project.configure(f'{MODEL}sdist = "source"\n{exclude}')
    assert fail_here(project, capsys, "sdist").splitlines()[-1] == (
        f"{KEY}.source: weights/tiny.npz is missing from tiny-1.0.tar.gz: it is a link to "
        f"{target}, which the archive does not contain; replace the link by the file"
    )
    # Nothing is missing if the sdist contains the file as well.
    project.configure(f'{MODEL}sdist = "source"\n')
    result = build_here(project, capsys, "sdist")
    assert result.code == 0, result.output
