"""External data: bytes of a tensor in another file than the model.

https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Final

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BYTE_COUNT: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Extent:
    """A byte range of a file.

    Attributes:
        path: the file, with links resolved.
        location: path of the file as the model states it.
        start: offset of the first byte.
        size: number of bytes.

    """

    path: Path
    location: str
    start: int
    size: int

    def read(self) -> bytes:
        """Return the bytes of this range.

        Raises:
            SourceError: the file cannot be read, or became shorter.

        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                content = file.read(self.size)
        except OSError as error:
            raise SourceError(
                f"its data file {self.location!r} cannot be read: {error.strerror}"
            ) from error
        if len(content) != self.size:
            raise SourceError(f"its data file {self.location!r} was truncated while it was read")
        return content


def find_extent(folder: Path, external_data: Mapping[str, str], size: int) -> Extent:
    """Return the byte range of a tensor, validated against the size of its file.

    Args:
        folder: folder of the model.
        external_data: the model's "location", and "offset" and "length" as decimal numbers.
        size: bytes of the tensor.

    Raises:
        SourceError: the model may not refer to that file, or the range is not in the file.

    """
    start = _parse_byte_count(external_data, "offset", 0)
    length = _parse_byte_count(external_data, "length", size)
    location = external_data.get("location", "")
    path = find_data_file(folder, location)
    if length != size:
        raise SourceError(f"its shape needs {size} bytes, but it has {length} in {location!r}")
    if start + size > (file_size := path.stat().st_size):
        raise SourceError(
            f"ends at byte {start + size} of {location!r}, which has only {file_size} bytes"
        )
    return Extent(path, location, start, size)


def _parse_byte_count(external_data: Mapping[str, str], key: str, default: int) -> int:
    text = external_data.get(key, str(default))
    if not _BYTE_COUNT.fullmatch(text):
        raise SourceError(f"the {key} of its data is {text!r}, not a number of bytes")
    return int(text)


def find_data_file(folder: Path, location: str) -> Path:
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
    if not path.is_relative_to(root):
        raise SourceError(outside)
    if not is_file:
        raise SourceError(missing)
    return path
