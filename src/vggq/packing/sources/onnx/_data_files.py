"""External data: tensors of a model whose bytes are in other files.

https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Final

from ....errors import SourceError
from .._links import is_below
from .._places import Place
from ._tensor import parse_external_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ._tensor import Tensor
    from ._wire import WireFile

_KEYS: Final = ("location", "offset", "length", "checksum", "basepath")
_BYTE_COUNT: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Extent:
    """A byte range of a data file.

    Attributes:
        path: the file, with links resolved.
        location: path of the file as the model states it.
        place: the range, in the list of the model's files.

    """

    path: Path
    location: str
    place: Place

    def read(self) -> bytes:
        """Return the bytes of this range; may be called from any thread.

        Raises:
            SourceError: the file cannot be read, or became shorter.

        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.place.start)
                content = file.read(self.place.size)
        except OSError as error:
            raise SourceError(
                f"its data file {self.location!r} cannot be read: {error.strerror}"
            ) from error
        if len(content) != self.place.size:
            raise SourceError(f"its data file {self.location!r} was truncated while it was read")
        return content


class DataFiles:
    """The files with the values of a model's tensors: the model itself, and others in its folder.

    Args:
        model: path of the model.
        file: the model.
        tensors: its tensors by name.

    Attributes:
        paths: the model, then the others in order.

    Raises:
        SourceError: a file is outside the model's folder, or does not exist.

    """

    def __init__(self, model: Path, file: WireFile, tensors: Mapping[str, Tensor]) -> None:
        self._entries = {
            name: parse_external_data(file, tensor)
            for name, tensor in tensors.items()
            if tensor.is_external
        }
        self._folder = model.parent
        self._resolved: dict[str, Path] = {}
        for name, entries in self._entries.items():
            location = entries.get("location", "")
            if location not in self._resolved:
                with _locate(name):
                    self._resolved[location] = _find_data_file(model.parent, location)
        others = {model.parent / location for location in self._resolved} - {model}
        self.paths = [model, *sorted(others)]
        self._members = {path: member for member, path in enumerate(self.paths)}
        self._checksummed = {
            entries.get("location", "")
            for entries in self._entries.values()
            if "checksum" in entries
        }

    def find_problem(self, name: str, tensor: Tensor) -> str | None:
        """Return why it is not clear where the values of a tensor are, or None.

        An unknown key is a problem: it may be a damaged "offset", without which other bytes would
        be read.
        """
        if unknown := [key for key in self._entries[name] if key not in _KEYS]:
            return f"its external data has the unknown key {unknown[0]!r}"
        if tensor.raw_data is not None or tensor.values:
            return "has values both in the model and in external data"
        return None

    def may_change(self, name: str) -> bool:
        """Whether the values of a tensor may change: the model has no SHA-1 of their file."""
        return self._entries[name].get("location", "") not in self._checksummed

    def find_extent(self, name: str, size: int) -> Extent:
        """Return the range with the values of a tensor.

        Args:
            name: the tensor's name.
            size: its bytes.

        Raises:
            SourceError: the range is not in the file, or has another size.

        """
        with _locate(name):
            return self._find_extent(self._entries[name], size)

    def _find_extent(self, entries: Mapping[str, str], size: int) -> Extent:
        start = _parse_byte_count(entries, "offset", 0)
        length = _parse_byte_count(entries, "length", size)
        location = entries.get("location", "")
        if length != size:
            raise SourceError(f"its shape needs {size} bytes, but it has {length} in {location!r}")
        path = self._resolved[location]
        if start + size > (file_size := path.stat().st_size):
            raise SourceError(
                f"ends at byte {start + size} of {location!r}, which has only {file_size} bytes"
            )
        return Extent(path, location, Place(self._member(location), start, size))

    def _member(self, location: str) -> int:
        return self._members[self._folder / location]

    def find_occupied(self, name: str) -> Place:
        """Return the range that may have the values of a tensor which is not supported."""
        entries = self._entries[name]
        location = entries.get("location", "")
        end = self._resolved[location].stat().st_size
        try:
            start = _parse_byte_count(entries, "offset", 0)
            size = _parse_byte_count(entries, "length", max(end - start, 0))
        except SourceError:
            start, size = 0, end
        return Place(self._member(location), start, size)


@contextmanager
def _locate(name: str) -> Iterator[None]:
    """Add the name of a tensor to errors."""
    try:
        yield
    except SourceError as error:
        error.locate(tensor=name)
        raise


def _parse_byte_count(entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not _BYTE_COUNT.fullmatch(text):
        raise SourceError(f"the {key} of its data is {text!r}, not a number of bytes")
    return int(text)


def _find_data_file(folder: Path, location: str) -> Path:
    """Return the file that a model refers to, with links resolved.

    Raises:
        SourceError: the file is outside the folder, or does not exist.

    """
    outside = f"its data file {location!r} is outside the model's folder; copy that file into it"
    missing = f"its data file {location!r} does not exist"
    # Windows paths include all ways out of a folder. Network shares must not even be looked up.
    windows_path = PureWindowsPath(location)
    if windows_path.anchor or ".." in windows_path.parts:
        raise SourceError(outside)
    try:
        root = folder.resolve()
        path = (root / location).resolve()
        is_file = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(missing) from error
    if not is_below(path, root):
        raise SourceError(outside)
    if not is_file:
        raise SourceError(missing)
    return path
