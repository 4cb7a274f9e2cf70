"""The rules of a model in the manifest: each broken once, before anything is restored."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import pytest

import vggq
from vggq._container import build_header, read_header
from vggq._dtypes import FLOATING
from vggq._model_checks import MAX_BLOCK_SIZE, MAX_MEMBERS
from vggq._model_info import Member, Piece, RestBlock
from vggq.errors import FormatError, ManifestError

from .manifests import to_metadata
from .packed_models import PackedModel, assemble, codebook, raw, small_model
from .zstd_frames import make_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vggq._model_info import Model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the system's folder for temporary files, which has to stay empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def simple() -> PackedModel:
    """Return two files with two tensors, of which `tied` is an alias of `w`."""
    stored = [raw("w", "F32", bytes(8)), raw("v", "F16", b"1234")]
    return PackedModel({"a": [b"begin", "w", b"mid", "v"], "b": [b"end"]}, stored, block_size=5)


def error_of(data: bytes) -> str:
    """Return the message with which each function refuses a file, before it writes anything."""
    messages = set()
    functions: list[Callable[[bytes], object]] = [
        lambda data: vggq.read_bytes(data, member="a"),
        lambda data: vggq.as_file(data).__enter__(),
        vggq.open,
        vggq.load,
    ]
    for function in functions:
        with pytest.raises(ManifestError) as caught:
            function(data)
        messages.add(str(caught.value).partition("bytes>: ")[2])
    (message,) = messages
    return message


def test_simple_model_is_valid() -> None:
    contents = simple().contents()
    for path, content in contents.items():
        assert vggq.read_bytes(simple().build(), member=path) == content


def with_pieces(*pieces: Piece, size: int | None = None) -> bytes:
    """Return the simple model with other pieces of its first file, and a matching size."""
    model = simple()
    manifest, _ = model.parts()
    assert manifest.model is not None
    size = sum(piece.size for piece in pieces) if size is None else size
    first = replace(manifest.model.members[0], pieces=pieces, size=size)
    return model.build(members=(first, *manifest.model.members[1:]))


W, V = Piece(8, 0), Piece(4, 1)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([Piece(5), W, W, Piece(3), V], "tensor 'w': is in two pieces"),
        ([Piece(5), Piece(3), V], "tensor 'w': is in no piece"),
        ([Piece(5), W, Piece(2), V], "the members use 10 bytes of the rest, which has 11"),
        ([Piece(5), W, Piece(4), V], "the members use 12 bytes of the rest, which has 11"),
        ([W, V], "the members use 3 bytes of the rest, which has 11"),
        (
            [Piece(5), W, Piece(2**50), V],
            "the members use 1125899906842632 bytes of the rest, which has 11",
        ),
    ],
)
def test_each_byte_is_used_once(pieces: list[Piece], message: str) -> None:
    assert error_of(with_pieces(*pieces)) == message


@pytest.mark.parametrize("size", [19, 21, 0, 2**53])
def test_size_of_a_member_is_that_of_its_pieces(size: int) -> None:
    assert error_of(with_pieces(Piece(5), W, Piece(3), V, size=size)) == (
        f"member 'a': size is {size}, but its pieces have 20 bytes"
    )


def test_reordered_pieces_give_another_file_of_the_same_size() -> None:
    """The SHA-256 of the member, which `vggq verify` computes, says that it is another one."""
    data = with_pieces(W, Piece(5), V, Piece(3))
    assert vggq.read_bytes(data, member="a") == bytes(8) + b"begin" + b"1234" + b"mid"


def test_adjacent_pieces_of_the_rest_are_accepted() -> None:
    data = with_pieces(Piece(1), Piece(4), W, Piece(2), Piece(1), V)
    assert vggq.read_bytes(data, member="a") == simple().contents()["a"]


def changed_table(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the simple model after a change of its JSON; a list has the JSON to replace it."""
    manifest, frames = simple().parts()
    data = assemble(manifest, frames)
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    table = json.loads(header.metadata["vggq"][64:])
    changed = change(table["model"])
    if isinstance(changed, list):
        (table["model"],) = changed
    sizes = {str(index): len(frame) for index, frame in enumerate(frames)}
    return build_header(sizes, to_metadata(table)) + b"".join(frames)


FOLDERS: list[object] = [{}, [1], ["\ud800"], None]
PIECE = "expected a size of at least 1 as `rest`, or the index of a tensor as `tensor`"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [None], "model is None, expected an object"),
        (lambda _: [[]], "model is [], expected an object"),
        (lambda model: model.pop("main"), "model: missing keys: 'main'"),
        (lambda model: model.update(extra=1), "model: unknown keys: 'extra'"),
        (lambda model: model.update(main=1), "model: main is 1, expected a path"),
        (lambda model: model.update(members={}), "model: members is {}, expected a list"),
        (lambda model: model.update(rest=None), "model: rest is None, expected a list"),
        (lambda model: model["members"].append(1), "members[2] is 1, expected an object"),
        (lambda model: model["members"][1].pop("size"), "members[1]: missing keys: 'size'"),
        (
            lambda model: model["members"][1].update(path=["a"]),
            "members[1]: path is ['a'], expected a path",
        ),
        (
            lambda model: model["members"][1].update(path="\ud800"),
            "members[1]: path is '\\ud800', expected a path",
        ),
        (
            lambda model: model["members"][1].update(size=3.0),
            "members[1]: size is 3.0, expected a number of bytes",
        ),
        (
            lambda model: model["members"][1].update(size=2**53 + 1),
            "members[1]: size is 9007199254740993, expected a number of bytes",
        ),
        (
            lambda model: model["members"][1].update(sha256="A" * 64),
            "members[1]: sha256 is 'AAAAAAAAAAAA...AAAAAAAAAAAAA', expected 64 hexadecimal digits",
        ),
        (
            lambda model: model["members"][1].update(pieces="all"),
            "members[1]: pieces is 'all', expected a list",
        ),
        *(
            (
                lambda model, piece=piece: model["members"][1].update(pieces=[piece]),
                f"members[1]: a piece is {piece}, {PIECE}",
            )
            for piece in (
                0,
                {},
                {"rest": 0},
                {"rest": -1},
                {"rest": 1.0},
                {"rest": True},
                {"rest": 2**53 + 1},
                {"tensor": 2},
                {"tensor": -1},
                {"tensor": None},
                {"rest": 3, "tensor": 0},
                {"offset": 3},
            )
        ),
        *(
            (
                lambda model, folders=folders: model.update(folders=folders),
                f"model: folders is {folders!r}, expected a list of paths",
            )
            for folders in FOLDERS
        ),
        (lambda model: model["rest"].append([]), "rest[3] is [], expected an object"),
        (lambda model: model["rest"][0].pop("size"), "rest[0]: missing keys: 'size'"),
        (
            lambda model: model["rest"][0].update(entry="2"),
            "rest[0]: entry is '2', expected the index of an entry",
        ),
        (
            lambda model: model["rest"][0].update(size=-5),
            "rest[0]: size is -5, expected a number of bytes",
        ),
    ],
)
def test_form_of_the_json(change: Callable[[dict[str, Any]], object], message: str) -> None:
    assert error_of(changed_table(change)) == message


def with_members(change: Callable[[Model], tuple[Member, ...]], **changes: Any) -> bytes:
    manifest, _ = simple().parts()
    assert manifest.model is not None
    return simple().build(members=change(manifest.model), **changes)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("../b", "is not a plain relative path"),
        ("/b", "is not a plain relative path"),
        ("", "is not a plain relative path"),
        (".", "is not a plain relative path"),
        ("C:b", "has the character ':', which a file name cannot have on every system"),
        ("b\0", "has the character '\\x00', which a file name cannot have on every system"),
        ("nul", "has a name that Windows reserves"),
    ],
)
def test_path_of_a_member(path: str, problem: str) -> None:
    data = with_members(lambda model: (model.members[0], replace(model.members[1], path=path)))
    assert error_of(data) == f"path {path!r} of a member {problem}"


@pytest.mark.parametrize(("first", "second"), [("a", "A"), ("a", "a/b"), ("é", "e\u0301")])
def test_paths_of_two_members(first: str, second: str) -> None:
    data = with_members(
        lambda model: (
            replace(model.members[0], path=first),
            replace(model.members[1], path=second),
        ),
        main=first,
    )
    assert error_of(data) == (
        f"members {first!r} and {second!r} cannot be in one folder on every system"
    )


@pytest.mark.parametrize("path", ["../c", "/c", "", ".", "c/", "c:d", "con", "/".join("c" * 17)])
def test_path_of_an_empty_folder(path: str) -> None:
    data = simple().build(folders=("d", path))
    assert error_of(data).startswith(f"path {short(path)} of a member ")


@pytest.mark.parametrize(
    ("folders", "collision"),
    [
        (("a",), ("a", "a")),
        (("B/c",), ("b", "B/c")),
        (("c", "c"), ("c", "c")),
        (("c/d", "c"), ("c", "c/d")),
        (("é", "e\u0301/f"), ("é", "e\u0301/f")),
    ],
)
def test_empty_folder_has_no_files_and_is_listed_once(
    folders: tuple[str, ...], collision: tuple[str, str]
) -> None:
    first, second = collision
    assert error_of(simple().build(folders=folders)) == (
        f"members {first!r} and {second!r} cannot be in one folder on every system"
    )


def test_number_of_empty_folders() -> None:
    folders = tuple(f"d{number}" for number in range(MAX_MEMBERS + 1))
    with vggq.open(simple().build(folders=folders[1:])) as weights:
        assert weights.manifest.model is not None
        assert weights.manifest.model.folders == folders[1:]
    assert error_of(simple().build(folders=folders)) == (
        f"the model has {MAX_MEMBERS + 1} empty folders, expected at most {MAX_MEMBERS}"
    )


@pytest.mark.parametrize("main", ["c", "", "..", "A", "b/", "./a"])
def test_main_is_a_member(main: str) -> None:
    assert error_of(simple().build(main=main)) == f"main is {main!r}, which is no member"


def test_number_of_members() -> None:
    files: dict[str, list[bytes | str]] = {f"f{number}": [] for number in range(MAX_MEMBERS)}
    with vggq.open(PackedModel(files).build()) as weights:
        assert len(weights.members) == MAX_MEMBERS
    files = {f"f{number}": [] for number in range(10_000)}
    message = f"the model has 10000 members, expected 1 to {MAX_MEMBERS}"
    assert error_of(PackedModel(files).build()) == message
    manifest, _ = PackedModel({"a": []}).parts()
    assert manifest.model is not None
    empty = replace(manifest, model=replace(manifest.model, members=(), main="."))
    assert error_of(assemble(empty, [])) == f"the model has 0 members, expected 1 to {MAX_MEMBERS}"


def blocks(*blocks: RestBlock) -> bytes:
    return simple().build(rest=blocks)


OWNERS = "the tensors and the blocks of the rest do not use exactly the entries of the file"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([RestBlock(2, 5), RestBlock(3, 5)], "the members use 11 bytes of the rest, which has 10"),
        ([RestBlock(2, 5), RestBlock(3, 5), RestBlock(3, 1)], OWNERS),
        ([RestBlock(2, 5), RestBlock(3, 5), RestBlock(1, 1)], OWNERS),
        ([RestBlock(2, 5), RestBlock(3, 5), RestBlock(5, 1)], OWNERS),
        ([RestBlock(2, 5), RestBlock(3, 6)], OWNERS),
        (
            [RestBlock(2, 11), RestBlock(3, 0), RestBlock(4, 0)],
            f"a block of the rest has 0 bytes, expected 1 to {MAX_BLOCK_SIZE}",
        ),
        (
            [RestBlock(2, MAX_BLOCK_SIZE + 1)],
            f"a block of the rest has {MAX_BLOCK_SIZE + 1} bytes, expected 1 to {MAX_BLOCK_SIZE}",
        ),
    ],
)
def test_blocks_of_the_rest(changed: list[RestBlock], message: str) -> None:
    assert error_of(blocks(*changed)) == message


def test_block_that_its_entry_cannot_contain() -> None:
    size = 1 << 20
    data = PackedModel({"a": [bytes(size)]}).build()
    assert vggq.read_bytes(data) == bytes(size)
    manifest, _ = PackedModel({"a": [bytes(size)]}).parts()
    frame = make_frame(b"x")
    limit = len(frame) // 4 << 17
    message = f"size is {size}, but an entry of {len(frame)} bytes has at most {limit} bytes"
    assert error_of(assemble(manifest, [frame])).startswith(message)


def test_block_of_another_size_is_damaged() -> None:
    """The size of the content is compared with the manifest before memory is allocated."""
    manifest, frames = simple().parts()
    frames[2] = make_frame(b"begi")
    data = assemble(manifest, frames)
    message = "entry 2, a block of the rest: the zstd frame declares 4 bytes of content, expected 5"
    with pytest.raises(FormatError, match=message):
        vggq.read_bytes(data, member="a")


def test_alias_and_empty_tensor_are_in_no_piece() -> None:
    model = simple()
    manifest, frames = model.parts()
    alias = replace(manifest.tensors[0], name="alias")
    empty = replace(raw("empty", "F32", b"").info, entry=5)
    extended = replace(manifest, tensors=(*manifest.tensors, alias, empty))
    data = assemble(extended, [*frames, b""])
    assert vggq.read_bytes(data, member="a") == model.contents()["a"]
    assert sorted(vggq.load(data)) == ["alias", "empty", "v", "w"]


def test_empty_tensor_in_a_piece() -> None:
    model = PackedModel({"a": ["empty"]}, [raw("empty", "F32", b"")])
    assert error_of(model.build()) == "tensor 'empty': is in a piece, but has no bytes"


@pytest.mark.parametrize("dtype", sorted(FLOATING))
def test_quantized_tensor_in_a_piece_has_the_values_of_the_file(dtype: str) -> None:
    stored = codebook("w", dtype, [0.1], [0])
    plain = replace(stored, info=replace(stored.info, stored_dtype="F32"))
    model = PackedModel({"a": ["w"]}, [plain])
    if dtype in {"F32", "F64"}:
        assert vggq.read_bytes(model.build()) == model.contents()["a"]
    else:
        message = f"tensor 'w': stored_dtype is 'F32', but the model holds {dtype!r}"
        assert error_of(model.build()) == message


def test_tied_tensors_have_one_stored_dtype() -> None:
    stored = [codebook("w", "F16", [0.1], [0])]
    manifest, frames = PackedModel({"a": ["w"]}, stored).parts()
    alias = replace(manifest.tensors[0], name="alias", stored_dtype="F32")
    data = assemble(replace(manifest, tensors=(*manifest.tensors, alias)), frames)
    assert error_of(data) == "tensor 'alias': shares entry 0 with 'w', but is described differently"


def test_many_pieces_are_checked_quickly() -> None:
    """A member of 200,000 pieces, the last of which repeats the first."""
    pieces = [W, *[Piece(1)] * 200_000, W]
    assert error_of(with_pieces(*pieces)).startswith("the members use 200003 bytes of the rest")


def test_manifest_with_a_model_is_written_and_parsed() -> None:
    model = small_model()
    manifest, frames = model.parts()
    with vggq.open(assemble(manifest, frames)) as weights:
        assert weights.manifest == manifest
